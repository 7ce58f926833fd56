"""What each worker of a real engine does, and what becomes of one that is killed; for programs, and in the viewer."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from rfm_runtime import Client
from rfm_runtime.protocol.crew import WorkerUsage
from rfm_runtime.testing.runtime import Runtime, eventually, runtime
from tests.screens import MOST_MS, opened
from tests.whole import ENDLESS, KIND

pytestmark = [pytest.mark.integration, pytest.mark.scenario("E14", "J105")]

WORKERS = 2


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    folder = tmp_path_factory.mktemp("rt")
    with runtime(folder, workers=WORKERS, resources_interval_s=0.5, drain_timeout_s=2.0) as started:
        yield started


@pytest.fixture
def client(watched: Runtime) -> Iterator[Client]:
    with Client(url=watched.url, token=watched.info.token) as connected:
        yield connected


def crew(client: Client) -> list[WorkerUsage]:
    return [worker for crew in client.workers() for worker in crew.workers]


@pytest.mark.fault
def test_each_worker_and_its_death(watched: Runtime, client: Client) -> None:
    operation = client.submit(KIND, ENDLESS, name="endless")
    try:
        eventually(
            lambda: [one.operation_id for one in crew(client)] == [operation.id] * WORKERS,
            timeout_s=60,
            what="all work",
        )
        eventually(lambda: all(one.cpu_percent > 1.0 for one in crew(client)), what="their CPU time")
        before = crew(client)
        assert {one.pid for one in before} == {process.pid for process in watched.workers()}
        for one in before:
            assert (one.state, one.starts, one.last_death) == ("computing", 1, "")
            assert one.memory_bytes > 10_000_000
            assert one.tile is not None
            assert one.tile[2] > 0

        victim = before[0]
        next(process for process in watched.workers() if process.pid == victim.pid).kill()
        eventually(lambda: crew(client)[0].starts == 2, timeout_s=30, what="its successor")

        (told,) = client.workers()
        successor = told.workers[0]
        assert successor.number == victim.number
        assert successor.pid in {process.pid for process in watched.workers()}
        assert "SIGKILL" in successor.last_death
        assert told.deaths == {"SIGKILL": 1}
        assert told.workers[1].starts == 1
    finally:
        operation.cancel()
        operation.wait(30)
    eventually(lambda: all(one.state == "idle" for one in crew(client)), what="nobody works")


def test_the_page_of_workers(qtbot: QtBot, tmp_path: Path, watched: Runtime, client: Client) -> None:
    window = opened(qtbot, tmp_path, watched.url, watched.info.token)
    page = window.workers
    operation = client.submit(KIND, ENDLESS, name="endless")
    try:
        window.turn_to(page)
        eventually_works = [f"worker {number}" for number in range(1, WORKERS + 1)]
        qtbot.waitUntil(lambda: [row.name for row in page.rows] == eventually_works, timeout=MOST_MS)
        qtbot.waitUntil(lambda: {row.what for row in page.rows} == {"endless"}, timeout=3 * MOST_MS)
        assert {row.state for row in page.rows} == {"computing"}
        assert not page.details.isVisible()

        place = page.table.visualItemRect(page.table.item(1, 0)).center()
        qtbot.mouseClick(page.table.viewport(), Qt.MouseButton.LeftButton, pos=place)

        qtbot.waitUntil(page.details.isVisible, timeout=MOST_MS)
        assert page.details.bar.accessibleName().startswith("endless, running")
    finally:
        operation.cancel()
        operation.wait(30)
    qtbot.waitUntil(lambda: {row.state for row in page.rows} == {"idle"}, timeout=MOST_MS)
