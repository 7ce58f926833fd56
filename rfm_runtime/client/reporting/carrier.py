"""What carries reports to a broker: its own sockets on this machine (`nearby`), a WebSocket to one `elsewhere`."""

from __future__ import annotations

from typing import Protocol

from msgspec import Struct

from rfm_runtime.core.reporting.desk import Progress
from rfm_runtime.errors import RfmError
from rfm_runtime.protocol.internal import Ack, Announce, Assign, HeldOperation, Outcome, OwnerWelcome, PauseState

__all__ = ["Carrier", "Listener"]


class Carrier(Protocol):
    """Made by the line in its loop, closed by it once. is_over: it will not connect any more, whatever comes."""

    is_over: bool

    async def hello(self, held: tuple[HeldOperation, ...]) -> OwnerWelcome:
        """Introduce the program, once there is a connection. Raises RfmError."""
        ...

    async def ask(self, message: Announce | Outcome | PauseState) -> Assign | Ack:
        """The broker's answer. Raises RfmError; what cannot be said raises anything."""
        ...

    def push(self, progress: Progress) -> None:
        """Pass a measure on as soon as the broker takes it, or a newer one in its place."""
        ...

    def beat(self, operations: int) -> None:
        """This program lives; once a second."""
        ...

    async def close(self) -> None:
        """Leave nothing behind."""
        ...


class Listener(Protocol):
    """The line, as a carrier sees it. Everything in its loop."""

    def handle(self, message: Struct) -> None:
        """The broker says something."""
        ...

    def lost(self) -> None:
        """The connection is gone; another one is tried."""
        ...

    def unreachable(self, error: RfmError) -> None:
        """Nobody answers, for this reason."""
        ...
