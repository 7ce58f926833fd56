"""What is known of operations that were: a request for those of a period, and how one of them went over its time."""

from __future__ import annotations

from typing import Annotated, Any

from msgspec import Meta, Struct

from rfm_runtime.protocol.limits import PAGE_LIMIT
from rfm_runtime.protocol.operation import (
    Operation,
    OperationEvent,
    OperationFilter,
    OperationId,
    Position,
)

__all__ = ["SERIES_POINTS", "GetPerformance", "History", "HistoryReply", "Performance", "PerformanceReply", "Point"]

SERIES_POINTS = 128
"""At most so many points of one operation: 0.1 s apart at first, twice as far each time that it is full."""


class History(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`history`: operations that were submitted in a period and pass the filter, newest first. → `history_reply`

    since_ms ≤ submitted < until_ms, ms since 1970; with `during` those that were there at some time of the period, from
    their submission to their end. cursor: the one of the previous page. Of what the store has, not only of what is in
    memory.
    """

    since_ms: Position = 0
    until_ms: Position | None = None
    filter: OperationFilter = OperationFilter()
    cursor: Annotated[str, Meta(max_length=256)] | None = None
    limit: Annotated[int, Meta(ge=1, le=PAGE_LIMIT)] = 100
    during: bool = False


class HistoryReply(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One page, which may be short, or empty; no `cursor` on the last. `latest` has neither details nor tiles."""

    operations: tuple[Operation, ...]
    cursor: str | None = None


class Point(Struct, frozen=True, array_like=True):
    """Where an operation stood at `t_ms` after its start. cpu_s, iterations: so far; all claims together.

    memory_bytes: of the processes that work on it, resident. workers: that had a part of it in hand.
    """

    t_ms: int
    done: float
    cpu_s: float = 0.0
    iterations: int = 0
    memory_bytes: int = 0
    workers: int = 0


class Performance(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How an operation went. points: in the order of time, at most SERIES_POINTS; the first and the last are kept.

    paused_ms: of its time it stood still. deaths: workers that died with a part of it. losses: owners. slots: workers
    that it might have had at most, of which `cpu_s / (slots · time)` is how well they were used.
    """

    points: tuple[Point, ...] = ()
    total: float | None = None
    unit: str = ""
    peak_memory_bytes: int = 0
    paused_ms: int = 0
    deaths: int = 0
    losses: int = 0
    slots: int = 0


class GetPerformance(Struct, frozen=True):
    """`performance`. → `performance_reply`; `unknown_operation`"""

    operation_id: OperationId


class PerformanceReply(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """events: all of it, in order, as far as they are kept."""

    operation: Operation
    performance: Performance
    params: dict[str, Any] = {}
    events: tuple[OperationEvent, ...] = ()
