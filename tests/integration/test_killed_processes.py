"""Processes of a whole runtime killed in mid-render: one outcome, the same picture, a bar that never moves back."""

from __future__ import annotations

import io
import threading
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import psutil
import pytest

from rfm_runtime import Client
from rfm_runtime.client.handle import Operation
from rfm_runtime.testing.runtime import Runtime, eventually, runtime
from tests.whole import ENDLESS, KIND, QUICK, SECONDS, Recorder, digest, reached

pytestmark = [pytest.mark.integration, pytest.mark.fault]

SMALL_TILES = {**SECONDS, "tile_px": 32}
"""Many tiles: a kill almost always finds some committed, some running and some open."""


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    with runtime(tmp_path_factory.mktemp("rt"), workers=2, drain_timeout_s=2.0) as started:
        yield started


@pytest.fixture(autouse=True)
def all_there(running: Runtime) -> None:
    """What was killed five times within a minute, as on a quick machine, is started again after ten seconds."""

    def ready() -> bool:
        try:
            with urllib.request.urlopen(running.url.replace("ws://", "http://") + "/readyz", timeout=10) as answer:
                return bool(answer.status == 200)
        except OSError:
            return False

    eventually(ready, timeout_s=30.0, what="everything is ready")


@pytest.fixture(scope="module")
def truth(running: Runtime) -> str:
    """Digest of the picture that nothing disturbed."""
    with Client(url=running.url, token=running.info.token) as client:
        operation = client.submit(KIND, SMALL_TILES)
        assert operation.wait(60) == "completed"
        return digest(client, operation.id)


def check(client: Client, watcher: Recorder, operation: Operation, truth: str) -> None:
    """The end of every such story."""
    assert operation.wait(60) == "completed"
    watcher.await_end(operation.id)
    watcher.check_story(operation.id)
    assert digest(client, operation.id) == truth
    check_iterations(client, operation)


def check_iterations(client: Client, operation: Operation) -> None:
    """What is said of the work fits the picture, whoever died: a preview may be computed twice, which is a 64th."""
    n = np.load(io.BytesIO(client.fetch_artifact(operation.id, "n.npy")))
    nominal = int(np.where(n < 0, SECONDS["max_iter"], n).sum(dtype=np.int64))
    assert operation.info is not None
    assert operation.info.latest is not None
    assert nominal <= operation.info.latest.iterations <= 1.03 * nominal


@pytest.mark.scenario("F1", "C2")
@pytest.mark.parametrize("moment", ["idle", "preview", "tiles", "last tiles", "image"])
def test_a_killed_worker_costs_its_tile_and_nothing_else(
    running: Runtime, client: Client, watcher: Recorder, truth: str, moment: str
) -> None:
    victim = eventually(lambda: len(w := running.workers()) == 2 and w, what="two workers")[0]
    if moment == "idle":
        victim.kill()
    operation = client.submit(KIND, SMALL_TILES)
    if moment != "idle":
        reached(operation, moment)
        victim.kill()
    check(client, watcher, operation, truth)
    eventually(lambda: len(running.workers()) == 2, what="the worker is replaced")
    assert victim.pid not in [worker.pid for worker in running.workers()]
    assert not list(running.folders.frames.iterdir())


@pytest.mark.scenario("F1", "F6")
def test_a_worker_that_dies_while_the_engine_is_late_costs_nothing_more(
    running: Runtime, client: Client, watcher: Recorder, truth: str
) -> None:
    # Its last words are read together with its death, and its successor has its number.
    for _ in range(3):
        operation = client.submit(KIND, SMALL_TILES)
        reached(operation, "tiles")
        engine = running.processes()["engine-0"]
        victim = eventually(lambda: len(w := running.workers()) == 2 and w, what="two workers")[0]
        engine.suspend()
        time.sleep(0.2)
        victim.kill()
        time.sleep(0.1)
        engine.resume()
        check(client, watcher, operation, truth)


@pytest.mark.scenario("F1")
@pytest.mark.parametrize("step", ["before it reads", "being paused", "paused", "making room"])
def test_a_worker_killed_at_a_step_of_the_protocol_costs_nothing_more(
    running: Runtime, client: Client, watcher: Recorder, truth: str, step: str
) -> None:
    victim = eventually(lambda: len(w := running.workers()) == 2 and w, what="two workers")[0]
    if step == "before it reads":
        # It has been given the operation and its first tasks, and never looks at them.
        victim.suspend()
    operation = client.submit(KIND, SMALL_TILES)
    reached(operation, "preview" if step == "before it reads" else "tiles")
    if step in ("being paused", "making room"):
        victim.suspend()
    if step in ("being paused", "paused"):
        operation.pause()
    if step == "paused":
        eventually(lambda: operation.state == "paused", what="it is paused")
    if step == "making room":
        urgent = client.submit(KIND, QUICK, priority=50)
        eventually(lambda: urgent.state in ("running", "completed"), what="the urgent one begins")
    victim.kill()
    if step in ("being paused", "paused"):
        eventually(lambda: operation.state == "paused", what="it is paused, whoever died")
        operation.resume()
    check(client, watcher, operation, truth)
    eventually(lambda: len(running.workers()) == 2, what="the worker is replaced")


