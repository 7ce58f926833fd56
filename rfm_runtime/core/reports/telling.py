"""All that is known of one operation, as people ask for it. Pure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

from rfm_runtime.core.counts import counted
from rfm_runtime.core.resources.sizes import size
from rfm_runtime.core.text import duration, fault, local_time, number
from rfm_runtime.protocol.history import PerformanceReply
from rfm_runtime.protocol.operation import TERMINAL_STATES, ErrorInfo, Operation, OperationEvent, ProgressUpdate

__all__ = ["facts", "happening"]


def facts(went: PerformanceReply, now_ms: float) -> Iterator[tuple[str, str]]:
    """(name, value) of everything that is known and not empty, in the order in which people ask."""
    operation, latest = went.operation, went.operation.latest
    state = "cancelled" if operation.state == "canceled" else operation.state
    asked = " (asked to stop)" if operation.cancel_requested and operation.state not in TERMINAL_STATES else ""
    silent = " (silent)" if operation.stale else ""
    yield "id", operation.operation_id
    yield "name", operation.name
    yield "kind", operation.kind
    yield "state", f"{state}{asked}{silent}"
    if operation.error is not None:
        yield "error", _fault(operation.error)
        if operation.error.hint:
            yield "hint", operation.error.hint
    if latest is not None:
        yield from _progress(latest, ended=operation.state in TERMINAL_STATES)
    yield from _times(operation, went, now_ms)
    yield "owner", operation.owner
    if operation.priority:
        yield "priority", str(operation.priority)
    if operation.parent_id:
        yield "part of", operation.parent_id
    for name, value in operation.labels.items():
        yield "label", f"{name} = {value}"
    for artifact in operation.artifacts:
        yield "file", f"{artifact.name}, {artifact.media_type}, {size(artifact.size_bytes)}"


def _progress(latest: ProgressUpdate, *, ended: bool) -> Iterator[tuple[str, str]]:
    unit = f" {latest.unit}" if latest.unit and latest.unit != "%" else ""
    if latest.total:
        many = f", {number(latest.done)} of {number(latest.total)}{unit}" if latest.unit != "%" else ""
        yield "progress", f"{latest.progress:.1f} %{many}"
    else:
        yield "progress", f"{number(latest.done)}{unit}"
    if latest.rate is not None and not ended:
        yield "rate", f"{number(latest.rate)}{unit}/s"
    if latest.eta_ms is not None and not ended:
        yield "left", f"{duration(latest.eta_ms.p50 / 1000)}, with 90 % up to {duration(latest.eta_ms.p90 / 1000)}"
    if latest.step:
        yield "step", latest.step
    if latest.message:
        yield "message", latest.message
    for name, value in (latest.details or {}).items():
        yield "detail", f"{name} = {_value(value)}"


def _value(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _times(operation: Operation, went: PerformanceReply, now_ms: float) -> Iterator[tuple[str, str]]:
    yield "submitted", local_time(operation.created_at_ms)
    started, ended = operation.started_at_ms, operation.ended_at_ms
    until_ms = now_ms if ended is None else ended
    if started is not None:
        yield "waited", duration(max(0, started - operation.created_at_ms) / 1000)
        yield "ran", duration(max(0.0, until_ms - started) / 1000)
    performance = went.performance
    if performance.paused_ms:
        yield "stood still", duration(performance.paused_ms / 1000)
    if performance.points and performance.points[-1].cpu_s:
        yield "CPU time", duration(performance.points[-1].cpu_s)
    if performance.peak_memory_bytes:
        yield "memory", f"{size(performance.peak_memory_bytes)} at most"
    if performance.deaths or performance.losses:
        yield "losses", f"{counted(performance.deaths, 'worker')}, {counted(performance.losses, 'owner')}"


def happening(event: OperationEvent) -> tuple[str, str, str]:
    """(when, what, remark) of an event."""
    remarks = [
        *([f"by {event.by}"] if event.by else []),
        *([event.reason] if event.reason else []),
        *([f"priority {event.priority}"] if event.priority is not None else []),
        *([_fault(event.error)] if event.error is not None else []),
        *(["killed"] if event.forced else []),
    ]
    what = event.type.removeprefix("operation_").replace("canceled", "cancelled")
    return local_time(event.ts_ms), what, "; ".join(remarks)


def _fault(error: ErrorInfo) -> str:
    return fault(error.severity, error.code, error.message)
