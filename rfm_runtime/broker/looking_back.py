"""What is answered from the journal: pages of the past, how one operation went, a period from far away, reports.

In a thread that reads, beside the broker's loop; nothing of the broker is touched here. What lives is told as it is
known now by the loop, before it is sent.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from rfm_runtime.core.operations.queries import history_page
from rfm_runtime.core.permissions import narrowed, require, sight, unknown
from rfm_runtime.core.reports.period import filters_of, period_report
from rfm_runtime.core.reports.timeline import timeline
from rfm_runtime.errors import TooLargeError
from rfm_runtime.protocol.figures import PeriodReport
from rfm_runtime.protocol.history import History, HistoryReply, PerformanceReply
from rfm_runtime.protocol.internal import (
    DoHistory,
    DoOperationReport,
    DoPerformance,
    DoPeriodReport,
    DoTimeline,
    Principal,
)
from rfm_runtime.protocol.limits import PAGE_LIMIT
from rfm_runtime.protocol.operation import Operation, OperationFilter
from rfm_runtime.store.journal import Journal

__all__ = ["LOOKS", "REPORTED_LIMIT", "Look", "look"]

Look = DoHistory | DoPerformance | DoTimeline | DoPeriodReport | DoOperationReport
LOOKS = (DoHistory, DoPerformance, DoTimeline, DoPeriodReport, DoOperationReport)

REPORTED_LIMIT = 20_000
"""Operations of one report: sorting them holds up whoever shares the interpreter for 20 ms."""


def look(store: Journal, body: Look, now_ms: int) -> Struct:
    """The answer. Raises what the store raises, and ForbiddenError, UnknownOperationError, TooLargeError."""
    match body:
        case DoHistory():
            return _history(store, body)
        case DoTimeline():
            require(body.principal, "timeline")
            wanted = narrowed(body.principal, body.request.filter)
            request = body.request if wanted is None else msgspec.structs.replace(body.request, filter=wanted)
            return timeline(() if wanted is None else store.lives(request), request, now_ms)
        case DoPeriodReport():
            return _period(store, body, now_ms)
        case DoOperationReport():
            return _performance(store, body.principal, "operation_report", body.operation_id)
    return _performance(store, body.principal, "performance", body.operation_id)


def _history(store: Journal, body: DoHistory) -> HistoryReply:
    require(body.principal, "history")
    wanted = narrowed(body.principal, body.request.filter)
    if wanted is None:
        return HistoryReply(operations=())
    found, stopped_at = store.history(msgspec.structs.replace(body.request, filter=wanted))
    return history_page(found, body.request.limit, stopped_at)


def _performance(store: Journal, who: Principal, request: str, operation_id: str) -> PerformanceReply:
    require(who, request)
    past = store.performance(operation_id)
    require(who, request, operation_id, None if past is None else past.row.operation)
    if past is None:
        raise unknown(operation_id)
    return PerformanceReply(
        operation=past.row.operation, performance=past.performance, params=past.row.params, events=past.events
    )


def _period(store: Journal, body: DoPeriodReport, now_ms: int) -> PeriodReport:
    require(body.principal, "period_report")
    request, seen = body.request, sight(body.principal)
    until_ms = now_ms if request.until_ms is None else request.until_ms
    wanted = narrowed(body.principal, request.filter)
    found = [] if wanted is None else list(_all(store, request.since_ms, until_ms, wanted))
    report = period_report(
        found,
        since_ms=request.since_ms,
        until_ms=until_ms,
        now_ms=now_ms,
        offset_ms=request.offset_ms,
        filters=filters_of(request.filter),
    )
    listed = report.operations[: request.operations]
    if seen is None or not seen.everything:
        # Whose parent may be seen is known to the loop alone.
        listed = tuple(msgspec.structs.replace(line, parent_id=None) for line in listed)
    return msgspec.structs.replace(report, operations=listed)


def _all(store: Journal, since_ms: int, until_ms: int, wanted: OperationFilter) -> Iterator[Operation]:
    cursor: str | None = None
    count = 0
    while True:
        page = History(since_ms=since_ms, until_ms=until_ms, filter=wanted, cursor=cursor, limit=PAGE_LIMIT)
        found, stopped_at = store.history(page)
        reply = history_page(found, PAGE_LIMIT, stopped_at)
        count += len(reply.operations)
        if count > REPORTED_LIMIT:
            raise TooLargeError(
                f"more than {REPORTED_LIMIT:,} operations were submitted in that period",
                hint="ask for a shorter period, or for those that pass a filter; `rfm-runtime report` has no limit",
            )
        yield from reply.operations
        cursor = reply.cursor
        if cursor is None:
            return
