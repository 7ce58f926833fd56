"""Processes that are frozen, starved, short of memory or descriptors, or set to another time: no outcome changes."""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest
from websockets.exceptions import InvalidHandshake
from websockets.sync.client import connect

from rfm_runtime import Client
from rfm_runtime.errors import UnavailableError
from rfm_runtime.testing.chaos import processes
from rfm_runtime.testing.chaos.clock import WallClock
from rfm_runtime.testing.chaos.faults import Descriptors, Freeze, Memory, Starve
from rfm_runtime.testing.runtime import Runtime, eventually, runtime
from tests.programs import Script, ended, environment, named
from tests.whole import KIND, QUICK, SECONDS, Recorder, reached

pytestmark = [pytest.mark.integration, pytest.mark.fault]

TILES = {**SECONDS, "tile_px": 32, "max_iter": 50_000}


def loop(running: Runtime, name: str) -> Script:
    """A program of three seconds."""
    code = f"""
        import time
        from rfm_runtime import track
        for _ in track(range(60), {name!r}, bar=False):
            time.sleep(0.05)
        """
    return Script(code, environment(running))


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    with runtime(tmp_path_factory.mktemp("rt"), workers=1, drain_timeout_s=2.0, stale_after_s=1.0) as started:
        yield started


@pytest.fixture(autouse=True)
def scripts() -> Iterator[None]:
    yield
    Script.kill_all()


@contextmanager
def suffering(fault: Freeze | Starve | Memory | Descriptors, *victims: psutil.Process) -> Iterator[Callable[[], None]]:
    """While the block runs, or until what it gets is called."""
    undos = [processes.begin(fault, victim) for victim in victims]

    def end() -> None:
        while undos:
            undos.pop()()

    try:
        yield end
    finally:
        end()


# --- frozen -------------------------------------------------------------------------------------


@pytest.mark.scenario("F6")
def test_a_frozen_supervisor_changes_nothing_and_starts_again_what_died_meanwhile(
    running: Runtime, client: Client, watcher: Recorder
) -> None:
    operation = client.submit(KIND, TILES)
    reached(operation, "tiles")
    with suffering(Freeze(), psutil.Process(running.info.pid)):
        gateway = running.processes()["gateway-0"]
        gateway.kill()
        eventually(lambda: client.state != "live", what="the gateway is gone")
        time.sleep(2.0)
    assert operation.wait(60) == "completed"
    watcher.await_end(operation.id)
    watcher.check_story(operation.id)
    assert watcher.types(operation.id) == ["accepted", "queued", "started", "completed"]
    assert running.processes()["gateway-0"].pid != gateway.pid


@pytest.mark.scenario("F6", "J14")
def test_a_frozen_program_is_silent_and_goes_on(running: Runtime, client: Client, watcher: Recorder) -> None:
    script = loop(running, "frozen")
    operation = named(client, "frozen")
    with suffering(Freeze(), psutil.Process(script.process.pid)):
        eventually(lambda: client.operation(operation.operation_id).stale, what="its silence is seen")
        time.sleep(2.0)
        assert client.operation(operation.operation_id).state == "running"
    assert ended(client, "frozen").state == "completed"
    assert script.end()[0] == 0
    watcher.await_end(operation.operation_id)
    watcher.check_story(operation.operation_id)


@pytest.mark.scenario("F6")
def test_all_processes_frozen_at_once_go_on_where_they_were(
    running: Runtime, client: Client, watcher: Recorder
) -> None:
    operation = client.submit(KIND, TILES)
    reached(operation, "tiles")
    with suffering(Freeze(), *running.tree()):
        time.sleep(4.0)
    assert operation.wait(60) == "completed"
    watcher.await_end(operation.id)
    watcher.check_story(operation.id)
    assert "requeued" not in watcher.types(operation.id)


# --- memory, CPU time, descriptors --------------------------------------------------------------


@pytest.mark.scenario("F8")
@pytest.mark.parametrize("name", ["broker", "gateway-0"])
def test_a_server_without_memory_loses_nothing_whether_it_dies_of_it_or_not(
    running: Runtime, client: Client, watcher: Recorder, name: str
) -> None:
    operation = client.submit(KIND, TILES)
    reached(operation, "tiles")
    # Nothing to spare at all: whatever needs a new arena fails.
    with suffering(Memory(spare_bytes=0), running.processes()[name]) as end:
        accepted = []
        for number in range(40):
            try:
                key = f"memory-{name}-{number}"
                accepted.append(
                    client.submit(KIND, {**QUICK, "max_iter": 500 + number}, request_key=key, timeout_s=10.0)
                )
            except UnavailableError:
                # Refused, or not answered by one that has died: repeating it is safe, and done by the client.
                break
        end()
    for one in (operation, *accepted):
        assert one.wait(60) == "completed"
        watcher.await_end(one.id)
        watcher.check_story(one.id)
    assert client.submit(KIND, QUICK).wait(30) == "completed"


