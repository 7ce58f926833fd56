"""What is said about an operation: its states, its progress, its events. Used on every hop."""

from __future__ import annotations

from math import ceil
from typing import Annotated, Any, Final, Literal, get_args

import msgspec
from msgspec import Meta, Struct

from rfm_runtime.errors import RfmError, Severity, from_code
from rfm_runtime.protocol.codes import ErrorCode
from rfm_runtime.protocol.limits import (
    ID_LIMIT,
    LABEL_LIMIT,
    LABELS_LIMIT,
    MESSAGE_LIMIT,
    NAME_LIMIT,
    PRIORITY_MAX,
    PRIORITY_MIN,
)

__all__ = [
    "EVENT_TYPES",
    "TERMINAL_EVENTS",
    "TERMINAL_STATES",
    "Age",
    "Artifact",
    "ErrorInfo",
    "Eta",
    "EventType",
    "Int64",
    "Labels",
    "Name",
    "Operation",
    "OperationEvent",
    "OperationFilter",
    "OperationId",
    "OperationState",
    "Position",
    "Priority",
    "ProgressUpdate",
    "Text",
    "TileGrid",
    "TileMap",
    "after_event",
    "error_info",
]

OperationId = Annotated[str, Meta(min_length=1, max_length=ID_LIMIT, pattern=r"^[A-Za-z0-9_.:@-]+\Z")]
Name = Annotated[str, Meta(max_length=NAME_LIMIT)]
Text = Annotated[str, Meta(max_length=MESSAGE_LIMIT)]
# JSON has integers of any length; MessagePack, and with it the next hop, has 64 bits.
Int64 = Annotated[int, Meta(ge=-(2**63), le=2**63 - 1)]
Position = Annotated[int, Meta(ge=0, le=2**63 - 1)]
# Ten years.
Age = Annotated[int, Meta(ge=0, le=315_360_000_000)]
Priority = Annotated[int, Meta(ge=PRIORITY_MIN, le=PRIORITY_MAX)]
Labels = Annotated[
    dict[Annotated[str, Meta(max_length=LABEL_LIMIT)], Annotated[str, Meta(max_length=LABEL_LIMIT)]],
    Meta(max_length=LABELS_LIMIT),
]

OperationState = Literal["pending", "queued", "running", "paused", "cancelling", "completed", "failed", "canceled"]
TERMINAL_STATES: Final[frozenset[OperationState]] = frozenset({"completed", "failed", "canceled"})

EventType = Literal[
    "operation_accepted",
    "operation_queued",
    "operation_started",
    "operation_paused",
    "operation_resumed",
    "operation_requeued",
    "operation_cancelling",
    "operation_priority",
    "operation_completed",
    "operation_failed",
    "operation_canceled",
]
TERMINAL_EVENTS: Final[frozenset[EventType]] = frozenset(
    {"operation_completed", "operation_failed", "operation_canceled"}
)
EVENT_TYPES: Final[frozenset[str]] = frozenset(get_args(EventType))


