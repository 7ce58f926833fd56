"""What people write into a rule's fields: read as it was meant, and what is wrong is said."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.core.notifying.rules import DEFAULTS, means
from rfm_runtime.core.notifying.sentences import quiet_text, sentence
from rfm_runtime.errors import BadRequestError
from rfm_runtime.protocol.notifying import WHENS, Quiet, Rule
from rfm_ui.model.rule_texts import (
    FIELDS,
    an_example,
    fields_of,
    free_id,
    headline,
    labels_of,
    length_of,
    length_text,
    rule_of,
    words_of,
)

pytestmark = pytest.mark.scenario("J121")

VECTORS = json.loads((Path(__file__).parents[2] / "data/ui/rules.json").read_text(encoding="utf-8"))
RULE = Rule(rule_id="a", when=("failed",))


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("", 0.0), ("90", 90.0), ("90 s", 90.0), ("1m30s", 90.0), ("1 m 30 s", 90.0), ("1.5 H", 5400.0),
     ("2 d", 172_800.0), (" 5 min ", 300.0)],
)  # fmt: skip
def test_lengths_of_time_as_people_write_them(text: str, seconds: float) -> None:
    assert length_of(text) == seconds


@given(st.integers(0, 31_536_000))
def test_a_length_is_read_as_it_is_shown(seconds: int) -> None:
    assert length_of(length_text(float(seconds))) == seconds


@pytest.mark.parametrize("text", ["soon", "-5", "5 x", "1:30", "m", "٣ s", "400 d", "1..5 h", "5,5 m"])
def test_what_is_no_length_is_said(text: str) -> None:
    with pytest.raises(BadRequestError) as refused:
        length_of(text)
    assert refused.value.hint


@pytest.mark.parametrize("text", ["site", "=b", "site=b, run"])
def test_what_is_no_label_is_said(text: str) -> None:
    with pytest.raises(BadRequestError, match="is no label"):
        labels_of(text)


def test_lists_are_read_with_commas_and_blanks() -> None:
    assert words_of("render.*, copy  copy,,") == ("render.*", "copy")
    assert labels_of(" site = b , run=7,, ") == {"site": "b", "run": "7"}
    assert labels_of("formula=z=z^2") == {"formula": "z=z^2"}


@pytest.mark.parametrize("rule", DEFAULTS.rules, ids=lambda rule: rule.rule_id)
def test_a_rule_whose_fields_nobody_touches_is_what_it_was(rule: Rule) -> None:
    assert rule_of(rule, fields_of(rule), {}) == rule


def test_fields_make_a_rule() -> None:
    written = dict(zip(FIELDS, ("Nights ", "render.*", " sea ", "site=b", "2 m", "", " -3 "), strict=True))
    made = rule_of(RULE, written, {"when": ("completed",), "whose": "others", "voice": True})
    assert made == Rule(
        rule_id="a", name="Nights", when=("completed",), kinds=("render.*",), text="sea", labels={"site": "b"},
        at_least_s=120.0, stalled_s=300.0, priority=-3, whose="others", voice=True,
    )  # fmt: skip


@pytest.mark.parametrize(
    ("field", "text", "said"),
    [
        ("priority", "high", "'high' is no priority"),
        ("priority", "101", "the priority: expected `int` <= 100"),
        ("stalled_s", "0.5 s", "how long it makes no progress: expected `float` >= 1.0"),
        ("name", "x" * 1000, "the name: expected `str` of length"),
        ("kinds", " ".join(f"k{n}" for n in range(17)), "the kinds: expected `array` of length <= 16"),
        ("at_least_s", "soon", "'soon' is no length of time"),
    ],
)
def test_what_is_wrong_is_said_by_the_name_of_the_field(field: str, text: str, said: str) -> None:
    with pytest.raises(BadRequestError) as refused:
        rule_of(RULE, fields_of(RULE) | {field: text}, {})
    assert refused.value.message.startswith(said)
    with pytest.raises(BadRequestError, match="it says not when"):
        rule_of(RULE, fields_of(RULE), {"when": ()})


def test_a_new_rule_has_an_id_of_its_own() -> None:
    assert free_id([]) == "rule-1"
    assert (
        free_id([RULE, Rule(rule_id="rule-1", when=("failed",)), Rule(rule_id="rule-3", when=("failed",))]) == "rule-2"
    )
    assert headline(RULE) == "When what is mine fails: toast"
    assert headline(DEFAULTS.rules[0]) == "What is mine has failed"


@given(
    st.builds(
        Rule,
        rule_id=st.just("a"),
        when=st.lists(st.sampled_from(WHENS), min_size=1, max_size=3).map(tuple),
        kinds=st.lists(st.sampled_from(["render.*", "copy", "*", "a*b"]), max_size=2).map(tuple),
        text=st.sampled_from(["", "sea valley", "  "]),
        labels=st.sampled_from([{}, {"site": "b"}]),
        whose=st.sampled_from(["mine", "others", "anybody"]),
        at_least_s=st.floats(0.0, 10_000.0),
        priority=st.none() | st.integers(-100, 100),
    )
)
def test_the_example_of_a_rule_is_one_that_it_means(rule: Rule) -> None:
    when, operation = an_example(rule, "ann", 1_700_000_000_000)
    if when not in ("paused", "stalled"):
        assert means(rule, when, operation, "ann", still_s=rule.stalled_s)


@pytest.mark.parametrize("case", VECTORS["sentences"], ids=lambda case: case["said"])
def test_what_every_face_says_of_a_rule(case: dict[str, Any]) -> None:
    assert sentence(msgspec.convert(case["rule"], Rule)) == case["said"]


@pytest.mark.parametrize("case", VECTORS["quiet"], ids=lambda case: case["said"])
def test_what_every_face_says_of_quiet_hours(case: dict[str, Any]) -> None:
    assert quiet_text(msgspec.convert(case["quiet"], Quiet)) == case["said"]


@pytest.mark.parametrize("case", VECTORS["lengths"], ids=lambda case: case["text"] or "nothing")
def test_how_every_face_reads_a_length_of_time(case: dict[str, Any]) -> None:
    if case["seconds"] is None:
        with pytest.raises(BadRequestError):
            length_of(case["text"])
    else:
        assert length_of(case["text"]) == case["seconds"]
        assert length_text(case["seconds"]) == case["shown"]
