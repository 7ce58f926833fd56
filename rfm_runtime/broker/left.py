"""What ended programs left for the broker: found, read once each, removed once it is journalled. In its loop's thread.

The folder is the user's own, like the sockets; what is in it is decoded as strictly as what comes through those. A file
may have a hundred thousand outcomes: it is read some at a time, and programs take turns.
"""

from __future__ import annotations

import contextlib
import socket
from collections import deque
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from rfm_runtime.errors import BadRequestError
from rfm_runtime.observe import logs
from rfm_runtime.observe.alive import boot_id, is_alive
from rfm_runtime.protocol.internal import LastWord, Source
from rfm_runtime.store.last_words import Slice, beside, file_of, files, first, slice_of, source_of

__all__ = ["Left", "Reading"]

log = logs.get("broker")

T = TypeVar("T")


class Reading:
    """What one program left, on its way to the core. died: the program's owner has to be told dead when it is over.

    whole: all of it went to the core so far. over: there is no more. outcomes: how many there were.
    """

    def __init__(self, source: Source, path: Path, at: int) -> None:
        self.source = source
        self.path = path
        self.at: int | None = at
        self.outcomes = 0
        self.died = False
        self.whole = True
        self.damaged = False

    @property
    def over(self) -> bool:
        """Whether there is no more."""
        return self.at is None


class Left:
    """The folder. None: there is none. reading: what is being heard, whose turn it is first."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        # Heard, and not on disk yet: they are not heard twice.
        self._heard: set[Path] = set()
        # What is no such file, as it was then: it may be one that was just begun.
        self._refused: dict[Path, tuple[int, int]] = {}
        self.reading: deque[Reading] = deque()

    def died(self, source: Source) -> bool:
        """Whether this program, which is known to be dead, left something, which is read now or already."""
        for reading in self.reading:
            if reading.source == source:
                reading.died = True
                return True
        path = None if self._folder is None else file_of(self._folder, source.name)
        if path is None or not path.exists():
            return False
        found = self._asked(path, first)
        if found is None or found[0] != source:
            return False
        reading = Reading(source, path, found[1])
        reading.died = True
        self.reading.append(reading)
        return True

    def look(self) -> Iterator[None]:
        """Read what programs left that have ended, each once. Between two files the caller may do something else."""
        if self._folder is None:
            return
        try:
            paths = files(self._folder)
        except OSError as error:
            log.warning("last_words_not_read", folder=str(self._folder), error=str(error))
            return
        for path in paths:
            yield
            source = self._asked(path, source_of)
            if source is None or not _has_ended(source) or file_of(self._folder, source.name) != path:
                continue
            # Now that nobody writes to it: what came last is in it, too, or it was written anew meanwhile.
            found = None if any(one.path == path for one in self.reading) else self._asked(path, first)
            if found is not None:
                self.reading.append(Reading(source, path, found[1]))

    def next(self, limit: int) -> tuple[Reading, list[LastWord]] | None:
        """Some outcomes of the program whose turn it is; None if nobody has any."""
        if not self.reading:
            return None
        reading = self.reading.popleft()
        at = reading.at or 0
        found = self._asked(reading.path, lambda path: slice_of(path, at, limit))
        if found is None:
            # What cannot be read now is tried again, all of it, and stays.
            reading.whole = False
            found = Slice([], None, False)
        reading.at = found.after
        reading.damaged = found.damaged
        reading.outcomes += len(found.words)
        if not reading.over:
            self.reading.append(reading)
        return reading, found.words

    def heard(self, name: str) -> None:
        """The core has all of it, and says when it is in the journal."""
        path = None if self._folder is None else file_of(self._folder, name)
        if path is not None:
            self._heard.add(path)

    def forget(self, name: str) -> None:
        """It is in the journal."""
        path = None if self._folder is None else file_of(self._folder, name)
        if path is not None:
            # What cannot be removed is heard again by the next broker, and changes nothing.
            with contextlib.suppress(OSError):
                beside(path).unlink(missing_ok=True)
                path.unlink(missing_ok=True)
                self._heard.discard(path)

    def _asked(self, path: Path, what: Callable[[Path], T]) -> T | None:
        """What is asked of the file; None if there is nothing, or nothing new, to be read."""
        if path in self._heard:
            return None
        as_it_is = (0, 0)
        try:
            status = path.stat()
            as_it_is = (status.st_size, status.st_mtime_ns)
            return None if self._refused.get(path) == as_it_is else what(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            # For want of a descriptor, say: it is tried again.
            log.warning("last_words_not_read", file=str(path), error=str(error))
            return None
        except BadRequestError as error:
            log.warning("last_words_not_read", file=str(path), error=str(error), kept="the file is left where it is")
            self._refused[path] = as_it_is
            return None


def _has_ended(source: Source) -> bool:
    """What another machine wrote, into a folder that both have, is not ours to say."""
    if source.host != socket.gethostname():
        return False
    return source.boot_id != boot_id() or not is_alive(source.pid, source.start_time)
