"""Reports in the viewer: the figures of the runtime, and files that open offline, or are not there at all."""

from __future__ import annotations

import csv
import io
import resource
from collections.abc import Iterator
from pathlib import Path

import msgspec
import pytest
from PySide6.QtCore import Qt
from PySide6.QtWidgets import QLabel
from pytestqt.qtbot import QtBot

from rfm_runtime import Client, JWTAuthenticator, ProgressReporter, ProgressReportingServer
from rfm_runtime.protocol.figures import OperationReport, PeriodReport, Report
from rfm_ui.view.report_dialog import ReportDialog
from rfm_ui.view.window import ViewerWindow
from tests.pages import check_page
from tests.screens import MOST_MS, opened
from tests.tokens import SECRET

pytestmark = [pytest.mark.integration, pytest.mark.scenario("E13", "J107")]
AUTHENTICATOR = JWTAuthenticator(SECRET)
NAME = "<script>=1+1</script>"


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folders: nothing of this machine's user is touched, or found."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state-home"))
    monkeypatch.setenv("RFM_RUNTIME_DIR", str(tmp_path / "none"))
    return tmp_path


@pytest.fixture
def server() -> Iterator[ProgressReportingServer]:
    with ProgressReportingServer(port=0, memory=True, authenticator=AUTHENTICATOR) as running:
        for number in range(5):
            with ProgressReporter("import", f"{NAME} {number}") as reporter:
                reporter.report_progress(50)
                if number == 2:
                    reporter.report_failed("no room")
        yield running


@pytest.fixture
def client(server: ProgressReportingServer) -> Iterator[Client]:
    with Client(url=server.url, token=server.token) as connected:
        yield connected


@pytest.fixture
def window(qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer) -> ViewerWindow:
    made = opened(qtbot, tmp_path, server.url, AUTHENTICATOR.issue("local-admin", ["admin"]))
    qtbot.waitUntil(
        lambda: sum(one.ended_at_ms is not None for one in made.operations.board.operations.values()) == 5,
        timeout=MOST_MS,
    )
    return made


def of_period(qtbot: QtBot, window: ViewerWindow) -> ReportDialog:
    window.turn_to(window.timeline)
    dialog = window.timeline.report()
    qtbot.waitUntil(lambda: dialog.report is not None, timeout=MOST_MS)
    return dialog


def texts(dialog: ReportDialog) -> list[str]:
    return [label.text() for label in dialog.body.findChildren(QLabel)]


def saved(qtbot: QtBot, dialog: ReportDialog, path: Path) -> bytes:
    dialog.save_to(path)
    qtbot.waitUntil(lambda: dialog.told.text() == f"Saved {path}.", timeout=MOST_MS)
    return path.read_bytes()


def test_the_figures_of_a_period_and_its_files(
    qtbot: QtBot, tmp_path: Path, window: ViewerWindow, client: Client
) -> None:
    dialog = of_period(qtbot, window)
    report = dialog.report
    assert isinstance(report, PeriodReport)
    told = {one.operation_id: one for one in client.operations()}
    assert {line.operation_id for line in report.operations} == set(told)
    assert "4 completed, 1 failed" in texts(dialog)
    assert any("no room" in text for text in texts(dialog))

    page = check_page(saved(qtbot, dialog, tmp_path / "r.html").decode())
    assert f"{NAME} 0" in page.text
    assert all(one in page.text for one in told)
    rows = csv.DictReader(io.StringIO(saved(qtbot, dialog, tmp_path / "r.csv").decode(), newline=""), strict=True)
    assert {row["operation_id"]: row["state"] for row in rows} == {one: told[one].state for one in told}
    assert msgspec.json.decode(saved(qtbot, dialog, tmp_path / "r.json"), type=Report) == report
    dialog.reject()


def test_a_file_has_more_than_is_listed(
    qtbot: QtBot, tmp_path: Path, window: ViewerWindow, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("rfm_ui.view.report_dialog.LISTED", 2)
    dialog = of_period(qtbot, window)
    shown = dialog.report
    assert isinstance(shown, PeriodReport)
    assert len(shown.operations) == 2
    whole = msgspec.json.decode(saved(qtbot, dialog, tmp_path / "r.json"), type=Report)
    assert isinstance(whole, PeriodReport)
    assert len(whole.operations) == 5
    assert (whole.everything, whole.course, whole.failures) == (shown.everything, shown.course, shown.failures)
    dialog.reject()


def test_one_operation(qtbot: QtBot, tmp_path: Path, window: ViewerWindow) -> None:
    page = window.operations
    window.turn_to(page)
    row = next(k for k in range(len(page.board)) if page.board.at(k).state == "failed")
    page.list.setCurrentIndex(page.model.index(row))
    qtbot.keyClick(page.list, Qt.Key.Key_R, Qt.KeyboardModifier.ControlModifier)
    dialog = page.list.findChild(ReportDialog)
    assert dialog is not None
    qtbot.waitUntil(lambda: dialog.report is not None, timeout=MOST_MS)
    assert isinstance(dialog.report, OperationReport)
    assert any("no room" in text for text in texts(dialog))
    assert {"accepted", "started", "failed"} <= set(texts(dialog))
    assert "no room" in check_page(saved(qtbot, dialog, tmp_path / "one.html").decode()).text
    assert dialog.open_page.isEnabled()
    dialog.reject()


def test_what_cannot_be_saved_is_said_and_leaves_no_half_file(
    qtbot: QtBot, tmp_path: Path, window: ViewerWindow
) -> None:
    dialog = of_period(qtbot, window)
    folder = tmp_path / "out"
    folder.mkdir()

    def refused(path: Path, word: str) -> None:
        dialog.told.clear()
        dialog.save_to(path)
        qtbot.waitUntil(lambda: dialog.told.text().startswith("Not saved"), timeout=MOST_MS)
        assert word in dialog.told.text(), dialog.told.text()
        assert list(folder.iterdir()) == []

    refused(folder / "r.docx", ".html, .csv or .json")
    refused(folder / "nowhere" / "r.html", "nowhere")
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    # As a full disk does, in the middle of the file.
    resource.setrlimit(resource.RLIMIT_FSIZE, (2000, limits[1]))
    try:
        refused(folder / "r.html", "make room")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)
    assert dialog.report is not None
    saved(qtbot, dialog, folder / "r.html")
    dialog.reject()


def test_why_there_is_no_report_is_said(qtbot: QtBot, window: ViewerWindow, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rfm_runtime.broker.looking_back.REPORTED_LIMIT", 3)
    window.turn_to(window.timeline)
    dialog = window.timeline.report()
    qtbot.waitUntil(lambda: "more than 3 operations" in dialog.head.text(), timeout=MOST_MS)
    assert "shorter period" in dialog.head.text()
    assert not dialog.save.isEnabled()
    dialog.reject()
