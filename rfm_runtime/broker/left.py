"""What ended programs left for the broker: found, read once each, removed once it is journalled. In its loop's thread.

The folder is the user's own, like the sockets; what is in it is decoded as strictly as what comes through those.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TypeVar

from rfm_runtime.errors import BadRequestError
from rfm_runtime.observe import logs
from rfm_runtime.observe.alive import boot_id, is_alive
from rfm_runtime.protocol.internal import Source
from rfm_runtime.store.last_words import Found, file_of, files, read, source_of

__all__ = ["Left"]

log = logs.get("broker")

T = TypeVar("T")


class Left:
    """The folder. None: there is none."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        # Heard, and not on disk yet: they are not heard twice.
        self._heard: set[Path] = set()
        # What is no such file, as it was then: it may be one that was just begun.
        self._refused: dict[Path, tuple[int, int]] = {}

    def of(self, source: Source) -> Found | None:
        """What this program left, which is known to be dead."""
        path = None if self._folder is None else file_of(self._folder, source.name)
        if path is None or not path.exists():
            return None
        found = self._asked(path, read)
        return found if found is not None and found.source == source else None

    def look(self) -> Iterator[Found]:
        """What programs left that have ended, each once."""
        if self._folder is None:
            return
        try:
            paths = files(self._folder)
        except OSError as error:
            log.warning("last_words_not_read", folder=str(self._folder), error=str(error))
            return
        for path in paths:
            source = self._asked(path, source_of)
            if source is None or not _has_ended(source) or file_of(self._folder, source.name) != path:
                continue
            # Now that nobody writes to it: what came last is in it, too.
            found = self._asked(path, read)
            if found is not None:
                yield found

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
