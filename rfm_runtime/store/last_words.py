"""Outcomes that a program could not tell the broker, in a file each program writes and the broker reads once it ended.

Written by the program's reporting thread, read and removed by the broker, some records at a time; never by both at
once, since the broker looks at files of ended programs alone. Records are checked one by one: a program may be killed
while it writes.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import BinaryIO, NamedTuple, TypeVar

import msgspec

from rfm_runtime.core.resources.sizes import size
from rfm_runtime.errors import BadRequestError
from rfm_runtime.protocol.internal import LastWord, Source

__all__ = [
    "LIMIT_BYTES",
    "SUFFIX",
    "Found",
    "Keeper",
    "Slice",
    "beside",
    "file_of",
    "files",
    "first",
    "read",
    "slice_of",
    "source_of",
]

T = TypeVar("T")

MAGIC = b"rfmlast\x01"
"""With the version of the records: a newer one is left alone."""

FRAME = struct.Struct(">II")
"""Length and CRC-32 of the record that follows."""

SUFFIX = ".last"
LIMIT_BYTES = 64 * 1024**2
"""Of one program: a hundred thousand outcomes. What comes then is not kept."""

WASTE_BYTES = 256 * 1024
"""Of outcomes that are settled, and as much as of those that are not, before the file is written anew without them."""


class Found(NamedTuple):
    """What a program left. damaged: its end cannot be read, as after a kill in the middle of a write."""

    source: Source
    words: list[LastWord]
    damaged: bool


class Slice(NamedTuple):
    """Some of it. after: where the rest begins, None if this was all that can be read. damaged: as in `Found`."""

    words: list[LastWord]
    after: int | None
    damaged: bool


def beside(path: Path) -> Path:
    """Where a file is written anew: it is there for a moment, or until a program that was killed then is heard."""
    return path.with_suffix(".new")


def file_of(folder: Path, name: str) -> Path | None:
    """Where the program of that name leaves its outcomes; None for a name that is no name of a file."""
    plain = all(char.isascii() and (char.isalnum() or char in "-_") for char in name)
    return folder / f"{name}{SUFFIX}" if name and plain else None


def files(folder: Path) -> list[Path]:
    """What programs left; nothing without the folder. Raises OSError for a folder that cannot be read."""
    try:
        return sorted(path for path in folder.iterdir() if path.suffix == SUFFIX)
    except FileNotFoundError:
        return []


def source_of(path: Path) -> Source:
    """Whose it is, of the beginning of the file. Raises OSError; BadRequestError if it is none (or none yet)."""
    return first(path)[0]


def first(path: Path) -> tuple[Source, int]:
    """Whose it is, and where its outcomes begin. Raises like `source_of`."""
    with path.open("rb") as file:
        if file.read(len(MAGIC)) != MAGIC:
            raise BadRequestError(f"{path} is not a file of outcomes of this release")
        size = os.fstat(file.fileno()).st_size
        if size > LIMIT_BYTES + len(MAGIC):
            raise BadRequestError(f"{path} is larger than any that was written")
        return _decoded(path, _record(file, size) or b"", Source), file.tell()


def slice_of(path: Path, at: int, limit: int) -> Slice:
    """At most `limit` outcomes, from a place where one begins. Raises OSError; BadRequestError if one is none."""
    words: list[LastWord] = []
    with path.open("rb") as file:
        size = os.fstat(file.fileno()).st_size
        file.seek(at)
        while len(words) < limit and file.tell() < size:
            record = _record(file, size)
            if record is None:
                return Slice(words, None, True)
            words.append(_decoded(path, record, LastWord))
        return Slice(words, file.tell() if file.tell() < size else None, False)


def read(path: Path) -> Found:
    """Everything that is whole, in the order in which it was written. Raises OSError; BadRequestError if it is none."""
    source, at = first(path)
    found = slice_of(path, at, LIMIT_BYTES)
    return Found(source, found.words, found.damaged)


def _decoded(path: Path, record: bytes, kind: type[T]) -> T:
    try:
        return msgspec.msgpack.decode(record, type=kind)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequestError(f"{path} cannot be read") from None


def _record(file: BinaryIO, end: int) -> bytes | None:
    """The next one; None if it is not whole, or was changed. end: of the file."""
    head = file.read(FRAME.size)
    if len(head) < FRAME.size:
        return None
    size, check = FRAME.unpack(head)
    # A length that was changed must not cost memory.
    record = file.read(size) if size <= end - file.tell() else b""
    return record if len(record) == size and zlib.crc32(record) == check else None


def _framed(message: msgspec.Struct) -> bytes:
    record = msgspec.msgpack.encode(message)
    return FRAME.pack(len(record), zlib.crc32(record)) + record


class Keeper:
    """The file of one program, there while it has something in it that is not settled. kept: the operations in it;
    waiting: those of them that are not settled.

    The folder is the broker's to make: one that does not read these files has none.
    """

    def __init__(self, folder: Path, source: Source) -> None:
        path = file_of(folder, source.name)
        if path is None:
            raise ValueError(f"{source.name!r} is no name of a file")
        self.folder = folder
        self.kept: set[str] = set()
        self._path = path
        self._source = source
        # Place and size of each that waits.
        self.waiting: dict[str, tuple[int, int]] = {}
        self._waiting_bytes = 0
        self._settled_bytes = 0
        self._waste_bytes = WASTE_BYTES

    def keep(self, words: Iterable[LastWord]) -> None:
        """On disk when this returns. Raises OSError, and then none of them is kept."""
        fresh = [word for word in words if word.outcome.operation_id not in self.kept]
        if not fresh:
            return
        records = [_framed(word) for word in fresh]
        content = b"".join(records)
        is_new = not self.waiting and not self.kept
        if self._settled_bytes and self._size() + len(content) > LIMIT_BYTES:
            self._write_anew()
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            before = os.fstat(descriptor).st_size
            head = MAGIC + _framed(self._source) if before == 0 else b""
            if before + len(head) + len(content) > LIMIT_BYTES:
                raise OSError(f"{size(LIMIT_BYTES)} of outcomes wait for the runtime, more are not kept")
            try:
                self._write(descriptor, head + content)
                os.fsync(descriptor)
            except OSError:
                # Whatever would follow half a record could not be read.
                os.ftruncate(descriptor, before)
                raise
        finally:
            os.close(descriptor)
        if is_new:
            self._sync_folder()
        self._has(fresh, records, before + len(head))

    def _has(self, words: list[LastWord], records: list[bytes], at: int) -> None:
        for word, record in zip(words, records, strict=True):
            self.kept.add(word.outcome.operation_id)
            self.waiting[word.outcome.operation_id] = (at, len(record))
            self._waiting_bytes += len(record)
            at += len(record)

    def settled(self, operation_id: str) -> None:
        """The broker has it on its own disk: when that is so of all, the file goes. Raises OSError."""
        place = self.waiting.pop(operation_id, None)
        if place is not None:
            self._waiting_bytes -= place[1]
            self._settled_bytes += place[1]
        if not self.waiting and self.kept:
            self._forget()
            self._path.unlink(missing_ok=True)
        elif self._settled_bytes >= max(self._waste_bytes, self._waiting_bytes):
            # One that is refused is not tried with each that follows.
            self._waste_bytes = 2 * self._settled_bytes
            self._write_anew()

    def _forget(self) -> None:
        self.kept.clear()
        self._settled_bytes = 0
        self._waste_bytes = WASTE_BYTES

    def _size(self) -> int:
        try:
            return self._path.stat().st_size
        except FileNotFoundError:
            return 0

    def _write_anew(self) -> None:
        """Without what is settled: one operation that nobody takes must not keep a hundred thousand others on disk.

        Raises OSError, and the file is what it was then.
        """
        fresh = beside(self._path)
        waiting: dict[str, tuple[int, int]] = {}
        try:
            descriptor = os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
            try:
                at = len(content := MAGIC + _framed(self._source))
                self._write(descriptor, content)
                with self._path.open("rb") as old:
                    for operation_id, (place, size) in self.waiting.items():
                        old.seek(place)
                        self._write(descriptor, old.read(size))
                        waiting[operation_id] = (at, size)
                        at += size
                os.fsync(descriptor)
            finally:
                os.close(descriptor)
            fresh.replace(self._path)
        except OSError:
            fresh.unlink(missing_ok=True)
            raise
        self._forget()
        self.waiting = waiting
        self.kept.update(waiting)
        self._sync_folder()

    @staticmethod
    def _write(descriptor: int, content: bytes) -> None:
        view = memoryview(content)
        while view:
            view = view[os.write(descriptor, view) :]

    def _sync_folder(self) -> None:
        """The file's name is on disk, too."""
        descriptor = os.open(self.folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
