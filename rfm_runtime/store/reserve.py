"""Room that is kept for outcomes: a file that takes it, and gives it back when the disk is full.

Owned by the journal's writer thread (and by whoever opens the journal, before there is one).
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

__all__ = ["Reserve"]


class Reserve:
    """size_bytes 0: nothing is reserved. Another half of it has to be free as well before it is taken again."""

    def __init__(self, path: Path, size_bytes: int) -> None:
        self._path = path
        self._size_bytes = size_bytes

    @property
    def needs_bytes(self) -> int:
        """What has to be free before it is taken: half as much again as is kept."""
        return self._size_bytes + self._size_bytes // 2

    @property
    def promised(self) -> bool:
        """Whether it was given away: what is free belongs to it first. A smaller one of other settings was not."""
        return self._size_bytes > 0 and self._found_bytes() == 0

    @property
    def held(self) -> bool:
        """Whether the room is there to be given back."""
        found_bytes = self._found_bytes()
        return self._size_bytes > 0 and found_bytes is not None and found_bytes >= self._size_bytes

    def _found_bytes(self) -> int | None:
        try:
            return self._path.stat().st_size
        except OSError:
            return None

    def take(self) -> bool:
        """Make the file (again) if there is room for it; whether it is there, or not wanted."""
        if self._size_bytes == 0 or self.held:
            return True
        before_bytes = self._found_bytes()
        try:
            descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        except OSError:
            return False
        try:
            # More than is kept: otherwise the next commit would find the disk full again.
            os.posix_fallocate(descriptor, 0, self.needs_bytes)
            os.ftruncate(descriptor, self._size_bytes)
        except OSError:
            with contextlib.suppress(OSError):
                os.ftruncate(descriptor, before_bytes or 0)
                if before_bytes is None:
                    # On a disk that never had room for it nothing waits for it.
                    self._path.unlink(missing_ok=True)
            return False
        finally:
            os.close(descriptor)
        return True

    def release(self) -> bool:
        """Give the room back; whether there was any."""
        if self._size_bytes == 0 or not self._found_bytes():
            return False
        try:
            # Not `unlink`: on a full disk of some file systems a shorter file is all that can be had.
            os.truncate(self._path, 0)
        except OSError:
            return False
        return True
