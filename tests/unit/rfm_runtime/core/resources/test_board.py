"""All processes of a runtime together: who is heard, the worst of them, what would help."""

from __future__ import annotations

import pytest

from rfm_runtime.core.resources.board import MISSED, Board
from rfm_runtime.protocol.resources import (
    ChildrenUsage,
    Health,
    HostUsage,
    ProcessUsage,
    ResourceReport,
    Usage,
)

pytestmark = pytest.mark.scenario("J18")
INTERVAL_S = 5.0
GIB = 1024**3


def usage(name, *, state="healthy", reasons=(), cores=2, children=None, **more):
    process = ProcessUsage(name=name, role=name.partition("-")[0], pid=1, children=children or ChildrenUsage())
    host = HostUsage(cores=cores, memory_total_bytes=8 * GIB, memory_available_bytes=6 * GIB)
    report = ResourceReport(process=process, host=host, health=Health(state, reasons), measured_at_ms=1)
    return Usage(report=report, **more)


@pytest.fixture
def board():
    return Board(INTERVAL_S, 20.0, 32 * 1024)


def names(resources):
    return [report.process.name for report in resources.reports]


def test_the_newest_word_of_each_in_the_order_of_their_names(board):
    for name in ("gateway-0", "broker", "gateway-0"):
        board.take(usage(name), 0.0)
    assert names(board.overview(0.0, 7)) == ["broker", "gateway-0"]
    assert board.overview(0.0, 7).measured_at_ms == 7


def test_who_is_not_heard_is_left_out(board):
    board.take(usage("broker"), 0.0)
    board.take(usage("engine-0"), 10.0)
    assert names(board.overview(MISSED * INTERVAL_S, 0)) == ["broker", "engine-0"]
    assert names(board.overview(MISSED * INTERVAL_S + 0.1, 0)) == ["engine-0"]


@pytest.mark.scenario("F6")
def test_who_is_not_heard_is_named_until_it_speaks_again(board):
    board.take(usage("broker"), 0.0)
    board.take(usage("engine-0"), 0.0)
    for now_s in (20.0, 90.0, 700.0):
        board.take(usage("broker"), now_s)
    assert board.overview(15.0, 0).health.state == "healthy"
    health = board.overview(700.0, 0).health
    assert (health.state, health.reasons) == ("unhealthy", ("engine-0: no word for more than ten minutes",))
    board.take(usage("engine-0"), 701.0)
    assert board.overview(702.0, 0).health == Health("healthy", ())


def test_it_is_told_when_there_is_something_new_and_not_too_often(board):
    assert board.due(0.0, 0) is None
    board.take(usage("broker"), 10.0)
    assert names(board.due(10.0, 0)) == ["broker"]
    assert board.due(20.0, 0) is None
    board.take(usage("engine-0"), 20.1)
    board.take(usage("gateway-0"), 20.2)
    assert names(board.due(20.3, 0)) == ["broker", "engine-0", "gateway-0"]
    board.take(usage("broker"), 20.4)
    assert board.due(20.5, 0) is None
    assert board.due(23.0, 0) is not None


def test_health_is_the_worst_with_everybodys_reasons(board):
    assert board.overview(0.0, 0).health == Health()
    board.take(usage("broker", state="degraded", reasons=("disk: little",)), 0.0)
    board.take(usage("engine-0", state="unhealthy", reasons=("memory: full",)), 0.0)
    board.take(usage("gateway-0"), 0.0)
    health = board.overview(0.0, 0).health
    assert health == Health("unhealthy", ("engine-0: memory: full", "broker: disk: little"))


def test_what_would_help_follows_from_all_of_them(board):
    children = ChildrenUsage(processes=5, memory_bytes=GIB)
    board.take(usage("engine-0", children=children, workers=5), 0.0)
    board.take(usage("gateway-0", sessions=10, slow_sessions=4), 0.0)
    board.take(usage("gateway-1", sessions=10, slow_sessions=4), 0.0)
    advice = {one.topic: one for one in board.overview(0.0, 0).advice}
    assert advice["workers"].setting == "workers = 2"
    assert advice["watchers"].text.startswith("8 of 20 sessions")


def test_of_nobody_nothing_is_said(board):
    assert board.overview(0.0, 0).advice == ()
