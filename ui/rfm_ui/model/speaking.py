"""Which program speaks or plays a sound, with which arguments, and in which order what waits is said. Pure."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from rfm_runtime.core.notifying.words import spoken

__all__ = ["PLAYERS", "VOICES", "Line", "players", "voice"]

VOICES: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("spd-say", ("--wait", "--application-name", "rfm-runtime", "--")),
    ("espeak-ng", ("--",)),
)
"""The desktop's own comes first: it has the voice that its user has chosen."""

PLAYERS: Final[tuple[tuple[str, tuple[str, ...]], ...]] = (
    ("pw-play", ()),
    ("paplay", ()),
    ("canberra-gtk-play", ("-f",)),
    ("aplay", ("-q",)),
)

SAID_LIMIT = 3
"""That wait to be said: what comes then is said as a number."""

Find = Callable[[str], str]
"""Where a program is, "" if there is none."""


def voice(find: Find, text: str) -> tuple[str, list[str]] | None:
    """The program and its arguments, the last of which is what is to be said; None: nobody here can speak."""
    plain = spoken(text)
    if not plain:
        return None
    for name, options in VOICES:
        path = find(name)
        if path:
            return path, [*options, plain]
    return None


def players(find: Find, file: str) -> list[tuple[str, list[str]]]:
    """Programs that may play a file, the first that are more likely to work."""
    found = [(find(name), [*options, file]) for name, options in PLAYERS]
    return [(path, arguments) for path, arguments in found if path]


class Line:
    """What waits to be said: one at a time, and of a flood only how many there were."""

    def __init__(self) -> None:
        self._waiting: list[str] = []
        self._more = 0

    def put(self, text: str) -> None:
        """To be said in its turn."""
        if len(self._waiting) < SAID_LIMIT:
            self._waiting.append(text)
        else:
            self._more += 1

    def take(self) -> str | None:
        """The next; None: nothing waits."""
        if self._waiting:
            return self._waiting.pop(0)
        more, self._more = self._more, 0
        return f"and {more} more" if more else None

    def clear(self) -> None:
        """Say nothing of all that any more."""
        self._waiting.clear()
        self._more = 0
