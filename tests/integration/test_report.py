"""Reports of a real runtime: all formats agree with what it says of its operations, and files of others stay."""

from __future__ import annotations

import csv
import io
from pathlib import Path

import msgspec
import pytest

from rfm_runtime import Client
from rfm_runtime.cli.app import run
from rfm_runtime.protocol.figures import OperationReport, PeriodReport, Report
from rfm_runtime.protocol.operation import TERMINAL_STATES
from rfm_runtime.testing.runtime import Runtime, eventually
from tests.pages import check_page
from tests.whole import ENDLESS, KIND, QUICK

pytestmark = pytest.mark.integration

NAME = "<script>=1+1</script>"


@pytest.fixture(autouse=True)
def here(running: Runtime, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty folder, and the module's runtime as the local one."""
    monkeypatch.setenv("RFM_STATE_DIR", running.settings.state_dir)
    monkeypatch.setenv("RFM_RUNTIME_DIR", running.settings.runtime_dir)
    monkeypatch.delenv("RFM_URL", raising=False)
    monkeypatch.chdir(tmp_path)
    return tmp_path


@pytest.fixture(scope="module")
def finished(running: Runtime) -> list[str]:
    """Ids of two completed renders and a cancelled one."""
    with Client(url=running.url, token=running.info.token) as client:
        done = [client.submit(KIND, QUICK, name=NAME), client.submit(KIND, QUICK, name="=2+2")]
        endless = client.submit(KIND, ENDLESS, name="endless")
        eventually(lambda: endless.state == "running", timeout_s=60, what="it runs")
        endless.cancel()
        return [one.id for one in [*done, endless] if one.wait(60) in TERMINAL_STATES]


def read(path: Path) -> Report:
    return msgspec.json.decode(path.read_bytes(), type=Report)


@pytest.mark.scenario("E13", "B9", "J21")
def test_all_formats_of_a_period_agree_with_the_journal(here: Path, client: Client, finished: list[str]) -> None:
    for name in ("day.json", "day.csv", "day.html"):
        assert run(["report", "--since", "1h", "-o", name]) == 0
    report = read(here / "day.json")
    assert isinstance(report, PeriodReport)
    told = {one.operation_id: one for one in client.operations()}
    assert {one.operation_id for one in report.operations} == set(told) >= set(finished)
    for line in report.operations:
        one = told[line.operation_id]
        assert (line.state, line.name, line.created_at_ms) == (one.state, one.name, one.created_at_ms)
        assert (line.started_at_ms, line.ended_at_ms) == (one.started_at_ms, one.ended_at_ms)
    assert report.everything.tally.completed == sum(one.state == "completed" for one in told.values())
    assert sum(one.completed for one in report.course.bins) == report.everything.tally.completed
    content = (here / "day.csv").read_bytes().decode()
    rows = {row["operation_id"]: row for row in csv.DictReader(io.StringIO(content, newline=""), strict=True)}
    assert {one: row["state"] for one, row in rows.items()} == {one: told[one].state for one in told}
    assert rows[finished[1]]["name"] == "'=2+2"
    page = check_page((here / "day.html").read_text(encoding="utf-8"))
    assert NAME in page.text
    assert all(one in page.text for one in finished)


@pytest.mark.scenario("E13", "J21")
def test_the_report_of_one_render(here: Path, client: Client, finished: list[str]) -> None:
    assert run(["report", finished[0][-10:], "-o", "one.json"]) == 0
    assert run(["report", finished[0]]) == 0
    report = read(here / "one.json")
    assert isinstance(report, OperationReport)
    told = client.operation(finished[0])
    assert (report.operation.operation_id, report.operation.state) == (told.operation_id, told.state)
    assert [one.type for one in report.events][-1] == "operation_completed"
    assert report.events[-1].at_ms == told.ended_at_ms
    assert sum(report.phase_ms.values()) == (told.ended_at_ms or 0) - told.created_at_ms
    assert {"re", "im", "width"} <= report.params.keys()
    page = check_page((here / "report.html").read_text(encoding="utf-8"))
    assert NAME in page.text


def test_a_period_before_anything_was_is_empty(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", "--since", "2d", "--until", "1d"]) == 0
    assert capsys.readouterr().out == "report.html: no operations of 24 h\n"
    assert "Nothing was submitted" in check_page((here / "report.html").read_text(encoding="utf-8")).text


@pytest.mark.usefixtures("finished")
def test_kind_and_owner_choose(here: Path) -> None:
    assert run(["report", "--kind", "no.such", "-o", "none.json"]) == 0
    assert run(["report", "--kind", "no.such", "--kind", KIND, "-o", "some.json"]) == 0
    assert run(["report", "--owner", "nobody", "-o", "nobody.json"]) == 0
    counts = [len(report.operations) for report in map(read, here.glob("no*.json")) if isinstance(report, PeriodReport)]
    assert counts == [0, 0]
    some = read(here / "some.json")
    assert isinstance(some, PeriodReport)
    assert {one.name for one in some.kinds} == {KIND}
    assert some.filters == {"kind": f"no.such, {KIND}"}


@pytest.mark.scenario("I4")
def test_a_file_that_is_there_is_kept(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (here / "report.html").write_text("mine", encoding="utf-8")
    assert run(["report"]) == 2
    assert (here / "report.html").read_text(encoding="utf-8") == "mine"
    assert "--force" in capsys.readouterr().err
    assert run(["report", "--force"]) == 0
    check_page((here / "report.html").read_text(encoding="utf-8"))


@pytest.mark.scenario("I9")
@pytest.mark.usefixtures("finished")
def test_standard_output_and_json(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", "-o", "-", "--format", "json"]) == 0
    shown = capsys.readouterr()
    assert isinstance(msgspec.json.decode(shown.out, type=Report), PeriodReport)
    assert shown.err.startswith("-: ")
    assert list(here.iterdir()) == []
    assert run(["report", "--json"]) == 0
    said = msgspec.json.decode(capsys.readouterr().out)
    assert said.keys() == {"file", "format", "size_bytes", "since_ms", "until_ms", "operations"}
    assert said["size_bytes"] == (here / "report.html").stat().st_size


def test_no_such_operation(here: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert run(["report", "NOSUCHID"]) == 4
    assert capsys.readouterr().err.splitlines()[0] == "error[unknown_operation]: there is no operation 'NOSUCHID'"
    assert list(here.iterdir()) == []
