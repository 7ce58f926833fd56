"""The last phase of a render: colour the frame, write the PNG, describe the files. In a worker's compute thread.

All of it strip by strip: a frame may be larger than memory.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from rfm_kernels.colour import DISTANCE, FIELD_LINES, HISTOGRAM, SMOOTH, TALLY_BINS, colour, ranks, tally
from rfm_kernels.gradient import CLAMP, FINE_STEPS, MIRROR, STEPS, WRAP, table
from rfm_runtime.engine.frames import ARTIFACTS, HOLE, HOLES, Frame, Interrupted, IsStopped, describe
from rfm_runtime.engine.png import PngWriter
from rfm_runtime.protocol.operation import Artifact
from rfm_runtime.render.colouring import Colouring
from rfm_runtime.render.image_metadata import to_text
from rfm_runtime.render.palettes import gradient
from rfm_runtime.render.plan import plan
from rfm_runtime.render.request import RenderRequest

__all__ = ["HOLE_RGB", "finish"]

STRIP_PX = 256 * 1024
"""Pixels between two looks at the stop flag: milliseconds, and a megabyte or two of memory."""

HOLE_RGB = ((255, 0, 255), (0, 0, 0))
"""A chequerboard of both, which no palette has: nobody takes a hole for part of the picture."""

HOLE_SQUARE_PX = 4


MODES = {"smooth": SMOOTH, "distance": DISTANCE, "histogram": HISTOGRAM, "field_lines": FIELD_LINES}
ENDS = {"mirror": MIRROR, "wrap": WRAP, "clamp": CLAMP}

UNITS = 1000.0
"""Distances that colours follow from are in thousandths of the view's width: a picture of any size has the same."""


def finish(frame: Frame, request: RenderRequest, is_stopped: IsStopped) -> tuple[Artifact, ...]:
    """Write `image.png`, `artifacts.json` and, where there are holes, `holes.json` into the frame's folder.

    Raises Interrupted, OSError.
    """
    holes = frame.holes()
    temporary = frame.folder / "image.png.part"
    try:
        with temporary.open("wb") as file:
            picture = PngWriter(
                file, frame.grid.width_px, frame.grid.height_px, to_text(request, holes), bits=request.bits
            )
            _colour(frame, request, picture, is_stopped)
            picture.end()
        temporary.rename(frame.folder / "image.png")
    finally:
        temporary.unlink(missing_ok=True)
    files = [("image.png", "image/png"), *((f"{name}.npy", "application/x-npy") for name in frame.planes)]
    if holes:
        (frame.folder / HOLES).write_bytes(msgspec.json.encode(holes))
        files.append((HOLES, "application/json"))
    # Whole or not there: a folder with this file is finished.
    description = frame.folder / f"{ARTIFACTS}.part"
    artifacts = tuple(describe(frame.folder, name, media_type, is_stopped) for name, media_type in files)
    description.write_bytes(msgspec.json.encode(artifacts))
    description.rename(frame.folder / ARTIFACTS)
    return artifacts


def _colour(frame: Frame, request: RenderRequest, picture: PngWriter, is_stopped: IsStopped) -> None:
    height, width = frame.grid.height_px, frame.grid.width_px
    strip = max(1, math.ceil(STRIP_PX / width))
    view = plan(request)
    steps = _table(request)
    share = _ranks(frame, strip, is_stopped) if request.colouring == "histogram" else None
    pixels = np.empty((min(strip, height), width, 3), np.uint16 if request.bits == 16 else np.uint8)
    for top in range(0, height, strip):
        if is_stopped():
            raise Interrupted
        n, nf = frame.tile(0, top, width, min(strip, height - top))
        more = frame.more(0, top, width, len(n))
        rows = pixels[: len(n)]
        colour(
            n, nf, steps, request.interior_rgb, request.density, request.offset, rows,
            mode=MODES[request.colouring],
            clamp=request.cyclic == "clamp",
            degree=view.degree,
            axes=(view.right[0], view.down[0], view.right[1], view.down[1]),
            unit=request.width_px / UNITS,
            share=share,
            light=request.light,
            dither=request.dither,
            py0=top,
            z=more.get("z"),
            far=more.get("far"),
        )  # fmt: skip
        _show_holes(n, rows, top)
        picture.rows(rows)


def _table(look: Colouring) -> NDArray[np.uint16]:
    found = gradient(look.palette)
    return table(
        np.frombuffer(found.colours, np.uint8).reshape(-1, 3),
        np.array(found.positions) if found.positions else None,
        end=ENDS[look.cyclic],
        perceptual=not found.published,
        steps=FINE_STEPS if look.bits == 16 or look.dither else STEPS,
    )


def _ranks(frame: Frame, strip: int, is_stopped: IsStopped) -> NDArray[np.float64]:
    """Of the whole frame, which each pixel is coloured by."""
    bins = np.zeros(TALLY_BINS, np.int64)
    for top in range(0, frame.grid.height_px, strip):
        if is_stopped():
            raise Interrupted
        tally(*frame.tile(0, top, frame.grid.width_px, min(strip, frame.grid.height_px - top)), bins)
    return ranks(bins)


def _show_holes(n: NDArray[np.int32], rgb: NDArray[np.uint8] | NDArray[np.uint16], top: int) -> None:
    y, x = np.nonzero(n == HOLE)
    if len(y):
        square = ((y + top) // HOLE_SQUARE_PX + x // HOLE_SQUARE_PX) % 2
        levels = 65_535 // 255 if rgb.dtype == np.uint16 else 1
        rgb[y, x] = (np.array(HOLE_RGB) * levels)[square]
