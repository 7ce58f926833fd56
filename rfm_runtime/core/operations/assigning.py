"""Which owner gets which queued operation. The claim is journalled before the owner hears of it. Pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rfm_runtime.core.operations.claims import Owner
from rfm_runtime.core.operations.record import Command, Now, Push, Record, StoredOperation
from rfm_runtime.core.operations.schedule import rank
from rfm_runtime.protocol.internal import Assign

if TYPE_CHECKING:
    from rfm_runtime.core.operations.hub import Hub

__all__ = ["assign", "assignment", "in_hand", "mint"]


def assign(hub: Hub, now: Now, *, overbook: bool = True) -> list[Command]:
    """Give queued operations to owners with room. The claim is journalled before the owner hears of it.

    overbook: look also for a priority that needs no free slot.
    """
    if hub.draining or hub.log.failing is not None:
        return []
    if not any(owner.takes_new and (overbook or owner.free_slots > 0) for owner in hub.owners):
        return []
    heads = hub.waiting.heads()
    turns = in_hand(hub) if heads else {}
    rows: list[StoredOperation] = []
    pushes: list[Command] = []
    while heads:
        line = min(heads, key=lambda key: (rank(heads[key], hub.usage, turns, now.mono_s), heads[key].operation_id))
        candidate = heads[line]
        record = hub.records[candidate.operation_id]
        owner = _room_for(hub, record) if _settled(hub, record) else None
        if owner is None or owner.routing is None:
            # Who stands behind it waits for the same.
            del heads[line]
            continue
        _claim(hub, record, owner, now)
        turns[candidate.owner] = turns.get(candidate.owner, 0) + 1
        rows.append(record.row)
        pushes.append(Push(owner.routing, assignment(record)))
        following = hub.waiting.first(line)
        if following is None:
            del heads[line]
        else:
            heads[line] = following
    return [hub.log.commit(rows, (), pushes)] if rows else []


def _claim(hub: Hub, record: Record, owner: Owner, now: Now) -> None:
    record.change_operation(
        generation=record.operation.generation + 1,
        attempts=record.operation.attempts + 1,
        location=owner.hello.location if owner.hello else None,
    )
    record.change(
        claim=owner.source,
        claim_local=owner.local,
        claim_resumable=owner.hello is not None and record.operation.kind in owner.hello.resumable,
        started=False,
    )
    record.merge.claimed(record.operation.generation)
    record.series.claimed()
    record.change(cpu_before_s=record.merge.cpu_before_s)
    mint(hub, record)
    record.assigned_s = now.mono_s
    hub.hand(owner, record)


def in_hand(hub: Hub) -> dict[str, int]:
    """How many operations of each user are with an owner."""
    return dict(hub.owners.in_hand)


def _settled(hub: Hub, record: Record) -> bool:
    """Whether its acceptance is on disk: nobody works on what might not exist after a crash."""
    return record.operation.operation_id in hub.log.committed


def _room_for(hub: Hub, record: Record) -> Owner | None:
    """The least loaded owner with a free slot; a higher priority than all it has needs no free slot.

    Owners compare what is set, not what has grown by waiting, so that is what is compared here.
    """
    able = [owner for owner in hub.owners if owner.takes_new and owner.offers(record.operation.kind)]
    free = [owner for owner in able if owner.free_slots > 0]
    if free:
        return max(free, key=lambda owner: owner.free_slots)
    wanted = record.operation.priority
    for owner in able:
        held = [hub.records[operation_id].operation.priority for operation_id in owner.operations]
        if owner.hello is not None and len(held) < 2 * owner.hello.slots and all(p < wanted for p in held):
            return owner
    return None


def mint(hub: Hub, record: Record) -> None:
    """Give it a new handle; whoever knows the old one does not count any more."""
    if record.handle is not None:
        hub.handles.pop(record.handle, None)
    record.handle = hub.mint_handle()
    hub.handles[record.handle] = record.operation.operation_id


def assignment(record: Record) -> Assign:
    """What its owner is told."""
    operation = record.operation
    if record.handle is None:
        raise AssertionError(f"{operation.operation_id} is assigned without a handle")
    return Assign(
        operation_id=operation.operation_id,
        generation=operation.generation,
        handle=record.handle,
        kind=operation.kind,
        name=operation.name,
        owner=operation.owner,
        params=record.row.params,
        priority=operation.priority,
        paused=record.row.pause_wanted or operation.state == "paused",
        correlation_id=operation.correlation_id or "",
    )
