"""Requests that wait for a connection or an answer. Cancels first, then submissions, then the rest.

Bounded: when it is full the newest request of the lowest class is refused, so a cancel always fits while anything
else is queued. What was sent when a connection dropped is sent again: every request is safe to repeat.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field

from msgspec import Struct

from rfm_runtime.protocol.messages import CancelOperation, FetchArtifact, Submit, SubmitMany

__all__ = ["OUTBOX_LIMIT", "Outbox", "Pending"]

OUTBOX_LIMIT = 1000


def _class(message: Struct) -> int:
    if isinstance(message, CancelOperation):
        return 0
    return 1 if isinstance(message, Submit | SubmitMany) else 2


@dataclass(slots=True)
class Pending:
    """A request without an answer. sent: on this connection; times: on any. answered: the peer said something of it."""

    number: int
    message: Struct
    rank: int
    sent: bool = field(default=False)
    times: int = field(default=0)
    answered: bool = field(default=False)

    @property
    def unsure(self) -> bool:
        """Whether it may have been carried out although nobody said so: it was sent, and that was not answered."""
        return self.times > self.answered


class Outbox:
    """All requests without an answer, by number."""

    def __init__(self, limit: int = OUTBOX_LIMIT) -> None:
        self._limit = limit
        self._pending: dict[int, Pending] = {}
        self._numbers = itertools.count(1)

    def __len__(self) -> int:
        return len(self._pending)

    def add(self, message: Struct) -> tuple[Pending | None, Pending | None]:
        """(the new request, a refused one): None for the first if the new one itself is refused."""
        pending = Pending(next(self._numbers), message, _class(message))
        if len(self._pending) < self._limit:
            self._pending[pending.number] = pending
            return pending, None
        victim = max(self._pending.values(), key=lambda known: (known.rank, known.number))
        if victim.rank <= pending.rank:
            return None, pending
        del self._pending[victim.number]
        self._pending[pending.number] = pending
        return pending, victim

    def answered(self, number: int) -> Pending | None:
        """The request that an answer is for."""
        return self._pending.pop(number, None)

    def disconnected(self) -> list[Pending]:
        """Everything is to be sent again; chunks of files are not, their reader asks anew. Those are returned."""
        dropped = [pending for pending in self._pending.values() if isinstance(pending.message, FetchArtifact)]
        for pending in dropped:
            del self._pending[pending.number]
        for pending in self._pending.values():
            pending.sent = False
        return dropped

    def to_send(self) -> list[Pending]:
        """What was not sent on this connection, in the order to send it."""
        return sorted((p for p in self._pending.values() if not p.sent), key=lambda p: (p.rank, p.number))
