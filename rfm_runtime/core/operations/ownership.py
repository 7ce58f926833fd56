"""What owners say and what becomes of what they hold: hello, start, pause, outcome, release, death.

Every claim has a generation, journalled before the owner hears of it; whoever speaks for a lower one, or
for an operation that is not its own any more, gets `conflict`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import TYPE_CHECKING, Any

import msgspec
from msgspec import Struct

from rfm_runtime.core.counts import counted
from rfm_runtime.core.operations.assigning import assign, assignment, mint
from rfm_runtime.core.operations.claims import Owner, is_older, same_process
from rfm_runtime.core.operations.record import (
    Asked,
    Command,
    Kill,
    Now,
    Push,
    Record,
    Send,
    StoredOperation,
    Told,
    Watch,
)
from rfm_runtime.core.operations.table import Trigger
from rfm_runtime.errors import ConflictError, UnavailableError, UnsupportedError
from rfm_runtime.protocol.causes import FAILED, INTERRUPTED, WORKER_LOST
from rfm_runtime.protocol.internal import (
    Ack,
    Assign,
    HeldOperation,
    HelloAsked,
    Outcome,
    OwnerHeartbeat,
    OwnerHello,
    OwnerWelcome,
    PauseOwner,
    PauseState,
    Release,
    Source,
    Started,
)
from rfm_runtime.protocol.operation import OperationEvent, error_info

if TYPE_CHECKING:
    from rfm_runtime.core.operations.hub import Hub

__all__ = [
    "HANDLERS",
    "assign",
    "await_known",
    "died",
    "end",
    "give_up",
    "look_at_deadlines",
    "push_pause",
    "start",
    "told",
]

REPEAT_S = 1.0
"""Assignments and pauses are repeated this often until they are confirmed."""

OUTCOMES: dict[str, Trigger] = {"completed": "complete", "failed": "fail", "canceled": "stopped"}


# --- who is there -----------------------------------------------------------------------------


def await_known(hub: Hub, now: Now) -> list[Command]:
    """After a restart: the owners of claimed operations are awaited, and dead ones found out."""
    commands: list[Command] = []
    for operation_id in sorted(hub.live):
        claim = hub.records[operation_id].row.claim
        if claim is None:
            continue
        owner = hub.owners.get(claim.name)
        if owner is None:
            local = hub.records[operation_id].row.claim_local
            owner = Owner(claim, now.mono_s, now.mono_s + hub.settings.lease_s, local=local)
            owner.interrupted = hub.first and local and not hub.records[operation_id].row.reported
            hub.owners.add(owner)
            if local:
                commands.append(Watch(claim))
        hub.hand(owner, hub.records[operation_id])
    return commands


def give_up(hub: Hub, now: Now) -> list[Command]:
    """Where a new start is to fail what the last runtime has not finished: what that had given back."""
    if not hub.first or hub.settings.interrupted != "fail":
        return []
    events: list[OperationEvent | None] = []
    rows: list[StoredOperation] = []
    for operation_id in sorted(hub.live):
        record = hub.records[operation_id]
        begun = record.operation.started_at_ms is not None
        if begun and record.row.claim is None and not record.row.reported:
            events.append(_fail_interrupted(hub, record, now))
            rows.append(record.row)
    return [hub.log.commit(rows, [event for event in events if event is not None])] if rows else []


def _fail_interrupted(hub: Hub, record: Record, now: Now) -> OperationEvent | None:
    error = INTERRUPTED.error("the runtime ended before it was finished")
    return hub.apply(record, "fail", now, error=error)


def on_hello(hub: Hub, asked: Asked, message: OwnerHello, now: Now) -> list[Command]:
    """An owner introduces itself, or reports everything to a new broker."""
    speaker = hub.owners.of(message.source)
    if speaker is not None:
        # Also while nothing can be written, and its hello has to be repeated: it lives.
        _lives(hub, speaker, now)
    hub.writable(outcome=True)
    if message.role == "reporter":
        # Whoever only reports is given nothing to do, and serves no files.
        message = msgspec.structs.replace(message, kinds=(), slots=0, workers=0, resumable=(), location=None)
    commands: list[Command] = []
    events: list[OperationEvent] = []
    changed: dict[str, Record] = {}
    known = hub.owners.get(message.source.name)
    if known is not None and not same_process(known.source, message.source):
        if message.role == "reporter" or (known.hello is not None and known.hello.role == "reporter"):
            raise ConflictError(
                f"another program reports as {message.source.name}", hint="use a name of its own for each"
            )
        if is_older(message.source, known.source):
            # Frozen while its successor came; a broker that has restarted since knows only that one.
            taken = ConflictError(f"a newer process has taken the place of {message.source.name}", hint="end")
            answer = Send(asked.routing, asked.request_id, error_info(taken))
            return [answer, *([Kill(message.source)] if message.local else [])]
        # A newer process of the same name; the old one may only be frozen, so it is fenced for good.
        if known.local:
            commands.append(Kill(known.source))
        _lose(hub, known, known.operations.copy(), now, events, changed)
        hub.owners.remove(known)
        known = None
    if known is None:
        known = Owner(message.source, now.mono_s, now.mono_s + hub.settings.lease_s, local=message.local)
        hub.owners.add(known)
        if message.local:
            commands.append(Watch(message.source))
    known.routing, known.hello, known.leaving = asked.routing, message, False
    _heard(hub, known, now)
    keep, drop = _sort_out(hub, known, message.held, now)
    missing = known.operations - {held.operation_id for held in message.held}
    # An assignment that is still on its way to its owner was never held, and is simply repeated.
    lost = {oid for oid in missing if hub.records[oid].row.started}
    for operation_id in missing - lost:
        hub.records[operation_id].assigned_s = None
    _lose(hub, known, lost, now, events, changed)
    welcome = OwnerWelcome(incarnation=hub.incarnation, keep=tuple(keep), drop=tuple(drop), control=hub.control_frame())
    answer = Send(asked.routing, asked.request_id, welcome)
    return [hub.log.commit((r.row for r in changed.values()), events, [answer]), *commands]


def _sort_out(hub: Hub, owner: Owner, held: Iterable[HeldOperation], now: Now) -> tuple[list[Assign], list[str]]:
    keep: list[Assign] = []
    drop: list[str] = []
    for holding in held:
        record = hub.records.get(holding.operation_id)
        if (
            record is None
            or record.terminal
            or record.row.claim is None
            or record.operation.generation != holding.generation
            or holding.operation_id not in owner.operations
        ):
            ended_by_it = record is not None and record.row.ended_by == (
                owner.source.name,
                holding.generation,
            )
            if not (holding.state == "ended" and ended_by_it):
                drop.append(holding.operation_id)
            continue
        record.merge.claimed(holding.generation)
        mint(hub, record)
        hub.reported(record, holding.measure, now)
        keep.append(assignment(record))
    return keep, drop


def _lives(hub: Hub, owner: Owner, now: Now) -> None:
    owner.lease_until_s = now.mono_s + hub.settings.lease_s


def _heard(hub: Hub, owner: Owner, now: Now) -> None:
    owner.heard_s = now.mono_s
    _lives(hub, owner, now)
    if owner.stale:
        _set_stale(hub, owner, stale=False)


def _set_stale(hub: Hub, owner: Owner, *, stale: bool) -> None:
    owner.stale = stale
    for operation_id in owner.operations:
        record = hub.records[operation_id]
        record.merge.stale = stale
        hub.touch(record)


def told(hub: Hub, message: Told, now: Now) -> list[Command]:
    """One-way messages: heartbeats. Anything else is counted and ignored."""
    if isinstance(message.message, OwnerHeartbeat):
        owner = hub.owners.of(message.message.source)
        if owner is not None:
            # Also of one whose hello could not be taken yet. What it has is shown as old until it has been.
            _lives(hub, owner, now)
        if owner is not None and owner.hello is not None:
            _heard(hub, owner, now)
            if owner.routing == message.routing:
                return []
            # Its connection was made again and is not greeted yet, or it is an older one that still speaks.
        # Taken for dead, or never heard of: it lives, and would wait for work that nobody gives it.
        return [Push(message.routing, HelloAsked())]
    hub.ignored += 1
    return []


def died(hub: Hub, source: Source, now: Now) -> list[Command]:
    """A local owner's process is gone."""
    owner = hub.owners.of(source)
    if owner is None:
        return []
    return _gone(hub, owner, now)


