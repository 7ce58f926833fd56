"""The journal's file: made whole or not at all, refused if it is damaged, foreign or newer, never replaced silently.

Nothing here writes to a file before it is known to be a journal of this release.
"""

from __future__ import annotations

import os
import secrets
import sqlite3
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

import msgspec
from sqlalchemy import URL, Connection, Engine, create_engine, event, text
from sqlalchemy.exc import DatabaseError
from sqlalchemy.pool import NullPool

from rfm_runtime.errors import JournalError, OutputExistsError
from rfm_runtime.store.schema import APPLICATION_ID, BACKUP, SCHEMA_VERSION, known_meta, metadata, put_meta

__all__ = [
    "BUSY_S",
    "CHECKED_AT_ONCE_BYTES",
    "RESTORE",
    "WAL_LIMIT_BYTES",
    "begin_anew",
    "check_header",
    "check_pages",
    "check_version",
    "content_of",
    "create",
    "damage",
    "empty_log",
    "explained",
    "is_damage",
    "is_full",
    "is_placeholder",
    "kept_folder",
    "mark_as_backup",
    "missing",
    "never_itself",
    "new_epoch",
    "open_existing",
    "open_log",
    "placeholder",
    "private",
    "read_only",
    "read_write",
    "set_aside",
    "sync",
    "sync_folder",
    "wal_bytes",
]

HEADER_BYTES = 100
BUSY_S = 1.0
"""How long a lock of another process is waited for: nobody but a checkpoint of a shell should ever hold one."""

CHECKED_AT_ONCE_BYTES = 64 * 1024 * 1024
"""A journal up to this size is looked through before it is used (0.2 s); a larger one while it is used already."""

WAL_LIMIT_BYTES = 16 * 1024 * 1024
"""What a write-ahead log is cut back to when a reader that kept it growing is gone."""

RESTORE = "look at it with `rfm-runtime db check`, restore a backup with `rfm-runtime db restore`, or start with an "
RESTORE += "empty one with `rfm-runtime start --new-journal`"
KEPT = "the file was not changed"

PLACEHOLDER = b"rfm-runtime: a restore was interrupted here".ljust(2 * HEADER_BYTES, b"\n")
"""In the place of a journal that could not be used, while another one takes it. No SQLite file begins like this."""


def damage(path: Path, what: str) -> JournalError:
    """The journal cannot be trusted."""
    return JournalError(f"the journal {path} is damaged: {what}", hint=RESTORE, kept=KEPT)


def missing(path: Path) -> JournalError:
    """Nothing is there to be looked at."""
    return JournalError(
        f"there is no journal {path}",
        hint="the first start of a runtime makes one; name another folder with --state-dir",
    )


def _foreign(path: Path) -> JournalError:
    return JournalError(
        f"{path} is the database of another program", hint="choose another folder with --state-dir", kept=KEPT
    )


def is_full(error: BaseException) -> bool:
    """Whether SQLite found no room, or was refused to write: a disk, a quota or a limit."""
    code = getattr(getattr(error, "orig", error), "sqlite_errorcode", 0)
    return code & 0xFF in (sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR)


def is_damage(error: BaseException) -> bool:
    """Whether the file, and not the disk, is the reason."""
    code = getattr(getattr(error, "orig", error), "sqlite_errorcode", 0)
    return code & 0xFF in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB) or isinstance(error, msgspec.DecodeError)


@contextmanager
def explained(path: Path) -> Iterator[None]:
    """Turn what SQLite says about a file it cannot use into our error; the file is left as it is."""
    try:
        yield
    except (DatabaseError, sqlite3.Error, msgspec.DecodeError) as error:
        reason = str(getattr(error, "orig", None) or error)
        if is_damage(error):
            raise damage(path, reason) from error
        hint = f"make room on the disk of {path.parent}" if is_full(error) else "see `rfm-runtime doctor`"
        raise JournalError(f"the journal {path} cannot be used: {reason}", hint=hint, kept=KEPT) from error


def wal_bytes(path: Path) -> int:
    """Size of its write-ahead log."""
    try:
        return _beside(path, "-wal").stat().st_size
    except OSError:
        return 0


def _beside(path: Path, suffix: str) -> Path:
    return path.with_name(path.name + suffix)


