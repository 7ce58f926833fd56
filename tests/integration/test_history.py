"""What was: listed by period and filter from the journal, over restarts and beyond what memory keeps."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from rfm_runtime import Client
from rfm_runtime.errors import BadRequestError, UnknownOperationError
from rfm_runtime.protocol.operation import OperationEvent, ProgressUpdate
from rfm_runtime.testing.runtime import Runtime, eventually, runtime
from tests.commands import cli, document, environment, output, two_lines
from tests.programs import Script, ended
from tests.programs import environment as beside
from tests.whole import KIND, SECONDS

pytestmark = [pytest.mark.integration, pytest.mark.scenario("B9")]

PROGRAMS = """
from rfm_runtime import OperationCanceled, ProgressReporter

for number in range({count}):
    with ProgressReporter("import", f"{name} {{number}}", labels={{"run": str(number)}}) as reporter:
        reporter.report_progress(50)
        if number == 1:
            reporter.report_failed("no disk")
"""


@pytest.fixture(autouse=True)
def no_script_is_left() -> Iterator[None]:
    yield
    Script.kill_all()


@pytest.fixture
def env(running: Runtime, tmp_path: Path) -> dict[str, str]:
    return environment(tmp_path, RFM_STATE_DIR=running.settings.state_dir, RFM_RUNTIME_DIR=running.settings.runtime_dir)


def programs(running: Runtime, name: str, count: int) -> None:
    status, _, err = Script(PROGRAMS.format(name=name, count=count), beside(running)).end()
    assert (status, err) == (0, "")


def test_filtered_by_time_kind_state_owner_and_label(running: Runtime, client: Client, env: dict[str, str]) -> None:
    before_ms = time.time_ns() // 1_000_000
    programs(running, "filtered", 3)
    ended(client, "filtered 2")
    found = client.history(since_ms=before_ms, text="filtered")
    # Begun within a millisecond, they have no order among themselves.
    assert sorted(o.name for o in found) == ["filtered 0", "filtered 1", "filtered 2"]
    assert [o.created_at_ms for o in found] == sorted((o.created_at_ms for o in found), reverse=True)
    assert client.history(since_ms=before_ms, until_ms=before_ms, text="filtered") == []
    assert [o.name for o in client.history(states=["failed"], text="filtered")] == ["filtered 1"]
    assert [o.name for o in client.history(labels={"run": "0"}, text="filtered")] == ["filtered 0"]
    assert client.history(owner="nobody") == []
    assert client.history(kinds=["other"], text="filtered") == []
    table = output("history", "--kind", "import", "--text", "filtered", env=env)
    assert table.splitlines()[0].split() == ["id", "submitted", "kind", "name", "owner", "state", "time"]
    assert len(table.splitlines()) == 4
    only = document("history", "--state", "failed", "--label", "run=1", "--text", "filtered", env=env)
    assert [operation["error"]["message"] for operation in only["operations"]] == ["no disk"]
    assert document("history", "--limit", "2", "--text", "filtered", env=env)["more"] is True


def test_after_a_restart_and_beyond_what_memory_keeps(tmp_path: Path) -> None:
    with runtime(tmp_path, workers=1, finished_keep=2) as running:
        with Client(url=running.url, token=running.info.token) as client:
            programs(running, "old", 6)
            ended(client, "old 5")
            eventually(lambda: len(client.operations()) <= 2, what="memory forgets")
            assert len(client.history()) == 6
        running.stop(now=True)
        running.start()
        env = environment(tmp_path, RFM_STATE_DIR=str(tmp_path / "state"), RFM_RUNTIME_DIR=str(tmp_path / "run"))
        with Client(url=running.url, token=running.info.token) as client:
            found = client.history()
            assert sorted(o.name for o in found) == [f"old {number}" for number in range(6)]
            assert [o.name for o in found if o.error is not None] == ["old 1"]
            oldest = next(o.operation_id for o in found if o.name == "old 0")
            went = client.performance(oldest)
            assert [event.type for event in went.events] == [
                "operation_accepted",
                "operation_started",
                "operation_completed",
            ]
            assert went.performance.points[-1].done == 50.0
        # By the end of its id, although nobody has it in memory.
        assert oldest[-8:] in output("explain", oldest[-8:], env=env)


def test_how_a_render_went(running: Runtime, client: Client) -> None:
    operation = client.submit(KIND, SECONDS)
    eventually(lambda: client.performance(operation.id).performance.points, timeout_s=30, what="a first point")
    assert operation.wait(90) == "completed"
    went = client.performance(operation.id)
    points = went.performance.points
    final = client.operation(operation.id).latest
    assert final is not None
    assert (went.performance.total, went.performance.unit, points[-1].done) == (1_440_000.0, "px", 1_440_000.0)
    assert points[-1].cpu_s == pytest.approx(final.cpu_s, abs=0.01)
    assert points[-1].iterations == final.iterations
    assert 1 <= went.performance.slots == len(running.workers())
    assert max(point.workers for point in points) >= 1
    assert went.performance.peak_memory_bytes > 50_000_000
    assert (went.performance.deaths, went.performance.losses, went.performance.paused_ms) == (0, 0, 0)
    assert went.params["max_iter"] == 100_000


@pytest.mark.fault
def test_deaths_and_pauses_are_counted(running: Runtime, client: Client) -> None:
    operation = client.submit(KIND, SECONDS)
    eventually(lambda: operation.state == "running", timeout_s=30, what="it runs")
    # Only then has each worker tiles in hand, and a death with none is none of this operation's.
    eventually(lambda: any(p.done > 0 for p in client.performance(operation.id).performance.points), what="tiles")
    running.workers()[0].kill()
    eventually(lambda: client.performance(operation.id).performance.deaths == 1, what="the death is counted")
    operation.pause()
    eventually(lambda: operation.state == "paused", what="it stands")
    eventually(lambda: client.performance(operation.id).performance.paused_ms > 300, what="it stands for a while")
    operation.resume()
    assert operation.wait(90) == "completed"
    went = client.performance(operation.id).performance
    assert went.deaths == 1
    assert 300 < went.paused_ms < 30_000


@pytest.mark.fault
def test_a_killed_broker_loses_none_of_it(running: Runtime, client: Client) -> None:
    operation = client.submit(KIND, SECONDS)
    eventually(lambda: operation.state == "running", timeout_s=30, what="it runs")
    running.kill("broker")
    assert operation.wait(90) == "completed"
    went = client.performance(operation.id).performance
    assert went.points[-1].done == 1_440_000.0
    assert [point.t_ms for point in went.points] == sorted(point.t_ms for point in went.points)


def test_what_nobody_has_heard_of_is_said(client: Client) -> None:
    with pytest.raises(UnknownOperationError):
        client.performance("nobody")
    with pytest.raises(BadRequestError):
        client.history(since_ms=-1)


@pytest.mark.scenario("I5")
@pytest.mark.parametrize(
    "options",
    [
        ["--since", "yesterday"],
        ["--since", "1d", "--until", "2d"],
        ["--state", "finished"],
        ["--label", "run"],
        ["--limit", "0"],
    ],
)
def test_what_cannot_be_meant_is_two_lines(env: dict[str, str], options: list[str]) -> None:
    two_lines(cli("history", *options, env=env), 2)


def test_an_empty_period_is_said(env: dict[str, str]) -> None:
    assert "nothing was submitted" in output("history", "--until", "2001-01-01", "--since", "2000-01-01", env=env)


LONG_END = """
import time
from rfm_runtime import progress

with progress(100, "long end", kind="uneven") as bar:
    for step in range(100):
        bar.update()
        time.sleep(0.005 if step < 90 else 0.15)
"""


@pytest.mark.scenario("J22")
def test_the_time_left_is_learned_from_past_runs_over_a_restart(tmp_path: Path) -> None:
    with runtime(tmp_path, workers=1) as running:
        for _ in range(3):
            status, _, err = Script(LONG_END, beside(running)).end()
            assert (status, err) == (0, "")
        running.stop(now=True)
        running.start()
        with Client(url=running.url, token=running.info.token) as client:
            script = Script(LONG_END, beside(running))
            seen = []
            for notice in client.watch():
                if isinstance(notice, ProgressUpdate) and notice.eta_ms is not None and 60 <= notice.done <= 90:
                    seen.append(notice.eta_ms.p50)
                if isinstance(notice, OperationEvent) and notice.type == "operation_completed":
                    break
            assert script.end()[0] == 0
    # By the rate alone it would be a fifth of a second; what follows takes 1.5.
    assert seen
    assert min(seen) > 500
