"""A runtime in a process of its own: started detached, stopped from elsewhere, or private to one command."""

from __future__ import annotations

import contextlib
import json
import os
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import IO, Any

import msgspec
import psutil

from rfm_runtime import config
from rfm_runtime.app.supervisor import OnStatus, OnWaiting
from rfm_runtime.client.connection_file import ConnectionInfo
from rfm_runtime.config import Settings, folders
from rfm_runtime.errors import NoRuntimeError, StartError, StillStoppingError, of_fields
from rfm_runtime.observe.alive import is_alive
from rfm_runtime.observe.temporaries import remove_temporaries

__all__ = ["parts_of", "private", "start_attached", "start_daemon", "stop"]

POLL_S = 0.02
LOOK_S = 0.5
"""How often it is looked what keeps a runtime that stops."""

STOPPING = (
    ("engine", "work in hand is finished"),
    ("gateway", "watchers are told goodbye"),
    ("broker", "the journal is written and closed"),
)
"""The parts of a runtime in the order in which they stop, and what each does then."""

STOP_S = 20.0


def start_daemon(
    settings: Settings, *, on_status: OnStatus | None = None, on_waiting: OnWaiting | None = None
) -> ConnectionInfo:
    """Start a runtime detached from this terminal and wait until it is ready.

    on_waiting: told what parts wait for that have their broker on another host, once all of them are up; they are left
    to it then. Without it that is waited for as well. Raises what `supervisor.run` raises.
    """
    _spawn(settings, on_status, detached=True, ephemeral=False, on_waiting=on_waiting)
    return ConnectionInfo.read(folders(settings).connection)


def start_attached(settings: Settings) -> subprocess.Popen[bytes]:
    """As `start_daemon`, but it ends with this process, whose child it is."""
    return _spawn(settings, None, detached=False, ephemeral=False)


def _has_ended(pidfd: int, timeout_s: float) -> bool:
    """Within the time. By poll: select takes no descriptor above 1023, and a program may have thousands."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    return bool(poll.poll(1000 * timeout_s))


def stop(
    settings: Settings, *, timeout_s: float, now: bool = False, on_wait: Callable[[str], None] | None = None
) -> bool:
    """Stop the runtime of these folders and wait for its end; False if none is running.

    now: do not wait for running tiles. on_wait: told now and then what is waited for. Raises StillStoppingError if it
    is still there after `timeout_s`.
    """
    try:
        info = ConnectionInfo.read(folders(settings).connection)
    except NoRuntimeError:
        return False
    try:
        descriptor = os.pidfd_open(info.pid)
    except ProcessLookupError:
        return False
    try:
        if not is_alive(info.pid, info.start_time):
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGTERM)
        if now:
            # Two signals sent at once would arrive as one.
            _has_ended(descriptor, POLL_S)
            signal.pidfd_send_signal(descriptor, signal.SIGINT)
        deadline_s = time.monotonic() + timeout_s
        while not (ended := _has_ended(descriptor, max(0.0, min(LOOK_S, deadline_s - time.monotonic())))):
            if time.monotonic() >= deadline_s:
                break
            if on_wait is not None:
                on_wait(_waited_for(info.pid, now=now))
    except ProcessLookupError:
        return True
    finally:
        os.close(descriptor)
    if not ended:
        raise StillStoppingError(
            f"the runtime (pid {info.pid}) is still stopping after {timeout_s:g} s: {_waited_for(info.pid, now=now)}"
        )
    return True


def _waited_for(supervisor: int, *, now: bool) -> str:
    """What keeps it: its parts end one after another, so that the first that is there is the one."""
    names = parts_of(supervisor)
    for part, doing in STOPPING:
        if any(name.startswith(part) for name in names):
            return "its workers end" if part == "engine" and now else doing
    return "its last process ends"


def parts_of(supervisor: int) -> list[str]:
    """Names of the parts of a runtime that have not ended. supervisor: its pid."""
    names = []
    with contextlib.suppress(psutil.Error):
        for child in psutil.Process(supervisor).children():
            with contextlib.suppress(psutil.Error, ValueError, IndexError):
                command = child.cmdline()
                names.append(command[command.index("--name") + 1])
    return names


@contextmanager
def private(overrides: Mapping[str, Any], *, on_status: OnStatus | None = None) -> Iterator[ConnectionInfo]:
    """A runtime of its own in a temporary folder, on a free port; gone with everything at the end.

    It also ends when this process dies. The cache of compiled kernels is the user's.
    """
    folder = Path(tempfile.mkdtemp(prefix="rfm-"))
    try:
        options = {
            "port": 0,
            "drain_timeout_s": 0.0,
            **overrides,
            **config.BY_ITSELF,
            # The supervisor removes both, also where this process was killed: nothing may be left above them.
            "state_dir": str(folder),
            "runtime_dir": str(folder / "run"),
        }
        settings = config.load(options).settings
        process = _spawn(settings, on_status, detached=False, ephemeral=True)
        try:
            yield ConnectionInfo.read(folders(settings).connection)
        finally:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(timeout=STOP_S)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
    finally:
        for link in (folder / "run").glob("*.tmp"):
            remove_temporaries(link)
        shutil.rmtree(folder, ignore_errors=True)


def _spawn(
    settings: Settings,
    on_status: OnStatus | None,
    *,
    detached: bool,
    ephemeral: bool,
    on_waiting: OnWaiting | None = None,
) -> subprocess.Popen[bytes]:
    read_fd, write_fd = os.pipe()
    arguments = [sys.executable, "-P", "-m", "rfm_runtime.app", "--status-fd", str(write_fd)]
    arguments += ["--detach"] if detached else ["--parent", str(os.getpid())]
    if ephemeral:
        arguments.append("--ephemeral")
    try:
        process = subprocess.Popen(
            arguments,
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            pass_fds=[write_fd],
            start_new_session=True,
        )
    except OSError:
        os.close(read_fd)
        raise
    finally:
        os.close(write_fd)
    if process.stdin is None:
        raise StartError("no pipe to the runtime's supervisor")
    # Through a pipe: settings are nobody else's business, arguments are everybody's.
    try:
        with process.stdin as stdin:
            stdin.write(msgspec.json.encode(settings))
        with os.fdopen(read_fd, "rb") as status:
            _await_ready(status, settings, on_status, on_waiting)
    except BaseException:
        # Whoever stops waiting does not want it; a daemon that has left its parent is still in its group.
        _end_group(process)
        raise
    if detached:
        process.wait()
    return process


def _await_ready(
    status: IO[bytes], settings: Settings, on_status: OnStatus | None, on_waiting: OnWaiting | None
) -> None:
    for line in status:
        message = json.loads(line)
        if message["kind"] == "error":
            raise of_fields(message["error"])
        if message["kind"] == "waiting":
            if on_waiting is None:
                continue
            on_waiting(message["text"])
            return
        if on_status is not None:
            on_status(message["text"], message["ready"])
        if message["ready"]:
            return
    raise StartError("the runtime ended while starting", hint=f"see the logs in {folders(settings).logs}")


def _end_group(process: subprocess.Popen[bytes]) -> None:
    """An orderly end, then the hard one."""
    try:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(timeout=STOP_S)
    except ProcessLookupError:
        process.wait()
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
