"""In which order rows are, and that none moves before all are put where they belong."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rfm_runtime.protocol.operation import TERMINAL_STATES, Eta, Operation, OperationState, ProgressUpdate
from rfm_ui.model.board import Board, runs
from rfm_ui.model.ordering import ORDERS, WORDS, Order


def operation(
    name: str,
    *,
    state: OperationState = "running",
    at_ms: int = 0,
    priority: int = 0,
    progress: float = 0.0,
    rate: float | None = None,
    left_ms: int | None = None,
    parent_id: str | None = None,
) -> Operation:
    latest = ProgressUpdate(
        operation_id=name,
        rev=(1, 1),
        at_seq=1,
        measured_at_ms=1,
        done=progress,
        total=100.0,
        progress=progress,
        rate=rate,
        eta_ms=None if left_ms is None else Eta(p50=left_ms, p90=2 * left_ms),
    )
    return Operation(
        operation_id=name,
        kind="render",
        name=name,
        owner="ann",
        state=state,
        at_seq=1,
        created_at_ms=at_ms,
        ended_at_ms=at_ms + 5 if state in TERMINAL_STATES else None,
        priority=priority,
        latest=latest,
        parent_id=parent_id,
    )


KNOWN = [
    operation("delta", at_ms=1, progress=50.0, rate=2.0, left_ms=9000, priority=-5),
    operation("Alpha", at_ms=2, progress=10.0, rate=7.0, left_ms=100),
    operation("charlie", at_ms=3, progress=90.0, left_ms=None, priority=10),
    operation("bravo", state="completed", at_ms=4, progress=100.0, rate=99.0, priority=50),
]


def names(board: Board) -> list[str]:
    return [board.at(row).name for row in range(len(board))]


@pytest.mark.scenario("J94")
@pytest.mark.parametrize(
    ("order", "expected"),
    [
        ("newest", ["charlie", "Alpha", "delta", "bravo"]),
        ("progress", ["charlie", "delta", "Alpha", "bravo"]),
        ("rate", ["Alpha", "delta", "charlie", "bravo"]),
        ("time left", ["Alpha", "delta", "charlie", "bravo"]),
        ("priority", ["charlie", "Alpha", "delta", "bravo"]),
        ("name", ["Alpha", "bravo", "charlie", "delta"]),
        ("parts", ["charlie", "Alpha", "delta", "bravo"]),
    ],
)
def test_what_rows_are_sorted_by(order: Order, expected: list[str]) -> None:
    board = Board()
    board.take({one.operation_id: one for one in KNOWN})

    board.sort(order)

    assert names(board) == expected
    assert board.is_settled


def test_each_order_has_a_name() -> None:
    assert set(WORDS) == set(ORDERS)


states = st.sampled_from(["running", "queued", "completed", "failed"])
operations = st.lists(
    st.builds(
        operation,
        st.sampled_from([f"op-{k}" for k in range(9)]),
        state=states,
        at_ms=st.integers(0, 5),
        priority=st.integers(-2, 2),
        progress=st.sampled_from([0.0, 30.0, 60.0]),
        rate=st.none() | st.sampled_from([1.0, 2.0]),
        left_ms=st.none() | st.integers(0, 3),
        parent_id=st.none() | st.sampled_from([f"op-{k}" for k in range(9)]),
    ),
    max_size=12,
)


@pytest.mark.scenario("J94")
@given(operations, st.lists(operations, max_size=5), st.sampled_from(ORDERS))
def test_rows_move_only_when_they_are_put_where_they_belong(
    first: list[Operation], later: list[list[Operation]], order: Order
) -> None:
    board, other = Board(), Board()
    board.sort(order)
    other.sort(order)
    board.take({one.operation_id: one for one in first})
    for changes in later:
        before = [board.id_at(row) for row in range(len(board))]

        board.take({one.operation_id: one for one in changes})

        after = [board.id_at(row) for row in range(len(board))]
        assert after[len(after) - len(before) :] == before, "a row moved"
    was_settled = board.is_settled
    shown = names(board)
    board.settle()
    # As if all had come at once.
    other.take(board.operations)
    assert names(board) == names(other)
    assert not was_settled or shown == names(board), "what is said to be in its place is"


@given(st.sets(st.integers(0, 30)))
def test_runs_are_the_rows(rows: set[int]) -> None:
    found = runs(sorted(rows))

    assert {row for first, last in found for row in range(first, last + 1)} == rows
    assert all(last + 1 < first for (_first, last), (first, _last) in pairwise(found))


def test_parts_are_those_that_are_known() -> None:
    board = Board()
    part = replace(operation("part"), parent_id="delta")
    board.take({"delta": KNOWN[0], "part": part})
    assert board.parts("delta") == [part]

    board.take({}, ["part"])

    assert board.parts("delta") == []


@pytest.mark.scenario("J94")
def test_parts_stand_below_what_they_are_part_of() -> None:
    board = Board()
    board.sort("parts")
    board.take(
        {
            one.operation_id: one
            for one in (
                operation("old", at_ms=1),
                operation("new", at_ms=50),
                operation("second", at_ms=20, parent_id="old"),
                operation("first", at_ms=10, state="completed", parent_id="old"),
                operation("deep", at_ms=30, parent_id="first"),
                operation("lost", at_ms=40, parent_id="nobody"),
            )
        }
    )
    board.settle()
    assert names(board) == ["new", "lost", "old", "second", "first", "deep"]
    assert [board.depth(board.at(row)) for row in range(6)] == [0, 0, 0, 1, 1, 2]

    # All of it goes below what lives.
    board.take({"old": operation("old", at_ms=1, state="completed")})
    assert not board.is_settled
    board.settle()
    assert names(board) == ["new", "lost", "old", "second", "first", "deep"]
    board.take({"late": operation("late", at_ms=0)})
    board.settle()
    assert names(board) == ["new", "lost", "late", "old", "second", "first", "deep"]


def test_what_is_part_of_itself_harms_nobody() -> None:
    board = Board()
    board.sort("parts")

    board.take({"a": operation("a", parent_id="b"), "b": operation("b", parent_id="a")})

    board.settle()
    assert sorted(names(board)) == ["a", "b"]
