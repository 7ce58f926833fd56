"""A desk's messages in the words of `rfm.v1`, for a program elsewhere, and what it is told there as the desk knows it.

Pure. The gateway looks after the broker's restarts and its handles; to the desk each connection is one broker.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal, TypeVar

import msgspec
from msgspec import Struct

from rfm_runtime.core.reporting.desk import Tell
from rfm_runtime.protocol.internal import (
    Ack,
    Announce,
    Assign,
    Cancellation,
    ControlFrame,
    HeldOperation,
    HelloAsked,
    OperationMeasure,
    Outcome,
    OwnerWelcome,
    PauseOwner,
    PauseState,
)
from rfm_runtime.protocol.reports import (
    HELD_PAGE,
    Asked,
    Fault,
    Held,
    Report,
    ReportAgain,
    ReportCanceled,
    ReportCompleted,
    Reported,
    ReportFailed,
    ReportPaused,
    ReportProgress,
    ReportReply,
    ReportResumed,
    ReportStarted,
)

__all__ = ["answer", "asked", "hello", "notices", "progress", "request"]

PAGE_BYTES = 32 * 1024
"""Of the operations in one `report`: with its envelope far below what a server takes in one message."""

INCARNATION = 1

M = TypeVar("M", bound=Struct)


def _said(operation_id: str, measure: OperationMeasure, struct: type[M], /, **more: Any) -> M:
    return struct(
        operation_id=operation_id,
        done=measure.done,
        total=measure.total,
        unit=measure.unit,
        step=measure.step,
        steps=measure.steps,
        message=measure.message,
        details=measure.details,
        **more,
    )


def _started(message: Announce) -> ReportStarted:
    return _said(
        message.operation_id,
        message.measure,
        ReportStarted,
        kind=message.kind,
        name=message.name,
        labels=message.labels,
        pausable=message.pausable,
        parent_id=message.parent_id,
        age_ms=message.age_ms,
    )


def _ended(message: Outcome) -> Struct:
    said = (message.operation_id, message.final)
    match message.state:
        case "completed":
            return _said(*said, ReportCompleted)
        case "failed":
            error = message.error
            fault = None if error is None else Fault(code=error.code, message=error.message, hint=error.hint)
            return _said(*said, ReportFailed, error=fault)
    return _said(*said, ReportCanceled, reason="" if message.error is None else message.error.message)


def _pages(held: tuple[HeldOperation, ...]) -> Iterator[tuple[Held, ...]]:
    """At least one."""
    page: list[Held] = []
    size = 0
    for holding in held:
        state: Literal["running", "paused", "ended"] = "running" if holding.state == "cancelling" else holding.state
        said = _said(holding.operation_id, holding.measure, Held, state=state)
        size += len(msgspec.msgpack.encode(said))
        if page and (size > PAGE_BYTES or len(page) == HELD_PAGE):
            yield tuple(page)
            page, size = [], len(msgspec.msgpack.encode(said))
        page.append(said)
    yield tuple(page)


def _assignment(operation_id: str, *, paused: bool) -> Assign:
    # What a gateway needs to know of it, it knows; a handle is its own secret with the broker.
    return Assign(
        operation_id=operation_id,
        generation=1,
        handle=0,
        kind="",
        name="",
        owner="",
        params={},
        priority=0,
        paused=paused,
        correlation_id="",
    )


def _cancel(operation_ids: tuple[str, ...]) -> ControlFrame:
    entries = tuple(Cancellation(operation_id=one, generation=1, kill_after_ms=None) for one in operation_ids)
    return ControlFrame(incarnation=INCARNATION, version=0, cancel=entries)


def _welcome(reply: ReportReply) -> OwnerWelcome:
    return OwnerWelcome(
        incarnation=INCARNATION,
        keep=tuple(_assignment(kept.operation_id, paused=kept.pause) for kept in reply.keep),
        drop=reply.drop,
        control=_cancel(reply.cancel),
    )


def hello(reporter: str, host: str, pid: int, held: tuple[HeldOperation, ...]) -> list[Report]:
    """The pages of the report, of which the last is answered with `ReportReply`."""
    pages = list(_pages(held))
    last = len(pages) - 1
    return [
        Report(reporter=reporter, host=host, pid=pid, held=page, more=number < last)
        for number, page in enumerate(pages)
    ]


def request(message: Announce | Outcome | PauseState) -> Struct:
    """What to say for it."""
    match message:
        case Announce():
            return _started(message)
        case Outcome():
            return _ended(message)
    return ReportPaused(message.operation_id) if message.paused else ReportResumed(message.operation_id)


def progress(operation_id: str, measure: OperationMeasure) -> ReportProgress:
    """What to say of a measure."""
    return _said(operation_id, measure, ReportProgress)


def answer(reply: Struct) -> Assign | Ack:
    """What an answer to a `request` means."""
    return _assignment(reply.operation_id, paused=reply.pause) if isinstance(reply, Reported) else Ack()


def notices(notice: Struct) -> list[Struct]:
    """What is said unasked, or in answer to `hello`."""
    match notice:
        case ReportReply():
            return [_welcome(notice)]
        case ReportAgain():
            return [HelloAsked()]
        case Asked():
            told: list[Struct] = [_cancel((notice.operation_id,))] if notice.cancel else []
            if notice.pause is not None:
                told.append(PauseOwner(operation_id=notice.operation_id, generation=1, paused=notice.pause))
            return told
    return []


def asked(tell: Tell) -> Asked:
    """What a client tells its program of a wish."""
    return Asked(operation_id=tell.operation_id, cancel=tell.cancel, pause=tell.pause)
