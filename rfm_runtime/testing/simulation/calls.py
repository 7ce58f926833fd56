"""Requests of one process: each is answered once, or given up when its time is over. `transport.rpc` without I/O."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from msgspec import Struct

from rfm_runtime.protocol.internal import Reply, pack, pack_request, unpack_body
from rfm_runtime.testing.simulation.network import BROKER, Network

__all__ = ["Answer", "Calls"]

Answer = Callable[[Struct | None], None]
"""Told the answer, `ErrorInfo` for a refusal, None if none came in time."""


class Calls:
    """What `address` has asked the broker. numbers: of all requests in the world, so that a trace tells them apart."""

    def __init__(self, network: Network, address: str, numbers: Iterator[int]) -> None:
        self._network = network
        self._address = address
        self._numbers = numbers
        self._pending: dict[int, tuple[float, Answer]] = {}

    def ask(self, message: Struct, then: Answer, now_s: float, timeout_s: float = 1.0) -> None:
        """Send a request."""
        number = next(self._numbers)
        self._pending[number] = (now_s + timeout_s, then)
        self._network.send(self._address, BROKER, "command", pack_request(number, message))

    def tell(self, message: Struct) -> None:
        """Send a one-way message."""
        self._network.send(self._address, BROKER, "command", pack(message))

    def answered(self, reply: Reply) -> None:
        """The broker's answer; a late one disturbs nobody."""
        pending = self._pending.pop(reply.id, None)
        if pending is not None:
            pending[1](reply.error if reply.error is not None else unpack_body(reply))

    def tick(self, now_s: float) -> None:
        """Give up what has waited too long."""
        for number in [number for number, (until_s, _) in self._pending.items() if now_s >= until_s]:
            self._pending.pop(number)[1](None)
