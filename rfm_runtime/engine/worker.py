"""A worker process: the compute thread runs kernels without the GIL, the main thread answers everything else.

Main thread: the pipe from the engine, the control SUB, progress to ingest, signals. It holds what is to be
done in `Held` objects that both threads see; only the compute thread writes to the pipe.
"""

from __future__ import annotations

import errno
import faulthandler
import os
import queue
import signal
import threading
import time
import traceback
from functools import cached_property
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

import msgspec
import numpy as np
import zmq

from rfm_runtime.core.tiles.messages import Task
from rfm_runtime.core.tiles.order import PREVIEW_STEP, grid_of, measured_as, tiles_under
from rfm_runtime.engine import image, pipe
from rfm_runtime.engine.frames import Frame, Interrupted, inside_cost
from rfm_runtime.engine.renderer import Renderer
from rfm_runtime.engine.sampling import Sampler, share_done
from rfm_runtime.engine.settings import WorkerSettings
from rfm_runtime.errors import RfmError
from rfm_runtime.observe import logs
from rfm_runtime.observe.process import die_with_parent
from rfm_runtime.protocol.causes import NO_MEMORY, cause_of
from rfm_runtime.protocol.internal import ControlFrame, TileMeasure, pack_progress, unpack
from rfm_runtime.protocol.operation import ErrorInfo
from rfm_runtime.render.plan import plan
from rfm_runtime.render.request import RenderRequest
from rfm_runtime.security import curve_keys
from rfm_runtime.transport import sockets

__all__ = ["run"]

SAMPLE_S = 0.05
"""Progress of the tile in hand, 20 times a second."""

NICE = 10
"""Of the compute thread alone: on a full machine everything that answers people goes first."""

CACHE_LINE_WORDS = 8


class Held:
    """A task in this worker's hands. stop: to be given back as soon as possible."""

    __slots__ = ("stop", "task")

    def __init__(self, task: Task) -> None:
        self.task = task
        self.stop = False


class Operation:
    """What the tasks of one operation share."""

    def __init__(self, begin: pipe.Begin) -> None:
        self.begin = begin
        self.request = msgspec.msgpack.decode(begin.params, type=RenderRequest)
        self.view = plan(self.request)
        self.grid = grid_of(self.request)
        self.frame = Frame(
            Path(begin.frame),
            self.grid,
            derivative=self.request.needs_derivative,
            samples=self.request.samples,
        )
        self.touched = False

    @cached_property
    def renderer(self) -> Renderer:
        """Loaded by the thread that computes: the other one hears of a cancel meanwhile."""
        request = self.request
        return Renderer(self.view, derivative=request.needs_derivative, by_period=request.by_period)

    @cached_property
    def sampler(self) -> Sampler:
        """Of a render with several samples."""
        return Sampler(self.request, self.renderer)


