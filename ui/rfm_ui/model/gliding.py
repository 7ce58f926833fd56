"""Bars that glide: from what was shown to what was last heard, and never beyond it. Pure: the time is an argument.

News of progress come in steps, a screen shows sixty frames a second. A bar is under way for as long as news were apart,
so it arrives when the next are due, and what it shows was true once: nothing is guessed.
"""

from __future__ import annotations

from dataclasses import dataclass

__all__ = ["LONGEST_S", "Gliding"]

LONGEST_S = 0.25
"""A bar is at most so long behind what is known."""


@dataclass(slots=True)
class _Way:
    begin: float
    end: float
    begin_s: float
    arrives_s: float

    def at(self, now_s: float) -> float:
        if now_s >= self.arrives_s:
            return self.end
        passed = (now_s - self.begin_s) / (self.arrives_s - self.begin_s)
        # Rounding does not take it past the end.
        return min(self.end, self.begin + (self.end - self.begin) * passed)


class Gliding:
    """Values by id, each on its way. longest_s: 0 where nothing is to move by itself, values then are where they go."""

    def __init__(self, longest_s: float = LONGEST_S) -> None:
        self.longest_s = longest_s
        self._ways: dict[str, _Way] = {}

    def __len__(self) -> int:
        return len(self._ways)

    def towards(self, one: str, value: float, now_s: float) -> float:
        """Where it is now, on its way to a value. What was not known is there at once, and so is what goes back."""
        way = self._ways.get(one)
        if way is None:
            self._ways[one] = _Way(value, value, now_s, now_s)
            return value
        if value != way.end:
            is_ahead = value > way.end
            way.begin = way.at(now_s) if is_ahead else value
            way.arrives_s = now_s + (min(self.longest_s, max(0.0, now_s - way.begin_s)) if is_ahead else 0.0)
            way.end, way.begin_s = value, now_s
        return way.at(now_s)

    def moves(self, one: str, now_s: float) -> bool:
        """Whether it has not arrived."""
        way = self._ways.get(one)
        return way is not None and now_s < way.arrives_s

    def keep(self, wanted: set[str]) -> None:
        """Forget all others: they are not looked at."""
        for one in self._ways.keys() - wanted:
            del self._ways[one]
