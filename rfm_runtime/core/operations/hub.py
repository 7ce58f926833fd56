"""The hub: all operations, owners and the log, and `handle(message, now) -> commands` over them.

Pure: no I/O, no clock, no randomness (handles are minted by a function given at construction). The broker's
shell is its only caller, from one thread. What users ask is in `requests`, what owners say in `ownership`.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from typing import Any

import msgspec
from msgspec import Struct

from rfm_runtime.config.settings import Settings
from rfm_runtime.core.operations import last_words, ownership, requests
from rfm_runtime.core.operations.claims import Owners
from rfm_runtime.core.operations.experience import Experience
from rfm_runtime.core.operations.log import Log
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
from rfm_runtime.errors import ConflictError, QuotaExceededError, RfmError, UnavailableError, UnsupportedError
from rfm_runtime.protocol.history import HistoryReply, Performance, PerformanceReply
from rfm_runtime.protocol.internal import Cancellation, ControlFrame, OperationMeasure, TileMeasure
from rfm_runtime.protocol.operation import (
    TERMINAL_STATES,
    ErrorInfo,
    EventType,
    Operation,
    OperationEvent,
    ProgressUpdate,
    error_info,
)

__all__ = ["Hub", "Validator"]

Validator = Callable[[dict[str, Any]], object]
"""Raises BadRequestError for parameters that its kind does not take."""

CHECKPOINT_S = 1.0
"""How often the shown progress of what runs is journalled, so that it survives this process."""

KEEP_S = 30.0
"""How often the series of what runs is journalled: a broker that dies loses at most so much of it."""

CHECKPOINT_ROWS = 200
"""Rows of one checkpoint: 0.1 MB."""

FORGET_AT_ONCE = 64
"""Records looked at in one tick for having finished long ago."""

LEASE_GAP_S = 1.0
"""A pause of the broker itself that is longer than this extends every lease by as much."""


class Hub:
    """State of the broker. Construct it from what the journal knows, call `start`, then `handle`.

    shown: `done` as the last broker showed it, where that is more than the journal has.
    first: the runtime was just started, so whatever had begun was interrupted.
    forgetful: the journal may know operations that are not here any more, so ask it for what is `missing`.
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
        self.records: dict[str, Record] = {}
        self.live: set[str] = set()
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
        self.cancel_set: dict[str, Cancellation] = {}
        self.cancel_version = 0
        self.draining = False
        self.started_s = now.mono_s
        self.last_turn_s = now.mono_s
        self.control_sent_s = now.mono_s
        self.ignored = 0
        self.limited = 0
        self.checkpoint_s = now.mono_s
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
            self.index(record)
            record.merge.generation = operation.generation
            if row.cancellation is not None:
                self.cancel_set[operation.operation_id] = row.cancellation
        return record

    def index(self, record: Record) -> None:
        """Its state, claim, priority or time in the queue has changed."""
        if record.operation.state == "queued" and record.row.claim is None:
            self.waiting.put(record.candidate(), record.operation.kind)
        else:
            self.waiting.drop(record.operation.operation_id)

    def missing(self, message: Struct) -> tuple[str, list[str], list[str]] | None:
        """What a request names and only the journal may still know: (user, request keys, operation ids)."""
        if not self.forgetful:
            return None
        owner, keys, ids = requests.named(message)
        keys = [key for key in keys if (owner, key) not in self.keys]
        ids = [operation_id for operation_id in ids if operation_id not in self.records]
        return (owner, keys, ids) if keys or ids else None

    def recall(self, rows: Iterable[StoredOperation], now: Now) -> None:
        """Take finished operations back into memory that a request speaks of: a repeated submit finds its first."""
        for row in rows:
            if row.operation.operation_id not in self.records:
                self.adopt(row, now)
                self.log.committed[row.operation.operation_id] = row.operation

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
        handler = requests.HANDLERS.get(type(asked.message)) or ownership.HANDLERS.get(type(asked.message))
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
            spent_s = record.merge.total_cpu_s - before_s
            if spent_s > 0.0 and not record.row.reported:
                self.usage.charge(record.operation.owner, spent_s, now.mono_s)
        return counted

    def progress(self, now: Now) -> tuple[ProgressUpdate, ...]:
        """What changed in the shown progress of live operations since the last call."""
        dirty = []
        for owner in self.owners:
            for operation_id in owner.operations:
                record = self.records[operation_id]
                # Asked first: of thousands few move. Of what is not on disk yet nothing is said.
                if record.merge.dirty and operation_id in self.log.committed and record.merge.take_dirty():
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
        """The newest progress of every live operation that has shown any."""
        return tuple(record.merge.latest for record in self._in_hand() if record.merge.latest is not None)

    def _shown(self, record: Record, at_seq: int, now: Now) -> ProgressUpdate:
        return record.merge.update(record.operation.operation_id, self.incarnation, at_seq, now.wall_ms)

    def _update(self, record: Record, now: Now) -> ProgressUpdate:
        committed = self.log.committed.get(record.operation.operation_id)
        at_seq = committed.at_seq if committed is not None else record.operation.at_seq
        return record.merge.update(record.operation.operation_id, self.incarnation, at_seq, now.wall_ms)

    # --- changing an operation --------------------------------------------------------------

    def writable(self, *, outcome: bool = False) -> None:
        """Raise UnavailableError while the journal cannot be written.

        outcome: what is to be written ends something that runs, or leads to that, and may use what is kept for it.
        """
        if self.log.failing is not None and not (outcome and self.log.outcomes_only):
            raise self.unavailable()

    def check_quota(self, user: str, more: int) -> None:
        """Raise QuotaExceededError if `user` cannot have so many more operations that have not ended."""
        live, limit = self.live_of[user], self.settings.operations_per_user
        if more and live + more > limit:
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
        """Number an event and bring the operation to its state."""
        seq = self.log.next_seq()
        final = state in TERMINAL_STATES
        changes: dict[str, Any] = {"at_seq": seq, "stale": record.merge.stale and not final}
        if state is not None:
            changes["state"] = state
        if record.merge.owner is not None:
            changes["latest"] = self._shown(record, seq, now)
        if final:
            changes |= self._end(record, now, seq, str(state), fields)
        record.change_operation(**changes)
        if state == "paused":
            record.series.stands(record.age_ms(now))
        elif state is not None:
            record.series.goes_on(record.age_ms(now))
        if event_type == "operation_started":
            # It may have waited long, and others have ended meanwhile.
            record.merge.pace.course = self.experience.course(record.operation.kind, record.operation.name)
        if final:
            self._went(record, now)
        if final:
            record.change(claim=None, cancellation=None, pause_wanted=False)
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
        # What has ended first is forgotten first, here as by every gateway.
        self._rotate(operation_id)
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
                owner.operations.discard(operation_id)
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
        commands += self._checkpoint(now)
        self._forget_old(now)
        return commands + ownership.assign(self, now)

    def _checkpoint(self, now: Now) -> list[Command]:
        """Have what is shown of running operations written now and then: a bar goes on where it was after a restart.

        Not more than CHECKPOINT_ROWS at once, those that moved most first: the journal is for outcomes.
        """
        if now.mono_s - self.checkpoint_s < CHECKPOINT_S or self.log.failing is not None or self.log.pending:
            return []
        self.checkpoint_s = now.mono_s
        moved = []
        for record in self._in_hand():
            latest = record.operation.latest
            ahead = record.merge.shown - (latest.done if latest is not None else 0.0)
            if ahead > 0.0 and record.merge.owner is not None:
                moved.append((ahead / (record.merge.owner.total or record.merge.shown), record.operation.operation_id))
        moved.sort(reverse=True)
        records = [self.records[operation_id] for _, operation_id in moved[:CHECKPOINT_ROWS]]
        for record in records:
            record.change_operation(latest=self._shown(record, record.operation.at_seq, now))
        # Of what stands still as well: that it does is what its series says.
        long = [record for record in self._in_hand() if now.mono_s - record.kept_s >= KEEP_S][:CHECKPOINT_ROWS]
        for record in long:
            record.kept_s = now.mono_s
        series = [(record.operation.operation_id, record.performance(now)) for record in long]
        return [self.log.commit((record.row for record in records), (), (), series)] if records or series else []

    def _forget_old(self, now: Now) -> None:
        """Bounded history: finished operations leave memory by age and number, children before parents."""
        finished = len(self.records) - len(self.live)
        limit_ms = now.wall_ms - self.settings.finished_keep_s * 1000
        for operation_id in list(itertools.islice(self.records, FORGET_AT_ONCE)) if finished else ():
            record = self.records[operation_id]
            if not record.terminal or operation_id not in self.log.committed:
                self._rotate(operation_id)
                continue
            ended_ms = record.operation.ended_at_ms or 0
            if finished <= self.settings.finished_keep and ended_ms > limit_ms:
                break
            if self.children.get(operation_id) or self.log.committed[operation_id].state not in TERMINAL_STATES:
                self._rotate(operation_id)
                continue
            self._forget(record)
            finished -= 1

    def _rotate(self, operation_id: str) -> None:
        """Look at it again after the others."""
        self.records[operation_id] = self.records.pop(operation_id)

    def _forget(self, record: Record) -> None:
        operation = record.operation
        self.forgetful = True
        del self.records[operation.operation_id]
        self.keys.pop((operation.owner, record.row.request_key), None)
        self.log.forget(operation.operation_id)
        if operation.parent_id is not None and (siblings := self.children.get(operation.parent_id)):
            siblings.discard(operation.operation_id)
            if not siblings:
                del self.children[operation.parent_id]

    def present(self, answer: Struct, now: Now) -> Struct:
        """What the store says of the past, with what is known here of those that live."""
        match answer:
            case HistoryReply():
                operations = tuple(self._present(operation) for operation in answer.operations)
                return msgspec.structs.replace(answer, operations=operations)
            case PerformanceReply():
                operation = self._present(answer.operation)
                record = self.records.get(operation.operation_id)
                if record is None or record.terminal:
                    return msgspec.structs.replace(answer, operation=operation)
                return msgspec.structs.replace(answer, operation=operation, performance=record.performance(now))
        return answer

    def _present(self, operation: Operation) -> Operation:
        committed = self.log.committed.get(operation.operation_id)
        return operation if committed is None else requests.with_progress(self, committed)

    # --- for tests and people ---------------------------------------------------------------

    def explain(self, operation_id: str, now: Now) -> tuple[str, ...]:
        """Why the operation is in its state and what it waits for."""
        return requests.explain_lines(self, self.records[operation_id], now)

    def sanity_check(self) -> None:
        """Raise AssertionError if two tables disagree."""
        live = {oid for oid, record in self.records.items() if not record.terminal}
        _require(live == self.live, "live operations", live ^ self.live)
        for operation_id, record in self.records.items():
            self._check_record(operation_id, record)
        for handle, operation_id in self.handles.items():
            _require(self.records[operation_id].handle == handle, "a handle of another", operation_id)
        queued = {oid for oid, r in self.records.items() if r.operation.state == "queued" and r.row.claim is None}
        waiting = {candidate.operation_id: candidate for candidate in self.waiting.candidates()}
        _require(waiting.keys() == queued, "waiting operations", waiting.keys() ^ queued)
        for operation_id, candidate in waiting.items():
            _require(candidate == self.records[operation_id].candidate(), "waits as something else", operation_id)
        by_user = Counter(self.records[operation_id].operation.owner for operation_id in live)
        _require(by_user == self.live_of, "live operations of users", self.live_of)
        _require(set(self.cancel_set) <= live, "cancel set of live operations", set(self.cancel_set) - live)
        for owner in self.owners:
            for operation_id in owner.operations:
                claim = self.records[operation_id].row.claim
                _require(claim is not None and claim.name == owner.source.name, "a claim", operation_id)
        seqs = [event.seq for event in self.log.events]
        _require(seqs == list(range(self.log.floor + 1, self.log.floor + 1 + len(seqs))), "gap in the log", seqs)
        _require(not seqs or seqs[-1] == self.log.head, "head", self.log.head)

    def _check_record(self, operation_id: str, record: Record) -> None:
        operation: Operation = record.operation
        state = operation.state
        _require(operation.operation_id == operation_id, "id", operation_id)
        _require(self.keys.get((operation.owner, record.row.request_key)) == operation_id, "key", operation_id)
        if record.terminal:
            _require(record.row.claim is None and record.handle is None, "ended but claimed", operation_id)
            _require(operation.latest is not None and operation.ended_at_ms is not None, "no final", operation_id)
        if state in ("running", "cancelling"):
            _require(record.row.claim is not None, f"{state} by nobody", operation_id)
        if record.row.claim is not None:
            owner = self.owners.get(record.row.claim.name)
            _require(owner is not None and operation_id in owner.operations, "claim unknown", operation_id)
        _require((record.handle is None) or self.handles.get(record.handle) == operation_id, "handle", operation_id)
        if state == "failed":
            _require(isinstance(operation.error, ErrorInfo), "failed without an error", operation_id)


def _require(condition: bool, what: str, detail: object) -> None:
    if not condition:
        raise AssertionError(f"{what}: {detail}")


def _by_end(row: StoredOperation) -> tuple[bool, int]:
    """What has ended in the order of its outcomes, then what lives, as it comes."""
    ended = row.operation.state in TERMINAL_STATES
    return not ended, row.operation.at_seq if ended else 0
