"""A report as sections: every figure is one of the report's, and nothing empty stands there."""

from __future__ import annotations

from datetime import UTC

import pytest
from hypothesis import given

from rfm_runtime.core.pages.words import Local
from rfm_runtime.core.reports.period import period_report
from rfm_runtime.core.reports.single import operation_report
from rfm_runtime.protocol.operation import Operation
from rfm_ui.model.report import file_name, heading, sections
from tests.past import DAY_MS, HOSTILE, NOW_MS, day, operations, render

pytestmark = pytest.mark.scenario("E13", "J107")

LOCAL = Local(UTC)


def test_a_day() -> None:
    report = period_report(day(), since_ms=NOW_MS - DAY_MS, until_ms=NOW_MS, now_ms=NOW_MS, filters={"owner": "ana"})
    made = {section.head: section for section in sections(report, LOCAL)}
    facts = dict(made[""].rows)
    assert facts["submitted"] == "201"
    assert "completed" in facts["outcomes"]
    assert facts["at once"].startswith(f"{report.course.peak} at most")
    assert [row[0] for row in made["Kinds"].rows] == [kind.name for kind in report.kinds]
    assert made["Failures"].names == ("what", "how often", "last")
    assert heading(report, LOCAL).endswith(": owner ana")
    assert file_name(report, LOCAL) == "report-2025-05-04-0730.html"


def test_a_render() -> None:
    report = operation_report(render(), now_ms=NOW_MS)
    made = {section.head: section for section in sections(report, LOCAL)}
    facts = dict(made[""].rows)
    assert facts["state"] == "completed"
    assert facts["workers lost"] == "1 worker"
    assert [row[0] for row in made["Phases"].rows] == [phase.phase for phase in report.phases]
    assert [row[0] for row in made["What happened"].rows] == ["accepted", "started", "paused", "resumed", "completed"]
    assert heading(report, LOCAL) == "<i>Elephant</i> valley"
    assert file_name(report, LOCAL) == "report-op-1.html"


@given(operations())
def test_nothing_is_empty_whatever_there_was(found: list[Operation]) -> None:
    report = period_report(found, since_ms=NOW_MS - DAY_MS, until_ms=NOW_MS, now_ms=NOW_MS)
    for section in sections(report, LOCAL):
        assert section.rows
        for row in section.rows:
            assert row[0]
            assert section.names or row[1]
            assert not section.names or len(row) == len(section.names)


def test_what_others_have_written_is_printable() -> None:
    report = period_report(
        day(), since_ms=NOW_MS - DAY_MS, until_ms=NOW_MS, now_ms=NOW_MS, filters={"text": HOSTILE[5]}
    )
    said = "".join(text for section in sections(report, LOCAL) for row in section.rows for text in row)
    assert not {"\x00", "\x07", "\x1b"} & set(said + heading(report, LOCAL))