def check_header(path: Path, *, to_write: bool = True) -> bool:
    """Whether there is a journal. Raises JournalError for what is plainly none of ours, before SQLite may touch it.

    to_write: it is to be written to; a backup may be where nobody can.
    Source: https://sqlite.org/fileformat.html, "The Database Header".
    """
    try:
        with path.open("rb") as file:
            header = file.read(HEADER_BYTES)
            size = os.fstat(file.fileno()).st_size
    except FileNotFoundError:
        if wal_bytes(path):
            # SQLite would drop it: what was written last would be gone without a word.
            raise damage(path, f"it is gone, and {path.name}-wal, which belongs to it, is there") from None
        return False
    except OSError as error:
        hint = f"make it readable for this user: chown {os.getuid()} {path}"
        raise JournalError(f"the journal {path} cannot be read: {error.strerror}", hint=hint, kept=KEPT) from None
    if to_write and not os.access(path, os.W_OK):
        hint = f"make it writable for this user: chown {os.getuid()} {path}"
        raise JournalError(f"the journal {path} cannot be written: Permission denied", hint=hint, kept=KEPT)
    if len(header) < HEADER_BYTES:
        raise damage(path, f"it has {size} bytes, less than a header")
    if not any(header):
        raise damage(path, "its header is all zeros")
    if PLACEHOLDER.startswith(header):
        raise damage(path, f"a restore was interrupted; what was there before is in {path.parent}/journal-kept-…")
    if not header.startswith(b"SQLite format 3\0"):
        raise damage(path, "it is no SQLite file")
    # What is in the write-ahead log is newer than the header.
    if not wal_bytes(path):
        if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
            raise _foreign(path)
        page_bytes = int.from_bytes(header[16:18], "big")
        wanted = (65536 if page_bytes == 1 else page_bytes) * int.from_bytes(header[28:32], "big")
        if header[24:28] == header[92:96] and size < wanted:
            raise damage(path, f"it was cut off: {size} bytes of {wanted}")
    return True


def content_of(path: Path) -> str | None:
    """What a file has that is no journal, in words; None if it begins as one. Raises OSError."""
    with path.open("rb") as file:
        header = file.read(HEADER_BYTES)
    if not header:
        return "it is empty"
    if not header.startswith(b"SQLite format 3\0"):
        return "it is no SQLite file"
    if int.from_bytes(header[68:72], "big") != APPLICATION_ID:
        return "it is the database of another program"
    return None


def create(path: Path) -> None:
    """An empty journal; killed or refused in the middle there is none. Raises JournalError."""
    fresh = path.with_name(f".{path.name}.new")
    for suffix in ("", "-wal", "-shm", "-journal"):
        _beside(fresh, suffix).unlink(missing_ok=True)
    private(fresh)
    engine = _engine(URL.create("sqlite", database=str(fresh)))
    try:
        with explained(path):
            with engine.begin() as connection:
                # Before the first page: later it takes a copy of the whole file.
                connection.execute(text("PRAGMA auto_vacuum=INCREMENTAL"))
                connection.execute(text(f"PRAGMA application_id={APPLICATION_ID}"))
                connection.execute(text(f"PRAGMA user_version={SCHEMA_VERSION}"))
                metadata.create_all(connection)
            engine.dispose()
        sync(fresh)
        fresh.rename(path)
        sync_folder(path.parent)
    except BaseException:
        engine.dispose()
        fresh.unlink(missing_ok=True)
        raise


def never_itself(path: Path, target: Path) -> None:
    """Raise OutputExistsError if `target` is the journal: a running broker would go on in a file that has no name."""
    if target.exists() and path.exists() and target.samefile(path):
        raise OutputExistsError(f"{target} is the journal itself", hint="name another file")


def private(path: Path) -> None:
    """An empty file for this user alone, whatever the umask, which SQLite is to fill: its log gets the same mode.

    Raises JournalError, also if something is there: in a folder of many users it may be another's.
    """
    try:
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    except OSError as error:
        hint = f"see `ls -ld {path.parent}` and `df {path.parent}`"
        raise JournalError(f"{path} cannot be made: {error.strerror}", hint=hint) from error


