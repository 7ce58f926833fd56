"""How far the bars are: what watchers were last shown of each live operation, in a file that outlives this process.

The journal has it once a second; a broker that is killed in between would go on with less than it has shown. The file
is mapped, so the kernel keeps what is put there whatever happens to the process, and nothing waits for a disk. After
a power cut it may be older than the journal, which then counts. It is never newer: a journal that is older than this
file is a restored backup.
"""

from __future__ import annotations

import math
import mmap
import os
import struct
from pathlib import Path

from rfm_runtime.protocol.limits import ID_LIMIT

__all__ = ["Shown"]

HEADER = struct.Struct("=8s112s")
MAGIC = b"rfmshow1"
HEAD = struct.Struct("=Q")
"""Number of the newest event that was published; behind the header."""

ENTRIES = HEADER.size + HEAD.size
DONE = struct.Struct("=d")
"""Aligned: it is stored by one instruction, so a kill finds the old value or the new one."""

ENTRY_BYTES = DONE.size + ID_LIMIT
FIRST_ENTRIES = 256


class Shown:
    """before: what the last process put there, of the same log. head: the newest event that anybody was told of.

    Raises OSError if there is no room for the file.
    """

    def __init__(self, path: Path, epoch: str) -> None:
        self._file = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        header = HEADER.pack(MAGIC, epoch.encode())
        size = os.fstat(self._file).st_size
        if os.pread(self._file, HEADER.size, 0) != header:
            os.ftruncate(self._file, 0)
            size = 0
        self._places: dict[str, int] = {}
        self._free: list[int] = []
        self._map = self._grown(max(size, ENTRIES + FIRST_ENTRIES * ENTRY_BYTES))
        self._map[: HEADER.size] = header
        found = {oid: DONE.unpack_from(self._map, place)[0] for oid, place in self._look().items()}
        self.before: dict[str, float] = {oid: done for oid, done in found.items() if 0.0 <= done < math.inf}

    def _grown(self, size: int) -> mmap.mmap:
        # Room that is not there is refused here, where it can be told: a mapping would kill the process.
        os.posix_fallocate(self._file, 0, size)
        return mmap.mmap(self._file, size)

    def _look(self) -> dict[str, int]:
        for place in range(ENTRIES, len(self._map) - ENTRY_BYTES + 1, ENTRY_BYTES):
            operation_id = self._map[place + DONE.size : place + ENTRY_BYTES].rstrip(b"\0")
            if operation_id:
                self._places[operation_id.decode("utf-8", "replace")] = place
            else:
                self._free.append(place)
        self._free.reverse()
        return self._places

    @property
    def head(self) -> int:
        """Number of the newest event that was published."""
        head: int = HEAD.unpack_from(self._map, HEADER.size)[0]
        return head

    @head.setter
    def head(self, seq: int) -> None:
        HEAD.pack_into(self._map, HEADER.size, seq)

    def put(self, operation_id: str, done: float) -> None:
        """Watchers are shown `done`. Raises OSError if the file would have to grow and cannot."""
        place = self._places.get(operation_id)
        if place is None:
            place = self._room()
            # Value first: whoever finds the name finds its value.
            DONE.pack_into(self._map, place, done)
            name = operation_id.encode().ljust(ID_LIMIT, b"\0")
            self._map[place + DONE.size : place + ENTRY_BYTES] = name
            self._places[operation_id] = place
            return
        DONE.pack_into(self._map, place, done)

    def _room(self) -> int:
        if not self._free:
            old = len(self._map)
            size = ENTRIES + 2 * (old - ENTRIES)
            fresh = self._grown(size)
            self._map.close()
            self._map = fresh
            self._free = list(range(size - ENTRY_BYTES, old - ENTRY_BYTES, -ENTRY_BYTES))
        return self._free.pop()

    def drop(self, operation_id: str) -> None:
        """It has its outcome."""
        place = self._places.pop(operation_id, None)
        if place is not None:
            self._map[place + DONE.size : place + ENTRY_BYTES] = bytes(ID_LIMIT)
            self._free.append(place)

    def close(self) -> None:
        """Nothing is put there any more."""
        self._map.close()
        os.close(self._file)
