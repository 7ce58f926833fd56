"""The engine of the simulation: `testing.tiles.World` with its real core, its workers and its disk, on the network.

Of its shell it has what is between core and broker: hello, reports that are repeated until they are acknowledged,
the cancel set, pushes. One `Engine` is the machine's place for one: processes come and go, the disk stays.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec
from msgspec import Struct

from rfm_runtime.core.tiles.messages import (
    Assigned,
    Command,
    PriorityChanged,
    Report,
    SayOutcome,
    SayPaused,
    SayReleased,
    SayStarted,
)
from rfm_runtime.protocol.internal import (
    Ack,
    Assign,
    ControlFrame,
    HelloAsked,
    Outcome,
    OwnerHeartbeat,
    OwnerHello,
    OwnerWelcome,
    PauseOwner,
    PauseState,
    PriorityOwner,
    Release,
    Reply,
    Source,
    Started,
    pack_progress,
    unpack,
)
from rfm_runtime.protocol.operation import ErrorInfo
from rfm_runtime.testing.operations import owner_hello
from rfm_runtime.testing.simulation.calls import Calls
from rfm_runtime.testing.simulation.network import BROKER, Frames, Lane, Network
from rfm_runtime.testing.tiles import World
from rfm_runtime.testing.tiles_ledger import require

__all__ = ["Engine", "EngineProcess"]

WORKERS = 2
SLOTS = 3


class Engine(World):
    """process: who runs it now."""

    def __init__(self) -> None:
        self.process: EngineProcess | None = None
        super().__init__(WORKERS)

    def carry_out(self, command: Command) -> None:
        """Check it, and have the process say it."""
        super().carry_out(command)
        if self.process is not None:
            self.process.carry_out(command)

    def assigned(self, assign: Assign) -> None:
        """As `World.assign`, with the broker's own message."""
        for (operation_id, older), claim in self.claims.items():
            if operation_id == assign.operation_id and older < assign.generation and not claim.ended:
                claim.dropped = True
        self.handle(Assigned(assign))

    def taken_by(self, process: EngineProcess) -> None:
        """A process takes the place: nothing is left of the one before but the disk."""
        self.process = None
        self.boot(WORKERS)
        self.process = process

    def leave(self) -> None:
        """The process is gone, and its workers with it."""
        self.process = None
        for worker in self.processes.values():
            self.kill(worker)

    def runs_anything_of(self, operation_id: str) -> bool:
        """Whether a worker computes, or will compute, something of it."""
        return any(worker.alive and worker.holds(operation_id) for worker in self.processes.values())


