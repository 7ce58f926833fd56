"""The viewer's explorer against a real runtime: real renders, stale ones stopped, pictures that fill in."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest
from msgspec.structs import replace
from PySide6.QtCore import QPoint, QPointF, Qt
from PySide6.QtGui import QImage, QWheelEvent
from PySide6.QtWidgets import QApplication
from pytestqt.qtbot import QtBot

from rfm_runtime import Client
from rfm_runtime.protocol.operation import TERMINAL_STATES
from rfm_runtime.testing.runtime import Runtime, eventually
from rfm_ui.view.explorer_page import ExplorerPage
from rfm_ui.view.window import ViewerWindow
from tests.screens import MOST_MS, opened

pytestmark = pytest.mark.integration
STALE_S = 0.1
"""After the last step nothing but the last view is computed."""


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path, running: Runtime) -> ViewerWindow:
    one = opened(qtbot, tmp_path, running.url, running.info.token)
    one.turn_to(one.explorer)
    return one


def pixels(image: QImage) -> np.ndarray:
    rgb = image.convertToFormat(QImage.Format.Format_RGB888)
    rows = np.frombuffer(rgb.constBits(), np.uint8).reshape(rgb.height(), rgb.bytesPerLine())
    # The bits go with the image.
    return rows[:, : 3 * rgb.width()].reshape(rgb.height(), rgb.width(), 3).copy()


def wheel(page: ExplorerPage, notches: int) -> None:
    middle = QPointF(page.canvas.width() / 2.0, page.canvas.height() / 2.0)
    delta, none = QPoint(0, 120 * notches), Qt.MouseButton.NoButton
    keys, phase, inverted = Qt.KeyboardModifier.NoModifier, Qt.ScrollPhase.NoScrollPhase, False
    event = QWheelEvent(middle, middle, QPoint(), delta, none, keys, phase, inverted)
    QApplication.sendEvent(page.canvas, event)


@pytest.mark.scenario("E3")
def test_the_picture_fills_in_with_what_the_runtime_computed(
    qtbot: QtBot, window: ViewerWindow, client: Client, tmp_path: Path
) -> None:
    page = window.explorer
    qtbot.waitUntil(lambda: page.is_complete, timeout=MOST_MS)
    operation_id = page.exploring.operation_id
    assert operation_id is not None
    saved = tmp_path / "seen.png"

    page.save(saved)

    qtbot.waitUntil(lambda: page.state.text() == f"Saved {saved}.", timeout=MOST_MS)
    expected = pixels(QImage(str(saved)))
    assert (pixels(page.canvas.composed()) == expected).all()
    assert client.operation(operation_id).labels == {"from": "explorer"}
    page.go(replace(page.exploring.view, re="-0.75"))
    page.open(saved)
    assert page.exploring.view.re == client.parameters(operation_id)["re"]


@pytest.mark.alone
def test_ten_steps_leave_no_stale_work(qtbot: QtBot, window: ViewerWindow, client: Client) -> None:
    page = window.explorer
    qtbot.waitUntil(lambda: page.is_complete, timeout=MOST_MS)
    # Inside the set, where no point ever ends.
    inside = replace(page.exploring.view, re="-0.1", im="0", width="0.1", max_iter=2**31 - 1, interior_tests=False)
    page.go(inside)
    seen: list[str] = []
    for _ in range(10):
        qtbot.waitUntil(lambda: page.exploring.operation_id is not None, timeout=MOST_MS)
        qtbot.wait(450)
        seen.append(page.exploring.operation_id or "")
        wheel(page, 1)
    stepped_s = time.time()
    qtbot.waitUntil(lambda: page.exploring.operation_id is not None, timeout=MOST_MS)
    last = page.exploring.operation_id

    qtbot.waitUntil(lambda: all(client.operation(one).state in TERMINAL_STATES for one in seen), timeout=MOST_MS)

    ended = [client.operation(one) for one in seen]
    assert {one.state for one in ended} == {"canceled"}
    late_s = max(one.ended_at_ms or 0 for one in ended) / 1000 - stepped_s
    print(f"the last stale render ended {late_s * 1000:.0f} ms after the last step")
    assert late_s <= STALE_S
    eventually(
        lambda: [one.operation_id for one in client.operations(states=["queued", "running", "cancelling"])] == [last],
        what="the last view, and nothing else, is computed",
    )


def test_one_finds_back_and_other_colours_are_not_computed(qtbot: QtBot, window: ViewerWindow) -> None:
    page = window.explorer
    qtbot.waitUntil(lambda: page.is_complete, timeout=MOST_MS)
    first, before = page.exploring.view, pixels(page.canvas.composed())
    wheel(page, 2)
    qtbot.waitUntil(lambda: page.is_complete, timeout=MOST_MS)
    assert not (pixels(page.canvas.composed()) == before).all()

    qtbot.mouseClick(page.back, Qt.MouseButton.LeftButton)

    assert page.exploring.view == first
    qtbot.waitUntil(lambda: page.is_complete, timeout=MOST_MS)
    assert (pixels(page.canvas.composed()) == before).all()
    computed = page.exploring.operation_id
    page.palette_choice.setCurrentText("magma")
    page.palette_choice.activated.emit(page.palette_choice.currentIndex())
    qtbot.waitUntil(lambda: not (pixels(page.canvas.composed()) == before).all(), timeout=MOST_MS)
    assert page.exploring.operation_id == computed


def test_a_render_goes_on_when_the_window_is_closed(
    qtbot: QtBot, tmp_path: Path, running: Runtime, client: Client
) -> None:
    window = opened(qtbot, tmp_path, running.url, running.info.token)
    page = window.explorer
    window.turn_to(page)
    qtbot.waitUntil(lambda: page.is_complete, timeout=MOST_MS)
    page.go(replace(page.exploring.view, max_iter=200_000, re="-0.1", width="0.1", interior_tests=False))
    qtbot.waitUntil(lambda: page.exploring.operation_id is not None, timeout=MOST_MS)
    operation_id = page.exploring.operation_id or ""
    qtbot.waitUntil(lambda: "running" in page.state.text() or "%" in page.state.text(), timeout=MOST_MS)

    window.close()

    left = eventually(
        lambda: (one := client.operation(operation_id)).state == "running" and one, what="the render goes on"
    )
    assert not left.cancel_requested
    client.cancel(operation_id)
