"""A journal that forgets: for tests and for embedding, by explicit choice. Same interface, same order."""

from __future__ import annotations

import itertools
import secrets
from collections.abc import Collection, Iterator

import msgspec

from rfm_runtime.core.operations.queries import Life, during, matches, place
from rfm_runtime.core.operations.record import Batch, Loaded, StoredOperation
from rfm_runtime.protocol.history import History, Performance
from rfm_runtime.protocol.notifying import UserRules
from rfm_runtime.protocol.operation import TERMINAL_STATES, Operation, OperationEvent
from rfm_runtime.protocol.revocation import Revocation
from rfm_runtime.protocol.timeline import GetTimeline
from rfm_runtime.store.journal import EVENTS_LIMIT, LEARNED, OnFailed, OnWritten, Past

__all__ = ["MemoryJournal"]


class MemoryJournal:
    """Written at once, in the appender's thread. A second `load` sees what the first broker left.

    operations: that have ended and are kept, the newest, or a tenth more; None: all.
    """

    def __init__(self, operations: int | None = None) -> None:
        self._keep = operations
        self._hole = 0
        self._ended: dict[str, None] = {}
        self._epoch = f"mem-{secrets.token_hex(8)}"
        self._incarnation = 0
        self._rows: dict[str, StoredOperation] = {}
        self._events: list[OperationEvent] = []
        self._performance: dict[str, Performance] = {}
        self._revocations: dict[str, Revocation] = {}
        self._rules: dict[str, UserRules] = {}
        self._on_written: OnWritten | None = None

    def load(self, *, history_events: int, finished_keep: int) -> Loaded:
        self._incarnation += 1
        events = tuple(event for event in self._events if event.seq > self._hole)[-history_events:]
        head = events[-1].seq if events else self._hole
        live = [row for row in self._rows.values() if row.operation.state not in TERMINAL_STATES]
        ended = [row for row in self._rows.values() if row.operation.state in TERMINAL_STATES]
        ended.sort(key=lambda row: row.operation.ended_at_ms or 0)
        return Loaded(
            epoch=self._epoch,
            incarnation=self._incarnation,
            durable=False,
            head=head,
            floor=events[0].seq - 1 if events else head,
            rows=(*ended[-finished_keep:], *live),
            events=events,
            performance={
                row.operation.operation_id: self._performance[row.operation.operation_id]
                for row in live
                if row.operation.operation_id in self._performance
            },
            past=tuple(
                (row.operation.kind, row.operation.name, self._performance[row.operation.operation_id])
                for row in ended[-LEARNED:]
                if row.operation.state == "completed" and row.operation.operation_id in self._performance
            ),
            revocations=tuple(self._revocations.values()),
            rules=tuple(self._rules.values()),
        )

    def renew(self) -> None:
        self._epoch = f"mem-{secrets.token_hex(8)}"

    def start(self, on_written: OnWritten, on_failed: OnFailed) -> None:
        del on_failed  # memory does not fail
        self._on_written = on_written

    def append(self, batch: Batch) -> None:
        for row in batch.rows:
            self._rows[row.operation.operation_id] = row
            if row.operation.state in TERMINAL_STATES:
                self._ended.setdefault(row.operation.operation_id)
        self._events += batch.events
        self._performance.update(batch.performance)
        self._revocations.update({entry.key: entry for entry in batch.revocations})
        for key in batch.unrevoked:
            self._revocations.pop(key, None)
        for entry in batch.rules:
            if entry.rules is None:
                self._rules.pop(entry.user, None)
            else:
                self._rules[entry.user] = entry
        if self._keep is not None and len(self._ended) > self._keep + self._keep // 10:
            self._forget(len(self._ended) - self._keep)
        if self._on_written is not None:
            self._on_written(batch.number, 0.0)

    def _forget(self, count: int) -> None:
        """What ended first, children before parents, with all that was written of it."""
        parents = {row.operation.parent_id for row in self._rows.values()}
        gone = {*itertools.islice((one for one in self._ended if one not in parents), count)}
        for operation_id in gone:
            del self._ended[operation_id], self._rows[operation_id]
            self._performance.pop(operation_id, None)
        newest = [event.seq for event in self._events if event.operation_id in gone]
        self._hole = max([self._hole, *newest])
        self._events = [event for event in self._events if event.operation_id not in gone]

    def find(self, owner: str, request_keys: Collection[str], operation_ids: Collection[str]) -> list[StoredOperation]:
        return [
            row
            for operation_id, row in self._rows.items()
            if operation_id in operation_ids or (row.operation.owner == owner and row.request_key in request_keys)
        ]

    def history(self, wanted: History) -> tuple[list[Operation], str | None]:
        found = [
            row.operation
            for row in list(self._rows.values())
            if _in_period(row.operation, wanted) and matches(row.operation, wanted.filter)
        ]
        found.sort(key=lambda operation: (-operation.created_at_ms, operation.operation_id))
        if wanted.cursor is not None:
            created_ms, operation_id = place(wanted.cursor)
            found = [o for o in found if (-o.created_at_ms, o.operation_id) > (-created_ms, operation_id)]
        return found[: wanted.limit + 1], None

    def lives(self, wanted: GetTimeline) -> Iterator[Life]:
        until_ms = wanted.since_ms + wanted.width_ms * wanted.bins
        for row in list(self._rows.values()):
            operation = row.operation
            there = during(operation.created_at_ms, operation.ended_at_ms, wanted.since_ms, until_ms)
            if there and matches(operation, wanted.filter):
                yield msgspec.convert(operation, Life, from_attributes=True)

    def performance(self, operation_id: str) -> Past | None:
        row = self._rows.get(operation_id)
        if row is None:
            return None
        events = tuple(event for event in list(self._events) if event.operation_id == operation_id)
        return Past(row, self._performance.get(operation_id, Performance()), events[-EVENTS_LIMIT:])

    def close(self) -> None:
        self._on_written = None


def _in_period(operation: Operation, wanted: History) -> bool:
    if wanted.during:
        return during(operation.created_at_ms, operation.ended_at_ms, wanted.since_ms, wanted.until_ms)
    created_ms = operation.created_at_ms
    return created_ms >= wanted.since_ms and (wanted.until_ms is None or created_ms < wanted.until_ms)