@pytest.mark.scenario("F1", "F6")
def test_what_was_put_down_is_counted_once(client: Client) -> None:
    operation = client.submit(KIND, {**SECONDS, "tile_px": 512})
    reached(operation, "tiles")
    for _ in range(3):
        operation.pause()
        eventually(lambda: operation.state == "paused", what="it is paused")
        time.sleep(0.2)
        operation.resume()
        reached(operation, "more tiles")
    assert operation.wait(60) == "completed"
    check_iterations(client, operation)


@pytest.mark.scenario("F1")
def test_a_worker_killed_while_it_is_being_cancelled_is_a_cancelled_operation(
    running: Runtime, client: Client, watcher: Recorder
) -> None:
    operation = client.submit(KIND, ENDLESS)
    victim = eventually(lambda: len(w := running.workers()) == 2 and w, what="two workers")[0]
    eventually(lambda: operation.state == "running", what="it runs")
    victim.suspend()
    assert operation.cancel() == "cancelling"
    victim.kill()
    assert operation.wait(10) == "canceled"
    watcher.await_end(operation.id)
    watcher.check_story(operation.id)
    assert not list(running.folders.frames.iterdir())


@pytest.mark.scenario("C3", "F1")
def test_a_worker_that_does_not_answer_a_cancel_is_killed_and_replaced(
    running: Runtime, client: Client, watcher: Recorder
) -> None:
    operation = client.submit(KIND, ENDLESS)
    victim = eventually(lambda: len(w := running.workers()) == 2 and w, what="two workers")[0]
    eventually(lambda: operation.state == "running", what="it runs")
    victim.suspend()
    operation.cancel()
    assert operation.wait(10) == "canceled"
    watcher.await_end(operation.id)
    assert watcher.events(operation.id)[-1].forced
    eventually(lambda: not victim.is_running() and len(running.workers()) == 2, what="it is replaced")


@pytest.mark.scenario("F2")
def test_a_killed_broker_comes_back_with_the_same_operations_and_outcomes(
    running: Runtime, client: Client, watcher: Recorder, truth: str
) -> None:
    done = client.submit(KIND, QUICK)
    assert done.wait(30) == "completed"
    held = client.submit(KIND, ENDLESS)
    eventually(lambda: held.state == "running", what="it runs")
    held.pause()
    eventually(lambda: held.state == "paused", what="it is paused")
    operation = client.submit(KIND, SMALL_TILES)
    reached(operation, "tiles")
    before = {o.operation_id for o in client.operations()}

    running.kill("broker")

    check(client, watcher, operation, truth)
    after = {o.operation_id: o.state for o in client.operations()}
    assert before <= after.keys()
    assert (after[done.id], after[held.id]) == ("completed", "paused")
    held.resume()
    eventually(lambda: held.state == "running", what="it goes on")
    assert held.cancel() == "cancelling"
    assert held.wait(10) == "canceled"
    late = Recorder(running)
    eventually(lambda: late.ended(operation.id) and late.ended(held.id), what="a new watcher sees both ended")
    late.close()


@pytest.mark.scenario("F2")
def test_a_killed_broker_shows_no_less_than_it_had_shown(running: Runtime, client: Client, watcher: Recorder) -> None:
    # Tiles of seconds each: most of what is shown is in workers' hands, and the engine does not know it. Long enough
    # that half of it is left when the third broker is there, however long that takes to start.
    operation = client.submit(KIND, {**SECONDS, "tile_px": 512, "max_iter": 900_000})
    incarnation = 0
    for share in (0.1, 0.3, 0.5):
        incarnation = shown(watcher, operation, share, since=incarnation)
        running.kill("broker")
    assert operation.wait(60) == "completed"
    watcher.await_end(operation.id)
    watcher.check_story(operation.id)


def shown(watcher: Recorder, operation: Operation, share: float, *, since: int) -> int:
    """Incarnation of the broker after `since` that has shown so much of it."""

    def look() -> int:
        updates = watcher.progress(operation.id)
        if not updates or updates[-1].rev[0] <= since or updates[-1].done < share * (updates[-1].total or 1.0):
            return 0
        return updates[-1].rev[0]

    found: int = eventually(look, what=f"{share:.0%} is shown", timeout_s=30)
    return found


@pytest.mark.scenario("F2")
def test_a_cancel_survives_the_broker_that_took_it(running: Runtime, client: Client, watcher: Recorder) -> None:
    operation = client.submit(KIND, ENDLESS)
    workers = eventually(lambda: len(w := running.workers()) == 2 and w, what="two workers")
    eventually(lambda: operation.state == "running", what="it runs")
    engine = running.processes()["engine-0"]
    # Nobody acknowledges: engine and workers stand still until the broker that took the cancel is dead.
    for process in (engine, *workers):
        process.suspend()
    assert client.cancel(operation.id, deadline_ms=60_000) == "cancelling"
    running.kill("broker")
    for process in (engine, *workers):
        process.resume()
    assert operation.wait(15) == "canceled"
    watcher.await_end(operation.id)
    watcher.check_story(operation.id)


