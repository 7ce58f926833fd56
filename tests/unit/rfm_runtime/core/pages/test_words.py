"""Figures as a report writes them."""

from __future__ import annotations

from datetime import UTC, timedelta, timezone

import pytest

from rfm_runtime.core.pages.words import Local, amount, count, length, outcomes, percent, span
from rfm_runtime.protocol.figures import Tally

HOUR_MS = 3_600_000


def plain(text: str) -> str:
    return text.replace("\N{NO-BREAK SPACE}", " ")


@pytest.mark.parametrize(
    ("share", "text"),
    [(None, "–"), (0.0, "0.0 %"), (0.9294, "92.9 %"), (0.99999, "99.9 %"), (1.0, "100 %"), (float("nan"), "–")],
)
def test_percent_is_all_only_if_it_is_all(share: float | None, text: str) -> None:
    assert plain(percent(share)) == text


@pytest.mark.parametrize(
    ("value_ms", "text"), [(None, "–"), (0, "0 ms"), (99, "99 ms"), (420, "0.42 s"), (245_000, "4 m 05 s")]
)
def test_span(value_ms: int | None, text: str) -> None:
    assert plain(span(value_ms)) == text


@pytest.mark.parametrize(
    ("value_ms", "text"),
    [
        (0, "0 ms"),
        (30_000, "30 s"),
        (30 * 60_000, "30 min"),
        (24 * HOUR_MS, "24 h"),
        (48 * HOUR_MS, "48 h"),
        (72 * HOUR_MS, "3 d"),
        (HOUR_MS + 60_000, "1 h 01 m"),
    ],
)
def test_length_is_whole_where_it_can_be(value_ms: int, text: str) -> None:
    assert plain(length(value_ms)) == text


def test_amounts_carry_their_prefix_to_the_unit() -> None:
    assert plain(amount(12_340, "px/s")) == "12.3 kpx/s"
    assert plain(amount(12.34, "px/s")) == "12.3 px/s"
    assert plain(amount(float("inf"))) == plain(amount(None)) == "–"
    assert count(1_234_567) == "1,234,567"


def test_outcomes_name_what_there_was() -> None:
    tally = Tally(submitted=1003, completed=1000, failed=0, canceled=2, unfinished=1, success=1.0)
    assert outcomes(tally) == "1,000 completed, 2 cancelled, 1 unfinished"


def test_moments_are_local() -> None:
    there = Local(timezone(timedelta(hours=-3, minutes=-30)))
    assert there.second(0) == "1969-12-31 20:30:00"
    assert there.offset(0) == "UTC-03:30"
    assert there.offset_ms(0) == -12_600_000
    assert Local(UTC).day(1_746_430_200_000) == "Monday, 5 May 2025, 07:30"


@pytest.mark.parametrize("at_ms", [-(10**18), 10**18])
def test_a_moment_that_no_calendar_has_is_shown_all_the_same(at_ms: int) -> None:
    assert Local(UTC).second(at_ms)