def _gone(hub: Hub, owner: Owner, now: Now) -> list[Command]:
    events: list[OperationEvent] = []
    changed: dict[str, Record] = {}
    _lose(hub, owner, owner.operations.copy(), now, events, changed)
    hub.owners.remove(owner)
    if not changed:
        return []
    return [hub.log.commit((record.row for record in changed.values()), events), *_changed_set(hub, now)]


def _changed_set(hub: Hub, now: Now) -> list[Command]:
    return [hub.control(now)] if hub.cancel_set else []


def _lose(
    hub: Hub,
    owner: Owner,
    operation_ids: Iterable[str],
    now: Now,
    events: list[OperationEvent],
    changed: dict[str, Record],
) -> None:
    """The owner does not have them any more: requeue what can be resumed, fail the rest."""
    for operation_id in sorted(operation_ids):
        record = hub.records[operation_id]
        was_cancelling = record.operation.state == "cancelling"
        # That a whole runtime ended is no operation's fault.
        record.change(losses=record.row.losses + (not owner.interrupted))
        reason = "the runtime ended" if owner.interrupted else f"{owner.source.name} died"
        made: list[OperationEvent | None]
        if was_cancelling:
            made = [hub.apply(record, "lost", now, forced=True, reason=reason)]
        elif record.row.reported:
            message = f"the program that reported it ({owner.source.name}) ended without saying how it went"
            made = [_fail_lost(hub, record, message, now, hint="see what that program has printed")]
        elif owner.interrupted and hub.settings.interrupted == "fail" and record.row.started:
            made = [_fail_interrupted(hub, record, now)]
        elif not record.row.claim_resumable:
            made = [_fail_lost(hub, record, f"{reason}, and {record.operation.kind} cannot be resumed", now)]
        elif record.row.losses >= hub.settings.attempts:
            message = f"{reason}; so did {counted(record.row.losses - 1, 'owner')} before"
            made = [_fail_lost(hub, record, message, now)]
        else:
            hub.release_claim(record)
            made = [hub.apply(record, "lost", now, reason=reason), _wait_again(hub, record, now)]
        changed[operation_id] = record
        events += [event for event in made if event is not None]


