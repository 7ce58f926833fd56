"""The runtime's folders: private, owned by one supervisor at a time, clean before and after."""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import socket
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil

from rfm_runtime.client.connection_file import ConnectionInfo
from rfm_runtime.config import Folders, Settings
from rfm_runtime.errors import AlreadyRunningError, NoRuntimeError, PortTakenError, SetupError
from rfm_runtime.observe.temporaries import remove_temporaries

__all__ = ["Claim", "claim", "claim_state", "holder", "listen", "prepare", "remove_run_files", "run_files"]

OTHERS = 0o077
"""Of a mode: what those may who are not the owner."""

BACKLOG = 4096
"""Connections that wait while a gateway restarts: the socket is the supervisor's and stays open. The system's own limit
(net.core.somaxconn) may be lower; who does not fit tries again a second later, of the kernel's own accord."""


def prepare(folders: Folders) -> tuple[Path, ...]:
    """Create the folders, 0700, and close what of ours in them is open to others; what that was.

    The state folder itself stays open if other things were in it before us: each of ours is closed by itself. Raises
    SetupError with what the system said, or whose they are.
    """
    is_ours = _is_ours(folders)
    for folder in (
        folders.state,
        folders.runtime,
        folders.logs,
        folders.frames,
        folders.artifacts,
        folders.last_words,
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
    opened = []
    if stat.S_IMODE(found.st_mode) & OTHERS:
        # A new one, and one of ours, is closed; a folder with other things in it may have to be open.
        if any(folders.runtime.iterdir()) and not folders.lock.exists():
            raise SetupError(
                f"{folders.runtime} is open to other users (mode {stat.S_IMODE(found.st_mode):o}), and not empty",
                hint="choose a folder of its own with --runtime-dir, or close this one: chmod 700",
            )
        folders.runtime.chmod(0o700)
        opened.append(folders.runtime)
    return (*opened, *_close(folders, (folders.state,) if is_ours else ()))


def _is_ours(folders: Folders) -> bool:
    """Whether nothing but ours is in the state folder, as far as can be told."""
    try:
        return folders.journal_lock.exists() or not any(folders.state.iterdir())
    except OSError:
        # It is not there, or about to be refused with what the system says.
        return True


def _close(folders: Folders, also: tuple[Path, ...]) -> Iterator[Path]:
    """Take from others what an earlier umask, a copy or a backup has given them. Only of what is ours by its name."""
    try:
        for path in (*also, *folders.vital, *folders.private):
            try:
                found = path.stat()
            except FileNotFoundError:
                continue
            if stat.S_IMODE(found.st_mode) & OTHERS:
                path.chmod(stat.S_IMODE(found.st_mode) & ~OTHERS)
                yield path
        # Compiled kernels are run; that they are read harms nobody.
        found = folders.cache.stat()
        if stat.S_IMODE(found.st_mode) & OTHERS & 0o022 and found.st_uid == os.getuid():
            folders.cache.chmod(stat.S_IMODE(found.st_mode) & ~0o022)
            yield folders.cache
    except OSError as error:
        raise SetupError(
            f"{error.filename} is open to other users, and cannot be closed: {error.strerror}",
            hint="it is somebody else's: choose another folder with --state-dir, or have them close it: chmod go=",
        ) from None


class Claim:
    """Locks on the runtime's two folders, held until it is closed or this process ends."""

    def __init__(self) -> None:
        self._descriptors: list[int] = []
        self._pid = os.getpid()

    def lock(self, path: Path, taken: Callable[[], AlreadyRunningError], hint: str) -> None:
        """Lock a file. Raises what `taken` makes if another process has it, SetupError with what the system said."""
        try:
            descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError as error:
            raise SetupError(f"cannot write {path}: {error.strerror}", hint=hint) from None
        self._descriptors.append(descriptor)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise taken() from None
        # For people. On a full disk it stays empty, and the lock holds all the same.
        with contextlib.suppress(OSError):
            os.ftruncate(descriptor, 0)
            os.write(descriptor, str(os.getpid()).encode())

    def close(self) -> None:
        """Let others have them. Idempotent."""
        while self._descriptors:
            descriptor = self._descriptors.pop()
            if os.getpid() == self._pid:
                # A child that was just forked has it open too, until it comes to close it.
                fcntl.flock(descriptor, fcntl.LOCK_UN)
            os.close(descriptor)


def claim(folders: Folders) -> Claim:
    """Lock both folders for this process: a journal has one writer, whichever runtime folder is used with it.

    Raises AlreadyRunningError that says where the other one is; SetupError with what the system said.
    """

    def runs() -> AlreadyRunningError:
        return AlreadyRunningError(
            f"a runtime is already running {_where(folders)}",
            hint="stop it with `rfm-runtime stop`, or use other folders and another port: "
            "--state-dir, --runtime-dir and --port 0",
        )

    claim = Claim()
    try:
        claim.lock(folders.lock, runs, "choose another folder with --runtime-dir")
        _lock_state(claim, folders)
    except BaseException:
        claim.close()
        raise
    return claim


def claim_state(folders: Folders) -> Claim:
    """Lock the state folder alone: whoever changes the journal's file, and runs no runtime. Raises like `claim`."""
    claim = Claim()
    try:
        _lock_state(claim, folders)
    except BaseException:
        claim.close()
        raise
    return claim


def _lock_state(claim: Claim, folders: Folders) -> None:
    def has_it() -> AlreadyRunningError:
        pid = folders.journal_lock.read_text(encoding="ascii", errors="replace").strip()
        return AlreadyRunningError(
            f"another runtime (pid {pid or 'unknown'}) uses the state folder {folders.state}",
            hint="stop it, or choose another folder with --state-dir",
        )

    claim.lock(folders.journal_lock, has_it, "choose another folder with --state-dir")


def _where(folders: Folders) -> str:
    try:
        info = ConnectionInfo.read(folders.connection)
    except NoRuntimeError:
        return f"in {folders.runtime} (still starting)"
    # Without a gateway there is no address of its own.
    return f"at {info.url} (pid {info.pid})" if info.url else f"in {folders.runtime} (pid {info.pid}, no gateway)"


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
                hint="name an address of this host by its number, as `ip addr` does"
                if error.errno == errno.EADDRNOTAVAIL
                else "choose another port with --port, 0 for any free one",
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


def run_files(folders: Folders) -> list[Path]:
    """What a runtime has in its folder and leaves there when it is killed: sockets, secrets, links."""
    names = ("*.sock", "*.tmp", "*server.pem*", ".token.*", ".settings.json.*", ".connection.json.*", "*troubles.json*")
    found = [path for name in names for path in sorted(folders.runtime.glob(name))]
    return found + [path for path in (folders.connection, folders.token, folders.settings) if path.exists()]


def remove_run_files(folders: Folders) -> None:
    """Remove them; only the holder of the lock may."""
    for path in run_files(folders):
        if path.is_symlink():
            remove_temporaries(path)
        else:
            path.unlink(missing_ok=True)
