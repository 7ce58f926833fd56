"""What is journalled of operations that run, besides their events, and when those that ended leave memory.

The tables say where to look, so that thousands that stand still cost nothing: all that may have moved, and for each in
an owner's hand when its series is due. They may name more than that, never less. One `Keeping` per hub.
"""

from __future__ import annotations

import heapq
import itertools
from typing import TYPE_CHECKING

from rfm_runtime.core.operations.record import Command, Now, Record
from rfm_runtime.protocol.operation import TERMINAL_STATES

if TYPE_CHECKING:
    from rfm_runtime.core.operations.hub import Hub

__all__ = ["Keeping", "checkpoint", "forget_old"]

CHECKPOINT_S = 1.0
"""How often the shown progress of what runs is journalled, so that it survives this process."""

KEEP_S = 30.0
"""How often the series of what runs is journalled: a broker that dies loses at most so much of it."""

CHECKPOINT_ROWS = 200
"""Rows of one checkpoint: 0.1 MB."""

SPARE = 16
"""Entries of the heap that mean nothing, beside as many as do."""

FORGET_AT_ONCE = 64
"""Records looked at in one tick for having finished long ago."""

RECALLED_LIMIT = 256
"""Forgotten operations that are back in memory because somebody asked for them: 16 MB with the longest parameters."""


class Keeping:
    """moved: what may have been shown beyond what the journal has. finished: what has ended, in that order.

    recalled: what was forgotten, and somebody has asked for since, in that order; none of it is in `finished`.
    """

    def __init__(self, now: Now) -> None:
        self.checkpoint_s = now.mono_s
        self.moved: dict[str, None] = {}
        self.finished: dict[str, None] = {}
        self.recalled: dict[str, None] = {}
        self._due: list[tuple[float, str]] = []
        self._scheduled: dict[str, float] = {}

    def schedule(self, operation_id: str, kept_s: float) -> None:
        """It is in an owner's hand: its series is written when it was last written long ago."""
        if operation_id not in self._scheduled:
            self._scheduled[operation_id] = kept_s
            heapq.heappush(self._due, (kept_s, operation_id))

    def drop(self, operation_id: str) -> None:
        """It is in nobody's hand any more."""
        self.moved.pop(operation_id, None)
        self._scheduled.pop(operation_id, None)
        if len(self._due) > 2 * len(self._scheduled) + SPARE:
            # More entries mean nothing any more than do.
            self._due = [(kept_s, operation_id) for operation_id, kept_s in self._scheduled.items()]
            heapq.heapify(self._due)

    def long_ago(self, now_s: float) -> str | None:
        """The one that was written first, if that is long ago; whoever asks schedules it again."""
        while self._due and now_s - self._due[0][0] >= KEEP_S:
            kept_s, operation_id = heapq.heappop(self._due)
            if self._scheduled.get(operation_id) == kept_s:
                del self._scheduled[operation_id]
                return operation_id
        return None

    def sanity_check(self, hub: Hub) -> None:
        """Raise AssertionError if something would not be looked at, or not in time."""
        due = set(self._due)
        if any((kept_s, operation_id) not in due for operation_id, kept_s in self._scheduled.items()):
            raise AssertionError("a series is scheduled and never due")
        if len(self._due) > 2 * len(self._scheduled) + SPARE + 1:
            raise AssertionError(f"{len(self._due)} series are due, and {len(self._scheduled)} are scheduled")
        claimed = {oid: record for oid, record in hub.records.items() if record.row.claim is not None}
        if claimed.keys() != self._scheduled.keys():
            raise AssertionError(f"series in hand: {claimed.keys() ^ self._scheduled.keys()}")
        for operation_id, record in claimed.items():
            if self._scheduled[operation_id] > record.kept_s:
                raise AssertionError(f"{operation_id}: its series is not written in time")
            if _ahead(record) > 0.0 and operation_id not in self.moved:
                raise AssertionError(f"{operation_id}: it has moved, and that is not written")
        if lost := self.recalled.keys() - (hub.records.keys() - hub.live):
            raise AssertionError(f"recalled operations that are not here, or live: {lost}")
        finished = hub.records.keys() - hub.live - self.recalled.keys()
        if self.finished.keys() != finished:
            raise AssertionError(f"finished operations: {self.finished.keys() ^ finished}")


