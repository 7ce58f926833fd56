"""What gateways ask for their users: submit, cancel, pause, priority, queries. One function a request.

Each takes (hub, asked, message, now) and returns commands, or raises the error that is the answer. Mutations
are answered after their commit, queries from the committed state.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from rfm_runtime.core.operations.ownership import push_pause
from rfm_runtime.core.operations.queries import explain, list_page, page_of
from rfm_runtime.core.operations.quotas import charge
from rfm_runtime.core.operations.record import Asked, Command, Now, Push, Record, Send, StoredOperation
from rfm_runtime.core.permissions import Sight, narrowed, require, require_kind, require_parent, shown, sight, unknown
from rfm_runtime.errors import (
    BadRequestError,
    ConflictError,
    DrainingError,
    TooLargeError,
    UnsupportedError,
)
from rfm_runtime.protocol.internal import (
    Ack,
    Announce,
    Cancellation,
    DoCancel,
    DoExplain,
    DoGet,
    DoKinds,
    DoList,
    DoPause,
    DoPriority,
    DoSubmit,
    Events,
    EventsSince,
    Explained,
    GatewayHello,
    GatewayWelcome,
    KindsKnown,
    PeerStatus,
    Principal,
    PriorityOwner,
    ProgressState,
    ProgressStateReply,
    Snapshot,
    SnapshotPage,
    Status,
    StatusReply,
    Submitted,
)
from rfm_runtime.protocol.limits import PAGE_LIMIT, PARAMS_LIMIT_BYTES
from rfm_runtime.protocol.messages import CancelReply, Kind, ListReply, OperationReply, SubmitReply, SubmitRequest
from rfm_runtime.protocol.operation import TERMINAL_STATES, Operation, OperationEvent, error_info

if TYPE_CHECKING:
    from rfm_runtime.core.operations.hub import Hub

__all__ = ["HANDLERS", "cancel_tree", "explain_lines", "named", "shown_to", "with_progress"]

EVENTS_PAGE = 1000


def _answer(asked: Asked, message: msgspec.Struct) -> Send:
    return Send(asked.routing, asked.request_id, message)


def _find(hub: Hub, principal: Principal, operation_id: str, request: str) -> Record:
    """The operation, if the principal may make this request of it. Raises ForbiddenError, UnknownOperationError."""
    record = hub.records.get(operation_id)
    require(principal, request, operation_id, None if record is None else record.operation)
    if record is None:
        raise unknown(operation_id)
    return record


def named(message: msgspec.Struct) -> tuple[str, list[str], list[str]]:
    """The user, request keys and operation ids of a request that may be about an operation of long ago."""
    match message:
        case DoSubmit():
            keys = [submission.request_key for submission in message.submissions]
            return message.principal.user, keys, [submission.operation_id for submission in message.submissions]
        case DoGet() | DoExplain() | DoPause() | DoPriority() | Announce():
            return message.principal.user, [], [message.operation_id]
        case DoCancel():
            return message.principal.user, [], [message.request.operation_id]
        case _:
            return "", [], []


# --- submit -----------------------------------------------------------------------------------


def on_submit(hub: Hub, asked: Asked, message: DoSubmit, now: Now) -> list[Command]:
    """All submissions are accepted in one batch, or the first bad one refuses all."""
    for submission in message.submissions:
        require_kind(message.principal, "submit", submission.kind)
    if hub.draining:
        raise DrainingError("the runtime is shutting down and takes nothing new", hint="submit again after its start")
    hub.writable()
    fresh: list[tuple[SubmitRequest, bytes]] = []
    replies: dict[str, SubmitReply] = {}
    for submission in message.submissions:
        digest = _digest(submission)
        duplicate = _known(hub, message.principal, submission, digest, fresh)
        if duplicate is not None:
            replies[submission.operation_id] = duplicate
        else:
            _validate(hub, message.principal, submission, {new.operation_id for new, _ in fresh})
            fresh.append((submission, digest))
    hub.check_quota(message.principal.user, [charge(new.kind, new.params) for new, _ in fresh])
    rows: list[StoredOperation] = []
    events: list[OperationEvent] = []
    for submission, digest in fresh:
        record, accepted = _accept(hub, message.principal, submission, digest, now)
        events += accepted
        rows.append(record.row)
        replies[submission.operation_id] = SubmitReply(
            operation_id=submission.operation_id, seq=record.operation.at_seq
        )
    answer = _answer(asked, Submitted(tuple(replies[s.operation_id] for s in message.submissions)))
    # A duplicate is answered after a commit as well: its first request may not be on disk yet.
    return [hub.log.commit(rows, events, [answer])]


def _digest(submission: SubmitRequest) -> bytes:
    """Of what makes two requests with one key the same. The correlation id is not part of it, and neither is the
    operation's: a program that was started again knows its key, and not what it once called the operation.
    """
    body = msgspec.structs.replace(submission, correlation_id=None, operation_id="")
    encoded = msgspec.msgpack.encode(body, order="deterministic")
    if len(encoded) > PARAMS_LIMIT_BYTES:
        raise TooLargeError(
            f"the submission has {len(encoded)} bytes, {PARAMS_LIMIT_BYTES} are allowed",
            hint="shorten params or labels",
        )
    return hashlib.blake2b(encoded, digest_size=16).digest()


def _known(
    hub: Hub,
    principal: Principal,
    submission: SubmitRequest,
    digest: bytes,
    fresh: list[tuple[SubmitRequest, bytes]],
) -> SubmitReply | None:
    known_id = hub.keys.get((principal.user, submission.request_key))
    if known_id is None:
        if submission.operation_id in hub.records:
            raise ConflictError(f"operation {submission.operation_id} exists already", hint="mint a new operation_id")
        for other, _ in fresh:
            if other.request_key == submission.request_key or other.operation_id == submission.operation_id:
                raise ConflictError("two submissions with one request_key or operation_id", hint="mint one each")
        return None
    record = hub.records[known_id]
    if record.row.body_digest != digest:
        raise ConflictError(
            f"request_key {submission.request_key} was used for {known_id} with another content",
            hint="use a new request_key for a new request",
        )
    return SubmitReply(operation_id=known_id, seq=record.operation.at_seq, duplicate=True)


def _validate(hub: Hub, principal: Principal, submission: SubmitRequest, together: set[str]) -> None:
    validator = hub.validators.get(submission.kind)
    if validator is not None:
        validator(submission.params)
    elif submission.kind not in (known := {kind.kind for kind in _kinds(hub)} | set(hub.validators)):
        granted = known if principal.kinds is None else known & set(principal.kinds)
        raise BadRequestError(
            f"unknown kind {submission.kind[:64]!r}",
            hint=f"known kinds: {', '.join(sorted(granted)) or 'none'}",
        )
    if submission.parent_id is not None and submission.parent_id not in together:
        parent = hub.records.get(submission.parent_id)
        require_parent(principal, submission.parent_id, None if parent is None else parent.operation)
        if parent is None:
            raise unknown(submission.parent_id)
        # A cancel of the parent has passed its children already: this one would be missed.
        if parent.terminal or parent.operation.state == "cancelling":
            raise ConflictError(
                f"the parent {submission.parent_id} is {parent.operation.state}", hint="submit without a parent"
            )


def _accept(
    hub: Hub, principal: Principal, submission: SubmitRequest, digest: bytes, now: Now
) -> tuple[Record, list[OperationEvent]]:
    operation = Operation(
        operation_id=submission.operation_id,
        kind=submission.kind,
        name=submission.name or submission.kind,
        owner=principal.user,
        state="pending",
        at_seq=0,
        created_at_ms=now.wall_ms,
        priority=submission.priority,
        labels=dict(submission.labels),
        parent_id=submission.parent_id,
        correlation_id=submission.correlation_id or submission.operation_id[-12:],
    )
    row = StoredOperation(
        operation=operation, params=submission.params, request_key=submission.request_key, body_digest=digest
    )
    record = hub.adopt(row, now)
    accepted = hub.event(record, "operation_accepted", now)
    return record, [accepted, hub.event(record, "operation_queued", now, state="queued")]


# --- steering ---------------------------------------------------------------------------------


def on_cancel(hub: Hub, asked: Asked, message: DoCancel, now: Now) -> list[Command]:
    """The set goes out at once; the event and the reply after the commit."""
    request = message.request
    record = _find(hub, message.principal, request.operation_id, "cancel_operation")
    if record.terminal:
        hub.writable(outcome=True)
        return [hub.log.commit((), (), [_answer(asked, CancelReply(state="already_terminal"))])]
    if request.mode == "hard" and record.row.reported:
        raise UnsupportedError(
            "a program of its own cannot be killed from here, only asked to stop",
            hint="cancel it without force: it is asked, and stops when it looks",
        )
    kill_after_ms = 0 if request.mode == "hard" else request.deadline_ms
    if kill_after_ms is None:
        kill_after_ms = round(hub.settings.cancel_deadline_s * 1000)
    version = hub.cancel_version
    records, events = cancel_tree(hub, record, message.principal.user, request.reason, kill_after_ms, now)
    commands: list[Command] = []
    if hub.cancel_version != version:
        commands.append(hub.control(now))
    if hub.log.failing is not None and not hub.log.outcomes_only:
        # What runs is being stopped already; that it was asked follows when the journal can be written again.
        if records:
            commands.append(hub.log.commit((r.row for r in records), events))
        return [*commands, Send(asked.routing, asked.request_id, error_info(hub.unavailable()))]
    answer = _answer(asked, CancelReply(state="cancelling"))
    return [*commands, hub.log.commit((r.row for r in records), events, [answer])]


def _stricter(entry: Cancellation | None, kill_after_ms: int | None) -> int | None:
    """A soft cancel after a hard one does not take it back."""
    known = None if entry is None else entry.kill_after_ms
    return min((after for after in (known, kill_after_ms) if after is not None), default=None)


def cancel_tree(
    hub: Hub, root: Record, by: str, reason: str | None, kill_after_ms: int, now: Now
) -> tuple[list[Record], list[OperationEvent]]:
    """Cancel an operation and everything below it; the records that changed and their events."""
    changed: list[Record] = []
    events: list[OperationEvent] = []
    waiting = [root]
    while waiting:
        record = waiting.pop()
        operation_id = record.operation.operation_id
        waiting += [hub.records[child] for child in sorted(hub.children.get(operation_id, ()))]
        if record.terminal:
            continue
        claim = record.row.claim
        if claim is None:
            record.change_operation(cancel_requested=True)
            event = hub.apply(record, "cancel_unclaimed", now, by=by, reason=reason)
        else:
            known = hub.cancel_set.get(operation_id)
            entry = Cancellation(
                operation_id=operation_id,
                generation=record.operation.generation,
                kill_after_ms=_stricter(known, None if record.row.reported else kill_after_ms),
            )
            if known == entry:
                continue
            hub.cancel_set[operation_id] = entry
            hub.cancel_version += 1
            record.change_operation(cancel_requested=True)
            record.change(cancellation=entry)
            event = None if known else hub.apply(record, "cancel", now, by=by, reason=reason)
        changed.append(record)
        if event is not None:
            events.append(event)
    return changed, events


def on_pause(hub: Hub, asked: Asked, message: DoPause, now: Now) -> list[Command]:
    """Without an owner it is done at once; an owner is asked and its confirmation makes the event."""
    record = _find(hub, message.principal, message.operation_id, "pause" if message.paused else "resume")
    state = record.operation.state
    if record.terminal or state == "cancelling":
        hint = "only what runs or waits can be paused or resumed"
        raise ConflictError(f"{message.operation_id} is {state}", hint=hint)
    if message.paused and not record.row.pausable:
        raise UnsupportedError(
            "the program that works on it does not look whether it is to pause",
            hint="a program that does says so with `pausable=True`",
        )
    hub.writable()
    done = Send(asked.routing, asked.request_id, Ack())
    if record.row.claim is None:
        event = hub.apply(record, "pause" if message.paused else "resume", now, by=message.principal.user)
        if event is not None:
            record.queued_s = now.mono_s
            hub.index(record)
        events = () if event is None else (event,)
        return [hub.log.commit((record.row,), events, [done])]
    record.change(pause_wanted=message.paused)
    hub.index(record)
    return [hub.log.commit((record.row,), (), [done, *push_pause(hub, record, now)])]


def on_priority(hub: Hub, asked: Asked, message: DoPriority, now: Now) -> list[Command]:
    """A higher priority runs first; what runs already is told."""
    record = _find(hub, message.principal, message.operation_id, "set_priority")
    if record.terminal:
        raise ConflictError(
            f"{message.operation_id} is {record.operation.state}", hint="only what has not ended has a priority"
        )
    hub.writable()
    record.change_operation(priority=message.priority)
    event = hub.event(record, "operation_priority", now, priority=message.priority, by=message.principal.user)
    then: list[Command] = [Send(asked.routing, asked.request_id, Ack())]
    owner = hub.owners.get(record.row.claim.name) if record.row.claim else None
    if owner is not None and owner.routing is not None:
        told = PriorityOwner(
            operation_id=message.operation_id,
            generation=record.operation.generation,
            priority=message.priority,
        )
        then.append(Push(owner.routing, told))
    return [hub.log.commit((record.row,), (event,), then)]


# --- queries ----------------------------------------------------------------------------------


def _kinds(hub: Hub) -> list[Kind]:
    kinds: dict[str, Kind] = {}
    for owner in hub.owners:
        if owner.hello is not None and owner.routing is not None:
            kinds |= {kind.kind: kind for kind in owner.hello.kinds}
    return [kinds[name] for name in sorted(kinds)]


def on_kinds(hub: Hub, asked: Asked, message: DoKinds, _now: Now) -> list[Command]:
    """What engines offer now, of what is granted."""
    require(message.principal, "kinds")
    granted = message.principal.kinds
    return [_answer(asked, KindsKnown(tuple(k for k in _kinds(hub) if granted is None or k.kind in granted)))]


def on_list(hub: Hub, asked: Asked, message: DoList, _now: Now) -> list[Command]:
    """A page of committed operations."""
    require(message.principal, "list_operations")
    wanted = narrowed(message.principal, message.request.filter)
    if wanted is None:
        return [_answer(asked, ListReply(operations=[]))]
    request = msgspec.structs.replace(message.request, filter=wanted)
    describe = partial(shown_to, hub, sight(message.principal))
    return [_answer(asked, list_page(hub.log.committed, request, describe))]


def on_get(hub: Hub, asked: Asked, message: DoGet, _now: Now) -> list[Command]:
    """One committed operation with its parameters."""
    record = _find(hub, message.principal, message.operation_id, "get_operation")
    committed = hub.log.committed.get(message.operation_id)
    if committed is None:
        raise unknown(message.operation_id)
    operation = shown_to(hub, sight(message.principal), committed)
    return [_answer(asked, OperationReply(operation=operation, params=record.row.params))]


def shown_to(hub: Hub, seen: Sight | None, operation: Operation) -> Operation:
    """The operation as somebody who may see it sees it now."""
    return with_progress(hub, shown(seen, operation, hub.log.committed.get))


def with_progress(hub: Hub, operation: Operation) -> Operation:
    """The operation as watchers see it now."""
    record = hub.records.get(operation.operation_id)
    if record is None or operation.state in TERMINAL_STATES:
        return operation
    told = record.merge.as_told(operation.latest)
    if told is None:
        # Its owner may have frozen before it said anything.
        return msgspec.structs.replace(operation, stale=True) if record.merge.stale else operation
    return msgspec.structs.replace(operation, latest=told, stale=record.merge.stale)


def on_explain(hub: Hub, asked: Asked, message: DoExplain, now: Now) -> list[Command]:
    """Why is it in this state?"""
    record = _find(hub, message.principal, message.operation_id, "explain")
    if message.operation_id not in hub.log.committed:
        raise unknown(message.operation_id)
    return [_answer(asked, Explained(explain_lines(hub, record, now, message.principal)))]


def explain_lines(hub: Hub, record: Record, now: Now, who: Principal | None = None) -> tuple[str, ...]:
    """The explanation from the hub's tables. who: names of what he may not see are left out; None: of nothing."""
    seen = None if who is None else sight(who)
    return explain(
        record,
        hub.log.committed.get(record.operation.operation_id),
        hub.records,
        lambda candidate: hub.waiting.ahead(candidate, hub.usage, hub.owners.in_hand, now.mono_s),
        list(hub.owners),
        now.mono_s,
        draining=hub.draining,
        journal_failing=hub.log.failing,
        is_seen=lambda other: seen is None or seen.has(other),
    )


