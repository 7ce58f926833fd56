"""Letters upon bars can be read in every theme."""

from __future__ import annotations

import pytest

from rfm_ui.model.inks import READABLE, bar, mixed
from rfm_ui.model.own_theme import contrast
from rfm_ui.model.themes import THEMES, Theme

pytestmark = pytest.mark.scenario("E8", "J104")


@pytest.mark.parametrize("theme", THEMES.values(), ids=list(THEMES))
def test_letters_upon_bars_are_told_from_them_and_bars_from_the_ground(theme: Theme) -> None:
    for tone, colour in theme.tones.items():
        for least in (READABLE, 7.0) if theme.name == "contrast" else (READABLE,):
            made = bar(theme, colour, least)
            assert contrast(theme.text, made.full) >= least, tone
            assert contrast(theme.text, made.pale) >= least, tone
        assert contrast(theme.panel, made.full) > contrast(theme.panel, made.pale) > 1.05, tone


def test_mixed() -> None:
    assert mixed("#000000", "#ffffff", 0.0) == "#000000"
    assert mixed("#000000", "#ffffff", 1.0) == "#ffffff"
    assert mixed("#102030", "#304050", 0.5) == "#203040"
