"""Outcomes that a program could not tell the broker, in a file each program writes and the broker reads once it ended.

Written by the program's reporting thread, read and removed by the broker; never by both at once, since the broker
looks at files of ended programs alone. Records are checked one by one: a program may be killed while it writes.
"""

from __future__ import annotations

import os
import struct
import zlib
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

import msgspec

from rfm_runtime.core.resources.sizes import size
from rfm_runtime.errors import BadRequestError
from rfm_runtime.protocol.internal import LastWord, Source

__all__ = ["LIMIT_BYTES", "SUFFIX", "Found", "Keeper", "file_of", "files", "read", "source_of"]

MAGIC = b"rfmlast\x01"
"""With the version of the records: a newer one is left alone."""

FRAME = struct.Struct(">II")
"""Length and CRC-32 of the record that follows."""

SUFFIX = ".last"
LIMIT_BYTES = 64 * 1024**2
"""Of one program: a hundred thousand outcomes. What comes then is not kept."""

SOURCE_BYTES = 4096
"""More than the first record has, which says whose file it is."""


class Found(NamedTuple):
    """What a program left. damaged: its end cannot be read, as after a kill in the middle of a write."""

    source: Source
    words: list[LastWord]
    damaged: bool


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
    with path.open("rb") as file:
        content = file.read(SOURCE_BYTES)
    records, _ = _records(_checked(path, content))
    return _decoded(path, records[:1])[0]


def read(path: Path) -> Found:
    """Everything that is whole, in the order in which it was written. Raises OSError; BadRequestError if it is none."""
    if path.stat().st_size > LIMIT_BYTES + len(MAGIC):
        raise BadRequestError(f"{path} is larger than any that was written")
    records, damaged = _records(_checked(path, path.read_bytes()))
    source, words = _decoded(path, records)
    return Found(source, words, damaged)


def _checked(path: Path, content: bytes) -> bytes:
    if not content.startswith(MAGIC):
        raise BadRequestError(f"{path} is not a file of outcomes of this release")
    return content


def _decoded(path: Path, records: list[bytes]) -> tuple[Source, list[LastWord]]:
    try:
        source = msgspec.msgpack.decode(records[0], type=Source)
        return source, [msgspec.msgpack.decode(record, type=LastWord) for record in records[1:]]
    except (IndexError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequestError(f"{path} cannot be read") from None


def _records(content: bytes) -> tuple[list[bytes], bool]:
    records: list[bytes] = []
    at = len(MAGIC)
    while at < len(content):
        if at + FRAME.size > len(content):
            return records, True
        size, check = FRAME.unpack_from(content, at)
        record = content[at + FRAME.size : at + FRAME.size + size]
        if len(record) != size or zlib.crc32(record) != check:
            return records, True
        records.append(record)
        at += FRAME.size + size
    return records, False


def _framed(message: msgspec.Struct) -> bytes:
    record = msgspec.msgpack.encode(message)
    return FRAME.pack(len(record), zlib.crc32(record)) + record


class Keeper:
    """The file of one program, there while it has something in it. kept: the operations in it; waiting: those of them
    that are not settled.

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
        self.waiting: set[str] = set()

    def keep(self, words: Iterable[LastWord]) -> None:
        """On disk when this returns. Raises OSError, and then none of them is kept."""
        fresh = [word for word in words if word.outcome.operation_id not in self.kept]
        if not fresh:
            return
        content = b"".join(_framed(word) for word in fresh)
        is_new = not self.waiting and not self.kept
        descriptor = os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            before = os.fstat(descriptor).st_size
            if before == 0:
                content = MAGIC + _framed(self._source) + content
            if before + len(content) > LIMIT_BYTES:
                raise OSError(f"{size(LIMIT_BYTES)} of outcomes wait for the runtime, more are not kept")
            try:
                self._write(descriptor, content)
                os.fsync(descriptor)
            except OSError:
                # Whatever would follow half a record could not be read.
                os.ftruncate(descriptor, before)
                raise
        finally:
            os.close(descriptor)
        if is_new:
            self._sync_folder()
        ids = {word.outcome.operation_id for word in fresh}
        self.kept |= ids
        self.waiting |= ids

    def settled(self, operation_id: str) -> None:
        """The broker has it on its own disk: when that is so of all, the file goes. Raises OSError."""
        self.waiting.discard(operation_id)
        if not self.waiting and self.kept:
            self.kept.clear()
            self._path.unlink(missing_ok=True)

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
