"""What flat words of `rfm.v1` mean for the broker: measures that add up, announcements, outcomes. Pure.

The counterpart of `wording`: for a gateway, where such words arrive, and for a client that takes somebody else's.
"""

from __future__ import annotations

from typing import Literal

import msgspec
from msgspec import UNSET

from rfm_runtime.core.operations.progress import bounded
from rfm_runtime.protocol.causes import CANCELED, FAILED
from rfm_runtime.protocol.internal import Announce, OperationMeasure, Outcome, Principal
from rfm_runtime.protocol.operation import ErrorInfo
from rfm_runtime.protocol.reports import (
    Fault,
    Measured,
    ReportCanceled,
    ReportCompleted,
    ReportFailed,
    ReportStarted,
)

__all__ = ["Heard", "announced", "brief", "ended"]

State = Literal["completed", "failed", "canceled"]


class Heard:
    """What was heard of one operation. measure: the newest; what a word leaves out is as it was."""

    __slots__ = ("measure",)

    def __init__(self) -> None:
        self.measure = OperationMeasure(generation=1, counter=0, measured_at_ms=0, done=0.0)

    def take(self, message: Measured, now_ms: int) -> OperationMeasure:
        """The measure after one more word, with the next counter."""
        before = self.measure
        done, unit = message.done, message.unit or before.unit
        total = before.total if message.total is UNSET else message.total
        if done is None and message.progress is not None:
            if not total:
                total, unit = 100.0, "%"
            done = message.progress * total / 100.0
        measure = OperationMeasure(
            generation=1,
            counter=before.counter + 1,
            measured_at_ms=now_ms,
            done=before.done if done is None else done,
            total=total,
            unit=unit,
            step=message.step,
            steps=message.steps,
            message=message.message,
            details=message.details,
        )
        self.measure = bounded(measure, has_tiles=False)
        return self.measure


def brief(measure: OperationMeasure) -> OperationMeasure:
    """How far it is, for a hello of thousands: the texts follow with the next measure."""
    return msgspec.structs.replace(measure, step="", message="", details=None)


def announced(message: ReportStarted, measure: OperationMeasure, principal: Principal) -> Announce:
    """The broker's message for an operation that has begun."""
    return Announce(
        principal=principal,
        operation_id=message.operation_id,
        kind=message.kind,
        name=message.name,
        labels=message.labels,
        pausable=message.pausable,
        parent_id=message.parent_id,
        age_ms=message.age_ms,
        measure=measure,
    )


def ended(message: ReportCompleted | ReportFailed | ReportCanceled, final: OperationMeasure) -> Outcome:
    """The broker's message for an outcome."""
    state, error = _outcome(message)
    return Outcome(operation_id=message.operation_id, generation=1, state=state, final=final, error=error)


def _outcome(message: ReportCompleted | ReportFailed | ReportCanceled) -> tuple[State, ErrorInfo | None]:
    match message:
        case ReportFailed():
            return "failed", _error_of(message)
        case ReportCanceled():
            return "canceled", CANCELED.error(message.reason) if message.reason else None
    return "completed", None


def _error_of(message: ReportFailed) -> ErrorInfo:
    if isinstance(message.error, Fault):
        fault = message.error
        return ErrorInfo(code=fault.code or FAILED.code, message=fault.message, hint=fault.hint)
    return FAILED.error(message.error or message.message or "the program gave no reason")
