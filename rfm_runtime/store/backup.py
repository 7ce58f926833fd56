"""Copies of a journal: whole, verified, and never taken for the one that the log goes on in.

SQLite's online backup: whoever writes to the journal meanwhile waits for nothing, and is in the copy or is not.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path
from urllib.parse import quote

from rfm_runtime.errors import JournalError, OutputExistsError
from rfm_runtime.store import files
from rfm_runtime.store.look import looked_at

__all__ = ["backup", "copy", "partial", "restore", "verify"]


WHICH = "name a file that `rfm-runtime db backup` has written; without a name it is in `backups` of the state folder"


def backup(path: Path, target: Path, *, force: bool = False) -> int:
    """Copy the journal at `path` to the file `target`; its size in bytes.

    Killed or refused in the middle there is no such file, or the old one. Raises OutputExistsError, JournalError.
    """
    if os.path.lexists(target) and not force:
        raise OutputExistsError(f"{target} exists and was kept")
    files.never_itself(path, target)
    if target.is_dir():
        raise OutputExistsError(f"{target} is a folder", hint="name a file in it")
    if not files.check_header(path):
        raise files.missing(path)
    fresh = partial(target)
    try:
        copy(path, fresh)
        verify(fresh)
        fresh.chmod(0o600)
        fresh.replace(target)
        files.sync_folder(target.absolute().parent)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise
    return target.stat().st_size


def restore(source: Path, path: Path, *others: Path) -> Path | None:
    """Have a copy of `source` as the journal at `path`; where the one before is kept now, with `others`.

    Only the holder of the state folder's lock may. Raises JournalError, and the journal is as it was then.
    """
    _is_one(source)
    fresh = partial(path)
    try:
        _usable(source, verify, source)
        copy(source, fresh)
        verify(fresh)
        # What no broker can start from must not take the place of anything.
        _usable(source, _fits_together, fresh)
        fresh.chmod(0o600)
        files.sync(fresh)
        return _take_place(fresh, path, others)
    except BaseException:
        fresh.unlink(missing_ok=True)
        raise


def _take_place(fresh: Path, path: Path, others: Sequence[Path]) -> Path | None:
    """Have `fresh` as the journal; where the one before is kept.

    Killed at any step there is the old one, with all that was written to it, or the new one. Of an old one that cannot
    be used, and so cannot be parted from its log, a placeholder takes the place for a moment: it is refused as well.
    """
    logs = [path.with_name(path.name + suffix) for suffix in ("-wal", "-shm")]
    alone = _parted_from_its_log(path)
    kept = _kept(path, others, () if alone else logs[:1])
    if not alone:
        files.placeholder(path)
    # Left beside the new one it would be taken for the new one's, and written into it.
    for one in logs:
        one.unlink(missing_ok=True)
    files.sync_folder(path.parent)
    fresh.replace(path)
    files.sync_folder(path.parent)
    for one in others:
        one.unlink(missing_ok=True)
    return kept


def _parted_from_its_log(path: Path) -> bool:
    """Whether nothing of the journal is in its write-ahead log, which is written into it for that.

    Raises JournalError, and nothing has happened, if somebody has it open or there is no room.
    """
    if not files.wal_bytes(path):
        return True
    try:
        # Of a file that is none SQLite removes the log when it is asked to write it.
        verify(path)
    except JournalError as error:
        if error.__cause__ is not None and not files.is_damage(error.__cause__):
            raise
        return False
    with files.explained(path):
        files.empty_log(path)
    return True


def _kept(path: Path, others: Sequence[Path], logs: Sequence[Path]) -> Path | None:
    """Another name for the old journal, in a folder of its own, and copies of what others may write to meanwhile."""
    found = [one for one in (path, *logs) if one.exists() and not (one == path and files.is_placeholder(one))]
    beside = [one for one in others if one.exists()]
    if not found and not beside:
        return None
    folder = files.kept_folder(path)
    folder.mkdir(mode=0o700)
    for one in beside:
        shutil.copy2(one, folder)
        files.sync(folder / one.name)
    for one in found:
        try:
            os.link(one, folder / one.name)
        except OSError:
            # Not on every file system.
            shutil.copy2(one, folder)
            files.sync(folder / one.name)
    files.sync_folder(folder)
    files.sync_folder(path.parent)
    return folder / path.name


def _is_one(source: Path) -> None:
    """Raise JournalError for what nobody would call a damaged backup: another file, or none."""
    try:
        found = files.content_of(source)
    except OSError as error:
        found = (error.strerror or str(error)).lower()
    if found is not None:
        raise JournalError(f"{source} is no backup: {found}", hint=WHICH, kept="the journal is as it was")


def _usable(source: Path, check: Callable[[Path], None], path: Path) -> None:
    try:
        check(path)
    except JournalError as error:
        raise JournalError(
            f"{source} cannot be restored: {error.message}",
            hint="choose another backup; `rfm-runtime db check FILE` says whether it is whole",
            kept="the journal is as it was",
        ) from None


def _fits_together(path: Path) -> None:
    with looked_at(path) as look:
        checked = look.check()
    if not checked.fine:
        found = [*checked.pages, *checked.rows, *checked.log]
        raise JournalError(found[0], hint="see all of it with `rfm-runtime db check FILE`")


def partial(target: Path) -> Path:
    """Where a file is made that will be `target`."""
    return target.with_name(f".{target.name}.partial")


def copy(path: Path, target: Path) -> None:
    """A plain file with all that is committed in `path` now, marked as a copy. Raises JournalError."""
    target.unlink(missing_ok=True)
    files.private(target)
    with files.explained(path):
        source = sqlite3.connect(f"file:{quote(str(path.absolute()))}?mode=ro", uri=True, timeout=files.BUSY_S)
        with closing(source), closing(sqlite3.connect(target)) as written:
            # In one step: between two a journal that is written would make it begin again.
            source.backup(written)
        files.mark_as_backup(target)
    files.sync(target)


def verify(path: Path) -> None:
    """Raise JournalError unless it is a whole journal of this release or an older one. Nothing is written."""
    if not files.check_header(path, to_write=False):
        raise JournalError(f"there is no file {path}", hint="see `ls` of its folder")
    with files.explained(path), files.read_only(path).connect() as connection:
        files.check_version(connection, path)
        files.check_pages(connection, path)
