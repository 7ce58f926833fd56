"""What is answered from committed state: pages, lists, filters, explanations. Pure functions."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import TypeVar

import msgspec

from rfm_runtime.core.counts import counted
from rfm_runtime.core.operations.claims import Owner
from rfm_runtime.core.operations.committed import Committed, Place
from rfm_runtime.core.operations.record import Record
from rfm_runtime.core.operations.schedule import Candidate, effective_priority
from rfm_runtime.errors import BadRequestError
from rfm_runtime.protocol.history import HistoryReply
from rfm_runtime.protocol.limits import PAGE_LIMIT_BYTES
from rfm_runtime.protocol.messages import ListOperations, ListReply
from rfm_runtime.protocol.operation import (
    ErrorInfo,
    Operation,
    OperationFilter,
    OperationState,
)

__all__ = ["Life", "cursor_after", "during", "explain", "history_page", "list_page", "matches", "page_of", "place"]

T = TypeVar("T", bound=msgspec.Struct)

CURSOR_DIGITS = 18
"""What a database takes as a number."""

SCAN_LIMIT = 2000
"""Operations looked through for one page, half a millisecond: a filter that few pass must not hold up the broker."""


class Life(msgspec.Struct, frozen=True, kw_only=True):
    """Of an operation what a look from far away needs."""

    operation_id: str
    kind: str
    name: str
    owner: str
    state: OperationState
    created_at_ms: int
    labels: dict[str, str] = {}
    started_at_ms: int | None = None
    ended_at_ms: int | None = None


def matches(operation: Operation | Life, wanted: OperationFilter) -> bool:
    """Whether the operation passes the filter."""
    if wanted.states is not None and operation.state not in wanted.states:
        return False
    if wanted.kinds is not None and operation.kind not in wanted.kinds:
        return False
    if wanted.owner is not None and operation.owner != wanted.owner:
        return False
    if wanted.labels and any(operation.labels.get(key) != value for key, value in wanted.labels.items()):
        return False
    if wanted.text:
        text = wanted.text.casefold()
        return text in operation.name.casefold() or text in operation.operation_id.casefold()
    return True


def during(created_ms: int, ended_ms: int | None, since_ms: int, until_ms: int | None) -> bool:
    """Whether an operation was there in a period, until_ms excluded: between its submission and its end.

    It is there at the moment at which it ends.
    """
    if until_ms is not None and created_ms >= until_ms:
        return False
    return ended_ms is None or max(created_ms, ended_ms) >= since_ms


def page_of(items: Iterable[T], limit: int) -> list[T]:
    """The first `limit` items, or as many of them as fit into PAGE_LIMIT_BYTES; at least one if there is one."""
    page: list[T] = []
    left = PAGE_LIMIT_BYTES
    for item in itertools.islice(items, limit):
        left -= len(msgspec.msgpack.encode(item))
        if left < 0 and page:
            break
        page.append(item)
    return page


def list_page(committed: Committed, request: ListOperations, describe: Callable[[Operation], Operation]) -> ListReply:
    """A page, newest first, each operation as `describe` shows it. Raises BadRequestError for a cursor that is none.

    With the cursor where it stopped after SCAN_LIMIT operations, whatever was found by then.
    """
    after: Place | None = None
    if request.cursor is not None:
        created_ms, operation_id = place(request.cursor)
        after = (-created_ms, operation_id)
    behind = committed.newest(request.filter.states, after)
    found: list[Operation] = []
    stopped_at: str | None = None
    for scanned, operation in enumerate(behind, 1):
        if matches(operation, request.filter):
            found.append(operation)
            # One more, which says that there is another page.
            if len(found) > request.limit:
                break
        if scanned == SCAN_LIMIT:
            stopped_at = cursor_after(operation)
            break
    page = page_of(map(describe, found), request.limit)
    more = len(found) > len(page)
    return ListReply(operations=page, cursor=cursor_after(page[-1]) if more else stopped_at)


def history_page(operations: Sequence[Operation], limit: int, stopped_at: str | None = None) -> HistoryReply:
    """A page of what the store has found, of which it gives one more than `limit` if there is one.

    stopped_at: where it stopped to look, before it had found as many.
    """
    page = page_of(map(_brief, operations), limit)
    more = len(operations) > len(page)
    return HistoryReply(operations=tuple(page), cursor=cursor_after(page[-1]) if more else stopped_at)


def _brief(operation: Operation) -> Operation:
    latest = operation.latest
    if latest is None or (latest.details is None and latest.tiles is None):
        return operation
    return msgspec.structs.replace(operation, latest=msgspec.structs.replace(latest, details=None, tiles=None))


def cursor_after(operation: Operation) -> str:
    """Where the page after this operation begins."""
    return f"{operation.created_at_ms}:{operation.operation_id}"


def place(cursor: str) -> tuple[int, str]:
    """(ms of its submission, id) of the last operation of the page before. Raises BadRequestError."""
    created, _, operation_id = cursor.partition(":")
    if not (created.isascii() and created.isdecimal()) or len(created) > CURSOR_DIGITS:
        raise BadRequestError("not a cursor of an earlier page", hint="pass the cursor as it came")
    return int(created), operation_id


def explain(
    record: Record,
    committed: Operation | None,
    records: Mapping[str, Record],
    ahead: Callable[[Candidate], int],
    owners: Sequence[Owner],
    now_s: float,
    *,
    draining: bool,
    journal_failing: str | None,
    is_seen: Callable[[Operation], bool] = lambda _operation: True,
) -> tuple[str, ...]:
    """Why the operation is in its state and what it waits for, the most important first.

    ahead: how many operations are assigned before a queued one. is_seen: whether the asker may hear the name of another
    operation.
    """
    operation, row = record.operation, record.row
    if committed is None or committed.state != operation.state:
        # What is not on disk is not said.
        lines = [] if committed is None else [f"{operation.operation_id} is {committed.state}."]
        failing = f", which fails: {journal_failing}" if journal_failing else ""
        return (*lines, f"A change of it is being written to the journal{failing}.")
    claim = f" by {row.claim.name} as generation {operation.generation}" if row.claim else ""
    lines = [f"{operation.operation_id} is {operation.state}{claim}."]
    if operation.state == "queued" and row.claim is None:
        lines += _why_queued(record, ahead, owners, now_s, draining=draining)
    else:
        lines += _why(record, records, owners, is_seen)
    owner = next((o for o in owners if row.claim and o.source.name == row.claim.name), None)
    if row.claim is not None and not record.terminal and (owner is None or owner.routing is None):
        lines.append(f"{row.claim.name} is not connected; it is awaited.")
    elif owner is not None and owner.stale:
        # Of a process elsewhere nobody knows whether it lives.
        left_s = max(0.0, owner.lease_until_s - now_s)
        then = "its process lives" if owner.local else f"it is given up in {left_s:.0f} s unless it speaks again"
        lines.append(f"{owner.source.name} has been silent for {now_s - owner.heard_s:.0f} s; {then}.")
    if row.losses:
        lines.append(f"Its owner died {counted(row.losses, 'time')} with it.")
    lines += _deaths(record)
    if journal_failing is not None:
        lines.append(f"The journal cannot be written: {journal_failing}")
    return tuple(lines)


def _deaths(record: Record) -> list[str]:
    """Of workers with a part of it, and what nobody could compute, as its owner has said."""
    latest = record.merge.latest or record.operation.latest
    told = latest.details if latest is not None and latest.details is not None and not record.row.reported else {}
    lines = []
    if told.get("failed_attempts"):
        tried = counted(told["failed_attempts"], "attempt")
        lines.append(f"{tried} at parts of it came to nothing: {told.get('last_cause')}.")
    if told.get("hole_count"):
        lines.append(f"{told['hole_px']} pixels could not be computed, and are left out.")
    return lines


def _why(
    record: Record, records: Mapping[str, Record], owners: Sequence[Owner], is_seen: Callable[[Operation], bool]
) -> list[str]:
    """What an operation that somebody has, or that has ended, waits for."""
    operation, row = record.operation, record.row
    if record.terminal:
        return [] if operation.error is None else _ended_badly(operation.error)
    if operation.state == "queued" and row.claim is not None:
        return [f"It was handed to {row.claim.name}, which has not begun yet."]
    if operation.state == "running" and row.pause_wanted and row.reported:
        return ["Its program was asked to pause and goes on until it looks."]
    if operation.state == "running" and row.pause_wanted:
        return ["It was asked to pause; tiles that run are being stopped."]
    if operation.state == "running":
        return _why_slow(record, records, owners, is_seen)
    if operation.state == "paused":
        return ["It was paused; `resume` lets it go on."]
    if operation.state == "cancelling" and row.reported:
        return ["Its program was asked to stop and has not answered; it cannot be killed from here."]
    if operation.state == "cancelling":
        return ["It was asked to stop; the outcome follows when nothing of it runs any more."]
    return []


def _ended_badly(error: ErrorInfo) -> list[str]:
    said = f"{error.severity}[{error.code}]: {error.message}"
    return [said] if error.hint is None else [said, f"What to do: {error.hint}."]


def _why_slow(
    record: Record, records: Mapping[str, Record], owners: Sequence[Owner], is_seen: Callable[[Operation], bool]
) -> list[str]:
    """An owner works on the highest priority that it has, and on the others with what that leaves."""
    if record.row.reported:
        # A program has no workers of ours; and it may have thousands of operations.
        return []
    owner = next((owner for owner in owners if record.operation.operation_id in owner.operations), None)
    before = [
        other
        for other in sorted(owner.operations if owner is not None else ())
        if records[other].operation.state == "running" and records[other].operation.priority > record.operation.priority
    ]
    if not before:
        return []
    others = f" and {len(before) - 1} more" if len(before) > 1 else ""
    first = before[0] if is_seen(records[before[0]].operation) else "another operation"
    return [f"It waits for {first}{others}, of a higher priority, to leave workers free."]


def _why_queued(
    record: Record, ahead: Callable[[Candidate], int], owners: Sequence[Owner], now_s: float, *, draining: bool
) -> list[str]:
    operation = record.operation
    if draining:
        return ["The runtime is shutting down and assigns nothing; the next start takes it up."]
    able = [owner for owner in owners if owner.routing is not None and owner.offers(operation.kind)]
    if not able:
        return [
            f"No engine that offers {operation.kind} is connected. It is kept, and begins when one is.",
            "`rfm-runtime status` and `rfm-runtime logs engine` say what engines do; the first start compiles kernels.",
        ]
    lines = [
        f"{owner.source.name} has {len(owner.operations)} of {owner.hello.slots} slots in use"
        + (" and is shutting down." if owner.leaving else " and is silent." if owner.stale else ".")
        for owner in able
        if owner.hello is not None
    ]
    place = ahead(record.candidate())
    priority = effective_priority(record.candidate(), now_s)
    before = f"{place} operations are ahead of it" if place else "It is next"
    lines.append(f"{before}; its priority is {operation.priority}, with ageing {priority}.")
    return lines
