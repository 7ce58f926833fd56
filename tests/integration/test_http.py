"""What the port says over plain HTTP, what a process says of itself, and an operation's trace through all of them."""

from __future__ import annotations

import hashlib
import http.client
import json
import socket
import threading
import time
from contextlib import ExitStack
from urllib.parse import urlsplit

import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from rfm_runtime import Client
from rfm_runtime.testing.runtime import Runtime, eventually
from tests.whole import ENDLESS, KIND, QUICK

pytestmark = pytest.mark.integration


def ask(running: Runtime, path: str, *, method: str = "GET", token: bool = True, **headers: str):
    """Status, headers and body of one request."""
    where = urlsplit(running.url)
    if token:
        headers["Authorization"] = f"Bearer {running.info.token}"
    asked = http.client.HTTPConnection(where.hostname, where.port, timeout=10)
    try:
        asked.request(method, path, headers=headers)
        answer = asked.getresponse()
        return answer.status, answer.headers, answer.read()
    finally:
        asked.close()


@pytest.mark.scenario("J3")
def test_health_is_public_and_readiness_says_why_not(running: Runtime, client: Client) -> None:
    assert ask(running, "/healthz", token=False)[::2] == (200, b"ok\n")
    assert ask(running, "/readyz", token=False)[::2] == (200, b"ready\n")
    broker = running.processes()["broker"]
    broker.suspend()
    try:
        _, _, body = eventually(
            lambda: (found := ask(running, "/readyz", token=False))[0] == 503 and found, what="not ready"
        )
        assert b"broker" in body
        assert ask(running, "/healthz", token=False)[0] == 200
    finally:
        broker.resume()
    eventually(lambda: ask(running, "/readyz", token=False)[0] == 200, what="ready again")
    assert client.submit(KIND, QUICK).wait(30) == "completed"


@pytest.mark.scenario("J3")
def test_operations_and_their_files_are_readable_with_the_token_alone(running: Runtime, client: Client) -> None:
    operation = client.submit(KIND, QUICK)
    assert operation.wait(30) == "completed"
    assert ask(running, "/v1/operations", token=False)[0] == 401
    assert ask(running, "/v1/operations", token=False, Authorization="Bearer wrong")[0] == 401
    status, headers, body = ask(running, "/v1/operations")
    assert (status, headers["Content-Type"]) == (200, "application/json")
    assert operation.id in [o["operation_id"] for o in json.loads(body)["operations"]]
    one = json.loads(ask(running, f"/v1/operations/{operation.id}")[2])
    assert (one["operation"]["state"], one["params"]["max_iter"]) == ("completed", 500)
    status, headers, picture = ask(running, f"/v1/operations/{operation.id}/artifacts/image.png")
    assert (status, headers["Content-Type"]) == (200, "image/png")
    described = next(a for a in one["operation"]["artifacts"] if a["name"] == "image.png")
    assert hashlib.sha256(picture).hexdigest() == described["sha256"]
    assert ask(running, "/v1/operations/nothing")[0] == 404
    assert headers["X-Content-Type-Options"] == "nosniff"


def raw(running: Runtime, *lines: str) -> bytes:
    """The answer's first line to a request as it is written here."""
    where = urlsplit(running.url)
    with socket.create_connection((where.hostname, where.port), timeout=10) as connection:
        connection.sendall("\r\n".join(["GET /healthz HTTP/1.1", *lines, "", ""]).encode())
        return connection.makefile("rb").readline()


@pytest.mark.scenario("G12")
@pytest.mark.parametrize(
    "lines",
    [
        ["Host: localhost", "Host: localhost"],
        ["Host: [::1"],
        ["Host: localhost", "Origin: http://localhost:99999"],
        ["Host: localhost", "Origin: //["],
        ["Host: localhost", "Upgrade: websocket", "Upgrade: websocket"],
        ["Host: localhost", "Upgrade: websocket", "Authorization: Bearer a", "Authorization: Bearer b"],
    ],
)
def test_a_request_that_makes_no_sense_is_answered_and_no_fault_of_the_server(
    running: Runtime, lines: list[str]
) -> None:
    before = running.logs().count("Traceback")
    assert raw(running, *lines).split()[1] in (b"400", b"403")
    assert running.logs().count("Traceback") == before