def _fail_lost(
    hub: Hub,
    record: Record,
    message: str,
    now: Now,
    *,
    hint: str | None = None,
) -> OperationEvent | None:
    return hub.apply(record, "fail", now, error=WORKER_LOST.error(message, hint=hint))


def _wait_again(hub: Hub, record: Record, now: Now) -> OperationEvent | None:
    """It waits for its next owner; what the last one was asked and did not confirm is done now."""
    record.queued_s = now.mono_s
    hub.index(record)
    wanted = record.row.pause_wanted
    record.change(started=False, pause_wanted=False)
    if wanted and record.operation.state == "queued":
        return hub.apply(record, "pause", now)
    if not wanted and record.operation.state == "paused":
        return hub.apply(record, "resume", now)
    return None


# --- saying it again ----------------------------------------------------------------------------


def push_pause(hub: Hub, record: Record, now: Now) -> list[Command]:
    """Ask the owner to pause or go on, if it has not confirmed what is wanted."""
    owner = hub.owners.get(record.row.claim.name) if record.row.claim else None
    if owner is None or owner.routing is None:
        return []
    record.stop_sent_s = now.mono_s
    message = PauseOwner(
        operation_id=record.operation.operation_id,
        generation=record.operation.generation,
        paused=record.row.pause_wanted,
    )
    return [Push(owner.routing, message)]


def look_at_deadlines(hub: Hub, now: Now) -> list[Command]:
    """Silence, leases, and what has to be said again."""
    commands: list[Command] = []
    for owner in hub.owners:
        # Also of one that is awaited after a restart: nothing of what is shown of it is known to be so any more.
        if not owner.stale and now.mono_s - owner.heard_s > hub.settings.stale_after_s:
            _set_stale(hub, owner, stale=True)
        if not owner.local and now.mono_s > owner.lease_until_s:
            commands += _gone(hub, owner, now)
            continue
        for operation_id in sorted(owner.unconfirmed):
            record = hub.records[operation_id]
            if record.unconfirmed:
                commands += _repeat(hub, owner, record, now)
            else:
                owner.unconfirmed.discard(operation_id)
    return commands


def _repeat(hub: Hub, owner: Owner, record: Record, now: Now) -> list[Command]:
    if owner.routing is None or owner.hello is None:
        return []
    # Also of what is being cancelled: an owner that never heard of it could not answer that it stopped.
    if not record.row.started:
        if record.assigned_s is None or now.mono_s - record.assigned_s >= REPEAT_S:
            record.assigned_s = now.mono_s
            if record.handle is None:
                mint(hub, record)
                record.merge.claimed(record.operation.generation)
            committed = hub.log.committed.get(record.operation.operation_id)
            if committed is not None and committed.generation == record.operation.generation:
                return [Push(owner.routing, assignment(record))]
        return []
    paused = record.operation.state == "paused"
    wanted_s = record.stop_sent_s
    due = wanted_s is None or now.mono_s - wanted_s >= REPEAT_S
    if due and record.row.pause_wanted != paused and record.operation.state in ("running", "paused"):
        return push_pause(hub, record, now)
    return []


# --- what owners report -----------------------------------------------------------------------


def _own(hub: Hub, asked: Asked, operation_id: str, generation: int) -> Record:
    """The record, if the speaker's claim on it is the current one. Raises ConflictError.

    Of a speaker that did not say hello nothing is known yet: it has to repeat, and must not drop anything.
    """
    record = hub.records.get(operation_id)
    owner = hub.owners.at(asked.routing)
    if owner is None:
        raise UnavailableError("say hello first, then repeat this", retry_after_s=0.1)
    if (
        record is None
        or record.row.claim is None
        or record.operation.generation != generation
        or operation_id not in owner.operations
    ):
        raise ConflictError(f"{operation_id} is not yours as generation {generation}", hint="drop it")
    return record


