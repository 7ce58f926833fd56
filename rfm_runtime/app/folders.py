"""The runtime's folders: private, owned by one supervisor at a time, clean before and after."""

from __future__ import annotations

import errno
import fcntl
import os
import socket
import stat
from pathlib import Path

import psutil

from rfm_runtime.client.connection_file import ConnectionInfo
from rfm_runtime.config import Folders, Settings
from rfm_runtime.errors import AlreadyRunningError, NoRuntimeError, PortTakenError, SetupError
from rfm_runtime.observe.temporaries import remove_temporaries

__all__ = ["claim", "holder", "listen", "prepare", "remove_run_files"]

BACKLOG = 1024
"""Connections that wait while a gateway restarts: the socket is the supervisor's and stays open."""


def prepare(folders: Folders) -> None:
    """Create the folders, 0700. Raises SetupError with what the system said."""
    for folder in (
        folders.state,
        folders.runtime,
        folders.logs,
        folders.frames,
        folders.artifacts,
        folders.cache,
    ):
        try:
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        except OSError as error:
            raise SetupError(
                f"cannot create the folder {folder}: {error.strerror}",
                hint="choose other folders with --state-dir, --runtime-dir and RFM_CACHE_DIR",
            ) from None
    found = folders.runtime.stat()
    if found.st_uid != os.getuid():
        raise SetupError(f"{folders.runtime} belongs to another user", hint="choose another folder with --runtime-dir")
    if stat.S_IMODE(found.st_mode) & 0o077:
        folders.runtime.chmod(0o700)


def claim(folders: Folders) -> int:
    """Lock the folders for this process; the descriptor of the lock, released when the process ends.

    Raises AlreadyRunningError that says where the other one is; SetupError with what the system said.
    """
    try:
        descriptor = os.open(folders.lock, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    except OSError as error:
        raise SetupError(
            f"cannot write {folders.lock}: {error.strerror}", hint="choose another folder with --runtime-dir"
        ) from None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        raise AlreadyRunningError(
            f"a runtime is already running {_where(folders)}",
            hint="stop it with `rfm-runtime stop`, or use other folders: --state-dir and --runtime-dir",
        ) from None
    return descriptor


def _where(folders: Folders) -> str:
    try:
        info = ConnectionInfo.read(folders.connection)
    except NoRuntimeError:
        return f"in {folders.runtime} (still starting)"
    return f"at {info.url} (pid {info.pid})"


def listen(settings: Settings) -> socket.socket:
    """The listening socket that the gateways inherit. Raises PortTakenError that names the holder."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    try:
        listener.bind((settings.host, settings.port))
        listener.listen(BACKLOG)
    except OSError as error:
        listener.close()
        if error.errno != errno.EADDRINUSE:
            raise SetupError(
                f"cannot listen on {settings.host}:{settings.port}: {error.strerror}",
                hint="choose another port with --port, 0 for any free one",
            ) from None
        raise PortTakenError(
            f"port {settings.port} is taken{holder(settings.port)}",
            hint="choose another with --port, 0 for any free one",
        ) from None
    return listener


def holder(port: int) -> str:
    """Who listens on a port, as the end of a sentence; "" where the system does not tell."""
    try:
        connections = psutil.net_connections(kind="tcp")
    except psutil.AccessDenied:
        return ""
    pids = {
        connection.pid
        for connection in connections
        if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
    }
    for pid in pids:
        if pid is None:
            continue
        try:
            return f" by {psutil.Process(pid).name()} (pid {pid})"
        except psutil.Error:
            continue
    return " by a process of another user" if pids else ""


def remove_run_files(folders: Folders) -> None:
    """Remove sockets, secrets, the connection file and temporary folders; only the holder of the lock may."""
    for path in (
        *folders.runtime.glob("*.sock"),
        folders.connection,
        folders.token,
        folders.settings,
        *_temporaries(folders.runtime),
    ):
        path.unlink(missing_ok=True)
    for link in folders.runtime.glob("*.tmp"):
        remove_temporaries(link)


def _temporaries(folder: Path) -> list[Path]:
    return [*folder.glob(".token.*"), *folder.glob(".settings.json.*"), *folder.glob(".connection.json.*")]
