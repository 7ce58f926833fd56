"""When what is shown is old, and as of when it was so."""

from __future__ import annotations

import json
from datetime import datetime
from pathlib import Path
from typing import get_args

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.client.link import LinkState
from rfm_ui.model.freshness import MOMENT_S, Freshness, as_of
from rfm_ui.model.link import LinkNews

pytestmark = pytest.mark.scenario("J112")

VECTORS = json.loads((Path(__file__).parents[3] / "data/ui/freshness.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("vector", VECTORS, ids=lambda one: one["says"])
def test_a_moment_as_people_read_it(vector: dict[str, str]) -> None:
    then, now = datetime.fromisoformat(vector["then"]), datetime.fromisoformat(vector["now"])
    assert as_of(then, now) == vector["says"]


def test_a_moment_without_a_connection_is_not_worth_a_word() -> None:
    lived = Freshness().told(LinkNews("live", 10.0))
    away = lived.told(LinkNews("reconnecting", 20.0))
    assert away.old_s(20.0 + MOMENT_S / 2) is None
    assert away.left_s(20.0) == MOMENT_S
    assert away.old_s(23.0) == pytest.approx(3.0)
    # What follows does not make it fresher, only a connection does.
    assert away.told(LinkNews("connecting", 22.0)).old_s(23.0) == pytest.approx(3.0)
    assert away.told(LinkNews("live", 24.0)).old_s(99.0) is None


def test_who_was_silent_before_it_was_noticed_is_as_old_as_that() -> None:
    silent = Freshness().told(LinkNews("live", 0.0)).told(LinkNews("stale", 50.0, silent_s=40.0))
    assert silent.old_s(50.0) == pytest.approx(40.0)


def test_of_another_server_nothing_is_shown_that_could_be_old() -> None:
    away = Freshness().told(LinkNews("live", 0.0)).told(LinkNews("reconnecting", 1.0))
    assert away.another_server().told(LinkNews("reconnecting", 9.0)).old_s(99.0) is None


@given(st.lists(st.sampled_from(get_args(LinkState)), max_size=10))
def test_it_is_old_from_the_first_moment_without_a_connection_on(states: list[LinkState]) -> None:
    fresh, first = Freshness(), None
    for second, state in enumerate(states):
        fresh = fresh.told(LinkNews(state, float(second)))
        if state == "live":
            first = None
        elif first is None and "live" in states[:second]:
            first = second
    old_s = fresh.old_s(100.0)
    assert old_s == (None if first is None else 100.0 - first)
