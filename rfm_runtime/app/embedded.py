"""`ProgressReportingServer`: broker and gateway on one background thread of somebody's program.

The same parts as `rfm-runtime start`, without processes of their own: what blocks or ends the program, blocks or ends
them. Everything but `start` and `stop` happens in the thread's loop.
"""

from __future__ import annotations

import asyncio
import atexit
import contextlib
import logging
import os
import shutil
import socket
import tempfile
import threading
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import Protocol

import zmq

from rfm_runtime import __version__
from rfm_runtime.app.folders import Claim, claim, listen, prepare, remove_run_files
from rfm_runtime.broker.broker import Broker
from rfm_runtime.broker.broker import Endpoints as BrokerEndpoints
from rfm_runtime.client.connection_file import ConnectionInfo
from rfm_runtime.client.reporting.session import session
from rfm_runtime.client.reporting.where import serve_here, serve_here_no_more
from rfm_runtime.config import Folders, Settings, folders, load
from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.errors import AlreadyRunningError, BadRequestError, InsecureBindError, RfmError, StartError
from rfm_runtime.gateway.gateway import Endpoints as GatewayEndpoints
from rfm_runtime.gateway.gateway import Gateway
from rfm_runtime.observe.alive import source, start_time_s
from rfm_runtime.observe.resources import ResourceMonitor
from rfm_runtime.render.request import validate
from rfm_runtime.security import token as tokens
from rfm_runtime.security.jwt_authenticator import JWTAuthenticator
from rfm_runtime.security.rate_limiter import RateLimiter
from rfm_runtime.store.journal import Journal, SqliteJournal
from rfm_runtime.store.memory import MemoryJournal

__all__ = ["Authenticator", "ProgressReportingServer"]

log = logging.getLogger("rfm_runtime")

FLUSH_S = 1.0
"""How long `stop` waits for outcomes of this program that are on their way."""

SLOTS = 64
"""Servers of one user without a state folder and a port of their own, at the same time."""


class Authenticator(Protocol):
    """Says whose token it is: `JWTAuthenticator`, or the program's own."""

    def authenticate(self, token: str) -> Grant | None:
        """What the token grants; None: nothing. Called for each connection; raises nothing."""
        ...


