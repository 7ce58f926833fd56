"""Experience: learns from what was completed, keeps little, survives garbage, and says how wrong it was."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.core.operations.experience import (
    DECILES,
    KINDS_LIMIT,
    NAME_ENOUGH,
    RUNS_LIMIT,
    SCORES_LIMIT,
    Experience,
    Mark,
    run_of,
)
from rfm_runtime.protocol.history import Performance, Point

pytestmark = pytest.mark.scenario("J22")

TOTAL = 50.0


def series(power: float = 1.0, seconds: int = 50, total: float | None = TOTAL, **fields) -> Performance:
    points = tuple(Point(1000 * t, TOTAL * (t / seconds) ** power) for t in range(seconds + 1))
    return Performance(points=points, total=total, **fields)


def mark(decile: int, estimate_s: float, p90_s: float | None = None) -> Mark:
    return Mark(decile, 0.0, estimate_s, estimate_s, estimate_s if p90_s is None else p90_s)


def learned(*runs: Performance, name: str = "") -> Experience:
    experience = Experience()
    for run in runs:
        experience.learn("k", name, run)
    return experience


garbage = st.builds(
    Performance,
    points=st.lists(
        st.builds(Point, st.integers(-(2**63), 2**63), st.floats(allow_nan=True, allow_infinity=True)), max_size=40
    ).map(tuple),
    total=st.none() | st.floats(allow_nan=True, allow_infinity=True),
    paused_ms=st.integers(-(2**63), 2**63),
    losses=st.integers(0, 1),
)


@given(st.lists(garbage, max_size=6))
def test_no_series_breaks_it(many):
    course = learned(*many, series()).course("k", "")
    assert course is not None
    assert all(0.0 <= fraction <= 1.0 for fraction in course.fractions)
    assert list(course.fractions) == sorted(course.fractions)
    for value in (*course.spread, *course.live_spread, course.s_per_unit, course.s_per_unit_spread):
        assert math.isfinite(value)
        assert value >= 0.0


numbers = st.floats(allow_nan=True, allow_infinity=True)


@given(st.lists(st.builds(Mark, st.integers(-100, 100), numbers, numbers, numbers, numbers), max_size=20), numbers)
def test_no_score_breaks_it(marks, ended_s):
    experience = learned(series())
    experience.scored("k", marks, ended_s)
    course = experience.course("k", "")
    assert all(math.isfinite(value) for value in (*course.bias, *course.error))
    accuracy = experience.accuracy("k")
    assert accuracy is None or all(error is None or math.isfinite(error) for error in accuracy.error)


def test_of_a_kind_that_was_never_seen_nothing_is_known():
    assert Experience().course("k", "") is None
    assert Experience().accuracy("k") is None
    assert learned(series()).accuracy("k") is None


def test_the_course_is_the_time_at_each_place_of_the_bar():
    course = learned(series(0.5)).course("k", "")
    assert course.at(course.fractions, 0.5) == pytest.approx(0.25, abs=0.01)
    assert course.s_per_unit == pytest.approx(1.0)


def test_one_run_is_doubted_and_each_more_confirms_it():
    once, often = (learned(*[series(0.5)] * n).course("k", "") for n in (1, 10))
    assert often.at(often.spread, 0.5) < once.at(once.spread, 0.5) / 2
    assert often.s_per_unit_spread < once.s_per_unit_spread / 2


def test_the_newest_count_most():
    course = learned(*[series(2.0)] * 12, *[series(0.5)] * 12).course("k", "")
    assert course.at(course.fractions, 0.5) < 0.5


def test_runs_of_the_same_name_say_more_if_there_are_enough():
    experience = learned(*[series(2.0)] * 10)
    for number in range(NAME_ENOUGH):
        mixed = experience.course("k", "mine")
        assert mixed == experience.course("k", "another"), number
        experience.learn("k", "mine", series(0.5))
    assert experience.course("k", "mine").at(experience.course("k", "mine").fractions, 0.5) < 0.3
    assert experience.course("k", "another").runs == 10 + NAME_ENOUGH


def test_a_pause_is_no_time():
    points = [Point(1000 * t, float(min(t, 20))) for t in range(61)]
    points += [Point(60_000 + 1000 * t, 20.0 + t) for t in range(1, 31)]
    run = run_of("", Performance(points=tuple(points), total=TOTAL, paused_ms=40_000))
    assert run.s_per_unit == pytest.approx(1.0)
    assert run.fractions[10] == pytest.approx(0.5, abs=0.02)


@pytest.mark.parametrize(
    "performance",
    [
        Performance(),
        series(losses=1),
        series(total=2 * TOTAL),
        series(total=0.0),
        series(total=math.nan),
        Performance(points=(Point(0, 0.0), Point(400, 5.0), Point(800, 10.0)), total=10.0),
    ],
)
def test_what_says_nothing_of_the_next_run_is_not_learned(performance):
    assert run_of("", performance) is None
    assert len(learned(performance)) == 0


def test_memory_is_bounded_and_what_was_not_used_for_longest_goes():
    experience = Experience()
    for number in range(2 * KINDS_LIMIT):
        experience.learn(f"k{number}", "", series())
        experience.course("k0", "")
    assert len(experience) == KINDS_LIMIT
    assert experience.course("k0", "") is not None
    assert experience.course("k1", "") is None
    for number in range(2 * RUNS_LIMIT):
        experience.learn("k0", f"n{number}", series())
    assert experience.course("k0", "").runs == RUNS_LIMIT
    experience.scored("k0", [mark(5, 1.0)] * (2 * SCORES_LIMIT), 1.0)
    assert sum(experience.accuracy("k0").estimates) == SCORES_LIMIT


def test_it_says_how_wrong_it_was():
    experience = Experience()
    experience.scored("k", [mark(2, 5.0), mark(2, 8.0), mark(2, 20.0), mark(9, 10.0)], 10.0)
    accuracy = experience.accuracy("k")
    assert accuracy.estimates == (0, 0, 3, 0, 0, 0, 0, 0, 0, 1)
    assert accuracy.error[2] == pytest.approx(0.5)
    assert accuracy.coverage[2] == pytest.approx(1 / 3)
    assert accuracy.error[9] == pytest.approx(0.0)
    assert accuracy.error[0] is None


def test_estimates_that_were_always_too_short_are_corrected_and_wide_ones_are_not():
    short, scattered = Experience(), Experience()
    for number in range(20):
        short.scored("k", [mark(5, 5.0)], 10.0)
        scattered.scored("k", [mark(5, 2.5 if number % 2 else 40.0)], 10.0)
    assert short.course("k", "").bias[5] == pytest.approx(math.log(2.0), rel=0.2)
    assert scattered.course("k", "").error[5] > 1.0
    assert short.course("k", "").bias[:5] == (0.0,) * 5
    assert len(short.course("k", "").bias) == DECILES
