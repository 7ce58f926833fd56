"""Operations that a program reports of its own: accepted, claimed and started in one. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

import msgspec

from rfm_runtime.core.operations.assigning import assignment, mint
from rfm_runtime.core.operations.ownership import start
from rfm_runtime.core.operations.quotas import Charge
from rfm_runtime.core.operations.record import Asked, Command, Now, Record, Send, StoredOperation
from rfm_runtime.core.permissions import require_kind, require_parent, sees
from rfm_runtime.errors import ConflictError, DrainingError, ForbiddenError, UnavailableError, UnsupportedError
from rfm_runtime.protocol.internal import Announce, Source
from rfm_runtime.protocol.operation import Operation, OperationEvent

if TYPE_CHECKING:
    from rfm_runtime.core.operations.hub import Hub

__all__ = ["begin_reported", "below_its_parent", "on_announce"]


def on_announce(hub: Hub, asked: Asked, message: Announce, now: Now) -> list[Command]:
    """A program reports an operation of its own: accepted, claimed and started in one."""
    owner = hub.owners.at(asked.routing)
    if owner is None or owner.hello is None:
        raise UnavailableError("say hello first, then repeat this", retry_after_s=0.1)
    if owner.hello.role != "reporter":
        raise UnsupportedError("only a reporter has operations of its own", hint="say hello as a reporter")
    require_kind(message.principal, "operation_started", message.kind)
    hub.writable()
    record = hub.records.get(message.operation_id)
    if record is not None:
        if record.terminal or message.operation_id not in owner.operations:
            raise ConflictError(
                f"{message.operation_id} has ended or is another's", hint="begin an operation with a new id"
            )
        return [hub.log.commit((), (), [Send(asked.routing, asked.request_id, assignment(record))])]
    if hub.draining:
        raise DrainingError("the runtime is shutting down and takes nothing new", retry_after_s=1.0)
    hub.check_quota(message.principal.user, [Charge()])
    message = below_its_parent(hub, message)
    record, events = begin_reported(hub, owner.source, message, now, local=owner.local)
    mint(hub, record)
    hub.hand(owner, record)
    return [hub.log.commit((record.row,), events, [Send(asked.routing, asked.request_id, assignment(record))])]


def below_its_parent(hub: Hub, message: Announce, *, refuse: bool = True) -> Announce:
    """The same without a parent that its user does not see, as if there were none: an unknown one is no reason either.

    refuse: whether one below which he may not put anything raises ForbiddenError, or is left out as well: what has
    ended already is not lost for it.
    """
    parent = hub.records.get(message.parent_id) if message.parent_id is not None else None
    if parent is None:
        return message
    if not sees(message.principal, parent.operation):
        return msgspec.structs.replace(message, parent_id=None)
    try:
        require_parent(message.principal, parent.operation.operation_id, parent.operation)
    except ForbiddenError:
        if refuse:
            raise
        return msgspec.structs.replace(message, parent_id=None)
    return message


def begin_reported(
    hub: Hub, source: Source, message: Announce, now: Now, *, local: bool
) -> tuple[Record, list[OperationEvent]]:
    """A program's own operation: accepted, claimed by it and started in one."""
    parent = hub.records.get(message.parent_id) if message.parent_id is not None else None
    operation = Operation(
        operation_id=message.operation_id,
        kind=message.kind,
        name=message.name or message.kind,
        owner=message.principal.user,
        state="pending",
        at_seq=0,
        created_at_ms=now.wall_ms - message.age_ms,
        started_at_ms=now.wall_ms - message.age_ms,
        generation=1,
        attempts=1,
        labels=dict(message.labels),
        # Its program is on its way already: a parent that has ended meanwhile is no reason to refuse it.
        parent_id=message.parent_id if parent is not None and not parent.terminal else None,
        correlation_id=message.operation_id[-12:],
    )
    row = StoredOperation(
        operation=operation,
        params={},
        # A key that no submission has.
        request_key=f"report:{message.operation_id}",
        body_digest=b"",
        claim=source,
        claim_local=local,
        claim_resumable=False,
        reported=True,
        pausable=message.pausable,
    )
    record = hub.adopt(row, now)
    record.merge.has_tiles = False
    record.merge.claimed(1)
    accepted = hub.event(record, "operation_accepted", now)
    hub.reported(record, message.measure, now)
    started = start(hub, record, now)
    return record, [event for event in (accepted, started) if event is not None]
