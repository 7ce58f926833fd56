"""A network of its own for tests: namespaces of Linux as hosts, joined by a switch whose cables can be pulled.

Each namespace lives as long as a process that waits for its standard input to end: with this process, however it ends,
all of them go, with every interface in them. Nothing has a name that could be left behind.

Needs the right to make them, and `ip`; `can_make_networks` says whether that is there.
"""

from __future__ import annotations

import contextlib
import ctypes
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TypeVar

__all__ = ["CANNOT_MAKE_NETWORKS", "Namespace", "Network", "can_make_networks", "network"]

T = TypeVar("T")

CANNOT_MAKE_NETWORKS = "network namespaces cannot be made here"
"""Why a test is skipped then."""

CLONE_NEWNET = 0x40000000

SUBNET = "10.213.77"


class Namespace:
    """One, without any interface but loopback."""

    def __init__(self) -> None:
        self._holder = subprocess.Popen(
            ["unshare", "--net", "sh", "-c", "ip link set lo up && echo up && exec cat >/dev/null"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        if self._holder.stdout is None or self._holder.stdout.readline() != b"up\n":
            self.close()
            raise OSError(CANNOT_MAKE_NETWORKS)

    @property
    def pid(self) -> int:
        """Of the process that holds it."""
        return self._holder.pid

    def close(self) -> None:
        """Let go of it: it is gone with the last process in it. Idempotent."""
        for stream in (self._holder.stdin, self._holder.stdout):
            if stream is not None:
                stream.close()
        self._holder.wait(10)

    def ip(self, *arguments: str) -> None:
        """Run `ip` in it."""
        command = ["nsenter", f"--net=/proc/{self.pid}/ns/net", "ip", *arguments]
        subprocess.run(command, check=True, capture_output=True)

    def run(self, call: Callable[[], T]) -> T:
        """Call it in a thread that is in the namespace, as are all threads, processes and sockets that it makes."""

        def inside() -> T:
            descriptor = os.open(f"/proc/{self.pid}/ns/net", os.O_RDONLY | os.O_CLOEXEC)
            try:
                # Python has os.setns from 3.12 on.
                if ctypes.CDLL(None, use_errno=True).setns(descriptor, CLONE_NEWNET) != 0:
                    raise OSError(ctypes.get_errno(), "setns")
            finally:
                os.close(descriptor)
            return call()

        with ThreadPoolExecutor(1, "namespace") as thread:
            return thread.submit(inside).result()


class Network:
    """Namespaces on one switch. hosts: by name; addresses: of each."""

    def __init__(self, *names: str) -> None:
        self.hosts: dict[str, Namespace] = {}
        self.addresses: dict[str, str] = {}
        self._stack = contextlib.ExitStack()
        try:
            self._switch = self._made()
            self._switch.ip("link", "add", "switch", "type", "bridge")
            self._switch.ip("link", "set", "dev", "switch", "up")
            for number, name in enumerate(names, start=1):
                self._join(name, f"{SUBNET}.{number}")
        except BaseException:
            self.close()
            raise

    def _made(self) -> Namespace:
        made = Namespace()
        self._stack.callback(made.close)
        return made

    def _join(self, name: str, address: str) -> None:
        host = self.hosts[name] = self._made()
        self.addresses[name] = address
        self._switch.ip(
            *("link", "add", "name", name, "type", "veth", "peer", "name", "eth0", "netns", str(host.pid)),
        )
        self._switch.ip("link", "set", "dev", name, "master", "switch", "up")
        host.ip("addr", "add", f"{address}/24", "dev", "eth0")
        host.ip("link", "set", "dev", "eth0", "up")

    def pull(self, name: str) -> None:
        """Pull the cable of that host: nothing goes in or out, and nobody is told."""
        self._switch.ip("link", "set", "dev", name, "down")

    def plug(self, name: str) -> None:
        """Plug it in again."""
        self._switch.ip("link", "set", "dev", name, "up")

    def close(self) -> None:
        """Let go of everything. Idempotent."""
        self._stack.close()


@contextmanager
def network(*names: str) -> Iterator[Network]:
    """A network of hosts with these names. Raises OSError or CalledProcessError where that is not permitted."""
    made = Network(*names)
    try:
        yield made
    finally:
        made.close()


def can_make_networks() -> bool:
    """Whether this process may, and has what it takes."""
    if not all(shutil.which(tool) for tool in ("ip", "unshare", "nsenter")):
        return False
    with contextlib.suppress(OSError, subprocess.SubprocessError), network("probe"):
        return True
    return False
