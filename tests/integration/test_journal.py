"""The journal under a real runtime: its disk fills and is freed, its file is damaged, copied, restored and migrated."""

from __future__ import annotations

import json
import re
import shutil
import sqlite3
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from rfm_runtime import Client
from rfm_runtime.errors import JournalError, RfmError, UnavailableError
from rfm_runtime.protocol.operation import TERMINAL_STATES
from rfm_runtime.store.schema import SCHEMA_VERSION
from rfm_runtime.testing.disk import CANNOT_MOUNT, SmallDisk, can_mount, small_disk
from rfm_runtime.testing.runtime import Runtime, eventually, runtime
from tests.commands import cli, document, output, two_lines
from tests.programs import Script, ended, environment, named
from tests.whole import ENDLESS, KIND, QUICK, Recorder

CENTURY_S = 100 * 365 * 86_400.0
GOLDEN = Path(__file__).parents[1] / "data" / "journals" / "schema-1.db"
MB = 1024 * 1024

pytestmark = pytest.mark.integration

STEPS = """
import sys
from rfm_runtime import ProgressReporter
with ProgressReporter("test", sys.argv[1] if len(sys.argv) > 1 else "steps") as reporter:
    for percent in (10, 20, 30, 40):
        input()
        reporter.report_progress(percent)
    input()
"""


@contextmanager
def on_a_small_disk(folder: Path, **settings: Any) -> Iterator[tuple[Runtime, SmallDisk]]:
    if not can_mount(folder):
        pytest.skip(CANNOT_MOUNT)
    # What the supervisor and the engine want of a disk, and logs, fit in beside the journal.
    with (
        small_disk(folder / "disk", 96 * MB) as disk,
        runtime(folder, workers=1, state_dir=str(disk.path / "state"), **settings) as running,
    ):
        yield running, disk


@contextmanager
def connected(running: Runtime) -> Iterator[Client]:
    with Client(settings=running.settings) as client:
        yield client


def commands(running: Runtime) -> dict[str, str]:
    return {**environment(running), "RFM_CACHE_DIR": running.settings.cache_dir}


def readyz(running: Runtime) -> tuple[int, str]:
    try:
        with urllib.request.urlopen(running.url.replace("ws://", "http://") + "/readyz", timeout=5) as answer:
            return answer.status, answer.read().decode()
    except urllib.error.HTTPError as refusal:
        return refusal.code, refusal.read().decode()


def fill(disk: SmallDisk, client: Client, taken: list[str]) -> UnavailableError:
    """Until the broker takes nothing new any more. What it takes until then it has."""
    for _ in range(2000):
        disk.fill()
        try:
            taken.append(client.submit(KIND, QUICK).id)
        except UnavailableError as error:
            return error
    raise AssertionError("the disk is full, and the broker takes everything")


def checked(running: Runtime) -> dict[str, Any]:
    found: dict[str, Any] = document("db", "check", env=commands(running))
    assert found["fine"], found
    return found


@pytest.mark.scenario("F7")
@pytest.mark.fault
def test_a_full_disk_is_said_outcomes_are_kept_and_room_is_all_it_needs(tmp_path: Path) -> None:
    with on_a_small_disk(tmp_path) as (running, disk), connected(running) as client:
        watcher = Recorder(running)
        render = client.submit(KIND, ENDLESS)
        eventually(lambda: render.state == "running", what="it runs")
        script = Script(STEPS, environment(running))
        reported = named(client, "steps")
        script.go_on()
        taken = [render.id, reported.operation_id]

        refused = fill(disk, client, taken)
        assert "full" in refused.message
        assert " MiB are free again" in refused.message
        assert refused.retry_after_s

        # It says so, everywhere.
        _, why = eventually(lambda: (r := readyz(running))[0] == 503 and r, what="/readyz says so")
        assert "room" in why
        told = cli("status", env=commands(running))
        assert told.returncode == 6
        assert "nothing new is taken" in told.stdout
        (trouble,) = json.loads(cli("status", "--json", env=commands(running)).stdout)["troubles"]
        assert "nothing new is taken" in trouble["cause"]

        # Progress flows.
        before = len(watcher.progress(reported.operation_id))
        script.go_on()
        eventually(lambda: len(watcher.progress(reported.operation_id)) > before, what="progress of a program")
        before = len(watcher.progress(render.id))
        eventually(lambda: len(watcher.progress(render.id)) > before + 5, what="progress of a render")

        # A cancel acts, and outcomes are kept: there is room for them.
        render.cancel()
        assert render.wait(20) == "canceled"
        for _ in range(3):
            script.go_on()
        assert script.end()[0] == 0
        assert ended(client, "steps").state == "completed"
        with pytest.raises(UnavailableError):
            client.submit(KIND, QUICK)

        # Room is all it needs.
        disk.free()
        eventually(lambda: readyz(running)[0] == 200, what="it is ready again")
        assert client.submit(KIND, QUICK).wait(60) == "completed"
        for operation_id in taken:
            client.wait(operation_id, 60)
        assert running.folders.reserve.stat().st_size == running.settings.reserve_bytes
        for operation_id in taken:
            watcher.await_end(operation_id)
            watcher.check_story(operation_id)
        states = {o.operation_id: o.state for o in client.operations()}
        assert set(taken) <= set(states)
        checked(running)
        running.kill("broker")
        eventually(lambda: readyz(running)[0] == 200, what="it is back", timeout_s=30)
        assert {o.operation_id: o.state for o in client.operations()} == states


