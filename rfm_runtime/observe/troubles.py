"""Processes of the runtime that end by themselves again and again: written by the supervisor, read by who is asked.

A file in the runtime's folder, since the supervisor speaks to nobody, and the broker may be what does not come up.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

import msgspec
from msgspec import Struct

__all__ = ["Trouble", "read", "write"]


class Trouble(Struct, frozen=True, kw_only=True):
    """process: its name. ends: unexpected ones within the last minute. cause: of the last. next_ms: when it is started
    again, ms since 1970; None while it runs. down: it ends so often that it is not to be relied upon, and is not ready.
    """

    process: str
    ends: int
    cause: str
    down: bool
    next_ms: int | None = None

    def said(self, now_ms: int) -> str:
        """For people."""
        text = f"{self.process} ended {self.ends} times within a minute ({self.cause})"
        if self.next_ms is None:
            return f"{text} and {'is starting' if self.down else 'runs again'}"
        return f"{text}; the next start is in {max(0, self.next_ms - now_ms) / 1000:.0f} s"


def write(path: Path, troubles: Iterable[Trouble]) -> None:
    """Whole or not at all. Raises OSError."""
    temporary = path.with_name(f".{path.name}.part")
    temporary.write_bytes(msgspec.json.encode(tuple(troubles)))
    temporary.replace(path)


def read(path: Path) -> tuple[Trouble, ...]:
    """Nothing where there is no file, or none that can be read."""
    try:
        return msgspec.json.decode(path.read_bytes(), type=tuple[Trouble, ...])
    except (OSError, msgspec.DecodeError):
        return ()