def on_started(hub: Hub, asked: Asked, message: Started, now: Now) -> list[Command]:
    """Confirms the assignment; `operation_started` once a claim."""
    record = _own(hub, asked, message.operation_id, message.generation)
    hub.writable(outcome=True)
    done = Send(asked.routing, asked.request_id, Ack())
    if record.row.started:
        return [hub.log.commit((), (), [done])]
    record.change_operation(grid=message.grid)
    event = start(hub, record, now)
    return [hub.log.commit((record.row,), () if event is None else (event,), [done])]


def start(hub: Hub, record: Record, now: Now) -> OperationEvent | None:
    """Somebody works on it; `operation_started` once a claim."""
    record.change(started=True)
    if record.operation.started_at_ms is None:
        record.change_operation(started_at_ms=now.wall_ms)
    return hub.apply(record, "start", now)


def on_pause_state(hub: Hub, asked: Asked, message: PauseState, now: Now) -> list[Command]:
    """The owner stopped, or goes on."""
    record = _own(hub, asked, message.operation_id, message.generation)
    hub.writable()
    done = Send(asked.routing, asked.request_id, Ack())
    event = None
    if message.paused != (record.operation.state == "paused"):
        event = hub.apply(record, "pause" if message.paused else "resumed", now)
        record.merge.pace.restart()
        hub.touch(record)
    record.stop_sent_s = None
    return [hub.log.commit((record.row,), () if event is None else (event,), [done])]


def on_outcome(hub: Hub, asked: Asked, message: Outcome, now: Now) -> list[Command]:
    """The first outcome wins; its repetition is acknowledged, everybody else's is a conflict."""
    hub.writable(outcome=True)
    done = Send(asked.routing, asked.request_id, Ack())
    known = hub.records.get(message.operation_id)
    speaker = hub.owners.at(asked.routing)
    if (
        known is not None
        and speaker is not None
        and known.terminal
        and known.row.ended_by == (speaker.source.name, message.generation)
    ):
        return [hub.log.commit((), (), [done])]
    record = _own(hub, asked, message.operation_id, message.generation)
    events = end(hub, record, message, now)
    return [hub.log.commit((record.row,), events, [done])]


def end(
    hub: Hub, record: Record, message: Outcome, now: Now, *, ended_at_ms: int | None = None
) -> list[OperationEvent]:
    """The outcome that the claim's owner gives, to be committed by the caller. ended_at_ms: it came late."""
    hub.reported(record, message.final, now)
    # It may overtake the start: watchers learn from that event where the operation's files are.
    started = None if record.row.started else start(hub, record, now)
    fields: dict[str, Any] = {"artifacts": () if record.row.reported else message.artifacts, "forced": message.forced}
    if message.state == "failed":
        fields["error"] = message.error or FAILED.error("its owner gave no reason")
    elif message.error is not None:
        fields["reason"] = message.error.message
    if message.state == "canceled" and not record.row.reported:
        # Also where the broker that passed the cancel on died before it was written.
        record.change_operation(cancel_requested=True)
    if ended_at_ms is not None:
        fields["ended_at_ms"] = ended_at_ms
    claim = record.row.claim
    record.change(ended_by=(claim.name, message.generation) if claim else None)
    ended = hub.apply(record, OUTCOMES[message.state], now, **fields)
    return [event for event in (started, ended) if event is not None]


def on_release(hub: Hub, asked: Asked, message: Release, now: Now) -> list[Command]:
    """A draining owner gives it back: it waits for the next one, and what it finished is kept."""
    record = _own(hub, asked, message.operation_id, message.generation)
    if record.row.reported:
        raise UnsupportedError("what a program reports is its own", hint="say how it ended")
    hub.writable(outcome=True)
    hub.reported(record, message.measure, now)
    owner = hub.owners.at(asked.routing)
    if owner is not None:
        owner.leaving = True
    made: list[OperationEvent | None]
    if record.operation.state != "cancelling" and not record.row.claim_resumable:
        # Nobody can go on with it, so there is nothing to wait for.
        made = [_fail_interrupted(hub, record, now)]
    else:
        if record.operation.state != "cancelling":
            hub.release_claim(record)
        made = [hub.apply(record, "released", now, reason=message.reason)]
    if not record.terminal:
        made.append(_wait_again(hub, record, now))
    done = Send(asked.routing, asked.request_id, Ack())
    return [hub.log.commit((record.row,), (event for event in made if event is not None), [done])]


HANDLERS: dict[type[Struct], Callable[[Hub, Asked, Any, Now], list[Command]]] = {
    OwnerHello: on_hello,
    Started: on_started,
    PauseState: on_pause_state,
    Outcome: on_outcome,
    Release: on_release,
}
