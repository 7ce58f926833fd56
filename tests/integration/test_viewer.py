"""The viewer against a real server, without a screen: what it shows, how it loses and finds its server."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QSettings, Qt
from PySide6.QtWidgets import QVBoxLayout, QWidget
from pytestqt.qtbot import QtBot

from rfm_runtime import JWTAuthenticator, ProgressReporter, ProgressReportingServer, ResourceMonitor
from rfm_runtime.errors import BadRequestError
from rfm_runtime.testing.hosts import free_ports
from rfm_ui import ProgressManager, get_progress_manager
from rfm_ui.view.components.connection_status import ConnectionStatusIndicator
from rfm_ui.view.session import Session
from rfm_ui.view.window import ViewerWindow
from tests.screens import MOST_MS, opened

pytestmark = pytest.mark.integration
ROOT = Path(__file__).parents[2]
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
    monitor = ResourceMonitor(interval=0.5)
    port = free_ports(1)
    with ProgressReportingServer(
        port=port, memory=True, authenticator=AUTHENTICATOR, resource_monitor=monitor
    ) as running:
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

        def spoken() -> str:
            return page.model.index(0).data(Qt.ItemDataRole.AccessibleTextRole) or ""

        # Its start may be shown before its report is.
        qtbot.waitUntil(lambda: spoken().startswith("photos, running, 40 percent"), timeout=MOST_MS)
        index = page.model.index(0)
        assert not page.cancel.isEnabled()

        page.list.setCurrentIndex(index)
        qtbot.mouseClick(page.cancel, Qt.MouseButton.LeftButton)
        # It is the server's own user's, and not of who looks at it.
        assert page.wishes.confirming is not None
        qtbot.mouseClick(page.wishes.confirming.confirm, Qt.MouseButton.LeftButton)

        assert page.told.text() == "Asked to cancel 1 operation."
        qtbot.waitUntil(reporter.should_cancel, timeout=MOST_MS)
        reporter.report_canceled()
    qtbot.waitUntil(lambda: page.board.at(0).state == "canceled", timeout=MOST_MS)
    assert page.chosen()[0].name == "photos"
    assert not page.cancel.isEnabled()


@pytest.mark.scenario("E6")
def test_what_failed_says_why_and_what_happened(qtbot: QtBot, window: ViewerWindow) -> None:
    page = window.operations
    reporter = ProgressReporter("copying", "photos", labels={"site": "b"})
    reporter.report_progress(40.0, "forty")
    reporter.report_failed("the disk is full", details={"free": 0})
    qtbot.waitUntil(lambda: len(page.board) == 1 and page.board.at(0).state == "failed", timeout=MOST_MS)
    assert not page.details.isVisible()

    page.list.setCurrentIndex(page.model.index(0))

    details = page.details
    qtbot.waitUntil(lambda: bool(details.events.shown), timeout=MOST_MS)
    assert details.bar.accessibleName() == "photos, failed, 40 percent"
    assert ("label", "site = b") in details.facts.shown
    assert [what.split()[1] for what, _remark in details.events.shown] == ["accepted", "started", "failed"]
    assert "the disk is full" in details.events.shown[-1][1]
    page.list.clearSelection()
    assert not details.isVisible()


@pytest.mark.scenario("B9")
def test_the_timeline_shows_what_runs_and_what_was(qtbot: QtBot, window: ViewerWindow) -> None:
    page = window.timeline
    window.turn_to(page)
    with ProgressReporter("copying", "photos") as reporter:
        reporter.report_progress(40.0)
        qtbot.waitUntil(lambda: [span.percent for span in page.timeline.spans] == [40.0], timeout=MOST_MS)
    qtbot.waitUntil(lambda: [span.state for span in page.timeline.spans] == ["completed"], timeout=MOST_MS)

    place = page.timeline.rect_of(page.timeline.spans[0]).center().toPoint()
    qtbot.mouseClick(page.timeline, Qt.MouseButton.LeftButton, pos=place)

    assert page.details.isVisible()
    assert page.details.bar.accessibleName() == "photos, completed, 100 percent"
    page.timeline.show_period(page.timeline.period.moved(2.0))
    qtbot.waitUntil(lambda: not page.timeline.spans, timeout=MOST_MS)
    qtbot.keyClick(page.timeline, Qt.Key.Key_End)
    qtbot.waitUntil(lambda: len(page.timeline.spans) == 1, timeout=MOST_MS)


@pytest.mark.scenario("J18")
def test_the_machine_shows_what_its_processes_use(qtbot: QtBot, window: ViewerWindow) -> None:
    page = window.machine
    assert not page.charted

    window.turn_to(page)

    qtbot.waitUntil(lambda: page.table.rowCount() > 0, timeout=MOST_MS)
    assert page.table.item(0, 0).text()
    assert page.table.item(0, 2).text().endswith("MiB")
    assert "of memory in use" in page.host.text()
    qtbot.waitUntil(lambda: bool(page.charted), timeout=MOST_MS)
    assert page.charted == [page.table.item(row, 0).text() for row in range(page.table.rowCount())]


@pytest.mark.scenario("E2", "E5")
def test_a_server_that_comes_back_is_found_again(
    qtbot: QtBot, window: ViewerWindow, server: ProgressReportingServer
) -> None:
    server.stop()
    qtbot.waitUntil(lambda: window.indicator.word in ("reconnecting", "server restarts"), timeout=MOST_MS)

    server.start()
    window.indicator.retry_wanted.emit()

    qtbot.waitUntil(lambda: window.indicator.word == "live", timeout=MOST_MS)


@pytest.mark.scenario("I1")
def test_where_no_runtime_is_one_can_be_started(qtbot: QtBot, own_home: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RFM_PORT", "0")
    monkeypatch.setenv("RFM_WORKERS", "1")
    session = Session()
    window = ViewerWindow(session, QSettings(str(own_home / "viewer.ini"), QSettings.Format.IniFormat))
    qtbot.addWidget(window)
    session.start()
    window.show()
    qtbot.waitUntil(window.start_runtime.isVisible, timeout=MOST_MS)
    assert window.indicator.word == "not connected"
    assert "no runtime is running" in window.operations.empty.text()

    qtbot.mouseClick(window.start_runtime, Qt.MouseButton.LeftButton)

    try:
        qtbot.waitUntil(lambda: window.indicator.word == "live", timeout=3 * MOST_MS)
        assert not window.start_runtime.isVisible()
        assert "Nothing runs yet" in window.operations.empty.text()
    finally:
        subprocess.run([sys.executable, "-P", "-m", "rfm_runtime.cli", "stop", "--now"], check=True, timeout=60)


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


@pytest.mark.scenario("A4")
def test_a_progress_manager_as_the_reference_has_it(qtbot: QtBot, server: ProgressReportingServer) -> None:
    container = QWidget()
    container.setObjectName("container")
    QVBoxLayout(container)
    qtbot.addWidget(container)
    container.show()
    token = AUTHENTICATOR.issue("local-admin", ["admin"])
    manager = get_progress_manager(parent_id="container", url=server.url, token=token)
    assert get_progress_manager(parent_id=container) is manager
    with ProgressReporter("copying", "photos") as reporter:
        reporter.report_progress(40.0, "forty")
        qtbot.waitUntil(lambda: [bar.percent for bar in manager.bars] == [40.0], timeout=MOST_MS)
        assert manager.isVisible()
        manager.hide()
        assert not manager.isVisible()
        manager.toggle_visibility()
        assert manager.isVisible()
        manager.toggle_visibility()
        assert not manager.isVisible()
        manager.show()
        assert manager.isVisible()

        qtbot.mouseClick(manager.bars[0].cancel, Qt.MouseButton.LeftButton)

        assert not manager.bars[0].cancel.isEnabled()
        qtbot.waitUntil(reporter.should_cancel, timeout=MOST_MS)
        reporter.report_canceled()
    qtbot.waitUntil(lambda: "cancelled" in manager.bars[0].accessibleName(), timeout=MOST_MS)
    manager.shutdown()
    assert not manager.isVisible()
    another = get_progress_manager(parent_id=container, url=server.url, token=token)
    assert another is not manager
    another.shutdown()


def test_a_manager_goes_with_the_window_that_it_is_in(qtbot: QtBot, server: ProgressReportingServer) -> None:
    container = QWidget()
    manager = get_progress_manager(container, url=server.url, token=AUTHENTICATOR.issue("local-admin", ["admin"]))
    with qtbot.waitSignal(manager.connection_changed, timeout=MOST_MS):
        pass
    bridges = {thread for thread in threading.enumerate() if thread.name == "rfm-bridge"}

    container.deleteLater()

    qtbot.waitUntil(lambda: any(not thread.is_alive() for thread in bridges), timeout=MOST_MS)
    assert container not in ProgressManager.of_parents


@pytest.mark.usefixtures("qtbot")
def test_there_has_to_be_such_a_widget() -> None:
    with pytest.raises(BadRequestError, match="no widget has the object name 'nowhere'"):
        get_progress_manager(parent_id="nowhere")


RUN_FOR_A_WHILE = """
import time
from PySide6.QtWidgets import QApplication

