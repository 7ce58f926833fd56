"""Refusals of a render's parameters in the words of a command line."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from rfm_runtime.errors import BadRequestError

__all__ = ["by_options"]

CALLED = {
    "width_px": "--size",
    "height_px": "--size",
    "tile_px": "--tile",
    "rotation_deg": "--rotation",
    "skew_deg": "--skew",
    "light_azimuth_deg": "--light-azimuth",
    "light_elevation_deg": "--light-elevation",
    "trap_re": "--trap-at",
    "trap_im": "--trap-at",
    "focus_x": "--focus",
    "focus_y": "--focus",
}
"""Parameters whose option is called otherwise."""


@contextmanager
def by_options(given: Iterable[str]) -> Iterator[None]:
    """A refusal of a parameter that was given by an option says that option; what a file says keeps its name.

    given: names of these parameters.
    """
    options = {name: CALLED.get(name, f"--{name.replace('_', '-')}") for name in given}
    try:
        yield
    except BadRequestError as error:
        error.message, error.hint = (_worded(text, options) for text in (error.message, error.hint))
        raise


def _worded(text: str, options: dict[str, str]) -> str:
    def option(match: re.Match[str]) -> str:
        name = match[0]
        # Within a sentence a name of one word is a word like others.
        return options.get(name, name) if "_" in name or match.start() == 0 else name

    # What somebody wrote is repeated as it is.
    return re.sub(r"'[^']*'|\b[a-z]+(?:_[a-z]+)*\b", option, text)
