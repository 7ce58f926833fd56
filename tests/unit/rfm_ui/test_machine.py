"""What processes use, as rows and curves."""

from __future__ import annotations

from math import isnan

from rfm_runtime.protocol.resources import (
    Advice,
    ChildrenUsage,
    Health,
    HostUsage,
    ProcessUsage,
    ResourceReport,
    Resources,
    UsageCourse,
    UsagePoint,
    UsageReply,
)
from rfm_ui.model.machine import TRAFFIC, USE, ago, ago_unit, curves, host_line, process_rows, spacing_s, top, troubles

GIB = 1024**3
HOST = HostUsage(
    cores=2, cpu_percent=75.4, memory_total_bytes=8 * GIB, memory_available_bytes=2 * GIB, disk_free_bytes=90 * GIB
)


def report(name: str, **more: object) -> ResourceReport:
    process = ProcessUsage(name=name, role=name, pid=1, threads=3, **more)
    return ResourceReport(process=process, host=HOST, health=Health(), measured_at_ms=0)


def test_rows() -> None:
    children = ChildrenUsage(processes=2, cpu_percent=198.6, memory_bytes=GIB)
    resources = Resources(
        measured_at_ms=0,
        health=Health("degraded", ("disk: 1 % is free\x1b[2J",)),
        advice=(Advice(topic="disk", text="make room"),),
        reports=(report("engine-0", children=children), report("broker", cpu_percent=3.4, loop_lag_ms=1.6)),
    )

    rows = process_rows(resources)

    assert [row.name for row in rows] == ["broker", "engine-0"]
    assert (rows[0].cpu, rows[0].lag, rows[0].children) == ("3 %", "2 ms", "")
    assert rows[1].children == "2 processes, 199 %, 1.0 GiB"
    assert host_line(resources) == "2 cores, 75 % busy, 6.0 of 8.0 GiB of memory in use, 90.0 GiB of disk free"
    assert troubles(resources) == ["disk: 1 % is free?[2J", "make room"]


def test_a_curve_has_a_gap_where_nothing_was_heard() -> None:
    points = (UsagePoint(0, 10.0, 2**20), UsagePoint(5_000, 20.0, 2**20), UsagePoint(60_000, 30.0, 2**21))
    usage = UsageReply(spacing_ms=5_000, courses=(UsageCourse(name="broker", role="broker", points=points),))

    (curve,) = curves(usage, 60_000.0)

    assert curve.seconds == (-60.0, -55.0, -0.001, 0.0)
    assert curve.cpu_percent[:2] == (10.0, 20.0)
    assert isnan(curve.cpu_percent[2])
    assert curve.memory_mib[3] == 2.0


def test_what_goes_through_a_process_is_drawn_and_what_is_not_known_is_not() -> None:
    flowing = UsagePoint(0, 1.0, 0, 0.0, 100.5, 7.0, -1.0, 12.5, 0.5, 3)
    usage = UsageReply(
        spacing_ms=5_000,
        courses=(
            UsageCourse(name="gateway-0", role="gateway", points=(flowing,), flows=True),
            UsageCourse(name="engine-0", role="engine", points=(UsagePoint(0),)),
        ),
    )

    gateway, engine = curves(usage, 0.0)

    assert (gateway.messages_per_s, gateway.coalesced_per_s) == ((100.5,), (7.0,))
    assert (gateway.connections_per_min, gateway.waiting, gateway.latency_p99_ms) == ((30.0,), (3.0,), (12.5,))
    assert not gateway.is_known("latency_p50_ms")
    assert all(engine.is_known(chart.figure) for chart in USE)
    assert not any(engine.is_known(chart.figure) for chart in TRAFFIC)
    assert (
        curves(UsageReply(spacing_ms=5_000, courses=(UsageCourse(name="x", role="x", points=()),)), 0.0)[0].seconds
        == ()
    )


def test_axes() -> None:
    assert [(spacing_s(span_s), ago_unit(span_s)) for span_s in (600, 7_200, 86_400)] == [
        *((120.0, "minutes ago"), (1_800.0, "minutes ago"), (14_400.0, "hours ago"))
    ]
    assert (ago(-120.0, 600), ago(-14_400.0, 86_400), ago(0.0, 600)) == ("2", "4", "0")
    assert top([(float("nan"), 0.2), ()]) == 1.0
    assert top([(10.0,), (20.0,)]) == 23.0
