"""Operations in rows: which are shown, in which order, and which of them have changed.

Rows do not jump: what changes stays where it is, what is new comes on top, and rows go to where they belong only when
`settle` is called, which a view does while nobody points at them. So a change costs the same with ten rows and with
twenty thousand.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Protocol

from rfm_runtime.protocol.operation import Operation, OperationState
from rfm_ui.model.ordering import BY_PROGRESS, Order, chain, is_upwards, rank
from rfm_ui.model.search import known_text, parsed

__all__ = ["EVERYTHING", "Board", "Filter", "Rows", "runs"]


@dataclass(frozen=True, slots=True)
class Filter:
    """Which operations are shown. text: as it is typed, see `search`. states: None is all. me: who looks."""

    text: str = ""
    states: frozenset[OperationState] | None = None
    me: str = ""

    def passes(self, operation: Operation, text: str | None = None) -> bool:
        """Whether it is shown. text: its `known_text`, where somebody has it."""
        if self.states is not None and operation.state not in self.states:
            return False
        wanted = parsed(self.text)
        return not wanted.terms or wanted.passes(operation, known_text(operation) if text is None else text, self.me)


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


def runs(rows: Iterable[int]) -> list[tuple[int, int]]:
    """Rows that rise, as (first, last) of those without a gap."""
    found: list[tuple[int, int]] = []
    for row in rows:
        if found and found[-1][1] == row - 1:
            found[-1] = found[-1][0], row
        else:
            found.append((row, row))
    return found


class Board:
    """Operations by id, and the ids in rows. `shown`: who shows them."""

    def __init__(self) -> None:
        self.operations: dict[str, Operation] = {}
        self.filter = EVERYTHING
        self.order: Order = "newest"
        self._texts: dict[str, str] = {}
        self._parts: dict[str, dict[str, None]] = {}
        self.shown: Rows | None = None
        # From the bottom up: what is new is appended, and no other row gets another number.
        self._ids: list[str] = []
        self._numbers: dict[str, int] = {}
        self._settled = True

    def __len__(self) -> int:
        return len(self._ids)

    def at(self, row: int) -> Operation:
        """The operation in a row."""
        return self.operations[self.id_at(row)]

    def id_at(self, row: int) -> str:
        """Its id, also of one that has gone and whose row is about to."""
        return self._ids[len(self._ids) - 1 - row]

    def row(self, operation_id: str) -> int | None:
        """Where it is shown, None if it is not."""
        number = self._numbers.get(operation_id)
        return None if number is None else len(self._ids) - 1 - number

    @property
    def is_settled(self) -> bool:
        """Whether every row is where it belongs."""
        return self._settled

    def parts(self, operation_id: str) -> list[Operation]:
        """The operations that are known to be part of one, as they came."""
        return [self.operations[part] for part in self._parts.get(operation_id, ()) if part in self.operations]

    def take(self, changed: Mapping[str, Operation], gone: Iterable[str] = ()) -> None:
        """Take the newest of some operations, and forget others."""
        gone = [operation_id for operation_id in gone if operation_id in self.operations]
        self._forget(gone)
        before = {operation_id: self.operations.get(operation_id) for operation_id in changed}
        self.operations.update(changed)
        self._learn(changed)
        if any(operation_id in self._numbers for operation_id in gone):
            self._arrange()
        fresh, rows = [], []
        for operation_id, operation in changed.items():
            number = self._numbers.get(operation_id)
            if number is not None:
                rows.append(len(self._ids) - 1 - number)
                self._settled = self._settled and self._stays(before[operation_id], operation)
            elif self._passes(operation):
                fresh.append(operation)
            if self._settled and self.order == "parts" and operation_id in self._parts:
                # Its parts go where it goes, whether it is shown or not.
                self._settled = self._stays(before[operation_id], operation)
        if rows and self.shown is not None:
            self.shown.changed(rows)
        if fresh:
            self._add(fresh)

    def show(self, wanted: Filter) -> None:
        """Show these only."""
        if wanted != self.filter:
            self.filter = wanted
            self._arrange()

    def sort(self, order: Order) -> None:
        """Show them in this order."""
        if order != self.order:
            self.order = order
            self._arrange()

    def settle(self) -> None:
        """Put every row where it belongs, and leave out what passes no longer."""
        if not self._settled:
            self._arrange()

    def clear(self) -> None:
        """Forget everything: another server has others."""
        self.operations.clear()
        self._parts.clear()
        self._texts.clear()
        self._arrange()

    def _learn(self, changed: Mapping[str, Operation]) -> None:
        """What of an operation never changes."""
        for operation_id, operation in changed.items():
            if operation_id not in self._texts:
                self._texts[operation_id] = known_text(operation)
                if operation.parent_id is not None:
                    self._parts.setdefault(operation.parent_id, {})[operation_id] = None

    def _forget(self, gone: Iterable[str]) -> None:
        for operation_id in gone:
            parent_id = self.operations.pop(operation_id).parent_id
            if parent_id is not None and parent_id in self._parts:
                self._parts[parent_id].pop(operation_id, None)
            self._parts.pop(operation_id, None)
            self._texts.pop(operation_id, None)

    def _passes(self, operation: Operation) -> bool:
        return self.filter.passes(operation, self._texts[operation.operation_id])

    def _stays(self, old: Operation | None, operation: Operation) -> bool:
        """Whether its row is where it belongs, if it was."""
        if old is None or not self._passes(operation):
            return False
        order, known = self.order, self.operations
        if order not in BY_PROGRESS and (old.state, old.priority) == (operation.state, operation.priority):
            # Of what is told most often nothing moves it.
            return True
        return rank(order, old, known) == rank(order, operation, known)

    def depth(self, operation: Operation) -> int:
        """How far its row is set in: below what it is part of."""
        return len(chain(operation, self.operations)) - 1 if self.order == "parts" else 0

    def _sorted(self, operations: list[Operation]) -> list[Operation]:
        """From the bottom up."""
        order, known = self.order, self.operations
        return sorted(operations, key=lambda one: rank(order, one, known), reverse=is_upwards(order))

    def _add(self, fresh: list[Operation]) -> None:
        fresh = self._sorted(fresh)
        if self.shown is not None:
            self.shown.inserting(len(fresh))
        top = self.operations[self._ids[-1]] if self._ids else None
        for operation in fresh:
            self._numbers[operation.operation_id] = len(self._ids)
            self._ids.append(operation.operation_id)
        self._settled &= top is None or self._sorted([top, fresh[0]])[0] is top
        if self.shown is not None:
            self.shown.inserted()

    def _arrange(self) -> None:
        if self.shown is not None:
            self.shown.reordering()
        passing = self._sorted([operation for operation in self.operations.values() if self._passes(operation)])
        self._ids = [operation.operation_id for operation in passing]
        self._numbers = {operation_id: number for number, operation_id in enumerate(self._ids)}
        self._settled = True
        if self.shown is not None:
            self.shown.reordered()
