"""`report`: what it asks for, how it chooses a format, and what it says of what it wrote."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from rfm_runtime.cli.app import run
from rfm_runtime.cli.report import about, format_of, report_of_period
from rfm_runtime.core.reports.single import operation_report
from rfm_runtime.errors import BadRequestError
from rfm_runtime.protocol.figures import PeriodReport
from rfm_runtime.protocol.history import PerformanceReply
from rfm_runtime.protocol.operation import Operation
from tests.past import DAY_MS, NOW_MS, day, operation, render


class Remembered:
    """A past that is known; `asked` is what for."""

    def __init__(self, found: list[Operation]) -> None:
        self.found = found
        self.asked: dict[str, Any] = {}

    def history(
        self, *, since_ms: int, until_ms: int | None, kinds: Sequence[str] | None, owner: str | None
    ) -> list[Operation]:
        self.asked = {"since_ms": since_ms, "until_ms": until_ms, "kinds": kinds, "owner": owner}
        return self.found

    def performance(self, operation_id: str) -> PerformanceReply:
        raise AssertionError(operation_id)


@pytest.mark.scenario("E13")
def test_an_open_period_ends_now() -> None:
    past = Remembered(day())
    made = report_of_period(past, (NOW_MS - DAY_MS, None), None, None, NOW_MS)
    assert isinstance(made, PeriodReport)
    assert past.asked == {"since_ms": NOW_MS - DAY_MS, "until_ms": None, "kinds": None, "owner": None}
    assert (made.until_ms, made.filters, len(made.operations)) == (NOW_MS, {}, 201)


def test_filters_are_asked_for_and_named() -> None:
    past = Remembered([])
    made = report_of_period(past, (1, 2), ["render", "train"], "ana", NOW_MS)
    assert isinstance(made, PeriodReport)
    assert past.asked == {"since_ms": 1, "until_ms": 2, "kinds": ["render", "train"], "owner": "ana"}
    assert (made.until_ms, made.filters) == (2, {"kind": "render, train", "owner": "ana"})


@pytest.mark.parametrize(
    ("output", "form", "wanted"),
    [
        ("report.html", None, "html"),
        ("REPORT.CSV", None, "csv"),
        ("a/b.json", None, "json"),
        ("report", None, "html"),
        ("-", None, "html"),
        ("-", "csv", "csv"),
        ("report.txt", "JSON", "json"),
    ],
)
def test_the_format(output: str, form: str | None, wanted: str) -> None:
    assert format_of(Path(output), form) == wanted


@pytest.mark.parametrize(("output", "form"), [("report.pdf", None), ("report.html", "pdf")])
def test_no_such_format(output: str, form: str | None) -> None:
    with pytest.raises(BadRequestError) as caught:
        format_of(Path(output), form)
    assert caught.value.hint == "name it .html, .csv or .json, or choose with --format html, csv or json"


@pytest.mark.parametrize(
    ("found", "text"),
    [
        ([], "no operations of 24 h"),
        ([operation()], "1 operation of 24 h, 1 completed"),
        ([operation("a"), operation("b", "failed")], "2 operations of 24 h, 1 completed, 1 failed"),
    ],
)
def test_the_closing_line_of_a_period(found: list[Operation], text: str) -> None:
    assert about(report_of_period(Remembered(found), (NOW_MS - DAY_MS, None), None, None, NOW_MS)) == text


def test_the_closing_line_of_an_operation() -> None:
    assert about(operation_report(render(), now_ms=NOW_MS)) == "<i>Elephant</i> valley, completed, ran 1 m 00 s"


@pytest.mark.scenario("I4", "I5")
@pytest.mark.parametrize(
    "arguments",
    [
        ["ID", "--since", "2d"],
        ["-o", "-", "--json"],
        ["--since", "1d", "--until", "2d"],
        ["--since", "soon"],
        ["-o", "report.pdf"],
        ["--format", "pdf"],
        ["-o", "taken.html"],
        ["-o", "folder/report.html"],
    ],
)
def test_bad_input_is_said_in_two_lines_before_anybody_is_asked(
    arguments: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "taken.html").write_text("mine", encoding="utf-8")
    assert run(["report", *arguments]) == 2
    shown = capsys.readouterr()
    assert shown.out == ""
    assert [line.split(":")[0] for line in shown.err.splitlines()] in (
        ["error[bad_request]", "hint"],
        ["error[output_exists]", "hint"],
        ["error[setup]", "hint"],
    )
    assert [one.name for one in tmp_path.iterdir()] == ["taken.html"]
    assert (tmp_path / "taken.html").read_text(encoding="utf-8") == "mine"