def sync(path: Path) -> None:
    """What was written to it survives a power cut."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def sync_folder(folder: Path) -> None:
    """A rename in it survives a power cut."""
    sync(folder)


def _engine(url: URL, **options: Any) -> Engine:
    engine = create_engine(url, connect_args={"check_same_thread": False, "timeout": BUSY_S}, **options)

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA synchronous=FULL")
        cursor.close()

    return engine


def _url(path: Path, mode: str) -> URL:
    """Of a file that is there. Not as text: a folder may have any name, and `?` and `#` mean something in an URL."""
    return URL.create("sqlite", database=f"file:{quote(str(path.absolute()))}", query={"mode": mode, "uri": "true"})


def open_existing(path: Path) -> Engine:
    """To read and write a journal that `check_header` let pass."""
    # `mode=rw`: a file that vanishes meanwhile is not made anew.
    engine = _engine(_url(path, "rw"))

    @event.listens_for(engine, "connect")
    def _configure(connection: Any, _record: object) -> None:
        cursor = connection.cursor()
        cursor.execute("PRAGMA journal_mode=WAL")
        cursor.execute(f"PRAGMA journal_size_limit={WAL_LIMIT_BYTES}")
        cursor.close()

    return engine


def read_write(path: Path) -> Engine:
    """For a copy that nobody else knows of: without a write-ahead log."""
    return _engine(_url(path, "rw"), poolclass=NullPool)


def read_only(path: Path) -> Engine:
    """To read a journal that may be in use; nothing of it is changed, not even by closing."""
    return _engine(_url(path, "ro"), poolclass=NullPool)


def check_version(connection: Connection, path: Path) -> int:
    """The file's schema version. Raises JournalError if it is another program's, or newer than this release."""
    application_id = connection.execute(text("PRAGMA application_id")).scalar_one()
    version: int = connection.execute(text("PRAGMA user_version")).scalar_one()
    if application_id != APPLICATION_ID:
        raise _foreign(path)
    if version > SCHEMA_VERSION:
        raise JournalError(
            f"{path} has schema version {version}, this release knows {SCHEMA_VERSION}",
            hint="start it with the release that wrote it",
            kept=KEPT,
        )
    if version < 1:
        raise damage(path, f"schema version {version}")
    return version


def check_pages(connection: Connection, path: Path) -> None:
    """Raise JournalError if pages do not fit together."""
    found = connection.execute(text("PRAGMA quick_check(1)")).scalar_one()
    if found != "ok":
        raise damage(path, " ".join(str(found).split()))


def open_log(connection: Connection, inode: int) -> tuple[str, int]:
    """The log's name and the number of this start; both are in the journal before anybody hears of them.

    A file in another place on the disk is a copy of the one that was written: what followed in that one is not in
    this one, so its numbers will mean other events, and it needs another name. So is what `db backup` has written.
    """
    known = known_meta(connection)
    is_copy = known.get("inode") != str(inode)
    epoch = new_epoch() if is_copy or "epoch" not in known else known["epoch"]
    incarnation = int(known.get("incarnation", "0")) + 1
    for key, value in (("epoch", epoch), ("incarnation", str(incarnation)), ("inode", str(inode))):
        put_meta(connection, key, value)
    return epoch, incarnation


def new_epoch() -> str:
    """A name that no other log has."""
    return f"log0-{secrets.token_hex(8)}"


def empty_log(path: Path) -> None:
    """What is only in the write-ahead log goes to the file: beside another one it would be taken for that one's.

    Raises JournalError if somebody has it open, sqlite3.Error.
    """
    with closing(sqlite3.connect(path, timeout=BUSY_S)) as connection:
        busy, _, _ = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()
    if busy or wal_bytes(path):
        raise JournalError("somebody else has it open", hint="end the other program, then start again")


def placeholder(path: Path) -> None:
    """Have a file at `path` that everybody refuses and nobody begins anew, in one step."""
    fresh = path.with_name(f".{path.name}.restoring")
    fresh.unlink(missing_ok=True)
    private(fresh)
    fresh.write_bytes(PLACEHOLDER)
    sync(fresh)
    fresh.replace(path)
    sync_folder(path.parent)


def is_placeholder(path: Path) -> bool:
    """Whether a restore ended there before there was a journal."""
    with path.open("rb") as file:
        return file.read(HEADER_BYTES) == PLACEHOLDER[:HEADER_BYTES]


def kept_folder(path: Path) -> Path:
    """A folder that is not there yet, for a journal that makes room for another."""
    stamp = time.strftime("%Y%m%d-%H%M%S")
    number = 0
    while (folder := path.parent / f"journal-kept-{stamp}{f'-{number}' if number else ''}").exists():
        number += 1
    return folder


def set_aside(path: Path, *others: Path) -> Path | None:
    """Move a journal, and what belongs to it, out of the way; where it is now, None if there was none.

    Only the holder of the folder's lock may. Nothing is removed.
    """
    # The database before its log: a log without one is refused, one without its log would be opened, and what was
    # written last would be gone without a word.
    found = [one for one in (*others, path, *(_beside(path, s) for s in ("-wal", "-shm"))) if one.exists()]
    if not found:
        return None
    folder = kept_folder(path)
    folder.mkdir(mode=0o700)
    for one in found:
        one.rename(folder / one.name)
    sync_folder(folder)
    sync_folder(path.parent)
    return folder / path.name if path in found else None


def begin_anew(path: Path, *others: Path) -> Path | None:
    """An empty journal, here and now; where the one before is kept with what belongs to it, None if there was none.

    What stays beside it says that there has to be one. Only the holder of the folder's lock may.
    """
    # What cannot be written is known before anything is moved.
    fresh = path.with_name(f".{path.name}.anew")
    create(fresh)
    try:
        kept = set_aside(path, *others)
        fresh.rename(path)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)
    return kept


def mark_as_backup(path: Path) -> None:
    """Make one plain file of a copy that nobody uses yet, which is never taken for the original."""
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("PRAGMA journal_mode=DELETE")
        with connection:
            statement = "INSERT INTO meta VALUES ('inode', ?) ON CONFLICT (key) DO UPDATE SET value = excluded.value"
            connection.execute(statement, (BACKUP,))
