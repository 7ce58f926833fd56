"""A gateway without sockets and broker: the real core, watchers that decode what they are sent, a log told by the test.

`Gate` does what the gateway's shell does with the core's commands, `Watcher` is the peer of one connection, `Story`
stands for the broker. Everything passes through the real codecs, and the core's tables are checked at each step.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any, TypeVar

import msgspec
from msgspec import Struct

from rfm_runtime.config import Settings
from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.core.sessions.hub import (
    Beat,
    Close,
    Fetch,
    Forward,
    GatewayCore,
    Identity,
    PassOn,
    Push,
    Refused,
)
from rfm_runtime.core.sessions.replica import Ask
from rfm_runtime.errors import RfmError
from rfm_runtime.protocol.codes import CloseCode
from rfm_runtime.protocol.internal import (
    ControlFrame,
    Events,
    EventsSince,
    FeedFrame,
    Principal,
    ProgressState,
    ProgressStateReply,
    Snapshot,
    SnapshotPage,
    pack,
    unpack,
)
from rfm_runtime.protocol.messages import Hello, Subscribe
from rfm_runtime.protocol.operation import TERMINAL_STATES, EventType, Operation, OperationEvent, ProgressUpdate
from rfm_runtime.protocol.wire import Encoding, Envelope, decode_batch, decode_message, encode, join

__all__ = ["TOKENS", "Gate", "Story", "Watcher"]

T = TypeVar("T", bound=Struct)

TOKENS = {
    "ann": Principal("ann", ("operator",)),
    "bob": Principal("bob", ("operator",)),
    "root": Principal("root", ("admin",)),
    "eve": Principal("eve", ("viewer",)),
    "nobody": Principal("nobody", ()),
}
"""Who each token is."""

ENDS: dict[str, EventType] = {
    "completed": "operation_completed",
    "failed": "operation_failed",
    "canceled": "operation_canceled",
}


class Story:
    """A broker's log: events are numbered, frames follow each other, questions are answered."""

    def __init__(self, epoch: str = "log", incarnation: int = 1) -> None:
        self.events_per_ms = 1
        self.epoch = epoch
        self.incarnation = incarnation
        self.events: list[OperationEvent] = []
        self.operations: dict[str, Operation] = {}
        self.floor = 0
        self.page_limit = 500
        self._revision = 0
        self._frame_no = 0
        self._published = 0

    @property
    def head(self) -> int:
        """Number of the last event."""
        return self.floor + len(self.events)

    def accept(self, operation_id: str, **fields: Any) -> OperationEvent:
        """A new operation."""
        given = {"kind": "test", "name": operation_id, "owner": "ann", **fields}
        created_at_ms = 1000 + self.head
        operation = Operation(
            operation_id=operation_id, state="pending", at_seq=0, created_at_ms=created_at_ms, **given
        )
        self.operations[operation_id] = operation
        return self.event(operation_id, "operation_accepted", "pending", carried=True)

    def start(self, operation_id: str) -> OperationEvent:
        """It begins to run."""
        return self.event(operation_id, "operation_started", "running", carried=True)

    def end(self, operation_id: str, state: str = "completed", **fields: Any) -> OperationEvent:
        """Its outcome, with the progress it had."""
        final = self._update(operation_id, self.head + 1, self._done(operation_id))
        return self.event(operation_id, ENDS[state], state, final=final, **fields)

    def event(
        self, operation_id: str, event_type: EventType, state: Any, *, carried: bool = False, **fields: Any
    ) -> OperationEvent:
        """The next event of the log; `carried`: with the operation in it."""
        seq = self.head + 1
        terminal = state in TERMINAL_STATES
        operation = msgspec.structs.replace(
            self.operations[operation_id],
            state=state,
            at_seq=seq,
            ended_at_ms=seq // self.events_per_ms if terminal else None,
            artifacts=fields.get("artifacts", ()),
        )
        if terminal:
            operation = msgspec.structs.replace(operation, latest=fields["final"])
        self.operations[operation_id] = operation
        event = OperationEvent(
            seq=seq,
            ts_ms=seq // self.events_per_ms,
            type=event_type,
            operation_id=operation_id,
            state=state,
            operation=operation if carried else None,
            **fields,
        )
        self.events.append(event)
        return event

    def measure(self, operation_id: str, done: float, **fields: Any) -> ProgressUpdate:
        """New progress of a running operation."""
        operation = self.operations[operation_id]
        update = self._update(operation_id, operation.at_seq, done, **fields)
        self.operations[operation_id] = msgspec.structs.replace(operation, latest=update)
        return update

    def _done(self, operation_id: str) -> float:
        latest = self.operations[operation_id].latest
        return 0.0 if latest is None else latest.done

    def _update(self, operation_id: str, at_seq: int, done: float, **fields: Any) -> ProgressUpdate:
        self._revision += 1
        rev = (self.incarnation, self._revision)
        return ProgressUpdate(operation_id=operation_id, rev=rev, at_seq=at_seq, measured_at_ms=0, done=done, **fields)

    def forget_before(self, seq: int) -> None:
        """The broker's memory of events is bounded."""
        self.events = [event for event in self.events if event.seq > seq]
        self.floor = seq

    def frame(self, *progress: ProgressUpdate) -> FeedFrame:
        """The next frame of the feed: what happened since the last one, and this progress."""
        events = tuple(event for event in self.events if event.seq > self._published)
        previous, self._published = self._published, self.head
        self._frame_no += 1
        return FeedFrame(
            epoch=self.epoch,
            incarnation=self.incarnation,
            frame_no=self._frame_no,
            prev_seq=previous,
            head_seq=self.head,
            ts_ms=0,
            events=events,
            progress=progress,
        )

    def restart(self) -> None:
        """The broker's next incarnation: the same log, frames are numbered anew."""
        self.incarnation += 1
        self._frame_no = 0
        self._published = self.head

    def answer(self, message: Struct) -> Struct:
        """What the broker says to a gateway's question."""
        match message:
            case Snapshot():
                ids = sorted(oid for oid in self.operations if oid > message.cursor)
                page = ids[: self.page_limit]
                return SnapshotPage(
                    epoch=self.epoch,
                    incarnation=self.incarnation,
                    seq=self.head,
                    operations=tuple(self.operations[oid] for oid in page),
                    cursor=page[-1] if len(ids) > len(page) else "",
                )
            case EventsSince():
                known = message.epoch == self.epoch and self.floor <= message.seq <= self.head
                return Events(
                    epoch=self.epoch,
                    incarnation=self.incarnation,
                    floor=self.floor,
                    head=self.head,
                    recovered=known,
                    events=tuple(event for event in self.events if event.seq > message.seq) if known else (),
                )
            case ProgressState():
                live = (o for o in self.operations.values() if o.state not in TERMINAL_STATES)
                progress = tuple(o.latest for o in live if o.latest is not None)
                return ProgressStateReply(self.incarnation, self._frame_no, progress)
        raise TypeError(f"no gateway asks {message}")


