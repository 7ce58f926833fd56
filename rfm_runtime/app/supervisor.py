"""The supervisor: starts broker, engine and gateways, restarts what ends by itself, drains and stops them.

One thread, one selector over pidfds, readiness pipes and signals. It owns the folders' lock and the listening
socket, so that the port stays open while a gateway restarts. It never speaks ZeroMQ nor blocks on a child.
"""

from __future__ import annotations

import logging
import os
import selectors
import shutil
import signal
import socket
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext
from types import FrameType
from typing import TYPE_CHECKING

import msgspec

from rfm_runtime.app import parts
from rfm_runtime.app.address import PLAIN_WARNING, certified, make_known, plain_off_loopback, url_of
from rfm_runtime.app.child import Child
from rfm_runtime.app.folders import claim, listen, prepare, remove_run_files
from rfm_runtime.app.restarts import Restarts, ended, recent
from rfm_runtime.config import Settings, folders
from rfm_runtime.errors import RfmError, StartError
from rfm_runtime.observe import logs, troubles
from rfm_runtime.observe.audit import audited
from rfm_runtime.observe.cgroups import OOM_LOOK_S, OomKills
from rfm_runtime.observe.redaction import hide
from rfm_runtime.security import token
from rfm_runtime.security.authority import SECRET_VARIABLE, weakness

if TYPE_CHECKING:
    from rfm_runtime.security.server_tls import ServerTls

__all__ = ["CAUSE_CHARS", "OnStatus", "OnWaiting", "cause", "run"]

OnStatus = Callable[[str, bool], None]
OnWaiting = Callable[[str], None]

STOP_GRACE_S = 5.0
"""What a process gets beyond its own time-outs before it is killed."""

START_AGAIN_S = 0.5
"""After a process could not be started: what is missing does not come back within milliseconds."""

TROUBLES_S = 5.0
"""How often it is looked whether they are over."""

CAUSE_CHARS = 400
"""Of what is said of the last end of a process: a message with the path of a file, and what to do."""

ROOM_BYTES = 16 * 1024 * 1024
"""With less, journal and logs of an empty runtime do not get far."""

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


def run(
    settings: Settings,
    *,
    on_status: OnStatus | None = None,
    on_waiting: OnWaiting | None = None,
    ephemeral: bool = False,
) -> int:
    """Run a runtime in the foreground until a signal stops it; its exit code.

    The first SIGINT or SIGTERM drains, a second one stops at once. SIGHUP says that certificate files are others; where
    there is a terminal it says that this is gone, and drains. `on_status(text, ready)` is told
    how starting goes, `on_waiting(for_what)` once everything is up and waits for the broker on another host; it goes on
    by itself when that comes. ephemeral: the state and runtime folders are removed at the end.
    Raises AlreadyRunningError, PortTakenError, CertificateError, JournalError, StartError, SetupError. Call it in the
    main thread.
    """
    # Journal, frames, pictures and logs are nobody else's, whatever the mode of the folders that were there before.
    os.umask(0o077)
    where = folders(settings)
    weak = weakness(settings)
    parts.check(settings)
    opened = prepare(where)
    lock = claim(where)
    try:
        # Before anything listens: without what it takes to encrypt, nothing is served.
        tls = certified(settings) if settings.has_gateways else None
        with listen(settings) if settings.has_gateways else nullcontext() as listener:
            with _system_refusals():
                remove_run_files(where)
                logs.configure("supervisor", settings.log_level, where.logs)
                # A log that cannot be written is reported by nobody's traceback in the user's terminal.
                logging.raiseExceptions = False
                if opened:
                    # Whoever could read it may know what was in it.
                    logs.get("supervisor").warning("was_open_to_others", paths=[str(path) for path in opened])
                if weak is not None:
                    logs.get("supervisor").warning("weak_secret", what=weak)
            supervisor = _Supervisor(settings, listener, tls, on_status or _silent, on_waiting)
            try:
                return supervisor.run()
            finally:
                remove_run_files(where)
    finally:
        if ephemeral:
            shutil.rmtree(where.state, ignore_errors=True)
            shutil.rmtree(where.runtime, ignore_errors=True)
        lock.close()


