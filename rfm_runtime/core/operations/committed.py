"""The committed state: what may be said about each operation, by id and in the orders in which it is listed.

Kept up to date with every commit, so that a page costs what a page is. One per `Log`, touched by nobody else.
"""

from __future__ import annotations

import heapq
from bisect import bisect_left, bisect_right, insort
from collections.abc import Collection, Iterable, Iterator

from rfm_runtime.protocol.operation import Operation

__all__ = ["Committed", "Place"]

Place = tuple[int, str]
"""(minus the ms of its submission, id): where it stands in a list, newest first."""


def _place(operation: Operation) -> Place:
    return -operation.created_at_ms, operation.operation_id


class Committed:
    """Operations by id. Lists are of one state each, since that is what most are asked for by.

    Those that are put aside are known by their ids alone: no list, page or count has them.
    """

    def __init__(self, operations: Iterable[Operation]) -> None:
        self._by_id = {operation.operation_id: operation for operation in operations}
        self._aside: dict[str, Operation] = {}
        self._ids = sorted(self._by_id)
        self._lists: dict[str, list[Place]] = {}
        for operation in self._by_id.values():
            self._lists.setdefault(operation.state, []).append(_place(operation))
        for places in self._lists.values():
            places.sort()

    def __len__(self) -> int:
        return len(self._by_id)

    def __contains__(self, operation_id: str) -> bool:
        return operation_id in self._by_id or operation_id in self._aside

    def __getitem__(self, operation_id: str) -> Operation:
        found = self._by_id.get(operation_id)
        return self._aside[operation_id] if found is None else found

    def get(self, operation_id: str) -> Operation | None:
        """The operation, None if nothing may be said of it."""
        return self._by_id.get(operation_id) or self._aside.get(operation_id)

    def put_aside(self, operation: Operation) -> None:
        """It may be spoken of, and is listed no more."""
        self._aside[operation.operation_id] = operation

    def put(self, operation: Operation) -> None:
        """It is new, or has become this."""
        self._aside.pop(operation.operation_id, None)
        known = self._by_id.get(operation.operation_id)
        self._by_id[operation.operation_id] = operation
        if known is None:
            insort(self._ids, operation.operation_id)
        elif (known.state, known.created_at_ms) == (operation.state, operation.created_at_ms):
            return
        else:
            self._strike(known)
        insort(self._lists.setdefault(operation.state, []), _place(operation))

    def drop(self, operation_id: str) -> None:
        """Say nothing of it any more."""
        self._aside.pop(operation_id, None)
        known = self._by_id.pop(operation_id, None)
        if known is not None:
            del self._ids[bisect_left(self._ids, operation_id)]
            self._strike(known)

    def _strike(self, known: Operation) -> None:
        places = self._lists[known.state]
        del places[bisect_left(places, _place(known))]

    def counts(self) -> dict[str, int]:
        """How many are in each state; states that none is in are left out."""
        return {state: len(places) for state, places in self._lists.items() if places}

    def after(self, operation_id: str, limit: int) -> list[Operation]:
        """The next `limit` in the order of ids."""
        begin = bisect_right(self._ids, operation_id)
        return [self._by_id[found] for found in self._ids[begin : begin + limit]]

    def newest(self, states: Collection[str] | None, after: Place | None) -> Iterator[Operation]:
        """Those in these states (None: all) that stand behind `after`, the newest first. To be read at once."""
        chosen = [places for state, places in self._lists.items() if states is None or state in states]
        lists = (_from(places, 0 if after is None else bisect_right(places, after)) for places in chosen)
        return (self._by_id[operation_id] for _, operation_id in heapq.merge(*lists))

    def sanity_check(self) -> None:
        """Raise AssertionError if an order is not that of the operations."""
        if self._ids != sorted(self._ids) or set(self._ids) != self._by_id.keys():
            raise AssertionError("committed operations: ids are missing or out of order")
        if sum(map(len, self._lists.values())) != len(self._by_id):
            raise AssertionError("committed operations: one is in two lists, or in none")
        if both := self._aside.keys() & self._by_id.keys():
            raise AssertionError(f"committed operations: put aside, and listed: {both}")
        for state, places in self._lists.items():
            if places != sorted(places):
                raise AssertionError(f"committed operations: the list of {state} is out of order")
            for created_ms, operation_id in places:
                operation = self._by_id[operation_id]
                if operation.state != state or operation.created_at_ms != -created_ms:
                    raise AssertionError(f"committed operations: {operation_id} is not where {state} is listed")


def _from(places: list[Place], begin: int) -> Iterator[Place]:
    """Without passing over what stands before."""
    return (places[index] for index in range(begin, len(places)))
