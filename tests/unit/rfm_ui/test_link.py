"""The connection in words: the vectors that every face is held to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from rfm_ui.model.link import LinkNews, absent, view_of

VECTORS = json.loads((Path(__file__).parents[2] / "data/ui/link.json").read_text(encoding="utf-8"))


@pytest.mark.scenario("J110")
def test_a_page_without_anything_on_it_says_what_helps_in_a_window() -> None:
    assert absent(LinkNews("live", 0.0)) == ""
    assert absent(LinkNews("connecting", 0.0)) == "Connecting …"
    hint = "pass the token: RFM_TOKEN"
    assert absent(LinkNews("closed", 0.0, reason="no runtime", hint="start one")) == "no runtime\n\nstart one"
    for state, trouble in (("unauthorised", ""), ("closed", "expired")):
        said = absent(LinkNews(state, 0.0, reason="refused", hint=hint, trouble=trouble))
        assert said
        assert "RFM_TOKEN" not in said


@pytest.mark.scenario("E2")
@pytest.mark.parametrize("vector", VECTORS, ids=lambda one: f"{one['state']} after {one['after_s']} s")
def test_a_connection_in_words(vector: dict[str, Any]) -> None:
    next_in_s = vector.get("next_in_s")
    news = LinkNews(
        vector["state"],
        at_s=100.0,
        attempt=vector.get("attempt", 0),
        next_try_s=None if next_in_s is None else 100.0 + next_in_s,
        reason=vector.get("reason", ""),
        hint=vector.get("hint", ""),
    )

    shown = view_of(news, 100.0 + vector["after_s"])

    assert (shown.word, shown.detail) == (vector["word"], vector["detail"])
    assert (shown.may_retry, shown.is_old) == (vector["may_retry"], vector["is_old"])
