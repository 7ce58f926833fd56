"""Rows: whatever happens, who shows them is told what they become, and none jumps."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec
import pytest
from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from rfm_runtime.protocol.operation import Operation, OperationState
from rfm_ui.model.board import Board, Filter

STATES: tuple[OperationState, ...] = ("queued", "running", "paused", "completed", "failed", "canceled")
IDS = [f"op-{k}" for k in range(8)]


def operation(
    operation_id: str, state: OperationState = "running", created_at_ms: int = 0, **more: object
) -> Operation:
    ended = created_at_ms + 5 if state in ("completed", "failed", "canceled") else None
    one = Operation(
        operation_id=operation_id,
        kind="render",
        name=f"name of {operation_id}",
        owner="ann",
        state=state,
        at_seq=1,
        created_at_ms=created_at_ms,
        ended_at_ms=ended,
    )
    return msgspec.structs.replace(one, **more)


class Shown:
    """A list that follows what it is told, as a view does, and counts rows that moved without a word."""

    def __init__(self, board: Board) -> None:
        self.board = board
        self.rows: list[Operation] = []
        self._count = 0

    def inserting(self, count: int) -> None:
        assert len(self.rows) == len(self.board)
        self._count = count

    def inserted(self) -> None:
        self.rows = [self.board.at(row) for row in range(self._count)] + self.rows

    def changed(self, rows: Iterable[int]) -> None:
        for row in rows:
            assert self.rows[row].operation_id == self.board.at(row).operation_id
            self.rows[row] = self.board.at(row)

    def reordering(self) -> None:
        self._count = 0

    def reordered(self) -> None:
        self.rows = [self.board.at(row) for row in range(len(self.board))]


class Boards(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.board = Board()
        self.shown = Shown(self.board)
        self.board.shown = self.shown

    @rule(
        changes=st.dictionaries(
            st.sampled_from(IDS), st.tuples(st.sampled_from(STATES), st.integers(0, 9)), max_size=4
        ),
        gone=st.sets(st.sampled_from(IDS), max_size=2),
    )
    def take(self, changes: dict[str, tuple[OperationState, int]], gone: set[str]) -> None:
        before = [one.operation_id for one in self.shown.rows]
        went = {one for one in gone if one in self.board.operations}

        self.board.take({i: operation(i, state, at) for i, (state, at) in changes.items() if i not in gone}, gone)

        if not went:
            after = [one.operation_id for one in self.shown.rows]
            assert after[len(after) - len(before) :] == before, "a row jumped"

    @rule(
        states=st.none() | st.frozensets(st.sampled_from(STATES)), text=st.sampled_from(["", "OP-1", "ann op-2", "zz"])
    )
    def show(self, states: frozenset[OperationState] | None, text: str) -> None:
        self.board.show(Filter(text=text, states=states))

    @rule()
    def settle(self) -> None:
        self.board.settle()

        passing = {i for i, one in self.board.operations.items() if self.board.filter.passes(one)}
        assert {one.operation_id for one in self.shown.rows} == passing
        alive = [one.ended_at_ms is None for one in self.shown.rows]
        assert alive == sorted(alive, reverse=True), "what has ended stands below what is alive"
        assert self.board.is_settled

    @invariant()
    def what_is_shown_is_what_is_known(self) -> None:
        assert self.shown.rows == [self.board.at(row) for row in range(len(self.board))]
        for row, one in enumerate(self.shown.rows):
            assert self.board.row(one.operation_id) == row
            assert one == self.board.operations[one.operation_id]
        missing = {
            i for i, one in self.board.operations.items() if self.board.filter.passes(one) and self.board.row(i) is None
        }
        # What began to pass while it was not shown waits for the next settling, and nothing else does.
        assert not missing or not self.board.is_settled


TestBoards = Boards.TestCase
TestBoards.settings = settings(max_examples=200, stateful_step_count=30)


@pytest.mark.parametrize(
    ("text", "found"),
    [
        ("", True),
        ("NAME of", True),
        ("ann render", True),
        ("team=blue", True),
        ("blue bob", False),
        ("op-7", True),
    ],
)
def test_words_are_looked_for_everywhere(text: str, found: bool) -> None:
    one = operation("op-7", labels={"team": "blue"})

    assert Filter(text=text).passes(one) is found


def test_what_changes_stays_where_it_is() -> None:
    board = Board()
    board.take({i: operation(i, created_at_ms=k) for k, i in enumerate(IDS)})

    board.take({"op-3": operation("op-3", "completed", 3)})

    assert board.row("op-3") == 4
    assert not board.is_settled
    board.settle()
    assert board.row("op-3") == 7
