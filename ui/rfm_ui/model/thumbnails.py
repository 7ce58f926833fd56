"""Small pictures of views: what is rendered for them, and what they are called in the cache. Pure."""

from __future__ import annotations

import hashlib

import msgspec
from msgspec.structs import replace

from rfm_runtime.render.request import RenderRequest
from rfm_ui.model.views import fitted

__all__ = ["THUMBNAIL_PX", "cache_name", "small"]

THUMBNAIL_PX = 212, 132
"""Twice what they cover on a plain screen."""


def small(view: RenderRequest) -> RenderRequest:
    """The view in a small picture. Distances are in pixels of a picture, so that its relief is the same."""
    return replace(fitted(view, *THUMBNAIL_PX), samples=1, bits=8, dither=False, tile_px=None)


def cache_name(view: RenderRequest) -> str:
    """A file for each picture."""
    digest = hashlib.blake2b(msgspec.json.encode(view), digest_size=12).hexdigest()
    return f"{digest}.png"
