"""Operations in rows: which are shown, in which order, and which of them have changed.

Rows do not jump: what changes stays where it is, what is new comes on top, and rows go to where they belong only when
`settle` is called, which a view does while nobody points at them. So a change costs the same with ten rows and with
twenty thousand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from rfm_runtime.protocol.operation import TERMINAL_STATES, Operation, OperationState

__all__ = ["EVERYTHING", "Board", "Filter", "Rows"]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which operations are shown. text: in name, kind, owner, id or labels, whatever the case; words are joined by
    *and*. states: None is all.
    """

    text: str = ""
    states: frozenset[OperationState] | None = None
    kinds: frozenset[str] | None = None
    owner: str | None = None

    def passes(self, operation: Operation) -> bool:
        """Whether it is shown."""
        if self.states is not None and operation.state not in self.states:
            return False
        if self.kinds is not None and operation.kind not in self.kinds:
            return False
        if self.owner is not None and operation.owner != self.owner:
            return False
        if not self.text:
            return True
        labels = " ".join(f"{key}={value}" for key, value in operation.labels.items())
        known = f"{operation.name} {operation.kind} {operation.owner} {operation.operation_id} {labels}".casefold()
        return all(word in known for word in self.text.casefold().split())


EVERYTHING = Filter()


class Rows(Protocol):
    """Who shows the rows of a board. Rows are counted from the top; each call with `-ing` is followed by its other."""

    def inserting(self, count: int) -> None:
        """So many rows will be put on top."""
        ...

    def inserted(self) -> None:
        """They are there."""
        ...

    def changed(self, rows: Iterable[int]) -> None:
        """These have other contents."""
        ...

    def reordering(self) -> None:
        """Rows will go, come or move."""
        ...

    def reordered(self) -> None:
        """They have."""
        ...


class Board:
    """Operations by id, and the ids in rows. `shown`: who shows them."""

    def __init__(self) -> None:
        self.operations: dict[str, Operation] = {}
        self.filter = EVERYTHING
        self.shown: Rows | None = None
        # From the bottom up: what is new is appended, and no other row gets another number.
        self._ids: list[str] = []
        self._numbers: dict[str, int] = {}
        self._settled = True

    def __len__(self) -> int:
        return len(self._ids)

    def at(self, row: int) -> Operation:
        """The operation in a row."""
        return self.operations[self._ids[len(self._ids) - 1 - row]]

    def row(self, operation_id: str) -> int | None:
        """Where it is shown, None if it is not."""
        number = self._numbers.get(operation_id)
        return None if number is None else len(self._ids) - 1 - number

    @property
    def is_settled(self) -> bool:
        """Whether every row is where it belongs."""
        return self._settled

    def take(self, changed: Mapping[str, Operation], gone: Iterable[str] = ()) -> None:
        """Take the newest of some operations, and forget others."""
        gone = [operation_id for operation_id in gone if operation_id in self.operations]
        for operation_id in gone:
            del self.operations[operation_id]
        before = {operation_id: self.operations.get(operation_id) for operation_id in changed}
        self.operations.update(changed)
        if any(operation_id in self._numbers for operation_id in gone):
            self._arrange()
        fresh = []
        rows = []
        for operation_id, operation in changed.items():
            number = self._numbers.get(operation_id)
            if number is not None:
                rows.append(len(self._ids) - 1 - number)
                old = before[operation_id]
                self._settled &= old is not None and _rank(old) == _rank(operation) and self.filter.passes(operation)
            elif self.filter.passes(operation):
                fresh.append(operation)
        if rows and self.shown is not None:
            self.shown.changed(rows)
        if fresh:
            self._add(fresh)

    def show(self, wanted: Filter) -> None:
        """Show these only."""
        if wanted != self.filter:
            self.filter = wanted
            self._arrange()

    def settle(self) -> None:
        """Put every row where it belongs, and leave out what passes no longer."""
        if not self._settled:
            self._arrange()

    def clear(self) -> None:
        """Forget everything: another server has others."""
        self.operations.clear()
        self._arrange()

    def _add(self, fresh: list[Operation]) -> None:
        fresh.sort(key=_rank)
        if self.shown is not None:
            self.shown.inserting(len(fresh))
        top = _rank(self.operations[self._ids[-1]]) if self._ids else None
        for operation in fresh:
            self._numbers[operation.operation_id] = len(self._ids)
            self._ids.append(operation.operation_id)
        self._settled &= top is None or top <= _rank(fresh[0])
        if self.shown is not None:
            self.shown.inserted()

    def _arrange(self) -> None:
        if self.shown is not None:
            self.shown.reordering()
        passing = [operation for operation in self.operations.values() if self.filter.passes(operation)]
        passing.sort(key=_rank)
        self._ids = [operation.operation_id for operation in passing]
        self._numbers = {operation_id: number for number, operation_id in enumerate(self._ids)}
        self._settled = True
        if self.shown is not None:
            self.shown.reordered()


def _rank(operation: Operation) -> tuple[bool, int, str]:
    """The highest is on top: what is alive before what has ended, then what came or ended last."""
    if operation.state in TERMINAL_STATES:
        return False, operation.ended_at_ms or operation.created_at_ms, operation.operation_id
    return True, operation.created_at_ms, operation.operation_id
