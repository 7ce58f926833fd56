"""Worker processes: started by a forkserver that has the kernels loaded, watched by pipe and sentinel.

Used in the engine's loop thread; only starting a process, which may wait for the forkserver, happens in
another thread. No shared queue and no shared lock: a killed holder would deadlock the rest.
"""

from __future__ import annotations

import asyncio
import re
import select
import signal
from collections.abc import Callable
from multiprocessing.connection import Connection
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import msgspec

from rfm_runtime.core.timing import Backoff
from rfm_runtime.engine import pipe
from rfm_runtime.engine.entry import enter
from rfm_runtime.engine.forking import forkserver_context
from rfm_runtime.engine.settings import WorkerSettings
from rfm_runtime.observe import logs
from rfm_runtime.observe.cgroups import OOM_LOOK_S, OomKills

__all__ = ["Pool", "PoolWorker"]

log = logs.get("engine")

OnMessage = Callable[[int, pipe.FromWorker], None]
OnDeath = Callable[[int, str, bool], None]
OnRead = Callable[[], None]

TAIL_CHARS = 200
TAIL_CALLS = 2
CALL = re.compile(r'\s*File "(.*/)?([^"/]+)", line (\d+) in (\w+)')

AGAIN = Backoff(base_s=0.1, cap_s=10.0)
"""Between starts that come to nothing."""


class PoolWorker:
    """One process and our end of its pipe."""

    def __init__(self, number: int, process: ForkServerProcess, connection: Connection) -> None:
        self.number = number
        self.process = process
        self.connection = connection
        self.killed = False
        self.ready = False


