"""A TCP relay that does to connections what middleboxes do: cuts idle ones, or swallows everything without a word."""

from __future__ import annotations

import contextlib
import select
import socket
import threading
import time
from collections.abc import Iterator

PIECE_BYTES = 65536


class Relay:
    """idle_s: connections on which nothing passes for so long are cut. swallowing: nothing passes, nobody is told."""

    def __init__(self, port: int, idle_s: float = 1e9) -> None:
        self._target = port
        self._idle_s = idle_s
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port = int(self._listener.getsockname()[1])
        self._over = threading.Event()
        self._swallowed: set[int] = set()
        self._pairs: dict[socket.socket, tuple[socket.socket, float]] = {}
        self.cut = 0
        self._thread = threading.Thread(target=self._run)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self.port}"

    def swallow(self) -> None:
        """From now on nothing passes on the connections that are there; new ones are well."""
        self._swallowed = {one.fileno() for one in list(self._pairs)}

    def close(self) -> None:
        self._over.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._over.is_set():
            readable, _, _ = select.select([self._listener, *self._pairs], [], [], 0.02)
            for one in readable:
                if one is self._listener:
                    self._accept()
                elif one in self._pairs and one.fileno() not in self._swallowed:
                    self._pass_on(one)
            if any(one.fileno() in self._swallowed for one in readable if one is not self._listener):
                time.sleep(0.01)
            for one, (_, heard_s) in list(self._pairs.items()):
                if one in self._pairs and time.monotonic() - heard_s > self._idle_s:
                    self.cut += 1
                    self._drop(one)
        for one in list(self._pairs):
            self._drop(one)
        self._listener.close()

    def _accept(self) -> None:
        near, _ = self._listener.accept()
        far = socket.create_connection(("127.0.0.1", self._target))
        self._pairs[near] = (far, time.monotonic())
        self._pairs[far] = (near, time.monotonic())

    def _pass_on(self, one: socket.socket) -> None:
        other, _ = self._pairs[one]
        try:
            data = one.recv(PIECE_BYTES)
            if data:
                other.sendall(data)
                self._pairs[one] = (other, time.monotonic())
                self._pairs[other] = (one, time.monotonic())
                return
        except OSError:
            pass
        self._drop(one)

    def _drop(self, one: socket.socket) -> None:
        pair = self._pairs.pop(one, None)
        if pair is None:
            return
        self._pairs.pop(pair[0], None)
        for end in (one, pair[0]):
            self._swallowed.discard(end.fileno())
            end.close()


@contextlib.contextmanager
def relay(port: int, idle_s: float = 1e9) -> Iterator[Relay]:
    opened = Relay(port, idle_s)
    try:
        yield opened
    finally:
        opened.close()
