"""The engine's core: all renders and workers, and `handle(message, now_s) -> commands` over them.

Pure; the engine's shell is its only caller, from its loop's thread. Between renders: strict priorities, and
inside one the render that has had least CPU time goes first, deaths counted. A higher one takes workers from a lower.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Literal

from msgspec import Struct

from rfm_runtime.core.tiles.check import explain, sanity_check
from rfm_runtime.core.tiles.messages import (
    Assigned,
    CancelSet,
    Command,
    Discard,
    Dispatch,
    Draining,
    Dropped,
    FocusChanged,
    FrameFailed,
    FrameReady,
    Heard,
    Kill,
    PauseAsked,
    Prepare,
    Preparing,
    PriorityChanged,
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
from rfm_runtime.core.tiles.run import Run
from rfm_runtime.core.tiles.worker import FIRST_DEPTH, QUEUE_LIMIT, REST_S, Worker, depth
from rfm_runtime.protocol.internal import Assign, HeldOperation
from rfm_runtime.protocol.operation import TileGrid

__all__ = ["FENCED_S", "MAKE_ROOM_S", "MEMORY_REST_S", "EngineCore", "GridOf"]

GridOf = Callable[[Assign], TileGrid]
"""Geometry of an assignment's tiles. Raises RfmError for parameters that cannot be."""

FENCED_S = 5.0
"""A worker that does not put down what somebody else has claimed is killed after this time."""

IMAGE_S_PER_PX = 8e-8
"""Colouring and encoding, until this engine has made pictures: 60 to 100 ns of CPU time, by what is in them."""

IMAGE_NEWEST = 0.3
"""Weight of the newest picture in their mean."""

MEMORY_REST_S = 1.0
"""A worker that was refused memory is given nothing for so long: others have what it has not, or it comes back."""

MAKE_ROOM_S = 0.2
"""After the deadline of a cancel: a worker whose first task is another render's has this long to put it down."""


