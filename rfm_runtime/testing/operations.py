"""A broker without sockets, disk and clock: the real hub, a journal under the test's control, owners that can lie.

Every message goes through the real codec. What was published or answered is checked against the journal at
the moment it leaves, so each test that uses a `World` holds the rule *journal, then everything else*.
"""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from typing import Any, TypeVar

from msgspec import Struct

from rfm_runtime.config import Settings
from rfm_runtime.core.operations.hub import Hub
from rfm_runtime.core.operations.record import (
    Asked,
    Batch,
    Command,
    Control,
    Died,
    Forget,
    Journal,
    JournalFailed,
    Journalled,
    Kill,
    Loaded,
    Now,
    Publish,
    Push,
    Revoked,
    Ruled,
    Send,
    StoredOperation,
    Tick,
    Told,
    Watch,
)
from rfm_runtime.errors import BadRequestError
from rfm_runtime.protocol.history import Performance
from rfm_runtime.protocol.internal import (
    ControlFrame,
    DoCancel,
    DoSubmit,
    OperationMeasure,
    OwnerHello,
    Principal,
    Request,
    SnapshotPage,
    Source,
    Submitted,
    TileMeasure,
    pack,
    pack_reply,
    pack_request,
    unpack,
    unpack_body,
)
from rfm_runtime.protocol.messages import CancelOperation, CancelReply, Kind, SubmitRequest
from rfm_runtime.protocol.notifying import UserRules
from rfm_runtime.protocol.operation import TERMINAL_STATES, ErrorInfo, OperationEvent, ProgressUpdate
from rfm_runtime.protocol.revocation import Revocation, Revocations

__all__ = ["ADMIN", "KIND", "World", "owner_hello"]

T = TypeVar("T", bound=Struct)

ADMIN = Principal("local", ("admin",))
KIND = "test.count"


def _validate(params: dict[str, Any]) -> None:
    if params.get("bad"):
        raise BadRequestError("params are bad", hint="leave out `bad`")


def owner_hello(
    name: str = "engine-0", *, pid: int = 100, slots: int = 2, local: bool = True, **fields: Any
) -> OwnerHello:
    """An engine that offers `KIND`, which can be resumed."""
    source = Source(name, "host", "boot", pid, 1000.0 + pid, pid)
    given: dict[str, Any] = {"role": "engine", "resumable": (KIND,), **fields}
    kinds = (Kind(kind=KIND, description="counts", params_schema={}),)
    return OwnerHello(source=source, kinds=kinds, location="ipc://data", slots=slots, workers=1, local=local, **given)


