"""The journal's interface, and the SQLite one: a writer thread with group commit.

The broker's loop appends batches; one thread owns the connection that writes, takes everything that waits,
commits it as one transaction, and calls back with the number of the last batch. Nothing waits for a tick: the
thread commits whenever it is idle. WAL with `synchronous=FULL`: a commit survives a power cut.
"""

from __future__ import annotations

import queue
import secrets
import threading
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import msgspec
from sqlalchemy import (
    Column,
    Connection,
    Engine,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    Select,
    String,
    Table,
    create_engine,
    event,
    insert,
    select,
    text,
)
from sqlalchemy.dialects.sqlite import insert as upsert
from sqlalchemy.exc import DatabaseError

from rfm_runtime.core.operations.queries import cursor_after, matches, place
from rfm_runtime.core.operations.record import Batch, Loaded, StoredOperation
from rfm_runtime.errors import JournalError
from rfm_runtime.protocol.history import History, Performance
from rfm_runtime.protocol.operation import TERMINAL_STATES, Operation, OperationEvent

__all__ = ["SCHEMA_VERSION", "Journal", "OnFailed", "OnWritten", "Past", "SqliteJournal"]

SCHEMA_VERSION = 1
HEADER_BYTES = 100
APPLICATION_ID = 0x72666D6A  # "rfmj": says whose file it is, file(1) and we look at it
BUSY_S = 1.0
"""How long a lock of another process is waited for: nobody but a backup should ever hold one."""

LEARNED = 300
"""Completed operations from whose course a new broker learns: some ten of each kind, in 30 ms."""

SCAN_LIMIT = 5000
"""Rows of one look into the past: 50 ms, whatever is looked for. The next one goes on where it stopped."""

YIELD_ROWS = 200

EVENTS_LIMIT = 1000
"""Of one operation in one answer, the newest; most have four."""

RETRY_S = 0.5
"""After a failed commit (disk full, I/O error): how often it is tried again."""

OnWritten = Callable[[int, float], None]
"""(number of the last batch on disk, seconds the commit took); called in the writer's thread."""

OnFailed = Callable[[str | None], None]
"""Why the journal cannot be written, None when it can again; called in the writer's thread."""

