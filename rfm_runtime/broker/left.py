"""What ended programs left for the broker: found, read once each, removed once it is journalled. In its loop's thread.

The folder is the user's own, like the sockets; what is in it is decoded as strictly as what comes through those.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path

from rfm_runtime.errors import BadRequestError
from rfm_runtime.observe import logs
from rfm_runtime.observe.alive import boot_id, is_alive
from rfm_runtime.protocol.internal import Source
from rfm_runtime.store.last_words import Found, file_of, files, read

__all__ = ["Left"]

log = logs.get("broker")


class Left:
    """The folder. None: there is none."""

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        # Heard, and not on disk yet: they are not heard twice.
        self._heard: set[Path] = set()
        self._refused: set[Path] = set()

    def of(self, source: Source) -> Found | None:
        """What this program left, which is known to be dead."""
        path = None if self._folder is None else file_of(self._folder, source.name)
        if path is None or not path.exists():
            return None
        found = self._read(path)
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
            found = self._read(path)
            if found is not None and _has_ended(found.source) and file_of(self._folder, found.source.name) == path:
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
            self._heard.discard(path)
            # What cannot be removed is heard again by the next broker, and changes nothing.
            with contextlib.suppress(OSError):
                path.unlink(missing_ok=True)

    def _read(self, path: Path) -> Found | None:
        if path in self._heard or path in self._refused:
            return None
        try:
            return read(path)
        except FileNotFoundError:
            return None
        except OSError as error:
            # For want of a descriptor, say: it is tried again.
            log.warning("last_words_not_read", file=str(path), error=str(error))
            return None
        except BadRequestError as error:
            log.warning("last_words_not_read", file=str(path), error=str(error), kept="the file is left where it is")
            self._refused.add(path)
            return None


def _has_ended(source: Source) -> bool:
    """What another machine wrote, into a folder that both have, is not ours to say."""
    if source.host != socket.gethostname():
        return False
    return source.boot_id != boot_id() or not is_alive(source.pid, source.start_time)
