"""What a program elsewhere says of its own operations over `rfm.v1`, and what it is told: role `reporter`.

Measures are cumulative, as everywhere: the latest says it all. An operation is its sender's from `operation_started`
to its outcome; `report` tells a gateway which ones a program still has after its connection was made again.
"""

from __future__ import annotations

import sys
from typing import Annotated, Literal

from msgspec import UNSET, Meta, Struct, UnsetType

from rfm_runtime.protocol.operation import Age, Labels, Name, OperationId, Position, Text
from rfm_runtime.protocol.values import Params

__all__ = [
    "HELD_PAGE",
    "Alive",
    "Asked",
    "Fault",
    "Held",
    "Kept",
    "Measured",
    "Report",
    "ReportAgain",
    "ReportCanceled",
    "ReportCompleted",
    "ReportFailed",
    "ReportPaused",
    "ReportProgress",
    "ReportReply",
    "ReportResumed",
    "ReportStarted",
    "Reported",
]

Units = Annotated[float, Meta(ge=0, le=sys.float_info.max)]


HELD_PAGE = 1000
"""Operations in one `report`."""


class Measured(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How far an operation is: `done` of `total` units, or `progress` in percent where `done` is left out.

    details: of more than DETAILS_LIMIT_BYTES only their size is kept. total: null where nobody knows; left out, like an
    empty unit, it is what it was.
    """

    operation_id: OperationId
    progress: Annotated[float, Meta(ge=0, le=100)] | None = None
    done: Units | None = None
    total: Units | UnsetType | None = UNSET
    unit: Name = ""
    step: Name = ""
    steps: tuple[Position, Position] | None = None
    message: Text = ""
    details: Params | None = None


class ReportStarted(Measured, frozen=True, kw_only=True, omit_defaults=True):
    """`operation_started`: a program has begun it. → `reported` once journalled; repeating it is harmless.

    pausable: its program looks whether it is to pause. parent_id: a cancel of that one cancels it. age_ms: since it has
    begun, if the server could not be told then.
    """

    kind: Name = "operation"
    name: Name = ""
    labels: Labels = {}
    pausable: bool = False
    parent_id: OperationId | None = None
    age_ms: Age = 0


class ReportProgress(Measured, frozen=True, kw_only=True, omit_defaults=True):
    """`progress_update`. Answered (`ok`) only if it has an id, and by then passed on, not seen."""


class ReportPaused(Struct, frozen=True):
    """`operation_paused`: it stands still, as it was asked to. → `ok`"""

    operation_id: OperationId


class ReportResumed(Struct, frozen=True):
    """`operation_resumed`: it goes on. → `ok`"""

    operation_id: OperationId


class ReportCompleted(Measured, frozen=True, kw_only=True, omit_defaults=True):
    """`operation_completed`. → `ok` once journalled: until then it is to be kept and repeated. The first one counts."""


class Fault(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Why it failed. code: of the program; hint: what to do about it."""

    code: Name = "failed"
    message: Text = ""
    hint: Text | None = None


class ReportFailed(Measured, frozen=True, kw_only=True, omit_defaults=True):
    """`operation_failed`; without an error, `message` says what happened. → `ok`"""

    error: Fault | Text | None = None


class ReportCanceled(Measured, frozen=True, kw_only=True, omit_defaults=True):
    """`operation_canceled`: the work has stopped. → `ok`"""

    reason: Text = ""


class Held(Measured, frozen=True, kw_only=True, omit_defaults=True):
    """An operation that a program still has. ended: its outcome follows."""

    state: Literal["running", "paused", "ended"] = "running"


class Report(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """`report`: a program introduces itself with all that it holds; more: another page follows. → `report_reply`

    reporter: a name that it keeps as long as it lives and that no other program of its user has. What the runtime
    thinks it has and is not `held` is taken for lost. host, pid: where it runs, for people.
    """

    reporter: Annotated[str, Meta(min_length=1, max_length=64, pattern=r"^[A-Za-z0-9_.:@-]+\Z")]
    host: Name = ""
    pid: Annotated[int, Meta(ge=0, le=2**31 - 1)] = 0
    held: Annotated[tuple[Held, ...], Meta(max_length=HELD_PAGE)] = ()
    more: bool = False


class Kept(Struct, frozen=True, omit_defaults=True):
    """An operation to go on with."""

    operation_id: str
    pause: bool = False


class ReportReply(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """keep: to go on with. drop: unknown here, or another's. Those in neither have their outcome: say it once more.

    cancel: of those kept, the ones that are to stop.
    """

    keep: tuple[Kept, ...] = ()
    drop: tuple[str, ...] = ()
    cancel: tuple[str, ...] = ()


class Reported(Struct, frozen=True, omit_defaults=True):
    """Answer to `operation_started`. pause: somebody wants it to stand still."""

    operation_id: str
    pause: bool = False


class Asked(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Somebody wants it to stop (`cancel`: say the outcome when it has), or to stand still, or to go on (`pause`)."""

    operation_id: str
    cancel: bool = False
    pause: bool | None = None


class ReportAgain(Struct, frozen=True):
    """The runtime has restarted within: say `report` again, with all that is held."""


class Alive(Struct, frozen=True):
    """`heartbeat`: from a program that reports, every second in which it says nothing else."""