def _ahead(record: Record) -> float:
    """How much more was shown than the journal has, if its owner has said anything."""
    latest = record.operation.latest
    if record.merge.owner is None:
        return 0.0
    return record.merge.shown - (latest.done if latest is not None else 0.0)


def checkpoint(hub: Hub, now: Now) -> list[Command]:
    """Have what is shown of running operations written now and then: a bar goes on where it was after a restart.

    Not more than CHECKPOINT_ROWS at once, those that moved most first: the journal is for outcomes.
    """
    keeping = hub.keeping
    if now.mono_s - keeping.checkpoint_s < CHECKPOINT_S or hub.log.failing is not None or hub.log.pending:
        return []
    keeping.checkpoint_s = now.mono_s
    records = _moved_most(hub)
    for record in records:
        record.change_operation(latest=hub.shown(record, record.operation.at_seq, now))
    # Of what stands still as well: that it does is what its series says.
    long = _written_long_ago(hub, now)
    for record in long:
        record.kept_s = now.mono_s
        keeping.schedule(record.operation.operation_id, record.kept_s)
    series = [(record.operation.operation_id, record.performance(now)) for record in long]
    return [hub.log.commit((record.row for record in records), (), (), series)] if records or series else []


def _moved_most(hub: Hub) -> list[Record]:
    """Those to be written now; the others that have moved stay in the table."""
    moved = []
    waiting: dict[str, None] = {}
    for operation_id in hub.keeping.moved:
        record = hub.records.get(operation_id)
        if record is None or record.row.claim is None:
            continue
        if operation_id not in hub.log.committed:
            waiting[operation_id] = None
            continue
        ahead = _ahead(record)
        if ahead > 0.0 and record.merge.owner is not None:
            moved.append((ahead / (record.merge.owner.total or record.merge.shown), operation_id))
    moved.sort(reverse=True)
    hub.keeping.moved = waiting | dict.fromkeys(operation_id for _, operation_id in moved[CHECKPOINT_ROWS:])
    return [hub.records[operation_id] for _, operation_id in moved[:CHECKPOINT_ROWS]]


def _written_long_ago(hub: Hub, now: Now) -> list[Record]:
    found: list[Record] = []
    uncommitted: list[Record] = []
    while len(found) < CHECKPOINT_ROWS and (operation_id := hub.keeping.long_ago(now.mono_s)) is not None:
        record = hub.records.get(operation_id)
        if record is not None and record.row.claim is not None:
            (found if operation_id in hub.log.committed else uncommitted).append(record)
    for record in uncommitted:
        hub.keeping.schedule(record.operation.operation_id, record.kept_s)
    return found


def forget_old(hub: Hub, now: Now) -> None:
    """Bounded history: finished operations leave memory by age and number, children before parents."""
    # Here and not where they are recalled: all that one request speaks of stays until it is answered.
    recalled = hub.keeping.recalled
    for operation_id in list(itertools.islice(recalled, max(0, len(recalled) - RECALLED_LIMIT))):
        hub.forget(hub.records[operation_id])
    finished = hub.keeping.finished
    limit_ms = now.wall_ms - hub.settings.finished_keep_s * 1000
    for operation_id in list(itertools.islice(finished, FORGET_AT_ONCE)):
        record = hub.records[operation_id]
        ended_ms = record.operation.ended_at_ms or 0
        if len(finished) <= hub.settings.finished_keep and ended_ms > limit_ms:
            break
        del finished[operation_id]
        committed = hub.log.committed.get(operation_id)
        if hub.children.get(operation_id) or committed is None or committed.state not in TERMINAL_STATES:
            # It is looked at again after the others.
            finished[operation_id] = None
            continue
        hub.forget(record)
