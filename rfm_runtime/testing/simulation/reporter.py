"""A program that reports its own operations: a real desk, the loops that it speaks for, and the network.

Its loops look at what they are asked as `track` does, end as the schedule says, and die with their process.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from msgspec import Struct

from rfm_runtime.core.reporting.desk import (
    Answered,
    Ask,
    Begin,
    Desk,
    End,
    GivenUp,
    Hello,
    Measure,
    Paused,
    Progress,
    Refused,
    Settled,
    Tell,
    Tick,
)
from rfm_runtime.errors import UnavailableError
from rfm_runtime.protocol.internal import (
    Announce,
    LastWord,
    OperationMeasure,
    OwnerHeartbeat,
    OwnerHello,
    OwnerWelcome,
    Reply,
    Source,
    pack_progress,
    unpack,
)
from rfm_runtime.protocol.operation import ErrorInfo
from rfm_runtime.testing.operations import ADMIN, owner_hello
from rfm_runtime.testing.simulation.calls import Answer, Calls
from rfm_runtime.testing.simulation.network import BROKER, Frames, Lane, Network

__all__ = ["Ending", "Reporter"]

TOTAL = 100.0
KEEP_S = 1.0
Ending = Literal["completed", "failed", "canceled"]


class Reporter:
    """One process. loops: what runs, how far it is. told: what each was asked. ended, settled: outcomes, by id.

    given_up: what the broker would not have any more. kept: outcomes that nobody acknowledged for a second, on disk
    until all of them are settled.
    """

    def __init__(self, network: Network, address: str, source: Source, numbers: Iterator[int], now_s: float) -> None:
        self.network = network
        self.address = address
        self.source = source
        self.now_s = now_s
        self.wall_ms = 0
        self.desk = Desk()
        self.calls = Calls(network, address, numbers)
        self.is_greeting = False
        self.loops: dict[str, float] = {}
        self.told: dict[str, Tell] = {}
        self.ended: dict[str, Ending] = {}
        self.settled: set[str] = set()
        self.given_up: set[str] = set()
        self.kept: dict[str, LastWord] = {}
        self._heartbeat_s = now_s

    # --- the program ------------------------------------------------------------------------

    def begin(self, operation_id: str) -> None:
        """A loop begins."""
        self.loops[operation_id] = 0.0
        announce = Announce(
            principal=ADMIN, operation_id=operation_id, kind="loop", name="loop", measure=measure(0.0), pausable=True
        )
        self._tell(Begin(announce))

    def advance(self, operation_id: str, more: float) -> None:
        """The loop goes on, unless it stands still because somebody wants that."""
        told = self.told.get(operation_id)
        if told is not None and told.pause and not told.cancel:
            return
        self.loops[operation_id] = min(TOTAL, self.loops[operation_id] + more)
        self._tell(Measure(operation_id, measure(self.loops[operation_id])))

    def look(self, operation_id: str) -> None:
        """The loop looks at what it is asked: it stops, stands still, or goes on."""
        told = self.told.get(operation_id)
        if told is None:
            return
        if told.cancel:
            self.end(operation_id, "canceled")
        else:
            self._tell(Paused(operation_id, told.pause))

    def end(self, operation_id: str, state: Ending) -> None:
        """The loop is over."""
        done = TOTAL if state == "completed" else self.loops[operation_id]
        del self.loops[operation_id]
        self.ended[operation_id] = state
        error = ErrorInfo(code="failed", message="it raised") if state == "failed" else None
        self._tell(End(operation_id, state, measure(done), error))

    # --- the broker -------------------------------------------------------------------------

    def receive(self, _lane: Lane, frames: Frames) -> None:
        """One message of the broker."""
        message = unpack(frames)
        if isinstance(message, Reply):
            self.calls.answered(message)
        else:
            self._tell(message)

    def hello(self) -> None:
        """Introduce this program, until it is answered."""
        if not self.is_greeting:
            self.is_greeting = True
            given = owner_hello(self.source.name, role="reporter", resumable=(), held=self.desk.hello().held)
            fields: dict[str, Any] = {field: getattr(given, field) for field in OwnerHello.__struct_fields__}
            self.calls.ask(OwnerHello(**{**fields, "source": self.source}), self._welcomed, self.now_s)

    def _welcomed(self, answer: Struct | None) -> None:
        self.is_greeting = False
        if isinstance(answer, OwnerWelcome):
            self._tell(answer)
        else:
            self.hello()

    def _tell(self, message: Struct) -> None:
        for command in self.desk.handle(message, self.now_s):
            match command:
                case Hello():
                    self.hello()
                case Ask():
                    self._ask(command)
                case Progress():
                    self._push(command)
                case Tell():
                    self.told[command.operation_id] = command
                case Settled():
                    self.settled.add(command.operation_id)
                    if self.kept.keys() <= self.settled:
                        self.kept.clear()
                case GivenUp():
                    self.given_up.add(command.operation_id)
        self.desk.sanity_check()

    def _push(self, progress: Progress) -> None:
        frames = [pack_progress(progress.handle, 0, progress.measure)]
        self.network.send(self.address, BROKER, "ingest", frames)

    def _ask(self, ask: Ask) -> None:
        self.calls.ask(ask.message, self._answers(ask), self.now_s)

    def _answers(self, ask: Ask) -> Answer:
        def answered(answer: Struct | None) -> None:
            if answer is None:
                self._tell(Refused(ask, UnavailableError("no answer in time")))
            elif isinstance(answer, ErrorInfo):
                self._tell(Refused(ask, answer.to_exception()))
            else:
                self._tell(Answered(ask, answer))

        return answered

    def tick(self, now_s: float) -> None:
        """Ten times a second."""
        self.now_s = now_s
        self.calls.tick(now_s)
        if now_s - self._heartbeat_s >= 1.0:
            self._heartbeat_s = now_s
            self._beat()
        self._tell(Tick())
        self.keep()

    def keep(self, after_s: float = KEEP_S) -> None:
        """Leave on disk what was said so long ago and is not acknowledged."""
        for announce, outcome in self.desk.unheard(self.now_s - after_s, self.now_s):
            word = LastWord(announce=announce, outcome=outcome, kept_at_ms=self.wall_ms)
            self.kept.setdefault(outcome.operation_id, word)

    def leave(self) -> None:
        """The program comes to its end, and its loops with it."""
        for operation_id in sorted(self.loops):
            self.end(operation_id, "failed")
        self.keep(0.0)

    def _beat(self) -> None:
        self.calls.tell(OwnerHeartbeat(self.source, len(self.loops)))


def measure(done: float) -> OperationMeasure:
    """Where a loop is."""
    return OperationMeasure(1, 0, 0, done=done, total=TOTAL)
