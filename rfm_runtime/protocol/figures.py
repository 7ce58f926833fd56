"""A report as a value: every figure that a page, a table or a program may want of it.

Its JSON is for programs as well: no field is ever left out, names are stable, times are ms since 1970. Durations end
in `_ms`. A share is between 0 and 1, and None where there is nothing to divide by.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal

from msgspec import Meta, Struct

from rfm_runtime.errors import Severity
from rfm_runtime.protocol.limits import PAGE_LIMIT
from rfm_runtime.protocol.operation import (
    Artifact,
    ErrorInfo,
    Eta,
    OperationFilter,
    OperationId,
    OperationState,
    Position,
)

__all__ = [
    "Bin",
    "Course",
    "Density",
    "Durations",
    "Failures",
    "GetOperationReport",
    "GetPeriodReport",
    "Group",
    "Line",
    "Moment",
    "OperationReport",
    "PeriodReport",
    "Phase",
    "PhaseName",
    "Report",
    "Sample",
    "Tally",
]

PhaseName = Literal["waiting", "running", "paused", "stopping"]


class Line(Struct, frozen=True, kw_only=True):
    """One operation.

    waiting_ms: from its submission to its start; to its outcome, or the report's moment, if it never started.
    running_ms: from its start to its outcome, or the report's moment; None if it never started. done, cpu_s,
    iterations: as far as it came.
    """

    operation_id: str
    kind: str
    name: str
    owner: str
    state: OperationState
    created_at_ms: int
    started_at_ms: int | None
    ended_at_ms: int | None
    waiting_ms: int
    running_ms: int | None
    cpu_s: float
    iterations: int
    done: float
    total: float | None
    unit: str
    priority: int
    attempts: int
    parent_id: str | None
    labels: dict[str, str]
    error_code: str | None
    error_severity: Severity | None
    error_message: str | None


class Durations(Struct, frozen=True, kw_only=True):
    """How long `count` of something took. Quantiles by nearest rank: each is a duration that occurred."""

    count: int
    total_ms: int
    p50_ms: int | None
    p90_ms: int | None
    p99_ms: int | None
    max_ms: int | None


class Tally(Struct, frozen=True, kw_only=True):
    """What became of those submitted. unfinished: without an outcome at the report's moment.

    success: completed of completed and failed; who was cancelled did neither.
    """

    submitted: int
    completed: int
    failed: int
    canceled: int
    unfinished: int
    success: float | None


class Group(Struct, frozen=True, kw_only=True):
    """All operations, or those of one kind or owner. waiting: of those that started; running: that ended as well."""

    name: str
    tally: Tally
    waiting: Durations
    running: Durations
    cpu_s: float
    iterations: int


class Bin(Struct, frozen=True, kw_only=True):
    """What happened from `start_ms` on for the width of a bin. peak, mean: of how many ran at once."""

    start_ms: int
    submitted: int
    started: int
    completed: int
    failed: int
    canceled: int
    peak: int
    mean: float


class Course(Struct, frozen=True, kw_only=True):
    """The period in bins of equal width, which cover it. outside_*: what happened before the first or after the last.

    peak: most that ran at once, first at peak_at_ms.
    """

    start_ms: int
    width_ms: int
    bins: tuple[Bin, ...]
    outside_submitted: int
    outside_started: int
    outside_ended: int
    peak: int
    peak_at_ms: int | None


class Density(Struct, frozen=True, kw_only=True):
    """How many of each kind were submitted in each bin of the course: a row for each kind, the most frequent first."""

    kinds: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]


class Failures(Struct, frozen=True, kw_only=True):
    """Failures of one code whose messages differ in numbers at most. severity, message, example_id: of the latest."""

    code: str
    severity: Severity
    message: str
    count: int
    kinds: tuple[str, ...]
    example_id: str
    latest_at_ms: int


class PeriodReport(Struct, frozen=True, kw_only=True, tag_field="report", tag="period"):
    """The operations that were submitted in a period: since_ms ≤ submitted < until_ms, as of now_ms.

    filters: which were asked for, if not all. slowest, canceled: ids. operations: newest first.
    """

    since_ms: int
    until_ms: int
    now_ms: int
    filters: dict[str, str]
    everything: Group
    by_state: dict[OperationState, int]
    kinds: tuple[Group, ...]
    owners: tuple[Group, ...]
    course: Course
    density: Density
    slowest: tuple[str, ...]
    failures: tuple[Failures, ...]
    canceled: tuple[str, ...]
    operations: tuple[Line, ...]


class Phase(Struct, frozen=True, kw_only=True):
    """An uninterrupted stretch of an operation's life."""

    phase: PhaseName
    start_ms: int
    end_ms: int


class Moment(Struct, frozen=True, kw_only=True):
    """An event. after_ms: since the one before it. since_submitted_ms: never negative, whatever a clock did."""

    seq: int
    at_ms: int
    type: str
    state: OperationState
    after_ms: int
    since_submitted_ms: int
    by: str | None
    reason: str | None
    priority: int | None


class Sample(Struct, frozen=True, kw_only=True):
    """Where it stood t_ms after its start, and how fast it had gone since the sample before (None for the first).

    share: of its total. rate: units/s. cores: CPU seconds per second.
    """

    t_ms: int
    done: float
    share: float | None
    rate: float | None
    cores: float | None
    iterations_per_s: float | None
    memory_bytes: int
    workers: int


class OperationReport(Struct, frozen=True, kw_only=True, tag_field="report", tag="operation"):
    """One operation, as of now_ms.

    phase_ms: all phases of each sort. cores, rate, iterations_per_s: on average while it ran, pauses left out.
    efficiency: of the CPU time that its slots could have given it meanwhile. eta: of one that runs.
    """

    now_ms: int
    operation: Line
    progress: float | None
    step: str
    message: str
    eta: Eta | None
    error: ErrorInfo | None
    artifacts: tuple[Artifact, ...]
    location: str | None
    correlation_id: str | None
    cancel_requested: bool
    forced: bool
    phases: tuple[Phase, ...]
    phase_ms: dict[PhaseName, int]
    events: tuple[Moment, ...]
    series: tuple[Sample, ...]
    paused_ms: int
    deaths: int
    losses: int
    slots: int
    peak_memory_bytes: int
    rate: float | None
    cores: float | None
    iterations_per_s: float | None
    efficiency: float | None
    params: dict[str, Any]


class GetPeriodReport(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`period_report`: of what was submitted in a period and passes the filter. → `period_report_reply`

    offset_ms: local time less UTC, so that bins begin when local hours and days do. operations: how many of them are
    listed, the newest; all are counted. `too_large` for more than a report is made of.
    """

    since_ms: Position = 0
    until_ms: Position | None = None
    filter: OperationFilter = OperationFilter()
    offset_ms: Annotated[int, Meta(ge=-86_400_000, le=86_400_000)] = 0
    operations: Annotated[int, Meta(ge=0, le=PAGE_LIMIT)] = 0


class GetOperationReport(Struct, frozen=True):
    """`operation_report`. → `operation_report_reply`; `unknown_operation`"""

    operation_id: OperationId


Report = PeriodReport | OperationReport