@contextmanager
def _system_refusals() -> Iterator[None]:
    """A full disk, a missing permission, no process left: for the user, not for a traceback."""
    try:
        yield
    except OSError as error:
        where = f"{error.filename}: " if error.filename is not None else ""
        raise StartError(
            f"the runtime cannot start: {where}{error.strerror}", hint="see `rfm-runtime doctor`"
        ) from error


def cause(how: str, error: RfmError | None, tail: str) -> str:
    """Why a process ended, in a line: what it said of it, or else the end of what it wrote. Cut between words."""
    said = tail.splitlines()[-1:] if error is None else [f"{error.message}; {error.hint}"]
    text = ": ".join([how, *said])
    if len(text) <= CAUSE_CHARS:
        return text
    cut = text[: CAUSE_CHARS - 2]
    return f"{cut.rpartition(' ')[0] or cut} …"


def _has_terminal() -> bool:
    """Whether there is a terminal whose end would be told by SIGHUP."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC))
    except OSError:
        return False
    return True


def _silent(_text: str, _ready: bool) -> None:
    """Nobody asked how starting goes."""


class _Supervisor:
    """State of the one running supervisor; used by the main thread alone."""

    def __init__(
        self,
        settings: Settings,
        listener: socket.socket | None,
        tls: ServerTls | None,
        on_status: OnStatus,
        on_waiting: OnWaiting | None,
    ) -> None:
        self._settings = settings
        self._tls = tls
        self._folders = folders(settings)
        self._listener = listener
        self._on_status = on_status
        self._on_waiting = on_waiting
        self._log = logs.get("supervisor")
        self._selector = selectors.DefaultSelector()
        self._children: dict[str, Child] = {}
        self._restarts: dict[str, Restarts] = {}
        self._due: dict[str, float] = {}
        self._causes: dict[str, str] = {}
        self._known: set[str] = set()
        self._troubles: tuple[troubles.Trouble, ...] = ()
        self._oom_kills = OomKills()
        self._starts = 0
        self._stops = 0
        self._reloads = 0
        self._has_terminal = _has_terminal()
        self._announced = False
        self._serving = False
        self._has_been_ready = False
        self._told = ""

    # --- life -------------------------------------------------------------------------------

    def run(self) -> int:
        with self._signals():
            with _system_refusals():
                self._write_run_files()
            # What cannot even be begun, on a full disk, is told to whoever starts it and to nobody else.
            with audited(self._settings, "supervisor"):
                try:
                    with _system_refusals():
                        for name in parts.names(self._settings):
                            self._start(name)
                    self._await_up()
                    if not self._stops:
                        self._serve()
                finally:
                    self._shut_down()
        return 0

    def _write_run_files(self) -> None:
        secret = token.mint()
        hide(secret)
        token.write_private(self._folders.token, secret + "\n")
        token.write_private(self._folders.settings, msgspec.json.encode(self._settings).decode())

    def _start(self, name: str) -> None:
        component = name.partition("-")[0]
        self._starts += 1
        child = Child(
            f"rfm_runtime.{component}",
            name,
            self._starts,
            settings=self._folders.settings,
            logs=self._folders.logs,
            listen_fd=self._listener.fileno() if self._listener is not None and component == "gateway" else None,
            first=name not in self._known,
            # Gateways alone check tokens; what a worker computes for others must not find the secret.
            unset=() if component == "gateway" else (SECRET_VARIABLE,),
        )
        self._known.add(name)
        child.register(self._selector)
        self._children[name] = child
        self._log.info("process_started", process=name, child_pid=child.pid)

    def _await_up(self) -> None:
        """Wait until all are ready, or have only to wait; the time-out starts anew whenever one of them gets on."""
        deadline_s = time.monotonic() + self._settings.start_timeout_s
        while not self._stops and not all(child.is_up for child in self._children.values()):
            before = [child.status for child in self._children.values()]
            self._turn(until_s=deadline_s)
            self._let_in()
            if before != [child.status for child in self._children.values()]:
                deadline_s = time.monotonic() + self._settings.start_timeout_s
            elif time.monotonic() >= deadline_s:
                late = ", ".join(c.name for c in self._children.values() if not c.is_up)
                raise StartError(
                    f"{late} did not become ready within {self._settings.start_timeout_s:g} s",
                    hint=f"see the logs in {self._folders.logs}",
                )

    def _let_in(self) -> None:
        """Say where the runtime is as soon as it can be watched: an engine takes longer, and its work can wait.

        A gateway that waits for its broker can be asked how it is, and stopped.
        """
        watched = (child.is_up for child in self._children.values() if not child.name.startswith("engine"))
        if self._announced or not all(watched):
            return
        self._announced = True
        make_known(self._listener, self._settings, token.read(self._folders.token), self._tls)

    @property
    def _elsewhere(self) -> str:
        """What there is on this host instead of a gateway."""
        where = self._settings.broker_address or self._settings.runtime_dir
        return f"{self._settings.parts} at {where}"

    def _serve(self) -> None:
        self._serving = True
        if plain_off_loopback(self._settings) and self._settings.has_gateways:
            self._log.warning("insecure", host=self._settings.host, warning=PLAIN_WARNING)
        self._say_waiting()
        while not self._stops:
            self._say_ready()
            self._turn(until_s=self._until_s())
            self._start_due()
            self._tell_troubles()
            self._oom_kills.look(time.monotonic())

    def _say_waiting(self) -> None:
        """Whether a broker elsewhere is there is not known here: its host may start after this one."""
        waiting = next((child for child in self._children.values() if child.waits), None)
        if waiting is None:
            return
        self._log.info("waiting_for_broker", broker=self._settings.broker_address)
        if self._on_waiting is not None:
            self._on_waiting(waiting.status)

    def _say_ready(self) -> None:
        if self._has_been_ready or self._due or not all(child.ready for child in self._children.values()):
            return
        self._has_been_ready = True
        url = url_of(self._listener, self._settings)
        self._log.info("ready", url=url)
        self._say(url or self._elsewhere, True)

    def _until_s(self) -> float:
        """The next start that is due, or the time to look whether troubles are over, and whom the kernel has killed."""
        return min([*self._due.values(), time.monotonic() + min(TROUBLES_S, OOM_LOOK_S)])

    def _tell_troubles(self) -> None:
        """Which processes end again and again, for those who are asked how the runtime is."""
        now_s = time.monotonic()
        told = []
        for name, restarts in self._restarts.items():
            ends, loops = recent(restarts, now_s)
            child = self._children.get(name)
            if not loops:
                continue
            due_s = self._due.get(name)
            told.append(
                troubles.Trouble(
                    process=name,
                    ends=ends,
                    cause=self._causes.get(name, ""),
                    down=child is None or not child.ready,
                    next_ms=None if due_s is None else int(1000 * (time.time() + due_s - now_s)) // 100 * 100,
                )
            )
        if tuple(told) == self._troubles:
            return
        self._troubles = tuple(told)
        try:
            troubles.write(self._folders.troubles, told)
        except OSError as error:
            self._log.warning("troubles_not_written", error=str(error))

    def _start_due(self) -> None:
        now_s = time.monotonic()
        for name in [name for name, due_s in self._due.items() if due_s <= now_s]:
            del self._due[name]
            try:
                self._start(name)
            except OSError as error:
                # No process or descriptor left. The others go on; this one is tried again.
                self._restarts[name], delay_s = ended(self._restarts.get(name, Restarts()), now_s)
                self._due[name] = now_s + max(delay_s, START_AGAIN_S)
                self._log.error("process_not_started", process=name, error=str(error), restart_in_s=delay_s)

    # --- events -----------------------------------------------------------------------------

    def _turn(self, until_s: float | None) -> None:
        timeout_s = None if until_s is None else max(0.0, until_s - time.monotonic())
        for key, _ in self._selector.select(timeout_s):
            child, what = key.data
            if what == "signal":
                self._wake.recv(64)
                self._reload()
            elif what == "said" and key.fd == child.ready_fd:
                child.read(self._selector)
                if not self._serving and child.status != self._told:
                    self._told = child.status
                    self._say(f"{child.name}: {child.status}", False)
            elif what == "ended":
                self._ended(child)

    def _ended(self, child: Child) -> None:
        code = child.reap(self._selector)
        self._children.pop(child.name, None)
        if self._stops:
            self._log.info("process_ended", process=child.name, code=code)
            return
        how = f"signal {signal.Signals(-code).name}" if code < 0 else f"exit code {code}"
        if code == -signal.SIGKILL and self._oom_kills.claim(time.monotonic()):
            how = "out-of-memory kill"
        if not self._serving:
            if child.error is not None:
                raise child.error
            raise StartError(f"{child.name} ended while starting ({how})", hint=self._why(child))
        now_s = time.monotonic()
        self._restarts[child.name], delay_s = ended(self._restarts.get(child.name, Restarts()), now_s)
        self._due[child.name] = now_s + delay_s
        tail = child.tail()
        self._causes[child.name] = cause(how, child.error, tail if code >= 0 else "")
        self._log.error("process_died", process=child.name, cause=how, restart_in_s=delay_s, tail=tail)

    def _why(self, child: Child) -> str:
        """What most likely helps. On a full disk there is nothing to read."""
        free_bytes = shutil.disk_usage(self._folders.state).free
        if free_bytes < ROOM_BYTES:
            return (
                f"make room: {free_bytes / 1e6:.1f} MB are free in {self._folders.state}, or choose another --state-dir"
            )
        tail = child.tail().splitlines()
        return tail[-1] if tail else f"see the logs in {self._folders.logs}"

    @contextmanager
    def _signals(self) -> Iterator[None]:
        """Count stop signals, and wake the selector through a socket pair (PEP 475 would restart it)."""
        self._wake, write = socket.socketpair()
        self._wake.setblocking(False)
        write.setblocking(False)
        self._selector.register(self._wake, selectors.EVENT_READ, (None, "signal"))
        previous = [signal.signal(number, self._on_signal) for number in SIGNALS]
        wakeup_before = signal.set_wakeup_fd(write.fileno(), warn_on_full_buffer=False)
        try:
            yield
        finally:
            signal.set_wakeup_fd(wakeup_before)
            for number, handler in zip(SIGNALS, previous, strict=True):
                signal.signal(number, handler)
            self._selector.close()
            self._wake.close()
            write.close()

    def _on_signal(self, number: int, _frame: FrameType | None) -> None:
        if number == signal.SIGHUP and not self._has_terminal:
            self._reloads += 1
            return
        self._stops += 1
        self._log.info("stop_requested", signal=signal.Signals(number).name, times=self._stops)

    def _reload(self) -> None:
        """Somebody says that certificate files are others: the gateways read them."""
        if not self._reloads:
            return
        self._reloads = 0
        self._log.info("reload_requested")
        for name, child in self._children.items():
            # One that is starting reads them anyway, and has no ear for the signal yet.
            if name.startswith("gateway") and child.ready:
                child.signal(signal.SIGHUP)

    def _say(self, text: str, ready: bool) -> None:
        """To whoever started us, who may be gone with the terminal: that keeps nothing from stopping in order."""
        try:
            self._on_status(text, ready)
        except OSError as error:
            self._log.info("nobody_listens", error=str(error))
            self._on_status = _silent

    # --- stopping ---------------------------------------------------------------------------

    def _shut_down(self) -> None:
        """Broker refuses new work, the engine drains, gateways say goodbye, the broker commits and ends."""
        if self._stops:
            drains = ": finishing tiles (press Ctrl-C again to stop at once)" if self._serving else ""
            self._say(f"stopping{drains}", False)
        self._stops = max(self._stops, 1)
        if broker := self._children.get("broker"):
            broker.signal(signal.SIGUSR1)
        self._stop(
            [name for name in self._children if name.startswith("engine")],
            self._settings.drain_timeout_s + STOP_GRACE_S,
        )
        self._stop([name for name in self._children if name.startswith("gateway")], STOP_GRACE_S)
        self._stop(["broker"], STOP_GRACE_S)

    def _stop(self, names: list[str], timeout_s: float) -> None:
        """SIGTERM, once more at the user's second signal, SIGKILL at the end of the time."""
        children = [self._children[name] for name in names if name in self._children]
        hurry = self._stops > 1
        deadline_s = time.monotonic() + (STOP_GRACE_S if hurry else timeout_s)
        for child in children:
            child.signal(signal.SIGTERM)
            if hurry:
                child.signal(signal.SIGINT)
        while waiting := [child for child in children if self._children.get(child.name) is child]:
            self._turn(until_s=deadline_s)
            if self._stops > 1 and not hurry:
                hurry = True
                deadline_s = time.monotonic() + STOP_GRACE_S
                for child in waiting:
                    child.signal(signal.SIGINT)
            if time.monotonic() >= deadline_s:
                for child in waiting:
                    self._log.error("process_killed", process=child.name, why="did not stop in time")
                    child.kill()
                deadline_s = float("inf")
