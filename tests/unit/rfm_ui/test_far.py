"""A period from far away: bins cover it, begin where people count, and are as many as there is room for."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.protocol.timeline import BINS_LIMIT, Buckets, TimelineReply
from rfm_ui.model.far import MOST_BARS, again_ms, bin_at, grid, heat, highest, level, said, same_bin, too_many, when
from rfm_ui.model.gantt import LONGEST_MS, SHORTEST_MS, Period

pytestmark = pytest.mark.scenario("E11", "J104")

VECTORS = json.loads((Path(__file__).parents[2] / "data" / "ui" / "timeline.json").read_text())
"""What each face has to say."""


@pytest.fixture
def utc(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setenv("TZ", "UTC")
    time.tzset()
    yield
    monkeypatch.undo()
    time.tzset()


def buckets(name: str = "", operations: int = 1, busy_ms: tuple[int, ...] = (0, 500, 2000), **values: Any) -> Buckets:
    none = (0,) * len(busy_ms)
    figures = dict.fromkeys(("submitted", "started", "completed", "failed", "canceled", "peak"), none) | values
    return Buckets(name=name, operations=operations, busy_ms=busy_ms, **figures)


def reply(**fields: Any) -> TimelineReply:
    return TimelineReply(
        **({"since_ms": 0, "width_ms": 1000, "now_ms": 5000, "everything": buckets(busy_ms=(0, 0, 0))} | fields)
    )


@given(
    begin_ms=st.floats(0.0, 4e12),
    length_ms=st.floats(SHORTEST_MS, LONGEST_MS),
    most=st.integers(-3, 2000),
)
def test_bins_cover_the_period_and_are_not_too_many(begin_ms, length_ms, most):
    found = grid(Period(begin_ms, begin_ms + length_ms), most)
    assert found.since_ms <= begin_ms
    assert found.since_ms + found.width_ms * found.bins >= begin_ms + length_ms
    assert found.since_ms > begin_ms - found.width_ms - 1
    assert 1 <= found.bins <= max(2, min(most, BINS_LIMIT))


@pytest.mark.usefixtures("utc")
@pytest.mark.parametrize("one", VECTORS["grid"])
def test_bins_are_those_of_every_face(one: dict[str, Any]) -> None:
    found = grid(Period(one["begin_ms"], one["end_ms"]), one["most"])
    assert found == (one["since_ms"], one["width_ms"], one["bins"])


@pytest.mark.parametrize("one", VECTORS["level"])
def test_colours_are_as_deep_in_every_face(one: dict[str, float]) -> None:
    assert level(one["value"], one["most"]) == pytest.approx(one["level"])


@pytest.mark.parametrize("one", VECTORS["said"])
def test_a_bin_is_told_in_the_same_words(one: dict[str, Any]) -> None:
    names = ("submitted", "started", "completed", "failed", "canceled", "peak", "busy_ms")
    row = buckets(**{name: (one[name],) for name in names})
    assert said(reply(width_ms=one["width_ms"], everything=row), row, 0) == one["lines"]


def test_what_has_no_row_is_one() -> None:
    found = heat(reply(rows=(buckets("render"), buckets("")), rest=buckets(operations=9), others=3))
    assert [(row.name, row.title) for row in found] == [("render", "render"), ("", "no name"), (None, "3 others")]
    assert highest(found, 1000) == 2.0
    assert [row.title for row in heat(reply(rows=(buckets("canceled"),)), "state")] == ["cancelled"]
    assert [row.title for row in heat(reply(rows=(buckets("canceled"),)), "kind")] == ["canceled"]
    assert highest([], 1000) == 0.0


def test_a_moment_is_in_one_bin_or_in_none() -> None:
    shown = reply(since_ms=1000)
    assert [bin_at(shown, at_ms) for at_ms in (999.9, 1000.0, 1999.9, 2000.0, 3999.9, 4000.0)] == [
        *(None, 0, 0, 1, 2, None)
    ]


@pytest.mark.usefixtures("utc")
@pytest.mark.parametrize(
    ("width_ms", "words"),
    [
        (2_000, "05 May 07:30:00–07:30:02"),
        (60_000, "05 May 07:30–07:31"),
        (86_400_000, "05 May"),
        (7 * 86_400_000, "05 May – 12 May"),
    ],
)
def test_when_a_bin_is(width_ms: int, words: str) -> None:
    assert when(reply(since_ms=1_746_430_200_000, width_ms=width_ms), 0) == words


def test_too_many_to_be_told_apart() -> None:
    assert not too_many(None)
    assert not too_many(reply(everything=buckets(operations=MOST_BARS)))
    assert too_many(reply(everything=buckets(operations=MOST_BARS + 1)))


def test_a_bin_is_found_again_in_a_newer_answer() -> None:
    before, later = reply(since_ms=1000), reply(since_ms=2000)
    assert [same_bin(before, number, later) for number in (0, 1, 2, None)] == [None, 0, 1, None]
    assert same_bin(before, 0, reply(since_ms=1000, width_ms=400)) == 1
    assert same_bin(before, 2, reply(since_ms=0, width_ms=4000)) == 0
    assert same_bin(None, 1, before) is None
    assert same_bin(before, 1, None) is None


@pytest.mark.parametrize(
    ("width_ms", "took_ms", "wait_ms"),
    [(1_000, 2.0, 5_000.0), (20_000, 2.0, 20_000.0), (3_600_000, 2.0, 60_000.0), (3_600_000, 4_000.0, 80_000.0)],
)
def test_what_is_far_is_seldom_asked_for_again(width_ms: int, took_ms: float, wait_ms: float) -> None:
    assert again_ms(width_ms, took_ms) == wait_ms
