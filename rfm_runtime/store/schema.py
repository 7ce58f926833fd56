"""The journal's tables, how rows become bytes, and the statements that write them. Schema changes are in `migrations`.

Columns are what is looked for; everything else is in the blob. No module but those of `store` sees a table.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import msgspec
from sqlalchemy import (
    Column,
    Connection,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    delete,
    insert,
    select,
    text,
)
from sqlalchemy.dialects.sqlite import insert as upsert

from rfm_runtime.core.operations.record import Batch, StoredOperation
from rfm_runtime.protocol.history import Performance
from rfm_runtime.protocol.notifying import UserRules
from rfm_runtime.protocol.operation import OperationEvent
from rfm_runtime.protocol.revocation import Revocation

__all__ = [
    "APPLICATION_ID",
    "BACKUP",
    "SCHEMA_VERSION",
    "decode_event",
    "decode_performance",
    "decode_revocation",
    "decode_row",
    "decode_rules",
    "events",
    "forgotten_seq",
    "known_meta",
    "known_revocations",
    "known_rules",
    "meta",
    "metadata",
    "operations",
    "performance",
    "put_meta",
    "revocations",
    "rules",
    "write_batches",
]

SCHEMA_VERSION = 4
REVOCATIONS_SINCE = 3
RULES_SINCE = 4
APPLICATION_ID = 0x72666D6A  # "rfmj": says whose file it is, file(1) and we look at it

BACKUP = "backup"
"""Instead of an inode: whatever file this is found in, it is not the one that the log went on in."""

metadata = MetaData()
meta = Table("meta", metadata, Column("key", String, primary_key=True), Column("value", String, nullable=False))
"""epoch, incarnation, inode: see `files.open_log`. forgotten_seq: newest event of what was forgotten.

forgotten: number of operations that were. aged_ms: where the clock was that age is counted by, see `retention`.
"""
operations = Table(
    "operations",
    metadata,
    Column("operation_id", String, primary_key=True),
    Column("state", String, nullable=False),
    Column("kind", String, nullable=False),
    Column("owner", String, nullable=False),
    Column("request_key", String, nullable=False),
    Column("created_at_ms", Integer, nullable=False),
    Column("ended_at_ms", Integer),
    Column("row", LargeBinary, nullable=False),
    Column("parent_id", String),
    Index("operations_key", "owner", "request_key"),
    Index("operations_ended", "ended_at_ms"),
    Index("operations_created", "created_at_ms", "operation_id"),
    Index("operations_owned", "owner", "created_at_ms", "operation_id"),
)
# Few have a parent.
Index("operations_parent", operations.c.parent_id, sqlite_where=operations.c.parent_id.is_not(None))
events = Table(
    "events",
    metadata,
    Column("seq", Integer, primary_key=True),
    Column("operation_id", String, nullable=False),
    Column("event", LargeBinary, nullable=False),
    Index("events_operation", "operation_id", "seq"),
)
performance = Table(
    "performance",
    metadata,
    Column("operation_id", String, primary_key=True),
    Column("performance", LargeBinary, nullable=False),
)

revocations = Table(
    "revocations",
    metadata,
    Column("key", String, primary_key=True),
    Column("revocation", LargeBinary, nullable=False),
    # One page instead of two, of a table that is mostly empty.
    sqlite_with_rowid=False,
)

rules = Table(
    "rules",
    metadata,
    Column("user", String, primary_key=True),
    Column("rules", LargeBinary, nullable=False),
    sqlite_with_rowid=False,
)
"""Of notifications, by whose they are."""

_encoder = msgspec.msgpack.Encoder()
decode_row = msgspec.msgpack.Decoder(StoredOperation).decode
decode_event = msgspec.msgpack.Decoder(OperationEvent).decode
decode_revocation = msgspec.msgpack.Decoder(Revocation).decode
decode_rules = msgspec.msgpack.Decoder(UserRules).decode
decode_performance = msgspec.msgpack.Decoder(Performance).decode

_put_performance = upsert(performance)
_put_performance = _put_performance.on_conflict_do_update(
    index_elements=["operation_id"], set_={"performance": _put_performance.excluded.performance}
)
_put_operation = upsert(operations)
_put_operation = _put_operation.on_conflict_do_update(
    index_elements=["operation_id"],
    set_={
        "state": _put_operation.excluded.state,
        "ended_at_ms": _put_operation.excluded.ended_at_ms,
        "row": _put_operation.excluded.row,
    },
)
_put_event = insert(events)
_put_revocation = upsert(revocations)
_put_revocation = _put_revocation.on_conflict_do_update(
    index_elements=["key"], set_={"revocation": _put_revocation.excluded.revocation}
)
_put_rules = upsert(rules)
_put_rules = _put_rules.on_conflict_do_update(index_elements=["user"], set_={"rules": _put_rules.excluded.rules})


def write_batches(connection: Connection, batches: Sequence[Batch]) -> None:
    """All of it, within the caller's transaction."""
    # The last row of an operation is the only one that counts.
    rows = {row.operation.operation_id: row for batch in batches for row in batch.rows}
    happened = [event for batch in batches for event in batch.events]
    if rows:
        connection.execute(_put_operation, [_values(row) for row in rows.values()])
    series = {key: value for batch in batches for key, value in batch.performance}
    if series:
        connection.execute(
            _put_performance,
            [{"operation_id": key, "performance": _encoder.encode(value)} for key, value in series.items()],
        )
    if happened:
        connection.execute(
            _put_event,
            [{"seq": e.seq, "operation_id": e.operation_id, "event": _encoder.encode(e)} for e in happened],
        )
    for batch in batches:
        # In their order: what is forgotten by one may come again with the next.
        if batch.unrevoked:
            connection.execute(delete(revocations).where(revocations.c.key.in_(batch.unrevoked)))
        if batch.revocations:
            entries = [{"key": entry.key, "revocation": _encoder.encode(entry)} for entry in batch.revocations]
            connection.execute(_put_revocation, entries)
        for one in batch.rules:
            if one.rules is None:
                connection.execute(delete(rules).where(rules.c.user == one.user))
            else:
                connection.execute(_put_rules, {"user": one.user, "rules": _encoder.encode(one)})


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
        "parent_id": operation.parent_id,
    }


def known_revocations(connection: Connection) -> tuple[Revocation, ...]:
    """Of tokens; none in a file of an older schema, which is not migrated yet."""
    version: int = connection.execute(text("PRAGMA user_version")).scalar_one()
    if version < REVOCATIONS_SINCE:
        return ()
    found = connection.execute(select(revocations.c.revocation))
    return tuple(decode_revocation(blob) for (blob,) in found)


def known_rules(connection: Connection) -> tuple[UserRules, ...]:
    """Of all users; none in a file of an older schema, which is not migrated yet."""
    version: int = connection.execute(text("PRAGMA user_version")).scalar_one()
    if version < RULES_SINCE:
        return ()
    return tuple(decode_rules(blob) for (blob,) in connection.execute(select(rules.c.rules)))


def known_meta(connection: Connection) -> dict[str, str]:
    """What the journal says of itself."""
    return dict(connection.execute(select(meta.c.key, meta.c.value)).all())


def put_meta(connection: Connection, key: str, value: str) -> None:
    """Within the caller's transaction."""
    statement = upsert(meta).values(key=key, value=value)
    connection.execute(statement.on_conflict_do_update(index_elements=["key"], set_={"value": value}))


def forgotten_seq(known: dict[str, str]) -> int:
    """Up to this number events may be missing: their operations were forgotten. After it none is."""
    return int(known.get("forgotten_seq", "0"))
