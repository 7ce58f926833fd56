"""The last phase of a render: colour the frame, write the PNG, describe the files. In a worker's compute thread.

All of it strip by strip: a frame may be larger than memory.
"""

from __future__ import annotations

import math

import msgspec
import numpy as np
from numpy.typing import NDArray

from rfm_kernels.colour import colour
from rfm_runtime.engine.frames import ARTIFACTS, HOLE, HOLES, Frame, Interrupted, IsStopped, describe
from rfm_runtime.engine.png import PngWriter
from rfm_runtime.protocol.operation import Artifact
from rfm_runtime.render.image_metadata import to_text
from rfm_runtime.render.palettes import palette
from rfm_runtime.render.request import RenderRequest

__all__ = ["HOLE_RGB", "finish"]

STRIP_PX = 256 * 1024
"""Pixels between two looks at the stop flag: milliseconds, and a megabyte or two of memory."""

HOLE_RGB = ((255, 0, 255), (0, 0, 0))
"""A chequerboard of both, which no palette has: nobody takes a hole for part of the picture."""

HOLE_SQUARE_PX = 4


def finish(frame: Frame, request: RenderRequest, is_stopped: IsStopped) -> tuple[Artifact, ...]:
    """Write `image.png`, `artifacts.json` and, where there are holes, `holes.json` into the frame's folder.

    Raises Interrupted, OSError.
    """
    holes = frame.holes()
    temporary = frame.folder / "image.png.part"
    try:
        with temporary.open("wb") as file:
            picture = PngWriter(file, frame.grid.width_px, frame.grid.height_px, to_text(request, holes))
            _colour(frame, request, picture, is_stopped)
            picture.end()
        temporary.rename(frame.folder / "image.png")
    finally:
        temporary.unlink(missing_ok=True)
    files = [("image.png", "image/png"), ("n.npy", "application/x-npy"), ("nf.npy", "application/x-npy")]
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
    table = np.frombuffer(palette(request.palette), np.uint8).reshape(-1, 3)
    inside = int(request.interior[1:3], 16), int(request.interior[3:5], 16), int(request.interior[5:7], 16)
    height, width = frame.grid.height_px, frame.grid.width_px
    strip = max(1, math.ceil(STRIP_PX / width))
    pixels = np.empty((min(strip, height), width, 3), np.uint8)
    for top in range(0, height, strip):
        if is_stopped():
            raise Interrupted
        n, nf = frame.tile(0, top, width, min(strip, height - top))
        rows = pixels[: len(n)]
        colour(n, nf, table, inside, request.density, request.offset, rows)
        _show_holes(n, rows, top)
        picture.rows(rows)


def _show_holes(n: NDArray[np.int32], rgb: NDArray[np.uint8], top: int) -> None:
    y, x = np.nonzero(n == HOLE)
    if len(y):
        square = ((y + top) // HOLE_SQUARE_PX + x // HOLE_SQUARE_PX) % 2
        rgb[y, x] = np.array(HOLE_RGB, np.uint8)[square]
