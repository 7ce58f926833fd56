"""Markup: text stays text, whatever it is."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.core.pages.elements import foreign, page, readable, tag
from tests.pages import Page
from tests.past import HOSTILE

pytestmark = pytest.mark.scenario("J21")


@given(st.text(st.characters()))
def test_text_comes_back_as_it_was(text: str) -> None:
    shown = Page(tag("p", text, title=text).markup)
    assert shown.text == readable(text)
    assert shown.tags == [("p", {"title": readable(text)})]


@pytest.mark.parametrize("text", HOSTILE)
def test_nobody_closes_the_page_that_shows_him(text: str) -> None:
    shown = Page(page(text, foreign(text)).markup)
    assert [name for name, _ in shown.tags if name in ("script", "img", "b", "i")] == []
    assert [name for name, _ in shown.tags].count("body") == 1


def test_what_no_page_may_contain_is_replaced() -> None:
    assert readable("a\x00b\ud800c\u202ed\ufffe") == "a�b�c�d�"
    assert readable("tab\tline\n🧠👩‍🔬 שלום") == "tab\tline\n🧠👩‍🔬 שלום"


def test_attributes() -> None:
    assert tag("p", "x", class_="a", aria_label='"', hidden=None).markup == '<p class="a" aria-label="&quot;">x</p>'
    assert tag("rect", x=1, y=2.5).markup == '<rect x="1" y="2.5"/>'