@pytest.mark.scenario("F9")
def test_servers_on_a_core_with_many_rivals_are_slow_and_right(
    running: Runtime, client: Client, watcher: Recorder
) -> None:
    names = running.processes()
    with suffering(Starve(rivals=4), names["broker"], names["gateway-0"]):
        operations = [client.submit(KIND, QUICK) for _ in range(10)]
        script = loop(running, "starved")
        for operation in operations:
            assert operation.wait(60) == "completed"
        reported = ended(client, "starved")
        assert reported.state == "completed"
        assert script.end()[0] == 0
    for operation_id in (*(operation.id for operation in operations), reported.operation_id):
        watcher.await_end(operation_id)
        watcher.check_story(operation_id)
    cores = sorted(os.sched_getaffinity(0))
    assert all(sorted(process.cpu_affinity()) == cores for process in running.processes().values())


@pytest.mark.scenario("F12")
def test_without_descriptors_new_connections_wait_old_ones_live_and_it_recovers(
    running: Runtime, client: Client, watcher: Recorder
) -> None:
    gateway = running.processes()["gateway-0"]
    with suffering(Descriptors(), gateway):
        with pytest.raises((OSError, TimeoutError, InvalidHandshake)):
            connect(running.url, open_timeout=2.0)
        # Who was there is served as before.
        operation = client.submit(KIND, QUICK)
        assert operation.wait(30) == "completed"
        watcher.await_end(operation.id)
        watcher.check_story(operation.id)
        assert running.processes()["gateway-0"].pid == gateway.pid
    with Client(url=running.url, token=running.info.token) as late:
        assert late.operation(operation.id).state == "completed"
    log = (running.folders.logs / "gateway-0.log").read_text(encoding="utf-8")
    # It says so, and not a hundred times a second.
    assert 1 <= log.count("out of system resource") <= 30


@pytest.mark.scenario("F12")
def test_a_broker_without_descriptors_goes_on_with_those_it_has(
    running: Runtime, client: Client, watcher: Recorder
) -> None:
    broker = running.processes()["broker"]
    with suffering(Descriptors(), broker):
        operation = client.submit(KIND, QUICK)
        assert operation.wait(30) == "completed"
    script = loop(running, "broker without descriptors")
    assert ended(client, "broker without descriptors").state == "completed"
    assert script.end()[0] == 0
    watcher.await_end(operation.id)
    assert running.processes()["broker"].pid == broker.pid


# --- clocks -------------------------------------------------------------------------------------


@pytest.mark.scenario("F10")
def test_clocks_that_jump_by_hours_change_no_outcome_and_no_order(tmp_path: Path) -> None:
    clock = WallClock(tmp_path / "clock")
    with clock.environment(), runtime(tmp_path, workers=1, drain_timeout_s=2.0, lease_s=30.0) as running:
        watcher = Recorder(running, initial_delay=0.05)
        with Client(url=running.url, token=running.info.token) as client:
            script = loop(running, "clocks")
            reported = named(client, "clocks")
            operation = client.submit(KIND, TILES)
            submitted = []
            for hours in (6.0, -6.0, 0.5, 0.0):
                reached(operation, "more tiles")
                clock.set(3600 * hours)
                short = client.submit(KIND, QUICK)
                assert short.wait(30) == "completed"
                submitted.append(short.id)
                assert short.info is not None
                off_h = (short.info.created_at_ms / 1000 - time.time()) / 3600
                assert off_h == pytest.approx(hours, abs=0.1), "the runtime's clock was not set"
            assert operation.wait(60) == "completed"
            assert ended(client, "clocks").state == "completed"
            assert script.end()[0] == 0
            for operation_id in (operation.id, reported.operation_id, *submitted):
                watcher.await_end(operation_id)
                watcher.check_story(operation_id)
            listed = {one.operation_id for one in client.history()}
            assert {operation.id, *submitted} <= listed
            running.kill("broker")
            eventually(lambda: client.operation(submitted[0]).state == "completed", what="a new broker knows it")
        watcher.close()
