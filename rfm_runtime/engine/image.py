"""The last phase of a render: colour the frame, write the PNG, describe the files. In a worker's compute thread."""

from __future__ import annotations

import io
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
import numpy as np
from numpy.typing import NDArray
from PIL import Image, PngImagePlugin

from rfm_kernels.colour import colour
from rfm_runtime.engine.frames import ARTIFACTS, Frame, Interrupted, IsStopped, describe
from rfm_runtime.protocol.operation import Artifact
from rfm_runtime.render.image_metadata import to_text
from rfm_runtime.render.palettes import palette
from rfm_runtime.render.request import RenderRequest

if TYPE_CHECKING:
    from _typeshed import ReadableBuffer

__all__ = ["finish"]

STRIP_ROWS = 256
"""Rows coloured between two looks at the stop flag: milliseconds at 4K."""

COMPRESS_LEVEL = 3
"""zlib's: a fifth larger than the default of 6 on smooth pictures, at a third of its time (measured at 4K)."""


class _Stoppable(io.BytesIO):
    """A file that gives up between two writes: Pillow writes 64 KiB at a time into what has no descriptor."""

    def __init__(self, path: Path, is_stopped: IsStopped) -> None:
        super().__init__()
        self._file = path.open("wb")
        self._is_stopped = is_stopped

    def write(self, data: ReadableBuffer, /) -> int:
        if self._is_stopped():
            raise Interrupted
        return self._file.write(data)

    def close(self) -> None:
        self._file.close()
        super().close()


def finish(frame: Frame, request: RenderRequest, is_stopped: IsStopped) -> tuple[Artifact, ...]:
    """Write `image.png` and `artifacts.json` into the frame's folder. Raises Interrupted, OSError."""
    pixels = _colour(frame, request, is_stopped)
    temporary = frame.folder / "image.png.part"
    try:
        information = PngImagePlugin.PngInfo()
        for key, value in to_text(request).items():
            information.add_itxt(key, value)
        with _Stoppable(temporary, is_stopped) as file:
            Image.fromarray(pixels).save(file, "PNG", pnginfo=information, compress_level=COMPRESS_LEVEL)
        temporary.rename(frame.folder / "image.png")
    finally:
        temporary.unlink(missing_ok=True)
    artifacts = []
    for name, media_type in (
        ("image.png", "image/png"),
        ("n.npy", "application/x-npy"),
        ("nf.npy", "application/x-npy"),
    ):
        if is_stopped():
            raise Interrupted
        artifacts.append(describe(frame.folder, name, media_type))
    # Whole or not there: a folder with this file is finished.
    description = frame.folder / f"{ARTIFACTS}.part"
    description.write_bytes(msgspec.json.encode(artifacts))
    description.rename(frame.folder / ARTIFACTS)
    return tuple(artifacts)


def _colour(frame: Frame, request: RenderRequest, is_stopped: IsStopped) -> NDArray[np.uint8]:
    pixels = np.empty((*frame.n.shape, 3), np.uint8)
    table = np.frombuffer(palette(request.palette), np.uint8).reshape(-1, 3)
    inside = int(request.interior[1:3], 16), int(request.interior[3:5], 16), int(request.interior[5:7], 16)
    for top in range(0, frame.n.shape[0], STRIP_ROWS):
        if is_stopped():
            raise Interrupted
        rows = slice(top, top + STRIP_ROWS)
        colour(frame.n[rows], frame.nf[rows], table, inside, request.density, request.offset, pixels[rows])
    return pixels
