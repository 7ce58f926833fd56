"""Where somebody has left the explorer, so that the next window is there again. Pure."""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from rfm_runtime.errors import BadRequestError
from rfm_runtime.render.files.toml import non_defaults
from rfm_runtime.render.request import RenderRequest, validate

__all__ = ["Left", "left", "where_left"]


class Left(Struct, frozen=True, kw_only=True):
    """view: None if it is none any more, as of a formula whose package has gone. panel: which one is beside it."""

    view: RenderRequest | None
    panel: int
    has_panel: bool


class _Kept(Struct, frozen=True, kw_only=True):
    view: dict[str, Any]
    panel: int = 0
    has_panel: bool = True


def left(view: RenderRequest, panel: int, *, has_panel: bool) -> str:
    """As a text."""
    return msgspec.json.encode(_Kept(view=non_defaults(view), panel=panel, has_panel=has_panel)).decode()


def where_left(text: str) -> Left | None:
    """What `left` has made; None for anything else."""
    try:
        kept = msgspec.json.decode(text, type=_Kept)
    except (msgspec.DecodeError, RecursionError):
        return None
    try:
        view: RenderRequest | None = validate(kept.view)
    except BadRequestError:
        view = None
    return Left(view=view, panel=kept.panel, has_panel=kept.has_panel)
