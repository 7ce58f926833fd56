"""Options that say how large a picture is, and how long its points are iterated."""

from __future__ import annotations

import re
from typing import Annotated

import typer

from rfm_runtime.errors import BadRequestError

__all__ = ["IterationsOption", "SizeOption", "pixels_of"]

SizeOption = Annotated[str | None, typer.Option(metavar="WxH", help="Pixels, e.g. 1920x1080.")]


def _iterations(text: str) -> int:
    if text == "auto":
        return 0
    try:
        return int(text)
    except ValueError:
        raise typer.BadParameter(f"{text!r} is no number, and not auto") from None


IterationsOption = Annotated[
    int | None,
    typer.Option(metavar="NUMBER|auto", parser=_iterations, help="Iterations after which a point counts as inside."),
]


def pixels_of(size: str | None) -> dict[str, int]:
    """The parameters it stands for; none without it. Raises BadRequestError."""
    if size is None:
        return {}
    match = re.fullmatch(r"([0-9]{1,6})[x×]([0-9]{1,6})", size)
    if match is None:
        raise BadRequestError(
            f"--size is {size!r}", hint="write it like 1920x1080, with up to six digits for each side"
        )
    return {"width_px": int(match[1]), "height_px": int(match[2])}
