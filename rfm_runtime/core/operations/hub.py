"""The hub: all operations, owners and the log, and `handle(message, now) -> commands` over them.

Pure: no I/O, no clock, no randomness (handles are minted by a function given at construction). The broker's
shell is its only caller, from one thread. What users ask is in `requests`, what owners say in `ownership`.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from typing import Any

import msgspec
from msgspec import Struct

from rfm_runtime.config.settings import Settings
from rfm_runtime.core.operations import (
    announcing,
    last_words,
    ownership,
    requests,
    revoking,
    ruling,
    sanity,
    signing_in,
)
from rfm_runtime.core.operations.claims import Owner, Owners
from rfm_runtime.core.operations.experience import Experience
from rfm_runtime.core.operations.keeping import Keeping, checkpoint, forget_old
from rfm_runtime.core.operations.log import Log
from rfm_runtime.core.operations.quotas import Charge, Quotas
from rfm_runtime.core.operations.record import (
    Asked,
    Command,
    Control,
    Died,
    Drain,
    Heard,
    JournalFailed,
    Journalled,
    Loaded,
    Now,
    Record,
    Send,
    StoredOperation,
    Tick,
    Told,
)
from rfm_runtime.core.operations.schedule import Usage, Waiting
from rfm_runtime.core.operations.table import Trigger, step
from rfm_runtime.core.permissions import Sight, shown, sight
from rfm_runtime.errors import ConflictError, QuotaExceededError, RfmError, UnavailableError, UnsupportedError
from rfm_runtime.protocol.history import HistoryReply, Performance, PerformanceReply
from rfm_runtime.protocol.internal import Announce, Cancellation, ControlFrame, OperationMeasure, Principal, TileMeasure
from rfm_runtime.protocol.operation import (
    TERMINAL_STATES,
    EventType,
    Operation,
    OperationEvent,
    ProgressUpdate,
    error_info,
)

__all__ = ["Hub", "Validator"]

HANDLERS: dict[type[Struct], Callable[[Hub, Asked, Any, Now], list[Command]]] = {
    **requests.HANDLERS,
    **ownership.HANDLERS,
    **revoking.HANDLERS,
    **signing_in.HANDLERS,
    **ruling.HANDLERS,
    Announce: announcing.on_announce,
}

Validator = Callable[[dict[str, Any]], object]
"""Raises BadRequestError for parameters that its kind does not take."""

LEASE_GAP_S = 1.0
"""A pause of the broker itself that is longer than this extends every lease by as much."""


class Hub:
    """State of the broker. Construct it from what the journal knows, call `start`, then `handle`.

    shown: `done` as the last broker showed it, where that is more than the journal has.
    first: the runtime was just started, so whatever had begun was interrupted.
    forgetful: the journal may know operations that are not here any more, so ask it for what is `missing`.
    moved: all in an owner's hand of which there may be something new to show, and perhaps others.
    """

    def __init__(
        self,
        loaded: Loaded,
        settings: Settings,
        *,
        validators: Mapping[str, Validator],
        mint_handle: Callable[[], int],
        now: Now,
        shown: Mapping[str, float] | None = None,
        first: bool = False,
    ) -> None:
        self.settings = settings
        self.incarnation = loaded.incarnation
        self.first = first
        self.durable = loaded.durable
        self.validators = validators
        self.mint_handle = mint_handle
        self.log = Log(loaded, settings.history_events)
        self.sign_ins = signing_in.SignIns()
        self.revocations = revoking.RevocationList(loaded.revocations)
        self.rules = ruling.RulesKept(loaded.rules)
        self.records: dict[str, Record] = {}
        self.live: set[str] = set()
        self.moved: dict[str, None] = {}
        self.keeping = Keeping(now)
        self.children: dict[str, set[str]] = {}
        self.keys: dict[tuple[str, str], str] = {}
        self.handles: dict[int, str] = {}
        self.owners = Owners()
        self.experience = Experience()
        for kind, name, went in loaded.past:
            self.experience.learn(kind, name, went)
        self.usage = Usage()
        self.waiting = Waiting()
        self.live_of: Counter[str] = Counter()
        self.quotas = Quotas(settings)
        self.cancel_set: dict[str, Cancellation] = {}
        self.cancel_version = 0
        self.draining = False
        self.started_s = now.mono_s
        self.last_turn_s = now.mono_s
        self.control_sent_s = now.mono_s
        self.ignored = 0
        self.limited = 0
        for row in sorted(loaded.rows, key=_by_end):
            record = self.adopt(row, now, loaded.performance.get(row.operation.operation_id))
            if shown is not None and not record.terminal:
                record.merge.shown = max(record.merge.shown, shown.get(row.operation.operation_id, 0.0))
        self.forgetful = len(self.records) - len(self.live) >= settings.finished_keep

    def adopt(self, row: StoredOperation, now: Now, before: Performance | None = None) -> Record:
        """Take a row into the tables, new or from the journal."""
        record = Record(row, now.mono_s, before)
        if row.operation.state == "paused":
            record.series.stands(record.age_ms(now))
        operation = row.operation
        self.records[operation.operation_id] = record
        self.keys[operation.owner, row.request_key] = operation.operation_id
        if operation.parent_id is not None:
            self.children.setdefault(operation.parent_id, set()).add(operation.operation_id)
        if not record.terminal:
            record.merge.pace.course = self.experience.course(operation.kind, operation.name)
            self.live.add(operation.operation_id)
            self.live_of[operation.owner] += 1
            self.quotas.began(row)
            self.index(record)
            record.merge.generation = operation.generation
            if row.cancellation is not None:
                self.cancel_set[operation.operation_id] = row.cancellation
        else:
            self.keeping.finished[operation.operation_id] = None
            self.quotas.kept(operation)
        return record

    def index(self, record: Record) -> None:
        """Its state, claim, priority, time in the queue or what is wanted of it has changed."""
        claim = record.row.claim
        if record.operation.state == "queued" and claim is None:
            self.waiting.put(record.candidate(), record.operation.kind)
        else:
            self.waiting.drop(record.operation.operation_id)
        if claim is not None and record.unconfirmed:
            owner = self.owners.get(claim.name)
            if owner is not None:
                owner.unconfirmed.add(record.operation.operation_id)

    def hand(self, owner: Owner, record: Record) -> None:
        """The owner has it in hand, as its claim says."""
        operation = record.operation
        self.owners.hand(owner, operation.operation_id, operation.owner)
        self.keeping.schedule(operation.operation_id, record.kept_s)
        self.index(record)

    def missing(self, message: Struct) -> tuple[str, list[str], list[str]] | None:
        """What a request names and only the journal may still know: (user, request keys, operation ids)."""
        if not self.forgetful:
            return None
        owner, keys, ids = requests.named(message)
        keys = [key for key in keys if (owner, key) not in self.keys]
        ids = [operation_id for operation_id in ids if operation_id not in self.records]
        return (owner, keys, ids) if keys or ids else None

    def recall(self, rows: Iterable[StoredOperation], now: Now) -> None:
        """Take finished operations back into memory that a request speaks of: a repeated submit finds its first.

        Beside what is listed, for a while: whoever looks at what is long forgotten takes no room from its owner, and
        pushes out nothing that others see.
        """
        for row in rows:
            operation = row.operation
            if operation.operation_id in self.records:
                continue
            self.records[operation.operation_id] = Record(row, now.mono_s)
            self.keys[operation.owner, row.request_key] = operation.operation_id
            self.keeping.recalled[operation.operation_id] = None
            self.log.committed.put_aside(operation)

    def start(self, now: Now) -> list[Command]:
        """First commands: await the owners of claimed operations, announce the incarnation."""
        commands = [*ownership.give_up(self, now), *ownership.await_known(self, now)]
        return [*commands, self.control(now)]

    # --- the one entrance -------------------------------------------------------------------

    def handle(self, message: Struct, now: Now) -> list[Command]:
        """What follows from a message. A refused request is answered by its error and changes nothing."""
        self._mind_the_gap(now)
        match message:
            case Asked():
                return self._asked(message, now)
            case Told():
                return ownership.told(self, message, now)
            case Journalled():
                self.revocations.journalled(message.number)
                self.rules.journalled(message.number)
                return [*self.log.journalled(message.number), *ownership.assign(self, now, overbook=False)]
            case JournalFailed():
                self.log.failing, self.log.failing_hint = message.reason, message.hint
                self.log.outcomes_only = message.outcomes
                return []
            case Heard():
                return last_words.heard(self, message, now)
            case Died():
                return ownership.died(self, message.source, now)
            case Drain():
                self.draining = True
                return []
            case Tick():
                return self._tick(now)
            case _:
                raise TypeError(f"the hub does not take {type(message).__name__}")

    def _asked(self, asked: Asked, now: Now) -> list[Command]:
        handler = HANDLERS.get(type(asked.message))
        try:
            if handler is None:
                raise UnsupportedError(f"{type(asked.message).__name__} is no request to the broker")
            return handler(self, asked, asked.message, now)
        except RfmError as error:
            answer = Send(asked.routing, asked.request_id, error_info(error))
            if isinstance(error, ConflictError) and self.log.pending and self.log.failing is None:
                # What it conflicts with may not be on disk yet, and would be told by the refusal.
                return [self.log.commit((), (), [answer])]
            return [answer]

    def measured(self, handle: int, source: int, measure: OperationMeasure | TileMeasure, now: Now) -> bool:
        """Merge a progress message; whether its handle is known and it counted."""
        operation_id = self.handles.get(handle)
        if operation_id is None:
            return False
        record = self.records[operation_id]
        before_s = record.merge.total_cpu_s
        if record.merge.too_fast(source, measure.counter, self.settings.progress_per_s, now.mono_s):
            self.limited += 1
            return False
        counted = record.merge.measured(source, measure, now.mono_s)
        if counted:
            self._has_moved(operation_id)
            spent_s = record.merge.total_cpu_s - before_s
            if spent_s > 0.0 and not record.row.reported:
                self.usage.charge(record.operation.owner, spent_s, now.mono_s)
        return counted

    def reported(self, record: Record, measure: OperationMeasure, now: Now) -> None:
        """Merge what the owner said on `command`."""
        record.merge.reported(measure, now.mono_s)
        self._has_moved(record.operation.operation_id)

    def touch(self, record: Record) -> None:
        """Have its present state shown again (a flag changed)."""
        record.merge.touch()
        self.moved[record.operation.operation_id] = None

    def _has_moved(self, operation_id: str) -> None:
        self.moved[operation_id] = None
        self.keeping.moved[operation_id] = None

    def progress(self, now: Now) -> tuple[ProgressUpdate, ...]:
        """What changed in the shown progress of live operations since the last call."""
        moved, self.moved = self.moved, {}
        dirty = []
        for operation_id in moved:
            record = self.records.get(operation_id)
            if record is None or record.row.claim is None:
                continue
            if operation_id not in self.log.committed:
                # Of what is not on disk yet nothing is said.
                self.moved[operation_id] = None
            elif record.merge.take_dirty():
                dirty.append(record)
        for record in dirty:
            record.sampled(now)
        return tuple(self._update(record, now) for record in dirty)

    def _in_hand(self) -> Iterator[Record]:
        """What owners have: of thousands that wait nothing moves. Of what is not on disk yet nothing is said."""
        for owner in self.owners:
            for operation_id in owner.operations:
                if operation_id in self.log.committed:
                    yield self.records[operation_id]

    def all_progress(self) -> tuple[ProgressUpdate, ...]:
        """The newest progress of every live operation that has shown any, as watchers know it."""
        journalled = ((record, self.log.committed[record.operation.operation_id].latest) for record in self._in_hand())
        told = (record.merge.as_told(latest) for record, latest in journalled)
        return tuple(update for update in told if update is not None)

    def shown(self, record: Record, at_seq: int, now: Now) -> ProgressUpdate:
        """Its newest progress, as of that event."""
        return record.merge.update(record.operation.operation_id, self.incarnation, at_seq, now.wall_ms)

    def _update(self, record: Record, now: Now) -> ProgressUpdate:
        committed = self.log.committed.get(record.operation.operation_id)
        at_seq = committed.at_seq if committed is not None else record.operation.at_seq
        return record.merge.tell(record.operation.operation_id, self.incarnation, at_seq, now.wall_ms)

    # --- changing an operation --------------------------------------------------------------

    def writable(self, *, outcome: bool = False) -> None:
        """Raise UnavailableError while the journal cannot be written.

        outcome: what is to be written ends something that runs, or leads to that, and may use what is kept for it.
        """
        if self.log.failing is not None and not (outcome and self.log.outcomes_only):
            raise self.unavailable()

    def check_quota(self, user: str, more: Sequence[Charge]) -> None:
        """Raise QuotaExceededError if `user` cannot have these operations besides those that have not ended,
        TooLargeError if he never can.
        """
        self.quotas.check(user, more)
        live, limit = self.live_of[user], self.settings.operations_per_user
        if more and live + len(more) > limit:
            raise QuotaExceededError(
                f"{user} has {live} operations that have not ended, {limit} are allowed",
                hint="wait for some to end, or cancel some",
                retry_after_s=1.0,
            )

    def unavailable(self) -> UnavailableError:
        """What is answered while the journal cannot be written."""
        return UnavailableError(
            f"the journal cannot be written: {self.log.failing}",
            hint=self.log.failing_hint,
            retry_after_s=1.0,
        )

    def apply(self, record: Record, trigger: Trigger, now: Now, **fields: Any) -> OperationEvent | None:
        """Take a step of the state table and make its event (to be committed by the caller).

        fields: of the event. None if the trigger means nothing in this state.
        """
        after = step(record.operation.state, trigger)
        if after is None or after.event is None:
            self.ignored += 1
            return None
        return self.event(record, after.event, now, state=after.state, **fields)

    def event(
        self, record: Record, event_type: EventType, now: Now, *, state: str | None = None, **fields: Any
    ) -> OperationEvent:
        """Number an event and bring the operation to its state. ended_at_ms among the fields: it ended before now."""
        seq = self.log.next_seq()
        ended_at_ms: int | None = fields.get("ended_at_ms")
        then = now if ended_at_ms is None else Now(now.mono_s - (now.wall_ms - ended_at_ms) / 1000, ended_at_ms)
        final = state in TERMINAL_STATES
        changes: dict[str, Any] = {"at_seq": seq, "stale": record.merge.stale and not final}
        if state is not None:
            changes["state"] = state
        if record.merge.owner is not None:
            changes["latest"] = self.shown(record, seq, now)
        if final:
            changes |= self._end(record, then, seq, str(state), fields)
        record.change_operation(**changes)
        if state == "paused":
            record.series.stands(record.age_ms(now))
        elif state is not None:
            record.series.goes_on(record.age_ms(then))
        if event_type == "operation_started":
            # It may have waited long, and others have ended meanwhile.
            record.merge.pace.course = self.experience.course(record.operation.kind, record.operation.name)
        if final:
            self._went(record, then)
        if final:
            record.change(claim=None, cancellation=None, pause_wanted=False)
            self.quotas.kept(record.operation)
        self.index(record)
        operation = record.operation
        if event_type in ("operation_accepted", "operation_started"):
            fields["operation"] = operation
        return OperationEvent(
            seq=seq,
            ts_ms=now.wall_ms,
            type=event_type,
            operation_id=operation.operation_id,
            state=operation.state,
            generation=operation.generation,
            cancel_requested=operation.cancel_requested,
            **fields,
        )

    def _went(self, record: Record, now: Now) -> None:
        """How it went goes with its outcome, and is learned from."""
        record.sampled(now)
        operation = record.operation
        went = self.log.ended[operation.operation_id] = record.performance(now)
        if operation.state == "completed":
            self.experience.scored(operation.kind, record.merge.pace.marks, now.mono_s)
            self.experience.learn(operation.kind, operation.name, went)

    def _end(self, record: Record, now: Now, seq: int, state: str, fields: dict[str, Any]) -> dict[str, Any]:
        """The outcome's part of the change; takes the operation out of everything that is about live ones."""
        operation_id = record.operation.operation_id
        final = record.merge.update(operation_id, self.incarnation, seq, now.wall_ms, outcome=state)
        fields["final"] = final
        self.live.discard(operation_id)
        self.live_of[record.operation.owner] -= 1
        self.quotas.ended(record.row)
        # What has ended first is forgotten first, here as by every gateway.
        self.keeping.finished[operation_id] = None
        self.release_claim(record)
        if self.cancel_set.pop(operation_id, None) is not None:
            self.cancel_version += 1
        return {
            "ended_at_ms": now.wall_ms,
            "latest": final,
            "error": fields.get("error"),
            "artifacts": fields.get("artifacts", ()),
            "forced": fields.get("forced", False),
        }

    def release_claim(self, record: Record) -> None:
        """Nobody has it in hand any more."""
        operation_id = record.operation.operation_id
        if record.handle is not None:
            self.handles.pop(record.handle, None)
            record.handle = None
        if record.row.claim is not None:
            owner = self.owners.get(record.row.claim.name)
            if owner is not None:
                self.owners.take_back(owner, operation_id, record.operation.owner)
        self.moved.pop(operation_id, None)
        self.keeping.drop(operation_id)
        record.assigned_s = None
        record.stop_sent_s = None
        record.merge.stale = False
        record.change(claim=None)
        self.index(record)

    def control(self, now: Now) -> Control:
        """The cancel set as it is now, for everybody."""
        self.control_sent_s = now.mono_s
        return Control(self.control_frame())

    def control_frame(self) -> ControlFrame:
        """The whole cancel set."""
        return ControlFrame(
            incarnation=self.incarnation, version=self.cancel_version, cancel=tuple(self.cancel_set.values())
        )

    # --- time -------------------------------------------------------------------------------

    def _mind_the_gap(self, now: Now) -> None:
        """Our own standstill is no silence of others."""
        gap_s = now.mono_s - self.last_turn_s
        self.last_turn_s = now.mono_s
        if gap_s > LEASE_GAP_S:
            for owner in self.owners:
                owner.lease_until_s += gap_s
                owner.heard_s += gap_s

    def _tick(self, now: Now) -> list[Command]:
        commands = ownership.look_at_deadlines(self, now)
        repeat_s = self.settings.cancel_repeat_s if self.cancel_set else 1.0
        # Half a tick early: a tick that comes a microsecond too soon would make three of two.
        if now.mono_s - self.control_sent_s >= repeat_s - self.settings.tick_s / 2:
            commands.append(self.control(now))
        commands += checkpoint(self, now)
        forget_old(self, now)
        return commands + ownership.assign(self, now)

    def forget(self, record: Record) -> None:
        """It has ended long ago: it leaves memory, and the journal keeps it."""
        operation = record.operation
        self.forgetful = True
        del self.records[operation.operation_id]
        self.keys.pop((operation.owner, record.row.request_key), None)
        self.log.forget(operation.operation_id)
        if operation.operation_id in self.keeping.recalled:
            del self.keeping.recalled[operation.operation_id]
            return
        self.quotas.forgotten(operation)
        if operation.parent_id is not None and (siblings := self.children.get(operation.parent_id)):
            siblings.discard(operation.operation_id)
            if not siblings:
                del self.children[operation.parent_id]

    def present(self, answer: Struct, now: Now, who: Principal) -> Struct:
        """What the store says of the past to somebody, with what is known here of those that live."""
        seen = sight(who)
        match answer:
            case HistoryReply():
                operations = tuple(self._present(operation, seen) for operation in answer.operations)
                return msgspec.structs.replace(answer, operations=operations)
            case PerformanceReply():
                operation = self._present(answer.operation, seen)
                events = tuple(self._event(event, seen) for event in answer.events)
                answer = msgspec.structs.replace(answer, events=events)
                record = self.records.get(operation.operation_id)
                if record is None or record.terminal:
                    return msgspec.structs.replace(answer, operation=operation)
                return msgspec.structs.replace(answer, operation=operation, performance=record.performance(now))
        return answer

    def _present(self, operation: Operation, seen: Sight | None) -> Operation:
        committed = self.log.committed.get(operation.operation_id)
        return requests.shown_to(self, seen, operation if committed is None else committed)

    def _event(self, event: OperationEvent, seen: Sight | None) -> OperationEvent:
        if event.operation is None:
            return event
        return msgspec.structs.replace(event, operation=shown(seen, event.operation, self.log.committed.get))

    # --- for tests and people ---------------------------------------------------------------

    def explain(self, operation_id: str, now: Now) -> tuple[str, ...]:
        """Why the operation is in its state and what it waits for."""
        return requests.explain_lines(self, self.records[operation_id], now)

    def sanity_check(self) -> None:
        """Raise AssertionError if two tables disagree."""
        sanity.sanity_check(self)


def _by_end(row: StoredOperation) -> tuple[bool, int]:
    """What has ended in the order of its outcomes, then what lives, as it comes."""
    ended = row.operation.state in TERMINAL_STATES
    return not ended, row.operation.at_seq if ended else 0
