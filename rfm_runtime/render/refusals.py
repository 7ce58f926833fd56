"""How a parameter is refused: what all validation here says in the same words."""

from __future__ import annotations

import difflib
from itertools import accumulate

from rfm_runtime.errors import BadRequestError

__all__ = ["in_range", "nearest", "one_of", "shown"]

ALIKE = 0.7
"""How like a name has to be to the one that is suggested, 0 to 1: less is far-fetched."""
HINT_LIMIT = 200
"""Characters of names in a hint."""


def in_range(name: str, value: float, low: float, high: float) -> None:
    """Raises BadRequestError unless low ≤ value ≤ high."""
    # The negation is what catches NaN.
    if not low <= value <= high:
        # None is near to NaN.
        hint = f"the nearest that can be is {low if value < low else high}" if value == value else "give a number"
        raise BadRequestError(f"{name} is {value}, it has to be from {low} to {high}", hint=hint)


def one_of(kind: str, name: str, known: tuple[str, ...]) -> None:
    """Raises BadRequestError, with the nearest that there is, for a name that is not known."""
    if name not in known:
        raise BadRequestError(f"there is no {kind} {shown(name, 40)!r}", hint=nearest(name, known))


def nearest(name: str, known: tuple[str, ...]) -> str:
    """A hint: the one that was meant, or all of them, as far as they go into a line or two."""
    near = difflib.get_close_matches(name[:64].lower(), known, n=1, cutoff=ALIKE)
    if near:
        return f"did you mean {near[0]}?"
    lengths = accumulate(len(one) + 2 for one in known)
    listed = [one for one, length in zip(known, lengths, strict=True) if length < HINT_LIMIT]
    rest = len(known) - len(listed)
    return f"there are {', '.join(listed)}" + (f" and {rest} more" if rest else "")


def shown(text: str, limit: int) -> str:
    """Foreign text for an error message: short, one line, printable."""
    short = text if len(text) <= limit else text[: limit - 1] + "…"
    return "".join(char if char.isprintable() else "?" for char in short)
