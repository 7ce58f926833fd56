"""Pace: bounds, and convergence for every pattern of flushes."""

from __future__ import annotations

import hypothesis.strategies as st
from hypothesis import given

from rfm_runtime.core.sessions.pace import (
    CALM_BEFORE_FASTER_S,
    SKIPS_BEFORE_SLOWER,
    STEPS_HZ,
    Pace,
    flushed,
    skipped,
)

histories = st.lists(st.tuples(st.sampled_from([flushed, skipped]), st.floats(0.05, 30)))


def run(history):
    pace, now_s, told = Pace(), 0.0, []
    for outcome, elapsed_s in history:
        now_s += elapsed_s
        pace, hz = outcome(pace, now_s)
        told += [hz] if hz is not None else []
    return pace, now_s, told


@given(histories)
def test_a_change_of_rate_is_always_told_and_nothing_else_is(history):
    pace, _, told = run(history)
    assert pace.hz == ([STEPS_HZ[0], *told])[-1]
    for before, after in zip([STEPS_HZ[0], *told], told, strict=False):
        assert abs(STEPS_HZ.index(before) - STEPS_HZ.index(after)) == 1


@given(histories)
def test_a_watcher_that_stays_slow_ends_at_the_slowest_rate(history):
    pace, now_s, _ = run(history)
    for _ in range(SKIPS_BEFORE_SLOWER * len(STEPS_HZ)):
        pace, _ = skipped(pace, now_s)
    assert pace.hz == STEPS_HZ[-1]


@given(histories)
def test_a_watcher_that_keeps_up_ends_at_the_fastest_rate(history):
    pace, now_s, _ = run(history)
    for _ in range(len(STEPS_HZ)):
        now_s += CALM_BEFORE_FASTER_S
        pace, _ = flushed(pace, now_s)
    assert pace.hz == STEPS_HZ[0]


@given(histories)
def test_nothing_gets_faster_within_a_calm_stretch_of_a_skip(history):
    pace, now_s, _ = run(history)
    pace, _ = skipped(pace, now_s)
    assert flushed(pace, now_s + 0.99 * CALM_BEFORE_FASTER_S)[1] is None


def test_one_skip_changes_nothing():
    assert skipped(Pace(), 1.0) == (Pace(skips=1, calm_since_s=1.0), None)


def test_the_second_skip_in_a_row_halves_the_rate():
    pace, _ = skipped(Pace(), 1.0)
    assert skipped(pace, 1.1)[1] == 10.0


def test_a_flush_in_between_starts_the_count_again():
    pace, _ = skipped(Pace(), 1.0)
    pace, _ = flushed(pace, 1.1)
    assert skipped(pace, 1.2)[1] is None
