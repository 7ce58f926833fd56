"""What failed or was cancelled is submitted once more as it was: a real render."""

from __future__ import annotations

from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from rfm_runtime import Client
from rfm_runtime.errors import ConflictError
from rfm_runtime.testing.runtime import Runtime
from tests.screens import MOST_MS, opened
from tests.whole import KIND, SECONDS

pytestmark = pytest.mark.integration


@pytest.mark.scenario("J92", "J95")
def test_a_cancelled_render_is_submitted_once_more(
    qtbot: QtBot, tmp_path: Path, running: Runtime, client: Client
) -> None:
    endless = {**SECONDS, "max_iter": 1_000_000_000, "tile_px": 512}
    first = client.submit(KIND, endless, name="deep one", priority=7, labels={"site": "b"})
    with pytest.raises(ConflictError):
        client.retry(first.id)
    window = opened(qtbot, tmp_path, running.url, running.info.token)
    page = window.operations
    qtbot.waitUntil(lambda: len(page.board) == 1 and page.board.at(0).state == "running", timeout=MOST_MS)
    page.list.setCurrentIndex(page.model.index(0))
    page.list.setFocus()
    details = page.details
    qtbot.waitUntil(
        lambda: any(name.startswith("worker") and "process" in what for name, what in details.workers.shown),
        timeout=MOST_MS,
    )
    assert details.tiles.tiles is not None
    assert details.tiles.tiles.said == "0 of 8 tiles"
    assert page.retry.toolTip() == "deep one has not ended."

    qtbot.keyClick(page.list, Qt.Key.Key_Delete)
    qtbot.waitUntil(lambda: page.board.at(0).state == "canceled", timeout=MOST_MS)
    qtbot.waitUntil(page.retry.isEnabled, timeout=MOST_MS)
    qtbot.keyClick(page.list, Qt.Key.Key_R)

    qtbot.waitUntil(lambda: len(page.board) == 2, timeout=MOST_MS)
    again = page.board.at(0)
    assert again.operation_id != first.id
    assert (again.kind, again.name, again.labels, again.priority) == (
        "render.escape_time", "deep one", {"site": "b"}, 7,
    )  # fmt: skip
    assert client.parameters(again.operation_id) == client.parameters(first.id)
    client.cancel(again.operation_id)
    assert client.wait(again.operation_id, 30.0) == "canceled"
