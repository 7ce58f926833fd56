"""Receives from a ZeroMQ socket in an asyncio loop by draining its raw descriptor.

The descriptor is edge-triggered and says only *something changed*: after every wake-up the socket is
read until it would block, at most `BATCH` messages a turn so that the loop stays responsive, then the
rest by `call_soon`. A send may consume the edge, so whoever sends on a drained socket calls `kick`
afterwards. `zmq.asyncio` does one future a message; this measured fifteen times as fast.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

import zmq

from rfm_runtime.transport import sockets

__all__ = ["BATCH", "Drain"]

BATCH = 256


class Drain:
    """Calls `on_message(frames)` for each message.

    Owned by the loop's thread. An exception of the handler goes to the loop's exception handler and
    does not stop the drain.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        socket: zmq.Socket[bytes],
        on_message: Callable[[list[bytes]], None],
    ) -> None:
        self._loop = loop
        self._socket = socket
        self._on_message = on_message
        self._fd = int(socket.getsockopt(zmq.FD))
        self._scheduled: asyncio.Handle | None = None
        self._closed = False
        loop.add_reader(self._fd, self._turn)
        self.kick()

    def kick(self) -> None:
        """Look again soon: after a send, whose bookkeeping may have swallowed the edge."""
        if self._scheduled is None and not self._closed:
            self._scheduled = self._loop.call_soon(self._turn)

    def send(self, frames: list[bytes]) -> None:
        """Send without blocking and keep the drain going. Raises zmq.Again if the queue is full."""
        try:
            self._socket.send_multipart(frames, zmq.NOBLOCK, copy=True)
        finally:
            self.kick()

    def connect_again(self, endpoint: str) -> None:
        """Give up the connection to that endpoint, with all that waits for it, and make it anew."""
        sockets.connect_again(self._socket, endpoint)
        self.kick()

    def close(self) -> None:
        """Stop receiving and close the socket (with its linger). Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._loop.remove_reader(self._fd)
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None
        self._socket.close()

    def _turn(self) -> None:
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None
        receive = self._socket.recv_multipart
        for _ in range(BATCH):
            if self._closed:
                return
            try:
                frames = receive(zmq.NOBLOCK)
            except zmq.Again:
                return
            try:
                self._on_message(frames)
            except BaseException:
                # asyncio hands it to the loop's exception handler; the messages behind it still count.
                self.kick()
                raise
        self.kick()
