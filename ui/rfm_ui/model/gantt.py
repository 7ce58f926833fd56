"""Operations over time: which bar lies in which lane, what of time is shown, and where its marks are. Pure."""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import NamedTuple

from rfm_runtime.core.text import printable
from rfm_runtime.protocol.operation import Operation
from rfm_ui.model.lines import Tone, percent_of, state_word, tone_of

__all__ = ["Mark", "Period", "Span", "is_there", "kept", "laid_out", "marks", "neighbour"]

STEPS_S = (1, 2, 5, 10, 15, 30, 60, 120, 300, 600, 900, 1800, 3600, 7200, 10_800, 21_600, 43_200, 86_400)
"""Between two marks."""
SHORTEST_MS = 1_000.0
LONGEST_MS = 366 * 86_400_000.0
AHEAD = 0.04
"""Of the period, behind the present."""


class Span(NamedTuple):
    """From its submission to its end (or now), ms since 1970; it waited until `started_ms`."""

    operation_id: str
    title: str
    tone: Tone
    state: str
    begin_ms: float
    started_ms: float
    end_ms: float
    percent: float | None
    lane: int


class Mark(NamedTuple):
    """A moment with its name."""

    at_ms: float
    text: str


@dataclass(frozen=True, slots=True)
class Period:
    """What is shown. follows: its end goes with the clock."""

    begin_ms: float
    end_ms: float
    follows: bool = True

    @property
    def length_ms(self) -> float:
        """How long it is."""
        return self.end_ms - self.begin_ms

    def zoomed(self, factor: float, at: float) -> Period:
        """`factor` times as long; what is at that part of it (0–1) stays there."""
        length_ms = min(max(self.length_ms * factor, SHORTEST_MS), LONGEST_MS)
        kept_ms = self.begin_ms + self.length_ms * at
        return replace(self, begin_ms=kept_ms - length_ms * at, end_ms=kept_ms + length_ms * (1.0 - at))

    def moved(self, part: float) -> Period:
        """Later by a part of its length; it stays there."""
        by_ms = self.length_ms * part
        return Period(self.begin_ms + by_ms, self.end_ms + by_ms, follows=False)

    def at(self, now_ms: float) -> Period:
        """As it is now."""
        if not self.follows:
            return self
        end_ms = now_ms + AHEAD * self.length_ms
        return replace(self, begin_ms=end_ms - self.length_ms, end_ms=end_ms)

    def place(self, at_ms: float) -> float:
        """Where a moment lies: 0 at the beginning, 1 at the end."""
        return (at_ms - self.begin_ms) / self.length_ms


def is_there(operation: Operation, period: Period) -> bool:
    """Whether an operation has a bar in a period."""
    if operation.created_at_ms > period.end_ms:
        return False
    ended_ms = operation.ended_at_ms
    # Of what has not ended the bar goes on to the present, or stands where it was submitted.
    return ended_ms is None or max(operation.created_at_ms, ended_ms) >= period.begin_ms


def kept(known: Mapping[str, Operation], period: Period) -> dict[str, Operation]:
    """Of many that are known, those that live and those of the period: the others can be asked for again."""
    return {
        operation_id: operation
        for operation_id, operation in known.items()
        if operation.ended_at_ms is None or is_there(operation, period)
    }


def laid_out(operations: Iterable[Operation], period: Period, now_ms: float) -> list[Span]:
    """Those of a period, each in the first lane that is free when it begins."""
    # What is said of an operation takes a hundred times as long as a look whether it was there.
    there = (one for one in operations if is_there(one, period))
    found = sorted((_span(one, now_ms) for one in there), key=lambda span: (span.begin_ms, span.operation_id))
    free: list[int] = []
    busy: list[tuple[float, int]] = []
    placed = []
    # Bars that touch would be taken for one.
    gap_ms = period.length_ms / 500.0
    for span in found:
        while busy and busy[0][0] + gap_ms <= span.begin_ms:
            heapq.heappush(free, heapq.heappop(busy)[1])
        lane = heapq.heappop(free) if free else len(busy)
        heapq.heappush(busy, (span.end_ms, lane))
        placed.append(span._replace(lane=lane))
    return placed


def neighbour(spans: Sequence[Span], chosen: str, step: int) -> Span | None:
    """The bar `step` places after the chosen one, in the order of their beginning; the last where none is chosen."""
    if not spans:
        return None
    ordered = sorted(spans, key=lambda span: (span.begin_ms, span.operation_id))
    place = next((k for k, span in enumerate(ordered) if span.operation_id == chosen), None)
    if place is None:
        return ordered[-1]
    return ordered[min(max(0, place + step), len(ordered) - 1)]


def marks(period: Period, most: int) -> list[Mark]:
    """At most so many round moments of a period, in local time."""
    step_s = next((step for step in STEPS_S if period.length_ms / 1000 / step <= most), 0)
    if step_s == 0:
        days = -(-period.length_ms // (86_400_000 * max(1, most)))
        step_s = int(days) * 86_400
    offset = datetime.fromtimestamp(period.begin_ms / 1000).astimezone().utcoffset()
    offset_ms = 0.0 if offset is None else offset.total_seconds() * 1000
    step_ms = step_s * 1000.0
    first = -(-(period.begin_ms + offset_ms) // step_ms) * step_ms - offset_ms
    pattern = "%d %b" if step_s >= 86_400 else "%H:%M" if step_s >= 60 else "%H:%M:%S"
    found = []
    for k in range(most + 1):
        at_ms = first + k * step_ms
        if at_ms <= period.end_ms:
            found.append(Mark(at_ms, datetime.fromtimestamp(at_ms / 1000).astimezone().strftime(pattern)))
    return found


def _span(operation: Operation, now_ms: float) -> Span:
    end_ms = now_ms if operation.ended_at_ms is None else float(operation.ended_at_ms)
    begin_ms = float(operation.created_at_ms)
    started_ms = end_ms if operation.started_at_ms is None else float(operation.started_at_ms)
    return Span(
        operation_id=operation.operation_id,
        title=printable(operation.name) or printable(operation.kind),
        tone=tone_of(operation),
        state=state_word(operation),
        begin_ms=begin_ms,
        started_ms=min(max(started_ms, begin_ms), max(begin_ms, end_ms)),
        end_ms=max(begin_ms, end_ms),
        percent=percent_of(operation),
        lane=0,
    )
