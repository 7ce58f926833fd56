"""A plain count over operations, to hold against what a runtime has counted of the same ones."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

from rfm_runtime.protocol.operation import Operation, OperationFilter
from rfm_runtime.protocol.timeline import Buckets, TimelineReply
from rfm_runtime.store.look import looked_at

__all__ = ["check", "journal"]


def journal(state: Path) -> list[Operation]:
    """What is on disk, read from outside."""
    (path,) = state.glob("**/journal.db")
    with looked_at(path) as look:
        return [operation for operation, _params, _went in look.operations(OperationFilter())]


def check(row: Buckets, operations: list[Operation], reply: TimelineReply) -> None:
    """Every figure of a row, for these operations."""
    assert row.operations == len(operations)
    assert list(row.submitted) == _counted(operations, "created_at_ms", reply)
    assert list(row.started) == _counted(operations, "started_at_ms", reply)
    for state in ("completed", "failed", "canceled"):
        assert list(getattr(row, state)) == _counted(operations, "ended_at_ms", reply, state)
    ran = [(one.started_at_ms, one.ended_at_ms or reply.now_ms) for one in operations if one.started_at_ms is not None]
    for number in range(len(row.peak)):
        begin_ms = reply.since_ms + number * reply.width_ms
        end_ms = begin_ms + reply.width_ms
        clipped = [(max(first, begin_ms), min(last, end_ms)) for first, last in ran]
        inside = [(first, last) for first, last in clipped if first < last]
        assert row.busy_ms[number] == sum(last - first for first, last in inside)
        most = max((sum(a <= first < b for a, b in inside) for first, _ in inside), default=0)
        # What took less than a millisecond has been there as well.
        assert row.peak[number] >= most


def _counted(operations: list[Operation], field: str, reply: TimelineReply, state: str | None = None) -> list[int]:
    bins = Counter(
        (at_ms - reply.since_ms) // reply.width_ms
        for one in operations
        if (at_ms := getattr(one, field)) is not None and state in (None, one.state)
    )
    return [bins[number] for number in range(len(reply.everything.peak))]
