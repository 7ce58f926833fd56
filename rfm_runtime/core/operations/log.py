"""The log's mind: numbers events, holds back what depends on a commit, keeps the committed state.

Everything that anybody is told about a change goes through `commit`: it leaves only when the batch it
belongs to is on disk. One `Log` per broker, touched by its hub alone.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Iterable, Iterator

from rfm_runtime.core.operations.committed import Committed
from rfm_runtime.core.operations.record import Batch, Command, Journal, Loaded, Publish, StoredOperation
from rfm_runtime.protocol.history import Performance
from rfm_runtime.protocol.notifying import UserRules
from rfm_runtime.protocol.operation import TERMINAL_EVENTS, OperationEvent
from rfm_runtime.protocol.revocation import Revocation

__all__ = ["Log"]


class Log:
    """committed: what may be said about each operation. events: the newest of the log, oldest first."""

    def __init__(self, loaded: Loaded, history_events: int) -> None:
        self.epoch = loaded.epoch
        self.head = loaded.head
        self.failing: str | None = None
        self.failing_hint: str | None = None
        # While it fails: there is room for the outcomes of what runs, and for nothing else.
        self.outcomes_only = False
        self.committed = Committed(row.operation for row in loaded.rows)
        self.events: deque[OperationEvent] = deque(loaded.events, maxlen=history_events)
        # How operations went whose outcome is being decided, until it is committed.
        self.ended: dict[str, Performance] = {}
        self._next_seq = loaded.head
        self._number = 0
        self._held: deque[tuple[Batch, list[Command]]] = deque()

    @property
    def floor(self) -> int:
        """Events after this number can be asked for."""
        return self.events[0].seq - 1 if self.events else self.head

    @property
    def newest(self) -> int:
        """Number of the last batch that was made."""
        return self._number

    @property
    def pending(self) -> int:
        """Batches that are not on disk yet."""
        return len(self._held)

    def next_seq(self) -> int:
        """The number of the next event."""
        self._next_seq += 1
        return self._next_seq

    def commit(
        self,
        rows: Iterable[StoredOperation],
        events: Iterable[OperationEvent],
        then: Iterable[Command] = (),
        performance: Iterable[tuple[str, Performance]] = (),
        *,
        revocations: Iterable[Revocation] = (),
        unrevoked: Iterable[str] = (),
        rules: Iterable[UserRules] = (),
    ) -> Journal:
        """Have rows, events, revocations and rules written; `then` follows the commit, after the events' publication.

        With an outcome goes how its operation went.
        """
        self._number += 1
        happened = tuple(events)
        ids = [event.operation_id for event in happened if event.type in TERMINAL_EVENTS]
        ended = ((operation_id, self.ended.pop(operation_id)) for operation_id in ids)
        batch = Batch(
            self._number,
            tuple(rows),
            happened,
            (*performance, *ended),
            tuple(revocations),
            tuple(unrevoked),
            tuple(rules),
        )
        self._held.append((batch, list(then)))
        return Journal(batch)

    def journalled(self, number: int) -> list[Command]:
        """What leaves now that batches up to `number` are on disk, in order."""
        commands: list[Command] = []
        while self._held and self._held[0][0].number <= number:
            batch, then = self._held.popleft()
            for row in batch.rows:
                self.committed.put(row.operation)
            if batch.events:
                self.events.extend(batch.events)
                self.head = batch.events[-1].seq
                commands.append(Publish(batch.events))
            commands += then
        return commands

    def since(self, seq: int) -> Iterator[OperationEvent] | None:
        """Committed events after `seq`; None if that is outside floor..head."""
        if not self.floor <= seq <= self.head:
            return None
        return itertools.islice(self.events, seq - self.floor, None)

    def forget(self, operation_id: str) -> None:
        """Drop a finished operation from memory; the store keeps it."""
        self.committed.drop(operation_id)
