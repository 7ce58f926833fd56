"""Verdicts: what is lost, doubled or other than it was is found, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.core.simulation.plan import Outcome
from rfm_runtime.core.simulation.verdict import Performed, Tally, judge
from rfm_runtime.protocol.operation import OperationState

outcomes: list[Outcome] = ["completed", "failed", "canceled"]


def one(number: int, expected: Outcome = "completed", kind: str = "k") -> Performed:
    return Performed(f"id{number}", kind, f"name {number}", expected)


@given(st.lists(st.tuples(st.sampled_from(outcomes), st.sampled_from("abc"))))
def test_a_server_that_tells_everything_once_agrees(made: list[tuple[Outcome, str]]) -> None:
    performed = [one(i, expected, kind) for i, (expected, kind) in enumerate(made)]
    listed = [(p.operation_id, p.expected) for p in performed]
    verdict = judge(performed, [*listed, ("other", "running")], {p.operation_id: 1 for p in performed}, unbroken=True)
    assert verdict.differences == ()
    assert list(verdict.kinds) == sorted({kind for _, kind in made})
    total = verdict.total
    assert total.started == len(made) == total.completed + total.failed + total.canceled
    assert (total.lost, total.doubled) == (0, 0)


@pytest.mark.parametrize(
    ("listed", "told", "found", "tally"),
    [
        ([], 0, "is not there", Tally(1, lost=1)),
        ([], 1, "is not there", Tally(1, lost=1)),
        (["running"], 0, "is running", Tally(1, lost=1)),
        (["failed"], 1, "is failed", Tally(1, failed=1)),
        (["completed"], 2, "was told to be over 2 times", Tally(1, completed=1, doubled=1)),
        (["completed"], 0, "was never told to be over", Tally(1, completed=1, lost=1)),
        (["completed", "failed"], 1, "is there 2 times: completed, failed", Tally(1, 1, 1, doubled=1)),
        (["completed"], 1, "", Tally(1, completed=1)),
    ],
)
def test_every_difference_is_found(listed: list[OperationState], told: int, found: str, tally: Tally) -> None:
    verdict = judge([one(1)], [("id1", state) for state in listed], {"id1": told}, unbroken=True)
    assert [difference.found for difference in verdict.differences] == ([found] if found else [])
    assert verdict.total == tally == verdict.kinds["k"]


def test_what_a_watcher_missed_while_it_was_away_proves_nothing() -> None:
    verdict = judge([one(1)], [("id1", "completed")], {}, unbroken=False)
    assert verdict.differences == ()
    assert verdict.total.lost == 0


def test_nothing_begun_is_nothing_wrong() -> None:
    verdict = judge([], [], {}, unbroken=True)
    assert (verdict.total, verdict.differences) == (Tally(), ())
