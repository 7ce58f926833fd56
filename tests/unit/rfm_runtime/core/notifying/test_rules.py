"""Whom a rule means, and when nobody is to be disturbed."""

from __future__ import annotations

from typing import Any, get_args

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.core.notifying import words
from rfm_runtime.core.notifying.quiet import is_quiet, local_minute
from rfm_runtime.core.notifying.rules import DEFAULTS, checked, lasted_s, means
from rfm_runtime.errors import BadRequestError
from rfm_runtime.protocol.notifying import RULES_LIMIT_BYTES, WHENS, Quiet, Rule, Rules, When
from rfm_runtime.protocol.operation import ErrorInfo, Operation, ProgressUpdate

pytestmark = pytest.mark.scenario("E12", "J116")

MONDAY_MS = 1_700_438_400_000
"""2023-11-20 00:00 UTC."""
HOUR_MS = 3_600_000
DAY_MS = 24 * HOUR_MS


def rule(**fields: Any) -> Rule:
    given: dict[str, Any] = {"rule_id": "r", "when": ("completed",), "whose": "anybody", **fields}
    return Rule(**given)


def operation(**fields: Any) -> Operation:
    given: dict[str, Any] = {
        "operation_id": "op",
        "kind": "render.escape_time",
        "name": "Seahorse valley",
        "owner": "ann",
        "state": "completed",
        "at_seq": 3,
        "created_at_ms": 1000,
        "started_at_ms": 2000,
        "ended_at_ms": 62_000,
        "labels": {"site": "b", "run": "7"},
        **fields,
    }
    return Operation(**given)


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({}, True),
        ({"is_on": False}, False),
        ({"when": ("failed", "canceled")}, False),
        ({"when": ("failed", "completed")}, True),
        ({"whose": "mine"}, True),
        ({"whose": "others"}, False),
        ({"at_least_s": 60.0}, True),
        ({"at_least_s": 60.1}, False),
        ({"priority": 0}, True),
        ({"priority": 1}, False),
        ({"kinds": ("render.escape_time",)}, True),
        ({"kinds": ("render.*",)}, True),
        ({"kinds": ("copy", "*time")}, True),
        ({"kinds": ("render",)}, False),
        ({"kinds": ("render.escape?time",)}, False),
        ({"kinds": ("render[.]escape_time",)}, False),
        ({"kinds": ("RENDER.*",)}, False),
        ({"text": "valley SEA"}, True),
        ({"text": "site=b"}, True),
        ({"text": "valley hills"}, False),
        ({"text": "   "}, True),
        ({"labels": {"site": "b"}}, True),
        ({"labels": {"site": "b", "run": "8"}}, False),
        ({"labels": {"host": ""}}, False),
    ],
    ids=str,
)
def test_a_rule_means_who_meets_all_of_it(fields: dict[str, Any], expected: bool) -> None:
    assert means(rule(**fields), "completed", operation(), "ann") is expected


def test_how_long_it_ran_counts_where_it_stops_and_not_where_it_begins() -> None:
    patient = rule(when=WHENS, at_least_s=60.0, stalled_s=300.0)
    begun = operation(state="running", ended_at_ms=None)
    assert lasted_s(begun) == 0.0
    assert means(patient, "started", begun, "ann")
    assert means(patient, "accepted", operation(state="queued", started_at_ms=None, ended_at_ms=None), "ann")
    latest = ProgressUpdate(operation_id="op", rev=(1, 1), at_seq=2, measured_at_ms=72_000, done=1.0)
    going = operation(state="running", ended_at_ms=None, latest=latest)
    assert lasted_s(going) == 70.0
    assert means(patient, "stalled", going, "ann", still_s=300.0)
    assert not means(patient, "stalled", going, "ann", still_s=299.0)
    # It never ran.
    assert not means(patient, "canceled", operation(state="canceled", started_at_ms=None), "ann")


def test_before_the_server_says_who_one_is_nothing_is_ones_own() -> None:
    assert not means(rule(whose="mine"), "completed", operation(), "")
    assert means(rule(whose="others"), "completed", operation(), "")


def test_at_first_everybody_hears_of_what_is_his_and_failed_or_took_long() -> None:
    def by(when: When, **fields: Any) -> list[str]:
        one = operation(state=when, **fields)
        return [rule.rule_id for rule in DEFAULTS.rules if means(rule, when, one, "ann")]

    assert by("failed", ended_at_ms=2001) == ["mine-failed"]
    assert by("failed", owner="bob") == []
    assert by("completed") == ["mine-completed"]
    assert by("completed", ended_at_ms=61_999) == []
    assert by("canceled") == []
    assert checked(DEFAULTS) is DEFAULTS
    assert not DEFAULTS.quiet


def test_two_rules_of_one_id_are_refused() -> None:
    with pytest.raises(BadRequestError, match="two rules have the id 'r'") as refused:
        checked(Rules(rules=(rule(), rule(name="other"))))
    assert refused.value.hint == "give each rule_id to one rule"


def test_as_many_rules_as_there_may_be_can_be_kept_if_people_write_them() -> None:
    many = tuple(
        rule(rule_id=f"rule-{number}", name="x" * 100, kinds=("render.*",) * 4, text="words", labels={"site": "b"})
        for number in range(32)
    )
    assert len(msgspec.msgpack.encode(Rules(rules=many))) < RULES_LIMIT_BYTES / 2


# --- quiet hours ----------------------------------------------------------------------------------


def at(weekday: int, hour: int, minute: int = 0) -> int:
    return MONDAY_MS + weekday * DAY_MS + hour * HOUR_MS + minute * 60_000


