"""How many ran at once, in the bins of a period. Pure."""

from __future__ import annotations

__all__ = ["Running"]

_ENDS, _BEGINS, _WAS = 0, 1, 2
"""At one moment the old ones end before new ones begin, and what took no time has been there for it."""


class Running:
    """The highest in each of `count` bins, and the area below (operations × ms), once all have been added.

    What is added is sorted within its bin: the longest that this holds up others who share the interpreter.
    """

    def __init__(self, start_ms: int, width_ms: int, count: int) -> None:
        self.start_ms = start_ms
        self.width_ms = width_ms
        self.end_ms = start_ms + width_ms * count
        self.peaks = [0] * count
        self.areas = [0] * count
        self.peak = 0
        self.peak_at_ms: int | None = None
        # A moment and what happens then, in one number: a tenth of the memory of tuples.
        self._steps: list[list[int]] = [[] for _ in range(count)]

    def add(self, begin_ms: int, end_ms: int) -> None:
        """One ran from a moment until just before another, which is not before it."""
        if begin_ms >= self.end_ms or end_ms < self.start_ms or begin_ms < end_ms == self.start_ms:
            return
        first_ms = max(begin_ms, self.start_ms) - self.start_ms
        self._steps[first_ms // self.width_ms].append(4 * first_ms + _BEGINS)
        if end_ms < self.end_ms:
            last_ms = end_ms - self.start_ms
            self._steps[last_ms // self.width_ms].append(4 * last_ms + (_ENDS if last_ms > first_ms else _WAS))

    def sum_up(self) -> None:
        """Nothing is added any more."""
        running = 0
        for i, steps in enumerate(self._steps):
            running = self._bin(i, steps, running)
        self._steps = []

    def _bin(self, i: int, steps: list[int], running: int) -> int:
        at_ms, area, peak = i * self.width_ms, 0, 0
        for step in sorted(steps):
            moment_ms, what = step >> 2, step & 3
            if running and moment_ms > at_ms:
                area += running * (moment_ms - at_ms)
                peak = max(peak, running)
            at_ms = moment_ms
            if what != _BEGINS:
                running -= 1
                continue
            running += 1
            peak = max(peak, running)
            if running > self.peak:
                self.peak, self.peak_at_ms = running, self.start_ms + moment_ms
        if running:
            area += running * ((i + 1) * self.width_ms - at_ms)
            peak = max(peak, running)
        self.peaks[i], self.areas[i] = peak, area
        return running
