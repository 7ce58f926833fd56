"""What the commands of the tiles core have to agree with: claims, what workers hold, and the disk of `tiles.World`.

Each command is checked at the moment it leaves against what the workers really do and the disk really holds.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

from rfm_runtime.core.tiles.engine import EngineCore
from rfm_runtime.core.tiles.messages import (
    Command,
    Discard,
    Dispatch,
    Kill,
    Prepare,
    Report,
    SayOutcome,
    SayPaused,
    SayReleased,
    SayStarted,
    Stop,
    Task,
    TaskDone,
    TaskFailed,
    TaskStopped,
)
from rfm_runtime.core.tiles.order import PREVIEW_STEP
from rfm_runtime.protocol.internal import Assign, OperationMeasure
from rfm_runtime.protocol.operation import Artifact, TileGrid

__all__ = [
    "ARTIFACTS",
    "Answer",
    "Claim",
    "Disk",
    "Held",
    "Key",
    "Ledger",
    "Process",
    "assignment",
    "grid",
    "pixels_of",
    "require",
    "touched",
]

ARTIFACTS = (Artifact(name="image.png", media_type="image/png", size_bytes=1, sha256="0" * 64),)

Key = tuple[str, int]
Answer = TaskDone | TaskStopped | TaskFailed


def grid(columns: int, rows: int, tile_px: int = 10, short_px: int = 3) -> TileGrid:
    """A grid whose last column and row are short_px narrower than a tile."""
    return TileGrid(
        width_px=columns * tile_px - short_px,
        height_px=rows * tile_px - short_px,
        tile_px=tile_px,
        columns=columns,
        rows=rows,
    )


def assignment(operation_id: str = "op", generation: int = 1, **fields: Any) -> Assign:
    """What the broker sends. columns, rows: size of the grid in tiles."""
    columns, rows = fields.pop("columns", 2), fields.pop("rows", 1)
    given: dict[str, Any] = {
        "handle": generation,
        "kind": "test.tiles",
        "name": "",
        "owner": "local",
        "params": {"columns": columns, "rows": rows},
        "priority": 0,
        "paused": False,
        "correlation_id": "",
        **fields,
    }
    return Assign(operation_id=operation_id, generation=generation, **given)


class Held:
    """A task that a process really has. stop: it was told. begun: pixels are being written."""

    def __init__(self, task: Task) -> None:
        self.task = task
        self.stop = False
        self.begun = False


class Process:
    """A worker. inbox: not read yet. todo: read, the first one runs. outbox: said, not heard by the core yet."""

    def __init__(self, number: int) -> None:
        self.number = number
        self.alive = True
        self.kill_asked = False
        self.inbox: deque[Dispatch | Stop] = deque()
        self.todo: list[Held] = []
        self.outbox: deque[Answer] = deque()
        self.known: list[Task] = []

    def holds(self, operation_id: str, generation: int | None = None) -> bool:
        """Whether it does or will do something of it, whatever the core believes."""
        tasks = [held.task for held in self.todo]
        tasks += [message.task for message in self.inbox if isinstance(message, Dispatch)]
        return any(t.operation_id == operation_id and generation in (None, t.generation) for t in tasks)


@dataclass
class Disk:
    """The frame of an operation. torn: pixels that a dead worker may have left half-written.

    written, holes: pixels of tiles in parts that were computed, and that were given up: each only ever once.
    """

    committed: set[int] = field(default_factory=set)
    written: set[tuple[int, int]] = field(default_factory=set)
    holes: set[tuple[int, int]] = field(default_factory=set)
    torn: set[tuple[int, int]] = field(default_factory=set)
    artifacts: tuple[Artifact, ...] | None = None


@dataclass
class Claim:
    """What the test told the core about one generation, and what the core said.

    parts: of tiles that killed, by number, as they were dispatched.
    """

    assign: Assign
    grid: TileGrid
    ready: bool = False
    prepares: bool = False
    started: bool = False
    cancelled: bool = False
    paused: bool = False
    said_paused: bool | None = False
    dropped: bool = False
    forced: bool = False
    broken: bool = False
    ended: str | None = None
    counter: int = 0
    done: float = 0.0
    bitmap: int = 0
    iterations: int = 0
    partial: Counter[tuple[str, int]] = field(default_factory=Counter)
    dispatched: Counter[tuple[str, int]] = field(default_factory=Counter)
    returned: Counter[tuple[str, int]] = field(default_factory=Counter)
    deaths: Counter[tuple[str, int]] = field(default_factory=Counter)
    parts: dict[int, Task] = field(default_factory=dict)


class Ledger:
    """log: all commands. claims: by operation and generation. preparing, reports: what the shell works on."""

    core: EngineCore

    def __init__(self) -> None:
        self.log: list[Command] = []
        self.disks: dict[str, Disk] = {}
        self.claims: dict[Key, Claim] = {}
        self.processes: dict[int, Process] = {}
        self.preparing: dict[str, Assign] = {}
        self.reports: dict[Key, str] = {}

    def carry_out(self, command: Command) -> None:
        """Check it and pass it on to workers, disk and broker. AssertionError if it must not be."""
        self.log.append(command)
        match command:
            case Prepare():
                self._prepare(command.assign)
            case Dispatch():
                self._dispatch(command)
            case Stop():
                self.processes[command.worker].inbox.append(command)
            case Kill():
                require(not self.processes[command.worker].kill_asked, "killed twice", command)
                self.processes[command.worker].kill_asked = True
                for claim in self.claims.values():
                    claim.forced = claim.forced or claim.cancelled
            case SayStarted():
                claim = self._living(command.operation_id, command.generation)
                begun = claim.ready or claim.prepares
                require(begun and not claim.started, "started twice, or before anything is done", command)
                require(not claim.dropped, "the start of a claim that is fenced off", command)
                claim.started = True
            case SayPaused():
                self._paused(command)
            case Report():
                self._measured(self._living(command.operation_id, command.measure.generation), command.measure)
            case SayOutcome():
                self._outcome(command)
            case SayReleased():
                claim = self._idle(command.operation_id, command.generation)
                require(self.core.draining and not claim.cancelled, "released for no reason", command)
                self._measured(claim, command.measure)
                claim.ended = "released"
                self.reports[command.operation_id, command.generation] = "released"
            case Discard():
                self._discard(command)

    def _living(self, operation_id: str, generation: int) -> Claim:
        claim = self.claims[operation_id, generation]
        require(claim.ended is None, "said after the end", (operation_id, generation, claim.ended))
        return claim

    def _idle(self, operation_id: str, generation: int) -> Claim:
        holding = [p.number for p in self.processes.values() if p.holds(operation_id, generation)]
        require(not holding, "ended or paused while workers hold it", (operation_id, generation, holding))
        return self._living(operation_id, generation)

    def _prepare(self, assign: Assign) -> None:
        key = (assign.operation_id, assign.generation)
        require(key not in self.claims, "prepared twice", key)
        require(assign.operation_id not in self.preparing, "the frame is being prepared", key)
        require(not any(oid == assign.operation_id for oid, _ in self.reports), "its predecessor's word is out", key)
        require(not any(p.holds(assign.operation_id) for p in self.processes.values()), "its frame is in use", key)
        self.preparing[assign.operation_id] = assign
        size = grid(assign.params["columns"], assign.params["rows"])
        self.claims[key] = Claim(assign, size, paused=assign.paused)

    def _dispatch(self, command: Dispatch) -> None:
        task, process = command.task, self.processes[command.worker]
        claim = self._living(task.operation_id, task.generation)
        key = (task.phase, task.index)
        require(claim.ready and claim.started, "dispatched without a frame", task)
        require(not (claim.cancelled or claim.paused or claim.dropped), "dispatched though it is to stop", task)
        require(not self.core.draining, "dispatched while draining", task)
        require(not process.kill_asked, "dispatched to a dying worker", task)
        require(claim.dispatched[key] == claim.returned[key], "dispatched though its last attempt is out", task)
        require(task.phase != "tile" or not claim.bitmap >> task.index & 1, "a committed tile again", task)
        suspected = task.phase == "part" or claim.deaths[key] >= 2
        require(not suspected or not process.known, "what has killed is not alone", task)
        require(not any(_suspected(self, held) for held in process.known), "something beside what has killed", task)
        if task.phase == "part":
            self._part(claim, task)
        require(not task.holes or claim.assign.params.get("on_poison") == "hole", "a hole that nobody allowed", task)
        claim.dispatched[key] += 1
        require(task.attempt == claim.dispatched[key], "attempts are miscounted", task)
        process.known.append(task)
        if process.alive:
            process.inbox.append(command)

    def _part(self, claim: Claim, task: Task) -> None:
        """It is of a tile that killed in quarantine, and no pixel of it is computed or given up."""
        pixels = pixels_of(task)
        tile = task.y // claim.grid.tile_px * claim.grid.columns + task.x // claim.grid.tile_px
        require(claim.deaths["tile", tile] >= 3, "taken apart for no reason", (task, claim.deaths))
        disk = self.disks[task.operation_id]
        require(tile not in disk.committed, "a part of a committed tile", task)
        require(not pixels & (disk.written | disk.holes), "pixels once more", task)
        claim.parts[task.index] = task

    def _paused(self, command: SayPaused) -> None:
        claim = self._living(command.operation_id, command.generation)
        require(claim.paused == command.paused, "nobody asked for that", command)
        require(claim.said_paused != command.paused, "said twice", command)
        claim.said_paused = command.paused
        if command.paused:
            self._idle(command.operation_id, command.generation)

    def _measured(self, claim: Claim, measure: OperationMeasure) -> None:
        bitmap = int.from_bytes(measure.committed, "little")
        require(measure.counter > claim.counter, "counter went back", measure)
        require(measure.done >= claim.done, "done went back", measure)
        require(claim.bitmap & ~bitmap == 0, "a committed tile was lost", measure)
        require(bitmap.bit_count() == measure.tiles_done <= measure.tiles_total, "tiles are miscounted", measure)
        require(measure.iterations == claim.iterations, "iterations are miscounted", (measure, claim.iterations))
        disk = self.disks.get(claim.assign.operation_id, Disk())
        known = {index for index in range(measure.tiles_total) if bitmap >> index & 1}
        require(disk.artifacts is not None or known <= disk.committed, "counted but not on disk", measure)
        claim.counter, claim.done, claim.bitmap = measure.counter, measure.done, bitmap

    def _outcome(self, command: SayOutcome) -> None:
        claim = self._idle(command.operation_id, command.generation)
        require(not claim.dropped, "the outcome of a claim that is fenced off", command)
        self._measured(claim, command.measure)
        require((command.error is not None) == (command.state == "failed"), "failed without a cause", command)
        require(claim.forced or not command.forced, "forced, but nothing was killed", command)
        if command.state == "completed":
            total = claim.grid.width_px * claim.grid.height_px
            require(command.measure.done == total, "completed without all its tiles", command)
            require(command.artifacts != (), "completed without artefacts", command)
            holes = self.disks[command.operation_id].holes
            told = (command.measure.details or {}).get("hole_px", 0)
            require(told == len(holes), "other holes are told", command)
            require(bool(told) == bool(command.remark), "holes without a remark, or a remark without", command)
            self.disks[command.operation_id].artifacts = command.artifacts
        else:
            reason = claim.cancelled if command.state == "canceled" else claim.broken
            require(reason, f"{command.state} for no reason", command)
            self.disks.pop(command.operation_id, None)
        claim.ended = command.state
        self.reports[command.operation_id, command.generation] = command.state

    def _discard(self, command: Discard) -> None:
        key = (command.operation_id, command.generation)
        claim = self.claims[key]
        require(key not in self.reports, "forgotten before its word was heard", command)
        if claim.ended is None:
            self._idle(*key)
            require(claim.dropped, "forgotten without an outcome", command)
            require(command.operation_id not in self.preparing, "its frame is being prepared", command)
            claim.ended = "discarded"


def _suspected(ledger: Ledger, task: Task) -> bool:
    claim = ledger.claims[task.operation_id, task.generation]
    return task.phase == "part" or claim.deaths[task.phase, task.index] >= 2


def pixels_of(task: Task) -> set[tuple[int, int]]:
    """The pixels of a task."""
    return {(x, y) for x in range(task.x, task.x + task.width) for y in range(task.y, task.y + task.height)}


def touched(task: Task) -> set[tuple[int, int]]:
    """The pixels that it writes: of a preview one in 64, of an image none."""
    if task.phase == "image":
        return set()
    step = PREVIEW_STEP if task.phase == "preview" else 1
    return {(x, y) for x, y in pixels_of(task) if x % step == y % step == 0}


def require(condition: bool, what: str, detail: object) -> None:
    """AssertionError with what is wrong."""
    if not condition:
        raise AssertionError(f"{what}: {detail}")
