"""A period in bins: how much was submitted, started and ended in each, and how much ran at once."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rfm_runtime.core.reports.running import Running
from rfm_runtime.protocol.figures import Bin, Course, Density, Line

__all__ = ["MAX_BINS", "bin_of", "course", "density", "width"]

MAX_BINS = 72
"""Of a period: a day has half hours, and a bar on a narrow telephone is four pixels wide."""

_S, _MIN, _H, _D = 1000, 60_000, 3_600_000, 86_400_000
WIDTHS_MS = (
    *(_S, 2 * _S, 5 * _S, 10 * _S, 15 * _S, 30 * _S),
    *(_MIN, 2 * _MIN, 5 * _MIN, 10 * _MIN, 15 * _MIN, 30 * _MIN),
    *(_H, 2 * _H, 3 * _H, 6 * _H, 12 * _H),
    *(_D, 2 * _D, 7 * _D, 14 * _D, 28 * _D, 91 * _D, 364 * _D),
)
"""Widths of bins that people can name; each divides a day, or is whole days."""


def width(span_ms: int, most: int = MAX_BINS) -> int:
    """The smallest nice width, in ms, of which at most `most` cover the span wherever it begins."""
    for width_ms in WIDTHS_MS:
        if span_ms <= width_ms * (most - 1):
            return width_ms
    last_ms = WIDTHS_MS[-1]
    return last_ms * (1 + span_ms // (last_ms * (most - 1)))


def course(lines: Sequence[Line], since_ms: int, until_ms: int, now_ms: int, offset_ms: int) -> Course:
    """The period's bins. offset_ms: of local time, in which they begin on the hour, or at midnight."""
    width_ms = width(max(0, until_ms - since_ms))
    start_ms = (since_ms + offset_ms) // width_ms * width_ms - offset_ms
    count = max(1, -((start_ms - until_ms) // width_ms))
    submitted, outside_submitted = _counted((one.created_at_ms for one in lines), start_ms, width_ms, count)
    started, outside_started = _counted((one.started_at_ms for one in lines), start_ms, width_ms, count)
    ended, outside_ended = {}, 0
    for state in ("completed", "failed", "canceled"):
        times = (one.ended_at_ms for one in lines if one.state == state)
        ended[state], outside = _counted(times, start_ms, width_ms, count)
        outside_ended += outside
    running = Running(start_ms, width_ms, count)
    for begin_ms, end_ms in _spans(lines, now_ms):
        running.add(begin_ms, end_ms)
    running.sum_up()
    return Course(
        start_ms=start_ms,
        width_ms=width_ms,
        bins=tuple(
            Bin(
                start_ms=start_ms + i * width_ms,
                submitted=submitted[i],
                started=started[i],
                completed=ended["completed"][i],
                failed=ended["failed"][i],
                canceled=ended["canceled"][i],
                peak=running.peaks[i],
                mean=running.areas[i] / width_ms,
            )
            for i in range(count)
        ),
        outside_submitted=outside_submitted,
        outside_started=outside_started,
        outside_ended=outside_ended,
        peak=running.peak,
        peak_at_ms=running.peak_at_ms,
    )


def density(lines: Sequence[Line], kinds: Sequence[str], over: Course) -> Density:
    """Submissions of each kind in each bin."""
    rows = {kind: [0] * len(over.bins) for kind in kinds}
    for one in lines:
        i = bin_of(one.created_at_ms, over.start_ms, over.width_ms, len(over.bins))
        if i is not None:
            rows[one.kind][i] += 1
    return Density(kinds=tuple(rows), counts=tuple(tuple(row) for row in rows.values()))


def bin_of(at_ms: int, start_ms: int, width_ms: int, count: int) -> int | None:
    """Which of `count` bins a moment is in, if in any."""
    i = (at_ms - start_ms) // width_ms
    return i if 0 <= i < count else None


def _counted(times_ms: Iterable[int | None], start_ms: int, width_ms: int, count: int) -> tuple[list[int], int]:
    """How many are in each bin, and in none."""
    counts, outside = [0] * count, 0
    for at_ms in times_ms:
        if at_ms is None:
            continue
        i = bin_of(at_ms, start_ms, width_ms, count)
        if i is None:
            outside += 1
        else:
            counts[i] += 1
    return counts, outside


def _spans(lines: Iterable[Line], now_ms: int) -> list[tuple[int, int]]:
    """From when to when each ran, as far as it did."""
    spans = []
    for one in lines:
        if one.started_at_ms is not None:
            end_ms = now_ms if one.ended_at_ms is None else one.ended_at_ms
            spans.append((one.started_at_ms, max(one.started_at_ms, end_ms)))
    return spans
