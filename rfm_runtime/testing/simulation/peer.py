"""The other end of a gateway's WebSocket: what is on its way in both directions, and a connection that drops."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import deque

from msgspec import Struct

from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.protocol.wire import Encoding, Envelope, encode
from rfm_runtime.testing.sessions import Watcher
from rfm_runtime.testing.simulation.gateway import Gateway

__all__ = ["Peer"]


class Peer(ABC):
    """connection, gateway: None while there is none. outgoing: said, and not at the gateway yet.

    grant: what its certificate grants, if it has one.
    """

    def __init__(self, name: str, encoding: Encoding) -> None:
        self.name = name
        self.encoding: Encoding = encoding
        self.connection: Watcher | None = None
        self.gateway: Gateway | None = None
        self.outgoing: deque[bytes] = deque()
        self.welcomed = False
        self.grant: Grant | None = None

    @abstractmethod
    def greeting(self) -> Struct:
        """What is said first."""

    @abstractmethod
    def took(self, envelope: Envelope, message: Struct) -> None:
        """A message has been read."""

    @abstractmethod
    def lost(self) -> None:
        """There was a connection, and it is gone with all that was in it."""

    def dismissed_with(self, code: int) -> None:  # noqa: B027 - most have nothing to do then
        """The server has closed with this code."""

    def connect(self, gateway: Gateway) -> None:
        """Open a connection and say hello."""
        watcher = gateway.try_connect(self.encoding, address=self.name, grant=self.grant)
        if isinstance(watcher, Watcher):
            # Read when the schedule says so.
            watcher.frozen = True
            self.connection, self.gateway = watcher, gateway
            self.say(self.greeting())

    def cut(self) -> None:
        """The connection breaks."""
        if self.connection is None or self.gateway is None:
            return
        if self.connection.closed is None:
            self.gateway.drop(self.connection)
        self.connection = self.gateway = None
        self.outgoing.clear()
        self.welcomed = False
        self.lost()

    def say(self, message: Struct, number: int = 0) -> None:
        """Put a message on its way."""
        self.outgoing.append(encode(message, self.encoding, ts=0, request_id=number or None))

    def deliver(self) -> None:
        """One message reaches the gateway."""
        message = self.outgoing.popleft()
        if self.connection is not None and self.connection.closed is None:
            self.connection.send(message)

    @property
    def incoming(self) -> bool:
        """Whether something waits to be read, the end of the connection included."""
        connection = self.connection
        return connection is not None and (connection.unsent_bytes > 0 or connection.closed is not None)

    def read(self) -> None:
        """Read one message; a connection that was closed is gone after its last."""
        connection, gateway = self.connection, self.gateway
        if connection is None or gateway is None:
            return
        connection.read(1)
        for envelope, message in zip(connection.envelopes, connection.told, strict=True):
            self.took(envelope, message)
        connection.forget()
        if connection.closed is None:
            gateway.flush(connection)
        elif connection.unsent_bytes == 0:
            self.dismissed_with(connection.closed)
            self.cut()
