"""Colours what is there: a finished frame in another way, or a part of one as far as it is computed. In a helper."""

from __future__ import annotations

import contextlib
import hashlib
import os
import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec
import numpy as np

from rfm_runtime.core.tiles.order import grid_of
from rfm_runtime.engine import image, pipe
from rfm_runtime.engine.frames import Frame, describe, flush_folder, read_artifact, read_holes
from rfm_runtime.engine.painter import Painter
from rfm_runtime.engine.png import PngWriter
from rfm_runtime.errors import BadRequestError
from rfm_runtime.observe.process import available_cores
from rfm_runtime.render.colouring import Colouring
from rfm_runtime.render.files.png import text_chunks
from rfm_runtime.render.image_metadata import from_text, to_text
from rfm_runtime.render.refusals import nearest
from rfm_runtime.render.request import RenderRequest, validate

__all__ = ["pixels", "recoloured"]

THREADS_LIMIT = 8
LEVEL = 1
"""Of compression: somebody waits for it."""

KEPT = 8
"""Pictures of one frame; the oldest goes when another comes."""

STALE_S = 300.0

TEXT_BYTES = 1024 * 1024
"""At the beginning of a picture, where its parameters are."""


def request_of(folder: Path) -> RenderRequest:
    """What a finished frame was rendered from. Raises BadRequestError, OSError."""
    with (folder / "image.png").open("rb") as file:
        beginning = file.read(TEXT_BYTES)
    return from_text(text_chunks(beginning, whole=False))


def opened(folder: Path, request: RenderRequest) -> Frame:
    """To be read."""
    has_derivative = (folder / "far.npy").exists()
    return Frame(folder, grid_of(request), derivative=has_derivative, samples=request.samples, writable=False)


def with_look(request: RenderRequest, look: Mapping[str, Any]) -> RenderRequest:
    """The request with these colours. Raises BadRequestError for what is no matter of colours, or out of range."""
    for name in look:
        if name not in Colouring.__struct_fields__:
            hint = "only colours can be changed afterwards: " + nearest(name, Colouring.__struct_fields__)
            raise BadRequestError(f"{name[:40]!r} is not a matter of colours", hint=hint)
    if look.get("colouring") == "orbit_trap" and request.trap is None:
        raise BadRequestError(
            "this frame has no trap's distances", hint="render it with a trap; then it can be coloured by it"
        )
    kept = {name: value for name, value in msgspec.to_builtins(request).items() if value is not None}
    return validate({**kept, **look})


def recoloured(job: pipe.Recolour) -> pipe.JobAnswer:
    """Write the picture into the frame's folder, or find that it is there. Raises BadRequestError, OSError."""
    folder = Path(job.folder)
    rendered = request_of(folder)
    request = with_look(rendered, job.look)
    if request.by_period and not rendered.by_period:
        raise BadRequestError(
            "this frame has no periods", hint='render it with "period" for its interior; then all can be changed'
        )
    if request.needs_derivative and not (folder / "far.npy").exists():
        raise BadRequestError(
            "this frame has no distances, which these colours follow from",
            hint="render it with distances, or with slopes; then all can be changed",
        )
    digest = hashlib.blake2b(msgspec.json.encode(request), digest_size=8).hexdigest()
    name = f"{pipe.RECOLOURED}{digest}.png"
    known = read_artifact(folder, name)
    if known is not None:
        # It is among the newest again, so that it stays until it is fetched.
        with contextlib.suppress(FileNotFoundError):
            os.utime(folder / name)
        return pipe.Picture(known)
    frame = opened(folder, request)
    partial = folder / f".{name}.{os.getpid()}"
    try:
        with partial.open("wb") as file:
            picture = PngWriter(
                file, frame.grid.width_px, frame.grid.height_px, to_text(request, read_holes(folder)),
                bits=request.bits,
            )  # fmt: skip
            image.paint(frame, request, picture, bool, threads=min(available_cores(), THREADS_LIMIT), level=LEVEL)
            picture.end()
        artifact = msgspec.structs.replace(describe(folder, partial.name, "image/png"), name=name)
        _make_room(folder)
        partial.replace(folder / name)
        description = folder / f".{name}.{os.getpid()}.json"
        description.write_bytes(msgspec.json.encode(artifact))
        description.replace(folder / f"{name}.json")
    finally:
        partial.unlink(missing_ok=True)
    flush_folder(folder)
    return pipe.Picture(artifact)


def _age_s(path: Path) -> float:
    """Since it was written; none if somebody else has removed it meanwhile."""
    try:
        return time.time() - path.stat().st_mtime
    except FileNotFoundError:
        return 0.0


def _make_room(folder: Path) -> None:
    for left in folder.glob(f".{pipe.RECOLOURED}*"):
        # Of a helper that was killed: those that live are younger.
        if _age_s(left) > STALE_S:
            left.unlink(missing_ok=True)
    pictures = sorted(folder.glob(f"{pipe.RECOLOURED}*.png"), key=_age_s)
    for path in pictures[KEPT - 1 :]:
        path.with_name(f"{path.name}.json").unlink(missing_ok=True)
        path.unlink(missing_ok=True)


def pixels(job: pipe.Pixels) -> pipe.JobAnswer:
    """The colours of a part of a frame, as far as it is computed. Raises BadRequestError, OSError."""
    folder = Path(job.folder)
    request = validate(msgspec.msgpack.decode(job.params)) if job.params is not None else request_of(folder)
    frame = opened(folder, request)
    x, y, width, height = job.place
    if x + width > frame.grid.width_px or y + height > frame.grid.height_px:
        raise BadRequestError(
            f"{width}×{height} pixels at {x}, {y} are not all in the frame",
            hint=f"it has {frame.grid.width_px}×{frame.grid.height_px}",
        )
    planes = frame.all_samples(*job.place, step=job.step)
    rgb = np.empty((*planes["n"].shape[1:], 3), np.uint8)
    flat = msgspec.structs.replace(request, bits=8)
    share = image.shares(frame) if request.colouring == "histogram" else None
    Painter(flat, share).paint(**planes, out_rgb=rgb, left=x, top=y)
    image.show_holes(planes["n"][0], rgb, y)
    return pipe.Rgb(rgb.shape[1], rgb.shape[0], rgb.tobytes())
