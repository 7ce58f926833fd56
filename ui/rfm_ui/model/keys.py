"""What wheel, pointer and keys do that are no actions: by page, as the page of keys has them. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Final

__all__ = ["OTHER_KEYS"]

OTHER_KEYS: Final[Mapping[str, tuple[tuple[str, str], ...]]] = {
    "Operations": (
        ("↑ ↓", "Another operation"),
        ("Shift+↑ ↓, Ctrl+A", "Several of them"),
        ("Home, End", "The first, the last"),
    ),
    "Explorer": (
        ("Wheel, + −", "Nearer to what is under the pointer, or farther"),
        ("Drag, arrows", "Along"),
        ("Shift+drag", "A frame that is to fill the picture"),
        ("Right drag, Ctrl+drag, [ ]", "Turn it"),
    ),
    "Timeline": (
        ("Wheel, + −", "Nearer or farther in time"),
        ("Drag, ← →", "Along"),
        ("End", "Back to now"),
    ),
}