def _line() -> Any:
    """A cache line of its own: eight aligned words."""
    buffer = np.zeros(3 * CACHE_LINE_WORDS, np.int64)
    skip = -(buffer.ctypes.data // 8) % CACHE_LINE_WORDS
    return buffer[skip : skip + CACHE_LINE_WORDS]


class Worker:
    """State of this process, shared by its two threads as the comments say."""

    def __init__(self, connection: Connection, settings: WorkerSettings) -> None:
        self._connection = connection
        self._settings = settings
        self._todo: queue.SimpleQueue[Held] = queue.SimpleQueue()
        self._held: dict[tuple[str, int], list[Held]] = {}
        self._operations: dict[tuple[str, int], Operation] = {}
        # Operations whose frames could not be opened: each of their tasks tries again, or comes back with the reason.
        self._unopened: dict[tuple[str, int], pipe.Begin] = {}
        # Written by one side, read by the other; a kernel reads `control` atomically.
        self._current: Held | None = None
        self._control = _line()[:1]
        self._counters = _line()
        self._counter = 0
        self._log = logs.get("worker")

    # --- main thread ------------------------------------------------------------------------

    def serve(self) -> None:
        """Until the engine closes the pipe."""
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        towards = curve_keys.towards(Path(self._settings.keys), self._settings.broker_key)
        control = sockets.control_subscriber(context, self._settings.control, towards)
        push = sockets.ingest_push(context, self._settings.ingest, towards)
        compute = threading.Thread(target=self._compute, name="compute", daemon=True)
        compute.start()
        self._clock = time.pthread_getcpuclockid(compute.ident or 0)
        poller = zmq.Poller()
        poller.register(control, zmq.POLLIN)
        poller.register(self._connection.fileno(), zmq.POLLIN)
        next_sample_s = time.monotonic() + SAMPLE_S
        heard_s = time.monotonic()
        while True:
            # Also of what the compute thread has not begun yet: nobody wakes this one when it does.
            wait_s = max(0.0, next_sample_s - time.monotonic()) if any(self._held.values()) else 10.0
            ready = dict(poller.poll(int(wait_s * 1000) + 1))
            if control in ready:
                heard_s = time.monotonic()
                self._read_control(control)
            elif towards is not None and time.monotonic() - heard_s > sockets.CONNECT_AGAIN_S:
                heard_s = time.monotonic()
                sockets.connect_again(control, self._settings.control)
                sockets.connect_again(push, self._settings.ingest)
            if self._connection.fileno() in ready and not self._read_pipe():
                # The compute thread may be in a kernel: there is nothing to wait for and nothing to keep.
                os._exit(0)
            now_s = time.monotonic()
            if now_s >= next_sample_s:
                next_sample_s = now_s + SAMPLE_S
                self._sample(push)

    def _read_pipe(self) -> bool:
        """One message that is there; the poller tells of the next. False: the engine is gone."""
        try:
            self._take(pipe.decode_to(self._connection.recv_bytes()))
        except (EOFError, ConnectionResetError):
            return False
        return True

    def _take(self, message: pipe.ToWorker) -> None:
        match message:
            case pipe.Run():
                for task in message.tasks:
                    held = Held(task)
                    self._held.setdefault(_key(task), []).append(held)
                    self._todo.put(held)
            case pipe.StopWork():
                self._stop((message.operation_id, message.generation))
            case pipe.Begin():
                key = (message.operation_id, message.generation)
                if key in self._operations:
                    # Of a new broker: the handle is another, the frame is the same.
                    self._operations[key].begin = message
                    return
                try:
                    self._operations[key] = Operation(message)
                except (OSError, MemoryError) as error:
                    self._unopened[key] = message
                    self._log.warning(
                        "operation_not_begun", operation_id=message.operation_id, error=str(error) or "out of memory"
                    )
                    return
                self._log.info(
                    "operation_begun", operation_id=message.operation_id, correlation_id=message.correlation_id
                )
            case pipe.End():
                key = (message.operation_id, message.generation)
                self._held.pop(key, None)
                self._unopened.pop(key, None)
                operation = self._operations.pop(key, None)
                if operation is not None:
                    operation.frame.close()

    def _stop(self, key: tuple[str, int]) -> None:
        for held in self._held.pop(key, []):
            held.stop = True
            if self._current is held:
                self._control[0] = 1

    def _read_control(self, control: zmq.Socket[bytes]) -> None:
        """Straight from the broker: a cancel does not wait for the engine."""
        while True:
            try:
                frames = control.recv_multipart(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                message = unpack(frames)
            except RfmError as error:
                self._log.warning("garbage", socket="control", error=error.message)
                continue
            if isinstance(message, ControlFrame):
                for entry in message.cancel:
                    self._stop((entry.operation_id, entry.generation))

    def _sample(self, push: zmq.Socket[bytes]) -> None:
        current = self._current
        if current is None:
            return
        operation = self._operations.get(_key(current.task))
        if operation is None:
            return
        self._counter += 1
        # Pixels of a preview or part are counted with their tiles; that it iterates is shown all the same. Of an image
        # only the CPU time is known.
        is_tile, samples = current.task.phase == "tile", operation.request.samples
        measure = TileMeasure(
            generation=current.task.generation,
            counter=self._counter,
            tile=measured_as(operation.grid, current.task),
            attempt=current.task.attempt,
            done=share_done(self._counters, current.task.width * current.task.height, samples) if is_tile else 0,
            iterations=int(self._counters[1]),
            cpu_ns=max(0, time.clock_gettime_ns(self._clock) - self._began_ns),
        )
        try:
            push.send(pack_progress(operation.begin.handle, self._settings.source, measure), zmq.NOBLOCK)
        except zmq.Again:
            # Nobody takes it now: progress is cumulative, the next one says it all.
            return

    # --- compute thread ---------------------------------------------------------------------

    def _compute(self) -> None:
        os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), NICE)
        while True:
            held = self._todo.get()
            try:
                answer = self._run(held)
            except Exception as error:
                # Whatever it is, it is told: a thread that ends would leave the task with nobody.
                log = self._log
                log.exception("task_failed", operation_id=held.task.operation_id, phase=held.task.phase)
                cause = _want_of_memory(error) if _is_want_of_memory(error) else cause_of(error)
                answer = pipe.Failed(held.task, cause, again=_is_want_of_memory(error))
            self._current = None
            held_of = self._held.get(_key(held.task))
            if held_of is not None and held in held_of:
                held_of.remove(held)
            try:
                self._connection.send_bytes(pipe.encode(answer))
            except (BrokenPipeError, ConnectionResetError):
                return

    def _run(self, held: Held) -> pipe.FromWorker:
        task = held.task
        operation = self._operation(_key(task))
        if not operation.touched and task.phase != "image":
            # Before the clock starts: what comes once says nothing of what the next task costs.
            operation.touched = True
            operation.frame.touch()
        self._counters[:] = 0
        self._began_ns = time.thread_time_ns()
        self._current = held
        # The main thread sets `stop` first and the word second: whoever comes late is seen here.
        self._control[0] = 0
        stopped = True
        artifacts: tuple[Any, ...] = ()
        if not held.stop:
            if task.phase == "image":
                try:
                    artifacts = image.finish(operation.frame, operation.request, lambda: held.stop)
                    stopped = False
                except Interrupted:
                    stopped = True
            else:
                stopped = self._iterate(operation, task) != 0
        iterations = int(self._counters[1])
        cpu_ns = time.thread_time_ns() - self._began_ns
        if stopped:
            return pipe.Stopped(task=task, iterations=iterations, cpu_ns=cpu_ns)
        weights: tuple[tuple[int, float], ...] = ()
        if task.phase == "tile":
            operation.frame.commit(task.index, task.attempt, holes=bool(task.holes))
        elif task.phase == "preview":
            weights = _weights(operation, task)
        return pipe.Done(task=task, iterations=iterations, cpu_ns=cpu_ns, weights=weights, artifacts=artifacts)

    def _operation(self, key: tuple[str, int]) -> Operation:
        if (begin := self._unopened.get(key)) is not None:
            self._operations[key] = Operation(begin)
            self._unopened.pop(key, None)
        return self._operations[key]

    def _iterate(self, operation: Operation, task: Task) -> int:
        if task.fresh:
            operation.frame.reset(task.x, task.y, task.width, task.height)
        operation.frame.leave_out(task.holes)
        place = task.x, task.y, task.width, task.height
        n, nf = operation.frame.tile(*place)
        step = PREVIEW_STEP if task.phase == "preview" else 1
        words = {"control": self._control, "counters": self._counters}
        told = operation.renderer.compute(n, nf, task.x, task.y, step, **words, **operation.frame.more(*place))
        # A tile that had to be split has one sample a pixel: whatever kills is then in one part alone.
        if told or task.phase != "tile" or task.sealed or operation.request.samples == 1:
            return told
        return operation.sampler.compute(operation.frame, place, **words)


