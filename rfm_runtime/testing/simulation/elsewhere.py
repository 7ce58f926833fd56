"""A program elsewhere: the same desk and loops, in the words of `rfm.v1` over a WebSocket that drops.

To the broker it is a remote owner: not proven dead, but given up when its lease ends.
"""

from __future__ import annotations

import itertools
from collections.abc import Iterator

from msgspec import Struct

from rfm_runtime.core.reporting import wording
from rfm_runtime.core.reporting.desk import Ask, Lost, Progress
from rfm_runtime.protocol.internal import OwnerWelcome, Source
from rfm_runtime.protocol.messages import Hello, Welcome
from rfm_runtime.protocol.operation import ErrorInfo
from rfm_runtime.protocol.reports import Alive
from rfm_runtime.protocol.wire import Envelope
from rfm_runtime.testing.simulation.calls import Answer
from rfm_runtime.testing.simulation.network import Network
from rfm_runtime.testing.simulation.peer import Peer
from rfm_runtime.testing.simulation.reporter import Reporter

__all__ = ["Elsewhere"]

TOKEN = "root"
REQUEST_S = 5.0


class Elsewhere(Reporter, Peer):
    """One process, with at most one connection."""

    def __init__(self, network: Network, address: str, source: Source, numbers: Iterator[int], now_s: float) -> None:
        Reporter.__init__(self, network, address, source, numbers, now_s)
        Peer.__init__(self, address, "msgpack")
        self._requests = itertools.count(1)
        self._pending: dict[int, tuple[float, Answer]] = {}

    # --- the connection ---------------------------------------------------------------------

    def greeting(self) -> Struct:
        """What is held is said once it is welcomed."""
        return Hello(token=TOKEN)

    def lost(self) -> None:
        """Nothing that was asked is answered any more."""
        self.is_greeting = False
        self._pending.clear()
        self._tell(Lost())

    def took(self, envelope: Envelope, message: Struct) -> None:
        """An answer, the welcome, or what its loops are asked."""
        pending = self._pending.pop(envelope.re or 0, None)
        if pending is not None:
            pending[1](message)
        elif isinstance(message, Welcome):
            self.welcomed = True
            self.hello()
        elif envelope.re is None:
            for meant in wording.notices(message):
                self._tell(meant)

    def _request(self, message: Struct, then: Answer) -> None:
        number = next(self._requests)
        self._pending[number] = (self.now_s + REQUEST_S, then)
        self.say(message, number)

    def keep(self, after_s: float = 0.0) -> None:
        """It has no folder that a broker would look into: what it said while it was away is lost with it."""

    # --- in place of the sockets ------------------------------------------------------------

    def hello(self) -> None:
        """All that it holds; the last page is answered."""
        if self.is_greeting or not self.welcomed:
            return
        self.is_greeting = True
        pages = wording.hello(self.source.name, self.source.host, self.source.pid, self.desk.hello().held)
        for page in pages[:-1]:
            self._request(page, lambda _answer: None)
        self._request(pages[-1], self._reported)

    def _reported(self, answer: Struct | None) -> None:
        self.is_greeting = False
        meant = [] if answer is None or isinstance(answer, ErrorInfo) else wording.notices(answer)
        if meant and isinstance(meant[0], OwnerWelcome):
            self._tell(meant[0])
        else:
            self.hello()

    def _push(self, progress: Progress) -> None:
        if self.welcomed:
            self.say(wording.progress(progress.operation_id, progress.measure))

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
            self.say(Alive())

    def tick(self, now_s: float) -> None:
        """Ten times a second."""
        for number in [number for number, (until_s, _) in self._pending.items() if now_s >= until_s]:
            self.now_s = now_s
            self._pending.pop(number)[1](None)
        super().tick(now_s)
