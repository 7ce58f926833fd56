"""A part is away or does not answer: what is said of it is true, and says since when, what is kept, and what to do."""

from __future__ import annotations

import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rfm_runtime import Client
from rfm_runtime.errors import OperationFailedError, UnavailableError
from rfm_runtime.testing.runtime import Runtime, eventually, runtime
from tests.commands import cli, two_lines
from tests.programs import Script, ended, environment

pytestmark = [pytest.mark.integration, pytest.mark.fault]

VIEW = {"re": "-0.5", "im": "0", "width": "3", "width_px": 64, "height_px": 64, "max_iter": 50}
LONG = VIEW | {"max_iter": 20_000_000, "interior_tests": False, "width_px": 256, "height_px": 256}


@pytest.fixture
def hurt(tmp_path: Path) -> Iterator[Runtime]:
    """A runtime whose parts the test freezes."""
    with runtime(tmp_path, resources_interval_s=0.5) as started:
        yield started
        for process in started.tree():
            process.send_signal(signal.SIGCONT)


@pytest.fixture
def connected(hurt: Runtime) -> Iterator[Client]:
    with Client(url=hurt.url, token=hurt.info.token) as client:
        yield client


def ready(running: Runtime) -> tuple[int, str]:
    url = running.url.replace("ws://", "http://")
    try:
        with urllib.request.urlopen(f"{url}/readyz", timeout=10) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refused:
        return refused.code, refused.read().decode()


def refusal(connected: Client) -> str:
    try:
        connected.operations()
    except UnavailableError as error:
        return error.message
    return ""


@pytest.mark.scenario("F2", "F6")
def test_a_broker_that_does_not_answer(hurt: Runtime, connected: Client) -> None:
    broker = hurt.processes()["broker"]
    broker.send_signal(signal.SIGSTOP)
    eventually(lambda: ready(hurt)[0] == 503, what="it is noticed")
    assert "not ready: no word from the broker for " in ready(hurt)[1]
    with ThreadPoolExecutor(1) as pool:
        # Beside the commands: after ten seconds without a word a gateway hands nothing on any more.
        maybe = pool.submit(
            connected.submit, "render.escape_time", VIEW, operation_id="MAYBE" + "0" * 21, request_key="maybe"
        )
        status = cli("status", env=environment(hurt))
        assert status.returncode == 6
        assert "no word from the broker" in status.stdout
        assert "what was accepted is kept" in status.stdout
        what, todo = two_lines(cli("ps", env=environment(hurt)), 6)
        assert "the broker does not answer and has said nothing for" in what
        assert "what was accepted is on disk" in what
        assert "rfm-runtime status" in todo
        # Nobody knows whether it will be taken up; whoever repeats it under its names does nothing twice.
        with pytest.raises(UnavailableError) as unknown:
            maybe.result()
    assert "MAYBE" in unknown.value.hint
    assert "'maybe'" in unknown.value.hint
    eventually(lambda: "has not heard of the broker" in refusal(connected), timeout_s=20, what="it says so at once")
    broker.send_signal(signal.SIGCONT)
    eventually(lambda: ready(hurt)[0] == 200, what="it is ready again")
    again = connected.submit("render.escape_time", VIEW, operation_id="MAYBE" + "0" * 21, request_key="maybe")
    again.outcome(timeout_s=60)
    assert [o.operation_id for o in connected.operations()] == [again.id]


@pytest.mark.scenario("F6", "J18")
def test_an_engine_that_does_not_answer(hurt: Runtime, connected: Client) -> None:
    operation = connected.submit("render.escape_time", LONG)
    eventually(lambda: operation.state == "running", what="it runs")
    engine = hurt.processes()["engine-0"]
    engine.send_signal(signal.SIGSTOP)

    def health() -> str:
        resources = connected.resources()
        return "" if resources is None else "; ".join(resources.health.reasons)

    eventually(lambda: "engine-0: no word for more than" in health(), what="it is named")
    status = cli("status", env=environment(hurt))
    assert status.returncode == 0
    assert "health: unhealthy" in status.stdout
    assert "engine-0: no word" in status.stdout
    eventually(lambda: connected.operation(operation.id).stale, what="what it has is shown as silent")
    lines = "\n".join(connected.explain(operation.id))
    assert "engine-0 has been silent for" in lines
    assert "its process lives" in lines
    engine.send_signal(signal.SIGCONT)
    eventually(lambda: "engine-0" not in health(), what="it is heard again")
    operation.cancel(mode="hard")
    assert operation.wait(timeout_s=30) == "canceled"


@pytest.mark.scenario("F3", "F6")
def test_a_gateway_that_does_not_answer_holds_up_no_program(hurt: Runtime) -> None:
    gateway = hurt.processes()["gateway-0"]
    gateway.send_signal(signal.SIGSTOP)
    status = cli("status", env=environment(hurt))
    assert status.returncode == 6
    assert "the gateway does not answer" in status.stdout
    script = Script(
        """
        from rfm_runtime import track
        for _ in track(range(3), "meanwhile"): pass
        """,
        environment(hurt),
    )
    status_code, _, err = script.end()
    assert (status_code, "kept" in err, "lost" in err) == (0, False, False)
    gateway.send_signal(signal.SIGCONT)
    with Client(url=hurt.url, token=hurt.info.token) as client:
        assert ended(client, "meanwhile").state == "completed"


@pytest.mark.scenario("B2", "J31")
def test_what_ended_badly_says_how_bad_it_is_and_what_to_do_everywhere(hurt: Runtime, connected: Client) -> None:
    script = Script(
        """
        from rfm_runtime import ProgressReporter
        import time
        reporter = ProgressReporter("test", "gone")
        reporter.report_progress(40)
        print("ready")
        time.sleep(60)
        """,
        environment(hurt),
    )
    assert script.line() == "ready"
    eventually(lambda: any(o.name == "gone" for o in connected.operations()), what="it is heard of")
    script.process.kill()
    script.end()
    operation = ended(connected, "gone")
    env = environment(hurt)
    said = "error[worker_lost]: the program that reported it"
    watched = cli("watch", operation.operation_id, env=env)
    assert watched.returncode == 7
    assert f"is failed: {said}" in watched.stdout
    assert "see what that program has printed" in watched.stdout
    shown = cli("show", operation.operation_id, env=env)
    assert said in shown.stdout
    for command in (
        ["fetch", operation.operation_id, "-o", "x.png"],
        ["fetch", operation.operation_id, "-o", "x.png", "--wait"],
    ):
        done = cli(*command, env=env, cwd=hurt.folders.state)
        assert done.returncode == 7
        assert done.stderr.startswith("error[worker_lost]: ")
        assert done.stderr.splitlines()[1] == "hint: see what that program has printed"
    report = cli("report", operation.operation_id, "-o", "-", env=env)
    assert "error[worker_lost]" in report.stdout
    assert said in "\n".join(connected.explain(operation.operation_id))
    with pytest.raises(OperationFailedError) as failed:
        connected.handle(operation.operation_id).outcome(timeout_s=10)
    assert (failed.value.cause_code, failed.value.cause_severity) == ("worker_lost", "error")