@pytest.mark.scenario("F7")
@pytest.mark.fault
def test_without_a_reserve_outcomes_are_held_and_arrive_when_there_is_room(tmp_path: Path) -> None:
    with on_a_small_disk(tmp_path, reserve_bytes=0) as (running, disk), connected(running) as client:
        watcher = Recorder(running)
        script = Script(STEPS + "print('said')\ninput()", environment(running))
        reported = named(client, "steps")
        taken = [reported.operation_id]
        fill(disk, client, taken)
        for _ in range(5):
            script.go_on()
        assert script.line() == "said"
        frames = len(watcher.notices)
        asked = [readyz(running)[0] for _ in range(20) if not time.sleep(0.1)]
        assert set(asked) == {503}
        assert len(watcher.notices) >= frames
        assert not watcher.ended(reported.operation_id)
        assert client.operation(reported.operation_id).state == "running"
        disk.free()
        assert client.wait(reported.operation_id, 30) == "completed"
        script.go_on()
        assert script.end()[0] == 0
        for operation_id in taken:
            client.wait(operation_id, 60)
            watcher.await_end(operation_id)
            watcher.check_story(operation_id)
        eventually(lambda: readyz(running)[0] == 200, what="it is ready again")
        checked(running)


@pytest.mark.scenario("F7")
@pytest.mark.fault
def test_a_broker_that_is_killed_while_the_disk_is_full_comes_back_and_takes_outcomes(tmp_path: Path) -> None:
    with on_a_small_disk(tmp_path) as (running, disk), connected(running) as client:
        render = client.submit(KIND, ENDLESS)
        eventually(lambda: render.state == "running", what="it runs")
        taken = [render.id]
        disk.fill()
        running.kill("broker")
        eventually(lambda: readyz(running)[0] == 503 and "room" in readyz(running)[1], what="it is back", timeout_s=30)
        with pytest.raises(UnavailableError):
            client.submit(KIND, QUICK)
        eventually(lambda: render.cancel() in ("cancelling", "already_terminal"), what="the cancel is taken")
        assert render.wait(30) == "canceled"
        disk.free()
        eventually(lambda: readyz(running)[0] == 200, what="it is ready again")
        assert client.submit(KIND, QUICK).wait(60) == "completed"
        assert set(taken) <= {o.operation_id for o in client.operations()}
        checked(running)


