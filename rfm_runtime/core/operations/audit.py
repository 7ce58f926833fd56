"""Whether a journal keeps what it promises: the log has no gap, each operation has one outcome, rows agree with events.

Pure: whoever reads the journal hands over its events in their order, then its rows. Memory is O(operations).
"""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass

from rfm_runtime.core.operations.record import StoredOperation
from rfm_runtime.protocol.operation import TERMINAL_EVENTS, TERMINAL_STATES, OperationEvent

__all__ = ["Audit"]

FOUND_LIMIT = 100
"""Findings that are told; of more there is the number."""


@dataclass(slots=True)
class _Told:
    """What the events of one operation say. events: how many."""

    last: OperationEvent
    first_type: str
    outcomes: int = 0
    events: int = 0


class Audit:
    """forgotten_seq: up to there the events of operations that were forgotten are missing."""

    def __init__(self, forgotten_seq: int) -> None:
        self.found: list[str] = []
        self.count = 0
        self.events = 0
        self.operations: Counter[str] = Counter()
        self._forgotten_seq = forgotten_seq
        self._head: int | None = None
        self._told: dict[str, _Told] = {}
        self._keys: dict[tuple[str, str], str] = {}
        self._ids: set[str] = set()
        self._parents: dict[str, str] = {}

    def _say(self, what: str) -> None:
        self.count += 1
        if self.count <= FOUND_LIMIT:
            self.found.append(what)

    def event(self, seq: int, event: OperationEvent) -> None:
        """The next one of the log."""
        self.events += 1
        if event.seq != seq:
            self._say(f"event {seq} says that it is {event.seq}")
        before = self._head
        expected = max(self._forgotten_seq, 0 if before is None else before) + 1
        if seq > expected:
            missing = f"event {expected} is" if seq == expected + 1 else f"events {expected} to {seq - 1} are"
            self._say(f"{missing} missing")
        elif before is not None and seq <= before:
            self._say(f"event {seq} comes after {before}")
        self._head = seq
        told = self._told.get(event.operation_id)
        if told is None:
            told = self._told[event.operation_id] = _Told(event, event.type)
        elif told.outcomes and event.type not in TERMINAL_EVENTS:
            self._say(f"{event.operation_id}: {event.type} (event {seq}) after its outcome")
        told.last = event
        told.events += 1
        if event.type in TERMINAL_EVENTS:
            told.outcomes += 1
            if told.outcomes == 2:
                self._say(f"{event.operation_id}: a second outcome, {event.type} (event {seq})")

    def row(self, operation_id: str, state: str, row: StoredOperation) -> None:
        """An operation, after all events. state: as the column has it."""
        operation = row.operation
        self.operations[operation.state] += 1
        self._ids.add(operation_id)
        if operation.operation_id != operation_id or operation.state != state:
            self._say(f"{operation_id}: the row is of {operation.operation_id} ({operation.state}, not {state})")
        key = (operation.owner, row.request_key)
        if (other := self._keys.setdefault(key, operation_id)) != operation_id:
            self._say(f"{operation_id}: has the request key of {other}")
        if operation.parent_id is not None:
            self._parents[operation_id] = operation.parent_id
        ended = operation.state in TERMINAL_STATES
        if ended and (row.claim is not None or operation.ended_at_ms is None or operation.latest is None):
            self._say(f"{operation_id}: {operation.state}, but not brought to its end")
        if operation.state in ("running", "cancelling") and row.claim is None:
            self._say(f"{operation_id}: {operation.state} by nobody")
        self._against_events(operation_id, row, ended=ended)

    def _against_events(self, operation_id: str, row: StoredOperation, *, ended: bool) -> None:
        told, operation = self._told.pop(operation_id, None), row.operation
        if told is None:
            self._say(f"{operation_id}: {operation.state}, and no event says so")
            return
        if told.first_type != "operation_accepted":
            self._say(f"{operation_id}: its first event is {told.first_type}")
        if told.last.state != operation.state or told.last.seq != operation.at_seq:
            self._say(
                f"{operation_id}: {operation.state} as of event {operation.at_seq}, "
                f"but its last event is {told.last.seq} ({told.last.state})"
            )
        if ended != (told.outcomes > 0):
            self._say(f"{operation_id}: {operation.state} with {told.outcomes} outcomes")

    def end(self, head: int) -> None:
        """Everything was handed over. head: number of the newest event that the journal knows of."""
        for operation_id, told in self._told.items():
            self._say(f"{operation_id}: {told.events} events, and no operation")
        for operation_id, parent_id in self._parents.items():
            if parent_id not in self._ids:
                self._say(f"{operation_id}: its parent {parent_id} is not there")
        newest = max(self._forgotten_seq, self._head or 0)
        if newest != head:
            self._say(f"the log ends at {newest}, not at {head}")
