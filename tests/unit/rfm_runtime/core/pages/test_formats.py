"""The three formats: they agree, and no spreadsheet computes what somebody called his operation."""

from __future__ import annotations

import csv
import io
from datetime import UTC

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.core.pages.formats import COLUMNS, written
from rfm_runtime.core.pages.words import Local
from rfm_runtime.core.reports.period import period_report
from rfm_runtime.core.reports.single import operation_report
from rfm_runtime.protocol.figures import PeriodReport, Report
from rfm_runtime.protocol.operation import Operation
from tests.pages import check_page
from tests.past import DAY_MS, NOW_MS, day, operation, operations, render

pytestmark = pytest.mark.scenario("J21", "E13")

LOCAL = Local(UTC)


def reported(found: list[Operation]) -> PeriodReport:
    return period_report(found, since_ms=NOW_MS - DAY_MS, until_ms=NOW_MS, now_ms=NOW_MS)


def rows(content: bytes) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO(content.decode(), newline=""), strict=True))


def test_all_formats_of_a_day_say_the_same() -> None:
    report = reported(day())
    page = check_page(written(report, "html", LOCAL).decode())
    table = rows(written(report, "csv", LOCAL))
    decoded = msgspec.json.decode(written(report, "json", LOCAL), type=Report)
    assert decoded == report
    assert [row["operation_id"] for row in table] == [one.operation_id for one in report.operations]
    assert sum(row["state"] == "failed" for row in table) == report.everything.tally.failed
    assert f"{report.everything.tally.failed} failed" in page.text


@given(operations())
def test_csv_has_a_line_for_each_operation(found: list[Operation]) -> None:
    content = written(reported(found), "csv", LOCAL)
    assert content.startswith((",".join(COLUMNS) + "\r\n").encode())
    assert sorted(row["operation_id"] for row in rows(content)) == sorted(one.operation_id for one in found)


@given(st.text(st.characters(exclude_categories=["Cs"])), st.sampled_from(["", "=", "+", "-", "@", "\t", "\r"]))
def test_no_cell_is_a_formula(text: str, first: str) -> None:
    name = (first + text).replace("\x00", "")
    [row] = rows(written(reported([operation(name=name)]), "csv", LOCAL))
    assert row["name"].removeprefix("'") == name.removeprefix("'")
    assert not row["name"].startswith(("=", "@", "\t", "\r"))
    if row["name"].startswith(("+", "-")):
        float(row["name"])


def test_numbers_are_numbers() -> None:
    one = operation(name="-5", priority=-7, done=1.5, total=3.0, started_at_ms=NOW_MS - 1500, labels={"a": "=1"})
    [row] = rows(written(reported([one]), "csv", LOCAL))
    assert (row["name"], row["priority"], row["done"], row["total"]) == ("-5", "-7", "1.5", "3.0")
    assert (row["submitted_at"], row["ended_at"], row["running_s"]) == ("2025-05-05T07:30:00.000Z", "", "1.5")
    assert row["labels"] == '{"a":"=1"}'


def test_one_operation_has_one_line() -> None:
    report = operation_report(render(), now_ms=NOW_MS)
    [row] = rows(written(report, "csv", LOCAL))
    assert (row["operation_id"], row["unit"], row["running_s"]) == ("op-1", "tiles", "60.0")
    assert msgspec.json.decode(written(report, "json", LOCAL), type=Report) == report
