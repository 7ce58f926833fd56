"""An engine without processes, pipes and files: the real `EngineCore`, workers and a disk under the test's control.

Commands are carried out as late as the test likes, in the order of their pipe. Each is checked at the moment it
leaves against what the workers really do and the disk really holds, so each test that uses a `World` holds *an
outcome means that nothing runs any more*, *a tile counts once*, and *half-written pixels are never committed*.
"""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import Any

import msgspec
from msgspec import Struct

from rfm_runtime.core.tiles.engine import EngineCore
from rfm_runtime.core.tiles.messages import (
    Assigned,
    CancelSet,
    Command,
    Discard,
    Dispatch,
    Draining,
    Dropped,
    FrameFailed,
    FrameReady,
    Kill,
    PauseAsked,
    Prepare,
    Report,
    Reported,
    SayOutcome,
    SayPaused,
    SayReleased,
    SayStarted,
    Stop,
    Task,
    TaskDone,
    TaskFailed,
    TaskStopped,
    Tick,
    WorkerDied,
    WorkerUp,
)
from rfm_runtime.protocol.internal import Assign, OperationMeasure
from rfm_runtime.protocol.operation import Artifact, ErrorInfo, TileGrid

__all__ = ["ARTIFACTS", "Claim", "Disk", "Held", "Process", "World", "assignment", "grid"]

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
    """The frame of an operation. torn: what a killed worker left half-written."""

    committed: set[int] = field(default_factory=set)
    torn: set[tuple[str, int]] = field(default_factory=set)
    artifacts: tuple[Artifact, ...] | None = None


@dataclass
class Claim:
    """What the test told the core about one generation, and what the core said."""

    assign: Assign
    grid: TileGrid
    ready: bool = False
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
    dispatched: Counter[tuple[str, int]] = field(default_factory=Counter)
    returned: Counter[tuple[str, int]] = field(default_factory=Counter)
    deaths: Counter[tuple[str, int]] = field(default_factory=Counter)


