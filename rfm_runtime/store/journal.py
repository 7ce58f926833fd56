"""The journal's interface, and the SQLite one: what is read of it. Its writing is in `writer`, its file in `files`.

WAL with `synchronous=FULL`: a commit survives a power cut. Reading is anybody's, in any thread.
"""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Collection, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec
from sqlalchemy import ColumnElement, Connection, Select, select
from sqlalchemy.exc import DatabaseError

from rfm_runtime.config import Folders, Settings, folders
from rfm_runtime.core.operations.queries import Life, cursor_after, matches, place
from rfm_runtime.core.operations.record import Batch, Loaded, StoredOperation
from rfm_runtime.errors import JournalError
from rfm_runtime.protocol.history import History, Performance
from rfm_runtime.protocol.operation import Operation, OperationEvent, OperationFilter
from rfm_runtime.protocol.timeline import GetTimeline
from rfm_runtime.store import files, last_words, schema
from rfm_runtime.store.reserve import Reserve
from rfm_runtime.store.retention import Chores, Retention, aged_ms
from rfm_runtime.store.schema import decode_event, decode_performance, decode_row
from rfm_runtime.store.writer import OnFailed, OnWritten, Writer

__all__ = ["Journal", "OnFailed", "OnWritten", "Past", "SqliteJournal", "open_journal", "rehearse", "vanished"]

log = logging.getLogger("rfm_runtime.store")

LEARNED = 300
"""Completed operations from whose course a new broker learns: some ten of each kind, in 30 ms."""

SCAN_LIMIT = 5000
"""Rows of one look into the past: 50 ms, whatever is looked for. The next one goes on where it stopped."""

YIELD_ROWS = 200

EVENTS_LIMIT = 1000
"""Of one operation in one answer, the newest; most have four."""


class _Row(msgspec.Struct):
    """Of a row what is wanted of a hundred thousand: the rest is skipped, not decoded."""

    operation: Life


_decode_life = msgspec.msgpack.Decoder(_Row).decode
_operations, _events, _performance = schema.operations.c, schema.events.c, schema.performance.c


@dataclass(frozen=True, slots=True)
class Past:
    """One operation: its row, how it went, and its events in order."""

    row: StoredOperation
    performance: Performance
    events: tuple[OperationEvent, ...]


class Journal(Protocol):
    """What the broker needs of a journal; the conformance tests run against every one."""

    def load(self, *, history_events: int, finished_keep: int) -> Loaded:
        """What it knows: all live operations, the newest `finished_keep` finished, the newest events."""
        ...

    def renew(self) -> None:
        """Give the log another name, before it is started: it is older than what watchers know of it."""
        ...

    def start(self, on_written: OnWritten, on_failed: OnFailed) -> None:
        """Begin to write what is appended."""
        ...

    def append(self, batch: Batch) -> None:
        """Have it written after everything appended before. Never blocks."""
        ...

    def find(self, owner: str, request_keys: Collection[str], operation_ids: Collection[str]) -> list[StoredOperation]:
        """Written operations of `owner` with one of the keys, and those with one of the ids."""
        ...

    def history(self, wanted: History) -> tuple[list[Operation], str | None]:
        """Written operations of that period that pass the filter, newest first: one more than the page's limit.

        With the cursor where it stopped after SCAN_LIMIT rows, whatever was found by then. From any thread. Raises
        BadRequestError for a cursor that is none, JournalError.
        """
        ...

    def lives(self, wanted: GetTimeline) -> Iterator[Life]:
        """Written operations that were there at some time of that period and pass the filter, in any order.

        From any thread. Raises JournalError.
        """
        ...

    def performance(self, operation_id: str) -> Past | None:
        """What is written of one operation; None if it is not known. From any thread. Raises JournalError."""
        ...

    def close(self) -> None:
        """Write what was appended, then end. Idempotent."""
        ...