class Watcher:
    """The peer of one connection.

    told: what reached it, decoded. While it is `frozen`, what it is sent waits in its socket.
    """

    def __init__(self, gate: Gate, number: int, encoding: Encoding) -> None:
        self.gate = gate
        self.number = number
        self.encoding = encoding
        self.told: list[Struct] = []
        self.envelopes: list[Envelope] = []
        self.frozen = False
        self._stuck: deque[tuple[bytes, bool]] = deque()
        self.closed: int | None = None

    def say(self, *requests: Struct, request_id: int | None = None) -> None:
        """Send requests, as one WebSocket message."""
        parts = [encode(request, self.encoding, ts=0, request_id=request_id) for request in requests]
        self.send(join(parts, self.encoding))

    def send(self, message: bytes) -> None:
        """Send bytes; text in a JSON session."""
        self.gate.received(self, message.decode() if self.encoding == "json" else message)

    def hello(self, token: str = "ann", **fields: Any) -> Watcher:
        """Say hello."""
        self.say(Hello(token=token, **fields))
        return self

    def subscribe(self, operations: Any = "all", **fields: Any) -> Watcher:
        """Subscribe."""
        self.say(Subscribe(operations=operations, **fields))
        return self

    @property
    def unsent_bytes(self) -> int:
        """What waits in its socket."""
        return sum(len(data) for data, _ in self._stuck)

    def take(self, data: bytes, *, binary: bool) -> None:
        """A WebSocket message is sent to it."""
        self._stuck.append((data, binary))
        if not self.frozen:
            self.read()

    def read(self, messages: int | None = None) -> None:
        """Read that many of the messages in the socket, or all."""
        while self._stuck and messages != 0:
            self._read(*self._stuck.popleft())
            messages = None if messages is None else messages - 1

    def _read(self, data: bytes, binary: bool) -> None:
        encoding: Encoding = "msgpack" if binary else "json"
        for envelope in decode_batch(data, encoding, batch_limit=1_000_000):
            message = decode_message(envelope, encoding)
            if message is None:
                raise AssertionError(f"a message without a meaning: {envelope.type}")
            self.envelopes.append(envelope)
            self.told.append(message)

    def all(self, kind: type[T]) -> list[T]:
        """Everything of this type it was told."""
        return [message for message in self.told if isinstance(message, kind)]

    def forget(self) -> None:
        """Look only at what comes from now on."""
        self.told.clear()
        self.envelopes.clear()


