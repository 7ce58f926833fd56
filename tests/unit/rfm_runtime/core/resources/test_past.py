"""What processes have used: no peak is lost, memory is bounded, and the finest course that goes back so far is told."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.core.resources.past import POINTS, PROCESSES, SPACINGS_MS, Past
from rfm_runtime.protocol.resources import (
    ChildrenUsage,
    Flow,
    Health,
    HostUsage,
    ProcessUsage,
    ResourceReport,
    Resources,
)

T0_MS = 1_800_000_000_000


def told(at_ms: int, cpu_percent: float, name: str = "engine-0") -> Resources:
    process = ProcessUsage(
        name=name,
        role=name.partition("-")[0],
        pid=1,
        cpu_percent=cpu_percent,
        memory_bytes=100,
        loop_lag_ms=cpu_percent / 10,
        children=ChildrenUsage(processes=2, cpu_percent=50.0, memory_bytes=10),
    )
    report = ResourceReport(process=process, host=HostUsage(cores=2), health=Health(), measured_at_ms=at_ms)
    return Resources(measured_at_ms=at_ms, reports=(report,))


@given(
    st.lists(st.tuples(st.integers(1, 400_000), st.floats(0.0, 800.0)), min_size=1, max_size=200),
    st.integers(10, 86_400),
)
def test_no_peak_is_lost_and_points_are_in_order(steps: list[tuple[int, float]], span_s: int) -> None:
    past, at_ms, seen = Past(), T0_MS, []
    for step_ms, cpu_percent in steps:
        at_ms += step_ms
        seen.append((at_ms, cpu_percent + 50.0))
        past.take(told(at_ms, cpu_percent))

    reply = past.within(span_s * 1000, at_ms)

    (course,) = reply.courses or (None,)
    assert course is not None or span_s * 1000 < reply.spacing_ms
    points = () if course is None else course.points
    assert len(points) <= POINTS
    times = [point.t_ms for point in points]
    assert times == sorted(set(times))
    assert all(t_ms % reply.spacing_ms == 0 for t_ms in times)
    for point in points:
        inside = [cpu for t_ms, cpu in seen if point.t_ms <= t_ms < point.t_ms + reply.spacing_ms]
        assert point.cpu_percent == max(inside)
        assert point.memory_bytes == 110
    assert reply.spacing_ms * POINTS >= span_s * 1000 or reply.spacing_ms == SPACINGS_MS[-1]


@pytest.mark.parametrize(
    ("span_s", "spacing_ms"), [(10, 5_000), (600, 5_000), (601, 60_000), (7_200, 60_000), (86_400, 720_000)]
)
def test_the_finest_course_that_goes_back_so_far(span_s: int, spacing_ms: int) -> None:
    past = Past()
    past.take(told(T0_MS, 1.0))

    assert past.within(span_s * 1000, T0_MS).spacing_ms == spacing_ms


def test_a_clock_that_is_set_back_changes_nothing() -> None:
    past = Past()
    past.take(told(T0_MS, 10.0))

    past.take(told(T0_MS - 60_000, 700.0))

    (course,) = past.within(600_000, T0_MS).courses
    assert [point.cpu_percent for point in course.points] == [60.0]


def test_processes_that_come_and_go_take_no_memory() -> None:
    past = Past()
    for k in range(10 * PROCESSES):
        past.take(told(T0_MS + k, 1.0, f"gateway-{k}"))
        past.take(told(T0_MS + k, 1.0, "broker"))

    names = [course.name for course in past.within(600_000, T0_MS + 1000).courses]

    assert len(names) == PROCESSES
    assert "broker" in names
    assert f"gateway-{10 * PROCESSES - 1}" in names


def test_what_goes_through_is_kept_with_its_peaks_and_unknown_latencies() -> None:
    past = Past()
    for messages, latency in ((5.0, None), (9.0, 3.0), (2.0, None)):
        resources = told(T0_MS, 1.0, "gateway-0")
        flow = Flow(messages_per_s=messages, latency_p99_ms=latency, waiting=int(messages))
        past.take(
            msgspec.structs.replace(resources, reports=(msgspec.structs.replace(resources.reports[0], flow=flow),))
        )
    past.take(told(T0_MS, 1.0, "engine-0"))

    engine, gateway = past.within(600_000, T0_MS).courses

    assert (engine.flows, gateway.flows) == (False, True)
    (point,) = gateway.points
    assert (point.messages_per_s, point.latency_p50_ms, point.latency_p99_ms, point.waiting) == (9.0, -1.0, 3.0, 9)