class EngineProcess:
    """One start of the engine. place: where it works, once its predecessor is gone."""

    def __init__(
        self, place: Engine, network: Network, address: str, source: Source, numbers: Iterator[int], now_s: float
    ) -> None:
        self.place = place
        self.network = network
        self.address = address
        self.source = source
        self.now_s = now_s
        self.calls = Calls(network, address, numbers)
        self.incarnation: int | None = None
        self.greeting = False
        self._heartbeat_s = now_s
        self._again: list[tuple[float, Started | PauseState | Outcome | Release]] = []
        self._saying: set[tuple[str, int]] = set()

    @property
    def works(self) -> bool:
        """Whether it has taken its place."""
        return self.place.process is self

    # --- towards the broker -----------------------------------------------------------------

    def hello(self) -> None:
        """Say who this is and what it holds, until it is answered."""
        if self.greeting:
            return
        self.greeting = True
        self.calls.ask(self._describe(), self._welcomed, self.now_s)

    def _describe(self) -> OwnerHello:
        held = self.place.core.held(round(self.now_s * 1000)) if self.works else ()
        hello = owner_hello("engine-0", pid=self.source.pid, slots=SLOTS, held=held)
        return msgspec.structs.replace(hello, source=self.source, workers=WORKERS)

    def _welcomed(self, answer: Struct | None) -> None:
        self.greeting = False
        if not isinstance(answer, OwnerWelcome):
            self.hello()
            return
        self._take_place()
        self.incarnation = answer.incarnation
        for assign in answer.keep:
            self.place.assigned(assign)
        for operation_id in answer.drop:
            self.place.drop(operation_id)
        self._cancel_set(answer.control)

    def _take_place(self) -> None:
        """The broker takes it for the engine: its predecessor is dead, or had nothing in hand that is known."""
        if self.works:
            return
        for key, claim in self.place.claims.items():
            require(claim.ended is not None or claim.dropped, "two engines work", key)
        self.place.taken_by(self)

    def receive(self, lane: Lane, frames: Frames) -> None:
        """One message of the broker."""
        message = unpack(frames)
        if isinstance(message, PauseOwner | PriorityOwner) and not self.works:
            # Of what was assigned to it, and lost on the way: it has nothing yet.
            return
        match message:
            case Reply():
                self.calls.answered(message)
            case ControlFrame():
                if message.incarnation != self.incarnation and self.incarnation is not None:
                    self.hello()
                else:
                    self._cancel_set(message)
            case Assign():
                # It may overtake a welcome that was asked for once more.
                self._take_place()
                self.place.assigned(message)
            case HelloAsked():
                self.hello()
            case PauseOwner():
                self.place.pause(message.operation_id, message.generation, paused=message.paused)
            case PriorityOwner():
                self.place.handle(PriorityChanged(message.operation_id, message.generation, message.priority))
            case _:
                raise AssertionError(f"{lane} brought {message}")

    def _cancel_set(self, frame: ControlFrame) -> None:
        for entry in frame.cancel:
            run = self.place.core.runs.get(entry.operation_id)
            if run is not None and run.generation == entry.generation and not run.ended:
                after_s = None if entry.kill_after_ms is None else entry.kill_after_ms / 1000
                self.place.cancel(entry.operation_id, entry.generation, after_s)

    # --- what its core says -----------------------------------------------------------------

    def carry_out(self, command: Command) -> None:
        """The part of the shell that speaks to the broker."""
        match command:
            case SayStarted():
                self._report(
                    Started(
                        operation_id=command.operation_id,
                        generation=command.generation,
                        total=command.total,
                        unit="px",
                        grid=command.grid,
                    )
                )
            case SayPaused():
                self._report(PauseState(command.operation_id, command.generation, command.paused))
            case SayOutcome():
                self._report(
                    Outcome(
                        operation_id=command.operation_id,
                        generation=command.generation,
                        state=command.state,
                        final=command.measure,
                        error=command.error,
                        artifacts=command.artifacts if command.state == "completed" else (),
                        forced=command.forced,
                    )
                )
            case SayReleased():
                self._report(Release(command.operation_id, command.generation, command.reason, command.measure))
            case Report():
                run = self.place.core.runs.get(command.operation_id)
                if run is not None:
                    message = pack_progress(run.assign.handle, 0, command.measure)
                    self.network.send(self.address, BROKER, "ingest", [message])

    def _report(self, message: Started | PauseState | Outcome | Release) -> None:
        """Repeat it until it is acknowledged, or fenced off."""
        key = (message.operation_id, message.generation)

        def answered(answer: Struct | None) -> None:
            if answer is None or (isinstance(answer, ErrorInfo) and answer.temporary):
                wait_s = 0.1 if answer is None else (answer.retry_after_ms or 100) / 1000
                self._again.append((self.now_s + wait_s, message))
                return
            if not isinstance(answer, Ack) and not (isinstance(answer, ErrorInfo) and answer.code == "conflict"):
                raise AssertionError(f"{message} was answered with {answer}")
            if isinstance(message, Outcome | Release):
                self.place.acknowledge(*key)
            elif isinstance(answer, ErrorInfo):
                run = self.place.core.runs.get(message.operation_id)
                if run is not None and run.generation == message.generation:
                    self.place.drop(message.operation_id)

        self.calls.ask(message, answered, self.now_s)

    def tick(self, now_s: float) -> None:
        """Twenty times a second."""
        self.now_s = now_s
        self.calls.tick(now_s)
        due, self._again = [m for s, m in self._again if s <= now_s], [(s, m) for s, m in self._again if s > now_s]
        for message in due:
            self._report(message)
        if now_s - self._heartbeat_s >= 1.0:
            self._heartbeat_s = now_s
            self.calls.tell(OwnerHeartbeat(self.source, len(self.place.core.runs)))
        if self.works:
            self.place.now_s = now_s
            self.place.tick(0.0)
