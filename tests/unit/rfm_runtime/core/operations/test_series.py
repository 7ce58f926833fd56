"""Series of an operation: bounded, in order, its ends kept, whatever comes when."""

from __future__ import annotations

import itertools

import hypothesis.strategies as st
from hypothesis import given

from rfm_runtime.core.operations.series import SPACING_MS, Series
from rfm_runtime.protocol.history import SERIES_POINTS, Performance
from rfm_runtime.protocol.internal import OperationMeasure


def points(series, t_ms=0):
    return series.performance(None, "", 0, t_ms).points


def measure(**fields):
    return OperationMeasure(1, 1, 0, 0.0, **fields)


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=600))
def test_points_are_few_in_order_and_keep_both_ends(steps):
    series = Series()
    times = list(itertools.accumulate(steps))
    for number, t_ms in enumerate(times):
        series.measured(t_ms, float(number), 0.0, number)
    kept = points(series)
    assert len(kept) <= SERIES_POINTS
    assert [point.t_ms for point in kept] == sorted(point.t_ms for point in kept)
    assert kept[0].t_ms == times[0]
    assert kept[-1].iterations == len(times) - 1
    assert [point.done for point in kept] == sorted(point.done for point in kept)


@given(st.integers(1, 500_000))
def test_points_of_an_even_course_are_spread_over_all_of_it(count):
    series = Series()
    step = max(1, count // 400)
    for number in range(0, count, step):
        series.measured(number * SPACING_MS, float(number), 0.0, 0)
    gaps = [b.t_ms - a.t_ms for a, b in itertools.pairwise(points(series))]
    # The last may be as near as it likes: it is where the operation stands.
    assert not gaps or max(gaps) <= 2.5 * max(step * SPACING_MS, max(gaps[:-1], default=0), SPACING_MS)


def test_a_clock_that_goes_back_bends_nothing():
    series = Series()
    for t_ms in (0, 5000, 3000):
        series.measured(t_ms, 1.0, 0.0, 0)
    assert [point.t_ms for point in points(series)] == [0, 5000, 5000]


def test_fast_points_replace_each_other():
    series = Series()
    for t_ms in range(0, SPACING_MS, 5):
        series.measured(t_ms, float(t_ms), 0.0, 0)
    assert [point.t_ms for point in points(series)] == [0, SPACING_MS - 5]


def test_pauses_add_up():
    series = Series()
    assert series.stands(1000)
    assert not series.stands(1500)
    series.goes_on(3000)
    series.goes_on(4000)
    series.stands(10_000)
    assert series.performance(None, "", 0, 12_000).paused_ms == 4000


def test_what_owners_say_of_the_machine():
    series = Series()
    series.owner(measure(memory_bytes=50, workers=2, slots=4, deaths=1))
    series.measured(0, 1.0, 0.5, 7)
    series.owner(measure(memory_bytes=20, workers=1, slots=4, deaths=1))
    series.measured(2000, 2.0, 1.5, 9)
    kept = series.performance(8.0, "px", 3, 2000)
    assert [(p.memory_bytes, p.workers, p.cpu_s) for p in kept.points] == [(50, 2, 0.5), (20, 1, 1.5)]
    assert (kept.peak_memory_bytes, kept.slots, kept.deaths, kept.losses) == (50, 4, 1, 3)
    assert (kept.total, kept.unit) == (8.0, "px")


def test_the_dead_of_all_claims_are_counted_once():
    series = Series()
    series.owner(measure(deaths=2))
    series.owner(measure(deaths=1))
    series.claimed()
    series.owner(measure(deaths=1))
    assert series.performance(None, "", 0, 0).deaths == 3


@given(st.integers(2, 3000))
def test_an_earlier_brokers_points_go_on(count):
    first = Series()
    for number in range(count):
        first.measured(number * 1000, float(number), 0.0, 0)
    kept = first.performance(None, "", 0, 0)
    second = Series(kept)
    assert points(second) == kept.points
    for number in range(count, count + 300):
        second.measured(number * 1000, float(number), 0.0, 0)
    after = points(second)
    assert len(after) <= SERIES_POINTS
    assert after[0].t_ms == 0
    assert after[-1].t_ms == (count + 299) * 1000


def test_nothing_is_nothing():
    assert Series().performance(None, "", 0, 0) == Performance()
