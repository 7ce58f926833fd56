"""The last phase of a render: colour the frame, write the PNG, describe the files. In a worker's compute thread.

Whoever colours a finished frame again uses the same.

All of it strip by strip: a frame may be larger than memory.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor

import msgspec
import numpy as np
from numpy.typing import NDArray

from rfm_kernels.colour import TALLY_BINS, ranks, tally
from rfm_runtime.engine.frames import ARTIFACTS, HOLE, HOLES, Frame, Interrupted, IsStopped, describe
from rfm_runtime.engine.painter import Painter
from rfm_runtime.engine.png import COMPRESS_LEVEL, PngWriter, Strip, compressed
from rfm_runtime.protocol.operation import Artifact
from rfm_runtime.render.image_metadata import to_text
from rfm_runtime.render.request import RenderRequest

__all__ = ["HOLE_RGB", "finish", "paint", "shares", "show_holes"]

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
            picture = PngWriter(
                file, frame.grid.width_px, frame.grid.height_px, to_text(request, holes), bits=request.bits
            )
            paint(frame, request, picture, is_stopped)
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


def paint(
    frame: Frame,
    request: RenderRequest,
    picture: PngWriter,
    is_stopped: IsStopped,
    *,
    threads: int = 1,
    level: int = COMPRESS_LEVEL,
) -> None:
    """Colour a frame and write its rows. Raises Interrupted, OSError.

    threads: the file is the same whatever their number. level: of compression, see `rfm_runtime.engine.png`.
    """
    height, width = frame.grid.height_px, frame.grid.width_px
    strip = _strip_of(frame)
    painter = Painter(request, shares(frame, is_stopped) if request.colouring == "histogram" else None)
    kind = np.uint16 if request.bits == 16 else np.uint8

    def painted(top: int) -> Strip:
        if is_stopped():
            raise Interrupted
        # With the row above, from which the first one is written as a difference.
        first = max(top - 1, 0)
        planes = frame.all_samples(0, first, width, min(top + strip, height) - first)
        rows = np.empty((*planes["n"].shape[1:], 3), kind)
        painter.paint(**planes, out_rgb=rows, top=first)
        show_holes(planes["n"][0], rows, first)
        return compressed(rows[top - first :], rows[0] if top else None, level=level)

    tops = range(0, height, strip)
    for done in map(painted, tops) if threads == 1 else _threaded(painted, tops, threads):
        picture.strip(done)


def _strip_of(frame: Frame) -> int:
    return max(1, math.ceil(STRIP_PX / frame.grid.width_px))


def _threaded(painted: Callable[[int], Strip], tops: Iterable[int], threads: int) -> Iterator[Strip]:
    """In order, with no more of them under way than keep the threads busy: a picture may be larger than memory."""
    with ThreadPoolExecutor(threads) as pool:
        waiting: deque[Future[Strip]] = deque()
        try:
            for top in tops:
                waiting.append(pool.submit(painted, top))
                if len(waiting) > 2 * threads:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            pool.shutdown(cancel_futures=True)


def shares(frame: Frame, is_stopped: IsStopped = bool) -> NDArray[np.float64]:
    """Of the whole frame, which each pixel of a histogram is coloured by. Raises Interrupted."""
    strip = _strip_of(frame)
    bins = np.zeros(TALLY_BINS, np.int64)
    for top in range(0, frame.grid.height_px, strip):
        if is_stopped():
            raise Interrupted
        tally(*frame.tile(0, top, frame.grid.width_px, min(strip, frame.grid.height_px - top)), bins)
    return ranks(bins)


def show_holes(n: NDArray[np.int32], rgb: NDArray[np.uint8] | NDArray[np.uint16], top: int) -> None:
    """Chequers over the pixels that nobody could compute. top: of the rows, in the frame."""
    y, x = np.nonzero(n == HOLE)
    if len(y):
        square = ((y + top) // HOLE_SQUARE_PX + x // HOLE_SQUARE_PX) % 2
        levels = 65_535 // 255 if rgb.dtype == np.uint16 else 1
        rgb[y, x] = (np.array(HOLE_RGB) * levels)[square]
