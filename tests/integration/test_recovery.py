"""What a new start finds: interrupted renders, damaged frames, leftovers; and processes that do not come up."""

from __future__ import annotations

import io
import json
import os
import shlex
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from rfm_runtime import Client
from rfm_runtime.client.connection_file import ConnectionInfo
from rfm_runtime.client.handle import Operation
from rfm_runtime.engine.frames import RECORD, folder_name
from rfm_runtime.testing.runtime import Runtime, eventually, runtime
from tests.commands import COMMAND
from tests.whole import ENDLESS, KIND, SECONDS, Recorder, digest, reached

pytestmark = [pytest.mark.integration, pytest.mark.fault]

SMALL_TILES = {**SECONDS, "tile_px": 32}


def connected(running: Runtime) -> Client:
    return Client(url=running.url, token=running.info.token, initial_delay=0.05)


def start_after_reboot(running: Runtime) -> None:
    """Start it again where the machine's boot id is another: no process that the journal knows can be alive.

    Where this user may not change what processes see, with the same boot id.
    """
    boot_id = running.folders.state / "boot_id"
    boot_id.write_text("00000000-0000-4000-8000-000000000000\n")
    options = ["--workers", "2", "--port", "0", "--state-dir", str(running.folders.state)]
    command = [*COMMAND, "start", "--daemon", *options, "--runtime-dir", str(running.folders.runtime)]
    mount = f"mount --bind {shlex.quote(str(boot_id))} /proc/sys/kernel/random/boot_id"
    if subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True, check=False).returncode:
        running.start()
        return
    script = f"{mount} && exec {shlex.join(command)}"
    subprocess.run(["unshare", "-m", "sh", "-c", script], check=True, capture_output=True, timeout=60)
    running.info = ConnectionInfo.read(running.folders.connection)


def committed_tiles(frame: Path) -> set[int]:
    records = (frame / "commits.bin").read_bytes()
    return {index for index, record in enumerate(RECORD.iter_unpack(records)) if record[1]}


def iterations(client: Client, operation: Operation) -> tuple[int, int]:
    """(of the picture, as told at the end)."""
    n = np.load(io.BytesIO(client.fetch_artifact(operation.id, "n.npy")))
    assert operation.info is not None
    assert operation.info.latest is not None
    nominal = int(np.where(n < 0, SECONDS["max_iter"], n).sum(dtype=np.int64))
    return nominal, operation.info.latest.iterations


@pytest.fixture(scope="module")
def truth(tmp_path_factory: pytest.TempPathFactory) -> str:
    with runtime(tmp_path_factory.mktemp("truth"), workers=2) as running, connected(running) as client:
        operation = client.submit(KIND, SMALL_TILES)
        assert operation.wait(60) == "completed"
        return digest(client, operation.id)


