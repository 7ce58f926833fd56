"""Bins: they cover the period, lose nothing and double nothing, and the area below the curve is the time that ran."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.core.reports.course import MAX_BINS, course, width
from rfm_runtime.core.reports.facts import line
from rfm_runtime.protocol.figures import Course
from rfm_runtime.protocol.operation import Operation
from tests.past import DAY_MS, HOUR_MS, NOW_MS, operation, operations

pytestmark = pytest.mark.scenario("J21")

offsets = st.sampled_from([0, HOUR_MS, -5 * HOUR_MS, 5 * HOUR_MS + 1_800_000])


def ran(*spans: tuple[int, int | None], length_ms: int = HOUR_MS) -> Course:
    """Operations from when to when, in ms after the beginning of a period."""
    lines = [
        line(
            operation(
                f"op-{i}",
                "running" if end is None else "completed",
                created_at_ms=start,
                started_at_ms=start,
                ended_at_ms=end,
            ),
            length_ms,
        )
        for i, (start, end) in enumerate(spans)
    ]
    return course(lines, 0, length_ms, length_ms, 0)


@given(st.integers(0, 10**13))
def test_few_bins_cover_any_period(span_ms: int) -> None:
    assert width(span_ms) * (MAX_BINS - 1) >= span_ms


@pytest.mark.parametrize(
    ("span_ms", "width_ms"), [(60_000, 1000), (HOUR_MS, 60_000), (DAY_MS, 1_800_000), (30 * DAY_MS, 12 * HOUR_MS)]
)
def test_widths_are_those_people_name(span_ms: int, width_ms: int) -> None:
    assert width(span_ms) == width_ms


@given(operations(), st.integers(0, 2 * DAY_MS), offsets)
def test_bins_conserve_what_happened(found: list[Operation], length_ms: int, offset_ms: int) -> None:
    lines = [line(one, NOW_MS) for one in found]
    over = course(lines, NOW_MS - length_ms, NOW_MS, NOW_MS, offset_ms)
    bins = over.bins
    assert len(bins) <= MAX_BINS
    assert bins[0].start_ms <= NOW_MS - length_ms
    assert bins[-1].start_ms + over.width_ms >= NOW_MS
    assert all(one.start_ms == over.start_ms + i * over.width_ms for i, one in enumerate(bins))
    assert (bins[0].start_ms + offset_ms) % over.width_ms == 0
    assert sum(one.submitted for one in bins) + over.outside_submitted == len(lines)
    assert sum(one.started for one in bins) + over.outside_started == sum(
        one.started_at_ms is not None for one in lines
    )
    ended = sum(one.completed + one.failed + one.canceled for one in bins)
    assert ended + over.outside_ended == sum(one.ended_at_ms is not None for one in lines)


@given(operations(), st.integers(0, 2 * DAY_MS))
def test_the_area_is_the_time_that_ran_in_the_period(found: list[Operation], length_ms: int) -> None:
    lines = [line(one, NOW_MS) for one in found]
    over = course(lines, NOW_MS - length_ms, NOW_MS, NOW_MS, 0)
    begin_ms, end_ms = over.start_ms, over.start_ms + len(over.bins) * over.width_ms
    wanted = 0
    for one in lines:
        if one.started_at_ms is not None and one.running_ms is not None:
            first, last = one.started_at_ms, one.started_at_ms + one.running_ms
            wanted += max(0, min(last, end_ms) - max(first, begin_ms))
    assert sum(one.mean for one in over.bins) * over.width_ms == pytest.approx(wanted, abs=1)
    assert all(one.mean <= one.peak + 1e-9 for one in over.bins)
    assert over.peak == max(one.peak for one in over.bins) <= len(lines)


def test_one_after_the_other_is_never_two_at_once() -> None:
    assert ran((0, 1000), (1000, 2000), (2000, None)).peak == 1


def test_what_takes_no_time_has_been_there() -> None:
    over = ran((500, 500), (500, 500))
    assert (over.peak, over.peak_at_ms, over.bins[0].mean) == (2, 500, 0.0)


def test_what_began_before_the_period_runs_in_it() -> None:
    over = ran((-5000, 90_000), (30_000, 150_000))
    assert [one.peak for one in over.bins[:4]] == [2, 2, 1, 0]
    assert [one.mean for one in over.bins[:3]] == [1.5, 1.5, 0.5]
    assert (over.outside_submitted, over.outside_started, over.outside_ended) == (1, 1, 0)


def test_what_has_not_ended_runs_until_the_reports_moment() -> None:
    assert [one.mean for one in ran((0, None)).bins] == [1.0] * 60