@pytest.mark.scenario("G8")
def test_strangers_and_a_flood_keep_nobody_from_cancelling(running: Runtime, client: Client) -> None:
    operation = client.submit(KIND, ENDLESS)
    eventually(lambda: operation.state == "running", what="it runs")
    stop = threading.Event()

    def flood() -> None:
        with connect(running.url, additional_headers={"Authorization": f"Bearer {running.info.token}"}) as loud:
            loud.send(json.dumps({"type": "hello", "data": {}}))
            while not stop.is_set():
                loud.send(json.dumps({"type": "ping"}))

    flooding = threading.Thread(target=flood)
    with ExitStack() as strangers:
        for _ in range(running.settings.connections_per_address):
            strangers.enter_context(connect(running.url))
        flooding.start()
        try:
            with Client(url=running.url, token=running.info.token) as other:
                begin_s = time.monotonic()
                assert other.cancel(operation.id) == "cancelling"
                assert time.monotonic() - begin_s < 2.0
            assert operation.wait(10) == "canceled"
        finally:
            stop.set()
            flooding.join()


@pytest.mark.scenario("G12", "J3")
@pytest.mark.parametrize(
    "path",
    [
        "/v1/operations/{id}/artifacts/../../../../etc/passwd",
        "/v1/operations/{id}/artifacts/%2e%2e%2f%2e%2e%2fjournal.db",
        "/v1/operations/%2e%2e/artifacts/journal.db",
        "/../../etc/passwd",
        "/v1/operations/{id}/artifacts/artifacts.json",
    ],
)
def test_no_path_leads_out_of_an_operations_files(running: Runtime, client: Client, path: str) -> None:
    operation = client.submit(KIND, QUICK)
    assert operation.wait(30) == "completed"
    status, _, body = ask(running, path.format(id=operation.id))
    assert status in (400, 404)
    assert b"root:" not in body


@pytest.mark.scenario("J3")
@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "HEAD"])
def test_nothing_but_get_is_answered(running: Runtime, method: str) -> None:
    assert ask(running, "/healthz", method=method)[0] == 405


@pytest.mark.scenario("G4")
def test_a_page_of_another_origin_is_refused_before_the_upgrade(running: Runtime) -> None:
    assert ask(running, "/healthz", Origin="https://evil.example")[0] == 403
    assert ask(running, "/healthz", Host="evil.example")[0] == 403
    with pytest.raises(InvalidStatus) as refused, connect(running.url, origin="https://evil.example"):
        pass
    assert refused.value.response.status_code == 403


@pytest.mark.scenario("J4")
def test_metrics_of_every_process_agree_with_what_happened(running: Runtime, client: Client) -> None:
    def metrics() -> dict[str, float]:
        lines = ask(running, "/metrics", token=False)[2].decode().splitlines()
        return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}

    before = metrics()
    assert client.submit(KIND, QUICK).wait(30) == "completed"
    doomed = client.submit(KIND, ENDLESS)
    eventually(lambda: doomed.state == "running", what="it runs")
    doomed.cancel()
    assert doomed.wait(10) == "canceled"
    grown = {name: value - before.get(name, 0.0) for name, value in metrics().items()}
    assert grown['rfm_events_total{type="operation_completed"}'] == 1.0
    assert grown['rfm_events_total{type="operation_canceled"}'] == 1.0
    assert grown["rfm_cancel_acknowledge_seconds_count"] == 1.0
    assert grown["rfm_cancel_idle_seconds_count"] == 1.0
    assert grown["rfm_engine_cancel_idle_seconds_count"] == 1.0
    assert grown['rfm_engine_outcomes_total{state="completed"}'] == 1.0
    assert grown["rfm_engine_iterations_total"] > 0.0
    assert grown["rfm_journal_commit_seconds_count"] >= 2.0
    assert metrics()["rfm_engine_workers"] == len(running.workers())


@pytest.mark.scenario("J5")
def test_one_correlation_id_leads_from_the_client_to_the_kernel(running: Runtime, client: Client) -> None:
    operation = client.submit(KIND, QUICK)
    assert operation.wait(30) == "completed"
    correlation_id = client.operation(operation.id).correlation_id
    assert correlation_id
    named = {
        path.stem
        for path in running.folders.logs.glob("*.log")
        for line in path.read_text(encoding="utf-8").splitlines()
        if json.loads(line).get("correlation_id") == correlation_id
    }
    assert {"broker", "engine-0", "gateway-0"} <= named
    assert any(name.startswith("worker") for name in named)
