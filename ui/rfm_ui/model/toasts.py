"""Which notifications are on the screen: a few at once, each for as long as it takes to read it. Pure."""

from __future__ import annotations

from dataclasses import dataclass

from rfm_runtime.core.notifying.notifier import Telling

__all__ = ["ROOM", "Shown", "Stack"]

ROOM = 4
WAITING_LIMIT = 100
"""Behind those that are shown; of more the oldest go unseen, which the operations page has all the same."""

READ_S = 8.0
READ_BAD_S = 20.0
"""What failed is to be done something about."""


@dataclass(frozen=True, slots=True)
class Shown:
    """number: counts up, so that each is another."""

    number: int
    telling: Telling
    until_s: float


class Stack:
    """The newest is the last. While somebody points at them, or has one in focus, none goes."""

    def __init__(self) -> None:
        self.shown: list[Shown] = []
        self._waiting: list[Telling] = []
        self._number = 0
        self._is_held = False
        self._held_s = 0.0

    @property
    def is_held(self) -> bool:
        """Whether none goes by itself now."""
        return self._is_held

    @property
    def waiting(self) -> int:
        """How many have no place yet."""
        return len(self._waiting)

    def put(self, telling: Telling, now_s: float) -> None:
        """Show it, or have it wait for a place."""
        if len(self.shown) < ROOM:
            self._show(telling, now_s)
        else:
            self._waiting.append(telling)
            del self._waiting[:-WAITING_LIMIT]

    def dismiss(self, number: int, now_s: float) -> None:
        """Somebody has seen it."""
        self.shown = [one for one in self.shown if one.number != number]
        self._fill(now_s)

    def dismiss_all(self) -> None:
        """And those that wait."""
        self.shown.clear()
        self._waiting.clear()

    def hold(self, *, is_held: bool, now_s: float) -> None:
        """Somebody looks at them, or does no longer: then they stay as long as they had left."""
        if self._is_held and not is_held:
            rest_s = now_s - self._held_s
            self.shown = [Shown(one.number, one.telling, one.until_s + rest_s) for one in self.shown]
        if is_held and not self._is_held:
            self._held_s = now_s
        self._is_held = is_held

    def tick(self, now_s: float) -> bool:
        """Take away what was there long enough; whether anything changed."""
        if self._is_held:
            return False
        left = [one for one in self.shown if one.until_s > now_s]
        if len(left) == len(self.shown):
            return False
        self.shown = left
        self._fill(now_s)
        return True

    def _fill(self, now_s: float) -> None:
        while self._waiting and len(self.shown) < ROOM:
            self._show(self._waiting.pop(0), now_s)

    def _show(self, telling: Telling, now_s: float) -> None:
        self._number += 1
        reads_s = READ_BAD_S if telling.tone == "bad" else READ_S
        # Held since before it came: its time begins when they are let go.
        begin_s = self._held_s if self._is_held else now_s
        self.shown.append(Shown(self._number, telling, begin_s + reads_s))