class SqliteJournal:
    """A journal in an SQLite file, which is made if there is none. An older schema is migrated.

    retention: what is forgotten; None: nothing. reserve: a file, and its bytes, that make room for outcomes on a full
    disk. Raises JournalError if the file is damaged, foreign, newer than this, or cannot be used.
    """

    def __init__(
        self, path: Path, *, retention: Retention | None = None, reserve: tuple[Path, int] | None = None
    ) -> None:
        self._path = path
        self._checked: threading.Thread | None = None
        kept = Reserve(*reserve) if reserve is not None else Reserve(path, 0)
        full = False
        try:
            self._open()
        except JournalError as error:
            cause = error.__cause__
            # A broker that is started again on a full disk has outcomes to take in.
            if cause is None or not files.is_full(cause) or not kept.release():
                raise
            full = True
            self._open()
        if not full and not kept.take():
            full = kept.promised
            if not full:
                log.warning("no room for a reserve: on a full disk outcomes will have to wait")
        self._writer = Writer(path, self._engine, Chores(path, retention, self._aged_ms), kept, full=full)

    def _open(self) -> None:
        path = self._path
        if not files.check_header(path):
            files.create(path)
        version, self._small = _looked_through(path)
        if version < schema.SCHEMA_VERSION:
            # It loads Alembic, which takes half a second: for this alone.
            from rfm_runtime.store.migrate import migrate

            migrate(path)
        self._engine = files.open_existing(path)
        try:
            with files.explained(path), self._engine.begin() as connection:
                self._aged_ms = aged_ms(connection)
                self._epoch, self._incarnation = files.open_log(connection, path.stat().st_ino)
        except BaseException:
            self._engine.dispose()
            raise

    def load(self, *, history_events: int, finished_keep: int) -> Loaded:
        with self._reading() as connection:
            return _loaded(connection, self._epoch, self._incarnation, history_events, finished_keep)

    def renew(self) -> None:
        with files.explained(self._path), self._engine.begin() as connection:
            self._epoch = files.new_epoch()
            schema.put_meta(connection, "epoch", self._epoch)

    def start(self, on_written: OnWritten, on_failed: OnFailed) -> None:
        self._writer.start(on_written, on_failed)
        if not self._small:
            self._checked = threading.Thread(target=self._look_through, name="journal-check", daemon=True)
            self._checked.start()

    def append(self, batch: Batch) -> None:
        self._writer.append(batch)

    def find(self, owner: str, request_keys: Collection[str], operation_ids: Collection[str]) -> list[StoredOperation]:
        by_key = (_operations.owner == owner) & _operations.request_key.in_(request_keys)
        by_id = _operations.operation_id.in_(operation_ids)
        with self._reading() as connection:
            found = connection.execute(select(_operations.row).where(by_key | by_id))
            return [decode_row(row) for (row,) in found]

    def history(self, wanted: History) -> tuple[list[Operation], str | None]:
        found: list[Operation] = []
        scanned = 0
        with self._reading() as connection:
            # Row by row: what a filter leaves out does not count, and nobody holds all of it.
            for (blob,) in connection.execution_options(yield_per=YIELD_ROWS).execute(_of_period(wanted)):
                operation = decode_row(blob).operation
                scanned += 1
                if matches(operation, wanted.filter):
                    found.append(operation)
                    if len(found) > wanted.limit:
                        break
                if scanned == SCAN_LIMIT:
                    return found, cursor_after(operation)
                if scanned % YIELD_ROWS == 0:
                    # Whoever serves watchers in another thread of this process goes first.
                    time.sleep(0.0)
        return found, None

    def lives(self, wanted: GetTimeline) -> Iterator[Life]:
        query = select(_operations.row).where(
            _operations.created_at_ms < wanted.since_ms + wanted.width_ms * wanted.bins
        )
        query = _filtered(query.where(_there_since(wanted.since_ms)), wanted.filter)
        with self._reading() as connection:
            found = connection.execution_options(yield_per=YIELD_ROWS).execute(query)
            for looked, (blob,) in enumerate(found, 1):
                life = _decode_life(blob).operation
                if matches(life, wanted.filter):
                    yield life
                if looked % YIELD_ROWS == 0:
                    # Whoever serves watchers in another thread of this process goes first.
                    time.sleep(0.0)

    def performance(self, operation_id: str) -> Past | None:
        with self._reading() as connection:
            row = connection.execute(
                select(_operations.row).where(_operations.operation_id == operation_id)
            ).scalar_one_or_none()
            if row is None:
                return None
            kept = connection.execute(
                select(_performance.performance).where(_performance.operation_id == operation_id)
            ).scalar_one_or_none()
            told = select(_events.event).where(_events.operation_id == operation_id)
            newest = told.order_by(_events.seq.desc()).limit(EVENTS_LIMIT)
            events = tuple(decode_event(blob) for (blob,) in connection.execute(newest))[::-1]
            performance = Performance() if kept is None else decode_performance(kept)
            return Past(decode_row(row), performance, events)

    def close(self) -> None:
        self._writer.close()
        self._engine.dispose()

    @contextmanager
    def _reading(self) -> Iterator[Connection]:
        """What is found to be damaged while others are served is said to all of them."""
        with files.explained(self._path):
            try:
                with self._engine.connect() as connection:
                    yield connection
            except (DatabaseError, msgspec.DecodeError) as error:
                if files.is_damage(error):
                    self._writer.damaged(str(getattr(error, "orig", error)))
                raise

    def _look_through(self) -> None:
        """A large journal is served before it is looked through. Ends with the process."""
        try:
            with files.read_only(self._path).connect() as connection:
                files.check_pages(connection, self._path)
        except JournalError as error:
            self._writer.damaged(error.message)
        except DatabaseError as error:
            log.warning("the journal was not looked through: %s", error.orig or error)


def open_journal(settings: Settings) -> SqliteJournal:
    """The journal of the state folder, made if there never was one. Raises what `SqliteJournal` and `vanished` say."""
    where = folders(settings)
    gone = vanished(where)
    if gone is not None:
        raise gone
    return SqliteJournal(
        where.journal,
        retention=Retention(settings.retention_s, settings.retention_operations),
        reserve=(where.reserve, settings.reserve_bytes),
    )


