"""Files that a view of the explorer can be written to. Pure."""

from __future__ import annotations

from pathlib import Path
from typing import Literal, NamedTuple

from rfm_runtime.errors import BadRequestError
from rfm_runtime.render.files.params import WRITERS

__all__ = ["FORMATS", "Format", "filters", "format_of"]

Content = Literal["picture", "raw", "exr", "parameters"]


class Format(NamedTuple):
    """words: for a list to choose from. bits: a channel, of a picture."""

    content: Content
    words: str
    suffix: str
    bits: int = 8

    @property
    def filter(self) -> str:
        """As file dialogs have it."""
        return f"{self.words} (*{self.suffix})"


FORMATS = (
    Format("picture", "Picture", ".png"),
    Format("picture", "Picture, 16 bits a channel", ".png", bits=16),
    Format("raw", "Raw data for NumPy", ".npz"),
    Format("exr", "Raw data as OpenEXR", ".exr"),
    Format("parameters", "Parameters", ".toml"),
    Format("parameters", "Location for Kalles Fraktaler", ".kfr"),
)


def filters() -> str:
    """All of them for a file dialog."""
    return ";;".join(one.filter for one in FORMATS)


def format_of(path: Path, chosen: str = "") -> tuple[Path, Format]:
    """Where to write and what, by the filter that was chosen in a dialog and the name that was typed.

    A name without a suffix gets the one of the filter; another suffix that is known decides. Raises BadRequestError.
    """
    wanted = next((one for one in FORMATS if one.filter == chosen), FORMATS[0])
    suffix = path.suffix.lower()
    if not suffix:
        return path.with_name(path.name + wanted.suffix), wanted
    if suffix == wanted.suffix:
        return path, wanted
    for one in FORMATS:
        if one.suffix == suffix:
            return path, one
    if suffix in WRITERS:
        return path, Format("parameters", "Parameters", suffix)
    ends = ", ".join(dict.fromkeys(one.suffix for one in FORMATS))
    raise BadRequestError(f"nothing is written to files that end with {path.suffix[:20]}", hint=f"end it with {ends}")
