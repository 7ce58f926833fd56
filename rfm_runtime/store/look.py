"""A look at a journal from outside: its figures, whether it is whole, and all of it given out. Nothing is changed.

Everything is read in one transaction, so a runtime that writes meanwhile disturbs nothing and is not disturbed.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import msgspec
from sqlalchemy import Connection, func, select, text
from sqlalchemy.exc import DatabaseError

from rfm_runtime.core.operations.audit import Audit
from rfm_runtime.core.operations.queries import matches
from rfm_runtime.protocol.history import Performance
from rfm_runtime.protocol.operation import Operation, OperationEvent, OperationFilter
from rfm_runtime.store import files, schema

__all__ = ["Checked", "Figures", "Look", "looked_at"]

ROWS_AT_ONCE = 500
PAGE_FINDINGS = 20


@dataclass(frozen=True, slots=True)
class Figures:
    """A journal in numbers. free_bytes: within the file, for what comes next. wal_bytes: not yet in the file.

    forgotten: operations that were. floor: nobody resumes before it.
    """

    path: str
    schema: int
    bytes: int
    wal_bytes: int
    free_bytes: int
    epoch: str
    incarnation: int
    head: int
    floor: int
    events: int
    forgotten: int
    operations: dict[str, int]
    oldest_at_ms: int | None
    newest_at_ms: int | None


@dataclass(slots=True)
class Checked:
    """pages: what SQLite found. rows: blobs that cannot be read. log: what contradicts itself, `count` in all."""

    pages: list[str] = field(default_factory=list)
    rows: list[str] = field(default_factory=list)
    log: list[str] = field(default_factory=list)
    operations: int = 0
    events: int = 0
    count: int = 0

    @property
    def fine(self) -> bool:
        """Whether nothing was found."""
        return self.count == 0


@contextmanager
def looked_at(path: Path) -> Iterator[Look]:
    """Open a journal to look at it. Raises JournalError if there is none, or none that this release can read."""
    if not files.check_header(path):
        raise files.missing(path)
    with files.explained(path), files.read_only(path).connect() as connection:
        files.check_version(connection, path)
        # From here on it is as it is now, whoever writes to it.
        connection.exec_driver_sql("BEGIN")
        yield Look(path, connection)


class Look:
    """One journal, as of one moment."""

    def __init__(self, path: Path, connection: Connection) -> None:
        self._path = path
        self._connection = connection

    def _one(self, query: Any) -> Any:
        return self._connection.execute(query).scalar_one()

    def figures(self) -> Figures:
        """What `db status` says."""
        known = schema.known_meta(self._connection)
        table, hole = schema.operations.c, schema.forgotten_seq(known)
        states = select(table.state, func.count().label("number")).group_by(table.state).order_by(table.state)
        page_bytes = self._one(text("PRAGMA page_size"))
        return Figures(
            path=str(self._path),
            schema=self._one(text("PRAGMA user_version")),
            bytes=self._path.stat().st_size,
            wal_bytes=files.wal_bytes(self._path),
            free_bytes=page_bytes * self._one(text("PRAGMA freelist_count")),
            epoch=known.get("epoch", ""),
            incarnation=int(known.get("incarnation", "0")),
            head=self._head(),
            floor=hole,
            events=self._one(select(func.count()).select_from(schema.events)),
            forgotten=int(known.get("forgotten", "0")),
            operations={row.state: row.number for row in self._connection.execute(states)},
            oldest_at_ms=self._one(select(func.min(table.created_at_ms))),
            newest_at_ms=self._one(select(func.max(table.created_at_ms))),
        )

    def _head(self) -> int:
        newest: int = self._one(select(func.max(schema.events.c.seq))) or 0
        return max(newest, schema.forgotten_seq(schema.known_meta(self._connection)))

    def check(self) -> Checked:
        """Everything: pages, indexes, every row and event, and what they say of each other."""
        checked = Checked()
        try:
            found = self._connection.execute(text(f"PRAGMA integrity_check({PAGE_FINDINGS})")).scalars().all()
            checked.pages = [] if found == ["ok"] else [" ".join(str(one).split()) for one in found]
            self._audit(checked)
        except DatabaseError as error:
            if not files.is_damage(error):
                raise
            checked.pages.append(f"not everything can be read: {error.orig}")
        checked.count += len(checked.pages) + len(checked.rows)
        return checked

    def _audit(self, checked: Checked) -> None:
        audit = Audit(schema.forgotten_seq(schema.known_meta(self._connection)))
        for seq, blob in self._rows(select(schema.events.c.seq, schema.events.c.event).order_by(schema.events.c.seq)):
            event = self._decoded(checked, f"event {seq}", schema.decode_event, blob)
            if event is not None:
                audit.event(seq, event)
        table = schema.operations.c
        ids: set[str] = set()
        for operation_id, state, blob in self._rows(select(table.operation_id, table.state, table.row)):
            row = self._decoded(checked, f"operation {operation_id}", schema.decode_row, blob)
            ids.add(operation_id)
            if row is not None:
                audit.row(operation_id, state, row)
        for operation_id, blob in self._rows(select(schema.performance)):
            self._decoded(checked, f"performance of {operation_id}", schema.decode_performance, blob)
            if operation_id not in ids:
                checked.rows.append(f"performance of {operation_id}: no such operation")
        try:
            schema.known_revocations(self._connection)
        except msgspec.DecodeError as error:
            checked.rows.append(f"a revoked token: {error}")
        try:
            schema.known_rules(self._connection)
        except msgspec.DecodeError as error:
            checked.rows.append(f"rules of notifications: {error}")
        audit.end(self._head())
        checked.log, checked.operations, checked.events = audit.found, sum(audit.operations.values()), audit.events
        checked.count += audit.count

    def _rows(self, query: Any) -> Iterator[Any]:
        return iter(self._connection.execution_options(yield_per=ROWS_AT_ONCE).execute(query))

    @staticmethod
    def _decoded(checked: Checked, what: str, decode: Any, blob: bytes) -> Any:
        try:
            return decode(blob)
        except msgspec.DecodeError as error:
            checked.rows.append(f"{what} cannot be read: {error}")
            return None

    def operations(
        self, wanted: OperationFilter, since_ms: int = 0, until_ms: int | None = None
    ) -> Iterator[tuple[Operation, dict[str, Any], Performance]]:
        """Operations with their parameters and how they went, in the order of their submission."""
        table = schema.operations.c
        joined = schema.operations.outerjoin(
            schema.performance, schema.performance.c.operation_id == table.operation_id
        )
        query = select(table.row, schema.performance.c.performance).select_from(joined)
        query = query.where(table.created_at_ms >= since_ms)
        if until_ms is not None:
            query = query.where(table.created_at_ms < until_ms)
        for blob, went in self._rows(query.order_by(table.created_at_ms, table.operation_id)):
            row = schema.decode_row(blob)
            if matches(row.operation, wanted):
                yield row.operation, row.params, Performance() if went is None else schema.decode_performance(went)

    def events(
        self, wanted: OperationFilter, since_ms: int = 0, until_ms: int | None = None
    ) -> Iterator[OperationEvent]:
        """Events in their order, of operations that pass the filter; the period is that of the events."""
        passing: set[str] | None = None
        if wanted != OperationFilter():
            passing = {operation.operation_id for operation, _, _ in self.operations(wanted)}
        for (blob,) in self._rows(select(schema.events.c.event).order_by(schema.events.c.seq)):
            event = schema.decode_event(blob)
            in_time = event.ts_ms >= since_ms and (until_ms is None or event.ts_ms < until_ms)
            if in_time and (passing is None or event.operation_id in passing):
                yield event
