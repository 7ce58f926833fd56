"""What is found by a few letters: all of them are there, in order, and the best comes first."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_ui.model.palette import RECENT, Entry, found, match, used

ENTRIES = [
    Entry("Cancel", "Operations", "Delete"),
    Entry("Pause", "Operations", "P"),
    Entry("Priority up", "Operations", "+"),
    Entry("Priority down", "Operations", "-"),
    Entry("Set priority …", "Operations", "="),
    Entry("Back", "Explorer", "Alt+Left"),
    Entry("Home", "Explorer"),
    Entry("Save …", "Explorer", "Ctrl+S"),
    Entry("Go to Operations", "Window", "Ctrl+1"),
    Entry("Go to Explorer", "Window", "Ctrl+2"),
    Entry("Retry", "Operations", "R", why_not="Nothing is chosen."),
]


def names(text: str, recent: list[str] | None = None) -> list[str]:
    return [ENTRIES[one.number].name for one in found(text, ENTRIES, recent or [])]


@pytest.mark.scenario("J97")
@pytest.mark.parametrize(
    ("text", "first"),
    [
        ("can", "Cancel"),
        ("pu", "Priority up"),
        ("pd", "Priority down"),
        ("prio do", "Priority down"),
        ("setp", "Set priority …"),
        ("goex", "Go to Explorer"),
        ("explorer back", "Back"),
        ("HOME", "Home"),
    ],
)
def test_the_best_comes_first(text: str, first: str) -> None:
    assert names(text)[0] == first


def test_nothing_is_found_that_has_not_all_letters() -> None:
    assert names("xyz") == []
    assert "Cancel" not in names("ccc")


def test_without_a_word_all_are_there_the_last_used_first() -> None:
    assert names("", ["Explorer/Home", "Operations/Pause"])[:3] == ["Home", "Pause", "Cancel"]
    assert len(names("")) == len(ENTRIES)


def test_what_cannot_be_done_now_comes_last() -> None:
    assert names("")[-1] == "Retry"
    assert names("re")[0] == "Retry", "but for who asks for it"


def test_of_two_that_fit_the_one_used_lately_is_first() -> None:
    assert names("priority", ["Operations/Priority down"])[0] == "Priority down"
    assert names("priority", ["Operations/Priority up"])[0] == "Priority up"


@given(st.text(max_size=12), st.text(max_size=30))
def test_places_are_those_of_the_letters(text: str, name: str) -> None:
    hit = match(text, name)

    wanted = "".join(text.split()).casefold()
    if hit is None:
        letters = iter(name.casefold())
        plain = name.isascii() and text.isascii()
        assert not plain or not all(letter in letters for letter in wanted)
        return
    assert list(hit[1]) == sorted(set(hit[1]))
    assert len(hit[1]) == len(wanted)
    if name.isascii():
        assert "".join(name[place] for place in hit[1]).casefold() == wanted


@given(st.lists(st.sampled_from("abcdefghijklmnopqrst"), max_size=40))
def test_what_was_used_is_remembered_once_and_not_for_ever(keys: list[str]) -> None:
    recent: list[str] = []
    for key in keys:
        recent = used(key, recent)

    assert len(recent) <= RECENT
    assert len(set(recent)) == len(recent)
    assert recent[:1] == keys[-1:]
