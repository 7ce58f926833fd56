"""A period in bins, from the operations that were there: what a timeline and a heatmap show from far away. Pure."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Sequence
from operator import attrgetter

from rfm_runtime.core.operations.queries import Life
from rfm_runtime.core.reports.running import Running
from rfm_runtime.errors import TooLargeError
from rfm_runtime.protocol.operation import OperationState
from rfm_runtime.protocol.timeline import Buckets, GetTimeline, TimelineReply

__all__ = ["LOOKED_LIMIT", "timeline"]

LOOKED_LIMIT = 300_000
"""Operations of one answer: two seconds. A journal keeps 200,000, unless it is told otherwise."""

_ENDS: tuple[OperationState, ...] = ("completed", "failed", "canceled")
_NEVER = -1
_FIELDS = 4
"""Of one operation: submitted, started, ended (or _NEVER), and how it ended, as its place in _ENDS."""


def timeline(lives: Iterable[Life], wanted: GetTimeline, now_ms: int) -> TimelineReply:
    """What was asked for, of those that were there. Raises TooLargeError for more than LOOKED_LIMIT of them."""
    until_ms = wanted.since_ms + wanted.width_ms * wanted.bins
    named = attrgetter(wanted.by)
    found: dict[str, array[int]] = {}
    busy: dict[str, int] = {}
    for looked, life in enumerate(lives, 1):
        if looked > LOOKED_LIMIT:
            raise TooLargeError(
                f"more than {LOOKED_LIMIT:,} operations were there in that period",
                hint="ask for a shorter period, or for those that pass a filter",
            )
        created_ms, started_ms, ended_ms = _in_order(life)
        name = named(life)
        how = _ENDS.index(life.state) if life.state in _ENDS else 0
        if name not in found:
            found[name], busy[name] = array("q"), 0
        found[name].extend((created_ms, started_ms, ended_ms, how))
        if started_ms != _NEVER:
            end_ms = max(started_ms, now_ms) if ended_ms == _NEVER else ended_ms
            busy[name] += max(0, min(end_ms, until_ms) - max(started_ms, wanted.since_ms))
    ranked = sorted(found, key=lambda name: (-busy[name], -len(found[name]), name))
    kept, others = ranked[: wanted.rows], ranked[wanted.rows :]
    return TimelineReply(
        since_ms=wanted.since_ms,
        width_ms=wanted.width_ms,
        now_ms=now_ms,
        everything=_buckets("", list(found.values()), wanted, now_ms),
        rows=tuple(_buckets(name, [found[name]], wanted, now_ms) for name in kept),
        rest=_buckets("", [found[name] for name in others], wanted, now_ms) if others else None,
        others=len(others),
    )


def _in_order(life: Life) -> tuple[int, int, int]:
    """Submitted, started and ended, in this order whatever a clock did."""
    created_ms = life.created_at_ms
    ended_ms = _NEVER if life.ended_at_ms is None else max(created_ms, life.ended_at_ms)
    if life.started_at_ms is None:
        return created_ms, _NEVER, ended_ms
    started_ms = max(created_ms, life.started_at_ms)
    return created_ms, started_ms if ended_ms == _NEVER else min(started_ms, ended_ms), ended_ms


def _buckets(name: str, columns: Sequence[array[int]], wanted: GetTimeline, now_ms: int) -> Buckets:
    since_ms, width_ms, count = wanted.since_ms, wanted.width_ms, wanted.bins
    until_ms = since_ms + width_ms * count
    submitted, started = [0] * count, [0] * count
    ended = [[0] * count for _ in _ENDS]
    running = Running(since_ms, width_ms, count)
    for column in columns:
        fields = iter(column)
        # One iterator four times: the fields of one operation after the other.
        for created_ms, started_ms, ended_ms, how in zip(*[fields] * _FIELDS, strict=True):
            if since_ms <= created_ms < until_ms:
                submitted[(created_ms - since_ms) // width_ms] += 1
            if since_ms <= ended_ms < until_ms:
                ended[how][(ended_ms - since_ms) // width_ms] += 1
            if started_ms == _NEVER:
                continue
            if since_ms <= started_ms < until_ms:
                started[(started_ms - since_ms) // width_ms] += 1
            running.add(started_ms, max(started_ms, now_ms) if ended_ms == _NEVER else ended_ms)
    running.sum_up()
    return Buckets(
        name=name,
        operations=sum(map(len, columns)) // _FIELDS,
        submitted=tuple(submitted),
        started=tuple(started),
        completed=tuple(ended[0]),
        failed=tuple(ended[1]),
        canceled=tuple(ended[2]),
        peak=tuple(running.peaks),
        busy_ms=tuple(running.areas),
    )
