"""Plans: the seed says everything, shares are kept, progress never goes back, everything ends."""

from __future__ import annotations

import hashlib
import random
from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.core.simulation.kinds import KINDS
from rfm_runtime.core.simulation.plan import Simulated, plan, position

seeds = st.integers(0, 2**32)
counts = st.integers(1, 60)


def planned(seed: int, count: int, *, fail: float = 0.02, cancel: float = 0.03) -> tuple[Simulated, ...]:
    return plan(random.Random(seed), count, duration_s=10.0, fail_share=fail, cancel_share=cancel)


@given(seeds, counts)
def test_the_same_seed_is_the_same_plan(seed: int, count: int) -> None:
    assert planned(seed, count) == planned(seed, count)


def test_a_seed_means_the_same_for_ever_and_everywhere() -> None:
    told = [
        (one.kind.name, one.name, one.amount, one.course, one.begins_s, one.ends_s, one.every_s, one.outcome)
        for one in planned(7, 500)
    ]
    assert hashlib.sha256(repr(told).encode()).hexdigest()[:16] == "c2dcaa61dd4ff284"


def test_another_seed_is_another_plan() -> None:
    assert planned(1, 20) != planned(2, 20)


@given(seeds, st.integers(1, 400), st.floats(0.0, 1.0), st.floats(0.0, 1.0))
def test_shares_are_kept_up_to_one_operation(seed: int, count: int, fail: float, rest: float) -> None:
    cancel = rest * (1.0 - fail)
    found = Counter(one.outcome for one in planned(seed, count, fail=fail, cancel=cancel))
    assert abs(found["failed"] - count * fail) <= 1.0
    assert abs(found["canceled"] - count * cancel) <= 1.0


@pytest.mark.scenario("B4")
def test_ninety_five_of_a_hundred_succeed_three_are_cancelled_two_fail() -> None:
    for count in (100, 1000, 10_000):
        found = Counter(one.outcome for one in planned(count, count))
        assert found["completed"] == pytest.approx(0.95 * count, abs=2)
        assert found["canceled"] == pytest.approx(0.03 * count, abs=1)
        assert found["failed"] == pytest.approx(0.02 * count, abs=1)


@given(seeds, counts)
def test_all_or_nothing_is_possible(seed: int, count: int) -> None:
    for fail, cancel, outcome in ((1.0, 0.0, "failed"), (0.0, 1.0, "canceled"), (0.0, 0.0, "completed")):
        assert {one.outcome for one in planned(seed, count, fail=fail, cancel=cancel)} == {outcome}


@given(seeds, counts)
def test_kinds_are_as_frequent_as_each_other(seed: int, count: int) -> None:
    found = Counter(one.kind.name for one in planned(seed, count))
    assert max(found.values()) - min(found[kind.name] for kind in KINDS) <= 1


@given(seeds, counts)
def test_everything_begins_and_ends_in_time(seed: int, count: int) -> None:
    made = planned(seed, count, fail=0.3, cancel=0.3)
    assert [one.begins_s for one in made] == sorted(one.begins_s for one in made)
    assert made[0].begins_s == 0.0
    assert len({one.name for one in made}) == count
    for one in made:
        assert 0.0 <= one.begins_s <= 5.0
        assert 0.0 < one.ends_s <= one.duration_s <= 60.0
        assert (one.ends_s == one.duration_s) == (one.outcome == "completed")
        assert (one.fault in one.kind.faults) == (one.outcome == "failed")
        assert one.every_s > 0.0
        assert one.kind.amount[0] <= one.amount <= one.kind.amount[1]


@given(seeds, st.lists(st.floats(0.0, 100.0), min_size=2, max_size=50))
def test_progress_never_goes_back(seed: int, times_s: list[float]) -> None:
    for one in planned(seed, 5, fail=0.3, cancel=0.3):
        found = [position(one, time_s) for time_s in sorted(times_s)]
        steps = [(at.share, at.leaf, at.done) for at in found]
        assert steps == sorted(steps)
        # Within a part; the next one begins at nothing.
        inside = [(at.leaf, at.within) for at in found]
        assert inside == sorted(inside)
        assert all(0.0 <= at.within <= 1.0 and 0 <= at.done <= one.amount for at in found)


@given(seeds)
def test_what_completes_is_done_and_what_fails_is_not(seed: int) -> None:
    for one in planned(seed, 10, fail=0.5, cancel=0.0):
        at = position(one, one.ends_s)
        assert position(one, one.ends_s + 100.0) == at
        if one.outcome == "completed":
            assert (at.share, at.leaf, at.within, at.done) == (1.0, len(one.leaves) - 1, 1.0, one.amount)
        else:
            assert at.leaf < len(one.leaves)
            assert at.share <= 1.0


def test_what_is_to_be_cancelled_works_on_until_it_hears_of_it() -> None:
    one = next(one for one in planned(3, 10, cancel=1.0, fail=0.0) if one.kind.name == "video_encoding")
    assert position(one, one.duration_s).share > position(one, one.ends_s).share
