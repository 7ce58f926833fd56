"""Answers that come to what is closed by then, or that go wrong: nothing else that has happened is lost by them."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from PySide6.QtCore import QCoreApplication, QEvent
from pytestqt.qtbot import QtBot
from shiboken6 import isValid

from rfm_runtime import JWTAuthenticator, ProgressReporter, ProgressReportingServer
from rfm_runtime.client.async_client import AsyncClient
from rfm_runtime.errors import RfmError
from rfm_runtime.testing.runtime import eventually
from rfm_ui.view.notifications.rules_page import RulesDialog
from rfm_ui.view.report_dialog import ReportDialog
from rfm_ui.view.window import ViewerWindow
from tests.screens import MOST_MS, opened
from tests.tokens import SECRET, signed

pytestmark = pytest.mark.integration


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[ProgressReportingServer]:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state-home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config-home"))
    monkeypatch.setenv("RFM_RUNTIME_DIR", str(tmp_path / "none"))
    with ProgressReportingServer(port=0, memory=True, authenticator=JWTAuthenticator(SECRET)) as running:
        yield running


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer) -> ViewerWindow:
    return opened(qtbot, tmp_path, server.url, signed(sub="root", roles=["admin"]))


@pytest.fixture
def reporter(qtbot: QtBot, window: ViewerWindow) -> Iterator[ProgressReporter]:
    with ProgressReporter("copying", "photos") as made:
        made.report_progress(40.0)
        qtbot.waitUntil(lambda: len(window.operations.board) == 1, timeout=MOST_MS)
        yield made


def in_one_frame(window: ViewerWindow, reporter: ProgressReporter) -> str:
    """The operation completes, and what was asked for is answered, while the window's thread does something else."""
    bridge, operation_id = window._session._bridge, window.operations.board.at(0).operation_id
    reporter.report_completed()
    eventually(lambda: bridge.known[operation_id].state == "completed" and bool(bridge._answers))
    # The client has it a moment before the bridge.
    time.sleep(0.05)
    return operation_id


@pytest.mark.scenario("A4")
@pytest.mark.qt_no_exception_capture
def test_an_answer_that_goes_wrong_takes_nothing_else_along(
    qtbot: QtBot, window: ViewerWindow, reporter: ProgressReporter
) -> None:
    heard = []

    async def question(_client: AsyncClient) -> None:
        """Is answered at once."""

    def wrong(_result: Any, _error: RfmError | None) -> None:
        raise RuntimeError("it is gone")

    window._session.ask(question, wrong)
    window._session.ask(question, lambda *_said: heard.append(True))
    with qtbot.captureExceptions() as caught:
        operation_id = in_one_frame(window, reporter)
        qtbot.waitUntil(lambda: window.operations.board.operations[operation_id].state == "completed", timeout=MOST_MS)

    assert heard == [True]
    assert [str(one[1]) for one in caught] == ["it is gone"], "it is not hidden either"


@pytest.mark.scenario("E13", "A4")
def test_a_report_that_is_closed_before_it_comes(
    qtbot: QtBot, window: ViewerWindow, reporter: ProgressReporter
) -> None:
    dialog = ReportDialog(window._session, window)
    dialog.of_operation(window.operations.board.at(0).operation_id)
    dialog.close()
    QCoreApplication.sendPostedEvents(dialog, QEvent.Type.DeferredDelete.value)
    assert not isValid(dialog)

    operation_id = in_one_frame(window, reporter)

    qtbot.waitUntil(lambda: window.operations.board.operations[operation_id].state == "completed", timeout=MOST_MS)


@pytest.mark.scenario("E12", "A4")
def test_rules_that_are_closed_before_they_are_kept(
    qtbot: QtBot, window: ViewerWindow, reporter: ProgressReporter
) -> None:
    notifications = window.notifications
    qtbot.waitUntil(lambda: notifications.known is not None, timeout=MOST_MS)
    before = notifications.known
    dialog = RulesDialog(notifications, window)
    dialog.open()
    dialog.page.copy.click()
    dialog.page.save()
    dialog.reject()
    QCoreApplication.sendPostedEvents(dialog, QEvent.Type.DeferredDelete.value)
    assert not isValid(dialog.page)

    operation_id = in_one_frame(window, reporter)

    qtbot.waitUntil(lambda: window.operations.board.operations[operation_id].state == "completed", timeout=MOST_MS)
    qtbot.waitUntil(lambda: notifications.known != before, timeout=MOST_MS)
