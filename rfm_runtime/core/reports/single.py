"""From what is known of one operation to its report."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from rfm_runtime.core.reports.facts import line, ratio
from rfm_runtime.protocol.figures import Line, Moment, OperationReport, Phase, PhaseName, Sample
from rfm_runtime.protocol.history import Performance, PerformanceReply
from rfm_runtime.protocol.operation import TERMINAL_STATES, OperationEvent, OperationState

__all__ = ["operation_report"]

PHASES: Final[dict[OperationState, PhaseName]] = {
    "pending": "waiting",
    "queued": "waiting",
    "running": "running",
    "paused": "paused",
    "cancelling": "stopping",
}


def operation_report(reply: PerformanceReply, *, now_ms: int) -> OperationReport:
    """The report of one operation, as of `now_ms`."""
    operation, performance, latest = reply.operation, reply.performance, reply.operation.latest
    facts = line(operation, now_ms)
    events = sorted(reply.events, key=lambda event: event.seq)
    phases = _phases(facts, events, now_ms)
    active_s = max(0, (facts.running_ms or 0) - performance.paused_ms) / 1000
    open_ended = operation.state not in TERMINAL_STATES
    return OperationReport(
        now_ms=now_ms,
        operation=facts,
        progress=latest.progress if latest is not None else None,
        step=latest.step if latest is not None else "",
        message=latest.message if latest is not None else "",
        eta=latest.eta_ms if latest is not None and open_ended else None,
        error=operation.error,
        artifacts=operation.artifacts,
        location=operation.location,
        correlation_id=operation.correlation_id,
        cancel_requested=operation.cancel_requested,
        forced=operation.forced,
        phases=phases,
        phase_ms=_sums(phases),
        events=_moments(facts.created_at_ms, events),
        series=_series(performance),
        paused_ms=performance.paused_ms,
        deaths=performance.deaths,
        losses=performance.losses,
        slots=performance.slots,
        peak_memory_bytes=performance.peak_memory_bytes,
        rate=ratio(facts.done, active_s),
        cores=ratio(facts.cpu_s, active_s),
        iterations_per_s=ratio(facts.iterations, active_s),
        efficiency=ratio(facts.cpu_s, performance.slots * active_s),
        params=reply.params,
    )


def _phases(facts: Line, events: Sequence[OperationEvent], now_ms: int) -> tuple[Phase, ...]:
    """Its life without gaps. What came before the first event that is kept follows from the operation's own times."""
    turns: list[tuple[int, PhaseName | None]] = [(facts.created_at_ms, "waiting")]
    first_ms = events[0].ts_ms if events else None
    if facts.started_at_ms is not None and (first_ms is None or facts.started_at_ms < first_ms):
        turns.append((facts.started_at_ms, "running"))
    turns += [(event.ts_ms, PHASES.get(event.state)) for event in events]
    if turns[-1][1] is not None:
        turns.append((now_ms if facts.ended_at_ms is None else facts.ended_at_ms, None))
    phases: list[Phase] = []
    at_ms, current = turns[0]
    for turn_ms, after in turns[1:]:
        # A clock that went back stands still here.
        end_ms = max(at_ms, turn_ms)
        if current is not None and end_ms > at_ms:
            if phases and phases[-1].phase == current:
                at_ms = phases.pop().start_ms
            phases.append(Phase(phase=current, start_ms=at_ms, end_ms=end_ms))
        at_ms, current = end_ms, after
    return tuple(phases)


def _sums(phases: Sequence[Phase]) -> dict[PhaseName, int]:
    sums: dict[PhaseName, int] = dict.fromkeys(("waiting", "running", "paused", "stopping"), 0)
    for one in phases:
        sums[one.phase] += one.end_ms - one.start_ms
    return sums


def _moments(created_at_ms: int, events: Sequence[OperationEvent]) -> tuple[Moment, ...]:
    moments, before_ms = [], created_at_ms
    for event in events:
        moments.append(
            Moment(
                seq=event.seq,
                at_ms=event.ts_ms,
                type=event.type,
                state=event.state,
                after_ms=max(0, event.ts_ms - before_ms),
                since_submitted_ms=max(0, event.ts_ms - created_at_ms),
                by=event.by,
                reason=event.reason,
                priority=event.priority,
            )
        )
        before_ms = event.ts_ms
    return tuple(moments)


def _series(performance: Performance) -> tuple[Sample, ...]:
    """The points with what lies between them. A point that is not later than the one before it tells no rate."""
    series: list[Sample] = []
    total, before = performance.total, None
    for point in performance.points:
        rate = cores = iterations_per_s = None
        if before is not None:
            if point.t_ms <= before.t_ms:
                continue
            passed_s = (point.t_ms - before.t_ms) / 1000
            # What a lost owner had done is done again: the count goes back, speed does not.
            rate = ratio(max(0.0, point.done - before.done), passed_s)
            cores = ratio(max(0.0, point.cpu_s - before.cpu_s), passed_s)
            iterations_per_s = ratio(max(0, point.iterations - before.iterations), passed_s)
        series.append(
            Sample(
                t_ms=point.t_ms,
                done=point.done,
                share=ratio(point.done, total or 0.0),
                rate=rate,
                cores=cores,
                iterations_per_s=iterations_per_s,
                memory_bytes=point.memory_bytes,
                workers=point.workers,
            )
        )
        before = point
    return tuple(series)
