"""What single operations and groups of them come to. Clocks may go back: no duration is ever negative."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from math import ceil, isfinite

from rfm_runtime.protocol.figures import Durations, Group, Line, Tally
from rfm_runtime.protocol.operation import TERMINAL_STATES, Operation

__all__ = ["durations", "group", "line", "ratio", "tally"]


def line(operation: Operation, now_ms: int) -> Line:
    """The facts of one operation; what has not ended lasts until `now_ms`."""
    started_ms, latest, error = operation.started_at_ms, operation.latest, operation.error
    end_ms = now_ms if operation.ended_at_ms is None else operation.ended_at_ms
    return Line(
        operation_id=operation.operation_id,
        kind=operation.kind,
        name=operation.name,
        owner=operation.owner,
        state=operation.state,
        created_at_ms=operation.created_at_ms,
        started_at_ms=started_ms,
        ended_at_ms=operation.ended_at_ms,
        waiting_ms=max(0, (end_ms if started_ms is None else started_ms) - operation.created_at_ms),
        running_ms=None if started_ms is None else max(0, end_ms - started_ms),
        cpu_s=_finite(latest.cpu_s) if latest is not None else 0.0,
        iterations=latest.iterations if latest is not None else 0,
        done=_finite(latest.done) if latest is not None else 0.0,
        total=_finite(latest.total) if latest is not None and latest.total is not None else None,
        unit=latest.unit if latest is not None else "",
        priority=operation.priority,
        attempts=operation.attempts,
        parent_id=operation.parent_id,
        labels=operation.labels,
        error_code=error.code if error is not None else None,
        error_severity=error.severity if error is not None else None,
        error_message=error.message if error is not None else None,
    )


def ratio(amount: float, of: float) -> float | None:
    """None where there is no such number, also none that JSON could write."""
    if of <= 0:
        return None
    found = amount / of
    return found if isfinite(found) else None


def durations(values_ms: Iterable[int]) -> Durations:
    """Their number, sum and quantiles."""
    ordered = sorted(values_ms)

    def quantile(share: float) -> int | None:
        return ordered[max(0, ceil(share * len(ordered)) - 1)] if ordered else None

    return Durations(
        count=len(ordered),
        total_ms=sum(ordered),
        p50_ms=quantile(0.5),
        p90_ms=quantile(0.9),
        p99_ms=quantile(0.99),
        max_ms=ordered[-1] if ordered else None,
    )


def tally(lines: Sequence[Line]) -> Tally:
    """What became of them."""
    completed, failed, canceled = (
        sum(one.state == state for one in lines) for state in ("completed", "failed", "canceled")
    )
    return Tally(
        submitted=len(lines),
        completed=completed,
        failed=failed,
        canceled=canceled,
        unfinished=len(lines) - completed - failed - canceled,
        success=ratio(completed, completed + failed),
    )


def group(name: str, lines: Sequence[Line]) -> Group:
    """All there is to say of several operations at once."""
    return Group(
        name=name,
        tally=tally(lines),
        waiting=durations(one.waiting_ms for one in lines if one.started_at_ms is not None),
        running=durations(
            one.running_ms for one in lines if one.running_ms is not None and one.state in TERMINAL_STATES
        ),
        # Whatever their order, the same sum to the last bit.
        cpu_s=sum(sorted(one.cpu_s for one in lines)),
        iterations=sum(one.iterations for one in lines),
    )


def _finite(value: float) -> float:
    """JSON has no other numbers."""
    return value if isfinite(value) else 0.0