class EngineCore:
    """State of one engine. pool: how many workers it is to have."""

    def __init__(self, grid_of: GridOf, pool: int) -> None:
        self._grid_of = grid_of
        self._pool = pool
        self._image_s_per_px = IMAGE_S_PER_PX
        self._reserved: int | None = None
        self.runs: dict[str, Run] = {}
        self.workers: dict[int, Worker] = {}
        self.draining = False
        self._handlers: dict[type[Struct], Callable[[Any, float, int], list[Command]]] = {
            Assigned: lambda message, _s, _ms: self._assigned(message.assign),
            Preparing: lambda message, _s, _ms: self._preparing(message),
            FrameReady: lambda message, _s, _ms: self._frame_ready(message),
            FrameFailed: lambda message, _s, _ms: self._frame_failed(message),
            WorkerUp: lambda message, _s, _ms: self._worker_up(message),
            WorkerDied: lambda message, _s, _ms: self._worker_died(message),
            TaskDone: lambda message, now_s, _ms: self._task_back(message, now_s),
            TaskStopped: lambda message, now_s, _ms: self._task_back(message, now_s),
            TaskFailed: lambda message, now_s, _ms: self._task_back(message, now_s),
            Heard: lambda message, now_s, _ms: self._heard(message, now_s),
            CancelSet: lambda message, now_s, _ms: self._cancel(message, now_s),
            PauseAsked: lambda message, _s, _ms: self._pause(message),
            FocusChanged: lambda message, _s, _ms: self._focus(message),
            PriorityChanged: lambda message, _s, _ms: self._priority(message),
            Reported: lambda message, _s, _ms: self._forget(message.operation_id, message.generation),
            Dropped: lambda message, _s, _ms: self._drop(message.operation_id),
            Draining: lambda message, _s, _ms: self._drain(at_once=message.at_once),
            Tick: lambda _message, now_s, now_ms: self._tick(now_s, now_ms),
        }

    def tiles_in_hand(self) -> tuple[int, int, float | None]:
        """(how many, edge in pixels, mean CPU time in s) of the tiles of the largest frame that is being computed."""
        runs = [run for run in self.runs.values() if run.phase == "tile" and run.running]
        largest = max(runs, key=lambda run: run.total_tiles, default=None)
        return (0, 0, None) if largest is None else (largest.total_tiles, largest.grid.tile_px, largest.task_s)

    @property
    def waiting_tiles(self) -> int:
        """Tiles that are not finished, of all frames that are computed."""
        runs = (run for run in self.runs.values() if not run.ended and run.phase in ("preview", "tile"))
        return sum(run.total_tiles - len(run.committed) for run in runs)

    def held(self, now_ms: int) -> tuple[HeldOperation, ...]:
        """All that it has in hand, as a broker is told. now_ms: ms since 1970."""
        return tuple(run.held(now_ms) for run in self.runs.values() if not run.dropped)

    # --- the one entrance -------------------------------------------------------------------

    def handle(self, message: Struct, now_s: float, now_ms: int) -> list[Command]:
        """What follows from a message. now_s: monotonic seconds; now_ms: ms since 1970, for measures."""
        handler = self._handlers.get(type(message))
        if handler is None:
            raise TypeError(f"the engine's core does not take {type(message).__name__}")
        return handler(message, now_s, now_ms) + self._settle(now_ms) + self._dispatch()

    def _run(self, operation_id: str, generation: int) -> Run | None:
        run = self.runs.get(operation_id)
        return run if run is not None and run.generation == generation else None

    # --- renders ----------------------------------------------------------------------------

    def _assigned(self, assign: Assign) -> list[Command]:
        known = self.runs.get(assign.operation_id)
        if known is not None and known.generation > assign.generation:
            return []
        if known is not None and known.generation == assign.generation:
            known.assign = assign
            known.priority = assign.priority
            known.changed = True
            return []
        if self.draining:
            return [] if known is None else self._drop(assign.operation_id)
        grid = self._grid_of(assign)
        run = Run(assign, grid, self._pool, self._image_s_per_px * grid.width_px * grid.height_px)
        if known is None:
            return self._begin(run)
        # An older claim of ours that was fenced off has to be idle before the frame is used again. The newer one is
        # kept until then: a broker that cancels it meanwhile does not repeat the assignment.
        if known.successor is None or known.successor.generation <= run.generation:
            known.successor = run
        return self._drop(assign.operation_id)

    def _begin(self, run: Run) -> list[Command]:
        self.runs[run.operation_id] = run
        return [Prepare(run.assign)]

    def _discard(self, run: Run) -> list[Command]:
        """Nothing of it runs and nobody waits for its word: make room for its successor."""
        del self.runs[run.operation_id]
        discard: list[Command] = [Discard(run.operation_id, run.generation)]
        return discard + (self._begin(run.successor) if run.successor is not None and not self.draining else [])

    def _preparing(self, message: Preparing) -> list[Command]:
        run = self._run(message.operation_id, message.generation)
        if run is None or run.prepared or run.stopping:
            return []
        run.doing = message.doing
        run.changed = True
        return self._say_started(run)

    def _say_started(self, run: Run) -> list[Command]:
        if run.started_said:
            return []
        run.started_said = True
        pixels = float(run.grid.width_px * run.grid.height_px)
        return [SayStarted(run.operation_id, run.generation, pixels, run.grid)]

    def _frame_ready(self, message: FrameReady) -> list[Command]:
        run = self._run(message.operation_id, message.generation)
        if run is None or run.prepared:
            return []
        if message.artifacts is not None:
            run.finished_before(message.artifacts, message.holes)
        else:
            run.prepare(message.committed, message.iterations, message.holes, message.costs)
        run.changed = True
        return [] if run.dropped else self._say_started(run)

    def _frame_failed(self, message: FrameFailed) -> list[Command]:
        if run := self._run(message.operation_id, message.generation):
            run.prepared = True
            run.error = message.error
        return []

    def _priority(self, message: PriorityChanged) -> list[Command]:
        if run := self._run(message.operation_id, message.generation):
            run.priority = message.priority
        return []

    def _focus(self, message: FocusChanged) -> list[Command]:
        if run := self.runs.get(message.operation_id):
            run.look_at((message.x, message.y))
        return []

    def _drop(self, operation_id: str) -> list[Command]:
        run = self.runs.get(operation_id)
        if run is None:
            return []
        run.dropped = True
        return self._stop(run)

    def _pause(self, message: PauseAsked) -> list[Command]:
        run = self._run(message.operation_id, message.generation)
        if run is None or run.stopping:
            return []
        run.paused = message.paused
        if run.pause_said == message.paused:
            # Asked again: our confirmation may have been lost with a broker.
            run.pause_said = None
        return self._stop(run) if message.paused else []

    def _cancel(self, message: CancelSet, now_s: float) -> list[Command]:
        commands: list[Command] = []
        for operation_id, generation, kill_after_s in message.entries:
            run = self._run(operation_id, generation)
            if run is None or run.ended:
                continue
            if not run.cancelled:
                run.cancelled = True
                commands += self._stop(run)
            if kill_after_s is not None:
                kill_at_s = now_s + kill_after_s
                run.kill_at_s = kill_at_s if run.kill_at_s is None else min(run.kill_at_s, kill_at_s)
                if kill_after_s <= 0.0:
                    commands += self._kill(run, innocent=False)
        return commands

    def _stop(self, run: Run) -> list[Command]:
        commands: list[Command] = []
        for number in sorted(set(run.running.values())):
            commands += self._stop_in(number, run)
        return commands

    def _stop_in(self, number: int, run: Run) -> list[Command]:
        key = (run.operation_id, run.generation)
        worker = self.workers[number]
        if key in worker.stopping:
            return []
        worker.stopping.add(key)
        return [Stop(number, *key)]

    def _kill(self, run: Run, *, innocent: bool) -> list[Command]:
        """Kill the workers that compute it. innocent: also those where it only waits behind another render's task."""
        commands: list[Command] = []
        for number in sorted(set(run.running.values())):
            worker = self.workers[number]
            first = worker.tasks[0]
            is_first = (first.operation_id, first.generation) == (run.operation_id, run.generation)
            if (is_first or innocent) and not worker.kill_sent:
                worker.kill_sent = True
                run.forced = True
                commands.append(Kill(number))
        return commands

    def _drain(self, *, at_once: bool) -> list[Command]:
        self.draining = True
        commands: list[Command] = []
        for run in self.runs.values():
            if not run.ended:
                run.released = True
                if at_once or not run.prepared:
                    commands += self._stop(run)
                # What is queued in a worker is computed too: 50 ms, or the one long tile that runs.
        return commands

    def _forget(self, operation_id: str, generation: int) -> list[Command]:
        run = self._run(operation_id, generation)
        return [] if run is None or not run.ended else self._discard(run)

    # --- workers ----------------------------------------------------------------------------

    def _heard(self, message: Heard, now_s: float) -> list[Command]:
        for said in message.said:
            if isinstance(said, WorkerUp):
                self._worker_up(said)
            elif isinstance(said, WorkerDied):
                self._worker_died(said)
            else:
                self._task_back(said, now_s)
        return []

    def _worker_up(self, message: WorkerUp) -> list[Command]:
        self.workers.setdefault(message.worker, Worker())
        return []

    def _worker_died(self, message: WorkerDied) -> list[Command]:
        worker = self.workers.pop(message.worker, None)
        if worker is None:
            return []
        # Backwards, since each goes to the head of its line.
        for position in reversed(range(len(worker.tasks))):
            task = worker.tasks[position]
            run = self._run(task.operation_id, task.generation)
            if run is None:
                continue
            if position == 0:
                run.died(task, message.cause, guilty=not worker.kill_sent)
            else:
                # Only the first task ran; those behind it are innocent and untouched.
                run.put_back(task, begun=False)
        return []

    def _task_back(self, message: TaskDone | TaskStopped | TaskFailed, now_s: float) -> list[Command]:
        task = message.task
        worker = self.workers.get(message.worker)
        if worker is None or task not in worker.tasks:
            # Said twice, or by one whose death was told: counted once, and another may have it by now.
            return []
        worker.give_back(task)
        if isinstance(message, TaskFailed) and message.again:
            worker.rests_until_s = now_s + MEMORY_REST_S
        run = self._run(task.operation_id, task.generation)
        if run is None:
            return []
        if isinstance(message, TaskFailed):
            if message.again:
                run.died(task, message.error.message, guilty=True)
            else:
                run.put_back(task, begun=False)
                run.error = message.error
            return []
        run.iterations += message.iterations
        run.cpu_ns += message.cpu_ns
        if isinstance(message, TaskStopped):
            run.put_back(task, begun=message.iterations > 0, iterations=message.iterations)
        else:
            run.done(task, message.cpu_ns, message.weights, message.artifacts)
            if task.phase == "image":
                newest = message.cpu_ns / 1e9 / (task.width * task.height)
                self._image_s_per_px += IMAGE_NEWEST * (newest - self._image_s_per_px)
        return []

    # --- what follows from the state --------------------------------------------------------

    def _settle(self, now_ms: int) -> list[Command]:
        """Outcomes, releases and pauses of renders of which nothing runs any more; stops of failed ones."""
        commands: list[Command] = []
        for run in list(self.runs.values()):
            if run.ended:
                continue
            if run.error is not None:
                commands += self._stop(run)
            # A frame that is being prepared is in use as well: two claims must not make it at the same time.
            if not run.prepared:
                continue
            if not run.running:
                commands += self._idle(run, now_ms)
            elif not run.stopping and not run.paused:
                commands += self._say_paused(run)
        return commands

    def _idle(self, run: Run, now_ms: int) -> list[Command]:
        key = (run.operation_id, run.generation)
        if run.dropped:
            return self._discard(run)
        if run.artifacts is not None:
            return [self._end(run, "completed", now_ms)]
        if run.cancelled:
            return [self._end(run, "canceled", now_ms)]
        if run.error is not None:
            return [self._end(run, "failed", now_ms)]
        if run.released:
            run.ended = True
            return [SayReleased(*key, "the runtime is shutting down", run.measure(now_ms))]
        return self._say_paused(run)

    def _say_paused(self, run: Run) -> list[Command]:
        if run.paused == run.pause_said:
            return []
        run.pause_said = run.paused
        run.changed = True
        return [SayPaused(run.operation_id, run.generation, run.paused)]

    def _end(self, run: Run, state: Literal["completed", "failed", "canceled"], now_ms: int) -> SayOutcome:
        run.ended = True
        return SayOutcome(
            operation_id=run.operation_id,
            generation=run.generation,
            state=state,
            measure=run.measure(now_ms),
            error=run.error if state == "failed" else None,
            artifacts=run.artifacts or (),
            forced=run.forced and state == "canceled",
            remark=run.poison.holes_said() if state == "completed" else "",
        )

    def _dispatch(self) -> list[Command]:
        """A worker that has half of what it may hold, or less, is given the rest."""
        suspects = any(run.alone for run in self.runs.values())
        commands = self._share()
        # With suspects a worker may be left over: whose turn it was has nothing more to give, or no suspect waits now.
        while suspects and (more := self._share()):
            commands += more
        return commands + self._preempt()

    def _share(self) -> list[Command]:
        """What is to be alone to whoever holds nothing, then what is open to whoever holds little."""
        commands, floor = self._isolate()
        run = self._next_run(floor)
        if run is None:
            return commands
        may_hold = self._depth(run)
        low = [
            (number, worker)
            for number, worker in self.workers.items()
            if len(worker.tasks) <= may_hold // 2
            and not (worker.is_unable or worker.stopping or worker.alone or number == self._reserved)
        ]
        # Level by level, so that an idle worker gets its first task before another gets its second.
        for level in range(QUEUE_LIMIT):
            for number, worker in low:
                if run is None or not len(worker.tasks) == level < may_hold:
                    continue
                commands.append(self._give(number, run.take(number)))
                run = self._next_run(floor)
                may_hold = 0 if run is None else self._depth(run)
        return commands

    def _give(self, number: int, task: Task) -> Dispatch:
        self.workers[number].tasks.append(task)
        return Dispatch(number, task)

    def _isolate(self) -> tuple[list[Command], int | None]:
        """Tasks that have killed, each to a worker that holds nothing, and the priority below which others wait.

        While none is free the one with least in hand is given nothing more, and is free next. They take their render's
        turn like all others: it has none while it is its equals'.
        """
        self._reserved = None
        suspected = [run for run in self.runs.values() if run.alone and run.isolatable]
        if not suspected:
            return [], None
        commands: list[Command] = []
        floor = max(run.priority for run in self.runs.values() if run.isolatable or run.dispatchable)
        first = self._next_run()
        for run in sorted(suspected, key=_turn):
            if run.priority < floor:
                break
            if first is not None and _turn(first) < _turn(run):
                return commands, floor
            while run.alone:
                able = [
                    (len(worker.tasks), number)
                    for number, worker in self.workers.items()
                    if not (worker.is_unable or worker.alone)
                ]
                held, number = min(able, default=(1, None))
                if held or number is None:
                    self._reserved = number
                    return commands, floor
                self.workers[number].alone = True
                commands.append(self._give(number, run.take(number, alone=True)))
        return commands, None

    def _depth(self, run: Run) -> int:
        return depth(run.next_s, len(run.open), len(self.workers))

    def _next_run(self, floor: int | None = None) -> Run | None:
        """Whose task is next. floor: of lower priorities none is."""
        ready = [run for run in self.runs.values() if run.dispatchable]
        run = min(ready, key=_turn, default=None)
        return None if run is None or (floor is not None and run.priority < floor) else run

    def _preempt(self) -> list[Command]:
        """After dispatch, what still waits found no worker free: lower priorities make room for it."""
        if len(self.runs) < 2:
            return []
        commands: list[Command] = []
        waiting = [run.priority for run in self.runs.values() if run.dispatchable or run.isolatable]
        highest = max(waiting, default=None)
        if highest is not None:
            for run in self.runs.values():
                if run.priority < highest and run.running:
                    commands += self._stop(run)
        for number, worker in self.workers.items():
            if len(worker.tasks) > 1:
                commands += self._unblock(number, worker)
        return commands

    def _unblock(self, number: int, worker: Worker) -> list[Command]:
        """In one worker: what runs makes room for what was queued behind it and cannot wait.

        That is a task of a higher priority, and one of a render that is to stop: a worker answers in turn, so
        the cancel of one render would wait for a tile of another.
        """
        first, *behind = [self._run(task.operation_id, task.generation) for task in worker.tasks]
        if first is None:
            return []
        for run in behind:
            if run is None or run is first:
                continue
            told = (run.operation_id, run.generation) in worker.stopping
            if run.priority > first.priority or (told and (run.stopping or run.paused)):
                return self._stop_in(number, first)
        return []

    def _tick(self, now_s: float, now_ms: int) -> list[Command]:
        commands: list[Command] = []
        for worker in self.workers.values():
            if worker.rests_until_s is not None and now_s >= worker.rests_until_s:
                worker.rests_until_s = None
        for run in self.runs.values():
            if run.ended:
                continue
            if run.dropped and run.running and run.kill_at_s is None:
                # Whoever has it now waits for this one to be idle.
                run.kill_at_s = now_s + FENCED_S
            if (run.cancelled or run.dropped) and run.kill_at_s is not None and now_s >= run.kill_at_s:
                # What computes for another render was told to make room, and does unless it is stuck.
                commands += self._kill(run, innocent=now_s >= run.kill_at_s + MAKE_ROOM_S)
            if run.changed and (run.prepared or run.started_said) and not run.dropped:
                run.changed = False
                commands.append(Report(run.operation_id, run.measure(now_ms)))
        return commands

    def patience_s(self) -> float:
        """How long answers of workers may lie unread: no core runs dry meanwhile, and nobody waits for a word.

        Half of what waits in the shortest queue, were all of it as cheap as the cheapest tasks; at most `REST_S`.
        """
        shortest = QUEUE_LIMIT
        for worker in self.workers.values():
            if worker.stopping or worker.kill_sent or len(worker.tasks) < FIRST_DEPTH:
                return 0.0
            shortest = min(shortest, len(worker.tasks) - 1)
        costs_s = [run.task_s or 0.0 for run in self.runs.values() if run.running]
        return min(REST_S, shortest * min(costs_s, default=0.0) / 2)

    # --- for tests and people ---------------------------------------------------------------

    def sanity_check(self) -> None:
        """Raise AssertionError if two tables disagree."""
        sanity_check(self.runs, self.workers)

    def explain(self, operation_id: str) -> tuple[str, ...]:
        """What it waits for."""
        run = self.runs.get(operation_id)
        if run is None:
            return (f"{operation_id} is not in this engine's hands.",)
        return explain(run, self._next_run())


def _turn(run: Run) -> tuple[int, int, str]:
    """The smallest goes first."""
    return -run.priority, run.cpu_ns + run.lost_ns, run.operation_id
