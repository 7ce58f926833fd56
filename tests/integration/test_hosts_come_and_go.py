"""Hosts that are added to a runtime and taken away from it while it works."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from rfm_runtime import Client
from rfm_runtime.cli.status import readiness
from rfm_runtime.errors import UnsupportedError
from rfm_runtime.testing.crowd import metrics
from rfm_runtime.testing.hosts import free_ports, hosts, introduce
from rfm_runtime.testing.runtime import Runtime, eventually
from tests.whole import KIND, QUICK, Recorder, digest

pytestmark = [pytest.mark.integration, pytest.mark.scenario("J66")]


def client(running: Runtime) -> Client:
    return Client(url=running.url, token=running.info.token, initial_delay=0.05)


def why_not(running: Runtime) -> str:
    ready, why = readiness(running.info)
    return "" if ready else why


@pytest.mark.scenario("J65", "G9")
def test_a_gateways_host_is_revoked_and_allowed_again(tmp_path: Path) -> None:
    """Its watchers are told that it hears nothing, the others notice nothing, and nobody misses anything."""
    first = free_ports(5)
    with hosts(tmp_path, "b", "g") as (main, front):
        introduce(main, front)
        address = f"127.0.0.1:{first}"
        near = main.start("all", broker_address=address, data_address=f"127.0.0.1:{first + 4}", workers=1)
        far = front.start("gateway", broker_address=address, broker_key=main.key, node="west")
        watcher = Recorder(far, initial_delay=0.05)
        with client(near) as here, contextlib.closing(watcher):
            before = here.submit(KIND, QUICK)
            assert before.wait(60) == "completed"
            watcher.await_end(before.id)
            main.revoke(front)
            eventually(lambda: "no word from the broker" in why_not(far), timeout_s=20, what="it hears nothing")
            meanwhile = here.submit(KIND, QUICK)
            assert meanwhile.wait(60) == "completed"
            eventually(
                lambda: metrics(near.url).get('rfm_broker_connections_total{what="refused"}', 0) > 0,
                what="it is counted",
            )
            assert not watcher.ended(meanwhile.id)
            assert why_not(near) == ""
            main.allow(front)
            eventually(lambda: why_not(far) == "", timeout_s=20, what="it hears again")
            watcher.await_end(meanwhile.id)
            for operation in (before, meanwhile):
                watcher.check_story(operation.id)
                assert watcher.types(operation.id) == ["accepted", "queued", "started", "completed"]
        assert main.key not in far.logs()
        assert "host_refused" in near.logs()


def test_a_runtime_of_one_host_gets_a_gateway_and_an_engine_elsewhere(tmp_path: Path) -> None:
    """Whichever gateway is asked has the files of whichever engine, its own host's as well."""
    first = free_ports(6)
    with hosts(tmp_path, "b", "e", "g") as (main, east, front):
        introduce(main, east, front)
        there = {"broker_address": f"127.0.0.1:{first}", "broker_key": main.key}
        near = main.start(
            "all", broker_address=there["broker_address"], data_address=f"127.0.0.1:{first + 4}", workers=1, slots=1
        )
        east.start("engine", **there, data_address=f"127.0.0.1:{first + 5}", workers=1, slots=1, node="east")
        far = front.start("gateway", **there, node="west")
        with client(near) as here, client(far) as elsewhere:
            operations = [here.submit(KIND, {**QUICK, "max_iter": 400_000 + n}) for n in range(6)]
            assert {operation.wait(90) for operation in operations} == {"completed"}
            locations = {here.operation(operation.id).location for operation in operations}
            assert len(locations) == 2
            assert all(location and location.startswith("tcp://127.0.0.1:") for location in locations)
            for operation in operations:
                assert digest(here, operation.id) == digest(elsewhere, operation.id)


def test_the_files_of_an_engine_without_an_address_are_refused_with_what_to_do(tmp_path: Path) -> None:
    first = free_ports(4)
    with hosts(tmp_path, "b", "g") as (main, front):
        introduce(main, front)
        address = f"127.0.0.1:{first}"
        main.start("all", broker_address=address, workers=1)
        far = front.start("gateway", broker_address=address, broker_key=main.key)
        with client(far) as elsewhere:
            operation = elsewhere.submit(KIND, QUICK)
            assert operation.wait(60) == "completed"
            with pytest.raises(UnsupportedError, match="on its own host alone") as caught:
                elsewhere.fetch_artifact(operation.id, "n.npy")
            assert "data_address" in (caught.value.hint or "")
            assert metrics(far.url)['rfm_broker_connections_total{what="welcomed"}'] > 0


@pytest.mark.scenario("D12")
def test_who_had_the_brokers_ports_before_it_keeps_nobody_away(tmp_path: Path) -> None:
    """ZeroMQ tries no more where something has answered that is no ZeroMQ."""
    first = free_ports(5)
    with hosts(tmp_path, "b", "e", "g") as (main, east, front), ThreadPoolExecutor(2) as pool:
        introduce(main, east, front)
        there = {"broker_address": f"127.0.0.1:{first}", "broker_key": main.key}
        with strangers(first, 4) as answered:
            engine = pool.submit(east.start, "engine", **there, data_address=f"127.0.0.1:{first + 4}", workers=1)
            gateway = pool.submit(front.start, "gateway", **there)
            # Of the gateway command and feed; of the engine and its worker the other two as well.
            eventually(lambda: set(answered) == set(range(first, first + 4)), timeout_s=30, what="all have tried")
        main.start("broker", broker_address=there["broker_address"])
        engine.result(60)
        with client(gateway.result(60)) as watching:
            assert watching.submit(KIND, QUICK).wait(60) == "completed"


@contextlib.contextmanager
def strangers(first: int, count: int) -> Iterator[list[int]]:
    """Servers of something else on these ports, which answer whoever comes; the ports where they did."""
    answered: list[int] = []
    listeners = [socket.create_server(("127.0.0.1", port)) for port in range(first, first + count)]

    def serve(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = listener.accept()
                with connection:
                    connection.sendall(b"HTTP/1.1 400 Bad Request\r\n\r\n" + b"x" * 200)
                    answered.append(listener.getsockname()[1])

    threads = [threading.Thread(target=serve, args=(listener,)) for listener in listeners]
    for thread in threads:
        thread.start()
    try:
        yield answered
    finally:
        for listener in listeners:
            listener.shutdown(socket.SHUT_RDWR)
            listener.close()
        for thread in threads:
            thread.join()
