"""Parameters out of any file that has them, and into those that people keep."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct

from rfm_runtime.errors import BadRequestError
from rfm_runtime.render.files import kfp, kfr, toml
from rfm_runtime.render.files.png import SIGNATURE, text_chunks
from rfm_runtime.render.files.text import decoded
from rfm_runtime.render.image_metadata import REQUEST_KEY, from_text
from rfm_runtime.render.refusals import shown
from rfm_runtime.render.request import RenderRequest

__all__ = ["WRITERS", "Found", "read", "writer"]

COMMENT_KEY = "Comment"
"""Chunk in which Kalles Fraktaler keeps its .kfr file in the pictures that it saves."""

WRITERS: dict[str, Callable[[RenderRequest], str]] = {".toml": toml.write, ".kfr": kfr.write, ".kfp": kfp.write}
"""By suffix."""


class Found(Struct, frozen=True, kw_only=True):
    """params: of a request, not validated yet. notes, ignored: see `rfm_runtime.render.files.kfr.Location`."""

    params: dict[str, Any]
    notes: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


def read(suffix: str, data: bytes | memoryview, *, width_px: int | None = None, height_px: int | None = None) -> Found:
    """The parameters in a file with that suffix. A PNG is known by its first bytes, text without a suffix is TOML.

    width_px, height_px: of the picture to be, where it is known already; a .kfr file says how high its view is.
    Raises BadRequestError.
    """
    if bytes(data[: len(SIGNATURE)]) == SIGNATURE:
        return _picture(data, width_px, height_px)
    kind = suffix.lower()
    if kind == ".kfr":
        return _location(decoded(data), width_px, height_px)
    if kind == ".kfp":
        params, ignored = kfp.read(decoded(data))
        return Found(params=params, ignored=ignored)
    if kind not in (".toml", ""):
        raise BadRequestError(
            f"files called {shown(suffix, 20)} have no parameters that are understood",
            hint="a view is read from a PNG, a TOML, a .kfr or a .kfp file",
        )
    return Found(params=toml.read(decoded(data)))


def _picture(data: bytes | memoryview, width_px: int | None, height_px: int | None) -> Found:
    chunks = text_chunks(data)
    foreign = chunks.get(COMMENT_KEY, "")
    if REQUEST_KEY not in chunks and "Re: " in foreign:
        return _location(foreign, width_px, height_px)
    return Found(params=toml.non_defaults(from_text(chunks)))


def _location(text: str, width_px: int | None, height_px: int | None) -> Found:
    location = kfr.read(text, width_px=width_px, height_px=height_px)
    return Found(params=location.params, notes=location.notes, ignored=location.ignored)


def writer(suffix: str) -> Callable[[RenderRequest], str]:
    """The function that makes the text of a file with that suffix. Raises BadRequestError for one that there is not."""
    try:
        return WRITERS[suffix.lower()]
    except KeyError:
        raise BadRequestError(
            f"parameters are not saved as {shown(suffix, 20) or 'a file without a suffix'}",
            hint=f"end its name with {', '.join(WRITERS)}",
        ) from None
