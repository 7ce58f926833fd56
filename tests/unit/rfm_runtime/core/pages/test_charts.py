"""Drawings: inside their box, in proportion, with marks that people can name."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rfm_runtime.core.pages.charts import Series, columns, curve, heat, spreads, strip, time_ticks
from rfm_runtime.core.pages.elements import Html
from tests.pages import Page
from tests.past import DAY_MS, HOUR_MS

pytestmark = pytest.mark.scenario("J21")


def rects(drawn: Html) -> list[tuple[str, float, float, float, float]]:
    """(class, x, y, width, height)."""
    return [
        (one["class"], float(one["x"]), float(one["y"]), float(one["width"]), float(one["height"]))
        for one in Page(drawn.markup).all("rect")
    ]


@example([(1, 10**9)])
@given(st.lists(st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)), min_size=1, max_size=72))
def test_columns_are_stacked_inside_the_scale(values: list[tuple[int, int]]) -> None:
    series = [Series("completed", "", [one for one, _ in values]), Series("failed", "", [one for _, one in values])]
    drawn = columns("x", "t", "d", series, [str(i) for i in range(len(values))], [])
    top = float(Page(drawn.markup).all("svg")[0]["viewbox"].split()[3])
    assert top >= max(sum(one) for one in values)
    shown = [one for one in rects(drawn) if one[0] != "hit"]
    assert sum(one[4] for one in shown) == sum(map(sum, values))
    assert all(-1e-3 <= y <= y + height <= top + 1e-3 for _, _, y, _, height in shown)


@pytest.mark.parametrize(
    ("highest", "marks"),
    [(0, "0 1"), (1, "0 1"), (3, "0 1 2 3"), (31, "0 10 20 30 40"), (2000, "0 500 1,000 1,500 2,000")],
)
def test_counts_have_whole_marks(highest: int, marks: str) -> None:
    drawn = columns("x", "t", "d", [Series("completed", "", [highest])], [""], [])
    assert [one.split("<")[0] for one in drawn.markup.split('%">')[1:]] == marks.split()


def test_sizes_have_binary_marks() -> None:
    drawn = curve(
        *("x", "t", "d", [(0.0, 1.5 * 2**30)], ["x"]),
        colour="memory",
        label=lambda it: f"{it / 2**20:g}",
        ticks=[],
        binary=True,
    )
    assert [one.split("<")[0] for one in drawn.markup.split('%">')[1:]] == ["0", "512", "1024", "1536"]


def test_the_smallest_part_of_a_strip_is_seen() -> None:
    drawn = strip("x", "t", "d", [("completed", 1e9, ""), ("failed", 1, "")])
    assert rects(drawn)[1][3] == 1.5


def test_a_cell_of_nothing_is_empty() -> None:
    drawn = heat("x", "t", "d", [("<b>", [0, 1, 4])], ["a", "b", "c"], [])
    cells = Page(drawn.markup).all("rect")
    assert [one["class"] for one in cells] == ["cell none", "cell", "cell"]
    assert [one.get("fill-opacity") for one in cells] == [None, "0.56", "1"]
    assert "<b>, c: 4" in Page(drawn.markup).text


@given(st.lists(st.integers(0, 10**12), min_size=4, max_size=4).map(sorted))
def test_spreads_are_inside_their_axis(values: list[int]) -> None:
    for _, x, _, width, _ in rects(spreads("x", "t", "d", [("kind", values, "")])):
        assert -2.001 <= x <= x + width <= 1002.001


@given(st.integers(0, 10**13), st.integers(1, 10**12), st.integers(-14, 14).map(lambda hours: hours * HOUR_MS))
def test_marks_of_time_are_few_and_inside(start_ms: int, length_ms: int, offset_ms: int) -> None:
    ticks = time_ticks(start_ms, start_ms + length_ms, offset_ms, lambda at_ms, _: str(at_ms))
    assert len(ticks) <= 7
    assert all(0 <= one.share <= 1 for one in ticks)


def test_marks_of_a_day_are_on_the_hour_of_local_time() -> None:
    half = HOUR_MS // 2
    ticks = time_ticks(0, DAY_MS, half, lambda at_ms, _: str((at_ms + half) // HOUR_MS))
    assert [one.label for one in ticks] == ["4", "8", "12", "16", "20", "24"]
