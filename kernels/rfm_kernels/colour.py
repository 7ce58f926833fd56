"""Smooth colouring: counts and fractions to RGB through a palette, without iterating anything again."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

import numpy as np
from numba import config, njit

if TYPE_CHECKING:
    from numpy.typing import NDArray

__all__ = ["PENDING_RGB", "colour"]

PENDING_RGB = 38
"""Grey of pixels that are not computed yet: dark, neutral, in none of the palettes."""
STEPS = 4096
"""Entries of the cyclic table: a step is far below one of 256 levels."""
CHUNK = 512

SIGNATURE = (
    "void(int32[:, :], float32[:, :], uint8[:, ::1], uint8[::1], float64, float64, float64[::1], uint8[:, :, :])"
)


@njit([SIGNATURE], nogil=True, cache=bool(config.CACHE_DIR), error_model="numpy")
def _colour(
    n: NDArray[np.int32],
    nf: NDArray[np.float32],
    table: NDArray[np.uint8],
    interior_rgb: NDArray[np.uint8],
    density: float,
    offset: float,
    place: NDArray[np.float64],
    out_rgb: NDArray[np.uint8],
) -> None:
    h, w = n.shape
    for y in range(h):
        for x0 in range(0, w, CHUNK):
            width = min(CHUNK, w - x0)
            # Apart from the look-up, so that logarithm and square root keep the pipelines busy.
            for x in range(width):
                mu = float(n[y, x0 + x]) + float(nf[y, x0 + x])
                place[x] = math.log2(max(mu, 0.0) + 1.0) * density + offset
            for x in range(width):
                count = n[y, x0 + x]
                if count >= 0:
                    entry = np.int64((place[x] - math.floor(place[x])) * STEPS) & (STEPS - 1)
                    for k in range(3):
                        out_rgb[y, x0 + x, k] = table[entry, k]
                else:
                    for k in range(3):
                        out_rgb[y, x0 + x, k] = interior_rgb[k] if count == -1 else PENDING_RGB


def _cyclic_table(lut: NDArray[np.uint8] | NDArray[np.float32]) -> NDArray[np.uint8]:
    """The palette forward and back again in STEPS entries, interpolated: it has no seam."""
    places = 1.0 - np.abs(1.0 - 2.0 * np.arange(STEPS) / STEPS)
    points = np.linspace(0.0, 1.0, len(lut))
    columns = [np.interp(places, points, lut[:, k].astype(np.float64)) for k in range(3)]
    return np.ascontiguousarray(np.clip(np.rint(np.stack(columns, axis=1)), 0, 255).astype(np.uint8))


def colour(
    n: NDArray[np.int32],
    nf: NDArray[np.float32],
    lut: NDArray[np.uint8] | NDArray[np.float32],
    interior_rgb: tuple[int, int, int],
    density: float,
    offset: float,
    out_rgb: NDArray[np.uint8],
) -> None:
    """Colour a tile or a frame.

    n, nf: raw data [h, w], see `rfm_kernels.escape_time`. lut: [k, 3], k ≥ 2, values 0–255. A pixel gets the
    palette, run through to its end and back, at the fraction of density · log2(mu + 1) + offset: `density` is
    the number of runs each time the count doubles. out_rgb: uint8 [h, w, 3], written. The same input gives
    the same bytes.
    """
    if out_rgb.shape != (*n.shape, 3) or nf.shape != n.shape:
        raise ValueError(f"shapes do not fit: n {n.shape}, nf {nf.shape}, out_rgb {out_rgb.shape}")
    inside = np.array(interior_rgb, np.uint8)
    _colour(n, nf, _cyclic_table(lut), inside, float(density), float(offset), np.empty(CHUNK), out_rgb)
