"""A whole run: a runtime of its own, a crowd beside it, faults as planned, an end in order, and the checker's verdict.

One event loop in one thread; what blocks (starting, stopping) is done in threads of the loop's pool.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import stat
import subprocess
import time
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ParamSpec, TypeVar

import psutil

from rfm_runtime import config
from rfm_runtime.app.daemon import start_attached
from rfm_runtime.client.connection_file import ConnectionInfo
from rfm_runtime.config import Settings, folders
from rfm_runtime.errors import RfmError, StartError
from rfm_runtime.observe.temporaries import remove_temporaries
from rfm_runtime.testing.chaos import disk, processes
from rfm_runtime.testing.chaos.checker import Left, Verdict, check, read_journal, unfinished
from rfm_runtime.testing.chaos.clock import WallClock
from rfm_runtime.testing.chaos.crowd import Crowd, until
from rfm_runtime.testing.chaos.faults import ClockJump, Descriptors, Freeze, FullDisk, Kill, Memory, Starve
from rfm_runtime.testing.chaos.plan import Planned
from rfm_runtime.testing.chaos.proxy import FaultProxy
from rfm_runtime.testing.runtime import Runtime

__all__ = ["Happened", "Harness", "Outcome", "Sample"]

P = ParamSpec("P")
T = TypeVar("T")

SAMPLE_S = 1.0
FIND_S = 3.0
"""For a process that is to be disturbed and is just being started again."""

START_S = 60.0
STATE = "state"
"""The runtime's state folder, in the folder of the run."""

QUIET_S = 180.0
"""For what nobody waits for to end: operations of programs that were killed, the lease of one far away included."""

CONVERGE_S = 60.0
END_S = 10.0

OVERRIDES = {
    "gateways": 2,
    "workers": 2,
    "drain_timeout_s": 5.0,
    "heartbeat_s": 2.0,
    # All watchers, submitters and programs of a run come from one address, again and again.
    "connections_per_user": 256,
    "connections_per_address": 256,
    "resources_interval_s": 2.0,
}


@dataclass(slots=True)
class Happened:
    """A planned fault as it was. began_s, ended_s: since the beginning of the run. note: why it was not, or to whom."""

    planned: Planned
    began_s: float
    ended_s: float | None = None
    note: str = ""