@pytest.mark.scenario("F7")
def test_a_runtime_that_is_started_on_a_full_disk_says_that_it_takes_nothing_new(tmp_path: Path) -> None:
    with on_a_small_disk(tmp_path) as (running, disk):
        running.stop(now=True)
        env = {**commands(running), "RFM_PORT": "0", "RFM_WORKERS": "1"}
        # Room for what the processes write while they start, and not for a reserve.
        disk.fill()
        running.folders.reserve.write_bytes(b"")
        (disk.path / "ballast").write_bytes(bytes(running.settings.reserve_bytes // 2))
        started = cli("start", "--daemon", env=env)
        assert started.returncode == 0, started
        assert "ready, but degraded" in started.stderr, started
        degraded, why = started.stderr.splitlines()[-2:]
        assert re.match(r"ready, but degraded at ws://127\.0\.0\.1:\d+, pid \d+; stop it with", degraded)
        assert why.startswith("nothing new is taken, what runs goes on: ")
        assert "room" in why


# --- damage -----------------------------------------------------------------------------------


@pytest.mark.scenario("F11")
@pytest.mark.timeout(300)
def test_a_damaged_journal_is_no_new_beginning_and_a_backup_is_another_log(tmp_path: Path) -> None:
    with runtime(tmp_path, workers=1) as running:
        with connected(running) as client:
            first = client.submit(KIND, QUICK)
            assert first.wait(60) == "completed"
            copy = tmp_path / "copy.db"
            assert document("db", "backup", str(copy), env=commands(running))["bytes"] == copy.stat().st_size
            later = client.submit(KIND, QUICK)
            assert later.wait(60) == "completed"
        epoch = document("db", "status", env=commands(running))["epoch"]
        running.stop()
        journal = running.folders.journal
        content = bytearray(journal.read_bytes())
        content[: len(content) // 2] = bytes(len(content) // 2)
        journal.write_bytes(content)

        with pytest.raises(JournalError, match="damaged") as caught:
            running.start()
        assert "db restore" in (caught.value.hint or "")
        assert caught.value.kept == "the file was not changed"
        told = cli("start", "--daemon", env={**commands(running), "RFM_PORT": "0"})
        assert "db restore" in two_lines(told, 1)[1]
        assert told.stderr.startswith("critical[journal]: ")
        assert "damaged" in told.stderr.splitlines()[0]
        assert journal.read_bytes() == content
        assert cli("db", "check", env=commands(running)).returncode == 1

        kept = Path(document("db", "restore", str(copy), env=commands(running))["kept"])
        assert kept.read_bytes() == content
        running.start()
        with connected(running) as client:
            assert [o.operation_id for o in client.operations()] == [first.id]
            assert client.submit(KIND, QUICK).wait(60) == "completed"
        assert document("db", "status", env=commands(running))["epoch"] != epoch
        checked(running)
        running.stop()

        journal.write_bytes(b"")
        with pytest.raises(JournalError):
            running.start()
        told = cli("start", "--daemon", "--new-journal", env={**commands(running), "RFM_PORT": "0"})
        assert told.returncode == 0, told
        assert json.loads(output("ps", "--all", "--json", env=commands(running)))["operations"] == []
        output("stop", env=commands(running))


@pytest.mark.scenario("F11")
@pytest.mark.fault
def test_damage_that_is_found_while_it_runs_is_said_and_what_runs_goes_on(tmp_path: Path) -> None:
    with runtime(tmp_path, workers=1) as running, connected(running) as client:
        render = client.submit(KIND, ENDLESS)
        eventually(lambda: render.state == "running", what="it runs")
        finished = client.submit(KIND, {**QUICK, "max_iter": 50}, priority=9)
        assert finished.wait(60) == "completed"
        broker = running.processes()["broker"].pid
        with sqlite3.connect(running.folders.journal) as connection:
            connection.execute("UPDATE operations SET row = x'c1c1' WHERE operation_id = ?", (finished.id,))
        connection.close()
        with pytest.raises(RfmError, match="damaged"):
            client.history(since_ms=0)
        _, why = eventually(lambda: (r := readyz(running))[0] == 503 and r, what="/readyz says so")
        assert "damaged" in why
        assert "db check" in why
        with pytest.raises(UnavailableError, match="damaged"):
            client.submit(KIND, QUICK)
        render.cancel()
        assert render.wait(30) == "canceled"
        assert running.processes()["broker"].pid == broker
        found = cli("db", "check", env=commands(running))
        assert found.returncode == 1
        assert finished.id in found.stdout


# --- the commands -----------------------------------------------------------------------------


@pytest.mark.scenario("J24")
def test_a_backup_is_taken_while_operations_are_journalled_and_is_whole(tmp_path: Path) -> None:
    with runtime(tmp_path, workers=1) as running, connected(running) as client:
        ids: list[str] = []
        for number in range(4):
            ids += [client.submit(KIND, QUICK, labels={"round": str(number)}).id for _ in range(15)]
            copy = tmp_path / f"copy-{number}.db"
            output("db", "backup", str(copy), env=commands(running))
            other = tmp_path / f"state-{number}"
            other.mkdir()
            shutil.copy(copy, other / "journal.db")
            env = {**commands(running), "RFM_STATE_DIR": str(other), "RFM_RUNTIME_DIR": str(tmp_path / f"run-{number}")}
            found = document("db", "check", env=env)
            assert found["fine"], found
            assert found["operations"] == len(ids)
        again = cli("db", "backup", str(tmp_path / "copy-0.db"), env=commands(running))
        assert again.returncode == 2
        assert "--force" in again.stderr
        output("db", "backup", str(tmp_path / "copy-0.db"), "--force", env=commands(running))
        for operation_id in ids:
            client.wait(operation_id, 60)
        exported = [json.loads(line) for line in output("db", "export", env=commands(running)).splitlines()]
        assert {one["operation_id"] for one in exported} == set(ids)
        assert all(one["params"]["width_px"] == QUICK["width_px"] for one in exported)
        some = output("db", "export", "--label", "round=2", "--format", "csv", env=commands(running)).splitlines()
        assert len(some) == 16
        target = tmp_path / "events.csv"
        output("db", "export", "events", "--format", "csv", "-o", str(target), env=commands(running))
        lines = target.read_text().splitlines()
        assert sum(",operation_completed," in line for line in lines) == len(ids)
        assert cli("db", "export", "-o", str(target), env=commands(running)).returncode == 2
        for refused in ("restore", "migrate"):
            arguments = ["db", refused, *([str(tmp_path / "copy-0.db")] if refused == "restore" else [])]
            done = cli(*arguments, env=commands(running))
            # Of this release's schema there is nothing to migrate.
            assert done.returncode == (3 if refused == "restore" else 0), done
        checked(running)


@pytest.mark.scenario("J24")
def test_check_finds_what_contradicts_itself(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    shutil.copy(GOLDEN, state / "journal.db")
    env = {"PATH": "/usr/bin:/bin", "HOME": str(tmp_path), "RFM_STATE_DIR": str(state)}
    env["RFM_RUNTIME_DIR"] = str(tmp_path / "run")
    assert document("db", "check", env=env)["fine"]
    damages = {
        "DELETE FROM events WHERE seq = 40": "event 40 is missing",
        "DELETE FROM operations WHERE operation_id = 'op-bob'": "op-bob: 4 events, and no operation",
        "UPDATE operations SET state = 'failed' WHERE operation_id = 'op-bob'": "op-bob",
        "DELETE FROM operations WHERE operation_id = 'op-parent'": "its parent op-parent is not there",
    }
    for statement, said in damages.items():
        shutil.copy(GOLDEN, state / "journal.db")
        with sqlite3.connect(state / "journal.db") as connection:
            connection.execute(statement)
        connection.close()
        done = cli("db", "check", env=env)
        assert done.returncode == 1
        assert said in done.stdout, done.stdout
    shutil.copy(GOLDEN, state / "journal.db")
    assert document("db", "migrate", env=env)["kept"] == str(state / "journal.db.schema-1")
    assert document("db", "check", env=env)["fine"]
    assert document("db", "status", env=env)["schema"] == SCHEMA_VERSION


@pytest.mark.scenario("D13", "B9")
def test_a_runtime_goes_on_with_the_journal_of_the_first_release(tmp_path: Path) -> None:
    state = tmp_path / "state"
    state.mkdir()
    shutil.copy(GOLDEN, state / "journal.db")
    # What ended then is to be seen whenever this is run.
    ages = {"finished_keep_s": CENTURY_S, "retention_s": CENTURY_S}
    with runtime(tmp_path, workers=1, **ages) as running, connected(running) as client:
        operations = {o.operation_id: o for o in client.operations()}
        assert len(operations) == 21
        assert operations["op-failed"].error is not None
        assert {o.operation_id for o in client.history(since_ms=0)} == set(operations)
        assert client.performance("op-bob").performance.points
        # Nobody has it in hand any more, and it waits for an engine that offers it.
        assert operations["op-running"].state not in TERMINAL_STATES
        assert client.submit(KIND, QUICK).wait(60) == "completed"
        checked(running)
    assert (state / "journal.db.schema-1").exists()


@pytest.mark.scenario("J23")
def test_what_is_forgotten_is_gone_for_everybody_but_its_files(tmp_path: Path) -> None:
    kept = {"finished_keep": 3, "retention_operations": 5, "history_events": 8}
    with runtime(tmp_path, workers=1, **kept) as running, connected(running) as client:
        ids = []
        for _ in range(12):
            operation = client.submit(KIND, QUICK)
            assert operation.wait(60) == "completed"
            ids.append(operation.id)
        watcher = Recorder(running, follow=True)
        eventually(lambda: watcher.notices, what="the watcher is there")
        # The writer looks at the start, and once a minute.
        running.kill("broker")
        eventually(
            lambda: {o.operation_id for o in _history(client)} == set(ids[-5:]), what="five are left", timeout_s=30
        )
        assert client.submit(KIND, QUICK).wait(60) == "completed"
        assert len(list(running.folders.artifacts.iterdir())) == 13
        found = checked(running)
        assert found["operations"] >= 5
        assert document("db", "status", env=commands(running))["forgotten"] == 7
        running.kill("broker")
        late = client.submit(KIND, QUICK)
        assert late.wait(60) == "completed"
        watcher.await_end(late.id)


def _history(client: Client) -> list[Any]:
    try:
        return list(client.history(since_ms=0))
    except UnavailableError:
        time.sleep(0.1)
        return []
