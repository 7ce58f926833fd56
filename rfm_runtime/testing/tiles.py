"""An engine without processes, pipes and files: the real `EngineCore`, workers and a disk under the test's control.

Commands are carried out as late as the test likes, in the order of their pipe. Each is checked at the moment it
leaves against what the workers really do and the disk really holds, so each test that uses a `World` holds *an
outcome means that nothing runs any more*, *a tile counts once*, and *half-written pixels are never committed*.
"""

from __future__ import annotations

from typing import Any

import msgspec
from msgspec import Struct

from rfm_runtime.core.tiles.engine import EngineCore
from rfm_runtime.core.tiles.messages import (
    Assigned,
    CancelSet,
    Command,
    Dispatch,
    Draining,
    Dropped,
    FrameFailed,
    FrameReady,
    Heard,
    PauseAsked,
    Preparing,
    Rect,
    Reported,
    Stop,
    Task,
    TaskDone,
    TaskFailed,
    TaskStopped,
    Tick,
    WorkerDied,
    WorkerUp,
)
from rfm_runtime.core.tiles.order import PREVIEW_STEP, tiles_under
from rfm_runtime.core.tiles.poison import DEATHS_LIMIT, LEAST_PX
from rfm_runtime.protocol.operation import ErrorInfo
from rfm_runtime.testing.tiles_ledger import (
    ARTIFACTS,
    Answer,
    Claim,
    Disk,
    Held,
    Ledger,
    Process,
    assignment,
    grid,
    pixels_of,
    require,
    touched,
)

__all__ = ["ARTIFACTS", "World", "assignment", "grid"]