@pytest.mark.scenario("F3", "D6")
def test_a_killed_gateway_costs_its_watchers_a_moment_and_no_event(
    running: Runtime, client: Client, watcher: Recorder, truth: str
) -> None:
    operation = client.submit(KIND, SMALL_TILES)
    reached(operation, "tiles")
    running.kill("gateway-0")
    check(client, watcher, operation, truth)
    assert watcher.types(operation.id) == ["accepted", "queued", "started", "completed"]


@pytest.mark.scenario("F3", "C10")
def test_files_are_fetched_whole_while_the_gateway_is_killed(running: Runtime, client: Client) -> None:
    operation = client.submit(KIND, {**QUICK, "width_px": 6000, "height_px": 4000})
    assert operation.wait(60) == "completed"
    assert operation.info is not None
    described = next(a for a in operation.info.artifacts if a.name == "n.npy")
    fetched: list[str] = []
    fetching = threading.Thread(target=lambda: fetched.append(digest(client, operation.id)))
    fetching.start()
    time.sleep(0.1)
    assert fetching.is_alive()
    running.kill("gateway-0")
    fetching.join(60)
    assert fetched == [described.sha256]


@pytest.mark.scenario("F4", "C2", "C11")
def test_a_killed_engine_leaves_nothing_and_its_finished_tiles_are_kept(
    running: Runtime, client: Client, watcher: Recorder, truth: str
) -> None:
    helpers = running.processes()["engine-0"].children(recursive=True)
    endless = client.submit(KIND, ENDLESS)
    eventually(lambda: endless.state == "running", what="it runs")
    mapped = {area.path for process in helpers for area in process.memory_maps()}
    assert not [path for path in mapped if path.startswith("/dev/shm/")], "shared memory that a kill would leave"
    endless.cancel()
    assert endless.wait(10) == "canceled"
    operation = client.submit(KIND, SMALL_TILES)
    reached(operation, "tiles")
    workers = running.workers()
    helpers = running.processes()["engine-0"].children(recursive=True)
    running.kill("engine-0")
    _, alive = psutil.wait_procs(helpers, timeout=10)
    assert not alive, "orphans of the engine"
    check(client, watcher, operation, truth)
    assert "requeued" in watcher.types(operation.id)
    frame = next(
        line
        for line in running.logs().splitlines()
        if '"frame_ready"' in line and operation.id in line and '"recovered_tiles": 0' not in line
    )
    assert frame
    assert {w.pid for w in running.workers()}.isdisjoint(w.pid for w in workers)


@pytest.mark.scenario("F1", "F2", "F3", "F4")
def test_worker_gateway_broker_and_engine_are_killed_in_one_render(
    running: Runtime, client: Client, truth: str
) -> None:
    watchers = [Recorder(running, initial_delay=0.05), Recorder(running, initial_delay=0.05, encoding="json")]
    operation = client.submit(KIND, SMALL_TILES)
    reached(operation, "tiles")
    running.workers()[0].kill()
    reached(operation, "more tiles")
    running.kill("gateway-0")
    reached(operation, "more tiles")
    running.kill("broker")
    reached(operation, "more tiles")
    running.kill("engine-0")
    for watcher in watchers:
        check(client, watcher, operation, truth)
        watcher.close()


@pytest.mark.scenario("F5", "C11")
def test_after_a_killed_supervisor_a_new_start_finishes_the_render(tmp_path: Path) -> None:
    with runtime(tmp_path, workers=2, drain_timeout_s=2.0) as running:
        with Client(url=running.url, token=running.info.token) as client:
            whole = client.submit(KIND, SMALL_TILES)
            assert whole.wait(60) == "completed"
            truth = digest(client, whole.id)
            operation = client.submit(KIND, SMALL_TILES)
            reached(operation, "tiles")
            running.kill_supervisor()
        assert [folder.name for folder in running.folders.frames.iterdir()] == [f"op-{operation.id}"]
        running.start()
        with Client(url=running.url, token=running.info.token) as client:
            again = client.handle(operation.id)
            assert again.wait(60) == "completed"
            assert digest(client, operation.id) == truth
        assert not list(running.folders.frames.iterdir())


@pytest.mark.scenario("F6")
@pytest.mark.parametrize("name", ["broker", "gateway-0", "engine-0", "worker"])
def test_a_frozen_process_changes_no_outcome(
    running: Runtime, client: Client, watcher: Recorder, truth: str, name: str
) -> None:
    operation = client.submit(KIND, SMALL_TILES)
    reached(operation, "tiles")
    process = running.workers()[0] if name == "worker" else running.processes()[name]
    process.suspend()
    time.sleep(1.5)
    process.resume()
    check(client, watcher, operation, truth)
    assert process.is_running(), "frozen is not dead"
    assert "requeued" not in watcher.types(operation.id)
