"""Reports that a runtime is asked for: the same figures as those of the command, and nothing that may not be seen."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest

from rfm_runtime import Client, JWTAuthenticator, ProgressReporter, ProgressReportingServer
from rfm_runtime.broker import looking_back
from rfm_runtime.errors import TooLargeError, UnknownOperationError
from rfm_runtime.protocol.figures import OperationReport, PeriodReport, Report
from rfm_runtime.testing.runtime import eventually
from tests.commands import environment, output
from tests.tokens import SECRET

pytestmark = [pytest.mark.integration, pytest.mark.scenario("E13", "J107")]

AUTHENTICATOR = JWTAuthenticator(SECRET)


@pytest.fixture(scope="module")
def server() -> Iterator[ProgressReportingServer]:
    with ProgressReportingServer(port=0, memory=True, authenticator=AUTHENTICATOR) as started:
        for number in range(6):
            with ProgressReporter("import" if number % 2 else "backup", f"work {number}") as reporter:
                reporter.report_progress(50)
                if number == 3:
                    reporter.report_failed(f"no room for {number}")
        with Client(url=started.url, token=started.token) as client:
            eventually(lambda: sum(one.ended_at_ms is not None for one in client.operations()) == 6, what="all ended")
        yield started


@pytest.fixture
def client(server: ProgressReportingServer) -> Iterator[Client]:
    with Client(url=server.url, token=server.token) as connected:
        yield connected


def by_command(server: ProgressReportingServer, folder: Path, *arguments: str) -> Report:
    (folder / "token").write_text(server.token)
    env = environment(folder, RFM_URL=server.url, RFM_TOKEN_FILE=str(folder / "token"), TZ="UTC")
    return msgspec.json.decode(output("report", "-o", "-", "--format", "json", *arguments, env=env), type=Report)


def test_a_period_is_as_the_command_has_it(server: ProgressReportingServer, client: Client, tmp_path: Path) -> None:
    now_ms = time.time_ns() // 1_000_000
    period = ("--since", "2020-01-01", "--until", "2100-01-01")
    command = by_command(server, tmp_path, *period)
    assert isinstance(command, PeriodReport)
    asked = client.period_report(since_ms=command.since_ms, until_ms=command.until_ms, operations=500)
    assert msgspec.structs.replace(asked, now_ms=0) == msgspec.structs.replace(command, now_ms=0)
    assert asked.now_ms >= now_ms
    assert (asked.everything.tally.submitted, asked.everything.tally.failed) == (6, 1)
    assert [one.message for one in asked.failures] == ["no room for 3"]

    short = client.period_report(since_ms=command.since_ms, until_ms=command.until_ms, operations=2)
    assert short.operations == asked.operations[:2]
    assert short.everything == asked.everything

    command = by_command(server, tmp_path, *period, "--kind", "import")
    assert isinstance(command, PeriodReport)
    narrow = client.period_report(
        since_ms=command.since_ms, until_ms=command.until_ms, operations=500, kinds=["import"]
    )
    assert msgspec.structs.replace(narrow, now_ms=0) == msgspec.structs.replace(command, now_ms=0)
    assert narrow.filters == {"kind": "import"}


def test_an_open_period_ends_now(client: Client) -> None:
    report = client.period_report()
    assert report.until_ms == report.now_ms
    assert report.everything.tally.submitted == 6
    assert report.operations == ()


def test_one_operation_is_as_the_command_has_it(
    server: ProgressReportingServer, client: Client, tmp_path: Path
) -> None:
    operation_id = client.operations(text="work 3")[0].operation_id
    command = by_command(server, tmp_path, operation_id)
    asked = client.operation_report(operation_id)
    assert isinstance(command, OperationReport)
    assert msgspec.structs.replace(asked, now_ms=0) == msgspec.structs.replace(command, now_ms=0)
    assert asked.operation.error_message == "no room for 3"
    with pytest.raises(UnknownOperationError):
        client.operation_report("nobody")


def test_one_that_runs_is_told_as_it_is_now(client: Client) -> None:
    with ProgressReporter("running", "loop") as reporter:
        reporter.report_progress(40)
        eventually(lambda: client.operations(text="loop"), what="it runs")
        (one,) = client.operations(text="loop")
        eventually(lambda: client.operation_report(one.operation_id).progress == 40.0, what="how far it is")
        assert client.operation_report(one.operation_id).phases[-1].phase == "running"


@pytest.mark.scenario("G3")
def test_nobody_is_shown_more_than_he_may_see(server: ProgressReportingServer, client: Client) -> None:
    backup = client.operations(kinds=["backup"])[0].operation_id
    with Client(url=server.url, token=AUTHENTICATOR.issue("eve", ["viewer"], kinds=["import"])) as narrow:
        report = narrow.period_report(operations=500)
        assert {line.kind for line in report.operations} == {"import"}
        assert report.everything.tally.submitted == 3
        assert [kind.name for kind in report.kinds] == ["import"]
        assert narrow.period_report(kinds=["backup"]).everything.tally.submitted == 0
        with pytest.raises(UnknownOperationError, match=f"no operation {backup}"):
            narrow.operation_report(backup)
    with Client(url=server.url, token=AUTHENTICATOR.issue("rita", ["reporter"])) as reporter:
        assert reporter.period_report(operations=500).everything.tally.submitted == 0


def test_more_than_a_report_is_made_of_is_refused(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(looking_back, "REPORTED_LIMIT", 5)
    with pytest.raises(TooLargeError, match="more than 5 operations"):
        client.period_report()
