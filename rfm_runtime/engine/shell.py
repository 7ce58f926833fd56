"""The engine's shell: broker, workers and frames around `core.tiles`. One asyncio loop, no thread but for files.

It carries out the core's commands and turns what happens into the core's messages; it decides nothing. With the
broker away everything goes on: progress is dropped, outcomes are kept and repeated until they are acknowledged.
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import os
import shutil
import threading
import time
from collections.abc import Coroutine
from functools import partial
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import zmq
from msgspec import Struct

from rfm_runtime.config import address
from rfm_runtime.core.resources.flow import FlowMeter
from rfm_runtime.core.tiles import messages as core
from rfm_runtime.core.tiles.crew import Crew, death_word
from rfm_runtime.core.tiles.engine import EngineCore
from rfm_runtime.core.tiles.order import grid_of
from rfm_runtime.core.timing import Backoff
from rfm_runtime.engine import frames, pipe
from rfm_runtime.engine.data import DataServer
from rfm_runtime.engine.helpers import Helpers
from rfm_runtime.engine.kernels import Kernels, kernels_of
from rfm_runtime.engine.metrics import Metrics
from rfm_runtime.engine.pool import Pool
from rfm_runtime.engine.settings import WorkerSettings
from rfm_runtime.errors import ConflictError, RfmError, StartError, UnknownOperationError
from rfm_runtime.observe import logs
from rfm_runtime.observe.bootstrap import Boot
from rfm_runtime.observe.garbage import Garbage
from rfm_runtime.observe.process import available_cores
from rfm_runtime.protocol.causes import HOLES, NO_ARTIFACTS, NO_FRAME, NO_KERNEL
from rfm_runtime.protocol.internal import (
    Ack,
    Assign,
    ControlFrame,
    DoGet,
    HelloAsked,
    OperationMeasure,
    Outcome,
    OwnerHeartbeat,
    OwnerHello,
    OwnerWelcome,
    PauseOwner,
    PauseState,
    Principal,
    PriorityOwner,
    Release,
    Started,
    pack_progress,
    unpack,
)
from rfm_runtime.protocol.keys import located
from rfm_runtime.protocol.messages import Kind, OperationReply
from rfm_runtime.protocol.operation import TERMINAL_STATES, ErrorInfo, TileGrid, error_info
from rfm_runtime.protocol.resources import ResourceReport, Usage
from rfm_runtime.render.request import RenderRequest, validate
from rfm_runtime.security import curve_keys
from rfm_runtime.transport import sockets
from rfm_runtime.transport.drain import Drain
from rfm_runtime.transport.hosts import Entrance, Hosts
from rfm_runtime.transport.rpc import Rpc

__all__ = ["EngineShell"]

T = TypeVar("T")

log = logs.get("engine")

KIND = "render.escape_time"
TICK_S = 0.05
HEARTBEAT_S = 1.0
REPEAT_S = 1.0
"""How long an unanswered report waits for its repetition."""
REQUEST_S = 5.0

DESCRIPTION = "fractals: Mandelbrot and Julia sets of eight families, Newton and Nova"

LOOK_S = 0.02
"""Between two looks whether a render that is not begun yet is wanted no more."""

RECOVER_RETRIES = 6
RECOVER_AGAIN = Backoff(base_s=0.5, cap_s=10.0)
"""A frame that is there and cannot be opened: half a minute in all."""
LEFTOVERS_S = 10.0
"""Between two looks for frames that nobody will go on with."""
LAST_LOOK_S = 1.0
"""For the one before the end."""


class EngineShell:
    """One engine. Owned by the loop's thread."""

    def __init__(self, boot: Boot, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        self._boot = boot
        self._settings = boot.settings
        self._folders = boot.folders
        self._loop = asyncio.get_running_loop()
        self._context = context
        self.metrics = Metrics()
        self._garbage = Garbage(log, lambda socket: self.metrics.garbage.labels(socket).inc())
        self._workers = self._settings.workers or available_cores()
        self.core = EngineCore(_grid_of_assignment, self._workers)
        self._requests: dict[str, RenderRequest] = {}
        self._helpers = Helpers()
        self._kernels = Kernels(Path(os.environ["NUMBA_CACHE_DIR"]))
        self._begun: dict[str, set[int]] = {}
        self._to_run: dict[int, list[core.Task]] = {}
        self._preparing: dict[str, threading.Event] = {}
        self._heard: list[core.FromWorker] = []
        self._running: set[asyncio.Task[None]] = set()
        self._cancel_seen_s: dict[str, float] = {}
        self._ready_s: dict[str, float] = {}
        self._incarnation = 0
        self._welcome_under_way = False
        self.welcomed = asyncio.Event()
        self.pool_ready = asyncio.Event()
        self.given_back = asyncio.Event()
        self._closed = False
        self._hosts: Hosts | None = None
        self._memory_bytes = 0

    # --- life -------------------------------------------------------------------------------

    def start(self) -> None:
        """Start the pool, connect, begin to tick."""
        self._nearby = self._folders.endpoint(f"data-{self._boot.name}")
        self._location = self._nearby
        endpoints = self._boot.endpoints
        towards = curve_keys.towards_broker(self._settings, self._folders)
        self._crew = Crew(self._workers)
        self._flow = FlowMeter(self._loop.time())
        self._came_back = 0
        self._pool = Pool(
            self._loop,
            self._workers,
            self._worker_settings,
            logs_folder=self._folders.logs,
            on_message=self._from_worker,
            on_read=self._workers_read,
            on_death=self._worker_died,
        )
        self._pool.start()
        self._rpc = Rpc(
            self._loop,
            sockets.command_dealer(self._context, endpoints.command, towards),
            on_push=self._pushed,
            on_garbage=partial(self._garbage.found, "command"),
        )
        self._control = Drain(
            self._loop,
            sockets.control_subscriber(self._context, endpoints.control, towards),
            self._on_control,
        )
        self._push = sockets.ingest_push(self._context, endpoints.ingest, towards)
        self._unbind()
        data = sockets.data_router(self._context, self._nearby)
        self._data = DataServer(
            self._loop,
            data,
            self._folders.artifacts,
            self.metrics_text,
            self._helpers,
            self._under_way,
            lambda operation_id, x, y: self._feed(core.FocusChanged(operation_id, x, y)),
            self._garbage,
        )
        self._let_hosts_in(data)
        self._spawn(self._come_up())
        self._tick_handle = self._loop.call_later(TICK_S, self._tick)
        self._heartbeat_s = self._control_s = self._loop.time()

    def _let_hosts_in(self, data: zmq.Socket[bytes]) -> None:
        """Gateways on other hosts, where there may be some."""
        if not self._settings.data_address:
            return
        entrance = Entrance(*curve_keys.entrance(self._folders.keys))
        self._hosts = Hosts(
            self._loop,
            self._context,
            entrance,
            on_count=lambda what: self.metrics.connections.labels(what).inc(),
            on_say=lambda event, fields: log.warning(event, **fields),
        )
        endpoint = address(self._settings.data_address, "data_address").endpoint()
        self._hosts.open(data, endpoint, self._data.kick)
        self._location = located(endpoint, entrance.own.public)

    def used(self, report: ResourceReport) -> None:
        """What this process and its workers use. From any thread."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._tell_used, report)

    def _tell_used(self, report: ResourceReport) -> None:
        if self._closed:
            return
        self._memory_bytes = report.process.memory_bytes + report.process.children.memory_bytes
        tiles, tile_px, tile_s = self.core.tiles_in_hand()
        children = report.process.children
        crew = self._crew.usage(report.process.name, self.core.workers, children.each, _now_ms())
        process = msgspec.structs.replace(report.process, children=msgspec.structs.replace(children, each=()))
        flow = self._flow.flow(
            self._loop.time(), messages=self._came_back, coalesced=0, connections=0, waiting=self.core.waiting_tiles
        )
        self._rpc.push(
            Usage(
                report=msgspec.structs.replace(report, process=process, flow=flow),
                workers=self._pool.count,
                tiles=tiles,
                tile_px=tile_px,
                tile_s=tile_s,
                crew=crew,
            )
        )

    def _unbind(self) -> None:
        """A socket file that a killed predecessor left would make the bind fail."""
        Path(self._nearby.removeprefix("ipc://")).unlink(missing_ok=True)

    def _worker_settings(self, number: int, start: int) -> WorkerSettings:
        return WorkerSettings(
            number=number,
            # The engine's own measures have source 0. A successor counts anew, so it is another source.
            source=start,
            control=self._boot.endpoints.control,
            ingest=self._boot.endpoints.ingest,
            keys=str(self._folders.keys),
            broker_key=self._settings.broker_key if self._settings.is_away_from_broker else "",
            logs=str(self._folders.logs),
            log_level=self._settings.log_level,
        )

    def drain(self, *, at_once: bool) -> None:
        """Finish tiles that run (or not), give everything back; `given_back` is set when that is done."""
        log.info("draining", at_once=at_once, operations=len(self.core.runs))
        self._feed(core.Draining(at_once))

    async def stop(self) -> None:
        """End workers, close sockets. Operations that were not given back are found by the next engine."""
        if self._closed:
            return
        self._closed = True
        self._tick_handle.cancel()
        self._helpers.close()
        await self._pool.close()
        if self.welcomed.is_set():
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(LAST_LOOK_S):
                    await self._remove_leftovers()
        for task in list(self._running):
            task.cancel()
        await asyncio.gather(*self._running, return_exceptions=True)
        self._rpc.close()
        self._control.close()
        if self._hosts is not None:
            self._hosts.close()
        self._data.close()
        self._push.close()
        self._unbind()
        log.info("engine_stopped")

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._running.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._running.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background_task_failed", exc_info=error)

    # --- the broker -------------------------------------------------------------------------

    async def _come_up(self) -> None:
        """What a predecessor left half-made goes before anything is assigned: afterwards it could be our own."""
        self._welcome_under_way = True
        for folder in sorted(self._folders.frames.glob(".op-*")):
            log.info("half_made_frame_removed", folder=folder.name)
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)
        self._welcome_under_way = False
        await self._hello()

    async def _hello(self) -> None:
        """Say who we are and what we hold, until it is answered."""
        if self._welcome_under_way:
            return
        self._welcome_under_way = True
        try:
            while not self._closed:
                try:
                    hello = self._describe()
                    welcome = await self._rpc.request(hello, OwnerWelcome, timeout_s=REPEAT_S)
                except RfmError as error:
                    log.info("hello_unanswered", error=error.message)
                    await asyncio.sleep(error.retry_after_s or 0.1)
                    continue
                self._welcomed(welcome)
                return
        finally:
            self._welcome_under_way = False

    def _describe(self) -> OwnerHello:
        schema = msgspec.json.schema(RenderRequest)
        return OwnerHello(
            source=self._boot.source,
            role="engine",
            kinds=(
                Kind(
                    kind=KIND,
                    description=DESCRIPTION,
                    params_schema=schema,
                ),
            ),
            location=self._location,
            slots=self._settings.slots,
            workers=self._pool.count,
            # On another host nobody can see whether its process is there: it has a lease.
            local=not self._settings.is_away_from_broker,
            resumable=(KIND,),
            held=self.core.held(_now_ms()),
        )

    def _welcomed(self, welcome: OwnerWelcome) -> None:
        log.info("welcomed", incarnation=welcome.incarnation, keep=len(welcome.keep), drop=len(welcome.drop))
        self._incarnation = welcome.incarnation
        for assign in welcome.keep:
            self._feed(core.Assigned(assign))
            self._tell_workers_again(assign)
        for operation_id in welcome.drop:
            self._feed(core.Dropped(operation_id))
        self._take_cancel_set(welcome.control)
        if not self.welcomed.is_set():
            self.welcomed.set()
            self._spawn(self._keep_tidy())

    def _tell_workers_again(self, assign: Assign) -> None:
        """A new broker knows a new handle: workers report under it from now on."""
        for number in self._begun.get(assign.operation_id, set()):
            self._pool.send(number, self._begin(assign))

    def _on_control(self, received: list[bytes]) -> None:
        try:
            message = unpack(received)
        except RfmError as error:
            self._garbage.found("control", error)
            return
        if not isinstance(message, ControlFrame):
            return
        self._control_s = self._loop.time()
        if message.incarnation != self._incarnation and self.welcomed.is_set():
            self._spawn(self._hello())
            return
        self._take_cancel_set(message)

    def _take_cancel_set(self, frame: ControlFrame) -> None:
        entries = []
        for entry in frame.cancel:
            run = self.core.runs.get(entry.operation_id)
            if run is None or run.generation != entry.generation or run.ended:
                continue
            self._cancel_seen_s.setdefault(entry.operation_id, self._loop.time())
            after_s = None if entry.kill_after_ms is None else entry.kill_after_ms / 1000
            entries.append((entry.operation_id, entry.generation, after_s))
        if entries:
            self._feed(core.CancelSet(tuple(entries)))

    def _pushed(self, message: Struct) -> None:
        match message:
            case Assign():
                self._assigned(message)
            case HelloAsked():
                self._spawn(self._hello())
            case PauseOwner():
                self._feed(core.PauseAsked(message.operation_id, message.generation, message.paused))
            case PriorityOwner():
                self._feed(core.PriorityChanged(message.operation_id, message.generation, message.priority))
            case _:
                log.warning("unexpected_push", type=type(message).__name__)

    def _assigned(self, assign: Assign) -> None:
        run = self.core.runs.get(assign.operation_id)
        if run is not None and run.generation == assign.generation:
            # The broker says it again until it is answered. What was found out for the request since then stays.
            self._feed(core.Assigned(assign))
            return
        try:
            self._requests[assign.operation_id] = validate(assign.params)
        except RfmError as error:
            # Validated at submit; only a broker of another version gets here.
            self._spawn(self._refuse(assign, error))
            return
        self._feed(core.Assigned(assign))

    async def _refuse(self, assign: Assign, error: RfmError) -> None:
        final = OperationMeasure(assign.generation, 1, _now_ms(), 0.0)
        outcome = Outcome(
            operation_id=assign.operation_id,
            generation=assign.generation,
            state="failed",
            final=final,
            error=error_info(error),
        )
        await self._report(outcome)

    async def _report(self, message: Struct) -> bool:
        """Repeat it until it is acknowledged; False if it was fenced off."""
        while True:
            try:
                await self._rpc.request(message, Ack, timeout_s=REPEAT_S)
            except ConflictError as error:
                log.warning("fenced_off", type=type(message).__name__, error=error.message)
                return False
            except RfmError as error:
                log.info("report_unanswered", type=type(message).__name__, error=error.message)
                await asyncio.sleep(error.retry_after_s or 0.1)
                continue
            return True

    # --- workers ----------------------------------------------------------------------------

    def _from_worker(self, number: int, message: pipe.FromWorker) -> None:
        match message:
            case pipe.Ready():
                log.info("worker_ready", worker=number, worker_pid=message.pid)
                self.pool_ready.set()
                self._crew.ready(number, message.pid)
                self._heard.append(core.WorkerUp(number))
            case pipe.Done():
                self._count(message.task.phase, "done", message.iterations, message.cpu_ns)
                self._crew.done(number, message.task.phase, message.iterations, message.cpu_ns / 1e9)
                self._heard.append(
                    core.TaskDone(
                        worker=number,
                        task=message.task,
                        iterations=message.iterations,
                        cpu_ns=message.cpu_ns,
                        weights=message.weights,
                        artifacts=message.artifacts,
                    )
                )
            case pipe.Stopped():
                self._count(message.task.phase, "stopped", message.iterations, message.cpu_ns)
                self._heard.append(
                    core.TaskStopped(
                        worker=number, task=message.task, iterations=message.iterations, cpu_ns=message.cpu_ns
                    )
                )
            case pipe.Failed():
                self._count(message.task.phase, "failed", 0, 0)
                self._heard.append(
                    core.TaskFailed(worker=number, task=message.task, error=message.error, again=message.again)
                )

    def _count(self, phase: str, end: str, iterations: int, cpu_ns: int) -> None:
        self.metrics.count_task(phase, end)
        self._came_back += 1
        self.metrics.iterations.inc(iterations)
        self.metrics.cpu.inc(cpu_ns / 1e9)

    def _worker_died(self, number: int, cause: str, wanted: bool) -> None:
        doing: dict[str, Any] = {}
        if number in self.core.workers and (tasks := self.core.workers[number].tasks):
            doing = {"operation_id": tasks[0].operation_id, "phase": tasks[0].phase, "index": tasks[0].index}
        log.log(20 if wanted else 40, "worker_died", worker=number, cause=cause, wanted=wanted, **doing)
        self.metrics.deaths.labels(death_word(cause, wanted)).inc()
        self._crew.died(number, cause, wanted)
        # Its last words and its death are one thing to decide upon: in between it would be given something more, and
        # its successor, which has the same number, would be taken for one that knows of it.
        self._heard.append(core.WorkerDied(number, cause))
        self._take_heard()
        for begun in self._begun.values():
            begun.discard(number)
        self._to_run.pop(number, None)
        self._settle()

    # --- the core's commands ----------------------------------------------------------------

    def _feed(self, message: Struct) -> None:
        self._handle(message)
        self._settle()

    def _settle(self) -> None:
        """What follows from the core's new state beside its commands."""
        self._send_tasks()
        for operation_id, stop in self._preparing.items():
            run = self.core.runs.get(operation_id)
            if run is not None and run.stopping:
                stop.set()
        if self.core.patience_s() <= 0.0:
            self._pool.attend()

    def _handle(self, message: Struct) -> None:
        for command in self.core.handle(message, self._loop.time(), _now_ms()):
            self._carry_out(command)

    def _take_heard(self) -> None:
        if self._heard:
            heard, self._heard = self._heard, []
            self._handle(core.Heard(tuple(heard)))

    def _workers_read(self) -> None:
        """All that workers had said has been read: do what follows, and let them compute for a while."""
        self._take_heard()
        self._send_tasks()
        patience_s = self.core.patience_s()
        if patience_s > 0.0:
            self._pool.rest(patience_s)

    def _send_tasks(self, *numbers: int) -> None:
        """Tasks that were dispatched, one message a worker."""
        for number in numbers or tuple(self._to_run):
            if tasks := self._to_run.pop(number, None):
                self._pool.send(number, pipe.Run(tuple(tasks)))

    def _carry_out(self, command: core.Command) -> None:
        match command:
            case core.Dispatch():
                self._dispatch(command)
            case core.Report():
                self._report_progress(command)
            case core.Stop():
                # It stops what was given before, not what is given after.
                self._send_tasks(command.worker)
                self._pool.send(command.worker, pipe.StopWork(command.operation_id, command.generation))
            case core.Kill():
                log.warning("worker_killed", worker=command.worker, why="it did not put its task down in time")
                self._pool.kill(command.worker)
            case core.Prepare():
                self._spawn(self._prepare(command.assign))
            case core.SayStarted():
                self._spawn(self._say_started(command))
            case core.SayPaused():
                self._spawn(self._say_paused(command))
            case core.SayOutcome():
                self._spawn(self._say_outcome(command))
            case core.SayReleased():
                self._spawn(self._say_released(command))
            case core.Discard():
                self._discard(command.operation_id, command.generation)

    def _dispatch(self, command: core.Dispatch) -> None:
        task = command.task
        if task.phase == "image" and (ready_s := self._ready_s.pop(task.operation_id, None)) is not None:
            self.metrics.compute.observe(self._loop.time() - ready_s)
        begun = self._begun.setdefault(task.operation_id, set())
        if command.worker not in begun:
            begun.add(command.worker)
            self._pool.send(command.worker, self._begin(self.core.runs[task.operation_id].assign))
        self._to_run.setdefault(command.worker, []).append(task)

    def _begin(self, assign: Assign) -> pipe.Begin:
        return pipe.Begin(
            operation_id=assign.operation_id,
            generation=assign.generation,
            handle=assign.handle,
            params=msgspec.msgpack.encode(self._requests[assign.operation_id]),
            frame=str(self._frame(assign.operation_id)),
            correlation_id=assign.correlation_id,
        )

    def _report_progress(self, command: core.Report) -> None:
        run = self.core.runs.get(command.operation_id)
        if run is None:
            return
        measure = msgspec.structs.replace(command.measure, memory_bytes=self._memory_bytes)
        try:
            self._push.send(pack_progress(run.assign.handle, 0, measure), zmq.NOBLOCK)
        except zmq.Again:
            # Nobody takes it now; say it again with the next tick.
            run.changed = True

    async def _prepare(self, assign: Assign) -> None:
        bound = log.bind(operation_id=assign.operation_id, correlation_id=assign.correlation_id)
        finished = frames.read_artifacts(self._artifacts(assign.operation_id))
        if finished is not None:
            bound.info("already_finished")
            holes = frames.read_holes(self._artifacts(assign.operation_id))
            self._feed(
                core.FrameReady(
                    operation_id=assign.operation_id, generation=assign.generation, artifacts=finished, holes=holes
                )
            )
            return
        stop = self._preparing[assign.operation_id] = threading.Event()
        recovered: frames.Recovered | None = None
        try:
            await self._compiled(assign, stop)
            await self._limited(assign, stop)
            if (run := self.core.runs.get(assign.operation_id)) is not None and run.doing:
                self._doing(assign, "")
            info = self._info(assign)
            recovered = await self._recover(assign.operation_id, info, stop)
            if recovered is None:
                await asyncio.to_thread(frames.create, self._frame(assign.operation_id), info, stop.is_set)
        except frames.Interrupted:
            bound.info("frame_given_up")
        except StartError as error:
            no_kernel = NO_KERNEL.error(error.message, hint=error.hint)
            self._feed(core.FrameFailed(assign.operation_id, assign.generation, no_kernel))
            return
        except RfmError as error:
            bound.error("iterations_not_found", error=error.message)
            no_kernel = NO_KERNEL.error(f"how many iterations it needs was not found out: {error.message}")
            self._feed(core.FrameFailed(assign.operation_id, assign.generation, no_kernel))
            return
        except OSError as error:
            bound.error("frame_failed", error=str(error))
            reason = error.strerror or str(error)
            self._feed(core.FrameFailed(assign.operation_id, assign.generation, self._no_frame(reason)))
            return
        except Exception as error:
            # A fault of ours; but somebody waits for the outcome.
            log.exception("frame_failed", operation_id=assign.operation_id, correlation_id=assign.correlation_id)
            reason = f"{type(error).__name__}: {error}"
            self._feed(core.FrameFailed(assign.operation_id, assign.generation, self._no_frame(reason)))
            return
        finally:
            if self._preparing.get(assign.operation_id) is stop:
                del self._preparing[assign.operation_id]
        committed = () if recovered is None else recovered.tiles
        if recovered is not None and recovered.damaged:
            bound.warning("tiles_damaged", tiles=list(recovered.damaged[:16]), count=len(recovered.damaged))
        bound.info("frame_ready", recovered_tiles=len(committed))
        self._ready_s[assign.operation_id] = self._loop.time()
        self._feed(
            core.FrameReady(
                operation_id=assign.operation_id,
                generation=assign.generation,
                committed=committed,
                iterations=0 if recovered is None else recovered.iterations,
                holes=() if recovered is None else recovered.holes,
                costs=() if recovered is None else recovered.costs,
            )
        )

    async def _compiled(self, assign: Assign, stop: threading.Event) -> None:
        """Wait for the kernels of its formula, some seconds for the first render of one. Raises Interrupted."""
        request = self._requests[assign.operation_id]
        if self._kernels.are_ready(request):
            return
        self._doing(assign, f"compiling {kernels_of(request)} (once after an update)")
        compiling = self._loop.create_task(self._kernels.compiled(request))
        # Others may want them too, so that only the waiting ends.
        await _unless(stop, compiling)

    def _doing(self, assign: Assign, doing: str) -> None:
        self._feed(core.Preparing(assign.operation_id, assign.generation, doing))

    async def _limited(self, assign: Assign, stop: threading.Event) -> None:
        """Find out how many iterations it needs, where it does not say. Raises Interrupted, RfmError."""
        operation_id = assign.operation_id
        request = self._requests[operation_id]
        if request.max_iter:
            return
        self._doing(assign, "finding out how many iterations it needs")
        job = self._loop.create_task(self._helpers.done(pipe.Limit(msgspec.msgpack.encode(request))))
        answer = await _unless(stop, job)
        if not isinstance(answer, pipe.Iterations):
            raise TypeError(answer)
        log.info("iterations_found", operation_id=operation_id, max_iter=answer.count)
        self._requests[operation_id] = msgspec.structs.replace(request, max_iter=answer.count)

    async def _recover(
        self, operation_id: str, info: frames.FrameInfo, stop: threading.Event
    ) -> frames.Recovered | None:
        """What an earlier claim has left, None if that is nothing.

        A frame that cannot be opened now is tried again for a while: what is finished is not thrown away for want of
        a descriptor.
        """
        folder, request = self._frame(operation_id), self._requests[operation_id]
        for attempt in itertools.count():
            try:
                inside = frames.inside_cost(request)
                return await asyncio.to_thread(
                    frames.recover, folder, info, request.max_iter, stop.is_set, inside=inside
                )
            except OSError as error:
                if attempt >= RECOVER_RETRIES:
                    raise
                log.warning("frame_not_opened", operation_id=operation_id, error=str(error))
                await asyncio.sleep(RECOVER_AGAIN.bound_s(attempt))
                if stop.is_set():
                    raise frames.Interrupted from None
        return None

    def _no_frame(self, reason: str) -> ErrorInfo:
        return NO_FRAME.error(
            f"the frame cannot be made: {reason}",
            hint=f"make room below {self._folders.frames}, or render a smaller picture",
        )

    def _info(self, assign: Assign) -> frames.FrameInfo:
        request = self._requests[assign.operation_id]
        digest = hashlib.blake2b(msgspec.json.encode(request), digest_size=16).hexdigest()
        return frames.FrameInfo(
            operation_id=assign.operation_id,
            params=digest,
            grid=grid_of(request),
            derivative=request.needs_derivative,
            samples=request.samples,
        )

    async def _say_started(self, command: core.SayStarted) -> None:
        message = Started(
            operation_id=command.operation_id,
            generation=command.generation,
            total=command.total,
            unit="px",
            grid=command.grid,
        )
        if not await self._report(message):
            self._drop(command.operation_id, command.generation)

    async def _say_paused(self, command: core.SayPaused) -> None:
        if not await self._report(PauseState(command.operation_id, command.generation, command.paused)):
            self._drop(command.operation_id, command.generation)

    def _drop(self, operation_id: str, generation: int) -> None:
        run = self.core.runs.get(operation_id)
        if run is not None and run.generation == generation:
            self._feed(core.Dropped(operation_id))

    async def _say_outcome(self, command: core.SayOutcome) -> None:
        seen_s = self._cancel_seen_s.pop(command.operation_id, None)
        if seen_s is not None:
            self.metrics.stop_idle.observe(self._loop.time() - seen_s)
        self._close_in_workers(command.operation_id, command.generation)
        error = command.error
        if command.remark:
            error = HOLES.error(command.remark)
            log.warning("completed_with_holes", operation_id=command.operation_id, holes=command.remark)
        state = command.state
        try:
            if state == "completed":
                await asyncio.to_thread(self._publish_artifacts, command.operation_id)
            else:
                await asyncio.to_thread(shutil.rmtree, self._frame(command.operation_id), ignore_errors=True)
        except OSError as problem:
            log.exception("artifacts_failed", operation_id=command.operation_id)
            state = "failed"
            error = NO_ARTIFACTS.error(f"the files cannot be put in place: {problem.strerror}")
        outcome = Outcome(
            operation_id=command.operation_id,
            generation=command.generation,
            state=state,
            final=command.measure,
            error=error,
            artifacts=command.artifacts if state == "completed" else (),
            forced=command.forced,
        )
        acknowledged = await self._report(outcome)
        self.metrics.outcomes.labels(state if acknowledged else "fenced off").inc()
        self._feed(core.Reported(command.operation_id, command.generation))

    def _publish_artifacts(self, operation_id: str) -> None:
        """One rename makes the finished frame the operation's artefacts; repeating it changes nothing."""
        source, target = self._frame(operation_id), self._artifacts(operation_id)
        if not source.exists() and frames.read_artifacts(target) is not None:
            return
        target.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Whoever is told of them after a power cut must find them.
        frames.flush(source)
        source.replace(target)
        frames.flush_folder(target.parent)
        for name in ("commits.bin", "frame.json", frames.COSTS):
            (target / name).unlink(missing_ok=True)

    async def _say_released(self, command: core.SayReleased) -> None:
        self._close_in_workers(command.operation_id, command.generation)
        await self._report(Release(command.operation_id, command.generation, command.reason, command.measure))
        self._feed(core.Reported(command.operation_id, command.generation))

    def _close_in_workers(self, operation_id: str, generation: int) -> None:
        for number in self._begun.pop(operation_id, set()):
            self._pool.send(number, pipe.End(operation_id, generation))

    def _discard(self, operation_id: str, generation: int) -> None:
        self._close_in_workers(operation_id, generation)
        run = self.core.runs.get(operation_id)
        if run is None:
            self._requests.pop(operation_id, None)
            self._cancel_seen_s.pop(operation_id, None)
            self._ready_s.pop(operation_id, None)

    # --- files ------------------------------------------------------------------------------

    def _frame(self, operation_id: str) -> Path:
        return self._folders.frames / frames.folder_name(operation_id)

    def _under_way(self, operation_id: str) -> tuple[Path, bytes] | None:
        """Folder and parameters of a frame that is being rendered."""
        request, folder = self._requests.get(operation_id), self._frame(operation_id)
        if request is None or not folder.exists():
            return None
        return folder, msgspec.msgpack.encode(request)

    def _artifacts(self, operation_id: str) -> Path:
        return self._folders.artifacts / frames.folder_name(operation_id)

    async def _keep_tidy(self) -> None:
        """Frames wait for who goes on with them; of what is cancelled while it waits nobody else tells."""
        while True:
            await self._remove_leftovers()
            await asyncio.sleep(LEFTOVERS_S)

    async def _remove_leftovers(self) -> None:
        """Frames of operations that have ended or that nobody knows."""
        system = Principal("engine", ("admin",))
        for folder in sorted(self._folders.frames.glob("op-*")):
            operation_id = frames.operation_of(folder)
            if operation_id is None or operation_id in self.core.runs:
                continue
            try:
                reply = await self._rpc.request(DoGet(system, operation_id), OperationReply, timeout_s=REQUEST_S)
                if reply.operation.state not in TERMINAL_STATES:
                    continue
            except UnknownOperationError:
                log.info("frame_of_unknown_operation", operation_id=operation_id)
            except RfmError as error:
                log.info("leftover_kept", operation_id=operation_id, error=error.message)
                continue
            if operation_id in self.core.runs:
                # Assigned while the broker was asked.
                continue
            log.info("leftover_removed", folder=folder.name)
            await asyncio.to_thread(shutil.rmtree, folder, ignore_errors=True)

    # --- time -------------------------------------------------------------------------------

    def _tick(self) -> None:
        self._feed(core.Tick())
        now_s = self._loop.time()
        if now_s - self._heartbeat_s >= HEARTBEAT_S:
            self._heartbeat_s = now_s
            self._reach_again(now_s)
            self._rpc.push(OwnerHeartbeat(self._boot.source, len(self.core.runs)))
        if self.core.draining and not self.core.runs:
            self.given_back.set()
        self._tick_handle = self._loop.call_later(TICK_S, self._tick)

    def _reach_again(self, now_s: float) -> None:
        """A broker on another host, from which nothing is heard: see `sockets.CONNECT_AGAIN_S`."""
        endpoints = self._boot.endpoints
        if endpoints.are_remote and now_s - self._control_s > sockets.CONNECT_AGAIN_S:
            self._control_s = now_s
            log.info("connecting_again", address=endpoints.command)
            self._rpc.connect_again(endpoints.command)
            self._control.connect_again(endpoints.control)
            sockets.connect_again(self._push, endpoints.ingest)

    def metrics_text(self) -> str:
        """Exposition text, with the gauges brought up to date."""
        self.metrics.workers.set(self._pool.ready)
        self.metrics.operations.set(len(self.core.runs))
        requests = (self._requests[operation_id] for operation_id in self.core.runs if operation_id in self._requests)
        self.metrics.frame_bytes.set(sum(map(frames.frame_bytes, requests)))
        return self.metrics.text()


async def _unless(stop: threading.Event, task: asyncio.Task[T]) -> T:
    """What the task gives. Raises Interrupted if it is wanted no more."""
    while not task.done():
        await asyncio.wait([task], timeout=LOOK_S)
        if stop.is_set():
            task.cancel()
            raise frames.Interrupted
    return await task


def _grid_of_assignment(assign: Assign) -> TileGrid:
    return grid_of(validate(assign.params))


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