class World:
    """claims: by operation and generation. preparing, reports: what the shell works on. log: all commands."""

    def __init__(self, workers: int = 1) -> None:
        self.now_s = 100.0
        self.log: list[Command] = []
        self.disks: dict[str, Disk] = {}
        self.claims: dict[Key, Claim] = {}
        self.numbers = 0
        self.boot(workers)

    def boot(self, workers: int) -> None:
        """A new engine; of the old one only the disk is left, and torn tiles of it."""
        for process in getattr(self, "processes", {}).values():
            self.kill(process)
        for claim in self.claims.values():
            claim.ended = claim.ended or "lost"
        self.core = EngineCore(lambda assign: grid(assign.params["columns"], assign.params["rows"]))
        self.processes: dict[int, Process] = {}
        self.preparing: dict[str, Assign] = {}
        self.reports: dict[Key, str] = {}
        for _ in range(workers):
            self.start_worker()

    # --- towards the core -------------------------------------------------------------------

    def handle(self, message: Struct) -> list[Command]:
        """Tell the core; check and carry out what it answers."""
        commands = self.core.handle(message, self.now_s, int(self.now_s * 1000))
        for command in commands:
            self._carry_out(command)
        self.core.sanity_check()
        return commands

    def assign(self, operation_id: str = "op", generation: int = 1, **fields: Any) -> list[Command]:
        """The broker assigns it, or repeats that."""
        for (oid, older), claim in self.claims.items():
            if oid == operation_id and older < generation and not claim.ended:
                claim.dropped = True
        return self.handle(Assigned(assignment(operation_id, generation, **fields)))

    def begin(self, operation_id: str = "op", generation: int = 1, **fields: Any) -> list[Command]:
        """Assign it and have its frame ready."""
        return self.assign(operation_id, generation, **fields) + self.frame_ready(operation_id)

    def frame_ready(self, operation_id: str = "op") -> list[Command]:
        """The frame was made or recovered: what is not committed is reset."""
        assign = self.preparing.pop(operation_id)
        disk = self.disks.setdefault(operation_id, Disk())
        disk.torn.clear()
        self.claims[operation_id, assign.generation].ready = True
        return self.handle(
            FrameReady(
                operation_id=operation_id,
                generation=assign.generation,
                committed=tuple(sorted(disk.committed)),
                artifacts=disk.artifacts,
            )
        )

    def frame_failed(self, operation_id: str = "op") -> list[Command]:
        """The disk is full."""
        assign = self.preparing.pop(operation_id)
        claim = self.claims[operation_id, assign.generation]
        claim.ready = claim.broken = True
        error = ErrorInfo(code="no_frame", message="disk full")
        return self.handle(FrameFailed(operation_id, assign.generation, error))

    def cancel(self, operation_id: str = "op", generation: int = 1, kill_after_s: float | None = None) -> list[Command]:
        """One entry of the cancel set."""
        if claim := self.claims.get((operation_id, generation)):
            claim.cancelled = True
        return self.handle(CancelSet(((operation_id, generation, kill_after_s),)))

    def pause(self, operation_id: str = "op", generation: int = 1, *, paused: bool = True) -> list[Command]:
        """Pause, or go on."""
        if claim := self.claims.get((operation_id, generation)):
            claim.paused = paused
            claim.said_paused = None
        return self.handle(PauseAsked(operation_id, generation, paused))

    def drop(self, operation_id: str = "op") -> list[Command]:
        """Fenced off."""
        for (oid, _), claim in self.claims.items():
            if oid == operation_id and not claim.ended:
                claim.dropped = True
        return self.handle(Dropped(operation_id))

    def drain(self, *, at_once: bool = False) -> list[Command]:
        """Give everything back."""
        return self.handle(Draining(at_once))

    def tick(self, elapsed_s: float = 0.05) -> list[Command]:
        """Time passes."""
        self.now_s += elapsed_s
        return self.handle(Tick())

    def acknowledge(self, operation_id: str = "op", generation: int = 1) -> list[Command]:
        """The broker has journalled the outcome or release."""
        del self.reports[operation_id, generation]
        return self.handle(Reported(operation_id, generation))

    # --- workers ----------------------------------------------------------------------------

    def start_worker(self) -> list[Command]:
        """Another process."""
        self.numbers += 1
        self.processes[self.numbers] = Process(self.numbers)
        return self.handle(WorkerUp(self.numbers))

    def read(self, process: Process) -> None:
        """It takes all that is in its pipe, and begins with the first task."""
        while process.inbox:
            self.read_one(process)

    def read_one(self, process: Process) -> None:
        """It takes the oldest message of its pipe."""
        message = process.inbox.popleft()
        if isinstance(message, Dispatch):
            task = msgspec.msgpack.decode(msgspec.msgpack.encode(message.task), type=Task)
            process.todo.append(Held(task))
        else:
            for held in process.todo:
                if (held.task.operation_id, held.task.generation) == (message.operation_id, message.generation):
                    held.stop = True
        self._go_on(process)

    def _go_on(self, process: Process) -> None:
        if process.todo and not process.todo[0].begun and not process.todo[0].stop:
            process.todo[0].begun = True
            task = process.todo[0].task
            if task.fresh:
                self.disks[task.operation_id].torn.discard((task.phase, task.index))

    def finish(self, process: Process, *, iterations: int = 7) -> None:
        """What runs is finished; the core hears of it later."""
        task = self._first(process, begun=True)
        disk = self.disks[task.operation_id]
        _require((task.phase, task.index) not in disk.torn, "half-written pixels count as computed", task)
        if task.phase == "tile":
            disk.committed.add(task.index)
        weights = ((task.index, 1.0 + task.index),) if task.phase == "preview" else ()
        artifacts = ARTIFACTS if task.phase == "image" else ()
        answer = TaskDone(
            worker=process.number, task=task, iterations=iterations, cpu_ns=9, weights=weights, artifacts=artifacts
        )
        self._say(process, answer)

    def stop(self, process: Process, *, iterations: int = 0) -> None:
        """The first task is given back before its end."""
        begun = process.todo[0].begun
        task = self._first(process, begun=begun)
        answer = TaskStopped(
            worker=process.number, task=task, iterations=iterations if begun else 0, cpu_ns=9 if begun else 1
        )
        self._say(process, answer)

    def fail(self, process: Process) -> None:
        """What runs raises."""
        task = self._first(process, begun=True)
        self._say(process, TaskFailed(worker=process.number, task=task, error=ErrorInfo(code="bug", message="raised")))

    def _first(self, process: Process, *, begun: bool) -> Task:
        held = process.todo.pop(0)
        _require(process.alive and held.begun == begun, "cannot do that now", held.task)
        return held.task

    def _say(self, process: Process, answer: Answer) -> None:
        process.outbox.append(answer)
        self._go_on(process)

    def hear(self, process: Process) -> list[Command]:
        """The core hears the oldest thing that the worker said."""
        answer = process.outbox.popleft()
        task = answer.task
        claim = self.claims[task.operation_id, task.generation]
        process.known.remove(task)
        if isinstance(answer, TaskFailed):
            claim.broken = True
        else:
            claim.iterations += answer.iterations
        if not isinstance(answer, TaskDone):
            claim.returned[task.phase, task.index] += 1
        return self.handle(answer)

    def kill(self, process: Process) -> None:
        """It is gone in the middle of what it does; what it said before is still in the pipe."""
        for held in process.todo:
            if held.begun and held.task.operation_id in self.disks:
                self.disks[held.task.operation_id].torn.add((held.task.phase, held.task.index))
        process.alive = False
        process.inbox.clear()
        process.todo.clear()

    def bury(self, process: Process, cause: str = "SIGSEGV") -> list[Command]:
        """The core hears the rest of what it said and then of its death."""
        commands: list[Command] = []
        while process.outbox:
            commands += self.hear(process)
        for position, task in enumerate(process.known):
            claim = self.claims[task.operation_id, task.generation]
            claim.returned[task.phase, task.index] += 1
            if position == 0 and not process.kill_asked:
                claim.deaths[task.phase, task.index] += 1
                claim.broken = claim.broken or claim.deaths[task.phase, task.index] >= 3
        del self.processes[process.number]
        return commands + self.handle(WorkerDied(process.number, cause))

    def die(self, process: Process, cause: str = "SIGSEGV") -> list[Command]:
        """Killed, reaped, told; another one starts."""
        self.kill(process)
        return self.bury(process, cause) + self.start_worker()

    # --- everything at once -----------------------------------------------------------------

    def step(self, process: Process) -> list[Command]:
        """A cooperative worker: reads, gives back what it was told to, finishes what runs, is heard."""
        self.read(process)
        if process.todo:
            if process.todo[0].stop:
                self.stop(process, iterations=1)
            else:
                self.finish(process)
        return self.hear(process) if process.outbox else []

    def obey(self) -> list[Command]:
        """All workers give back what they were told to stop, and nothing else happens."""
        commands: list[Command] = []
        for process in list(self.processes.values()):
            self.read(process)
            while process.todo and process.todo[0].stop:
                self.stop(process, iterations=1)
            while process.outbox:
                commands += self.hear(process)
        return commands

    def run_to_end(self, rounds: int = 300) -> None:
        """Everybody cooperates until the engine has nothing left in its hands. AssertionError if that never comes.

        Workers do what they are told, nobody wants a pause any more, the broker hears everything.
        """
        for _ in range(rounds):
            for operation_id in list(self.preparing):
                self.frame_ready(operation_id)
            for process in list(self.processes.values()):
                if not process.alive or process.kill_asked:
                    self.die(process)
                else:
                    self.step(process)
            for key in list(self.reports):
                self.acknowledge(*key)
            for run in list(self.core.runs.values()):
                if run.paused:
                    self.pause(run.operation_id, run.generation, paused=False)
            self.tick()
            if not self.core.runs:
                return
        raise AssertionError([self.core.explain(operation_id) for operation_id in self.core.runs])

    # --- what leaves ------------------------------------------------------------------------

    def _carry_out(self, command: Command) -> None:
        self.log.append(command)
        match command:
            case Prepare():
                self._prepare(command.assign)
            case Dispatch():
                self._dispatch(command)
            case Stop():
                self.processes[command.worker].inbox.append(command)
            case Kill():
                _require(not self.processes[command.worker].kill_asked, "killed twice", command)
                self.processes[command.worker].kill_asked = True
                for claim in self.claims.values():
                    claim.forced = claim.forced or claim.cancelled
            case SayStarted():
                claim = self._living(command.operation_id, command.generation)
                _require(claim.ready and not claim.started, "started twice, or without a frame", command)
                claim.started = True
            case SayPaused():
                self._paused(command)
            case Report():
                self._measured(self._living(command.operation_id, command.measure.generation), command.measure)
            case SayOutcome():
                self._outcome(command)
            case SayReleased():
                claim = self._idle(command.operation_id, command.generation)
                _require(self.core.draining and not claim.cancelled, "released for no reason", command)
                self._measured(claim, command.measure)
                claim.ended = "released"
                self.reports[command.operation_id, command.generation] = "released"
            case Discard():
                self._discard(command)

    def _living(self, operation_id: str, generation: int) -> Claim:
        claim = self.claims[operation_id, generation]
        _require(claim.ended is None, "said after the end", (operation_id, generation, claim.ended))
        return claim

    def _idle(self, operation_id: str, generation: int) -> Claim:
        holding = [p.number for p in self.processes.values() if p.holds(operation_id, generation)]
        _require(not holding, "ended or paused while workers hold it", (operation_id, generation, holding))
        return self._living(operation_id, generation)

    def _prepare(self, assign: Assign) -> None:
        key = (assign.operation_id, assign.generation)
        _require(key not in self.claims, "prepared twice", key)
        _require(assign.operation_id not in self.preparing, "the frame is being prepared", key)
        _require(not any(oid == assign.operation_id for oid, _ in self.reports), "its predecessor's word is out", key)
        _require(not any(p.holds(assign.operation_id) for p in self.processes.values()), "its frame is in use", key)
        self.preparing[assign.operation_id] = assign
        size = grid(assign.params["columns"], assign.params["rows"])
        self.claims[key] = Claim(assign, size, paused=assign.paused)

    def _dispatch(self, command: Dispatch) -> None:
        task, process = command.task, self.processes[command.worker]
        claim = self._living(task.operation_id, task.generation)
        key = (task.phase, task.index)
        _require(claim.ready and claim.started, "dispatched without a frame", task)
        _require(not (claim.cancelled or claim.paused or claim.dropped), "dispatched though it is to stop", task)
        _require(not self.core.draining, "dispatched while draining", task)
        _require(not process.kill_asked, "dispatched to a dying worker", task)
        _require(claim.dispatched[key] == claim.returned[key], "dispatched though its last attempt is out", task)
        _require(task.phase != "tile" or not claim.bitmap >> task.index & 1, "a committed tile again", task)
        claim.dispatched[key] += 1
        _require(task.attempt == claim.dispatched[key], "attempts are miscounted", task)
        process.known.append(task)
        if process.alive:
            process.inbox.append(command)

    def _paused(self, command: SayPaused) -> None:
        claim = self._living(command.operation_id, command.generation)
        _require(claim.paused == command.paused, "nobody asked for that", command)
        _require(claim.said_paused != command.paused, "said twice", command)
        claim.said_paused = command.paused
        if command.paused:
            self._idle(command.operation_id, command.generation)

    def _measured(self, claim: Claim, measure: OperationMeasure) -> None:
        bitmap = int.from_bytes(measure.committed, "little")
        _require(measure.counter > claim.counter, "counter went back", measure)
        _require(measure.done >= claim.done, "done went back", measure)
        _require(claim.bitmap & ~bitmap == 0, "a committed tile was lost", measure)
        _require(bitmap.bit_count() == measure.tiles_done <= measure.tiles_total, "tiles are miscounted", measure)
        _require(measure.iterations == claim.iterations, "iterations are miscounted", (measure, claim.iterations))
        disk = self.disks.get(claim.assign.operation_id, Disk())
        known = {index for index in range(measure.tiles_total) if bitmap >> index & 1}
        _require(disk.artifacts is not None or known <= disk.committed, "counted but not on disk", measure)
        claim.counter, claim.done, claim.bitmap = measure.counter, measure.done, bitmap

    def _outcome(self, command: SayOutcome) -> None:
        claim = self._idle(command.operation_id, command.generation)
        _require(not claim.dropped, "the outcome of a claim that is fenced off", command)
        self._measured(claim, command.measure)
        _require((command.error is not None) == (command.state == "failed"), "failed without a cause", command)
        _require(claim.forced or not command.forced, "forced, but nothing was killed", command)
        if command.state == "completed":
            total = claim.grid.width_px * claim.grid.height_px
            _require(command.measure.done == total, "completed without all its tiles", command)
            _require(command.artifacts != (), "completed without artefacts", command)
            self.disks[command.operation_id].artifacts = command.artifacts
        else:
            reason = claim.cancelled if command.state == "canceled" else claim.broken
            _require(reason, f"{command.state} for no reason", command)
            self.disks.pop(command.operation_id, None)
        claim.ended = command.state
        self.reports[command.operation_id, command.generation] = command.state

    def _discard(self, command: Discard) -> None:
        key = (command.operation_id, command.generation)
        claim = self.claims[key]
        _require(key not in self.reports, "forgotten before its word was heard", command)
        if claim.ended is None:
            self._idle(*key)
            _require(claim.dropped, "forgotten without an outcome", command)
            _require(command.operation_id not in self.preparing, "its frame is being prepared", command)
            claim.ended = "discarded"


def _require(condition: bool, what: str, detail: object) -> None:
    if not condition:
        raise AssertionError(f"{what}: {detail}")