@pytest.mark.scenario("C11", "F5", "J25")
def test_after_a_reboot_verified_tiles_are_kept_damaged_ones_computed_again_and_leftovers_removed(
    tmp_path: Path, truth: str
) -> None:
    with runtime(tmp_path, workers=2, drain_timeout_s=2.0) as running:
        with connected(running) as client:
            operation = client.submit(KIND, SMALL_TILES)
            reached(operation, "tiles")
            running.kill_everything()
        frame = running.folders.frames / folder_name(operation.id)
        before = committed_tiles(frame)
        assert len(before) > 100
        # A few bytes of one tile have changed on the disk, and of another the record was torn.
        damaged, torn = sorted(before)[:2]
        counts = np.load(frame / "n.npy", mmap_mode="r+")
        row, column = divmod(damaged, 1600 // 32)
        counts[32 * row, 32 * column] ^= 1
        counts.flush()
        with (frame / "commits.bin").open("r+b") as records:
            records.seek(torn * RECORD.size + 8)
            records.write(b"\xff" * 8)
        for name in ("op-of-nobody", ".op-half-made.123"):
            (running.folders.frames / name).mkdir()
            (running.folders.frames / name / "n.npy").write_bytes(b"x")

        start_after_reboot(running)
        with connected(running) as client:
            again = client.handle(operation.id)
            assert again.wait(60) == "completed"
            assert digest(client, operation.id) == truth
            nominal, told = iterations(client, again)
            # What was kept is counted once and was computed once.
            assert nominal <= told <= 1.03 * nominal
        ready = [json.loads(line) for line in running.logs().splitlines() if '"frame_ready"' in line]
        assert len(before) - 2 in {entry["recovered_tiles"] for entry in ready}
        warned = next(json.loads(line) for line in running.logs().splitlines() if '"tiles_damaged"' in line)
        assert (warned["tiles"], warned["count"]) == ([damaged, torn], 2)
        eventually(lambda: not list(running.folders.frames.iterdir()), what="nothing is left of frames")


@pytest.mark.scenario("F13", "J25")
@pytest.mark.parametrize("then", ["it goes on", "it stops at once"])
def test_of_a_render_that_is_cancelled_while_nobody_has_it_no_frame_is_left(tmp_path: Path, then: str) -> None:
    with runtime(tmp_path, workers=1, drain_timeout_s=2.0) as running:
        with connected(running) as client:
            operation = client.submit(KIND, ENDLESS)
            eventually(lambda: operation.state == "running", what="it runs")
            operation.pause()
            eventually(lambda: operation.state == "paused", what="it is paused")
        frame = running.folders.frames / folder_name(operation.id)
        eventually(frame.exists, what="it has a frame")
        running.kill_everything()
        start_after_reboot(running)
        with connected(running) as client:
            eventually(lambda: '"welcomed"' in running.logs(), what="the engine has looked for leftovers")
            again = client.handle(operation.id)
            assert frame.exists()
            again.cancel()
            assert again.wait(10) == "canceled"
        if then == "it stops at once":
            running.stop()
            assert not frame.exists()
        else:
            eventually(lambda: not frame.exists(), timeout_s=30, what="its frame is gone")


@pytest.mark.scenario("J25", "F5")
@pytest.mark.parametrize("way", ["killed", "drained"])
def test_a_new_start_fails_what_was_interrupted_if_it_is_told_to(tmp_path: Path, way: str) -> None:
    with runtime(tmp_path, workers=2, drain_timeout_s=0.0, interrupted="fail") as running:
        with connected(running) as client:
            begun = client.submit(KIND, ENDLESS)
            eventually(lambda: begun.state == "running", what="it runs")
            waiting = client.submit(KIND, {**SECONDS, "max_iter": 500}, priority=-5)
            waiting.pause()
            eventually(lambda: waiting.state == "paused", what="it is paused")
            began = waiting.info is not None and waiting.info.started_at_ms is not None
            if way == "killed":
                running.kill_everything()
            else:
                running.stop()
        running.start()
        with connected(running) as client:
            watcher = Recorder(running)
            again = client.handle(begun.id)
            assert again.wait(30) == "failed"
            assert again.info is not None
            assert again.info.error is not None
            assert again.info.error.code == "interrupted"
            assert any("interrupted" in line for line in client.explain(begun.id))
            watcher.await_end(begun.id)
            watcher.close()
            other = client.handle(waiting.id)
            eventually(lambda: other.state == ("failed" if began else "paused"), what="so has what had begun")
            eventually(lambda: not list(running.folders.frames.glob(f"op-{begun.id}")), what="its frame is gone")


@pytest.mark.slow
@pytest.mark.scenario("J25", "F5")
def test_a_new_start_resumes_however_often_it_was_interrupted(tmp_path: Path, truth: str) -> None:
    with runtime(tmp_path, workers=2, attempts=2) as running:
        with connected(running) as client:
            operation = client.submit(KIND, SMALL_TILES)
        for _ in range(3):
            with connected(running) as client:
                reached(client.handle(operation.id), "more tiles")
                running.kill_everything()
            running.start()
        with connected(running) as client:
            again = client.handle(operation.id)
            assert again.wait(60) == "completed"
            assert digest(client, operation.id) == truth


@pytest.mark.scenario("F5", "F6", "J8")
@pytest.mark.parametrize("name", ["broker", "gateway-0", "engine-0", "worker"])
def test_a_child_that_stands_still_ends_with_a_killed_supervisor(tmp_path: Path, name: str) -> None:
    with runtime(tmp_path, workers=1) as running:
        worker = eventually(running.workers, what="a worker")[0]
        (worker if name == "worker" else running.processes()[name]).suspend()
        running.kill_supervisor()


@pytest.mark.slow
@pytest.mark.scenario("F5", "J25")
@pytest.mark.parametrize("hurry", ["at once", "second signal"])
def test_a_stop_in_a_hurry_loses_nothing(tmp_path: Path, truth: str, hurry: str) -> None:
    # Tiles of seconds, which an orderly stop would wait for.
    with runtime(tmp_path, workers=2, drain_timeout_s=60.0) as running:
        with connected(running) as client:
            watcher = Recorder(running, follow=True)
            operation = client.submit(KIND, SMALL_TILES)
            endless = client.submit(KIND, {**SECONDS, "max_iter": 1_000_000_000, "tile_px": 512}, priority=-1)
            reached(operation, "tiles")
        if hurry == "at once":
            running.stop(now=True, timeout_s=20)
        else:
            supervisor = psutil.Process(running.info.pid)
            supervisor.send_signal(signal.SIGTERM)
            eventually(lambda: '"draining"' in running.logs(), what="it drains")
            supervisor.send_signal(signal.SIGTERM)
            eventually(lambda: not supervisor.is_running() or supervisor.status() == psutil.STATUS_ZOMBIE, what="end")
        running.start()
        with connected(running) as client:
            assert client.handle(operation.id).wait(60) == "completed"
            assert digest(client, operation.id) == truth
            client.cancel(endless.id)
            assert client.handle(endless.id).wait(20) == "canceled"
            watcher.await_end(operation.id)
            watcher.check_story(operation.id)
            assert "requeued" in watcher.types(operation.id)
            watcher.close()


@pytest.mark.scenario("J26")
def test_a_process_that_does_not_come_up_is_started_later_and_later_and_that_is_told(tmp_path: Path) -> None:
    with runtime(tmp_path, workers=1) as running:
        starts: list[int] = []
        for _ in range(3):
            engine = eventually(lambda: running.processes().get("engine-0"), what="the engine runs", timeout_s=20)
            starts.append(engine.pid)
            engine.kill()
            engine.wait(10)
        told = eventually(lambda: status(running)["troubles"], what="it is told")
        assert told[0]["process"] == "engine-0"
        assert told[0]["ends"] == 3
        assert told[0]["cause"] == "signal SIGKILL"
        assert "engine-0 ended 3 times within a minute (signal SIGKILL)" in status(running)["detail"]
        eventually(lambda: status(running)["ready"], what="it comes up by itself", timeout_s=30)
        assert "runs again" in status(running)["detail"]


def status(running: Runtime) -> dict[str, Any]:
    done = subprocess.run(
        [sys.executable, "-m", "rfm_runtime.cli", "status", "--json", "--runtime-dir", str(running.folders.runtime)],
        capture_output=True,
        text=True,
        env={**os.environ, "RFM_STATE_DIR": str(running.folders.state)},
        timeout=60,
        check=False,
    )
    report: dict[str, Any] = json.loads(done.stdout)
    return report