class ProgressReportingServer:
    """A server for the progress of this program, its children, and whoever has its address and a token.

    host, port: where watchers connect; port 0 takes any free one, `url` says which. authenticator: whose tokens are
    taken; the server's own `token`, for its own user, is taken as well. rate_limiter: how fast messages are taken.
    resource_monitor: started and stopped with the server. state_dir: where its journal is kept; by default a folder of
    the user's state that belongs to the port. memory: keep nothing on disk, and forget everything at `stop`.

    Several may run in one process. `ProgressReporter`, `track` and `progress` of this process and of its forked
    children report to the first that runs. Usable as a context manager, and within a running event loop. Raises
    InsecureBindError for an address that others can reach, BadRequestError, ConfigError.
    """

    def __init__(
        self,
        host: str = "127.0.0.1",
        port: int = 8765,
        authenticator: Authenticator | None = None,
        rate_limiter: RateLimiter | None = None,
        resource_monitor: ResourceMonitor | None = None,
        *,
        state_dir: str | Path | None = None,
        memory: bool = False,
    ) -> None:
        if memory and state_dir is not None:
            raise BadRequestError("memory and state_dir exclude each other", hint="leave one of them out")
        try:
            load({"host": host, "port": port})
        except InsecureBindError as error:
            if isinstance(authenticator, JWTAuthenticator) and authenticator.is_weak:
                raise InsecureBindError(
                    f"{error.message}; and the secret of its tokens is too short to face others",
                    hint=f"{error.hint}; make a secret of 32 bytes with secrets.token_hex(32)",
                ) from None
            raise
        self._host = host
        self._port = port
        self._authenticator = authenticator
        self._rate_limiter = rate_limiter
        self._monitor = resource_monitor
        self._state_dir = None if state_dir is None else Path(state_dir)
        self._memory = memory
        self._lock = threading.Lock()
        self._running: _Running | None = None
        _servers.add(self)

    @property
    def is_running(self) -> bool:
        """Between `start` and `stop`, in the process that started it."""
        running = self._running
        return running is not None and running.pid == os.getpid() and running.thread.is_alive()

    @property
    def url(self) -> str:
        """Where watchers connect, e.g. ws://127.0.0.1:8765. Raises StartError before `start`."""
        return self._now().url

    @property
    def token(self) -> str:
        """The server's own token: whoever has it may do everything. Raises StartError before `start`."""
        return self._now().token

    @property
    def runtime_dir(self) -> Path:
        """For `rfm-runtime watch --runtime-dir`, and RFM_RUNTIME_DIR of other processes of this user."""
        return self._now().folders.runtime

    def _now(self) -> _Running:
        if self._running is None:
            raise StartError("the server does not run", hint="call start() first")
        return self._running

    def start(self) -> None:
        """Serve from now on; returns once watchers can connect. Idempotent.

        Raises PortTakenError, AlreadyRunningError if the state folder is in use, StartError, JournalError.
        """
        with self._lock:
            if self.is_running:
                return
            settings, held = self._claimed()
            try:
                self._running = _Running(settings, held, self._journal, self._authenticator, self._monitor)
            except BaseException:
                _remove(folders(settings), forget=self._memory)
                held.close()
                raise
            serve_here(self._running.folders)
            atexit.register(self.stop)

    def _claimed(self) -> tuple[Settings, Claim]:
        runtime_dir = _private_folder()
        busy: AlreadyRunningError | None = None
        for state_dir in self._states(runtime_dir):
            options = {"host": self._host, "port": self._port, "runtime_dir": str(runtime_dir)}
            options |= {"state_dir": str(state_dir), "cache_dir": str(state_dir / "cache")}
            try:
                settings = load(options).settings
                prepare(folders(settings))
                held = claim(folders(settings))
            except AlreadyRunningError as error:
                busy = error
                continue
            except BaseException:
                shutil.rmtree(runtime_dir, ignore_errors=True)
                raise
            return settings if self._rate_limiter is None else self._rate_limiter.applied(settings), held
        shutil.rmtree(runtime_dir, ignore_errors=True)
        raise busy or StartError("no state folder is free", hint="name one with state_dir")

    def _states(self, runtime_dir: Path) -> Iterator[Path]:
        """Folders to keep the journal in; the first that no other server has."""
        if self._memory:
            yield runtime_dir / "state"
        elif self._state_dir is not None:
            yield self._state_dir.expanduser().absolute()
        else:
            home = Path(load().settings.state_dir) / "embedded"
            if self._port:
                yield home / f"port-{self._port}"
            else:
                yield from (home / f"any-{number}" for number in range(SLOTS))

    def _journal(self, found: Folders) -> Journal:
        return MemoryJournal() if self._memory else SqliteJournal(found.journal)

    def stop(self) -> None:
        """Say goodbye to watchers, keep what was accepted, leave no thread, socket or file of a run. Idempotent."""
        with self._lock:
            running, self._running = self._running, None
            if running is None or running.pid != os.getpid():
                return
            atexit.unregister(self.stop)
            if session().began:
                session().flush(FLUSH_S)
            serve_here_no_more(running.folders)
            running.stop()
            _remove(running.folders, forget=self._memory)
            running.held.close()

    def __enter__(self) -> ProgressReportingServer:
        self.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop()

    def _forked(self) -> None:
        """In a child: the thread is not here, and the port and the folders are the parent's."""
        self._lock = threading.Lock()
        if self._running is not None:
            self._running.let_go()


