"""One run of an embedded server: its folders, its port, its thread, and what is served in it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import shutil
import socket
import tempfile
import threading
from collections.abc import Callable, Iterable, Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import zmq

from rfm_runtime.app.address import certified, make_known, url_of
from rfm_runtime.app.folders import Claim, claim, listen, prepare, remove_run_files
from rfm_runtime.broker.broker import Broker
from rfm_runtime.config import Settings, folders, load
from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.errors import AlreadyRunningError, RfmError, StartError, TokenExpiredError, UnavailableError
from rfm_runtime.gateway.gateway import Gateway
from rfm_runtime.gateway.listener import Listener
from rfm_runtime.observe.alive import source
from rfm_runtime.observe.audit import audited
from rfm_runtime.observe.redaction import hide
from rfm_runtime.observe.resources import ResourceMonitor
from rfm_runtime.render.request import validate
from rfm_runtime.security import token as tokens
from rfm_runtime.security.authority import Authority
from rfm_runtime.security.jwt_authenticator import JWTAuthenticator
from rfm_runtime.security.rate_limiter import RateLimiter
from rfm_runtime.store.journal import Journal, open_journal
from rfm_runtime.store.memory import MemoryJournal

if TYPE_CHECKING:
    from rfm_runtime.app.embedded import Authenticator

__all__ = ["Run", "begin"]

log = logging.getLogger("rfm_runtime")

PARENT_LIMIT = 70
"""Of the 107 bytes of a socket's path (unix(7)), the rest is the folder's and the socket's name."""

States = Callable[[Path], Iterable[Path]]
"""Folders to keep the journal in, given the private one; the first that no other server has is taken."""


def begin(
    options: Mapping[str, Any],
    states: States,
    *,
    memory: bool,
    limiter: RateLimiter | None,
    authenticator: Authenticator | None,
    monitor: ResourceMonitor | None,
) -> Run:
    """A run that serves. Raises what `ProgressReportingServer.start` says, and leaves nothing then."""
    settings, held = _claimed(options, states)
    if limiter is not None:
        settings = limiter.applied(settings)
    try:
        return Run(settings, held, memory=memory, authenticator=authenticator, monitor=monitor)
    except BaseException:
        _remove(settings, forget=memory)
        held.close()
        raise


def _claimed(options: Mapping[str, Any], states: States) -> tuple[Settings, Claim]:
    runtime_dir = _private_folder()
    busy: AlreadyRunningError | None = None
    for state_dir in states(runtime_dir):
        places = {"runtime_dir": str(runtime_dir), "state_dir": str(state_dir), "cache_dir": str(state_dir / "cache")}
        try:
            settings = load({**options, **places}).settings
            prepare(folders(settings))
            return settings, claim(folders(settings))
        except AlreadyRunningError as error:
            busy = error
        except BaseException:
            shutil.rmtree(runtime_dir, ignore_errors=True)
            raise
    shutil.rmtree(runtime_dir, ignore_errors=True)
    raise busy or StartError("no state folder is free", hint="name one with state_dir")


def _private_folder() -> Path:
    """A new one, 0700, whose socket paths are short enough."""
    for parent in (os.environ.get("XDG_RUNTIME_DIR", ""), tempfile.gettempdir()):
        if parent and len(parent) < PARENT_LIMIT and Path(parent).is_dir() and os.access(parent, os.W_OK):
            return Path(tempfile.mkdtemp(prefix="rfm-", dir=parent))
    return Path(tempfile.mkdtemp(prefix="rfm-", dir="/tmp"))


def _remove(settings: Settings, *, forget: bool) -> None:
    found = folders(settings)
    remove_run_files(found)
    shutil.rmtree(found.runtime, ignore_errors=True)
    if forget:
        shutil.rmtree(found.state, ignore_errors=True)