def on_gateway_hello(hub: Hub, asked: Asked, _message: GatewayHello, _now: Now) -> list[Command]:
    """Where the feed stands; `frame_no` is filled in by the shell, which counts frames."""
    return [
        _answer(
            asked,
            GatewayWelcome(
                epoch=hub.log.epoch,
                incarnation=hub.incarnation,
                floor=hub.log.floor,
                head=hub.log.head,
                frame_no=0,
                durable=hub.durable,
            ),
        )
    ]


def on_events_since(hub: Hub, asked: Asked, message: EventsSince, _now: Now) -> list[Command]:
    """Committed events after a position, or the advice to take a snapshot."""
    events = hub.log.since(message.seq) if message.epoch == hub.log.epoch else None
    answer = Events(
        epoch=hub.log.epoch,
        incarnation=hub.incarnation,
        floor=hub.log.floor,
        head=hub.log.head,
        recovered=events is not None,
        events=() if events is None else tuple(page_of(events, EVENTS_PAGE)),
    )
    return [_answer(asked, answer)]


def on_snapshot(hub: Hub, asked: Asked, message: Snapshot, _now: Now) -> list[Command]:
    """A page of committed operations in the order of their ids."""
    found = hub.log.committed.after(message.cursor, PAGE_LIMIT + 1)
    page = page_of((with_progress(hub, operation) for operation in found), PAGE_LIMIT)
    answer = SnapshotPage(
        epoch=hub.log.epoch,
        incarnation=hub.incarnation,
        seq=hub.log.head,
        operations=tuple(page),
        cursor=page[-1].operation_id if len(found) > len(page) else "",
        revocations=None if message.cursor else hub.revocations.committed,
    )
    return [_answer(asked, answer)]