def test_the_day_of_the_week_and_the_minute_are_those_of_the_place() -> None:
    assert local_minute(MONDAY_MS, 0) == (0, 0)
    assert local_minute(MONDAY_MS - 1, 0) == (6, 1439)
    assert local_minute(MONDAY_MS, -5 * 3600) == (6, 19 * 60)
    assert local_minute(MONDAY_MS, 5 * 3600 + 1800) == (0, 330)
    assert local_minute(0, 0) == (3, 0)


NIGHT = Quiet(from_minute=22 * 60, to_minute=7 * 60)
WORKNIGHTS = Quiet(from_minute=22 * 60, to_minute=7 * 60, days=(0, 1, 2, 3))
NOON = Quiet(from_minute=12 * 60, to_minute=13 * 60, days=(5, 6))
SUNDAY = Quiet(from_minute=0, to_minute=0, days=(6,))
FROM_SATURDAY_NOON = Quiet(from_minute=720, to_minute=720, days=(5,))


@pytest.mark.parametrize(
    ("quiet", "weekday", "hour", "minute", "expected"),
    [
        (NIGHT, 0, 21, 59, False),
        (NIGHT, 0, 22, 0, True),
        (NIGHT, 1, 6, 59, True),
        (NIGHT, 1, 7, 0, False),
        # Of the night that began on Sunday, which is not one of them.
        (WORKNIGHTS, 0, 3, 0, False),
        (WORKNIGHTS, 0, 23, 0, True),
        (WORKNIGHTS, 4, 3, 0, True),
        (WORKNIGHTS, 4, 23, 0, False),
        (NOON, 5, 12, 30, True),
        (NOON, 4, 12, 30, False),
        (NOON, 6, 13, 0, False),
        (SUNDAY, 6, 0, 0, True),
        (SUNDAY, 6, 23, 59, True),
        (SUNDAY, 0, 0, 0, False),
        (SUNDAY, 5, 23, 59, False),
        (FROM_SATURDAY_NOON, 5, 11, 59, False),
        (FROM_SATURDAY_NOON, 5, 12, 0, True),
        (FROM_SATURDAY_NOON, 6, 11, 59, True),
        (FROM_SATURDAY_NOON, 6, 12, 0, False),
    ],
    ids=str,
)
def test_quiet_hours_also_over_midnight(quiet: Quiet, weekday: int, hour: int, minute: int, expected: bool) -> None:
    assert is_quiet([quiet], at(weekday, hour, minute), 0) is expected
    assert not is_quiet([], at(weekday, hour, minute), 0)


hours = st.builds(
    Quiet,
    from_minute=st.integers(0, 1439),
    to_minute=st.integers(0, 1439),
    days=st.lists(st.integers(0, 6), max_size=7).map(tuple),
)


@given(hours, st.integers(0, 7 * 1440 - 1), st.integers(-14 * 3600, 14 * 3600))
def test_each_range_is_as_long_as_it_says_and_begins_when_it_says(quiet: Quiet, minute: int, offset_s: int) -> None:
    now_ms = MONDAY_MS + minute * 60_000
    long = (quiet.to_minute - quiet.from_minute) % 1440 or 1440
    local = (minute * 60 + offset_s) // 60
    # By looking at every begin of the week: none of ours is needed to say it.
    begins = [day * 1440 + quiet.from_minute for day in range(-1, 9) if day % 7 in (quiet.days or range(7))]
    expected = any(begin <= local + shift < begin + long for begin in begins for shift in (-7 * 1440, 0, 7 * 1440))
    assert is_quiet([quiet], now_ms, offset_s) is expected


@given(st.lists(hours, max_size=4), st.integers(0, 2**41), st.integers(-14 * 3600, 14 * 3600))
def test_it_is_quiet_if_one_of_them_says_so(quiet: list[Quiet], wall_ms: int, offset_s: int) -> None:
    assert is_quiet(quiet, wall_ms, offset_s) == any(is_quiet([one], wall_ms, offset_s) for one in quiet)


# --- words ----------------------------------------------------------------------------------------


def test_everything_that_operations_come_to_has_its_words() -> None:
    assert set(get_args(When)) == set(words.TONES) == set(words.HAS) == set(words.HAVE) == set(words.COUNTED)
    assert sorted(words.WORST_FIRST) == sorted(WHENS)


@given(st.text(max_size=300), st.text(max_size=300))
def test_a_voice_is_given_words_and_nothing_that_a_program_could_obey(title: str, body: str) -> None:
    said = words.spoken(title, body)
    assert len(said) <= words.SPOKEN_WIDTH
    assert all(char.isalnum() or char in " .,:'" for char in said)
    assert not said.startswith("-")


@given(st.sampled_from(WHENS), st.text(max_size=200), st.text(max_size=300), st.text(max_size=300))
def test_what_others_wrote_is_one_line_that_can_be_shown(when: When, name: str, message: str, hint: str) -> None:
    error = ErrorInfo(code="x", message=message, hint=hint)
    one = operation(state="failed" if when == "failed" else "running", name=name, owner="bob", error=error)
    title, body = words.title_of(when, one), words.body_of(when, one, "ann")
    assert (title + body).isprintable()
    assert len(title) <= words.NAME_WIDTH + 20
    assert len(body) <= words.BODY_WIDTH
    assert title.endswith(words.HAS[when])


@pytest.mark.parametrize(
    ("names", "count", "expected"),
    [
        ([], 0, ""),
        (["a"], 1, "a"),
        (["a", "b"], 2, "a and b"),
        (["a", "b", "c"], 3, "a, b and c"),
        (["a", "b", "c", "d"], 4, "a, b, c and 1 other"),
        (["a", "b", "c"], 1203, "a, b, c and 1,200 others"),
    ],
)
def test_many_are_named_by_a_few(names: list[str], count: int, expected: str) -> None:
    assert words.names_of(names, count) == expected