class ErrorInfo(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`error` on the wire, and the error of a failed operation (whose `code` is its owner's).

    unsure: the request may be carried out all the same.
    """

    code: str
    message: str
    severity: Severity = "error"
    temporary: bool = False
    retry_after_ms: int | None = None
    hint: str | None = None
    kept: str | None = None
    unsure: bool = False

    def to_exception(self) -> RfmError:
        """The error to raise for a refused request."""
        retry_after_s = None if self.retry_after_ms is None else self.retry_after_ms / 1000
        error = from_code(
            self.code,
            self.message,
            hint=self.hint,
            kept=self.kept,
            retry_after_s=retry_after_s,
            temporary=self.temporary,
        )
        error.unsure = self.unsure
        return error


def _milliseconds(seconds: float) -> int:
    # Rounded up from the first bit on: later is never now. What comes of a conversion, 0.05 s as 50.000000000000004
    # ms, is no more than 50.
    return ceil(round(seconds * 1000, 3)) or int(seconds > 0.0)


def error_info(error: RfmError, code: ErrorCode | None = None) -> ErrorInfo:
    """What a peer may know of an error: never more than its message, its hint, and what was kept."""
    return ErrorInfo(
        code=code or error.code,
        message=error.message,
        severity=error.severity,
        temporary=error.temporary,
        retry_after_ms=None if error.retry_after_s is None else _milliseconds(error.retry_after_s),
        hint=error.hint,
        kept=error.kept,
        unsure=error.unsure,
    )


class Eta(Struct, frozen=True):
    """Time to the outcome from `measured_at_ms`, in milliseconds: median and 90 % quantile."""

    p50: int
    p90: int


class TileGrid(Struct, frozen=True, kw_only=True):
    """Geometry of a render's tiles, so that a watcher can draw `TileMap`: row-major, sizes in pixels."""

    width_px: int
    height_px: int
    tile_px: int
    columns: int
    rows: int


class TileMap(Struct, frozen=True, kw_only=True):
    """Absolute state of the tiles: a skipped message is harmless.

    committed: bitmap, tile i is bit i % 8 of byte i // 8. previewed: number of tiles of the first pass done.
    """

    total: int
    done: int
    committed: bytes
    previewed: int = 0


class Artifact(Struct, frozen=True, kw_only=True):
    """A file that an operation left; `name` is unique within the operation and is no path."""

    name: str
    media_type: str
    size_bytes: int
    sha256: str


class ProgressUpdate(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A cumulative measurement: the latest wins. `rev` is (broker incarnation, n), rising per operation.

    progress: percent, 0–100, at most 99 until the outcome is journalled. rate: units/s.
    at_seq: the last event this follows. steps: (current, total). stale: the owner was silent for 3 s.
    """

    operation_id: str
    rev: tuple[int, int]
    at_seq: int
    measured_at_ms: int
    done: float
    unit: str = ""
    total: float | None = None
    progress: float = 0.0
    rate: float | None = None
    eta_ms: Eta | None = None
    step: str = ""
    steps: tuple[int, int] | None = None
    message: str = ""
    details: dict[str, Any] | None = None
    tiles: TileMap | None = None
    iterations: int = 0
    cpu_s: float = 0.0
    stale: bool = False


class Operation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Everything a watcher is told about one operation. Times are ms since 1970, broker clock."""

    operation_id: OperationId
    kind: str
    name: str
    owner: str
    state: OperationState
    at_seq: int
    created_at_ms: int
    priority: int = 0
    labels: dict[str, str] = {}
    parent_id: str | None = None
    generation: int = 0
    stale: bool = False
    latest: ProgressUpdate | None = None
    started_at_ms: int | None = None
    ended_at_ms: int | None = None
    error: ErrorInfo | None = None
    artifacts: tuple[Artifact, ...] = ()
    location: str | None = None
    grid: TileGrid | None = None
    cancel_requested: bool = False
    forced: bool = False
    attempts: int = 0
    correlation_id: str | None = None


class OperationEvent(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A reliable fact: journalled, numbered by `seq`, never dropped.

    Of the optional fields an event has those that its type needs: `operation` with accepted and
    started, `reason` with requeued and cancelling, `final` (and `error`, `artifacts`, `forced`)
    with an outcome. `state` is the operation's state after the event. ended_at_ms: when it ended, where that was
    heard only later.
    """

    seq: int
    ts_ms: int
    type: EventType
    operation_id: str
    state: OperationState
    generation: int = 0
    operation: Operation | None = None
    reason: str | None = None
    by: str | None = None
    priority: int | None = None
    final: ProgressUpdate | None = None
    error: ErrorInfo | None = None
    artifacts: tuple[Artifact, ...] = ()
    cancel_requested: bool = False
    forced: bool = False
    ended_at_ms: int | None = None


class OperationFilter(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which operations; an empty filter means all. Fields are joined by *and*, values by *or*."""

    states: Annotated[list[OperationState], Meta(max_length=8)] | None = None
    kinds: Annotated[list[Name], Meta(max_length=32)] | None = None
    owner: Name | None = None
    labels: Labels | None = None
    text: Name | None = None


def after_event(operation: Operation, event: OperationEvent, latest: ProgressUpdate | None) -> Operation:
    """The operation once the event has happened. latest: its newest progress, which the event may have brought."""
    return msgspec.structs.replace(
        operation,
        state=event.state,
        at_seq=event.seq,
        generation=event.generation,
        priority=operation.priority if event.priority is None else event.priority,
        latest=latest,
        cancel_requested=event.cancel_requested,
        forced=event.forced,
        error=event.error,
        artifacts=event.artifacts,
        ended_at_ms=(event.ended_at_ms or event.ts_ms) if event.type in TERMINAL_EVENTS else None,
        # What its owner does not say leaves it as silent as it was.
        stale=operation.stale and event.type in ("operation_cancelling", "operation_priority"),
    )