@dataclass(frozen=True, slots=True)
class Sample:
    """A look at the run, each second. silent_s: the longest silence of the watcher nearby since the look before."""

    at_s: float
    accepted: int
    events: int
    silent_s: float
    memory_bytes: dict[str, int]
    descriptors: dict[str, int]


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a run was. settled_s: from its last fault until all was quiet and everybody knew.

    interrupted_s: when somebody had enough of it; what was planned after that did not happen.
    """

    verdict: Verdict
    happened: Sequence[Happened]
    samples: Sequence[Sample]
    took_s: float
    settled_s: float
    interrupted_s: float | None = None


@dataclass(slots=True)
class _Run:
    """What a run gathers."""

    began_s: float
    happened: list[Happened] = field(default_factory=list)
    samples: list[Sample] = field(default_factory=list)
    interrupted_s: float | None = None


class Harness:
    """One run in an empty folder. small_disk: its folder `state` is a file system of its own, which may be filled.

    on_look: told every second where it stands, and what is disturbed. overrides: settings of the runtime.
    """

    def __init__(
        self,
        folder: Path,
        plan: Sequence[Planned],
        *,
        seed: int,
        seconds: float,
        small_disk: bool = False,
        on_look: Callable[[Sample, Sequence[Happened]], None] | None = None,
        overrides: dict[str, object] | None = None,
    ) -> None:
        self._folder = folder
        self._plan = plan
        self._seed = seed
        self._seconds = seconds
        self._small_disk = small_disk
        self._on_look = on_look
        self._rng = random.Random(seed)
        self._records = folder / "records"
        self._records.mkdir()
        self._clock = WallClock(folder / "clock")
        port = _free_port()
        own = {"state_dir": str(folder / STATE), "runtime_dir": str(folder / "run"), "port": port}
        self._settings = config.load({**config.BY_ITSELF, **OVERRIDES, **(overrides or {}), **own}).settings
        self._supervisor: subprocess.Popen[bytes] | None = None
        self._starting = asyncio.Lock()
        self._undos: dict[int, processes.Undo] = {}
        self._under_load = False
        self._interrupted = asyncio.Event()

    def interrupt(self) -> bool:
        """No more faults: what ran so far settles and is checked. False where nothing runs yet, or it was asked before.

        In the loop's thread.
        """
        if not self._under_load or self._interrupted.is_set():
            return False
        self._interrupted.set()
        return True

    async def run(self) -> Outcome:
        """All of it. Raises RfmError if the runtime does not start, or not again. Nothing is left, however it ends."""
        async with contextlib.AsyncExitStack() as stack:
            # From here on: whoever interrupts it while it starts gets it stopped all the same.
            stack.push_async_callback(self._end)
            runtime = await _to_its_end(Runtime, self._settings, self._start)
            proxy = FaultProxy("127.0.0.1", self._settings.port, seed=self._seed)
            stack.push_async_callback(proxy.close)
            crowd = Crowd(runtime, self._records, await proxy.start(), self._seed)
            stack.push_async_callback(lambda: crowd.close(orderly=False))
            run = _Run(time.monotonic())
            async with _while_looking(self._look(run, runtime, crowd)):
                crowd.start()
                self._under_load = True
                await self._disturb(run, runtime, crowd, proxy)
                calm_s = time.monotonic()
                await self._settle(runtime, crowd)
                settled_s = time.monotonic() - calm_s
            run.samples.append(_sample(run, runtime, crowd))
            await crowd.close(orderly=True)
            await proxy.close()
            await _to_its_end(runtime.stop)
            verdict = await asyncio.to_thread(check, self._records, runtime.folders.journal, self._left(run))
            took_s = time.monotonic() - run.began_s
            return Outcome(verdict, run.happened, run.samples, took_s, settled_s, run.interrupted_s)

    # --- the runtime ------------------------------------------------------------------------

    def _start(self, settings: Settings) -> ConnectionInfo:
        # In a thread that lives as long as the loop: the kernel ends a child with the thread that made it.
        with self._clock.environment():
            self._supervisor = start_attached(settings)
        return ConnectionInfo.read(folders(settings).connection)

    async def _start_again(self, runtime: Runtime) -> str:
        """Until it runs; what was in the way, if anything."""
        trouble = ""
        deadline_s = time.monotonic() + START_S
        async with self._starting:
            while True:
                try:
                    await _to_its_end(runtime.start)
                    return trouble
                except RfmError as error:
                    trouble = f"started late: {error.message}"
                    if time.monotonic() >= deadline_s:
                        raise
                await asyncio.sleep(0.5)

    def _reboot(self, runtime: Runtime) -> None:
        runtime.kill_supervisor()
        if self._supervisor is not None:
            self._supervisor.wait(10)

    async def _end(self) -> None:
        """Whatever is left, at once: after an orderly end there is nothing. Children end with their supervisor."""
        for undo in self._undos.values():
            undo()
        if self._supervisor is not None and self._supervisor.poll() is None:
            self._supervisor.kill()
            await asyncio.to_thread(self._supervisor.wait)
        await until(lambda: not _processes_of(self._folder), END_S)
        for link in folders(self._settings).runtime.glob("*.tmp"):
            remove_temporaries(link)

    # --- faults -----------------------------------------------------------------------------

    async def _disturb(self, run: _Run, runtime: Runtime, crowd: Crowd, proxy: FaultProxy) -> None:
        try:
            async with asyncio.TaskGroup() as group:
                for number, planned in enumerate(self._plan):
                    group.create_task(self._one(run, number, planned, runtime, crowd, proxy))
                if not await self._goes_on(self._seconds):
                    run.interrupted_s = round(time.monotonic() - run.began_s, 2)
        except ExceptionGroup as several:
            # One is enough: a runtime that does not start again.
            raise several.exceptions[0] from several

    async def _one(
        self, run: _Run, number: int, planned: Planned, runtime: Runtime, crowd: Crowd, proxy: FaultProxy
    ) -> None:
        """One fault from its beginning to its end, which comes early when the run is interrupted."""
        if not await self._goes_on(max(0.0, planned.at_s - (time.monotonic() - run.began_s))):
            return
        happened = Happened(planned, round(time.monotonic() - run.began_s, 2))
        run.happened.append(happened)
        try:
            undo = await self._begin(planned, happened, runtime, crowd, proxy)
        except (psutil.Error, OSError) as error:
            happened.note = f"not done: {error}"
            undo = None
        if undo is not None:
            self._undos[number] = undo
            await self._goes_on(planned.lasts_s)
            self._undos.pop(number)()
        happened.ended_s = round(time.monotonic() - run.began_s, 2)
        if isinstance(planned.fault, Kill):
            crowd.replace()

    async def _goes_on(self, for_s: float) -> bool:
        """After so long; False as soon as it is interrupted."""
        try:
            async with asyncio.timeout(for_s):
                await self._interrupted.wait()
        except TimeoutError:
            return True
        return False

    async def _begin(
        self, planned: Planned, happened: Happened, runtime: Runtime, crowd: Crowd, proxy: FaultProxy
    ) -> processes.Undo | None:
        match planned.fault:
            case ClockJump(by_s):
                self._clock.set(by_s)
                return lambda: self._clock.set(0.0)
            case FullDisk():
                if not self._small_disk:
                    happened.note = "not done: the disk is not one of its own"
                    return None
                ballast = disk.fill(self._folder / STATE)
                return lambda: ballast.unlink(missing_ok=True)
            case Kill() if planned.target == "supervisor":
                await _to_its_end(self._reboot, runtime)
                happened.note = await self._start_again(runtime)
                return None
            case Kill() | Freeze() | Starve() | Memory() | Descriptors() as fault:
                process = await self._find(planned.target, runtime, crowd)
                if process is None:
                    happened.note = "not done: it was not there"
                    return None
                happened.note = f"pid {process.pid}"
                return processes.begin(fault, process)
            case network:
                proxy.on(network)
                return lambda: proxy.off(network)

    async def _find(self, target: str, runtime: Runtime, crowd: Crowd) -> psutil.Process | None:
        found: list[psutil.Process] = []

        def look() -> bool:
            with contextlib.suppress(psutil.Error):
                found.extend(self._candidates(target, runtime, crowd))
            return bool(found)

        await until(look, FIND_S)
        return found[int(self._rng.random() * len(found))] if found else None

    def _candidates(self, target: str, runtime: Runtime, crowd: Crowd) -> list[psutil.Process]:
        match target:
            case "supervisor":
                return [psutil.Process(runtime.info.pid)]
            case "worker":
                return runtime.workers()
            case "reporter" | "watcher":
                return [psutil.Process(pid) for pid in crowd.pids(target)]
            case _:
                process = runtime.processes().get(target)
                return [] if process is None else [process]

    # --- the end ----------------------------------------------------------------------------

    async def _settle(self, runtime: Runtime, crowd: Crowd) -> None:
        """No fault any more: everything that was begun ends, and everybody hears of it. If not, the checker says so."""
        await crowd.finish()
        await until(lambda: not unfinished(runtime.folders.journal), QUIET_S)
        await crowd.converged(read_journal(runtime.folders.journal).head, CONVERGE_S)

    def _left(self, run: _Run) -> Left:
        with_processes = [sample for sample in run.samples if len(sample.memory_bytes) >= 4]
        if not with_processes:
            raise StartError("the runtime never had all of its processes", hint="see its logs")
        first, last = with_processes[0], run.samples[-1]
        return Left(
            processes=_processes_of(self._folder),
            files=_files_of(self._settings),
            memory_bytes={
                name: (first.memory_bytes.get(name, value), value) for name, value in last.memory_bytes.items()
            },
            descriptors={name: (first.descriptors.get(name, value), value) for name, value in last.descriptors.items()},
        )

    # --- looking ----------------------------------------------------------------------------

    async def _look(self, run: _Run, runtime: Runtime, crowd: Crowd) -> None:
        while True:
            run.samples.append(_sample(run, runtime, crowd))
            if self._on_look is not None:
                self._on_look(run.samples[-1], [one for one in run.happened if one.ended_s is None])
            await asyncio.sleep(SAMPLE_S)


async def _to_its_end(work: Callable[P, T], *arguments: P.args, **options: P.kwargs) -> T:
    """In a thread; whoever is cancelled meanwhile waits for it: half a start is nothing that can be stopped."""
    task = asyncio.ensure_future(asyncio.to_thread(work, *arguments, **options))
    try:
        return await asyncio.shield(task)
    except asyncio.CancelledError:
        await asyncio.wait([task])
        raise


@contextlib.asynccontextmanager
async def _while_looking(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    task = asyncio.create_task(work)
    try:
        yield
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def _sample(run: _Run, runtime: Runtime, crowd: Crowd) -> Sample:
    memory: dict[str, int] = {}
    descriptors: dict[str, int] = {}
    with contextlib.suppress(psutil.Error):
        for name, process in runtime.processes().items():
            with contextlib.suppress(psutil.Error):
                memory[name] = process.memory_info().rss
                descriptors[name] = process.num_fds()
    return Sample(
        at_s=round(time.monotonic() - run.began_s, 2),
        accepted=crowd.accepted,
        events=crowd.events,
        silent_s=round(crowd.silence_s(), 2),
        memory_bytes=memory,
        descriptors=descriptors,
    )


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _processes_of(folder: Path) -> list[str]:
    """Processes that belong to a run, by their command lines and environments."""
    mark = str(folder)
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error):
            if process.pid in (psutil.Process().pid, psutil.Process().ppid()):
                continue
            told = [*process.cmdline(), *process.environ().values()]
            if any(mark in one for one in told) and process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid} ({' '.join(process.cmdline())[:120]})")
    return found


def _files_of(settings: Settings) -> list[str]:
    """Sockets and secrets in the runtime's folder, and what renders need only while they run."""
    where = folders(settings)
    sockets = [str(path) for path in where.runtime.rglob("*") if stat.S_ISSOCK(path.lstat().st_mode)]
    files = [str(path) for path in (where.connection, where.token) if path.exists()]
    frames = [str(path) for path in where.frames.iterdir()] if where.frames.exists() else []
    return [*sockets, *files, *frames]