def on_progress_state(hub: Hub, asked: Asked, _message: ProgressState, _now: Now) -> list[Command]:
    """The newest progress of everything alive; `frame_no` is filled in by the shell."""
    reply = ProgressStateReply(incarnation=hub.incarnation, frame_no=0, progress=hub.all_progress())
    return [_answer(asked, reply)]


def on_status(hub: Hub, asked: Asked, _message: Status, now: Now) -> list[Command]:
    """What `rfm-runtime status` shows of the broker."""
    peers = tuple(
        PeerStatus(
            role=owner.hello.role,
            name=owner.source.name,
            pid=owner.source.pid,
            silent_s=now.mono_s - owner.heard_s,
            operations=len(owner.operations),
            slots=owner.hello.slots,
            workers=owner.hello.workers,
        )
        for owner in hub.owners
        # A program that reports nothing any more may run for days.
        if owner.hello is not None and (owner.hello.role != "reporter" or owner.operations)
    )
    reply = StatusReply(
        epoch=hub.log.epoch,
        incarnation=hub.incarnation,
        head=hub.log.head,
        uptime_s=now.mono_s - hub.started_s,
        journal=hub.log.failing or "ok",
        draining=hub.draining,
        states=hub.log.committed.counts(),
        peers=peers,
    )
    return [_answer(asked, reply)]


HANDLERS: dict[type[msgspec.Struct], Callable[[Hub, Asked, Any, Now], list[Command]]] = {
    DoSubmit: on_submit,
    DoCancel: on_cancel,
    DoPause: on_pause,
    DoPriority: on_priority,
    DoKinds: on_kinds,
    DoList: on_list,
    DoGet: on_get,
    DoExplain: on_explain,
    GatewayHello: on_gateway_hello,
    EventsSince: on_events_since,
    Snapshot: on_snapshot,
    ProgressState: on_progress_state,
    Status: on_status,
}