def _key(task: Task) -> tuple[str, int]:
    return task.operation_id, task.generation


def _want_of_memory(error: Exception) -> ErrorInfo:
    return NO_MEMORY.error(f"a worker was refused memory ({type(error).__name__}{f': {error}' if str(error) else ''})")


def _is_want_of_memory(error: Exception) -> bool:
    return isinstance(error, MemoryError) or (isinstance(error, OSError) and error.errno == errno.ENOMEM)


def _weights(operation: Operation, task: Task) -> tuple[tuple[int, float], ...]:
    """Expected cost of each tile under a preview block."""
    inside = inside_cost(operation.request)
    found = []
    for index in tiles_under(operation.grid, (task.x, task.y, task.width, task.height)):
        cost = operation.frame.cost(index, inside)
        if cost is not None:
            found.append((index, cost))
    return tuple(found)


def run(connection: Connection, encoded: bytes) -> None:
    """Entry of the process, forked by the forkserver."""
    settings = msgspec.msgpack.decode(encoded, type=WorkerSettings)
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    die_with_parent(os.getppid(), signal.SIGKILL)
    folder = Path(settings.logs)
    logs.configure(f"worker-{settings.number}", settings.log_level, folder)
    with (folder / f"worker-{settings.number}.fault").open("wb") as fault:
        faulthandler.enable(fault, all_threads=True)
        connection.send_bytes(pipe.encode(pipe.Ready(os.getpid())))
        try:
            Worker(connection, settings).serve()
        except BaseException:
            # Where the engine looks for what a worker died of.
            fault.write(traceback.format_exc().encode())
            raise
