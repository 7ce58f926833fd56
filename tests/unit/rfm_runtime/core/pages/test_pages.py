"""Whole pages: they need nothing else, escape everything, and show the figures of their report."""

from __future__ import annotations

from datetime import UTC

import pytest
from hypothesis import given, settings
from msgspec.structs import replace

from rfm_runtime.core.pages.elements import readable
from rfm_runtime.core.pages.period import period_page
from rfm_runtime.core.pages.single import operation_page
from rfm_runtime.core.pages.words import Local
from rfm_runtime.core.reports.period import period_report
from rfm_runtime.core.reports.single import operation_report
from rfm_runtime.protocol.history import Performance, PerformanceReply, Point
from rfm_runtime.protocol.operation import ErrorInfo, Eta, Operation, ProgressUpdate
from tests.pages import Page, check_page
from tests.past import DAY_MS, HOSTILE, NOW_MS, day, operation, operations, render

pytestmark = pytest.mark.scenario("J21", "E13")

LOCAL = Local(UTC)


def period(found: list[Operation], filters: dict[str, str] | None = None) -> Page:
    report = period_report(found, since_ms=NOW_MS - DAY_MS, until_ms=NOW_MS, now_ms=NOW_MS, filters=filters)
    return check_page(period_page(report, LOCAL).markup)


def single(reply: PerformanceReply) -> Page:
    return check_page(operation_page(operation_report(reply, now_ms=NOW_MS), LOCAL).markup)


def test_a_day() -> None:
    found = day()
    page = period(found)
    completed = sum(one.state == "completed" for one in found)
    assert page.text.count("201 operations in 24\N{NO-BREAK SPACE}h") == 2
    assert f"{completed} completed" in page.text
    assert len(page.all("svg")) == 5
    assert all(readable(name) in page.text for name in HOSTILE)
    assert all(one.operation_id in page.text for one in found)


@settings(max_examples=30)
@given(operations())
def test_any_period(found: list[Operation]) -> None:
    page = period(found)
    assert all(one.operation_id in page.text for one in found)


def test_an_empty_day_says_so() -> None:
    page = period([], filters={"kind": "<script>"})
    assert "No operations in 24" in page.text
    assert "kind <script>" in page.text
    assert page.all("svg") == []


def test_nothing_that_failed_was_cancelled_or_ran_is_said_in_words() -> None:
    text = period([operation(state="queued")]).text
    for sentence in ("Nothing failed.", "Nothing was cancelled.", "Nothing has run.", "None has completed or failed"):
        assert sentence in text


def test_more_kinds_and_operations_than_a_page_can_show_are_counted() -> None:
    many = [operation(f"op-{i}", kind=f"kind {i % 150}", created_at_ms=NOW_MS - 1000) for i in range(1200)]
    text = period(many).text
    assert "130 other kinds" in text
    assert "and 50 more smaller ones" in text
    assert "and 200 more older operations" in text


def test_a_render() -> None:
    page = single(render())
    assert "Completed 1 m 02 s after it was submitted: it waited 2.00 s, ran 50.0 s and was paused 10.0 s." in (
        page.text.replace("\N{NO-BREAK SPACE}", " ")
    )
    assert {"share-title", "rate-title", "cores-title", "iterations-title", "memory-title", "workers-title"} <= {
        one["id"] for one in page.all("title") if "id" in one
    }
    for said in ("<i>Elephant</i> valley", "by <u>björn</u>", "project = <poster>", "12,345 B", '{"name":"viridis"}'):
        assert said in page.text


@pytest.mark.parametrize("text", HOSTILE)
def test_a_hostile_failure(text: str) -> None:
    error = ErrorInfo(code="x", message=text, hint=text)
    failed = operation(state="failed", name=text, owner=text, kind=text, error=error, labels={text: text})
    page = single(PerformanceReply(operation=failed, performance=Performance(), params={text: [text, {text: text}]}))
    assert readable(text) in page.text


def test_one_that_runs_says_how_long_it_will() -> None:
    latest = ProgressUpdate(
        operation_id="op-1", rev=(1, 1), at_seq=1, measured_at_ms=1, done=1.0, eta_ms=Eta(61_000, 125_000)
    )
    running = replace(operation(state="running", started_at_ms=NOW_MS), latest=latest)
    text = single(PerformanceReply(operation=running, performance=Performance())).text
    assert "another 1 m 01 s, 2 m 05 s at most in nine of ten" in text.replace("\N{NO-BREAK SPACE}", " ")
    assert "Its events are no longer kept." in text


@pytest.mark.parametrize("value", [0.0, 1e-9, 1e300, float("inf"), float("nan")])
def test_any_value_can_be_drawn(value: float) -> None:
    points = tuple(Point(1000 * i, value * i, value, 2**60 * i, 2**62, i) for i in range(5))
    single(replace(render(), performance=Performance(points=points, total=value)))
