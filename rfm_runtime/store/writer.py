"""The journal's writer: one thread with group commit, which also forgets what is old and knows a full disk.

It takes everything that waits, commits it as one transaction, and calls back with the number of the last batch. Nothing
waits for a tick: it commits whenever it is idle.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from pathlib import Path

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import DatabaseError

from rfm_runtime.core.operations.record import Batch, JournalFailed
from rfm_runtime.core.resources.sizes import size
from rfm_runtime.store.files import RESTORE, is_damage, is_full
from rfm_runtime.store.reserve import Reserve
from rfm_runtime.store.retention import Chores
from rfm_runtime.store.schema import write_batches

__all__ = ["OnFailed", "OnWritten", "Writer"]

log = logging.getLogger("rfm_runtime.store")

RETRY_S = 0.5
"""After a failed commit (disk full, I/O error): how often it is tried again."""

MAKE_ROOM = "make room on its disk: what waits goes on by itself"
GONE = f"put it back (/proc/PID/fd of the broker has what was in it), or stop the runtime, and {RESTORE}"
RESERVED = "the disk was full; until {} are free again, outcomes alone are written"

OnWritten = Callable[[int, float], None]
"""(number of the last batch on disk, seconds the commit took); called in the writer's thread."""

OnFailed = Callable[[JournalFailed], None]
"""The journal cannot be written, or can again; called in the writer's thread, or where damage was found."""


class Writer:
    """Appending is anybody's, the rest is the thread's.

    path: of the file, which is there as long as it is written: SQLite would go on in one that nobody will find again.
    full: the disk was full when the journal was opened, and what was kept for outcomes has been given away.
    """

    def __init__(self, path: Path, engine: Engine, chores: Chores, reserve: Reserve, *, full: bool) -> None:
        self._path = path
        self._inode = path.stat().st_ino
        self._engine = engine
        self._chores = chores
        self._reserve = reserve
        self._full = full
        self._room_s = 0.0
        self._failing = False
        self._damage: str | None = None
        self._queue: queue.SimpleQueue[Batch | None] = queue.SimpleQueue()
        self._thread: threading.Thread | None = None
        self._on_failed: OnFailed | None = None

    def start(self, on_written: OnWritten, on_failed: OnFailed) -> None:
        """Write what is appended, from now on. What is the matter already is told before this returns."""
        self._on_failed = on_failed
        if self._full:
            self._tell()
        self._thread = threading.Thread(target=self._write, args=(on_written,), name="journal", daemon=True)
        self._thread.start()

    def append(self, batch: Batch) -> None:
        """Never blocks."""
        self._queue.put(batch)

    def close(self) -> None:
        """Write what was appended, then end. Idempotent."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None

    def damaged(self, what: str) -> None:
        """Pages were found that do not fit together: outcomes are still written, nothing new. From any thread."""
        if self._damage is None:
            self._damage = what
            self._tell()

    def _tell(self, reason: str | None = None, hint: str = MAKE_ROOM) -> None:
        """What is the matter now; reason: why nothing at all can be written."""
        if self._on_failed is None:
            return
        if reason is not None:
            trouble = JournalFailed(reason, hint=hint)
        elif self._damage is not None:
            trouble = JournalFailed(f"it is damaged: {self._damage}", True, f"stop the runtime, and {RESTORE}")
        elif self._full:
            trouble = JournalFailed(RESERVED.format(size(self._reserve.needs_bytes)), True, MAKE_ROOM)
        else:
            trouble = JournalFailed(None)
        self._on_failed(trouble)

    # --- the thread -------------------------------------------------------------------------

    def _write(self, on_written: OnWritten) -> None:
        try:
            with self._engine.connect() as connection:
                self._write_until_closed(connection, on_written)
        except BaseException as error:
            # A fault of ours must not look like a journal that is merely slow: the broker refuses and says why.
            self._tell(f"the writer stopped: {error!r}", "restart the runtime, and report this")
            raise

    def _write_until_closed(self, connection: Connection, on_written: OnWritten) -> None:
        closing = False
        while not closing:
            batches, closing = self._next()
            while batches:
                begin_s = time.perf_counter()
                if not self._is_there():
                    if closing:
                        return
                    more, closing = self._collect(RETRY_S)
                    batches += more
                    continue
                try:
                    with connection.begin():
                        write_batches(connection, batches)
                except DatabaseError as error:
                    wait_s = self._refused(error)
                    if closing and wait_s:
                        return
                    more, ends = self._collect(wait_s)
                    batches += more
                    closing = closing or ends
                    continue
                if self._failing:
                    self._failing = False
                    self._full = self._reserve.promised and not self._reserve.take()
                    self._tell()
                else:
                    self._look_for_room()
                on_written(batches[-1].number, time.perf_counter() - begin_s)
                if not closing:
                    self._tidy(connection, busy=True)
                break
            else:
                self._look_for_room()
                if not closing and not self._full:
                    self._tidy(connection, busy=False)

    def _is_there(self) -> bool:
        """Whether the file that is open is the one at its path: somebody may have removed or replaced it."""
        try:
            if self._path.stat().st_ino == self._inode:
                return True
        except FileNotFoundError:
            pass
        except OSError:
            # Whatever keeps it from being looked at, the commit will say.
            return True
        self._failing = True
        self._tell(f"{self._path} was removed or replaced while it was in use", GONE)
        return False

    def _look_for_room(self) -> None:
        """Whether outcomes alone are written any longer: twice a second, however many of them come."""
        if not self._full or time.monotonic() < self._room_s:
            return
        self._room_s = time.monotonic() + RETRY_S
        if self._reserve.take():
            self._full = False
            self._tell()

    def _refused(self, error: DatabaseError) -> float:
        """A commit was; how long to wait before it is tried again."""
        self._failing = True
        reason = str(error.orig or error)
        if is_damage(error):
            self._damage = self._damage or reason
            self._tell(f"it is damaged: {reason}", f"stop the runtime, and {RESTORE}")
            return RETRY_S
        self._tell(reason)
        return 0.0 if is_full(error) and self._reserve.release() else RETRY_S

    def _tidy(self, connection: Connection, *, busy: bool) -> None:
        try:
            forgotten = self._chores.step(connection, busy=busy)
        except DatabaseError as error:
            # Nobody waits for it. A disk that is full, or a lock, is noticed by the next commit.
            if is_damage(error):
                self.damaged(str(error.orig or error))
            log.warning("the journal was not tidied: %s", error.orig or error)
        else:
            if forgotten:
                log.info("forgot %d operations that ended long ago", forgotten)

    def _next(self) -> tuple[list[Batch], bool]:
        """Everything that waits, in order, and whether the end was asked for; nothing if there is something to tidy."""
        wait_s = RETRY_S if self._full else self._chores.wait_s
        try:
            first = self._queue.get(timeout=wait_s) if wait_s > 0.0 else self._queue.get_nowait()
        except queue.Empty:
            return [], False
        if first is None:
            return [], True
        batches, closing = self._collect(0.0)
        return [first, *batches], closing

    def _collect(self, wait_s: float) -> tuple[list[Batch], bool]:
        """What comes within `wait_s`, and whether the end was asked for, which ends the waiting."""
        batches: list[Batch] = []
        deadline_s = time.monotonic() + wait_s
        while True:
            left_s = deadline_s - time.monotonic()
            try:
                item = self._queue.get(timeout=left_s) if left_s > 0.0 else self._queue.get_nowait()
            except queue.Empty:
                return batches, False
            if item is None:
                return batches, True
            batches.append(item)