class Pool:
    """Keeps `count` workers alive. Every message and every death is passed on.

    settings_of: of worker `number`, which its successors inherit, and the how-manieth start of this pool.
    on_read: called once all messages that were there have been passed on.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        count: int,
        settings_of: Callable[[int, int], WorkerSettings],
        *,
        logs_folder: Path,
        on_message: OnMessage,
        on_read: OnRead,
        on_death: OnDeath,
    ) -> None:
        self._loop = loop
        self.count = count
        self._settings_of = settings_of
        self._logs = logs_folder
        self._on_message = on_message
        self._on_read = on_read
        self._on_death = on_death
        self._context = forkserver_context()
        self._workers: dict[int, PoolWorker] = {}
        self._starts = 0
        # Of starts in a row that came to nothing.
        self._failures = 0
        self._due: dict[int, asyncio.TimerHandle] = {}
        # All pipes under one descriptor: the loop looks away from them, and back, by one call.
        self._pipes = select.epoll()
        self._by_descriptor: dict[int, PoolWorker] = {}
        self._resting: asyncio.TimerHandle | None = None
        self._starting: set[asyncio.Task[None]] = set()
        self._oom_kills = OomKills()
        self._looking: asyncio.TimerHandle | None = None
        self._closed = False

    def start(self) -> None:
        """Begin to start all workers."""
        self._loop.add_reader(self._pipes.fileno(), self._read)
        self._look()
        for number in range(1, self.count + 1):
            self._start_one(number)

    def _look(self) -> None:
        self._oom_kills.look(self._loop.time())
        self._looking = self._loop.call_later(OOM_LOOK_S, self._look)

    def _start_one(self, number: int) -> None:
        self._due.pop(number, None)
        task = self._loop.create_task(self._spawn(number))
        self._starting.add(task)
        task.add_done_callback(self._starting.discard)

    def _start_again(self, number: int) -> None:
        """At once after a worker that worked; later and later while none comes up."""
        if self._closed:
            return
        if self._failures == 0:
            self._start_one(number)
            return
        self._due[number] = self._loop.call_later(AGAIN.bound_s(self._failures - 1), self._start_one, number)

    async def _spawn(self, number: int) -> None:
        self._starts += 1
        pipes: list[Connection] = []
        try:
            pipes += self._context.Pipe()
            encoded = msgspec.msgpack.encode(self._settings_of(number, self._starts))
            process = self._context.Process(
                target=enter, args=(pipes[1], encoded), name=f"worker-{number}", daemon=True
            )
            # Waits until the forkserver has loaded the kernels.
            await asyncio.to_thread(process.start)
        except (OSError, EOFError) as error:
            # No process or descriptor left, or the forkserver has died, which the next try starts again.
            self._failures += 1
            log.warning("worker_not_started", worker=number, error=str(error) or type(error).__name__)
            for end in pipes:
                end.close()
            self._start_again(number)
            return
        ours, theirs = pipes
        theirs.close()
        worker = PoolWorker(number, process, ours)
        self._workers[number] = worker
        self._by_descriptor[ours.fileno()] = worker
        self._pipes.register(ours.fileno(), select.EPOLLIN)
        self._loop.add_reader(process.sentinel, self._ended, worker)
        if self._closed:
            self.kill(number)

    def send(self, number: int, message: pipe.ToWorker) -> None:
        """A message; one to a worker that is gone is lost, and its death will be told."""
        worker = self._workers.get(number)
        if worker is None:
            return
        try:
            worker.connection.send_bytes(pipe.encode(message))
        except (BrokenPipeError, ConnectionResetError):
            log.info("message_to_dead_worker", worker=number)

    def kill(self, number: int) -> None:
        """SIGKILL; its death is told as one that we wanted."""
        worker = self._workers.get(number)
        if worker is not None:
            worker.killed = True
            worker.process.kill()

    @property
    def ready(self) -> int:
        """Workers that take tasks."""
        return sum(worker.ready for worker in self._workers.values())

    async def close(self, timeout_s: float = 1.0) -> None:
        """Close the pipes, which ends idle workers; kill the rest. Idempotent."""
        self._closed = True
        if self._looking is not None:
            self._looking.cancel()
        for due in self._due.values():
            due.cancel()
        for task in list(self._starting):
            await asyncio.wait([task])
        for worker in list(self._workers.values()):
            self._forget(worker)
        self.attend()
        self._loop.remove_reader(self._pipes.fileno())
        self._pipes.close()
        deadline_s = self._loop.time() + timeout_s
        for worker in list(self._workers.values()):
            left_s = max(0.0, deadline_s - self._loop.time())
            await asyncio.to_thread(worker.process.join, left_s)
            if worker.process.is_alive():
                worker.process.kill()
                await asyncio.to_thread(worker.process.join)
        self._workers.clear()

    def rest(self, for_s: float) -> None:
        """Leave messages unread for a while. Deaths are told at once all the same, after what was said before."""
        if self._resting is None:
            self._loop.remove_reader(self._pipes.fileno())
            self._resting = self._loop.call_later(for_s, self.attend)

    def attend(self) -> None:
        """Read messages from now on. Does nothing unless resting."""
        if self._resting is not None:
            self._resting.cancel()
            self._resting = None
            self._loop.add_reader(self._pipes.fileno(), self._read)

    def _forget(self, worker: PoolWorker) -> None:
        self._loop.remove_reader(worker.process.sentinel)
        if not worker.connection.closed:
            self._leave(worker)
            worker.connection.close()

    def _leave(self, worker: PoolWorker) -> None:
        """Its pipe is read no more."""
        descriptor = worker.connection.fileno()
        if self._by_descriptor.pop(descriptor, None) is not None:
            self._pipes.unregister(descriptor)

    def _read(self) -> None:
        """All messages that are there, of all workers."""
        while ready := self._pipes.poll(0):
            for descriptor, _ in ready:
                self._read_one(self._by_descriptor[descriptor])
        self._on_read()

    def _read_one(self, worker: PoolWorker) -> None:
        """One message that is there. An end, be it in mid-message, is left to the sentinel, which comes with it."""
        try:
            message = pipe.decode_from(worker.connection.recv_bytes())
        except (EOFError, OSError):
            self._leave(worker)
            return
        if isinstance(message, pipe.Ready):
            worker.ready = True
            self._failures = 0
        self._on_message(worker.number, message)

    def _ended(self, worker: PoolWorker) -> None:
        # What it said before it died still counts: the pipe keeps it.
        while worker in self._by_descriptor.values() and worker.connection.poll():
            self._read_one(worker)
        self._forget(worker)
        worker.process.join()
        self._workers.pop(worker.number, None)
        cause = self._cause(worker)
        worker.process.close()
        if not worker.ready:
            self._failures += 1
        self._on_death(worker.number, cause, worker.killed)
        self._start_again(worker.number)

    def _cause(self, worker: PoolWorker) -> str:
        """What it died of: signal or exit code, who sent it as far as can be told, the tail of what it left."""
        code = worker.process.exitcode
        if code is None:
            return "unknown"
        if code >= 0:
            return f"exit code {code}{_tail(self._logs, worker.number)}"
        name = signal.Signals(-code).name
        if name == "SIGKILL" and not worker.killed:
            if self._oom_kills.claim(self._loop.time()):
                return "out-of-memory kill (SIGKILL by the kernel, which counts one more)"
            return "SIGKILL that this runtime did not send, and the kernel counts no out-of-memory kill"
        return f"{name}{_tail(self._logs, worker.number)}"


def _tail(logs_folder: Path, number: int) -> str:
    """The end of what faulthandler or a traceback left: what it was, and where in its compute thread."""
    path = logs_folder / f"worker-{number}.fault"
    try:
        lines = path.read_text(encoding="utf-8", errors="replace").strip().splitlines()
    except OSError:
        return ""
    if not lines:
        return ""
    if not lines[0].startswith("Fatal"):
        return f" ({lines[-1].strip()[:TAIL_CHARS]})"
    # The thread that died is the first that is listed; the innermost call comes first.
    calls = [match.expand(r"\2:\3 in \4") for match in map(CALL.fullmatch, lines) if match is not None]
    return f" ({'; '.join([lines[0].strip(), *calls[:TAIL_CALLS]])[:TAIL_CHARS]})"
