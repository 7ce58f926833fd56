"""The listening socket that gateways share, as one of them accepts from it. Used by the gateway's loop.

It is inherited from the supervisor, whose backlog holds the connections that wait while a gateway restarts. All
gateways are woken by a connection; the first to accept has it.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any

__all__ = ["Listener"]

ACCEPTS_A_TURN = 4
"""The loop would take a hundred at once: one gateway would have a whole crowd, a frozen one keep them all waiting, and
watchers that are there already would wait for all those handshakes."""


class Listener(socket.socket):
    """Hands out a few connections a turn of the loop; what waits wakes the loop again."""

    def __init__(self, shared: socket.socket) -> None:
        super().__init__(fileno=shared.detach())
        self._accepted = 0
        self.on_accept: Callable[[socket.socket, str], None] | None = None
        """Told of each connection and its address, before anything was read of it, or a TLS handshake begun."""

    def listen(self, backlog: int = 0, /) -> None:
        """It listens already. Asyncio says it again with a backlog of its own, and that would be everybody's."""

    def accept(self) -> tuple[socket.socket, Any]:
        """As a socket does, but nothing is there after `ACCEPTS_A_TURN`."""
        if self._accepted == ACCEPTS_A_TURN:
            self._accepted = 0
            raise BlockingIOError
        try:
            connection, address = super().accept()
        except OSError:
            self._accepted = 0
            raise
        self._accepted += 1
        if self.on_accept is not None:
            self.on_accept(connection, str(address[0]))
        return connection, address
