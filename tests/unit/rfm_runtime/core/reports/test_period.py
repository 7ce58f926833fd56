"""The report of a period: it agrees with the operations, whatever their order and whatever their clocks did."""

from __future__ import annotations

import json
from collections import Counter
from random import Random

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.core.reports.facts import durations
from rfm_runtime.core.reports.period import SLOWEST, period_report
from rfm_runtime.protocol.figures import PeriodReport, Report
from rfm_runtime.protocol.operation import ErrorInfo, Operation
from tests.past import DAY_MS, NOW_MS, day, operation, operations

pytestmark = pytest.mark.scenario("J21", "E13")


def reported(found: list[Operation]) -> PeriodReport:
    return period_report(found, since_ms=NOW_MS - DAY_MS, until_ms=NOW_MS, now_ms=NOW_MS)


@given(operations())
def test_totals_agree_with_the_operations(found: list[Operation]) -> None:
    report = reported(found)
    tally = report.everything.tally
    states = Counter(one.state for one in found)
    assert report.by_state == states
    assert (tally.completed, tally.failed, tally.canceled) == (
        states["completed"],
        states["failed"],
        states["canceled"],
    )
    assert tally.submitted == tally.completed + tally.failed + tally.canceled + tally.unfinished == len(found)
    for groups in (report.kinds, report.owners):
        assert sum(one.tally.submitted for one in groups) == len(found)
        assert sum(one.iterations for one in groups) == report.everything.iterations
        assert sum(one.running.count for one in groups) == report.everything.running.count
        assert sum(one.cpu_s for one in groups) == pytest.approx(report.everything.cpu_s)
    assert sum(one.count for one in report.failures) == tally.failed
    assert len(report.canceled) == tally.canceled
    assert sum(map(sum, report.density.counts)) + report.course.outside_submitted == len(found)


@given(operations(), st.randoms(use_true_random=False))
def test_the_order_of_the_operations_changes_nothing(found: list[Operation], random: Random) -> None:
    shuffled = list(found)
    random.shuffle(shuffled)
    assert reported(shuffled) == reported(found)


@given(operations())
def test_no_duration_is_negative_and_no_share_beyond_one(found: list[Operation]) -> None:
    report = reported(found)
    assert all(one.waiting_ms >= 0 and (one.running_ms or 0) >= 0 for one in report.operations)
    for group in (report.everything, *report.kinds, *report.owners):
        assert group.tally.success is None or 0 <= group.tally.success <= 1


@given(operations())
def test_it_comes_back_from_its_json(found: list[Operation]) -> None:
    report = reported(found)
    assert msgspec.json.decode(msgspec.json.encode(report), type=Report) == report


@given(st.lists(st.integers(0, 10**9), min_size=1))
def test_quantiles_are_durations_that_occurred(values_ms: list[int]) -> None:
    found = durations(values_ms)
    quantiles = [found.p50_ms, found.p90_ms, found.p99_ms, found.max_ms]
    assert set(quantiles) <= set(values_ms)
    assert quantiles == sorted(quantiles, key=lambda one: one or 0)
    assert sum(one <= (found.p90_ms or 0) for one in values_ms) >= 0.9 * len(values_ms)
    assert (found.count, found.total_ms, found.max_ms) == (len(values_ms), sum(values_ms), max(values_ms))


def test_ten_durations() -> None:
    found = durations(range(1, 11))
    assert (found.p50_ms, found.p90_ms, found.p99_ms, found.max_ms) == (5, 9, 10, 10)


def test_an_empty_period() -> None:
    report = reported([])
    assert report.everything.tally.success is None
    assert report.everything.running.p50_ms is None
    assert (report.kinds, report.failures, report.operations, report.course.peak_at_ms) == ((), (), (), None)


def test_its_json_leaves_no_field_out() -> None:
    empty, full = (json.loads(msgspec.json.encode(reported(found))) for found in ([], day()))
    assert empty.keys() == full.keys()
    assert all(len(line) == len(full["operations"][0]) for line in full["operations"])


def test_durations_of_what_waits_runs_and_ended() -> None:
    begin_ms = NOW_MS - 10_000
    times = {"created_at_ms": begin_ms}
    report = reported(
        [
            operation("waits", "queued", **times),
            operation("runs", "running", started_at_ms=begin_ms + 1000, **times),
            operation("ended", started_at_ms=begin_ms + 2000, ended_at_ms=begin_ms + 5000, **times),
            operation("never began", "canceled", ended_at_ms=begin_ms + 4000, **times),
        ]
    )
    lines = {one.operation_id: (one.waiting_ms, one.running_ms) for one in report.operations}
    assert lines == {
        "waits": (10_000, None),
        "runs": (1000, 9000),
        "ended": (2000, 3000),
        "never began": (4000, None),
    }
    assert (report.everything.waiting.count, report.everything.running.count) == (2, 1)
    assert report.slowest == ("runs", "ended")


def test_failures_alike_but_for_numbers_are_one() -> None:
    def failed(i: int, code: str, message: str) -> Operation:
        return operation(f"op-{i}", "failed", ended_at_ms=NOW_MS + i, error=ErrorInfo(code=code, message=message))

    report = reported(
        [failed(1, "lost", "tile 17 of 20"), failed(2, "lost", "tile 3 of 20"), failed(3, "lost", "the frame")]
    )
    assert [(one.count, one.message, one.example_id) for one in report.failures] == [
        (2, "tile 3 of 20", "op-2"),
        (1, "the frame", "op-3"),
    ]


def test_the_slowest_are_few_and_the_lists_are_newest_first() -> None:
    report = reported(day())
    running = [one.running_ms or 0 for one in report.operations]
    lines = {one.operation_id: one for one in report.operations}
    assert [lines[one].running_ms for one in report.slowest] == sorted(running, reverse=True)[:SLOWEST]
    created = [one.created_at_ms for one in report.operations]
    assert created == sorted(created, reverse=True)
