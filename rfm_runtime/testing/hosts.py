"""Several hosts for tests: parts of a runtime with folders and keys of their own, on this machine's loopback or in a
network of namespaces; and ports that nobody has.
"""

from __future__ import annotations

import contextlib
import random
import socket
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from rfm_runtime import config
from rfm_runtime.app.daemon import start_daemon
from rfm_runtime.client.connection_file import ConnectionInfo
from rfm_runtime.config import Settings, folders
from rfm_runtime.security import curve_keys
from rfm_runtime.testing.runtime import Runtime

__all__ = ["Host", "free_ports", "hosts", "introduce"]

FIRST, LAST = 20_000, 32_000
"""Below those that the system gives to whoever asks for any: nobody is given one of ours meanwhile."""


def free_ports(count: int) -> int:
    """The first of `count` ports in a row on which nobody listens. Raises OSError if there seem to be none."""
    # Another test that looks at the same time looks elsewhere.
    chance = random.SystemRandom()
    for _ in range(100):
        first = chance.randrange(FIRST, LAST - count)
        with contextlib.ExitStack() as held:
            try:
                for port in range(first, first + count):
                    held.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
        return first
    raise OSError(f"no {count} free ports in a row")


class Host:
    """A machine of its own as far as the runtime is concerned. starts: how a part is started there."""

    def __init__(self, folder: Path, name: str, starts: Callable[[Settings], ConnectionInfo] = start_daemon) -> None:
        self.name = name
        self.options = {"state_dir": str(folder / name / "s"), "runtime_dir": str(folder / name / "r"), "port": 0}
        self.keys = folders(config.load(self.options).settings).keys
        self.key = curve_keys.init(self.keys).hex()
        self._starts = starts
        self._running: Runtime | None = None

    def allow(self, other: Host) -> None:
        """Let that one connect to this one."""
        curve_keys.allow(self.keys, other.name, other.key)

    def revoke(self, other: Host) -> None:
        """Let it connect no more."""
        curve_keys.revoke(self.keys, other.name)

    def start(self, parts: str, **settings: Any) -> Runtime:
        """Start a part, and wait until it is ready."""
        self._running = Runtime(config.load({**self.options, "parts": parts, **settings}).settings, self._starts)
        return self._running

    def close(self) -> None:
        """Stop what was started. Idempotent."""
        running, self._running = self._running, None
        if running is not None:
            tree = running.tree()
            try:
                running.stop(now=True)
            finally:
                for process in tree:
                    if process.is_running():
                        process.kill()

    @property
    def is_running(self) -> bool:
        """Whether anything was started there, and not stopped."""
        return self._running is not None

    @property
    def running(self) -> Runtime:
        """What runs there."""
        if self._running is None:
            raise RuntimeError(f"nothing was started on {self.name}")
        return self._running


def introduce(broker: Host, *others: Host) -> None:
    """Everybody may connect to the broker's host, and to each other."""
    everybody = (broker, *others)
    for one in everybody:
        for other in everybody:
            if one is not other:
                one.allow(other)


@contextmanager
def hosts(folder: Path, *names: str) -> Iterator[list[Host]]:
    """Hosts on this machine's loopback; what was started there is stopped at the end, last first."""
    with contextlib.ExitStack() as stack:
        made = []
        for name in names:
            host = Host(folder, name)
            stack.callback(host.close)
            made.append(host)
        yield made
