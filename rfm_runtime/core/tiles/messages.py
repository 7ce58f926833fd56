"""What the engine's shell tells the tiles core, and what the core asks of it."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

from rfm_runtime.protocol.internal import Assign, OperationMeasure
from rfm_runtime.protocol.operation import Artifact, ErrorInfo, TileGrid

__all__ = [
    "Assigned",
    "CancelSet",
    "Command",
    "Discard",
    "Dispatch",
    "Draining",
    "Dropped",
    "FocusChanged",
    "FrameFailed",
    "FrameReady",
    "FromWorker",
    "Heard",
    "Kill",
    "PauseAsked",
    "Phase",
    "Prepare",
    "Preparing",
    "PriorityChanged",
    "Rect",
    "Report",
    "Reported",
    "SayOutcome",
    "SayPaused",
    "SayReleased",
    "SayStarted",
    "Stop",
    "Task",
    "TaskDone",
    "TaskFailed",
    "TaskStopped",
    "Tick",
    "WorkerDied",
    "WorkerUp",
]

Phase = Literal["preview", "tile", "part", "image"]
"""A part is of a tile that killed its workers; it is committed with its tile."""

Rect = tuple[int, int, int, int]
"""x, y, width, height, in pixels of the frame."""


class Task(Struct, frozen=True, kw_only=True):
    """Work for one worker. x, y, width, height: pixels of the frame. index: of the tile, part or preview block.

    fresh: a dead attempt may have left half-written pixels; reset them to PENDING first. sealed: of a tile whose parts
    were computed one by one; nothing is left to compute. holes: of such a tile, what nobody could compute.
    """

    operation_id: str
    generation: int
    phase: Phase
    index: int
    attempt: int
    x: int
    y: int
    width: int
    height: int
    fresh: bool = False
    sealed: bool = False
    holes: tuple[Rect, ...] = ()


# --- in -----------------------------------------------------------------------------------------


class Assigned(Struct, frozen=True):
    """The broker gave us an operation, or confirmed one after its restart (new handle)."""

    assign: Assign


class Preparing(Struct, frozen=True):
    """Before there is a frame something takes its time. doing: what, as watchers shall read it."""

    operation_id: str
    generation: int
    doing: str


class FrameReady(Struct, frozen=True, kw_only=True):
    """Planes are there, space is reserved. committed: tiles recovered from an earlier claim, verified.

    iterations: nominal, in these tiles. holes: in these tiles. costs: expected of all tiles, if that is known.
    artifacts: not None if an earlier claim finished everything but the outcome.
    """

    operation_id: str
    generation: int
    committed: tuple[int, ...] = ()
    iterations: int = 0
    holes: tuple[Rect, ...] = ()
    costs: tuple[float, ...] = ()
    artifacts: tuple[Artifact, ...] | None = None


class FrameFailed(Struct, frozen=True):
    """The frame cannot be made (disk full, no permission)."""

    operation_id: str
    generation: int
    error: ErrorInfo


class Heard(Struct, frozen=True):
    """All that workers had said when their pipes were read, in order; what follows from it is decided once."""

    said: tuple[FromWorker, ...]


class WorkerUp(Struct, frozen=True):
    """A worker is ready for tasks."""

    worker: int


class WorkerDied(Struct, frozen=True):
    """Its process is gone and reaped. cause: signal or exit code, who sent it, the tail of its faulthandler file."""

    worker: int
    cause: str


class TaskDone(Struct, frozen=True, kw_only=True):
    """The task's pixels are there and its commit record is written.

    iterations: nominal. weights: of a preview block, the expected cost of each tile below it, by tile index.
    """

    worker: int
    task: Task
    iterations: int
    cpu_ns: int
    weights: tuple[tuple[int, float], ...] = ()
    artifacts: tuple[Artifact, ...] = ()


class TaskStopped(Struct, frozen=True, kw_only=True):
    """It was told to stop and did; what it finished is kept in the frame."""

    worker: int
    task: Task
    iterations: int
    cpu_ns: int


class TaskFailed(Struct, frozen=True, kw_only=True):
    """It raised. again: like a death it is tried again, a few times; otherwise the operation cannot go on."""

    worker: int
    task: Task
    error: ErrorInfo
    again: bool = False


FromWorker = WorkerUp | WorkerDied | TaskDone | TaskStopped | TaskFailed


class CancelSet(Struct, frozen=True):
    """The broker's cancel set: (operation, generation, kill_after_s or None)."""

    entries: tuple[tuple[str, int, float | None], ...]


class PauseAsked(Struct, frozen=True):
    """Pause or go on."""

    operation_id: str
    generation: int
    paused: bool


class PriorityChanged(Struct, frozen=True):
    """New priority."""

    operation_id: str
    generation: int
    priority: int


class FocusChanged(Struct, frozen=True):
    """Somebody looks elsewhere. x, y: as parts of the picture's width and height, from its upper left corner."""

    operation_id: str
    x: float
    y: float


class Reported(Struct, frozen=True):
    """The broker answered an outcome or release: journalled, or a conflict. Forget the operation."""

    operation_id: str
    generation: int


class Dropped(Struct, frozen=True):
    """Not ours any more (fenced off): stop it, say nothing."""

    operation_id: str


class Draining(Struct, frozen=True):
    """Dispatch nothing new; give everything back. at_once: do not wait for tiles that run."""

    at_once: bool = False


class Tick(Struct, frozen=True):
    """Look at kill deadlines and measures."""


# --- out ----------------------------------------------------------------------------------------


class Prepare(Struct, frozen=True):
    """Make or recover the frame; answer FrameReady or FrameFailed."""

    assign: Assign


class SayStarted(Struct, frozen=True):
    """Tell the broker."""

    operation_id: str
    generation: int
    total: float
    grid: TileGrid


class Dispatch(Struct, frozen=True):
    """Send the task to the worker."""

    worker: int
    task: Task


class Stop(Struct, frozen=True):
    """Have a worker stop everything it holds of an operation; each task comes back as TaskStopped."""

    worker: int
    operation_id: str
    generation: int


class Kill(Struct, frozen=True):
    """SIGKILL the worker and start another; WorkerDied follows."""

    worker: int


class SayPaused(Struct, frozen=True):
    """Tell the broker that nothing of it runs any more, or that it goes on."""

    operation_id: str
    generation: int
    paused: bool


class SayOutcome(Struct, frozen=True, kw_only=True):
    """First put the files in place (completed) or remove the frame (otherwise), then tell the broker.

    remark: what is to be known of one that completed all the same.
    """

    operation_id: str
    generation: int
    state: Literal["completed", "failed", "canceled"]
    measure: OperationMeasure
    error: ErrorInfo | None = None
    artifacts: tuple[Artifact, ...] = ()
    forced: bool = False
    remark: str = ""


class SayReleased(Struct, frozen=True):
    """Give it back; the frame stays for the next claim."""

    operation_id: str
    generation: int
    reason: str
    measure: OperationMeasure


class Discard(Struct, frozen=True):
    """Fenced off, or reported: close the frame's files; remove nothing that another claim may use."""

    operation_id: str
    generation: int


class Report(Struct, frozen=True):
    """Push this measure to the broker."""

    operation_id: str
    measure: OperationMeasure


Command = Prepare | SayStarted | Dispatch | Stop | Kill | SayPaused | SayOutcome | SayReleased | Discard | Report