_metadata = MetaData()
_meta = Table("meta", _metadata, Column("key", String, primary_key=True), Column("value", String, nullable=False))
_operations = Table(
    "operations",
    _metadata,
    Column("operation_id", String, primary_key=True),
    Column("state", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("owner", String, nullable=False),
    Column("request_key", String, nullable=False),
    Column("created_at_ms", Integer, nullable=False),
    Column("ended_at_ms", Integer),
    Column("row", LargeBinary, nullable=False),
    Index("operations_key", "owner", "request_key"),
    Index("operations_ended", "ended_at_ms"),
    Index("operations_created", "created_at_ms", "operation_id"),
    Index("operations_owned", "owner", "created_at_ms", "operation_id"),
)
_events = Table(
    "events",
    _metadata,
    Column("seq", Integer, primary_key=True),
    Column("operation_id", String, nullable=False),
    Column("event", LargeBinary, nullable=False),
    Index("events_operation", "operation_id", "seq"),
)
_performance = Table(
    "performance",
    _metadata,
    Column("operation_id", String, primary_key=True),
    Column("performance", LargeBinary, nullable=False),
)

_encoder = msgspec.msgpack.Encoder()
_row_decoder = msgspec.msgpack.Decoder(StoredOperation)
_event_decoder = msgspec.msgpack.Decoder(OperationEvent)
_performance_decoder = msgspec.msgpack.Decoder(Performance)


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

    def performance(self, operation_id: str) -> Past | None:
        """What is written of one operation; None if it is not known. From any thread. Raises JournalError."""
        ...

    def close(self) -> None:
        """Write what was appended, then end. Idempotent."""
        ...


class SqliteJournal:
    """A journal in an SQLite file. Raises JournalError if the file is damaged, foreign or newer than this."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._queue: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        _check_header(path)
        self._engine = _engine(path)
        with _explained(path), self._engine.begin() as connection:
            _check_file(connection, path)
            _metadata.create_all(connection)
            for table in _metadata.sorted_tables:
                for index in table.indexes:
                    index.create(connection, checkfirst=True)
            self._epoch, self._incarnation = _open_log(connection, path.stat().st_ino)

    def load(self, *, history_events: int, finished_keep: int) -> Loaded:
        with _explained(self._path), self._engine.connect() as connection:
            live = select(_operations.c.row).where(_operations.c.state.not_in(TERMINAL_STATES))
            finished = (
                select(_operations.c.row)
                .where(_operations.c.state.in_(TERMINAL_STATES))
                .order_by(_operations.c.ended_at_ms.desc())
                .limit(finished_keep)
            )
            rows = [_row_decoder.decode(row) for (row,) in connection.execute(live)]
            ended = [_row_decoder.decode(row) for (row,) in connection.execute(finished)]
            newest = select(_events.c.event).order_by(_events.c.seq.desc()).limit(history_events)
            events = [_event_decoder.decode(blob) for (blob,) in connection.execute(newest)]
            going = select(_performance).where(
                _performance.c.operation_id.in_(
                    select(_operations.c.operation_id).where(_operations.c.state.not_in(TERMINAL_STATES))
                )
            )
            series = {key: _performance_decoder.decode(blob) for key, blob in connection.execute(going)}
            past = [
                (operation.kind, operation.name, _performance_decoder.decode(blob))
                for row, blob in connection.execute(_completed())
                for operation in (_row_decoder.decode(row).operation,)
            ]
        events.reverse()
        head = events[-1].seq if events else 0
        return Loaded(
            epoch=self._epoch,
            incarnation=self._incarnation,
            durable=True,
            head=head,
            floor=events[0].seq - 1 if events else head,
            rows=(*reversed(ended), *rows),
            events=tuple(events),
            performance=series,
            past=tuple(reversed(past)),
        )

    def renew(self) -> None:
        with _explained(self._path), self._engine.begin() as connection:
            self._epoch = _new_epoch()
            _put_meta(connection, "epoch", self._epoch)

    def start(self, on_written: OnWritten, on_failed: OnFailed) -> None:
        self._thread = threading.Thread(target=self._write, args=(on_written, on_failed), name="journal", daemon=True)
        self._thread.start()

    def append(self, batch: Batch) -> None:
        self._queue.put(batch)

    def find(self, owner: str, request_keys: Collection[str], operation_ids: Collection[str]) -> list[StoredOperation]:
        by_key = (_operations.c.owner == owner) & _operations.c.request_key.in_(request_keys)
        by_id = _operations.c.operation_id.in_(operation_ids)
        with _explained(self._path), self._engine.connect() as connection:
            found = connection.execute(select(_operations.c.row).where(by_key | by_id))
            return [_row_decoder.decode(row) for (row,) in found]

    def history(self, wanted: History) -> tuple[list[Operation], str | None]:
        found: list[Operation] = []
        scanned = 0
        with _explained(self._path), self._engine.connect() as connection:
            # Row by row: what a filter leaves out does not count, and nobody holds all of it.
            for (blob,) in connection.execution_options(yield_per=YIELD_ROWS).execute(_of_period(wanted)):
                operation = _row_decoder.decode(blob).operation
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

    def performance(self, operation_id: str) -> Past | None:
        with _explained(self._path), self._engine.connect() as connection:
            row = connection.execute(
                select(_operations.c.row).where(_operations.c.operation_id == operation_id)
            ).scalar_one_or_none()
            if row is None:
                return None
            kept = connection.execute(
                select(_performance.c.performance).where(_performance.c.operation_id == operation_id)
            ).scalar_one_or_none()
            told = select(_events.c.event).where(_events.c.operation_id == operation_id)
            newest = told.order_by(_events.c.seq.desc()).limit(EVENTS_LIMIT)
            events = tuple(_event_decoder.decode(blob) for (blob,) in connection.execute(newest))[::-1]
        performance = Performance() if kept is None else _performance_decoder.decode(kept)
        return Past(_row_decoder.decode(row), performance, events)

    def close(self) -> None:
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None
        self._engine.dispose()

    def _write(self, on_written: OnWritten, on_failed: OnFailed) -> None:
        try:
            self._write_until_closed(on_written, on_failed)
        except BaseException as error:
            # A fault of ours must not look like a journal that is merely slow: the broker refuses and says why.
            on_failed(f"the writer stopped: {error!r}")
            raise

    def _write_until_closed(self, on_written: OnWritten, on_failed: OnFailed) -> None:
        with self._engine.connect() as connection:
            closing = False
            while not closing:
                batches, closing = self._take()
                failed = False
                while batches:
                    begin_s = time.perf_counter()
                    try:
                        with connection.begin():
                            _write_batches(connection, batches)
                    except DatabaseError as error:
                        failed = True
                        on_failed(str(error.orig or error))
                        if closing:
                            return
                        more, closing = self._take(timeout_s=RETRY_S)
                        batches += more
                        continue
                    if failed:
                        on_failed(None)
                    on_written(batches[-1].number, time.perf_counter() - begin_s)
                    break

    def _take(self, timeout_s: float | None = None) -> tuple[list[Batch], bool]:
        """Everything that waits, in order; whether the end was asked for.

        Without a time-out it waits for the first batch; with one it waits that long for the end.
        """
        batches: list[Batch] = []
        deadline_s = None if timeout_s is None else time.monotonic() + timeout_s
        while True:
            try:
                if deadline_s is not None:
                    item = self._queue.get(timeout=max(0.0, deadline_s - time.monotonic()))
                elif batches:
                    item = self._queue.get_nowait()
                else:
                    item = self._queue.get()
            except queue.Empty:
                return batches, False
            if item is None:
                return batches, True
            batches.append(item)


def _check_header(path: Path) -> None:
    """Refuse a file that is plainly not ours before SQLite may change it: turning WAL on writes to it.

    Source: https://sqlite.org/fileformat.html, "The Database Header".
    """
    try:
        with path.open("rb") as file:
            header = file.read(HEADER_BYTES)
    except FileNotFoundError:
        return
    except OSError as error:
        raise JournalError(f"the journal {path} cannot be read: {error.strerror}", hint="check its owner") from None
    if not header:
        return
    if len(header) < HEADER_BYTES or not header.startswith(b"SQLite format 3\0"):
        raise JournalError(
            f"{path} is damaged, or no SQLite file at all",
            hint="restore a backup, or move the file away to start with an empty journal",
            kept="the file was not changed",
        )
    in_wal_mode = header[18] == header[19] == 2
    # Until the first checkpoint our number may stand in the WAL alone.
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID and not in_wal_mode:
        raise _foreign(path)


def _foreign(path: Path) -> JournalError:
    return JournalError(
        f"{path} is an SQLite file of another program",
        hint="choose another folder with --state-dir",
        kept="the file was not changed",
    )


def _engine(path: Path) -> Engine:
    engine = create_engine(f"sqlite:///{path}", connect_args={"check_same_thread": False, "timeout": BUSY_S})

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.execute("PRAGMA foreign_keys=ON")
        cursor.close()

    return engine


@contextmanager
def _explained(path: Path) -> Iterator[None]:
    """Turn what SQLite says about a file it cannot use into our error; the file is left as it is."""
    try:
        yield
    except (DatabaseError, msgspec.DecodeError) as error:
        reason = str(getattr(error, "orig", None) or error)
        raise JournalError(
            f"the journal {path} cannot be opened: {reason}",
            hint="restore a backup, or move the file away to start with an empty journal",
            kept="the file was not changed",
        ) from error


def _check_file(connection: Connection, path: Path) -> None:
    application_id = connection.execute(text("PRAGMA application_id")).scalar_one()
    version = connection.execute(text("PRAGMA user_version")).scalar_one()
    tables = connection.execute(text("SELECT count(*) FROM sqlite_master")).scalar_one()
    if tables == 0:
        connection.execute(text(f"PRAGMA application_id={APPLICATION_ID}"))
        connection.execute(text(f"PRAGMA user_version={SCHEMA_VERSION}"))
        return
    if application_id != APPLICATION_ID:
        raise _foreign(path)
    if version != SCHEMA_VERSION:
        raise JournalError(
            f"{path} has schema version {version}, this release knows {SCHEMA_VERSION}",
            hint="start it with the release that wrote it",
            kept="the file was not changed",
        )
    damage = connection.execute(text("PRAGMA quick_check(1)")).scalar_one()
    if damage != "ok":
        raise JournalError(
            f"the journal {path} is damaged: {damage}",
            hint="restore a backup",
            kept="the file was not changed",
        )


def _open_log(connection: Connection, inode: int) -> tuple[str, int]:
    """The log's name and the number of this start; both are in the journal before anybody hears of them.

    A file in another place on the disk is a copy of the one that was written: what followed in that one is not in
    this one, so its numbers will mean other events, and it needs another name.
    """
    known: dict[str, str] = dict(connection.execute(select(_meta.c.key, _meta.c.value)).all())
    is_copy = known.get("inode") != str(inode)
    epoch = _new_epoch() if is_copy or "epoch" not in known else known["epoch"]
    incarnation = int(known.get("incarnation", "0")) + 1
    for key, value in (("epoch", epoch), ("incarnation", str(incarnation)), ("inode", str(inode))):
        _put_meta(connection, key, value)
    return epoch, incarnation


def _new_epoch() -> str:
    return f"log0-{secrets.token_hex(8)}"


def _put_meta(connection: Connection, key: str, value: str) -> None:
    statement = upsert(_meta).values(key=key, value=value)
    connection.execute(statement.on_conflict_do_update(index_elements=["key"], set_={"value": value}))


def _completed() -> Select[Any]:
    table = _operations.c
    joined = select(table.row, _performance.c.performance).join(
        _performance, _performance.c.operation_id == table.operation_id
    )
    return joined.where(table.state == "completed").order_by(table.ended_at_ms.desc()).limit(LEARNED)


def _of_period(wanted: History) -> Select[Any]:
    table = _operations.c
    query = select(table.row).where(table.created_at_ms >= wanted.since_ms)
    if wanted.until_ms is not None:
        query = query.where(table.created_at_ms < wanted.until_ms)
    if wanted.cursor is not None:
        after_ms, operation_id = place(wanted.cursor)
        older = table.created_at_ms < after_ms
        query = query.where(older | ((table.created_at_ms == after_ms) & (table.operation_id > operation_id)))
    for column, values in ((table.kind, wanted.filter.kinds), (table.state, wanted.filter.states)):
        if values is not None:
            query = query.where(column.in_(values))
    if wanted.filter.owner is not None:
        query = query.where(table.owner == wanted.filter.owner)
    return query.order_by(table.created_at_ms.desc(), table.operation_id)


_put_performance = upsert(_performance)
_put_performance = _put_performance.on_conflict_do_update(
    index_elements=["operation_id"], set_={"performance": _put_performance.excluded.performance}
)
_put_operation = upsert(_operations)
_put_operation = _put_operation.on_conflict_do_update(
    index_elements=["operation_id"],
    set_={
        "state": _put_operation.excluded.state,
        "ended_at_ms": _put_operation.excluded.ended_at_ms,
        "row": _put_operation.excluded.row,
    },
)
_put_event = insert(_events)


def _write_batches(connection: Connection, batches: Sequence[Batch]) -> None:
    # The last row of an operation is the only one that counts.
    rows = {row.operation.operation_id: row for batch in batches for row in batch.rows}
    events = [event for batch in batches for event in batch.events]
    if rows:
        connection.execute(_put_operation, [_values(row) for row in rows.values()])
    series = {key: value for batch in batches for key, value in batch.performance}
    if series:
        connection.execute(
            _put_performance,
            [{"operation_id": key, "performance": _encoder.encode(value)} for key, value in series.items()],
        )
    if events:
        connection.execute(
            _put_event,
            [{"seq": e.seq, "operation_id": e.operation_id, "event": _encoder.encode(e)} for e in events],
        )


def _values(row: StoredOperation) -> dict[str, Any]:
    operation = row.operation
    return {
        "operation_id": operation.operation_id,
        "state": operation.state,
        "kind": operation.kind,
        "owner": operation.owner,
        "request_key": row.request_key,
        "created_at_ms": operation.created_at_ms,
        "ended_at_ms": operation.ended_at_ms,
        "row": _encoder.encode(row),
    }
