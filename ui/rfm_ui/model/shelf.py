"""Which operations a progress manager shows: what is alive, and for a moment what has ended. Pure."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from rfm_runtime.protocol.operation import TERMINAL_STATES, Operation

__all__ = ["ENDED_S", "Shelf"]

ENDED_S = 5.0
"""How long it is seen that one has ended."""

FAILED_S = 60.0
"""And why it failed."""


class Shelf:
    """At most `room` operations, those that came first on top; `more`: how many alive ones have no place."""

    def __init__(self, room: int) -> None:
        self.room = room
        self._known: dict[str, Operation] = {}
        self._leave_at_s: dict[str, float] = {}

    def take(self, changed: Mapping[str, Operation], gone: Iterable[str], now_s: float) -> None:
        """Take the newest. One that had ended before it was ever seen alive is no news."""
        for operation_id, operation in changed.items():
            if operation.state not in TERMINAL_STATES:
                self._known[operation_id] = operation
                self._leave_at_s.pop(operation_id, None)
            elif operation_id in self._known:
                self._known[operation_id] = operation
                stays_s = FAILED_S if operation.state == "failed" else ENDED_S
                self._leave_at_s.setdefault(operation_id, now_s + stays_s)
        for operation_id in gone:
            self._known.pop(operation_id, None)
            self._leave_at_s.pop(operation_id, None)

    def tick(self, now_s: float) -> None:
        """Put away what has been seen."""
        for operation_id in [one for one, at_s in self._leave_at_s.items() if at_s <= now_s]:
            del self._leave_at_s[operation_id], self._known[operation_id]

    def clear(self) -> None:
        """Forget everything: another server has others."""
        self._known.clear()
        self._leave_at_s.clear()

    @property
    def shown(self) -> list[Operation]:
        """From the top."""
        # Where room is scarce, what is alive has it.
        alive = [one for one in self._known.values() if one.operation_id not in self._leave_at_s][: self.room]
        spare = self.room - len(alive)
        ended = set(list(self._leave_at_s)[:spare])
        kept = {one.operation_id for one in alive} | ended
        return [one for operation_id, one in self._known.items() if operation_id in kept]

    @property
    def more(self) -> int:
        """Alive ones that are not shown."""
        return max(0, len(self._known) - len(self._leave_at_s) - self.room)
