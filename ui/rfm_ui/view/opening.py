"""Views out of files that somebody opens or drops: pictures, parameters, bookmarks."""

from __future__ import annotations

import mmap
import os
from pathlib import Path

from rfm_runtime.errors import BadRequestError, SetupError
from rfm_runtime.render.files.params import Found, read
from rfm_runtime.render.request import RenderRequest, validate
from rfm_ui.model.plain_files import opened

__all__ = ["OPENED", "view_in"]

OPENED = (".png", ".toml", ".kfr", ".kfp")
"""Ends of their names."""


def view_in(path: Path) -> tuple[RenderRequest, str]:
    """The view, and what will look different than where the file comes from. Raises BadRequestError, SetupError."""
    try:
        found = _read(path)
    except OSError as error:
        raise SetupError(f"cannot read {path}: {error.strerror}", hint="name a file that is there") from None
    if "re" not in found.params:
        raise BadRequestError("there is no view in it", hint="open a PNG, a TOML or a .kfr file with one")
    return validate(found.params), "; ".join(found.notes)


def _read(path: Path) -> Found:
    with opened(path) as file:
        if not os.fstat(file.fileno()).st_size:
            raise BadRequestError("the file is empty", hint="a view is read from a PNG, a TOML or a .kfr file")
        # A picture may be larger than memory, and its text is in its first pages.
        with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as mapped, memoryview(mapped) as data:
            return read(path.suffix, data)
