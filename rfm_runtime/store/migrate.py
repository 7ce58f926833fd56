"""A journal of an older schema becomes one of this: on a copy, which replaces it once it is whole. Loads Alembic.

Refused, killed or without room in the middle, the old file is as it was, byte for byte. Only the holder of the state
folder's lock may call it.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import closing
from pathlib import Path

from alembic import command
from alembic.config import Config
from sqlalchemy import func, select, text

from rfm_runtime.errors import JournalError
from rfm_runtime.store import files, schema
from rfm_runtime.store.backup import copy, partial, verify

__all__ = ["backup_of", "migrate"]

log = logging.getLogger("rfm_runtime.store")

SCRIPTS = Path(__file__).parent / "migrations"


def backup_of(path: Path, version: int) -> Path:
    """Where the journal is kept as it was before it was migrated."""
    return path.with_name(f"{path.name}.schema-{version}")


def migrate(path: Path) -> Path | None:
    """Bring the journal to this release's schema; where the old one is kept, None if it is of this schema already.

    Raises JournalError: then the old file is what it was.
    """
    with files.explained(path), files.read_only(path).connect() as connection:
        version = files.check_version(connection, path)
        was_original = schema.known_meta(connection).get("inode") == str(path.stat().st_ino)
    if version == schema.SCHEMA_VERSION:
        return None
    kept, fresh = backup_of(path, version), path.with_name(f".{path.name}.migrating")
    try:
        copy(path, partial(kept))
        verify(partial(kept))
        copy(path, fresh)
        _upgrade(fresh, version, as_original=was_original)
        _compare(partial(kept), fresh)
        files.empty_log(path)
    except Exception as error:
        _forget(fresh, partial(kept))
        raise _failed(path, version, error) from error
    except BaseException:
        _forget(fresh, partial(kept))
        raise
    partial(kept).chmod(0o600)
    partial(kept).replace(kept)
    # The name of the log goes with the file that it goes on in, and this is the one from here on.
    fresh.replace(path)
    files.sync_folder(path.parent)
    log.info("the journal was migrated from schema %d to %d; kept: %s", version, schema.SCHEMA_VERSION, kept)
    return kept


def _failed(path: Path, version: int, error: Exception) -> JournalError:
    cause = error.__cause__ if isinstance(error, JournalError) and error.__cause__ is not None else error
    reason = cause.message if isinstance(cause, JournalError) else str(getattr(cause, "orig", None) or cause)
    room_bytes = 3 * (path.stat().st_size + files.wal_bytes(path))
    full = isinstance(cause, OSError) or files.is_full(cause)
    hint = (
        f"make room: {room_bytes / 1e6:.1f} MB are needed in {path.parent} for a moment, then start again"
        if full
        else "start it with the release that wrote it, and report this with the output of `rfm-runtime db check`"
    )
    return JournalError(
        f"the journal {path} cannot be migrated from schema {version} to {schema.SCHEMA_VERSION}: {reason}",
        hint=hint,
        kept="it is as it was",
    )


def _upgrade(fresh: Path, version: int, *, as_original: bool) -> None:
    engine = files.read_write(fresh)
    config = Config()
    config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
    try:
        with engine.begin() as connection:
            config.attributes["connection"] = connection
            # `user_version` says what a file has, from the first one on; Alembic is told.
            command.stamp(config, str(version), purge=True)
            command.upgrade(config, str(schema.SCHEMA_VERSION))
            connection.execute(text(f"PRAGMA user_version={schema.SCHEMA_VERSION}"))
            if as_original:
                schema.put_meta(connection, "inode", str(fresh.stat().st_ino))
    finally:
        engine.dispose()
    with closing(sqlite3.connect(fresh)) as connection:
        # A file that shrinks has to be made anew once.
        connection.execute("PRAGMA auto_vacuum=INCREMENTAL")
        connection.execute("VACUUM")
    verify(fresh)
    descriptor = os.open(fresh, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
    fresh.chmod(0o600)


def _compare(old: Path, new: Path) -> None:
    """Nothing was lost on the way."""
    counts = []
    for path in (old, new):
        with files.read_only(path).connect() as connection:
            tables = (schema.operations, schema.events, schema.performance)
            counts.append(
                [connection.execute(select(func.count()).select_from(table)).scalar_one() for table in tables]
            )
    if counts[0] != counts[1]:
        raise JournalError(f"{counts[1]} rows came of {counts[0]}", hint="start it with the release that wrote it")


def _forget(*unfinished: Path) -> None:
    for path in unfinished:
        for suffix in ("", "-journal", "-wal", "-shm"):
            path.with_name(path.name + suffix).unlink(missing_ok=True)
