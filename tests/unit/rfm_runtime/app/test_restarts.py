"""Restarts: at once after a single crash, slower in a crash loop, forgiving after calm."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.app.restarts import DELAYS_S, LOOP_ENDS, WINDOW_S, Restarts, ended, recent


def test_the_first_restart_is_immediate() -> None:
    assert ended(Restarts(), 100.0)[1] == 0.0


def test_a_crash_loop_slows_down_to_the_last_delay() -> None:
    restarts, delays_s = Restarts(), []
    for i in range(10):
        restarts, delay_s = ended(restarts, float(i))
        delays_s.append(delay_s)
    assert delays_s[: len(DELAYS_S)] == list(DELAYS_S)
    assert set(delays_s[len(DELAYS_S) :]) == {DELAYS_S[-1]}


@given(st.lists(st.floats(0.0, 100.0), max_size=100))
def test_after_a_calm_minute_the_slate_is_clean_and_the_history_stays_small(gaps: list[float]) -> None:
    restarts, now_s = Restarts(), 0.0
    for gap_s in gaps:
        now_s += gap_s
        restarts, _ = ended(restarts, now_s)
        assert len(restarts.recent_s) <= len(DELAYS_S)
    assert ended(restarts, now_s + WINDOW_S + 1.0)[1] == DELAYS_S[0]


@pytest.mark.scenario("J26")
def test_a_loop_is_several_ends_within_the_window_and_over_a_minute_after_the_last() -> None:
    restarts = Restarts()
    for i in range(LOOP_ENDS):
        assert recent(restarts, float(i)) == (i, False)
        restarts, _ = ended(restarts, float(i))
    assert recent(restarts, LOOP_ENDS) == (LOOP_ENDS, True)
    assert recent(restarts, WINDOW_S + LOOP_ENDS) == (0, False)