class World:
    """rows, events: the journal. waiting: batches not written yet. feed, pushes, controls: what was sent."""

    def __init__(self, **settings: Any) -> None:
        given = {"state_dir": "/s", "runtime_dir": "/r", "cache_dir": "/c", **settings}
        self.settings = Settings(**given)
        self.rows: dict[str, StoredOperation] = {}
        self.events: list[OperationEvent] = []
        self.performance: dict[str, Performance] = {}
        self.revocations: dict[str, Revocation] = {}
        self.revoked: list[Revocations] = []
        self.rules: dict[str, UserRules] = {}
        self.ruled: list[tuple[str, int]] = []
        self.waiting: list[Batch] = []
        self.feed: list[OperationEvent] = []
        self.replies: dict[int, Struct] = {}
        self.pushes: list[tuple[bytes, Struct]] = []
        self.controls: list[ControlFrame] = []
        self.watched: list[Source] = []
        self.killed: list[Source] = []
        self.forgotten: list[str] = []
        self.shown: dict[str, ProgressUpdate] = {}
        self.incarnation = 0
        self.mono_s = 100.0
        self.wall_ms = 1_700_000_000_000
        self.failing = False
        self._numbers = itertools.count(1)
        self._handles = itertools.count(1000)
        self._asked: dict[int, Struct] = {}
        self.boot()

    @property
    def now(self) -> Now:
        """Both clocks."""
        return Now(self.mono_s, self.wall_ms)

    def boot(self, *, first: bool = False) -> None:
        """Start a broker from what the journal holds; what was not written is gone. first: of a new runtime."""
        self.incarnation += 1
        self.waiting.clear()
        self._asked.clear()
        self.failing = False
        head = len(self.events)
        newest = tuple(self.events[-self.settings.history_events :])
        loaded = Loaded(
            epoch="log",
            incarnation=self.incarnation,
            durable=True,
            head=head,
            floor=head - len(newest),
            rows=tuple(self.rows.values()),
            events=newest,
            performance={oid: self.performance[oid] for oid in self.performance if oid not in self._ended()},
            past=tuple(
                (row.operation.kind, row.operation.name, self.performance[oid])
                for oid, row in self.rows.items()
                if row.operation.state == "completed"
            ),
            revocations=tuple(self.revocations.values()),
            rules=tuple(self.rules.values()),
        )
        self.hub = Hub(
            loaded,
            self.settings,
            validators={KIND: _validate},
            mint_handle=lambda: next(self._handles),
            now=self.now,
            shown={operation_id: update.done for operation_id, update in self.shown.items()},
            first=first,
        )
        self._carry_out(self.hub.start(self.now))

    def _ended(self) -> set[str]:
        return {oid for oid, row in self.rows.items() if row.operation.state in TERMINAL_STATES}

    # --- towards the hub --------------------------------------------------------------------

    def ask(self, routing: bytes, message: Struct) -> int:
        """Send a request; its answer comes into `replies`, perhaps after a commit."""
        number = next(self._numbers)
        request = unpack(pack_request(number, message))
        if not isinstance(request, Request):
            raise TypeError(request)
        self._asked[number] = message
        missing = self.hub.missing(message)
        if missing is not None:
            self.hub.recall(self._find(*missing), self.now)
        self.handle(Asked(routing, number, unpack_body(request)))
        return number

    def call(self, routing: bytes, message: Struct, reply: type[T]) -> T:
        """Send a request, write everything, give the answer. A refusal is an AssertionError with its text."""
        number = self.ask(routing, message)
        self.write()
        answer = self.replies[number]
        if not isinstance(answer, reply):
            raise AssertionError(f"{type(message).__name__} was answered with {answer}")
        return answer

    def refused(self, routing: bytes, message: Struct) -> ErrorInfo:
        """Send a request that is refused; the error it is answered with."""
        return self.call(routing, message, ErrorInfo)

    def tell(self, routing: bytes, message: Struct) -> None:
        """Send a one-way message."""
        self.handle(Told(routing, unpack(pack(message))))

    def die(self, source: Source) -> None:
        """The process is proven dead."""
        self.handle(Died(source))

    def handle(self, message: Struct) -> None:
        """Anything else the shell tells the hub."""
        self._carry_out(self.hub.handle(message, self.now))

    def tick(self, elapsed_s: float = 0.05) -> tuple[ProgressUpdate, ...]:
        """Let time pass, then tick as the shell does; the progress that was published."""
        self.mono_s += elapsed_s
        self.wall_ms += round(elapsed_s * 1000)
        self.handle(Tick())
        progress = self.hub.progress(self.now)
        for update in progress:
            self._see(update)
        return progress

    def report(self, handle: int, source: int, measure: OperationMeasure | TileMeasure) -> bool:
        """A progress message, as the shell hands it over at a tick."""
        return self.hub.measured(handle, source, measure, self.now)

    def submit(self, operation_id: str, *, principal: Principal = ADMIN, **fields: Any) -> int:
        """Submit one operation of `KIND`; the number of the request."""
        given = {"kind": KIND, "request_key": f"key-of-{operation_id}", **fields}
        submission = SubmitRequest(operation_id=operation_id, **given)
        return self.ask(b"gateway", DoSubmit(principal=principal, submissions=(submission,)))

    def cancel(self, operation_id: str, *, principal: Principal = ADMIN, **fields: Any) -> int:
        """Ask to cancel; the number of the request."""
        return self.ask(b"gateway", DoCancel(principal, CancelOperation(operation_id=operation_id, **fields)))

    # --- the journal ------------------------------------------------------------------------

    def write(self, batches: int | None = None) -> None:
        """Write that many of the waiting batches (all, and what follows from them) and tell the hub."""
        while self.waiting and not self.failing and (batches is None or batches > 0):
            batch = self.waiting.pop(0)
            for row in batch.rows:
                self.rows[row.operation.operation_id] = row
            self.events += batch.events
            self.performance.update(batch.performance)
            self.revocations.update({entry.key: entry for entry in batch.revocations})
            for key in batch.unrevoked:
                del self.revocations[key]
            for entry in batch.rules:
                self.rules[entry.user] = entry
                if entry.rules is None:
                    del self.rules[entry.user]
            for event in batch.events:
                went = event.operation_id in dict(batch.performance)
                _require(went or event.state not in TERMINAL_STATES, "an outcome without how it went", event)
            self.handle(Journalled(batch.number))
            batches = None if batches is None else batches - 1

    def fail(self) -> None:
        """The disk is full."""
        self.failing = True
        self.handle(JournalFailed("disk full"))

    def recover(self) -> None:
        """There is room again."""
        self.failing = False
        self.handle(JournalFailed(None))
        self.write()

    def _find(self, owner: str, request_keys: list[str], operation_ids: list[str]) -> list[StoredOperation]:
        return [
            row
            for operation_id, row in self.rows.items()
            if operation_id in operation_ids or (row.operation.owner == owner and row.request_key in request_keys)
        ]

    # --- what leaves ------------------------------------------------------------------------

    def _carry_out(self, commands: list[Command]) -> None:
        for command in commands:
            match command:
                case Journal():
                    self.waiting.append(command.batch)
                case Send():
                    self._answered(command)
                case Push():
                    self._pushed(command)
                case Publish():
                    self._published(command.events)
                case Revoked():
                    self._revoked(command.revocations)
                case Ruled():
                    self._ruled(command.user, command.version)
                case Control():
                    self._controlled(command.frame)
                case Watch():
                    self._watch(command.source)
                case Kill():
                    self._kill(command.source)
                case Forget():
                    self._forgotten(command.name)
        self.hub.sanity_check()

    def _pushed(self, command: Push) -> None:
        self.pushes.append((command.routing, unpack(pack(command.message))))

    def _controlled(self, frame: ControlFrame) -> None:
        self.controls.append(frame)

    def _watch(self, source: Source) -> None:
        self.watched.append(source)

    def _kill(self, source: Source) -> None:
        self.killed.append(source)

    def _revoked(self, revocations: Revocations) -> None:
        """Every gateway is told."""
        self.revoked.append(revocations)

    def _ruled(self, user: str, version: int) -> None:
        """Every gateway is told."""
        self.ruled.append((user, version))

    def _forgotten(self, name: str) -> None:
        self.forgotten.append(name)

    def _answered(self, command: Send) -> None:
        pack_reply(command.request_id, command.answer)
        _require(command.request_id in self._asked, "answered twice, or not asked", command)
        message = self._asked.pop(command.request_id)
        self.replies[command.request_id] = command.answer
        match command.answer:
            case Submitted():
                for reply in command.answer.replies:
                    _require(reply.operation_id in self.rows, "accepted but not on disk", reply)
            case CancelReply() if isinstance(message, DoCancel):
                operation = self.rows[message.request.operation_id].operation
                _require(
                    operation.state == "cancelling" or operation.state in TERMINAL_STATES,
                    "cancel not on disk",
                    operation,
                )
            case SnapshotPage():
                for operation in command.answer.operations:
                    known = self.rows[operation.operation_id].operation
                    _require(
                        (operation.state, operation.at_seq) == (known.state, known.at_seq), "not on disk", operation
                    )

    def _published(self, events: tuple[OperationEvent, ...]) -> None:
        for event in events:
            _require(event in self.events, "published but not on disk", event)
            _require(not self.feed or event.seq > self.feed[-1].seq, "published out of order", event)
            self.feed.append(event)
            if event.final is not None:
                self._see(event.final, ended=True)

    def _see(self, update: ProgressUpdate, *, ended: bool = False) -> None:
        """As a watcher: nothing goes back, nothing promises too much, nothing follows the end."""
        before = self.shown.get(update.operation_id)
        if before is not None:
            _require(update.done >= before.done, "done went back", (before, update))
            _require(update.rev > before.rev, "revision went back", (before, update))
            # The journal has it a second later, so a broker that is killed at once may not know it.
            lost = update.total is None and before.total is not None and update.rev[0] == before.rev[0]
            _require(not (ended and lost), "the total was lost", update)
        row = self.rows[update.operation_id]
        if not ended:
            _require(update.progress <= 99.0, "promised too much", update)
            _require(row.operation.state not in TERMINAL_STATES, "progress after the outcome", update)
        self.shown[update.operation_id] = update

    def check(self) -> None:
        """The invariants over the whole journal."""
        self.hub.sanity_check()
        _require([e.seq for e in self.events] == list(range(1, len(self.events) + 1)), "gap in the journal", "")
        ended: Mapping[str, int] = {}
        for event in self.events:
            _require(event.operation_id not in ended, "an event after the outcome", event)
            if event.state in TERMINAL_STATES:
                _require(event.final is not None, "an outcome without final progress", event)
                ended = {**ended, event.operation_id: event.seq}
        for operation_id, row in self.rows.items():
            _require((row.operation.state in TERMINAL_STATES) == (operation_id in ended), "state and events", row)
            if operation_id in ended:
                points = self.performance[operation_id].points
                final = row.operation.latest
                _require(final is not None and points[-1].done == final.done, "the series ends elsewhere", points)
                _require([p.done for p in points] == sorted(p.done for p in points), "a series goes back", points)


def _require(condition: bool, what: str, detail: object) -> None:
    if not condition:
        raise AssertionError(f"{what}: {detail}")
