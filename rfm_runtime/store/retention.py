"""What leaves the journal, and how its file shrinks: small steps that the writer takes between two commits.

Only what has ended is forgotten, children before parents, with everything that was written of it. The files of a render
are not: they are their user's (`rfm-runtime clean`).
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from sqlalchemy import Connection, Select, delete, exists, func, select, text

from rfm_runtime.core.timing import AgeClock
from rfm_runtime.store.files import WAL_LIMIT_BYTES, wal_bytes
from rfm_runtime.store.schema import events, forgotten_seq, known_meta, operations, performance, put_meta

__all__ = ["Chores", "Retention", "aged_ms"]

STEP_OPERATIONS = 50
"""Forgotten in one transaction: 2 to 5 ms, which is what a commit may have to wait."""

STEP_PAGES = 256
"""Given back to the file system in one transaction: 1 MiB."""

SLACK_PAGES = 1024
"""Free pages that stay in the file for what comes next."""

LOOK_EVERY_S = 60.0
AGED_EVERY_MS = 600_000.0
"""How far the clock that age is counted by may have gone on before that is written."""

STEP_GAP_S = 0.02
BUSY_GAP_S = 0.25
"""Between two steps, while there is nothing else to write and while there is."""


@dataclass(frozen=True, slots=True)
class Retention:
    """What has ended is kept for `keep_s`, and of it the newest `operations`."""

    keep_s: float
    operations: int


class Chores:
    """The writer's: `step` whenever `wait_s` has passed. retention None: nothing is forgotten.

    aged_ms: what `aged_ms` said before this process wrote anything.
    """

    def __init__(self, path: Path, retention: Retention | None, aged_ms: float | None) -> None:
        self._path = path
        self._retention = retention
        self._due_s = time.monotonic()
        self._age = AgeClock.begun(aged_ms, 1000.0 * time.time(), self._due_s)
        self._aged_ms = aged_ms or 0.0
        self._vacuums = False

    @property
    def wait_s(self) -> float:
        """Until the next step."""
        return max(0.0, self._due_s - time.monotonic())

    def step(self, connection: Connection, *, busy: bool) -> int:
        """One small step, if it is time for one; how many operations were forgotten. Raises DatabaseError."""
        if self.wait_s > 0.0:
            return 0
        self._due_s = time.monotonic() + LOOK_EVERY_S
        forgotten = self._forget(connection)
        more = forgotten > 0 or self._shrink(connection) or self._cut_log(connection)
        if more:
            self._due_s = time.monotonic() + (BUSY_GAP_S if busy else STEP_GAP_S)
        return forgotten

    def _now_ms(self, connection: Connection) -> float:
        """By which age is counted, written now and then. Within the caller's transaction."""
        self._age = self._age.later(1000.0 * time.time(), time.monotonic())
        if self._age.reached_ms - self._aged_ms >= AGED_EVERY_MS:
            self._aged_ms = self._age.reached_ms
            put_meta(connection, "aged_ms", str(int(self._aged_ms)))
        return self._age.at_ms

    def _forget(self, connection: Connection) -> int:
        if self._retention is None:
            return 0
        ended = operations.c.ended_at_ms
        with connection.begin():
            before_ms = self._now_ms(connection) - 1000 * self._retention.keep_s
            ids = self._ids(connection, STEP_OPERATIONS, before_ms=before_ms)
            if not ids:
                count = connection.execute(select(func.count()).where(ended.is_not(None))).scalar_one()
                excess = min(STEP_OPERATIONS, count - self._retention.operations)
                ids = self._ids(connection, excess) if excess > 0 else []
            if ids:
                _remove(connection, ids)
        return len(ids)

    def _ids(self, connection: Connection, limit: int, before_ms: float | None = None) -> list[str]:
        """Of what ended first, and is nobody's parent any more."""
        child = operations.alias("child")
        has_children = exists(select(child.c.operation_id).where(child.c.parent_id == operations.c.operation_id))
        ended = operations.c.ended_at_ms
        query: Select[Any] = select(operations.c.operation_id).where(ended.is_not(None), ~has_children)
        if before_ms is not None:
            query = query.where(ended < int(before_ms))
        return list(connection.execute(query.order_by(ended).limit(limit)).scalars())

    def _shrink(self, connection: Connection) -> bool:
        """Give free pages at the end of the file back."""
        free = _free_pages(connection)
        # Not for every page: it would be taken again by the next outcome.
        self._vacuums = free > SLACK_PAGES + (0 if self._vacuums else SLACK_PAGES)
        if self._vacuums:
            raw = connection.connection.cursor()
            # Not `execute`: it frees one page a step, and rows without columns are not fetched.
            raw.executescript(f"PRAGMA incremental_vacuum({min(STEP_PAGES, free - SLACK_PAGES)})")
            raw.close()
            self._vacuums = _free_pages(connection) < free
        return self._vacuums

    def _cut_log(self, connection: Connection) -> bool:
        """The write-ahead log, that a long reader made grow, once it is gone."""
        if wal_bytes(self._path) <= WAL_LIMIT_BYTES:
            return False
        raw = connection.connection.cursor()
        try:
            # A reader that is still there is not waited for: commits would wait as well.
            raw.execute("PRAGMA busy_timeout=0")
            raw.execute("PRAGMA wal_checkpoint(TRUNCATE)")
            raw.fetchall()
        finally:
            raw.execute("PRAGMA busy_timeout=1000")
            raw.close()
        return False


def aged_ms(connection: Connection) -> float | None:
    """Where the clock was that age is counted by: as it was written, or at what was submitted or ended last.

    None: there is nothing that could have an age. Ask it before anything is written by a clock that may be wrong.
    """
    known = known_meta(connection).get("aged_ms")
    if known is not None:
        return float(known)
    # One at a time: together they are looked for in all rows.
    newest = [
        connection.execute(select(func.max(column))).scalar_one()
        for column in (operations.c.created_at_ms, operations.c.ended_at_ms)
    ]
    return max((found for found in newest if found is not None), default=None)


def _free_pages(connection: Connection) -> int:
    with connection.begin():
        free: int = connection.execute(text("PRAGMA freelist_count")).scalar_one()
    return free


def _remove(connection: Connection, ids: list[str]) -> None:
    newest = connection.execute(select(func.max(events.c.seq)).where(events.c.operation_id.in_(ids))).scalar_one()
    for table in (performance, events, operations):
        connection.execute(delete(table).where(table.c.operation_id.in_(ids)))
    known = known_meta(connection)
    # From here on the log has holes before this number: nobody resumes there.
    put_meta(connection, "forgotten_seq", str(max(forgotten_seq(known), newest or 0)))
    put_meta(connection, "forgotten", str(int(known.get("forgotten", "0")) + len(ids)))
