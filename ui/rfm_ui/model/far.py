"""A period from far away: which bins are asked for, how deep a colour is, and what is said of a bin. Pure."""

from __future__ import annotations

from datetime import datetime
from math import ceil, floor, sqrt
from typing import NamedTuple

from rfm_runtime.core.counts import counted
from rfm_runtime.core.reports.course import width
from rfm_runtime.core.text import printable
from rfm_runtime.protocol.timeline import BINS_LIMIT, Buckets, By, TimelineReply
from rfm_ui.model.gantt import Period

__all__ = [
    "FAINTEST",
    "MOST_BARS",
    "Grid",
    "Heat",
    "again_ms",
    "bin_at",
    "grid",
    "heat",
    "highest",
    "level",
    "said",
    "same_bin",
    "too_many",
    "when",
]

FAINTEST = 0.15
"""Of a cell that is not empty: little is told from nothing."""

MOST_BARS = 1_000
"""Operations of a period that are shown one by one."""

SOONEST_MS = 5_000.0
LATEST_MS = 60_000.0
SHARE = 20.0

DAY_MS = 86_400_000


class Grid(NamedTuple):
    """Bins of equal width, from a moment on (ms since 1970)."""

    since_ms: int
    width_ms: int
    bins: int


class Heat(NamedTuple):
    """One row of a heatmap. name: None for those that have no row of their own."""

    name: str | None
    title: str
    buckets: Buckets


def grid(period: Period, most: int) -> Grid:
    """At most so many bins that cover the period; they begin where local minutes, hours and days do."""
    most = max(2, min(most, BINS_LIMIT))
    begin_ms, end_ms = max(0, floor(period.begin_ms)), max(1, ceil(period.end_ms))
    width_ms = width(max(0, end_ms - begin_ms), most)
    zone = datetime.fromtimestamp(begin_ms / 1000).astimezone().utcoffset()
    offset_ms = 0 if zone is None else round(zone.total_seconds() * 1000)
    since_ms = max(0, (begin_ms + offset_ms) // width_ms * width_ms - offset_ms)
    return Grid(since_ms, width_ms, max(1, -((since_ms - end_ms) // width_ms)))


def heat(reply: TimelineReply, by: By = "kind") -> list[Heat]:
    """The rows, the busiest first, and one for all the others. by: what they are divided by."""
    rows = [Heat(row.name, _title(row.name, by), row) for row in reply.rows]
    if reply.rest is not None:
        rows.append(Heat(None, counted(reply.others, "other"), reply.rest))
    return rows


def _title(name: str, by: By) -> str:
    if by == "state" and name == "canceled":
        return "cancelled"
    return printable(name) or "no name"


def highest(rows: list[Heat], width_ms: int) -> float:
    """The most that ran at once on average of a bin, in any row."""
    return max((max(row.buckets.busy_ms) for row in rows), default=0) / width_ms


def level(value: float, most: float) -> float:
    """How deep the colour of a value is, 0–1: by its root, so that small ones are told apart beside a large one."""
    if value <= 0.0 or most <= 0.0:
        return 0.0
    return max(FAINTEST, min(1.0, sqrt(value / most)))


def too_many(reply: TimelineReply | None) -> bool:
    """Whether its operations cannot be told apart as bars."""
    return reply is not None and reply.everything.operations > MOST_BARS


def bin_at(reply: TimelineReply, at_ms: float) -> int | None:
    """Which bin a moment is in, None: in none."""
    number = floor((at_ms - reply.since_ms) / reply.width_ms)
    return number if 0 <= number < len(reply.everything.peak) else None


def again_ms(width_ms: int, took_ms: float) -> float:
    """After how long the same period is asked for again while the present is in it.

    Not before a bin is over, or a minute; and whoever answers shall have twenty times as long for others.
    """
    return max(SOONEST_MS, min(LATEST_MS, float(width_ms)), SHARE * took_ms)


def same_bin(before: TimelineReply | None, number: int | None, after: TimelineReply | None) -> int | None:
    """Where the middle of a bin is in a newer answer, whose bins may be wider; None if it is in none."""
    if before is None or after is None or number is None:
        return None
    return bin_at(after, before.since_ms + (number + 0.5) * before.width_ms)


def when(reply: TimelineReply, number: int) -> str:
    """From when to when a bin is, in local time."""
    begin_ms = reply.since_ms + number * reply.width_ms
    begin, end = (datetime.fromtimestamp(at_ms / 1000).astimezone() for at_ms in (begin_ms, begin_ms + reply.width_ms))
    if reply.width_ms >= DAY_MS:
        return begin.strftime("%d %b") if reply.width_ms == DAY_MS else f"{begin:%d %b} – {end:%d %b}"
    pattern = "%H:%M" if reply.width_ms % 60_000 == 0 else "%H:%M:%S"
    return f"{begin:%d %b} {begin.strftime(pattern)}\N{EN DASH}{end.strftime(pattern)}"


def said(reply: TimelineReply, buckets: Buckets, number: int) -> list[str]:
    """What happened in a bin, in lines."""
    lines = []
    mean = buckets.busy_ms[number] / reply.width_ms
    if buckets.peak[number]:
        lines.append(f"{_mean(mean)} ran on average, {buckets.peak[number]:,} at most")
    came = [
        f"{values[number]:,} {word}"
        for values, word in (
            (buckets.submitted, "submitted"),
            (buckets.started, "begun"),
            (buckets.completed, "completed"),
            (buckets.failed, "failed"),
            (buckets.canceled, "cancelled"),
        )
        if values[number]
    ]
    if came:
        lines.append(", ".join(came))
    return lines or ["nothing"]


def _mean(value: float) -> str:
    if value >= 9.95:
        return f"{value:,.0f}"
    return f"{value:.1f}" if value >= 0.1 else "less than 0.1"
