"""A journal that forgets: for tests and for embedding, by explicit choice. Same interface, same order."""

from __future__ import annotations

import secrets
from collections.abc import Collection

from rfm_runtime.core.operations.record import Batch, Loaded, StoredOperation
from rfm_runtime.protocol.operation import TERMINAL_STATES, OperationEvent
from rfm_runtime.store.journal import OnFailed, OnWritten

__all__ = ["MemoryJournal"]


class MemoryJournal:
    """Written at once, in the appender's thread. A second `load` sees what the first broker left."""

    def __init__(self) -> None:
        self._epoch = f"mem-{secrets.token_hex(8)}"
        self._incarnation = 0
        self._rows: dict[str, StoredOperation] = {}
        self._events: list[OperationEvent] = []
        self._on_written: OnWritten | None = None

    def load(self, *, history_events: int, finished_keep: int) -> Loaded:
        self._incarnation += 1
        events = tuple(self._events[-history_events:])
        head = events[-1].seq if events else 0
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
        )

    def renew(self) -> None:
        self._epoch = f"mem-{secrets.token_hex(8)}"

    def start(self, on_written: OnWritten, on_failed: OnFailed) -> None:
        del on_failed  # memory does not fail
        self._on_written = on_written

    def append(self, batch: Batch) -> None:
        for row in batch.rows:
            self._rows[row.operation.operation_id] = row
        self._events += batch.events
        if self._on_written is not None:
            self._on_written(batch.number, 0.0)

    def find(self, owner: str, request_keys: Collection[str], operation_ids: Collection[str]) -> list[StoredOperation]:
        return [
            row
            for operation_id, row in self._rows.items()
            if operation_id in operation_ids or (row.operation.owner == owner and row.request_key in request_keys)
        ]

    def close(self) -> None:
        self._on_written = None