def vanished(where: Folders) -> JournalError | None:
    """Why no empty journal may be begun: there was one, as what is made after it, and stays beside it, says."""
    if files.check_header(where.journal):
        return None
    beside = [where.shown, where.reserve, *sorted(where.last_words.glob(f"*{last_words.SUFFIX}"))]
    left = next((path for path in beside if path.exists()), None)
    if left is None:
        return None
    return JournalError(
        f"the journal {where.journal} is gone: {left} was made beside one",
        hint="put it back, restore a backup with `rfm-runtime db restore`, or start with an empty one with "
        "`rfm-runtime start --new-journal`",
        kept="no empty one was begun in its place",
    )


def rehearse(settings: Settings) -> bool:
    """Open the journal as a broker would, and write nothing; whether there is one. Raises what that one's start would.

    All of its pages are looked at, of a large one as well.
    """
    where = folders(settings)
    path = where.journal
    gone = vanished(where)
    if gone is not None:
        raise gone
    if not files.check_header(path):
        return False
    _, small = _looked_through(path)
    with files.explained(path), files.read_only(path).connect() as connection:
        if not small:
            files.check_pages(connection, path)
        connection.exec_driver_sql("BEGIN")
        _loaded(connection, "", 0, settings.history_events, settings.finished_keep)
    return True


def _looked_through(path: Path) -> tuple[int, bool]:
    """Its schema version, and whether all of its pages were looked at: of a large one that takes too long."""
    with files.explained(path), files.read_only(path).connect() as connection:
        version = files.check_version(connection, path)
        small = path.stat().st_size <= files.CHECKED_AT_ONCE_BYTES
        if small:
            files.check_pages(connection, path)
    return version, small


def _loaded(connection: Connection, epoch: str, incarnation: int, history_events: int, finished_keep: int) -> Loaded:
    """What a broker begins with."""
    known = schema.known_meta(connection)
    hole = schema.forgotten_seq(known)
    row, ended_ms = _operations.row, _operations.ended_at_ms
    live = select(row).where(ended_ms.is_(None))
    finished = select(row).where(ended_ms.is_not(None)).order_by(ended_ms.desc()).limit(finished_keep)
    rows = [decode_row(blob) for (blob,) in connection.execute(live)]
    ended = [decode_row(blob) for (blob,) in connection.execute(finished)]
    newest = select(_events.event).where(_events.seq > hole).order_by(_events.seq.desc()).limit(history_events)
    events = [decode_event(blob) for (blob,) in connection.execute(newest)]
    going = select(schema.performance).where(
        _performance.operation_id.in_(select(_operations.operation_id).where(ended_ms.is_(None)))
    )
    series = {key: decode_performance(blob) for key, blob in connection.execute(going)}
    past = [
        (operation.kind, operation.name, decode_performance(blob))
        for row_blob, blob in connection.execute(_completed())
        for operation in (decode_row(row_blob).operation,)
    ]
    events.reverse()
    head = events[-1].seq if events else hole
    return Loaded(
        epoch=epoch,
        incarnation=incarnation,
        durable=True,
        head=head,
        floor=events[0].seq - 1 if events else head,
        rows=(*reversed(ended), *rows),
        events=tuple(events),
        performance=series,
        past=tuple(reversed(past)),
        revocations=schema.known_revocations(connection),
        rules=schema.known_rules(connection),
    )


def _completed() -> Select[Any]:
    table = _operations
    joined = select(table.row, _performance.performance).join(
        schema.performance, _performance.operation_id == table.operation_id
    )
    return joined.where(table.state == "completed").order_by(table.ended_at_ms.desc()).limit(LEARNED)


def _of_period(wanted: History) -> Select[Any]:
    table = _operations
    since = _there_since(wanted.since_ms) if wanted.during else table.created_at_ms >= wanted.since_ms
    query = select(table.row).where(since)
    if wanted.until_ms is not None:
        query = query.where(table.created_at_ms < wanted.until_ms)
    if wanted.cursor is not None:
        after_ms, operation_id = place(wanted.cursor)
        older = table.created_at_ms < after_ms
        query = query.where(older | ((table.created_at_ms == after_ms) & (table.operation_id > operation_id)))
    return _filtered(query, wanted.filter).order_by(table.created_at_ms.desc(), table.operation_id)


def _there_since(since_ms: int) -> ColumnElement[bool]:
    """See `core.operations.queries.during`. Each of the three has an index."""
    ended_ms = _operations.ended_at_ms
    return ended_ms.is_(None) | (ended_ms >= since_ms) | (_operations.created_at_ms >= since_ms)


def _filtered(query: Select[Any], wanted: OperationFilter) -> Select[Any]:
    """As far as there are columns."""
    for column, values in ((_operations.kind, wanted.kinds), (_operations.state, wanted.states)):
        if values is not None:
            query = query.where(column.in_(values))
    return query if wanted.owner is None else query.where(_operations.owner == wanted.owner)
