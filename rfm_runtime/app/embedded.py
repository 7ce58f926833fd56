"""`ProgressReportingServer`: broker and gateway on one background thread of somebody's program.

The same parts as `rfm-runtime start`, without processes of their own: what blocks or ends the program, blocks or ends
them. Everything but `start` and `stop` happens in the thread's loop.
"""

from __future__ import annotations

import atexit
import os
import threading
import warnings
import weakref
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType
from typing import TYPE_CHECKING, Any, Protocol

from rfm_runtime.app.address import PLAIN_WARNING, plain_off_loopback
from rfm_runtime.client.reporting.session import session
from rfm_runtime.client.reporting.where import serve_here, serve_here_no_more
from rfm_runtime.config import Settings, is_loopback, load
from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.errors import BadRequestError, InsecureBindError, MissingExtraError, StartError
from rfm_runtime.security.jwt_authenticator import JWTAuthenticator

if TYPE_CHECKING:
    from rfm_runtime.app.embedded_run import Run
    from rfm_runtime.observe.resources import ResourceMonitor
    from rfm_runtime.security.rate_limiter import RateLimiter

__all__ = ["Authenticator", "ProgressReportingServer"]

FLUSH_S = 1.0
"""How long `stop` waits for outcomes of this program that are on their way."""

SLOTS = 64
"""Servers of one user without a state folder and a port of their own, at the same time."""


class Authenticator(Protocol):
    """Says whose token it is: `JWTAuthenticator`, or the program's own."""

    def authenticate(self, token: str) -> Grant | None:
        """What the token grants; None: nothing. Called for each connection.

        May raise UnavailableError if it cannot say yet: whoever shows the token is told to come again; and
        TokenExpiredError for one that was valid once, which is told as well.
        """
        ...


class ProgressReportingServer:
    """A server for the progress of this program, its children, and whoever has its address and a token.

    host, port: where watchers connect; port 0 takes any free one, `url` says which. authenticator: whose tokens are
    taken; the server's own `token`, for its own user, is taken as well. rate_limiter: how fast messages are taken.
    resource_monitor: started and stopped with the server. state_dir: where its journal is kept; by default a folder of
    the user's state that belongs to the port. memory: keep nothing on disk, and forget everything at `stop`.

    certificate, key: PEM files; with them everything is TLS (wss://). client_ca: PEM of the authorities whose client
    certificates are taken; client_crl: which of those they have revoked; users: TOML that says who they are;
    client_auth: nobody comes in without one. Newer files are used as they come. allow_insecure: plain text for others
    to read, without TLS.

    Several may run in one process. `ProgressReporter`, `track` and `progress` of this process and of its forked
    children report to the first that runs. Usable as a context manager, and within a running event loop. Raises
    InsecureBindError for plain text on an address that others can reach, BadRequestError, ConfigError.
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
        certificate: str | Path | None = None,
        key: str | Path | None = None,
        client_ca: str | Path | None = None,
        client_crl: str | Path | None = None,
        client_auth: bool = False,
        users: str | Path | None = None,
        allow_insecure: bool | None = None,
    ) -> None:
        if memory and state_dir is not None:
            raise BadRequestError("memory and state_dir exclude each other", hint="leave one of them out")
        files = {
            "tls_certificate": certificate,
            "tls_key": key,
            "tls_client_ca": client_ca,
            "tls_client_crl": client_crl,
            "tls_users": users,
        }
        self._options: dict[str, Any] = {
            "host": host,
            "port": port,
            **{name: str(path) for name, path in files.items() if path is not None},
            **({"tls_client_auth": "required"} if client_auth else {}),
            **({} if allow_insecure is None else {"allow_insecure": allow_insecure}),
        }
        is_weak = isinstance(authenticator, JWTAuthenticator) and authenticator.is_weak
        try:
            resolved = _settings(**self._options)
        except InsecureBindError as error:
            if is_weak:
                raise InsecureBindError(
                    f"{error.message}; and the secret of its tokens is too short to face others",
                    hint=f"{error.hint}; make a secret of 32 bytes with secrets.token_hex(32)",
                ) from None
            raise
        if is_weak and not is_loopback(host):
            raise InsecureBindError(
                f"the secret of its tokens is too short for a server on {host}, which others can reach",
                hint="make a secret of 32 bytes with secrets.token_hex(32)",
            )
        if plain_off_loopback(resolved):
            warnings.warn(PLAIN_WARNING, stacklevel=2)
        self._authenticator = authenticator
        self._rate_limiter = rate_limiter
        self._monitor = resource_monitor
        self._state_dir = None if state_dir is None else Path(state_dir)
        self._memory = memory
        self._lock = threading.Lock()
        self._running: Run | None = None
        _servers.add(self)

    @property
    def is_running(self) -> bool:
        """Between `start` and `stop`, in the process that started it."""
        running = self._running
        return running is not None and running.pid == os.getpid() and running.thread.is_alive()

    @property
    def url(self) -> str:
        """Where watchers on this machine connect, e.g. ws://127.0.0.1:8765. Raises StartError before `start`."""
        return self._now().url

    @property
    def token(self) -> str:
        """The server's own token: whoever has it may do everything. Raises StartError before `start`."""
        return self._now().token

    @property
    def runtime_dir(self) -> Path:
        """For `rfm-runtime watch --runtime-dir`, and RFM_RUNTIME_DIR of other processes of this user."""
        return self._now().folders.runtime

    def _now(self) -> Run:
        if self._running is None:
            raise StartError("the server does not run", hint="call start() first")
        return self._running

    def start(self) -> None:
        """Serve from now on; returns once watchers can connect. Idempotent.

        Raises PortTakenError, AlreadyRunningError if the state folder is in use, CertificateError for files of TLS
        that cannot be used, StartError, JournalError.
        """
        with self._lock:
            if self.is_running:
                return
            self._end()
            try:
                # Loaded when it is needed: who only reports has less installed.
                from rfm_runtime.app.embedded_run import begin
            except ImportError:
                raise MissingExtraError("ProgressReportingServer", "server") from None
            self._running = begin(
                self._options,
                self._states,
                memory=self._memory,
                limiter=self._rate_limiter,
                authenticator=self._authenticator,
                monitor=self._monitor,
            )
            serve_here(self._running.folders)
            atexit.register(self.stop)

    def _states(self, runtime_dir: Path) -> Iterator[Path]:
        """Folders to keep the journal in; the first that no other server has."""
        if self._memory:
            yield runtime_dir / "state"
        elif self._state_dir is not None:
            yield self._state_dir.expanduser().absolute()
        else:
            home = Path(_settings().state_dir) / "embedded"
            if self._options["port"]:
                yield home / f"port-{self._options['port']}"
            else:
                yield from (home / f"any-{number}" for number in range(SLOTS))

    def stop(self) -> None:
        """Say goodbye to watchers, keep what was accepted, leave no thread, socket or file of a run. Idempotent."""
        with self._lock:
            if self.is_running and session().began:
                session().flush(FLUSH_S)
            self._end()

    def _end(self) -> None:
        """Of a run that has ended by itself, what it has left is removed as well."""
        running, self._running = self._running, None
        if running is not None and running.pid == os.getpid():
            atexit.unregister(self.stop)
            serve_here_no_more(running.folders)
            running.end()

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


def _settings(**options: Any) -> Settings:
    # Sockets are in a folder of its own, whatever the user's is.
    return load({"runtime_dir": "/", **options}).settings


_servers: weakref.WeakSet[ProgressReportingServer] = weakref.WeakSet()


def _forked() -> None:
    for server in list(_servers):
        server._forked()


os.register_at_fork(after_in_child=_forked)
