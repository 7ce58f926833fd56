"""Whether the hub's tables agree: asserted after every step of the tests, and by a broker that stops. Pure."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from rfm_runtime.core.operations.record import Record
from rfm_runtime.protocol.operation import ErrorInfo, Operation

if TYPE_CHECKING:
    from rfm_runtime.core.operations.hub import Hub

__all__ = ["sanity_check"]


def sanity_check(hub: Hub) -> None:
    """Raise AssertionError if two tables disagree."""
    live = {oid for oid, record in hub.records.items() if not record.terminal}
    _require(live == hub.live, "live operations", live ^ hub.live)
    for operation_id, record in hub.records.items():
        _check_record(hub, operation_id, record)
    for handle, operation_id in hub.handles.items():
        _require(hub.records[operation_id].handle == handle, "a handle of another", operation_id)
    queued = {oid for oid, r in hub.records.items() if r.operation.state == "queued" and r.row.claim is None}
    waiting = {candidate.operation_id: candidate for candidate in hub.waiting.candidates()}
    _require(waiting.keys() == queued, "waiting operations", waiting.keys() ^ queued)
    for operation_id, candidate in waiting.items():
        _require(candidate == hub.records[operation_id].candidate(), "waits as something else", operation_id)
    by_user = Counter(hub.records[operation_id].operation.owner for operation_id in live)
    _require(by_user == hub.live_of, "live operations of users", hub.live_of)
    hub.quotas.sanity_check(
        [hub.records[operation_id].row for operation_id in live],
        [
            record.operation
            for oid, record in hub.records.items()
            if record.terminal and oid not in hub.keeping.recalled
        ],
    )
    _require(set(hub.cancel_set) <= live, "cancel set of live operations", set(hub.cancel_set) - live)
    _check_owners(hub)
    seqs = [event.seq for event in hub.log.events]
    _require(seqs == list(range(hub.log.floor + 1, hub.log.floor + 1 + len(seqs))), "gap in the log", seqs)
    _require(not seqs or seqs[-1] == hub.log.head, "head", hub.log.head)
    hub.log.committed.sanity_check()
    hub.keeping.sanity_check(hub)
    hub.revocations.sanity_check()
    hub.rules.sanity_check()


def _check_owners(hub: Hub) -> None:
    in_hand: Counter[str] = Counter()
    for owner in hub.owners:
        _require(owner.unconfirmed <= owner.operations, "unconfirmed, of another", owner.unconfirmed)
        for operation_id in owner.operations:
            record = hub.records[operation_id]
            claim = record.row.claim
            _require(claim is not None and claim.name == owner.source.name, "a claim", operation_id)
            in_hand[record.operation.owner] += 1
            if record.unconfirmed:
                _require(operation_id in owner.unconfirmed, "nobody would say it again", operation_id)
    _require(in_hand == hub.owners.in_hand, "operations in hand, by user", hub.owners.in_hand)


def _check_record(hub: Hub, operation_id: str, record: Record) -> None:
    operation: Operation = record.operation
    state = operation.state
    _require(operation.operation_id == operation_id, "id", operation_id)
    _require(hub.keys.get((operation.owner, record.row.request_key)) == operation_id, "key", operation_id)
    if record.terminal:
        _require(record.row.claim is None and record.handle is None, "ended but claimed", operation_id)
        _require(operation.latest is not None and operation.ended_at_ms is not None, "no final", operation_id)
    if state in ("running", "cancelling"):
        _require(record.row.claim is not None, f"{state} by nobody", operation_id)
    if record.row.claim is not None:
        owner = hub.owners.get(record.row.claim.name)
        _require(owner is not None and operation_id in owner.operations, "claim unknown", operation_id)
        _require(not record.merge.dirty or operation_id in hub.moved, "progress that is not shown", operation_id)
    _require((record.handle is None) or hub.handles.get(record.handle) == operation_id, "handle", operation_id)
    if state == "failed":
        _require(isinstance(operation.error, ErrorInfo), "failed without an error", operation_id)


def _require(condition: bool, what: str, detail: object) -> None:
    if not condition:
        raise AssertionError(f"{what}: {detail}")