class Run:
    """One run, from a bound port to the thread's end."""

    def __init__(
        self,
        settings: Settings,
        held: Claim,
        *,
        memory: bool,
        authenticator: Authenticator | None,
        monitor: ResourceMonitor | None,
    ) -> None:
        self.pid = os.getpid()
        self.settings = settings
        self._held = held
        self.folders = folders(settings)
        self.token = tokens.mint()
        hide(self.token)
        self._memory = memory
        self._authenticator = authenticator
        self._monitor = monitor
        self._authority = Authority(tokens.RuntimeToken(self.token))
        self._failed: BaseException | None = None
        self._ready = threading.Event()
        self._loop: asyncio.AbstractEventLoop | None = None
        self._stopping = asyncio.Event()
        # Before there is a loop to be told.
        self._ends = False
        self._tls = certified(settings)
        self._listener = listen(settings)
        self._served: Listener | None = None
        self.url = url_of(self._listener, settings)
        self.thread = threading.Thread(target=self._run, name="rfm-server", daemon=True)
        try:
            remove_run_files(self.folders)
            self.thread.start()
            self._await_ready()
            make_known(self._listener, settings, self.token, self._tls)
        except BaseException:
            self._stop()
            raise

    def _journal(self) -> Journal:
        return MemoryJournal(self.settings.finished_keep) if self._memory else open_journal(self.settings)

    def _await_ready(self) -> None:
        in_time = self._ready.wait(self.settings.start_timeout_s)
        if isinstance(self._failed, RfmError):
            raise self._failed
        if self._failed is not None:
            raise StartError(f"the server cannot start: {self._failed}") from self._failed
        if not in_time:
            raise StartError(f"the server did not become ready within {self.settings.start_timeout_s:g} s")

    def end(self) -> None:
        """End the thread, wait for it, and leave nothing of the run."""
        self._stop()
        _remove(self.settings, forget=self._memory)
        self._held.close()

    def _stop(self) -> None:
        self._ends = True
        if self._loop is not None:
            # It may have ended by itself.
            with contextlib.suppress(RuntimeError):
                self._loop.call_soon_threadsafe(self._stopping.set)
        if self.thread.ident is not None:
            self.thread.join()
        # A child that was just forked has it open too, until it comes to close it.
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()

    def let_go(self) -> None:
        """In a forked child."""
        for listener in (self._listener, self._served):
            if listener is not None:
                listener.close()
        self._held.close()

    def authenticate(self, offered: str) -> Grant | None:
        """What a token grants."""
        own = self._authority.authenticate(offered)
        if own is not None or self._authenticator is None:
            return own
        try:
            if isinstance(self._authenticator, JWTAuthenticator):
                return self._authenticator.sign_in(offered)
            return self._authenticator.authenticate(offered)
        except (UnavailableError, TokenExpiredError):
            # It cannot say yet; or it was valid once.
            raise
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
        self._loop = asyncio.get_running_loop()
        if self._ends:
            return
        journal = self._journal()
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        broker = Broker(
            self.settings,
            self.folders.endpoints,
            journal,
            validators={"render.escape_time": validate},
            context=context,
            last_words=self.folders.last_words,
        )
        try:
            broker.start()
        except BaseException:
            context.destroy(linger=0)
            raise
        try:
            with audited(self.settings, "server"):
                await self._serve_watchers(broker, context)
        finally:
            try:
                await broker.stop()
            finally:
                context.destroy(linger=0)

    async def _serve_watchers(self, broker: Broker, context: zmq.Context[zmq.Socket[bytes]]) -> None:
        gateway = Gateway(
            self.settings,
            source=source("gateway-0", 1),
            authenticate=self.authenticate,
            sign=self._authority.sign,
            keys=self._authenticator if isinstance(self._authenticator, JWTAuthenticator) else None,
            endpoints=self.folders.endpoints,
            context=context,
            tls=self._tls,
        )
        # Its own descriptor: `end` closes the other one whatever became of the server.
        self._served = Listener(self._listener.dup())
        await gateway.start(self._served)
        try:
            stopping = asyncio.ensure_future(self._stopping.wait())
            ready = asyncio.ensure_future(gateway.ready.wait())
            await asyncio.wait([stopping, ready], return_when=asyncio.FIRST_COMPLETED)
            ready.cancel()
            if not self._stopping.is_set():
                self._ready.set()
                with self._monitored(broker):
                    await stopping
        finally:
            await gateway.stop()

    @contextlib.contextmanager
    def _monitored(self, broker: Broker) -> Iterator[None]:
        monitor = self._monitor
        if monitor is None:
            yield
            return
        monitor.watch_loop(asyncio.get_running_loop())
        with monitor.telling(broker.used), monitor.shared():
            yield
