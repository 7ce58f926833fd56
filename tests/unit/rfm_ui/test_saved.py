"""Views that somebody has saved: kept as they were, whatever another release wrote."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_ui.model.ordering import ORDERS
from rfm_ui.model.saved import MOST, SavedView, loaded, named, renamed, stored, without

names = st.text(max_size=50)
views = st.lists(
    st.builds(SavedView, st.just(""), st.text(max_size=20), st.sampled_from(["All", "Failed"]), st.sampled_from(ORDERS))
)


@pytest.mark.scenario("J93")
@given(views, st.lists(names, min_size=1))
def test_what_is_saved_is_loaded(some: list[SavedView], called: list[str]) -> None:
    kept: list[SavedView] = []
    for k, view in enumerate(some):
        kept = named(kept, view, called[k % len(called)])

    assert loaded(stored(kept)) == kept
    assert len({one.name for one in kept}) == len(kept) <= MOST
    assert all(one.name for one in kept)


@pytest.mark.parametrize("text", ["", "[]", "{", "7", '[{"name": "x", "order": "colour"}]', '[{"search": "no name"}]'])
def test_what_cannot_be_read_is_forgotten(text: str) -> None:
    assert loaded(text) == []


def test_a_name_is_used_once() -> None:
    kept = named(named([], SavedView(search="a"), "first"), SavedView(search="b"), " second  one ")
    assert [one.name for one in kept] == ["first", "second one"]

    kept = named(kept, SavedView(search="c"), "first")
    assert [(one.name, one.search) for one in kept] == [("first", "c"), ("second one", "b")]
    kept = renamed(kept, "second one", "first")
    assert [(one.name, one.search) for one in kept] == [("first", "b")]
    assert renamed(kept, "first", "  ") == kept
    assert without(kept, "first") == []
