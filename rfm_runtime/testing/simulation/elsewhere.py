"""A program elsewhere: the same desk and loops, in the words of `rfm.v1` over a WebSocket that drops.

To the broker it is a remote owner: not proven dead, but given up when its lease ends.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterator

from msgspec import Struct

from rfm_runtime.core.reporting import wording
from rfm_runtime.core.reporting.desk import Ask, Lost, Progress
from rfm_runtime.protocol.internal import OwnerWelcome, Source
from rfm_runtime.protocol.messages import Hello, Welcome
from rfm_runtime.protocol.operation import ErrorInfo
from rfm_runtime.protocol.reports import Alive
from rfm_runtime.protocol.wire import encode
from rfm_runtime.testing.sessions import Watcher
from rfm_runtime.testing.simulation.calls import Answer
from rfm_runtime.testing.simulation.gateway import Gateway
from rfm_runtime.testing.simulation.network import Network
from rfm_runtime.testing.simulation.reporter import Reporter

__all__ = ["Elsewhere"]

TOKEN = "root"
REQUEST_S = 5.0


class Elsewhere(Reporter):
    """One process, with at most one connection."""

    def __init__(self, network: Network, address: str, source: Source, numbers: Iterator[int], now_s: float) -> None:
        super().__init__(network, address, source, numbers, now_s)
        self.connection: Watcher | None = None
        self.gateway: Gateway | None = None
        self.outgoing: deque[bytes] = deque()
        self.welcomed = False
        self._requests = itertools.count(1)
        self._pending: dict[int, tuple[float, Answer]] = {}

    @property
    def name(self) -> str:
        """For traces."""
        return self.address

    # --- the connection ---------------------------------------------------------------------

    def connect(self, gateway: Gateway) -> None:
        """Open a connection and say hello."""
        watcher = gateway.try_connect("msgpack", address=self.address)
        if isinstance(watcher, Watcher):
            watcher.frozen = True
            self.connection, self.gateway = watcher, gateway
            self._say(Hello(token=TOKEN))

    def cut(self) -> None:
        """The connection is gone, with all that was in it."""
        if self.connection is not None and self.gateway is not None and self.connection.closed is None:
            self.gateway.drop(self.connection)
        was = self.connection is not None
        self.connection = self.gateway = None
        self.outgoing.clear()
        self.welcomed = self.greeting = False
        self._pending.clear()
        if was:
            self._tell(Lost())

    def _say(self, message: Struct, number: int = 0) -> None:
        self.outgoing.append(encode(message, "msgpack", ts=0, request_id=number or None))

    def _request(self, message: Struct, then: Answer) -> None:
        number = next(self._requests)
        self._pending[number] = (self.now_s + REQUEST_S, then)
        self._say(message, number)

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
        """Read one message."""
        connection = self.connection
        if connection is None:
            return
        connection.read(1)
        for envelope, message in zip(connection.envelopes, connection.told, strict=True):
            pending = self._pending.pop(envelope.re or 0, None)
            if pending is not None:
                pending[1](message)
            elif isinstance(message, Welcome):
                self.welcomed = True
                self.hello()
            elif envelope.re is None:
                for meant in wording.notices(message):
                    self._tell(meant)
        connection.forget()
        if connection.closed is not None and connection.unsent_bytes == 0:
            self.cut()

    # --- in place of the sockets ------------------------------------------------------------

    def hello(self) -> None:
        """All that it holds; the last page is answered."""
        if self.greeting or not self.welcomed:
            return
        self.greeting = True
        pages = wording.hello(self.source.name, self.source.host, self.source.pid, self.desk.hello().held)
        for page in pages[:-1]:
            self._request(page, lambda _answer: None)
        self._request(pages[-1], self._reported)

    def _reported(self, answer: Struct | None) -> None:
        self.greeting = False
        meant = [] if answer is None or isinstance(answer, ErrorInfo) else wording.notices(answer)
        if meant and isinstance(meant[0], OwnerWelcome):
            self._tell(meant[0])
        else:
            self.hello()

    def _push(self, progress: Progress) -> None:
        if self.welcomed:
            self._say(wording.progress(progress.operation_id, progress.measure))

    def _ask(self, ask: Ask) -> None:
        answered = self._answers(ask)

        def translated(answer: Struct | None) -> None:
            answered(answer if answer is None or isinstance(answer, ErrorInfo) else wording.answer(answer))

        if self.welcomed:
            self._request(wording.request(ask.message), translated)
        else:
            answered(None)

    def _beat(self) -> None:
        if self.loops and self.welcomed:
            self._say(Alive())

    def tick(self, now_s: float) -> None:
        """Ten times a second."""
        for number in [number for number, (until_s, _) in self._pending.items() if now_s >= until_s]:
            self.now_s = now_s
            self._pending.pop(number)[1](None)
        super().tick(now_s)
