"""What processes that share one operation see of each other: a page of memory, no socket, no lock, no thread.

The process that owns the operation reads it with its own measures; a forked child, or a process that got the
reporter by pickle, adds what it has done to a slot of its own. A slot is a record lock of the page's file: whoever
dies gives it back, and what it had done stays counted.
"""

from __future__ import annotations

import errno
import fcntl
import math
import mmap
import os
import struct

__all__ = ["SLOTS", "Shared"]

SLOTS = 500
"""Processes that may add to one operation at the same time; whoever comes later adds nothing."""

_HEADER_BYTES = 64
_DOUBLE = struct.Struct("=d")
_SIZE_BYTES = _HEADER_BYTES + SLOTS * _DOUBLE.size


class Shared:
    """The page. Byte 0: asked to stop. Byte 1: asked to stand still. Then a double a slot."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._slot: int | None = None
        try:
            self._pages = mmap.mmap(descriptor, _SIZE_BYTES)
        except BaseException:
            os.close(descriptor)
            self._descriptor = -1
            raise

    @classmethod
    def create(cls) -> Shared:
        """A new page. Raises OSError where the system has none to give."""
        descriptor = os.memfd_create("rfm-progress", os.MFD_CLOEXEC)
        os.ftruncate(descriptor, _SIZE_BYTES)
        return cls(descriptor)

    @classmethod
    def of(cls, path: str) -> Shared:
        """The page of another process of this user, by the path it gave. Raises OSError if that process is gone."""
        return cls(os.open(path, os.O_RDWR | os.O_CLOEXEC))

    @property
    def path(self) -> str:
        """Where other processes of this user find it while this process lives."""
        return f"/proc/{os.getpid()}/fd/{self._descriptor}"

    @property
    def cancel(self) -> bool:
        """Whether somebody asked to stop."""
        return self._pages[0] != 0

    @property
    def pause(self) -> bool:
        """Whether somebody asked to stand still."""
        return self._pages[1] != 0

    def tell(self, *, cancel: bool, pause: bool) -> None:
        """What is asked of all that work on it."""
        self._pages[0] = cancel
        self._pages[1] = pause

    def total(self) -> float:
        """What all slots have added."""
        return math.fsum(struct.unpack_from(f"={SLOTS}d", self._pages, _HEADER_BYTES))

    def add(self, amount: float) -> None:
        """Add to this process's slot; nothing if there is none left."""
        slot = self._slot if self._slot is not None else self._claim()
        if slot < 0:
            return
        at = _HEADER_BYTES + slot * _DOUBLE.size
        _DOUBLE.pack_into(self._pages, at, _DOUBLE.unpack_from(self._pages, at)[0] + amount)

    def forked(self) -> None:
        """In a forked child: the parent's slot, and its lock, are not ours."""
        self._slot = None

    def _claim(self) -> int:
        for slot in range(SLOTS):
            try:
                # Of this process alone, and gone with it, unlike flock, which a fork inherits.
                fcntl.lockf(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB, 1, slot)
            except OSError as error:
                if error.errno not in (errno.EAGAIN, errno.EACCES):
                    break
                continue
            self._slot = slot
            return slot
        self._slot = -1
        return -1

    def close(self) -> None:
        """Idempotent; done by itself when nobody has it any more."""
        if self._descriptor >= 0:
            self._pages.close()
            os.close(self._descriptor)
            self._descriptor = -1

    __del__ = close
