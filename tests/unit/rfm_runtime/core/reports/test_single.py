"""The report of one operation: phases without gaps, rates that follow from the points, nothing divided by zero."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rfm_runtime.core.reports.single import operation_report
from rfm_runtime.protocol.figures import Report
from rfm_runtime.protocol.history import Performance, PerformanceReply, Point
from rfm_runtime.protocol.operation import EventType, OperationEvent, OperationState
from tests.past import NOW_MS, event, operation, operations, render

pytestmark = pytest.mark.scenario("J21", "E13")

turns: list[tuple[EventType, OperationState]] = [
    ("operation_queued", "queued"),
    ("operation_started", "running"),
    ("operation_paused", "paused"),
    ("operation_cancelling", "cancelling"),
    ("operation_completed", "completed"),
]
events = st.lists(st.tuples(st.integers(NOW_MS - 10**6, NOW_MS + 10**6), st.sampled_from(turns)), max_size=8).map(
    lambda found: tuple(event(i, at_ms, *turn) for i, (at_ms, turn) in enumerate(found))
)
points = st.lists(
    st.builds(
        Point,
        st.integers(0, 10**6),
        st.floats(0, 1e12),
        st.floats(0, 1e6),
        st.integers(0, 10**15),
        st.integers(0, 2**40),
        st.integers(0, 64),
    ),
    max_size=12,
)
performances = st.builds(
    Performance,
    points=points.map(tuple),
    total=st.none() | st.floats(0, 1e12),
    paused_ms=st.integers(0, 10**7),
    slots=st.integers(0, 64),
)
replies = st.builds(
    PerformanceReply,
    operation=operations().map(lambda found: found[0] if found else operation()),
    performance=performances,
    events=events,
)


@given(replies)
def test_phases_are_in_order_and_add_up(reply: PerformanceReply) -> None:
    report = operation_report(reply, now_ms=NOW_MS)
    for one in report.phases:
        assert one.end_ms > one.start_ms
    for one, following in zip(report.phases, report.phases[1:], strict=False):
        assert one.end_ms <= following.start_ms
        assert one.phase != following.phase or one.end_ms < following.start_ms
    assert sum(report.phase_ms.values()) == sum(one.end_ms - one.start_ms for one in report.phases)


@given(replies)
def test_nothing_is_negative_and_nothing_divided_by_zero(reply: PerformanceReply) -> None:
    report = operation_report(reply, now_ms=NOW_MS)
    for rate in (report.rate, report.cores, report.iterations_per_s, report.efficiency):
        assert rate is None or rate >= 0
    for one in report.series:
        assert all(rate is None or rate >= 0 for rate in (one.rate, one.cores, one.iterations_per_s, one.share))
    assert all(one.after_ms >= 0 and one.since_submitted_ms >= 0 for one in report.events)
    times = [one.t_ms for one in report.series]
    assert times == sorted(set(times))


@given(replies)
def test_it_comes_back_from_its_json(reply: PerformanceReply) -> None:
    report = operation_report(reply, now_ms=NOW_MS)
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


def test_a_render_that_was_paused() -> None:
    report = operation_report(render(), now_ms=NOW_MS)
    assert [(one.phase, one.end_ms - one.start_ms) for one in report.phases] == [
        ("waiting", 2000),
        ("running", 25_000),
        ("paused", 10_000),
        ("running", 25_000),
    ]
    assert report.phase_ms == {"waiting": 2000, "running": 50_000, "paused": 10_000, "stopping": 0}
    assert [one.after_ms for one in report.events] == [0, 2000, 25_000, 10_000, 25_000]
    assert (report.cores, report.efficiency, report.rate, report.iterations_per_s) == (1.8, 0.9, 20.0, 1e9)
    assert report.series[0].rate is None
    assert report.series[1].rate == pytest.approx(20.0)
    assert report.series[26].rate == pytest.approx(20 / 11)
    assert report.series[-1].share == 1.0


def test_what_was_done_twice_is_no_negative_speed() -> None:
    again = Performance(points=(Point(0, 0.0), Point(1000, 50.0), Point(2000, 10.0)))
    report = operation_report(replace(render(), performance=again), now_ms=NOW_MS)
    assert [one.rate for one in report.series] == [None, 50.0, 0.0]


@pytest.mark.parametrize("kept", [(), render().events[2:]])
def test_what_came_before_the_kept_events_follows_from_its_times(kept: tuple[OperationEvent, ...]) -> None:
    report = operation_report(replace(render(), events=kept), now_ms=NOW_MS)
    assert sum(report.phase_ms.values()) == 62_000
    assert (report.phases[0].phase, report.phase_ms["waiting"]) == ("waiting", 2000)


def test_one_that_runs_lasts_until_now() -> None:
    running = operation(state="running", created_at_ms=NOW_MS - 5000, started_at_ms=NOW_MS - 4000)
    report = operation_report(PerformanceReply(operation=running, performance=Performance()), now_ms=NOW_MS)
    assert report.phase_ms == {"waiting": 1000, "running": 4000, "paused": 0, "stopping": 0}
    assert report.operation.running_ms == 4000
