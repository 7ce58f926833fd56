"""The hot path: progress from PULL, coalesced by its bytes, decoded once a tick.

Only the newest message of each (handle, source) between two ticks matters, and both stand in the clear
before the body: a message costs one receive and one dictionary store. Used in the broker's loop thread.
"""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Iterator

import zmq

from rfm_runtime.protocol.internal import PROGRESS_HEADER

__all__ = ["Ingest"]

KEY_BYTES = 16
KEYS_LIMIT = 20_000
"""Keys kept between two ticks before those of unknown handles are dropped: a few MiB."""

BATCH = 2000
"""Messages a turn: below 5 ms at the slowest rate measured, so that commands never wait longer."""


class Ingest:
    """Drains the socket. `take()` gives what is new since the last call, newest message per key."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        socket: zmq.Socket[bytes],
        handles: dict[int, str],
    ) -> None:
        self._loop = loop
        self._socket = socket
        self._handles = handles
        self._latest: dict[bytes, bytes] = {}
        self._fd = int(socket.getsockopt(zmq.FD))
        self._scheduled: asyncio.Handle | None = None
        self._closed = False
        self.received = 0
        self.unknown = 0
        loop.add_reader(self._fd, self._turn)
        self.kick()

    def take(self) -> Iterator[tuple[int, int, bytes]]:
        """(handle, source, message) for each key with something new; what names no known handle is counted.

        Whatever a source sends is decoded once a tick at most, and a flood never hides the state it leads to; who
        sends too much is found by the counters in what is decoded, so that it costs nothing here.
        """
        latest, self._latest = self._latest, {}
        for key, message in latest.items():
            handle = int.from_bytes(key[:8], "big")
            if len(key) != KEY_BYTES or handle not in self._handles:
                self.unknown += 1
                continue
            yield handle, int.from_bytes(key[8:], "big"), message

    def close(self) -> None:
        """Stop receiving and close the socket. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._fd)
        if self._scheduled is not None:
            self._scheduled.cancel()
        self._socket.close()

    def kick(self) -> None:
        """Look again soon, whatever the descriptor says."""
        if self._scheduled is None and not self._closed:
            self._scheduled = self._loop.call_soon(self._turn)

    def _turn(self) -> None:
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None
        receive, latest = self._socket.recv, self._latest
        count = 0
        try:
            while count < BATCH:
                message = receive(zmq.NOBLOCK)
                latest[message[2:PROGRESS_HEADER]] = message
                count += 1
        except zmq.Again:
            self.received += count
            return
        self.received += count
        if len(latest) > KEYS_LIMIT:
            self._forget_unknown()
        self.kick()

    def _forget_unknown(self) -> None:
        """Invented handles must not fill memory between two ticks."""
        known = {
            key: message for key, message in self._latest.items() if int.from_bytes(key[:8], "big") in self._handles
        }
        self.unknown += len(self._latest) - len(known)
        # Whoever holds a handle can invent sources; the newest messages make way for those that wait longer.
        self._latest = known if len(known) <= KEYS_LIMIT else dict(itertools.islice(known.items(), KEYS_LIMIT))
