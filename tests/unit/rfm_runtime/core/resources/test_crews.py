"""What engines tell of their workers goes on to gateways; what processes alone know of their children does not."""

from __future__ import annotations

import pytest

from rfm_runtime.core.resources.board import MISSED, Board
from rfm_runtime.protocol.crew import CrewUsage, WorkerUsage
from rfm_runtime.protocol.resources import (
    ChildrenUsage,
    ChildUsage,
    Health,
    HostUsage,
    ProcessUsage,
    ResourceReport,
    Usage,
)

pytestmark = pytest.mark.scenario("E14", "J105")

INTERVAL_S = 5.0


def usage(name: str, *, crew: CrewUsage | None = None, children: ChildrenUsage | None = None) -> Usage:
    process = ProcessUsage(name=name, role=name.partition("-")[0], pid=1, children=children or ChildrenUsage())
    report = ResourceReport(process=process, host=HostUsage(cores=2), health=Health(), measured_at_ms=1)
    return Usage(report=report, workers=0 if crew is None else len(crew.workers), crew=crew)


def crew(engine: str) -> CrewUsage:
    return CrewUsage(engine=engine, measured_at_ms=1, workers=(WorkerUsage(number=1, pid=7),), deaths={"SIGKILL": 1})


def test_crews_of_engines_that_are_heard() -> None:
    board = Board(INTERVAL_S, 20.0, 32 * 1024)
    board.take(usage("engine-0", crew=crew("engine-0")), 0.0)
    board.take(usage("broker"), 0.0)
    board.take(usage("engine-0@far", crew=crew("engine-0@far")), 0.0)
    assert board.overview(1.0, 0).crews == (crew("engine-0"), crew("engine-0@far"))
    later_s = MISSED * INTERVAL_S + 1.0
    board.take(usage("engine-0", crew=crew("engine-0")), later_s)
    assert board.overview(later_s, 0).crews == (crew("engine-0"),)


def test_of_children_their_sum_is_told() -> None:
    board = Board(INTERVAL_S, 20.0, 32 * 1024)
    each = (ChildUsage(pid=7, cpu_percent=99.0, memory_bytes=5),)
    board.take(usage("program", children=ChildrenUsage(processes=1, cpu_percent=99.0, memory_bytes=5, each=each)), 0.0)
    (report,) = board.overview(0.0, 0).reports
    assert report.process.children == ChildrenUsage(processes=1, cpu_percent=99.0, memory_bytes=5)
