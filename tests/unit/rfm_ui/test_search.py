"""What is typed into the search field: the vectors that every face is held to."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.protocol.operation import Operation
from rfm_ui.model.search import FIELDS, known_text, parsed, terms_of, toggled

VECTORS = json.loads((Path(__file__).parents[2] / "data/ui/search.json").read_text(encoding="utf-8"))
OPERATIONS = [
    Operation(
        operation_id=one["id"],
        kind=one["kind"],
        name=one["name"],
        owner=one["owner"],
        state=one["state"],
        at_seq=1,
        created_at_ms=0,
        priority=one.get("priority", 0),
        labels=one.get("labels", {}),
        parent_id=one.get("parent"),
        stale=one.get("stale", False),
    )
    for one in VECTORS["operations"]
]


def found(text: str) -> list[str]:
    query = parsed(text)
    return [one.operation_id for one in OPERATIONS if query.passes(one, known_text(one), VECTORS["me"])]


@pytest.mark.scenario("J93")
@pytest.mark.parametrize("vector", VECTORS["searches"], ids=lambda one: one["text"] or "nothing")
def test_what_is_found(vector: dict[str, Any]) -> None:
    assert found(vector["text"]) == vector["found"]
    assert parsed(vector["text"]).problem == vector.get("problem", "")


@pytest.mark.scenario("J93")
@pytest.mark.parametrize("vector", VECTORS["toggles"], ids=lambda one: one["becomes"] or "nothing")
def test_a_choice_changes_the_text(vector: dict[str, Any]) -> None:
    assert toggled(vector["text"], vector["field"], vector["value"]) == vector["becomes"]


@given(st.text(max_size=60))
def test_whatever_is_typed_is_understood_or_told(text: str) -> None:
    query = parsed(text)

    assert all(term.field in ("", *FIELDS) for term in query.terms)
    for one in OPERATIONS:
        query.passes(one, known_text(one), "ann")


@given(st.text('abc:,-"= ', max_size=30), st.sampled_from(sorted(FIELDS)), st.text("ab c=,", min_size=1, max_size=6))
def test_what_is_chosen_is_asked_for_and_taken_back(text: str, field: str, value: str) -> None:
    value = value.strip(" ,")
    if not value or field in ("state", "priority") or text.count('"') % 2:
        return
    before = terms_of(text, field)
    if value.casefold() in (one.casefold() for one in before):
        return

    with_it = toggled(text, field, value)

    assert value.casefold() in [one.casefold() for one in terms_of(with_it, field)]
    without = toggled(with_it, field, value)
    assert [one.casefold() for one in terms_of(without, field)] == [one.casefold() for one in before]
