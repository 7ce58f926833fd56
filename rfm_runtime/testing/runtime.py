"""A real runtime for tests: all processes, a folder of its own, a free port; killed and reaped at the end."""

from __future__ import annotations

import os
import select
import signal
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import psutil

from rfm_runtime import config
from rfm_runtime.app.daemon import start_daemon, stop
from rfm_runtime.client.connection_file import ConnectionInfo
from rfm_runtime.config import Folders, Settings, folders
from rfm_runtime.errors import StartError

__all__ = ["Runtime", "eventually", "runtime"]


def eventually(condition: Callable[[], Any], *, timeout_s: float = 10.0, what: str = "condition") -> Any:
    """The first true answer of `condition`, asked every 5 ms. Raises TimeoutError naming `what`."""
    deadline_s = time.monotonic() + timeout_s
    while True:
        answer = condition()
        if answer:
            return answer
        if time.monotonic() >= deadline_s:
            raise TimeoutError(f"{what} did not come true within {timeout_s:g} s")
        select.select([], [], [], 0.005)


class Runtime:
    """A started runtime. `info` changes when it is started again on another port.

    starts: how; a daemon, or a process that does not outlive this one.
    """

    def __init__(self, settings: Settings, starts: Callable[[Settings], ConnectionInfo] = start_daemon) -> None:
        self.settings = settings
        self.folders: Folders = folders(settings)
        self._starts = starts
        self.info: ConnectionInfo = starts(settings)

    @property
    def url(self) -> str:
        """Where watchers connect."""
        return self.info.url

    def processes(self) -> dict[str, psutil.Process]:
        """The runtime's processes by name, e.g. `broker`, without the engine's workers."""
        found = {}
        for process in psutil.Process(self.info.pid).children():
            try:
                command = process.cmdline()
            except psutil.Error:
                # It ends just now.
                continue
            if "--name" in command:
                found[command[command.index("--name") + 1]] = process
        return found

    def tree(self) -> list[psutil.Process]:
        """Every process of the runtime, workers included."""
        try:
            supervisor = psutil.Process(self.info.pid)
            return [supervisor, *supervisor.children(recursive=True)]
        except psutil.NoSuchProcess:
            return []

    def kill_everything(self) -> None:
        """What a power cut does to processes: all at once, and none of them runs a line of code any more."""
        tree = self.tree()
        for process in tree:
            process.suspend()
        for process in tree:
            process.kill()
        psutil.wait_procs(tree, timeout=10)

    def workers(self) -> list[psutil.Process]:
        """The engine's worker processes: the forkserver's children."""
        engine = self.processes().get("engine-0")
        if engine is None:
            return []
        grandchildren = [process for child in engine.children() for process in child.children()]
        return [process for process in grandchildren if process.is_running()]

    def kill(self, name: str) -> None:
        """SIGKILL a process of the runtime by name and wait until it is gone."""
        process = eventually(lambda: self.processes().get(name), what=f"{name} runs")
        process.kill()
        process.wait(timeout=10)

    def kill_supervisor(self) -> None:
        """SIGKILL the supervisor and wait until every process of the runtime is gone."""
        tree = self.tree()
        os.kill(self.info.pid, signal.SIGKILL)
        _await_end(tree, "a killed supervisor")

    def stop(self, *, timeout_s: float = 60.0, now: bool = False) -> None:
        """Stop it in order; nothing if it is not running."""
        tree = self.tree()
        stop(self.settings, timeout_s=timeout_s, now=now)
        _await_end(tree, "a stopped runtime")

    def start(self) -> None:
        """Start it again in the same folders."""
        self.info = self._starts(self.settings)

    def logs(self) -> str:
        """Everything the processes logged, for the message of a failed test."""
        return "\n".join(
            f"--- {path.name}\n{path.read_text(encoding='utf-8', errors='replace')}"
            for path in sorted(self.folders.logs.glob("*"))
        )


def _await_end(tree: list[psutil.Process], of: str) -> None:
    """Every process has ended. A zombie has: when it is reaped is up to the machine's process 1."""

    def is_there(process: psutil.Process) -> bool:
        try:
            return process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        except psutil.NoSuchProcess:
            return False

    def alive() -> list[psutil.Process]:
        return [process for process in tree if is_there(process)]

    try:
        eventually(lambda: not alive(), what="the end of all processes")
    except TimeoutError:
        raise StartError(f"left behind by {of}: {alive()}") from None


@contextmanager
def runtime(folder: Path, **overrides: Any) -> Iterator[Runtime]:
    """A runtime with its state below `folder`; the kernel cache is the user's, so that it starts quickly.

    overrides: settings.
    """
    options = {"port": 0, "state_dir": str(folder / "state"), "runtime_dir": str(folder / "run"), **overrides}
    running = Runtime(config.load(options).settings)
    try:
        yield running
    finally:
        tree = running.tree()
        running.stop(now=True)
        for process in tree:
            if process.is_running():
                process.kill()
