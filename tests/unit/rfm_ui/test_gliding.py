"""Bars that glide show what was true, arrive, and do not go back."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_ui.model.gliding import LONGEST_S, Gliding

steps = st.lists(st.tuples(st.floats(0.0, 100.0), st.floats(0.0, 1.0)), min_size=1, max_size=30)


def test_what_is_new_is_where_it_is() -> None:
    gliding = Gliding()
    assert gliding.towards("a", 40.0, 10.0) == 40.0
    assert not gliding.moves("a", 10.0)


def test_it_is_under_way_as_long_as_news_were_apart() -> None:
    gliding = Gliding()
    gliding.towards("a", 10.0, 0.0)
    assert gliding.towards("a", 20.0, 0.1) == 10.0
    assert gliding.moves("a", 0.15)
    assert gliding.towards("a", 20.0, 0.15) == pytest.approx(15.0)
    assert gliding.towards("a", 20.0, 0.2) == pytest.approx(20.0)
    assert not gliding.moves("a", 0.2)


def test_after_a_pause_it_is_soon_where_it_belongs() -> None:
    gliding = Gliding()
    gliding.towards("a", 10.0, 0.0)
    gliding.towards("a", 90.0, 60.0)
    assert gliding.towards("a", 90.0, 60.0 + LONGEST_S) == 90.0


def test_what_goes_back_is_back() -> None:
    gliding = Gliding()
    gliding.towards("a", 50.0, 0.0)
    assert gliding.towards("a", 0.0, 0.1) == 0.0
    assert not gliding.moves("a", 0.1)


@pytest.mark.scenario("J122")
@given(steps)
def test_it_is_never_ahead_of_what_was_heard_nor_does_it_go_back_by_itself(told: list[tuple[float, float]]) -> None:
    gliding, now_s, shown, highest = Gliding(), 0.0, 0.0, 0.0
    for value, wait_s in told:
        # What is told never decreases.
        highest = max(highest, value)
        first = gliding.towards("a", highest, now_s)
        later = gliding.towards("a", highest, now_s + wait_s / 2)
        assert shown <= first <= later <= highest
        now_s, shown = now_s + wait_s, later
    assert gliding.towards("a", highest, now_s + LONGEST_S) == highest


@pytest.mark.scenario("J122")
@given(steps)
def test_without_motion_it_is_where_it_goes(told: list[tuple[float, float]]) -> None:
    gliding, now_s = Gliding(longest_s=0.0), 0.0
    for value, wait_s in told:
        assert gliding.towards("a", value, now_s) == value
        assert not gliding.moves("a", now_s)
        now_s += wait_s


def test_who_is_not_looked_at_is_forgotten() -> None:
    gliding = Gliding()
    for number in range(100):
        gliding.towards(str(number), 1.0, 0.0)
    gliding.keep({"3", "7", "none"})
    assert len(gliding) == 2
