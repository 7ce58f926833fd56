"""A gateway of the simulation: `testing.sessions.Gate` with its real core, asking the broker over the network."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from msgspec import Struct

from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.core.sessions.forwarding import translated
from rfm_runtime.core.sessions.hub import Forward
from rfm_runtime.core.sessions.replica import Ask
from rfm_runtime.protocol.internal import FeedFrame, Reply, unpack
from rfm_runtime.protocol.operation import ErrorInfo
from rfm_runtime.testing.sessions import Gate
from rfm_runtime.testing.simulation.calls import Calls
from rfm_runtime.testing.simulation.network import Frames, Lane, Network

__all__ = ["Gateway"]

ASK_S = 2.0
REQUEST_S = 5.0


class Gateway(Gate):
    """One process. revoked: tokens that are none any more, for all gateways."""

    def __init__(
        self,
        network: Network,
        address: str,
        numbers: Iterator[int],
        now_s: float,
        settings: dict[str, Any],
        revoked: set[str],
    ) -> None:
        self.address = address
        self.revoked = revoked
        self.calls = Calls(network, address, numbers)
        self._ask_again_s = now_s + ASK_S
        super().__init__(lambda _message: None, **settings)
        self.now_s = now_s
        self.core.last_frame_s = now_s

    def authenticate(self, token: str) -> Grant | None:
        """Whose token it is, if it still is one."""
        return None if token in self.revoked else super().authenticate(token)

    def carry_out(self, commands: list[Any]) -> None:
        """What goes to the broker takes its time, and may get no answer."""
        for command in commands:
            match command:
                case Ask():
                    self._ask_again_s = self.now_s + ASK_S
                    self.calls.ask(command.message, self._answered(command), self.now_s, ASK_S)
                case Forward():
                    self.calls.ask(command.message, self._forwarded(command), self.now_s, REQUEST_S)
        super().carry_out([command for command in commands if not isinstance(command, Ask | Forward)])

    def _answered(self, ask: Ask) -> Any:
        def answered(answer: Struct | None) -> None:
            # Without an answer the ticker asks again.
            if answer is not None and not isinstance(answer, ErrorInfo):
                self.carry_out(list(self.core.answered(answer, ask.attempt)))
                self.flush_all()

        return answered

    def _forwarded(self, forward: Forward) -> Any:
        def answered(answer: Struct | None) -> None:
            if answer is None:
                answer = self.core.unavailable("the broker")
            elif not isinstance(answer, ErrorInfo):
                answer = translated(answer, forward.message)
            self.core.replied(forward.session, forward.request_id, answer, self.now_ms)
            self.flush_all()

        return answered

    def receive(self, lane: Lane, frames: Frames) -> None:
        """One message of the broker."""
        message = unpack(frames)
        match message:
            case Reply():
                self.calls.answered(message)
            case FeedFrame():
                self.carry_out(list(self.core.feed(message, self.now_s)))
                self.flush_all()
            case _:
                raise AssertionError(f"{lane} brought {message}")

    def turn(self, now_s: float) -> None:
        """Its ticker."""
        self.now_s = now_s
        self.calls.tick(now_s)
        if now_s >= self._ask_again_s:
            self._ask_again_s = now_s + ASK_S
            self.carry_out(list(self.core.ask_again(now_s)))
        self.carry_out(self.core.tick(now_s, self.now_ms))
        self.flush_all()