class _Running:
    """One run, from a bound port to the thread's end."""

    def __init__(
        self,
        settings: Settings,
        held: Claim,
        journal: _MakeJournal,
        authenticator: Authenticator | None,
        monitor: ResourceMonitor | None,
    ) -> None:
        self.pid = os.getpid()
        self.settings = settings
        self.held = held
        self.folders = folders(settings)
        self.token = tokens.mint()
        self._make_journal = journal
        self._authenticator = authenticator
        self._monitor = monitor
        self._own = tokens.RuntimeToken(self.token)
        self._failed: BaseException | None = None
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping: asyncio.Event | None = None
        self._listener = listen(settings)
        self._served: socket.socket | None = None
        host, port = self._listener.getsockname()[:2]
        self.url = f"ws://[{host}]:{port}" if ":" in host else f"ws://{host}:{port}"
        self.thread = threading.Thread(target=self._run, name="rfm-server", daemon=True)
        try:
            remove_run_files(self.folders)
            self.thread.start()
            self._await_ready()
            ConnectionInfo(
                url=self.url,
                token=self.token,
                pid=self.pid,
                start_time=start_time_s(self.pid) or 0.0,
                version=__version__,
                state_dir=settings.state_dir,
            ).write(self.folders.connection)
        except BaseException:
            self.stop()
            raise

    def _await_ready(self) -> None:
        in_time = self._ready.wait(self.settings.start_timeout_s)
        if isinstance(self._failed, RfmError):
            raise self._failed
        if self._failed is not None:
            raise StartError(f"the server cannot start: {self._failed}") from self._failed
        if not in_time:
            raise StartError(f"the server did not become ready within {self.settings.start_timeout_s:g} s")

    def stop(self) -> None:
        """End the thread, and wait for it."""
        loop, stopping = self._loop, self._stopping
        if loop is not None and stopping is not None:
            # It may have ended by itself.
            with contextlib.suppress(RuntimeError):
                loop.call_soon_threadsafe(stopping.set)
        if self.thread.ident is not None:
            self.thread.join()
        self._listener.close()

    def let_go(self) -> None:
        """In a forked child."""
        for listener in (self._listener, self._served):
            if listener is not None:
                listener.close()
        self.held.close()

    def authenticate(self, offered: str) -> Grant | None:
        """What a token grants."""
        own = self._own.authenticate(offered)
        if own is not None or self._authenticator is None:
            return own
        try:
            return self._authenticator.authenticate(offered)
        except Exception:
            # The program's own: nobody gets in by its fault.
            log.warning("the authenticator failed, and nobody was let in", exc_info=True)
            return None

    def _run(self) -> None:
        try:
            asyncio.run(self._serve())
        except BaseException as error:
            self._failed = error
            if self._ready.is_set():
                log.exception("the server has ended")
        finally:
            self._ready.set()

    async def _serve(self) -> None:
        self._stopping = asyncio.Event()
        self._loop = asyncio.get_running_loop()
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        endpoint = self.folders.endpoint
        broker = Broker(
            self.settings,
            BrokerEndpoints(*(endpoint(name) for name in ("command", "control", "feed", "ingest"))),
            self._make_journal(self.folders),
            validators={"render.escape_time": validate},
            context=context,
        )
        try:
            broker.start()
            gateway = Gateway(
                self.settings,
                source=source("gateway-0", 1),
                authenticate=self.authenticate,
                endpoints=GatewayEndpoints(*(endpoint(name) for name in ("command", "feed", "control", "ingest"))),
                context=context,
            )
            # Its own descriptor: `stop` closes the other one whatever became of the server.
            self._served = self._listener.dup()
            await gateway.start(self._served)
            try:
                await gateway.ready.wait()
                self._ready.set()
                with self._monitored():
                    await self._stopping.wait()
            finally:
                await gateway.stop()
        finally:
            await broker.stop()
            context.destroy(linger=0)

    @contextlib.contextmanager
    def _monitored(self) -> Iterator[None]:
        monitor = self._monitor
        if monitor is None:
            yield
            return
        monitor.watch_loop(asyncio.get_running_loop())
        with monitor:
            yield


class _MakeJournal(Protocol):
    def __call__(self, found: Folders, /) -> Journal: ...


def _private_folder() -> Path:
    """A new one, 0700, whose socket paths are short enough."""
    for parent in (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir()):
        if parent and len(parent) < PARENT_LIMIT and Path(parent).is_dir() and os.access(parent, os.W_OK):
            return Path(tempfile.mkdtemp(prefix="rfm-", dir=parent))
    return Path(tempfile.mkdtemp(prefix="rfm-", dir="/tmp"))


PARENT_LIMIT = 70
"""Of the 107 bytes of a socket's path (unix(7)), the rest is the folder's and the socket's name."""


def _remove(found: Folders, *, forget: bool) -> None:
    remove_run_files(found)
    shutil.rmtree(found.runtime, ignore_errors=True)
    if forget:
        shutil.rmtree(found.state, ignore_errors=True)


_servers: weakref.WeakSet[ProgressReportingServer] = weakref.WeakSet()


def _forked() -> None:
    for server in list(_servers):
        server._forked()


os.register_at_fork(after_in_child=_forked)
