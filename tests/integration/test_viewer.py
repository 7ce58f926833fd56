"""The viewer against a real server, without a screen: what it shows, how it loses and finds its server."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import Qt
from pytestqt.qtbot import QtBot

from rfm_runtime import JWTAuthenticator, ProgressReporter, ProgressReportingServer
from rfm_runtime.testing.hosts import free_ports
from rfm_ui.view.components.connection_status import ConnectionStatusIndicator
from rfm_ui.view.window import ViewerWindow
from tests.screens import MOST_MS, opened

pytestmark = pytest.mark.integration
AUTHENTICATOR = JWTAuthenticator(secret_key="0123456789abcdef0123456789abcdef")


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folders: nothing of this machine's user is touched, or found."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state-home"))
    monkeypatch.setenv("RFM_RUNTIME_DIR", str(tmp_path / "none"))
    return tmp_path


@pytest.fixture
def server() -> Iterator[ProgressReportingServer]:
    # With a port and a key of its own, so that it comes back as it was.
    with ProgressReportingServer(port=free_ports(1), memory=True, authenticator=AUTHENTICATOR) as running:
        yield running


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer) -> ViewerWindow:
    return opened(qtbot, tmp_path, server.url, AUTHENTICATOR.issue("local-admin", ["admin"]))


@pytest.mark.scenario("E1", "E3", "E4")
def test_what_runs_is_shown_and_can_be_cancelled(qtbot: QtBot, window: ViewerWindow) -> None:
    page = window.operations
    assert "Nothing runs yet" in page.empty.text()
    with ProgressReporter("copying", "photos") as reporter:
        reporter.report_progress(40.0, "forty")
        qtbot.waitUntil(lambda: len(page.board) == 1 and page.board.at(0).latest is not None, timeout=MOST_MS)
        index = page.model.index(0)
        spoken = index.data(Qt.ItemDataRole.AccessibleTextRole)
        assert spoken.startswith("photos, running, 40 percent")
        assert not page.cancel.isEnabled()

        page.list.setCurrentIndex(index)
        qtbot.mouseClick(page.cancel, Qt.MouseButton.LeftButton)

        assert page.told.text() == "Asked to cancel 1 operation."
        qtbot.waitUntil(reporter.should_cancel, timeout=MOST_MS)
        reporter.report_canceled()
    qtbot.waitUntil(lambda: page.board.at(0).state == "canceled", timeout=MOST_MS)
    assert page.chosen()[0].name == "photos"
    assert not page.cancel.isEnabled()


@pytest.mark.scenario("E2", "E5")
def test_a_server_that_comes_back_is_found_again(
    qtbot: QtBot, window: ViewerWindow, server: ProgressReportingServer
) -> None:
    server.stop()
    qtbot.waitUntil(lambda: window.indicator.word in ("reconnecting", "server restarts"), timeout=MOST_MS)

    server.start()
    window.indicator.retry_wanted.emit()

    qtbot.waitUntil(lambda: window.indicator.word == "live", timeout=MOST_MS)


@pytest.mark.scenario("A6")
def test_an_indicator_for_any_program(qtbot: QtBot) -> None:
    indicator = ConnectionStatusIndicator()
    qtbot.addWidget(indicator)
    indicator.update_status(True)
    assert indicator.word == "live"

    indicator.update_status(False, {"attempt": 2, "next_try_in_s": 5.0, "reason": "refused"})

    assert indicator.word == "reconnecting"
    assert "attempt 2 in 5 s: refused" in indicator.toolTip()
    dialog = indicator.show_reconnection_dialog(attempts=3, next_attempt_time="in 5 seconds", allow_manual=True)
    assert dialog.isVisible()
    with qtbot.waitSignal(indicator.retry_wanted):
        qtbot.mouseClick(dialog.retry, Qt.MouseButton.LeftButton)
    indicator.update_status(True)
    qtbot.waitUntil(lambda: not dialog.isVisible(), timeout=MOST_MS)
