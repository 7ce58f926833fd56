"""Courses never fall, durations have a long tail, and an order is an order."""

from __future__ import annotations

import itertools
import random
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.core.simulation.course import (
    Course,
    Random,
    along,
    bursts,
    even,
    shuffled,
    slowing,
    stalls,
    stretch,
)

seeds = st.integers(0, 2**32)


class Edge:
    """All numbers that a generator may give first or last."""

    def __init__(self, value: float) -> None:
        self.value = value

    def random(self) -> float:
        return self.value


rngs = st.one_of(seeds.map(random.Random), st.sampled_from([0.0, 1.0 - 2**-53, 0.5]).map(Edge))


@pytest.mark.parametrize("shape", [even, slowing, bursts, stalls])
@given(rng=rngs, times=st.lists(st.floats(-0.5, 1.5), min_size=2))
def test_a_course_leads_from_nothing_to_everything_and_never_falls(
    shape: Callable[[Random], Course], rng: Random, times: list[float]
) -> None:
    course = shape(rng)
    assert (course[0], course[-1]) == ((0.0, 0.0), (1.0, 1.0))
    assert list(course) == sorted(course)
    assert [y for _, y in course] == sorted(y for _, y in course)
    shares = [along(course, time) for time in sorted(times)]
    assert shares == sorted(shares)
    assert (along(course, 0.0), along(course, 1.0)) == (0.0, 1.0)
    assert all(0.0 <= share <= 1.0 for share in shares)


def test_a_stall_stands_still_and_a_burst_does_much_at_once() -> None:
    for shape in (stalls, bursts):
        course = shape(random.Random(1))
        assert any(y == next_y for (_, y), (_, next_y) in itertools.pairwise(course))


def test_half_of_the_durations_are_near_the_typical_one_and_some_are_far_above() -> None:
    rng = random.Random(1)
    found = sorted(stretch(rng) for _ in range(10_000))
    assert 0.2 <= found[0] <= found[-1] <= 6.0
    assert found[5000] == pytest.approx(1.0, abs=0.03)
    assert found[2500] == pytest.approx(0.67, abs=0.03)
    assert found[9900] > 3.0


@given(rngs, st.integers(0, 200))
def test_an_order_has_everything_once(rng: Random, count: int) -> None:
    assert sorted(shuffled(rng, count)) == list(range(count))
