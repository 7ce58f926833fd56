"""One process of the runtime, as the supervisor sees it. Used by the supervisor's main thread alone."""

from __future__ import annotations

import json
import os
import selectors
import signal
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

from rfm_runtime.errors import RfmError, of_fields

__all__ = ["Child"]

TAIL_BYTES = 4096


class Child:
    """A started process: its pidfd, the pipe of its readiness, and the file its stderr goes to.

    waits: it has begun and waits for the broker on another host. error: why it ends, if it said so. first: nobody
    of this name ran before in this runtime. unset: variables of this process's environment that it does not get. It
    runs in a process group of its own, so that Ctrl-C at the terminal reaches the supervisor alone.
    """

    def __init__(
        self,
        module: str,
        name: str,
        incarnation: int,
        *,
        settings: Path,
        logs: Path,
        listen_fd: int | None = None,
        first: bool = False,
        unset: Collection[str] = (),
    ) -> None:
        self.name = name
        self.ready = False
        self.waits = False
        self.status = "starting"
        self.error: RfmError | None = None
        self._stderr = logs / f"{name}.stderr"
        self._pending = b""
        self.ready_fd, write_fd = os.pipe2(os.O_CLOEXEC | os.O_NONBLOCK)
        arguments = [
            # -P: a file in the current folder must not shadow a module of ours.
            *(sys.executable, "-P", "-m", module, "--settings", str(settings), "--name", name),
            *("--incarnation", str(incarnation), "--parent", str(os.getpid()), "--ready-fd", str(write_fd)),
        ]
        inherited = [write_fd]
        if first:
            arguments.append("--first")
        if listen_fd is not None:
            arguments += ["--listen-fd", str(listen_fd)]
            inherited.append(listen_fd)
        try:
            with self._stderr.open("wb") as stderr:
                self._process = subprocess.Popen(
                    arguments,
                    stdin=subprocess.DEVNULL,
                    stdout=stderr,
                    stderr=stderr,
                    pass_fds=inherited,
                    process_group=0,
                    env={name: value for name, value in os.environ.items() if name not in unset},
                )
        except OSError:
            os.close(self.ready_fd)
            raise
        finally:
            os.close(write_fd)
        self.pid = self._process.pid
        self.pidfd = os.pidfd_open(self.pid)

    def register(self, selector: selectors.BaseSelector) -> None:
        """Wake `selector` when this process ends or says something."""
        selector.register(self.pidfd, selectors.EVENT_READ, (self, "ended"))
        selector.register(self.ready_fd, selectors.EVENT_READ, (self, "said"))

    def read(self, selector: selectors.BaseSelector) -> None:
        """Take in what the process said; at end-of-file stop listening."""
        try:
            data = os.read(self.ready_fd, 65536)
        except BlockingIOError:
            return
        if not data:
            selector.unregister(self.ready_fd)
            os.close(self.ready_fd)
            self.ready_fd = -1
            return
        *lines, self._pending = (self._pending + data).split(b"\n")
        for line in lines:
            message = json.loads(line)
            self.status = str(message["status"])
            if "error" in message:
                self.error = of_fields(message["error"])
            self.ready = self.ready or bool(message["ready"])
            self.waits = bool(message["waits"]) and not self.ready

    @property
    def is_up(self) -> bool:
        """Whether it has begun all that it can begin by itself."""
        return self.ready or self.waits

    def reap(self, selector: selectors.BaseSelector) -> int:
        """Collect the ended process and everything in its group; its exit status (negative: signal)."""
        code = self._process.wait()
        self._signal_group(signal.SIGKILL)
        selector.unregister(self.pidfd)
        os.close(self.pidfd)
        if self.ready_fd >= 0:
            # Its last words are in the pipe, whichever of the two was noticed first.
            self.read(selector)
        if self.ready_fd >= 0:
            selector.unregister(self.ready_fd)
            os.close(self.ready_fd)
            self.ready_fd = -1
        return code

    def signal(self, number: int) -> None:
        """Send a signal to the process itself; one that has ended is left alone."""
        if self._process.poll() is None:
            self._process.send_signal(number)

    def kill(self) -> None:
        """SIGKILL to the process and its group."""
        self._signal_group(signal.SIGKILL)

    def tail(self) -> str:
        """The end of what it wrote to stderr."""
        try:
            with self._stderr.open("rb") as file:
                size = file.seek(0, os.SEEK_END)
                file.seek(max(0, size - TAIL_BYTES))
                return file.read().decode("utf-8", "replace").strip()
        except OSError:
            return ""

    def _signal_group(self, number: int) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            return
