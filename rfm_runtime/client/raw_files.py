"""Raw data of a finished render as files for other programs: NumPy's .npz, and OpenEXR.

An archive is written strip by strip. In whichever thread calls; needs NumPy, and for EXR the package OpenEXR
(`pip install 'rfm-runtime[exr]'`).
"""

from __future__ import annotations

import contextlib
import importlib.util
import math
import zipfile
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, BinaryIO

import msgspec
import numpy as np

from rfm_runtime.errors import BadRequestError, MissingExtraError
from rfm_runtime.render.files import kfr
from rfm_runtime.render.formulas import FORMULAS
from rfm_runtime.render.image_metadata import REQUEST_KEY
from rfm_runtime.render.plan import plan
from rfm_runtime.render.request import RenderRequest

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Counts = NDArray[np.int32]
    Fractions = NDArray[np.float32]
    Points = NDArray[np.complex64]

__all__ = ["ITERATIONS_BIAS", "exr_channels", "need_exr", "write_exr", "write_npz"]

STRIP_PX = 1 << 20

LEVEL = 1
"""Of zlib: what it can take from counts and noise it takes at once."""

ITERATIONS_BIAS = 1024
"""Of both programs: added to counts in EXR files, so that 0 and what is below it can be told from nothing."""

UNESCAPED = 0xFFFFFFFF
UNKNOWN = 0

KF_KEY = "KallesFraktaler2+"
"""Attribute in which Kalles Fraktaler and Fraktaler-3 look for the .kfr file of a picture."""


def write_npz(file: BinaryIO, n: Counts, nf: Fractions, request: RenderRequest) -> None:
    """n, nf as the engine has them, [height, width], see `rfm_kernels.escape_time`.

    The archive has `n`, int64: applications of the formula until |z| is beyond the bailout radius, −1 where that did
    not come within max_iter, −3 where nobody could compute it. `mu`, float64: n + nf, the smooth count
    n + 1 − log_d(ln|z| / ln R), NaN where n < 0. `request`: the parameters, as a JSON string.
    """
    shape = n.shape
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED, compresslevel=LEVEL) as archive:
        _member(archive, "n", np.dtype(np.int64), shape, lambda rows: n[rows].astype(np.int64))
        _member(archive, "mu", np.dtype(np.float64), shape, lambda rows: _smooth(n[rows], nf[rows]))
        text = np.array(msgspec.json.encode(request).decode())
        _member(archive, "request", text.dtype, (), lambda _: text)


def _smooth(n: Counts, nf: Fractions) -> NDArray[np.float64]:
    return np.where(n < 0, np.nan, n.astype(np.float64) + nf)