def watched(*_arguments):
    until_s = time.monotonic() + 20.0
    while time.monotonic() < until_s and not (manager.bars and status.word == "live"):
        QApplication.processEvents()
        time.sleep(0.01)
    print(status.word, *(bar.accessibleName() for bar in manager.bars))

QApplication.exec = watched
"""


def test_the_program_of_the_docs(server: ProgressReportingServer, own_home: Path) -> None:
    blocks = re.findall(r"```python\n(.*?)```", (ROOT / "docs/viewer.md").read_text(encoding="utf-8"), re.DOTALL)
    program = next(block for block in blocks if "application.exec()" in block)
    assert len([text for text in program.splitlines() if text and "import" not in text]) <= 10
    token_file = own_home / "token"
    token_file.touch(0o600)
    token_file.write_text(AUTHENTICATOR.issue("local-admin", ["admin"]))
    known = {"RFM_URL": server.url, "RFM_TOKEN_FILE": str(token_file), "QT_QPA_PLATFORM": "offscreen"}
    with ProgressReporter("copying", "photos") as reporter:
        reporter.report_progress(40.0, "forty")

        done = subprocess.run(
            [sys.executable, "-c", RUN_FOR_A_WHILE + program],
            env=os.environ | known, capture_output=True, text=True, timeout=60, check=True,
        )  # fmt: skip

    assert done.stdout == "live photos, running, 40 percent\n"
