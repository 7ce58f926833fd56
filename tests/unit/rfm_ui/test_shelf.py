"""What a progress manager shows: all that is alive, as far as there is room, and for a moment what has ended."""

from __future__ import annotations

import pytest

from rfm_runtime.protocol.operation import Operation, OperationState
from rfm_ui.model.shelf import ENDED_S, Shelf


def operation(number: int, state: OperationState = "running") -> Operation:
    return Operation(
        operation_id=f"op-{number}", kind="loop", name=f"n{number}", owner="ann", state=state, at_seq=1, created_at_ms=0
    )


def names(shelf: Shelf) -> list[str]:
    return [one.name for one in shelf.shown]


@pytest.mark.parametrize(
    ("state", "at_s", "stays"),
    [
        ("completed", ENDED_S - 0.1, True),
        ("completed", ENDED_S, False),
        ("failed", 30.0, True),
        ("canceled", 6.0, False),
    ],
)
def test_what_has_ended_is_seen_for_a_moment(state: OperationState, at_s: float, stays: bool) -> None:
    shelf = Shelf(3)
    shelf.take({"op-1": operation(1)}, (), 0.0)
    shelf.take({"op-1": operation(1, state)}, (), 0.0)

    shelf.tick(at_s)

    assert names(shelf) == (["n1"] if stays else [])


def test_what_had_ended_before_is_no_news() -> None:
    shelf = Shelf(3)

    shelf.take({"op-1": operation(1, "completed"), "op-2": operation(2)}, (), 0.0)

    assert names(shelf) == ["n2"]


def test_where_room_is_scarce_what_is_alive_has_it() -> None:
    shelf = Shelf(2)
    shelf.take({f"op-{k}": operation(k) for k in range(4)}, (), 0.0)
    assert (names(shelf), shelf.more) == (["n0", "n1"], 2)

    shelf.take({"op-0": operation(0, "completed")}, (), 1.0)

    assert (names(shelf), shelf.more) == (["n1", "n2"], 1)
    shelf.take({}, ["op-1", "op-2"], 1.0)
    assert (names(shelf), shelf.more) == (["n0", "n3"], 0)