def _member(
    archive: zipfile.ZipFile,
    name: str,
    dtype: np.dtype[Any],
    shape: tuple[int, ...],
    rows_of: Callable[[slice], NDArray[Any]],
) -> None:
    # A date of its own would make two archives of the same data differ.
    info = zipfile.ZipInfo(f"{name}.npy", date_time=(1980, 1, 1, 0, 0, 0))
    info.compress_type = zipfile.ZIP_DEFLATED
    height, width = shape or (1, 1)
    strip = max(1, STRIP_PX // width)
    with archive.open(info, "w", force_zip64=True) as member:
        header = {"descr": np.lib.format.dtype_to_descr(dtype), "fortran_order": False, "shape": shape}
        np.lib.format.write_array_header_1_0(member, header)
        for top in range(0, height, strip):
            member.write(np.ascontiguousarray(rows_of(slice(top, min(top + strip, height)))).tobytes())


def exr_channels(
    n: Counts, nf: Fractions, request: RenderRequest, z: Points | None = None, far: Points | None = None
) -> dict[str, NDArray[Any]]:
    """Channels with the names and meanings that deep-zoom programs share, [height, width], row 0 at the top.

    As in "EXR Channels and Metadata" of Kalles Fraktaler's manual and https://fractalforums.org/f/11/t/3017, compared
    with the source of both Kalles Fraktaler 2+ 2.15 (exr.cpp) and Fraktaler-3 (image_raw.cc, hybrid.cc):

    - `N`, uint32: count + `ITERATIONS_BIAS`; 0xFFFFFFFF did not escape, 0 is not known. `N0` is the same: both programs
      use that name, with `N1` for the upper half, only for counts beyond 32 bits, which do not come here, and read `N`
      for others; what looks for either finds it.
    - `NF`, float32: fraction, N + NF − bias is the smooth count; 0 where it did not escape or is not known.
    - `T`, float32, with z and without a trap: argument of the last z in turns, [0, 1).
    - `DEX`, `DEY`, float32, with far, of what escapes: estimated distance to the set as a vector away from it, in
      pixels, to the right and up the picture; 0 where not known.

    z, far: see `rfm_kernels.escape_time.Kernel`. far is 2|z| ln|z| over the gradient of |z|, in pixels, with the
    directions of the plane; the programs have half of it, by which a pixel next to the set has about 1.
    """
    escaped = n >= 0
    counts = np.where(escaped, n.astype(np.int64) + ITERATIONS_BIAS, np.where(n == -1, UNESCAPED, UNKNOWN))
    biased = counts.astype(np.uint32)
    channels: dict[str, NDArray[Any]] = {
        "N": biased,
        "N0": biased,
        "NF": np.where(escaped, nf, np.float32(0.0)).astype(np.float32),
    }
    if z is not None and request.trap is None:
        turns = np.angle(z.astype(np.complex128)) / (2.0 * np.pi) % 1.0
        single = np.where(escaped & np.isfinite(turns), turns, 0.0).astype(np.float32)
        # Just below a whole turn float32 rounds up to it.
        channels["T"] = np.where(single < 1.0, single, np.float32(0.0))
    if far is not None and not FORMULAS[request.formula].converges:
        channels |= _distances(np.where(escaped, far, np.complex64(0.0)), request)
    return channels


def _distances(far: Points, request: RenderRequest) -> dict[str, NDArray[Any]]:
    """far/2 with the directions of the picture.

    It stands for a gradient g of the same direction and inverse length. What a pixel to the right and a pixel up add to
    |z| is g · right and g · up, and the distance in pixels is a vector of that direction and inverse length. So it is
    right in stretched views too, where distance depends on the direction.
    """
    view = plan(request)
    pixel = math.hypot(*view.right)
    x, y = far.real.astype(np.float64), far.imag.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore", over="ignore"):
        inverse = 2.0 / (x * x + y * y)
        right = (x * (view.right[0] / pixel) + y * (view.right[1] / pixel)) * inverse
        up = -(x * (view.down[0] / pixel) + y * (view.down[1] / pixel)) * inverse
        square = right * right + up * up
        known = np.isfinite(square) & (square > 0.0)
        return {
            "DEX": np.where(known, right / square, 0.0).astype(np.float32),
            "DEY": np.where(known, up / square, 0.0).astype(np.float32),
        }


def need_exr() -> None:
    """Raise MissingExtraError if EXR files cannot be written here: better said before a render than after it."""
    if importlib.util.find_spec("OpenEXR") is None:
        raise MissingExtraError("writing EXR files", "exr")


def write_exr(
    file: BinaryIO,
    n: Counts,
    nf: Fractions,
    request: RenderRequest,
    z: Points | None = None,
    far: Points | None = None,
) -> None:
    """An EXR file with `exr_channels`: scan lines, losslessly compressed.

    Attributes: `Iterations` (max_iter) and `IterationsBias`, by which the programs read counts; `KallesFraktaler2+`
    with the view as a .kfr file, from which both take it again, if they have the formula; `rfm-request` with the
    request as JSON. Raises MissingExtraError without OpenEXR.
    """
    need_exr()
    import OpenEXR

    header: dict[str, Any] = {
        "compression": OpenEXR.ZIP_COMPRESSION,
        "type": OpenEXR.scanlineimage,
        "Iterations": request.max_iter,
        "IterationsBias": ITERATIONS_BIAS,
        REQUEST_KEY: msgspec.json.encode(request).decode(),
    }
    # Without it for a formula that those programs do not have: they could not show it anyway.
    with contextlib.suppress(BadRequestError):
        header[KF_KEY] = kfr.write(request)
    channels = {name: np.ascontiguousarray(plane) for name, plane in exr_channels(n, nf, request, z, far).items()}
    OpenEXR.File(header, channels).write(file)
