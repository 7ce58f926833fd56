"""What somebody was told, line by line as it came: JSON that the checker reads, whatever becomes of its writer.

A line is one object: `t`, monotonic seconds of this machine, `k`, its kind, and what belongs to it.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import msgspec

__all__ = ["Record", "brief", "brief_event", "brief_operation"]

OWN = frozenset({"open", "closed", "fresh", "end"})
"""What a watcher writes of itself: whoever tries to connect every second has heard nothing by that."""


class Record:
    """One writer's file; each line is in the kernel's hands when `write` returns, so that a kill loses none."""

    def __init__(self, path: Path) -> None:
        self._file = path.open("ab", buffering=0)
        self.events = 0
        self.position = 0
        self._heard_s = time.monotonic()
        self._longest_s = 0.0

    def write(self, kind: str, /, **fields: Any) -> None:
        """One line."""
        now_s = time.monotonic()
        if kind not in OWN:
            self._longest_s = max(self._longest_s, now_s - self._heard_s)
            self._heard_s = now_s
        if kind == "event":
            self.events += 1
            self.position = max(self.position, fields["seq"])
        elif kind == "live":
            self.position = max(self.position, fields["seq"])
        self._file.write(msgspec.json.encode({"t": round(now_s, 4), "k": kind, **fields}) + b"\n")

    def silence_s(self) -> float:
        """The longest time without a word since this was asked last, also one that is not over yet."""
        longest_s, self._longest_s = max(self._longest_s, time.monotonic() - self._heard_s), 0.0
        return longest_s

    def close(self) -> None:
        """Idempotent."""
        self._file.close()


def brief(update: Mapping[str, Any] | None) -> dict[str, Any] | None:
    """Of a progress update, what the checker looks at. The wire leaves out what has its default value."""
    if update is None:
        return None
    return {
        "id": update["operation_id"],
        "rev": list(update["rev"]),
        "at_seq": update["at_seq"],
        "done": update["done"],
        "percent": update.get("progress", 0.0),
    }


def brief_event(event: Mapping[str, Any], kind: str | None = None) -> dict[str, Any]:
    """Of an event. kind: its envelope's type, where the data has none."""
    return {
        "seq": event["seq"],
        "type": kind or event["type"],
        "id": event["operation_id"],
        "state": event["state"],
        "final": brief(event.get("final")),
    }


def brief_operation(operation: Mapping[str, Any]) -> dict[str, Any]:
    """Of an operation in a list."""
    return {
        "id": operation["operation_id"],
        "state": operation["state"],
        "at_seq": operation["at_seq"],
        "latest": brief(operation.get("latest")),
    }