class Gate:
    """One gateway. answer: the broker, None while it does not answer; what was asked then is `unanswered`."""

    def __init__(self, answer: Callable[[Struct], Struct | None], **settings: Any) -> None:
        given = {"state_dir": "/s", "runtime_dir": "/r", "cache_dir": "/c", **settings}
        self.settings = Settings(**given)
        self.answer = answer
        self.now_s = 100.0
        self.grants: dict[str, Grant] = {}
        self.core = GatewayCore(self.settings, Identity("1", 0, "gate"), self.authenticate, self.now_s)
        self.watchers: dict[int, Watcher] = {}
        self.forwards: list[Forward] = []
        self.fetches: list[Fetch] = []
        self.passed: list[PassOn] = []
        self.pushes: list[Push] = []
        self.beats: list[Beat] = []
        self.unanswered: list[Ask] = []

    def authenticate(self, token: str) -> Grant | None:
        """Of `grants` first, which a test may fill, then of everybody's."""
        if token in self.grants:
            return self.grants[token]
        return Grant(TOKENS[token]) if token in TOKENS else None

    @property
    def now_ms(self) -> int:
        """The other clock."""
        return round(self.now_s * 1000)

    def carry_out(self, commands: list[Any]) -> None:
        """What the shell does with the core's commands."""
        for command in commands:
            match command:
                case Ask():
                    answer = self.answer(command.message)
                    if answer is None:
                        self.unanswered.append(command)
                    else:
                        self.carry_out(list(self.core.answered(unpack(pack(answer)), command.attempt)))
                case Forward():
                    self.forwards.append(command)
                case Fetch():
                    self.fetches.append(command)
                case PassOn():
                    self.passed.append(command)
                case Push():
                    self.pushes.append(command)
                case Beat():
                    self.beats.append(command)
                case Close():
                    self._close(self.watchers[command.session], command.code)
        self.core.sanity_check()

    def boot(self) -> Gate:
        """Read everything, as the shell does when it starts."""
        self.carry_out(list(self.core.replica.restart()))
        return self

    def feed(self, *frames: FeedFrame) -> None:
        """Frames arrive."""
        for frame in frames:
            received = unpack(pack(frame))
            if not isinstance(received, FeedFrame):
                raise TypeError(received)
            self.carry_out(list(self.core.feed(received, self.now_s)))
        self.flush_all()

    def tick(self, elapsed_s: float = 0.05) -> None:
        """Time passes, then the ticker runs once."""
        self.now_s += elapsed_s
        self.carry_out(self.core.tick(self.now_s, self.now_ms))
        self.flush_all()

    def ticks(self, seconds: float, step_s: float = 0.05) -> None:
        """The ticker runs for a while."""
        for _ in range(round(seconds / step_s)):
            self.tick(step_s)

    def drain(self) -> None:
        """Shut down."""
        self.carry_out(self.core.drain(self.now_ms))

    # --- connections ------------------------------------------------------------------------

    def try_connect(
        self,
        encoding: Encoding = "json",
        *,
        address: str = "a",
        principal: Principal | None = None,
        grant: Grant | None = None,
        certificate_ends_ms: int | None = None,
    ) -> Watcher | Refused:
        """A WebSocket handshake. principal, grant: of a token in its header, or of a certificate."""
        granted = grant if grant is not None or principal is None else Grant(principal)
        session = self.core.connected(address, encoding, granted, self.now_s, certificate_ends_ms=certificate_ends_ms)
        if isinstance(session, Refused):
            return session
        watcher = self.watchers[session.number] = Watcher(self, session.number, encoding)
        return watcher

    def connect(
        self,
        encoding: Encoding = "json",
        *,
        address: str = "a",
        principal: Principal | None = None,
        grant: Grant | None = None,
        certificate_ends_ms: int | None = None,
    ) -> Watcher:
        """A WebSocket handshake that must not be refused."""
        watcher = self.try_connect(
            encoding, address=address, principal=principal, grant=grant, certificate_ends_ms=certificate_ends_ms
        )
        if isinstance(watcher, Refused):
            raise AssertionError(f"refused: {watcher}")
        return watcher

    def drop(self, watcher: Watcher) -> None:
        """The connection breaks; what was in its socket is lost."""
        self.core.disconnected(watcher.number)
        self.watchers.pop(watcher.number, None)
        self.core.sanity_check()

    def received(self, watcher: Watcher, message: bytes | str) -> None:
        """A WebSocket message arrives."""
        self.carry_out(self.core.received(watcher.number, message, self.now_s, self.now_ms))
        self.flush(watcher)

    def replied(self, answer: Any) -> None:
        """The broker answers the oldest request that waits."""
        forward = self.forwards.pop(0)
        self.core.replied(forward.session, forward.request_id, answer, self.now_ms, forward.message)
        self._flush_number(forward.session)

    def fetched(self, answer: Any) -> None:
        """The engine answers the oldest fetch that waits."""
        fetch = self.fetches.pop(0)
        self.core.fetched(fetch.session, fetch.request_id, answer, self.now_ms, fetch.request)
        self._flush_number(fetch.session)

    def passed_on(self, answer: Struct | RfmError) -> None:
        """The broker answers the oldest word that was passed on."""
        command = self.passed.pop(0)
        self.carry_out(self.core.passed_on(command, answer, self.now_ms))
        self._flush_number(command.session)

    def pushed(self, watcher: Watcher, message: Struct) -> None:
        """The broker says something to the program that reports there."""
        self.carry_out(self.core.pushed(watcher.number, message, self.now_ms))
        self.flush_all()

    def control(self, frame: ControlFrame) -> None:
        """The cancel set arrives."""
        self.carry_out(self.core.control(frame, self.now_ms))
        self.flush_all()

    def _close(self, watcher: Watcher, code: int) -> None:
        if code != CloseCode.SLOW_CONSUMER:
            self.flush(watcher)
        watcher.closed = code
        self.drop(watcher)

    # --- writing ----------------------------------------------------------------------------

    def flush_all(self) -> None:
        """Flush whoever has something."""
        for number in self.core.pending():
            self._flush_number(number)

    def _flush_number(self, number: int) -> None:
        watcher = self.watchers.get(number)
        if watcher is not None:
            self.flush(watcher)

    def flush(self, watcher: Watcher) -> None:
        """Write what the core has for this watcher."""
        if watcher.number not in self.core.sessions:
            return
        payloads = self.core.pull(watcher.number, watcher.unsent_bytes, self.now_s, self.now_ms)
        text = [payload.data for payload in payloads if not payload.binary]
        binary = [payload.data for payload in payloads if payload.binary]
        if text:
            watcher.take(join(text, "json"), binary=False)
        if binary:
            watcher.take(join(binary, "msgpack"), binary=True)
