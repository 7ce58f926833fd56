"""Durations, moments, numbers, ids and tables as people read and write them."""

from __future__ import annotations

import time
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.cli.text import GAP, Column, fitting, moment, period
from rfm_runtime.core.text import duration
from rfm_runtime.errors import BadRequestError

NOW_MS = 1_746_430_200_000
"""2025-05-05 07:30 UTC."""

DAY_MS = 86_400_000


COLUMNS = [Column("id"), Column("name", flexible=True), Column("state"), Column("progress", rank=1), Column("time", 2)]


def test_everything_is_shown_where_there_is_room() -> None:
    assert fitting(COLUMNS, [8, 20, 9, 8, 6], 80) == [(0, 8), (1, 20), (2, 9), (3, 8), (4, 6)]


def test_the_flexible_column_is_shortened_first() -> None:
    assert fitting(COLUMNS, [8, 20, 9, 8, 6], 50) == [(0, 8), (1, 11), (2, 9), (3, 8), (4, 6)]


def test_then_columns_go_by_rank() -> None:
    assert fitting(COLUMNS, [8, 20, 9, 8, 6], 40) == [(0, 8), (1, 9), (2, 9), (3, 8)]
    assert [i for i, _ in fitting(COLUMNS, [8, 20, 9, 8, 6], 30)] == [0, 1, 2]


@given(st.lists(st.integers(1, 40), min_size=5, max_size=5), st.integers(1, 120))
def test_a_table_is_too_wide_only_if_nothing_more_can_go(widths: list[int], room: int) -> None:
    shown = fitting(COLUMNS, widths, room)
    total = sum(width for _, width in shown) + GAP * (len(shown) - 1)
    assert total <= room or [i for i, _ in shown] == [0, 1, 2]
    assert all(width <= widths[i] for i, width in shown)


@pytest.fixture
def half_past_somewhere(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Local time is 5:30 before UTC's."""
    with monkeypatch.context() as patch:
        patch.setenv("TZ", "XXX-5:30")
        time.tzset()
        yield
    time.tzset()


@pytest.mark.parametrize(
    ("text", "ago_s"),
    [
        ("0s", 0),
        ("90s", 90),
        ("30min", 1800),
        ("30m", 1800),
        ("12h", 43_200),
        ("1.5h", 5400),
        ("2d", 172_800),
        ("2w", 1_209_600),
        ("1h30min", 5400),
        ("4 m 05 s", 245),
        (" 2 D 03 H ", 183_600),
    ],
)
def test_a_moment_so_long_ago(text: str, ago_s: int) -> None:
    assert moment(text, NOW_MS) == NOW_MS - ago_s * 1000


@given(st.integers(0, 10**9))
def test_a_duration_is_read_as_it_is_written(seconds: int) -> None:
    written = duration(seconds)
    assert duration((NOW_MS * 1000 - moment(written, NOW_MS * 1000)) / 1000) == written


@pytest.mark.usefixtures("half_past_somewhere")
@pytest.mark.parametrize(
    ("text", "at_ms"),
    [
        ("2025-05-05T13:00", NOW_MS),
        ("2025-05-05 13:00:00", NOW_MS),
        ("2025-05-05T07:30Z", NOW_MS),
        ("2025-05-05T09:30:00+02:00", NOW_MS),
        ("2025-05-05", NOW_MS - 13 * 3_600_000),
        ("1960-01-01", 0),
        ("999999999w", 0),
    ],
)
def test_a_moment_in_local_time_unless_it_says_otherwise(text: str, at_ms: int) -> None:
    assert moment(text, NOW_MS) == at_ms


@pytest.mark.parametrize(
    "text", ["", "soon", "5", "-2d", "2y", "1min1h", "1h1h", "2d ago", "2025-13-01", "2025-05-05T25:00"]
)
def test_what_is_no_moment_is_said(text: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        moment(text, NOW_MS)
    assert caught.value.message == f"{text!r} is neither a duration nor a date"
    assert caught.value.hint == "write it like 30min, 12h, 2d, 2025-05-04 or 2025-05-04T12:30"


def test_a_period() -> None:
    assert period(None, None, NOW_MS) == (NOW_MS - DAY_MS, None)
    assert period("2d", None, NOW_MS) == (NOW_MS - 2 * DAY_MS, None)
    assert period("3d", "1d", NOW_MS) == (NOW_MS - 3 * DAY_MS, NOW_MS - DAY_MS)
    assert period(None, "2d", NOW_MS) == (NOW_MS - 3 * DAY_MS, NOW_MS - 2 * DAY_MS)
    assert period(None, None, NOW_MS, default_ms=1000) == (NOW_MS - 1000, None)


@pytest.mark.parametrize(("since", "until"), [("1d", "2d"), ("1d", "1d"), ("2199-01-01", None)])
def test_a_period_has_to_begin_before_it_ends(since: str, until: str | None) -> None:
    with pytest.raises(BadRequestError, match="the period ends before it begins"):
        period(since, until, NOW_MS)
