"""The audit log on disk: JSON lines, a file a process, appended, never changed; bounded by leaving out the oldest.

What an entry is, and which there are, is in `core.auditing`. A line is in the system's hands when `write` returns, also
where the process is killed then. A disk that takes none stops nobody: what is lost is counted, and said in the log.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from rfm_runtime.config import Settings, folders
from rfm_runtime.core.auditing import Entry, weakened
from rfm_runtime.observe import logs
from rfm_runtime.observe.redaction import redacted

__all__ = ["AUDIT_FILES", "AUDIT_LIMIT_BYTES", "AuditLog", "audited"]

log = logs.get("audit")

AUDIT_LIMIT_BYTES = 4 * 1024 * 1024
"""One file."""

AUDIT_FILES = 8
"""Of one process, the one that is written to included: 32 MiB at most, some 150,000 lines."""


class AuditLog:
    """folder: made if it is not there, 0700. name: of the process."""

    def __init__(self, folder: Path, name: str, *, limit_bytes: int = AUDIT_LIMIT_BYTES) -> None:
        self._folder = folder
        self._name = name
        self._limit_bytes = limit_bytes
        self._descriptor = -1
        self._size_bytes = 0
        self._cut = False
        self.lost = 0

    @property
    def path(self) -> Path:
        """The file that is written to."""
        return self._folder / f"{self._name}.jsonl"

    def write(self, entries: Sequence[Entry]) -> None:
        """Append them, in one step. Raises nothing."""
        if not entries:
            return
        encoded = b"".join(msgspec.json.encode({"process": self._name, **_fields(entry)}) + b"\n" for entry in entries)
        try:
            if self._cut:
                encoded = b"\n" + encoded
            if self._descriptor < 0 or self._size_bytes + len(encoded) > self._limit_bytes:
                self._open(len(encoded))
            written = os.write(self._descriptor, encoded)
            self._size_bytes += written
            # On a disk that is full in the middle of a line; the next one begins anew.
            self._cut = written < len(encoded)
            if self._cut:
                self._fail(len(entries), "the disk is full")
                return
        except OSError as error:
            self._fail(len(entries), error.strerror or str(error))
            return
        if self.lost:
            log.info("audit_writes_again", lost=self.lost)
            self.lost = 0

    def _fail(self, entries: int, why: str) -> None:
        if not self.lost:
            log.error("audit_not_written", error=why, kept="nothing is refused for it; what is not written is lost")
        self.lost += entries

    def _open(self, room_bytes: int) -> None:
        self.close()
        self._folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        # Also where a lax umask, or somebody, had made it before.
        self._folder.chmod(0o700)
        self._descriptor = self._append()
        self._size_bytes = os.fstat(self._descriptor).st_size
        if self._size_bytes and self._size_bytes + room_bytes > self._limit_bytes:
            self.close()
            self._rotate()
            self._descriptor = self._append()
            self._size_bytes = 0

    def _append(self) -> int:
        flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.path, flags, 0o600)
        os.fchmod(descriptor, 0o600)
        return descriptor

    def _rotate(self) -> None:
        numbered = [self.path, *(self._folder / f"{self._name}.{number}.jsonl" for number in range(1, AUDIT_FILES))]
        for older, newer in zip(reversed(numbered), reversed(numbered[:-1]), strict=False):
            if newer.exists():
                newer.replace(older)

    def close(self) -> None:
        """Close the file. Idempotent."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1


@contextmanager
def audited(settings: Settings, name: str) -> Iterator[None]:
    """A runtime that begins and ends in order, with what it lets pass that it would not by default."""
    written = AuditLog(folders(settings).audit, name)
    written.write([Entry(at_ms=_now_ms(), event="runtime_started", weakened=weakened(settings))])
    try:
        yield
    finally:
        written.write([Entry(at_ms=_now_ms(), event="runtime_stopped")])
        written.close()


def _now_ms() -> int:
    return time.time_ns() // 1_000_000


def _fields(entry: Entry) -> dict[str, Any]:
    # An id or a reason is what its sender chose, a token in the wrong place as well.
    fields: dict[str, Any] = redacted(msgspec.to_builtins(entry))
    return fields
