"""Timing: buckets never give more than they have, backoff stays in its bound, rates are means."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.core.timing import AGE_RATE, AgeClock, Backoff, DecayedRate, TokenBucket

gaps_s = st.lists(st.floats(0.0, 5.0), max_size=200)


@given(gaps_s, st.floats(0.1, 100.0), st.floats(1.0, 50.0))
def test_a_bucket_never_gives_more_than_burst_plus_rate(gaps: list[float], rate: float, burst: float) -> None:
    bucket, now_s, taken = TokenBucket.full(rate, burst, 0.0), 0.0, 0
    for gap_s in gaps:
        now_s += gap_s
        bucket, wait_s = bucket.take(now_s)
        taken += wait_s == 0.0
    assert taken <= burst + rate * now_s + 1e-6


@given(gaps_s, st.floats(0.1, 100.0), st.floats(1.0, 50.0))
def test_who_waits_as_told_is_served(gaps: list[float], rate: float, burst: float) -> None:
    bucket, now_s = TokenBucket.full(rate, burst, 0.0), 0.0
    for gap_s in gaps:
        now_s += gap_s
        bucket, wait_s = bucket.take(now_s)
        if wait_s > 0.0:
            now_s += wait_s + 1e-9
            bucket, again_s = bucket.take(now_s)
            assert again_s < 1e-6


def test_a_clock_that_stands_still_or_goes_back_gives_nothing() -> None:
    bucket = TokenBucket.full(10.0, 1.0, 5.0)
    bucket, _ = bucket.take(5.0)
    assert bucket.take(5.0)[1] > 0.0
    assert bucket.take(4.0)[1] > 0.0


def test_a_cost_above_the_burst_waits_for_a_full_bucket_at_most() -> None:
    bucket = TokenBucket.full(2.0, 4.0, 0.0)
    bucket, _ = bucket.take(0.0, 4.0)
    assert bucket.take(0.0, 100.0)[1] == pytest.approx(2.0)


@pytest.mark.parametrize("rate_per_s", [0.1, 0.5, 3.0])
def test_the_long_run_rate_holds_also_below_one_in_a_burst(rate_per_s: float) -> None:
    bucket, taken = TokenBucket.full(rate_per_s, rate_per_s, 0.0), 0
    for step in range(10_000):
        bucket, wait_s = bucket.take(step / 100)
        taken += wait_s == 0.0
    assert taken == pytest.approx(100.0 * rate_per_s, abs=1 + rate_per_s)


@given(st.integers(0, 10_000), st.floats(0.0, 1.0), st.integers(0, 2**32))
def test_backoff_stays_within_its_bound(attempt: int, jitter: float, seed: int) -> None:
    backoff = Backoff(base_s=0.5, cap_s=30.0, jitter=jitter)
    delay_s = backoff.delay_s(attempt, random.Random(seed))
    assert backoff.bound_s(attempt) * (1.0 - jitter) <= delay_s <= backoff.bound_s(attempt) <= 30.0


def test_backoff_doubles_until_its_cap() -> None:
    backoff = Backoff(base_s=0.5, cap_s=30.0)
    assert [backoff.bound_s(n) for n in range(8)] == [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 30.0, 30.0]


@given(st.floats(0.1, 1e6), st.lists(st.floats(0.01, 10.0), min_size=1, max_size=50))
def test_a_steady_rate_is_measured_as_it_is(rate: float, gaps: list[float]) -> None:
    measured, now_s = DecayedRate(5.0).measured(0.0, 0.0), 0.0
    for gap_s in gaps:
        now_s += gap_s
        measured = measured.measured(rate * now_s, now_s)
    assert measured.per_s == pytest.approx(rate, rel=1e-6)


@given(st.lists(st.tuples(st.floats(0.0, 10.0), st.floats(0.0, 1e6)), max_size=50))
def test_a_rate_lies_between_the_slowest_and_the_fastest(steps: list[tuple[float, float]]) -> None:
    measured, now_s, count, rates = DecayedRate(5.0).measured(0.0, 0.0), 0.0, 0.0, []
    for gap_s, increment in steps:
        now_s += gap_s
        # What is too near to the last one is measured with the next.
        if now_s - measured.at_s <= 1e-6:
            continue
        count += increment
        rates.append(increment / (now_s - measured.at_s))
        measured = measured.measured(count, now_s)
    if rates:
        assert measured.per_s is not None
        slack = 1e-6 * (1.0 + max(rates))
        assert min(rates) - slack <= measured.per_s <= max(rates) + slack
    else:
        assert measured.per_s is None


def test_a_count_that_falls_only_re_bases() -> None:
    measured = DecayedRate(5.0).measured(100.0, 0.0).measured(10.0, 1.0)
    assert measured.per_s is None
    assert measured.measured(20.0, 2.0).per_s == pytest.approx(10.0)


walls_ms = st.floats(0.0, 1e15)
moments = st.lists(st.tuples(walls_ms, st.floats(0.0, 1e6)), max_size=50)


@given(st.none() | walls_ms, walls_ms, moments)
def test_no_clock_makes_anything_older_than_a_multiple_of_the_time_that_passed(
    known_ms: float | None, wall_ms: float, moments: list[tuple[float, float]]
) -> None:
    clock, mono_s = AgeClock.begun(known_ms, wall_ms, 0.0), 0.0
    assert clock.at_ms <= wall_ms
    assert known_ms is None or clock.at_ms <= known_ms
    # Where it has been it may be again at once.
    reached_ms = wall_ms if known_ms is None else known_ms
    for at_ms, gap_s in moments:
        mono_s += gap_s
        clock = clock.later(at_ms, mono_s)
        assert clock.at_ms <= at_ms
        assert clock.at_ms <= reached_ms + 1000.0 * AGE_RATE * mono_s + 1.0


@given(walls_ms, st.floats(0.0, 1e12), st.lists(st.floats(0.0, 1e6), min_size=1, max_size=50))
def test_a_right_clock_is_caught_up_with_and_then_followed(behind_ms: float, off_ms: float, gaps: list[float]) -> None:
    wall_ms, mono_s = behind_ms + off_ms, 0.0
    clock = AgeClock.begun(behind_ms, wall_ms, mono_s)
    for gap_s in gaps:
        before_ms = clock.at_ms
        mono_s += gap_s
        wall_ms += 1000.0 * gap_s
        clock = clock.later(wall_ms, mono_s)
        # Never slower than time passes.
        assert clock.at_ms >= before_ms + 1000.0 * gap_s - 1.0
    if 1000.0 * (AGE_RATE - 1.0) * mono_s >= off_ms:
        assert clock.at_ms == pytest.approx(wall_ms, abs=2.0)


@given(walls_ms, st.floats(0.0, 1e9), st.lists(st.tuples(st.floats(0.0, 2e12), st.floats(0.0, 1e5)), max_size=20))
def test_a_clock_that_was_behind_for_a_while_sets_nothing_back(
    right_ms: float, up_s: float, wrong: list[tuple[float, float]]
) -> None:
    clock, mono_s = AgeClock.begun(right_ms, right_ms, 0.0), 0.0
    for wall_ms, gap_s in wrong:
        mono_s += gap_s
        clock = clock.later(min(wall_ms, right_ms), mono_s)
    # Set right, by whatever time has passed: at once where it was, and also for the next process.
    wall_ms = right_ms + 1000.0 * (mono_s + up_s)
    assert clock.later(wall_ms, mono_s).at_ms >= right_ms
    assert AgeClock.begun(clock.reached_ms, wall_ms, 0.0).at_ms >= right_ms


def test_a_clock_that_was_ahead_and_is_set_right_is_followed_back() -> None:
    clock = AgeClock.begun(0.0, 9e12, 0.0).later(9e12, 1000.0)
    assert clock.at_ms > 1e6
    assert clock.later(1e6, 1001.0).at_ms == 1e6
    # Monotonic time that seems to go back passes none.
    assert AgeClock.begun(0.0, 9e12, 5.0).later(9e12, 1.0).at_ms == 0.0