class World(Ledger):
    """What a test does: it is the broker, the shell, each worker and time.

    task_cpu_ns: what each finished task has cost. By default a worker then holds the next one, and no more.
    previews_weigh: whether previews say what tiles will cost, and cost a 64th themselves.
    """

    def __init__(self, workers: int = 1, *, previews_weigh: bool = False) -> None:
        super().__init__()
        self.previews_weigh = previews_weigh
        self.now_s = 100.0
        self.task_cpu_ns = 50_000_000
        self.numbers = 0
        self.sizes: dict[str, tuple[int, int]] = {}
        self.boot(workers)

    def boot(self, workers: int) -> None:
        """A new engine; of the old one only the disk is left, and torn tiles of it."""
        for process in self.processes.values():
            self.kill(process)
        for claim in self.claims.values():
            claim.ended = claim.ended or "lost"
        self.core = EngineCore(lambda assign: grid(assign.params["columns"], assign.params["rows"]), workers)
        self.processes.clear()
        self.preparing.clear()
        self.reports.clear()
        for _ in range(workers):
            self.start_worker()

    # --- towards the core -------------------------------------------------------------------

    def handle(self, message: Struct) -> list[Command]:
        """Tell the core; check and carry out what it answers."""
        commands = self.core.handle(message, self.now_s, int(self.now_s * 1000))
        for command in commands:
            self.carry_out(command)
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

    def prepares(self, operation_id: str = "op", doing: str = "compiling kernels") -> list[Command]:
        """Something takes its time before there is a frame."""
        assign = self.preparing[operation_id]
        self.claims[operation_id, assign.generation].prepares = True
        return self.handle(Preparing(operation_id, assign.generation, doing))

    def frame_ready(self, operation_id: str = "op") -> list[Command]:
        """The frame was made or recovered: what is not committed is reset."""
        assign = self.preparing.pop(operation_id)
        self.sizes[operation_id] = assign.params["columns"], assign.params["rows"]
        disk = self.disks.setdefault(operation_id, Disk())
        disk.torn.clear()
        self.claims[operation_id, assign.generation].ready = True
        return self.handle(
            FrameReady(
                operation_id=operation_id,
                generation=assign.generation,
                committed=tuple(sorted(disk.committed)),
                holes=self._recovered(operation_id, disk),
                artifacts=disk.artifacts,
            )
        )

    def _recovered(self, operation_id: str, disk: Disk) -> tuple[Rect, ...]:
        """What is not in a committed tile is reset."""
        size = grid(*(self.sizes[operation_id]))

        def kept(pixel: tuple[int, int]) -> bool:
            x, y = pixel
            return y // size.tile_px * size.columns + x // size.tile_px in disk.committed

        disk.written = {pixel for pixel in disk.written if kept(pixel)}
        disk.holes = {pixel for pixel in disk.holes if kept(pixel)}
        return tuple((x, y, 1, 1) for x, y in sorted(disk.holes))

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
        """It takes all that is in its pipe, and begins as soon as it has something to do."""
        while process.inbox:
            self.read_one(process)

    def read_all_at_once(self, process: Process) -> None:
        """It takes all that is in its pipe before its compute thread looks: a stop comes before the beginning."""
        while process.inbox:
            self._take(process, process.inbox.popleft())
        self._go_on(process)

    def read_one(self, process: Process) -> None:
        """It takes the oldest message of its pipe."""
        self._take(process, process.inbox.popleft())
        self._go_on(process)

    def _take(self, process: Process, message: Dispatch | Stop) -> None:
        if isinstance(message, Dispatch):
            task = msgspec.msgpack.decode(msgspec.msgpack.encode(message.task), type=Task)
            process.todo.append(Held(task))
            return
        for held in process.todo:
            if (held.task.operation_id, held.task.generation) == (message.operation_id, message.generation):
                held.stop = True

    def _go_on(self, process: Process) -> None:
        if process.todo and not process.todo[0].begun and not process.todo[0].stop:
            process.todo[0].begun = True
            task = process.todo[0].task
            if task.fresh:
                self.disks[task.operation_id].torn -= pixels_of(task)

    def finish(self, process: Process, *, iterations: int = 7) -> None:
        """What runs is finished; the core hears of it later."""
        task = self._first(process, begun=True)
        disk = self.disks[task.operation_id]
        # A hole is written over whatever is there.
        disk.torn -= {pixel for rect in task.holes for pixel in _pixels(*rect)}
        torn = disk.torn if task.phase == "image" else disk.torn & touched(task)
        require(not torn, "half-written pixels count as computed", task)
        self._write(disk, task)
        weights: tuple[tuple[int, float], ...] = ()
        cpu_ns = self.task_cpu_ns
        if task.phase == "preview" and self.previews_weigh:
            size = self.claims[task.operation_id, task.generation].grid
            tiles = tiles_under(size, (task.x, task.y, task.width, task.height))
            weights = tuple((index, 1.0 + index / 1000) for index in tiles)
            cpu_ns = self.task_cpu_ns * len(weights) // PREVIEW_STEP**2
        artifacts = ARTIFACTS if task.phase == "image" else ()
        answer = TaskDone(
            worker=process.number,
            task=task,
            iterations=iterations,
            cpu_ns=cpu_ns,
            weights=weights,
            artifacts=artifacts,
        )
        self._say(process, answer)

    def _write(self, disk: Disk, task: Task) -> None:
        """Pixels of parts, and the tiles they are of: each once. A tile with holes is whole without them."""
        if task.phase not in ("tile", "part"):
            return
        pixels = pixels_of(task)
        if task.phase == "part":
            require(not pixels & (disk.written | disk.holes), "computed twice", task)
            disk.written |= pixels
            return
        holes = {pixel for x, y, w, h in task.holes for pixel in _pixels(x, y, w, h)}
        require(holes <= pixels and not holes & disk.written, "a hole where there are pixels", task)
        if holes or disk.written & pixels:
            require(holes | disk.written >= pixels, "committed without all its parts", task)
        require(task.index not in disk.committed, "committed twice", task)
        disk.committed.add(task.index)
        disk.holes |= holes
        disk.written |= pixels - holes

    def stop(self, process: Process, *, iterations: int = 0) -> None:
        """The first task is given back before its end."""
        begun = process.todo[0].begun
        task = self._first(process, begun=begun)
        answer = TaskStopped(
            worker=process.number, task=task, iterations=iterations if begun else 0, cpu_ns=9 if begun else 1
        )
        self._say(process, answer)

    def fail(self, process: Process, *, again: bool = False) -> None:
        """What runs raises. again: for want of memory, in the middle of its pixels."""
        task = self._first(process, begun=True)
        if again:
            self.disks[task.operation_id].torn |= touched(task)
        error = ErrorInfo(code="bug", message="raised")
        self._say(process, TaskFailed(worker=process.number, task=task, error=error, again=again))

    def _first(self, process: Process, *, begun: bool) -> Task:
        held = process.todo.pop(0)
        require(process.alive and held.begun == begun, "cannot do that now", held.task)
        return held.task

    def _say(self, process: Process, answer: Answer) -> None:
        process.outbox.append(answer)
        self._go_on(process)

    def hear(self, process: Process) -> list[Command]:
        """The core hears the oldest thing that the worker said."""
        return self.handle(self._next_answer(process))

    def hear_all(self) -> list[Command]:
        """The core hears all that workers have said, at once."""
        said = [self._next_answer(process) for process in self.processes.values() for _ in range(len(process.outbox))]
        return self.handle(Heard(tuple(said)))

    def _next_answer(self, process: Process) -> Answer:
        answer = process.outbox.popleft()
        task = answer.task
        claim = self.claims[task.operation_id, task.generation]
        process.known.remove(task)
        if isinstance(answer, TaskFailed):
            if answer.again:
                self._blame(claim, task)
            else:
                claim.broken = True
        else:
            claim.iterations += answer.iterations
        key = task.phase, task.index
        if isinstance(answer, TaskStopped):
            claim.partial[key] += answer.iterations
        elif isinstance(answer, TaskDone):
            del claim.partial[key]
        if not isinstance(answer, TaskDone):
            claim.returned[task.phase, task.index] += 1
        return answer

    def kill(self, process: Process) -> None:
        """It is gone in the middle of what it does; what it said before is still in the pipe."""
        for held in process.todo:
            if held.begun and held.task.operation_id in self.disks:
                self.disks[held.task.operation_id].torn |= touched(held.task)
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
            if position == 0:
                # Its pixels are computed once more, from the first.
                claim.iterations -= claim.partial.pop((task.phase, task.index), 0)
            if position == 0 and not process.kill_asked:
                self._blame(claim, task)
        del self.processes[process.number]
        return commands + self.handle(WorkerDied(process.number, cause))

    def _blame(self, claim: Claim, task: Task) -> None:
        """A death that nobody asked for. What may become of it: a failure only if it was alone, and cannot be split."""
        key = task.phase, task.index
        claim.iterations -= claim.partial.pop(key, 0)
        claim.deaths[key] += 1
        small = task.width <= LEAST_PX and task.height <= LEAST_PX
        holes_allowed = claim.assign.params.get("on_poison") == "hole"
        if task.phase == "image":
            claim.broken = claim.broken or claim.deaths[key] >= 3
        elif task.phase == "part":
            claim.broken = claim.broken or (small and claim.deaths[key] >= 2 and not holes_allowed)
        elif task.phase == "tile":
            # Three before it was taken apart, two after its parts were settled.
            claim.broken = claim.broken or claim.deaths[key] >= 5
        claim.broken = claim.broken or sum(claim.deaths.values()) > DEATHS_LIMIT

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


def _pixels(x: int, y: int, width: int, height: int) -> set[tuple[int, int]]:
    return {(column, row) for column in range(x, x + width) for row in range(y, y + height)}
