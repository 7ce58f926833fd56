"""A million updates leave nothing behind: no object, and no reference to `None`, which Qt's bindings once took."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import psutil
import pytest
from msgspec.structs import replace
from PySide6.QtCore import QSettings, Qt
from pytestqt.qtbot import QtBot

from rfm_runtime.protocol.operation import Operation, ProgressUpdate
from rfm_ui.bridge import News
from rfm_ui.view.operations_page import OperationsPage
from rfm_ui.view.session import Session
from tests.screens import Paints

MANY, ROUNDS, WARM = 1_000, 1_000, 50
DRIFT = 1_000
"""References and objects for a million updates: one an update would be a thousand times as many."""
GROWTH_MIB = 8.0


def kept() -> tuple[int, int, int, int]:
    """References to None, True and False, and objects."""
    gc.collect()
    return sys.getrefcount(None), sys.getrefcount(True), sys.getrefcount(False), len(gc.get_objects())


@pytest.mark.scenario("J123")
def test_a_million_updates_leave_nothing_behind(qtbot: QtBot, tmp_path: Path) -> None:
    session = Session()
    page = OperationsPage(session, QSettings(str(tmp_path / "viewer.ini"), QSettings.Format.IniFormat))
    qtbot.addWidget(page, before_close_func=lambda _page: session.close())
    page.resize(900, 700)
    page.show()
    paints = Paints(page.list.viewport())
    made = [
        Operation(
            operation_id=f"operation-{k:04}",
            kind="load",
            name=f"operation {k}",
            owner="ann",
            state="running",
            at_seq=1,
            created_at_ms=k + 1,
            started_at_ms=k + 1,
        )
        for k in range(MANY)
    ]
    before, rss = kept(), 0

    for turn in range(WARM + ROUNDS):
        if turn == WARM:
            qtbot.waitUntil(lambda: paints.count > 0)
            before, rss = kept(), psutil.Process().memory_info().rss
        changed = {
            one.operation_id: replace(
                one,
                latest=ProgressUpdate(
                    operation_id=one.operation_id,
                    rev=(1, turn),
                    at_seq=1,
                    measured_at_ms=turn,
                    done=float(turn),
                    total=2.0 * ROUNDS,
                    progress=turn * 99.0 / (WARM + ROUNDS),
                ),
            )
            for one in made
        }
        session.news.emit(News(operations=changed))
        page.list.viewport().repaint()
        for row in range(MANY):
            # As Qt asks for what a row does not have.
            page.model.index(row).data(Qt.ItemDataRole.DecorationRole)
    after = kept()

    assert len(page.board) == MANY
    assert paints.count >= ROUNDS
    drift = [b - a for a, b in zip(before, after, strict=True)]
    print("references to None, True, False, and objects:", drift)
    assert max(map(abs, drift)) <= DRIFT
    assert (psutil.Process().memory_info().rss - rss) / 2**20 <= GROWTH_MIB
