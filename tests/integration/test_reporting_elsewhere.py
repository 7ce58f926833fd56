"""Programs on another machine: they report over WebSocket, with an address and a token and nothing else."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from websockets.sync.client import ClientConnection, connect

from rfm_runtime import Client
from rfm_runtime.protocol.operation import TERMINAL_EVENTS
from rfm_runtime.testing.runtime import Runtime, eventually, runtime
from tests.programs import Script, elsewhere, ended, named
from tests.whole import Recorder

pytestmark = [pytest.mark.integration, pytest.mark.scenario("J20")]


@pytest.fixture(autouse=True)
def no_script_is_left() -> Iterator[None]:
    yield
    Script.kill_all()


@pytest.fixture
def recorder(running: Runtime) -> Iterator[Recorder]:
    recorder = Recorder(running)
    eventually(lambda: any(type(notice).__name__ == "Live" for notice in recorder.notices), what="a live watcher")
    yield recorder
    recorder.close()


LOOP = """
import time
from rfm_runtime import OperationCanceled, track

print("go", flush=True)
try:
    for _ in track(range({steps}), desc="{name}", kind="loop"):
        time.sleep(0.005)
except OperationCanceled:
    print("stopped")
else:
    print("done")
"""


def test_a_program_elsewhere_reports_like_one_nearby(running: Runtime, client: Client, recorder: Recorder) -> None:
    code = """
    from rfm_runtime import ProgressReporter

    with ProgressReporter("import", "far", labels={"site": "b"}, pausable=True) as reporter:
        reporter.report_progress(25, "reading", details={"rows": 10})
        input()
        reporter.report_failed("no disk")
    """
    script = Script(code, elsewhere(running))
    operation = named(client, "far")
    eventually(lambda: (o := client.operation(operation.operation_id)).latest and o.latest.details, what="details")
    shown = client.operation(operation.operation_id)
    assert shown.latest is not None
    assert (shown.latest.progress, shown.latest.step, shown.latest.details) == (25.0, "reading", {"rows": 10})
    assert (shown.kind, shown.labels, shown.owner) == ("import", {"site": "b"}, "local")
    script.go_on()
    assert script.end()[0] == 0
    final = ended(client, "far")
    assert (final.state, final.error and final.error.message) == ("failed", "no disk")
    eventually(lambda: recorder.types(final.operation_id) == ["accepted", "started", "failed"], what="the whole story")


@pytest.mark.scenario("B3")
def test_it_is_cancelled_from_here(running: Runtime, client: Client) -> None:
    script = Script(LOOP.format(steps=100_000, name="far away"), elsewhere(running))
    operation = named(client, "far away")
    client.cancel(operation.operation_id)
    assert script.end() == (0, "go\nstopped\n", "")
    assert ended(client, "far away").state == "canceled"


@pytest.mark.scenario("B12")
def test_it_stands_still_while_it_is_paused(running: Runtime, client: Client) -> None:
    script = Script(LOOP.format(steps=400, name="far pause"), elsewhere(running))
    operation = named(client, "far pause")
    client.pause(operation.operation_id)
    eventually(lambda: client.operation(operation.operation_id).state == "paused", what="it stands")
    stood = client.operation(operation.operation_id).latest
    client.resume(operation.operation_id)
    assert script.end() == (0, "go\ndone\n", "")
    final = ended(client, "far pause")
    assert stood is not None
    assert final.latest is not None
    assert (final.state, final.latest.done) == ("completed", 400)
    assert stood.done < 400


@pytest.mark.fault
@pytest.mark.scenario("F2", "F3")
@pytest.mark.parametrize("victim", ["gateway-0", "broker"])
def test_what_lies_between_is_killed_and_the_loop_goes_on(
    running: Runtime, client: Client, recorder: Recorder, victim: str
) -> None:
    name = f"far {victim}"
    script = Script(LOOP.format(steps=600, name=name), elsewhere(running))
    operation = named(client, name)
    eventually(lambda: recorder.progress(operation.operation_id), what="progress")
    running.kill(victim)
    shown = len(recorder.progress(operation.operation_id))
    eventually(lambda: len(recorder.progress(operation.operation_id)) > shown, what="it goes on")
    assert script.end() == (0, "go\ndone\n", "")
    final = ended(client, name)
    assert final.latest is not None
    assert (final.state, final.latest.done) == ("completed", 600)
    eventually(lambda: recorder.ended(operation.operation_id), what="the outcome is seen")
    assert sum(event.type in TERMINAL_EVENTS for event in recorder.events(operation.operation_id)) == 1


def test_a_server_that_comes_later_is_told_with_its_new_token(tmp_path: Path) -> None:
    with runtime(tmp_path, workers=1) as before:
        env = elsewhere(before)
        port = int(before.url.rpartition(":")[2])
        before.stop(now=True)
    code = """
    from rfm_runtime import ProgressReporter

    with ProgressReporter("job", "before") as job:
        job.report_progress(100)
    print("over", flush=True)
    input()
    print(job.flush(30))
    """
    began_ms = time.time_ns() // 1_000_000
    script = Script(code, env)
    assert script.line() == "over"
    # Longer than the way to a broker that has just begun, which counts as age of the operation too.
    time.sleep(2.0)
    later_ms = time.time_ns() // 1_000_000
    with runtime(tmp_path, workers=1, port=port) as later, Client(url=later.url, token=later.info.token) as client:
        told = ended(client, "before")
        assert told.state == "completed"
        assert told.started_at_ms is not None
        # When it began, not when it could be told.
        assert began_ms <= told.created_at_ms == told.started_at_ms < later_ms
        script.go_on()
        status, out, err = script.end()
        assert (status, out) == (0, "True\n")
        assert err.count("progress is shown in this program alone") == 1


def test_without_the_right_token_a_program_runs_as_it_would(running: Runtime, client: Client) -> None:
    env = elsewhere(running) | {"RFM_TOKEN": "wrong"}
    status, out, err = Script(LOOP.format(steps=40, name="stranger"), env).end()
    assert (status, out) == (0, "go\ndone\n")
    assert "another token" in err or "4501" in err
    assert err.count("progress is shown in this program alone") == 1
    assert all(operation.name != "stranger" for operation in client.operations())


@pytest.mark.scenario("D10")
def test_the_right_token_may_come_later(running: Runtime, client: Client, tmp_path: Path) -> None:
    token = tmp_path / "token"
    token.write_text("stale")
    code = """
    import logging, sys, time
    from rfm_runtime import ProgressReporter

    logging.basicConfig(stream=sys.stdout, format="%(message)s")
    with ProgressReporter("job", "late token") as job:
        input()
    while not job.flush(1.0):
        time.sleep(0.1)
    print("True")
    """
    script = Script(code, elsewhere(running) | {"RFM_TOKEN_FILE": str(token)})
    assert "4501" in script.line()
    token.write_text(running.info.token)
    script.go_on()
    assert script.end() == (0, "True\n", "")
    assert ended(client, "late token").state == "completed"


def test_a_program_says_where_it_reports(running: Runtime, client: Client) -> None:
    code = """
    import os
    from rfm_runtime import ConfigError, ProgressReporter, report_to

    try:
        report_to("http://nowhere")
    except ConfigError as error:
        print(error.message)
    report_to(os.environ.pop("RFM_URL"), open(os.environ.pop("RFM_TOKEN_FILE")).read())
    with ProgressReporter("job", "chosen"):
        pass
    """
    status, out, err = Script(code, elsewhere(running)).end()
    assert (status, out, err) == (0, "'http://nowhere' is no address of a server\n", "")
    assert ended(client, "chosen").state == "completed"


@pytest.mark.scenario("B8")
def test_a_program_that_died_elsewhere_has_failed_when_its_lease_ends(tmp_path: Path) -> None:
    short = {"workers": 1, "lease_s": 2.0, "stale_after_s": 0.5}
    with runtime(tmp_path, **short) as running, Client(url=running.url, token=running.info.token) as client:
        script = Script(LOOP.format(steps=100_000, name="dying"), elsewhere(running))
        operation = named(client, "dying")
        eventually(lambda: client.operation(operation.operation_id).latest, what="progress")
        script.process.kill()
        script.end()
        eventually(lambda: client.operation(operation.operation_id).stale, what="it is stale")
        final = ended(client, "dying")
        assert (final.state, final.error and final.error.code) == ("failed", "worker_lost")


# --- without our client -------------------------------------------------------------------------


class Plain:
    """What any WebSocket library can do: JSON text."""

    def __init__(self, socket: ClientConnection, token: str) -> None:
        self.socket = socket
        self.say("hello", token=token)
        self.until("welcome")

    def say(self, message: str, number: int | None = None, /, **data: Any) -> None:
        envelope: dict[str, Any] = {"type": message, "data": data}
        if number is not None:
            envelope["id"] = number
        self.socket.send(json.dumps(envelope))

    def until(self, kind: str) -> dict[str, Any]:
        while True:
            message = json.loads(self.socket.recv(timeout=10))
            for envelope in message if isinstance(message, list) else [message]:
                if envelope["type"] == kind:
                    data: dict[str, Any] = envelope.get("data", {})
                    return data


@pytest.fixture
def plain(running: Runtime) -> Iterator[Plain]:
    with connect(running.url) as socket:
        yield Plain(socket, running.info.token)


def test_any_websocket_library_can_report(plain: Plain, client: Client) -> None:
    plain.say("operation_started", 1, operation_id="plain-1", kind="script", name="plain", total=3)
    assert plain.until("reported") == {"operation_id": "plain-1"}
    plain.say("progress_update", operation_id="plain-1", done=1, message="one")
    eventually(lambda: (o := client.operation("plain-1")).latest and o.latest.done == 1, what="its progress")
    client.cancel("plain-1", reason="enough")
    assert plain.until("asked") == {"operation_id": "plain-1", "cancel": True}
    plain.say("operation_canceled", 2, operation_id="plain-1", reason="as asked")
    plain.until("ok")
    assert client.operation("plain-1").state == "canceled"
    plain.say("progress_update", 3, operation_id="plain-2", progress=10)
    assert plain.until("error")["code"] == "unknown_operation"


def test_what_it_is_asked_reaches_it_through_the_brokers_death(running: Runtime, plain: Plain, client: Client) -> None:
    plain.say("operation_started", 1, operation_id="plain-3", kind="script", name="plain")
    plain.until("reported")
    running.kill("broker")
    eventually(lambda: client.cancel("plain-3") == "cancelling", what="the cancel is taken", timeout_s=20)
    assert plain.until("asked") == {"operation_id": "plain-3", "cancel": True}
    plain.say("operation_canceled", 2, operation_id="plain-3")
    plain.until("ok")
