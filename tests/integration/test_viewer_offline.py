"""The viewer without its server, and with another one: what is old is grey, what was said waits, nothing is mixed."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QSettings, Qt
from pytestqt.qtbot import QtBot

from rfm_runtime import Client, JWTAuthenticator, ProgressReporter, ProgressReportingServer
from rfm_runtime.client.async_client import AsyncClient
from rfm_runtime.testing.hosts import free_ports
from rfm_ui.model.pending import Command
from rfm_ui.model.servers import LOCAL, Server, of_text
from rfm_ui.view.access import last_server
from rfm_ui.view.pending_dialog import PendingDialog
from rfm_ui.view.server_dialogs import ServerDialog
from rfm_ui.view.window import ViewerWindow
from tests.screens import MOST_MS, opened
from tests.tokens import SECRET, signed

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folders: nothing of this machine's user is touched, or found."""
    for name in ("RFM_URL", "RFM_TOKEN", "RFM_TOKEN_FILE", "RFM_CA_FILE", "RFM_CLIENT_CERT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state-home"))
    monkeypatch.setenv("XDG_CONFIG_HOME", str(tmp_path / "config-home"))
    monkeypatch.setenv("RFM_RUNTIME_DIR", str(tmp_path / "none"))
    return tmp_path


@pytest.fixture
def server(tmp_path: Path) -> Iterator[ProgressReportingServer]:
    # On disk, so that it comes back with what it knew.
    with ProgressReportingServer(
        port=free_ports(1), state_dir=tmp_path / "state", authenticator=JWTAuthenticator(SECRET)
    ) as running:
        yield running


def admin() -> str:
    return signed(sub="root", roles=["admin"])


def live(qtbot: QtBot, window: ViewerWindow) -> None:
    qtbot.waitUntil(lambda: window.indicator.word == "live", timeout=MOST_MS)


def cancel(window: ViewerWindow, name: str) -> None:
    board, page = window.operations.board, window.operations
    row = next(row for row in range(len(board)) if board.at(row).name == name)
    page.list.clearSelection()
    page.list.setCurrentIndex(page.model.index(row))
    page.wishes.cancel.trigger()
    if page.wishes.confirming is not None:
        # It is somebody else's, as far as that is known.
        page.wishes.confirming.accept()


@pytest.mark.scenario("J112", "E2")
def test_what_is_asked_for_meanwhile_waits_is_taken_back_sent_or_left_out(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer
) -> None:
    window = opened(qtbot, tmp_path, server.url, admin())
    board, strip = window.operations.board, window.access.strip
    reporters = {name: ProgressReporter("copying", name) for name in ("photos", "films", "songs")}
    for reporter in reporters.values():
        reporter.report_progress(40.0)
    qtbot.waitUntil(lambda: len(board) == 3, timeout=MOST_MS)

    server.stop()
    qtbot.waitUntil(lambda: strip.isVisible() and "what is shown is as of" in strip.title.text(), timeout=MOST_MS)
    assert window.access.veil.isVisible()
    assert window.access.veil.size() == window.pages.size()
    for name in reporters:
        cancel(window, name)
    assert [one.command.name for one in window._session.pending.all] == list(reporters)
    qtbot.waitUntil(lambda: "3 commands will be sent" in strip.text.text(), timeout=MOST_MS)
    page = window.operations
    rows = [page.model.index(row).data(Qt.ItemDataRole.AccessibleTextRole) for row in range(3)]
    assert all(row.endswith("to be sent: cancel") for row in rows)
    assert not any(reporter.should_cancel() for reporter in reporters.values())
    qtbot.mouseClick(strip.buttons["pending"], Qt.MouseButton.LeftButton)
    dialog = window.findChild(PendingDialog)
    assert dialog is not None
    qtbot.mouseClick(dialog.buttons[2], Qt.MouseButton.LeftButton)
    assert [one.command.name for one in window._session.pending.all] == ["photos", "songs"]
    qtbot.waitUntil(lambda: list(dialog.buttons) == [1, 3], timeout=MOST_MS)
    rows = [page.model.index(row).data(Qt.ItemDataRole.AccessibleTextRole) for row in range(3)]
    assert sum(row.endswith("to be sent: cancel") for row in rows) == 2
    # It ends while nobody can hear of it.
    reporters["songs"].report_completed()

    server.start()
    window.indicator.retry_wanted.emit()

    live(qtbot, window)
    qtbot.waitUntil(lambda: len(window._session.pending) == 0, timeout=MOST_MS)
    assert window.access.veil.isHidden()
    qtbot.waitUntil(reporters["photos"].should_cancel, timeout=MOST_MS)
    assert not reporters["films"].should_cancel()
    songs = next(one for one in board.operations.values() if one.name == "songs")
    if strip.isVisible() and "songs" in strip.text.text():
        assert "it has completed" in strip.text.text()
        qtbot.mouseClick(strip.buttons["dismiss"], Qt.MouseButton.LeftButton)
        assert strip.isHidden()
    qtbot.waitUntil(lambda: board.operations[songs.operation_id].state == "completed", timeout=MOST_MS)
    reporters["photos"].report_canceled()
    reporters["films"].report_completed()


@pytest.mark.scenario("J112")
def test_what_has_ended_before_it_is_heard_of_is_left_out_with_a_word(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer
) -> None:
    window = opened(qtbot, tmp_path, server.url, admin())
    session, strip = window._session, window.access.strip
    reporter = ProgressReporter("copying", "songs")
    reporter.report_progress(40.0)
    qtbot.waitUntil(lambda: len(window.operations.board) == 1, timeout=MOST_MS)
    # It is the connection that is away, and not the server, which hears of the end.
    session.connect_to(url=server.url, token="nonsense")
    qtbot.waitUntil(lambda: window.indicator.word == "not signed in", timeout=MOST_MS)
    cancel(window, "songs")
    assert len(session.pending) == 1
    reporter.report_completed()
    with Client(url=server.url, token=admin()) as client:
        songs = client.wait(window.operations.board.at(0).operation_id, timeout_s=20)
        assert songs == "completed"

    session.sign_in(admin())

    live(qtbot, window)
    qtbot.waitUntil(lambda: strip.text.text() == "Left out: cancel songs, since it has completed.", timeout=MOST_MS)
    assert len(session.pending) == 0
    qtbot.mouseClick(strip.buttons["dismiss"], Qt.MouseButton.LeftButton)
    assert strip.isHidden()


@pytest.mark.scenario("J111")
def test_from_one_server_to_another_and_nothing_goes_with(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer
) -> None:
    window = opened(qtbot, tmp_path, server.url, admin())
    access, board, server_url = window.access, window.operations.board, server.url
    with ProgressReporter("copying", "photos") as reporter:
        reporter.report_progress(40.0)
        qtbot.waitUntil(lambda: len(board) == 1, timeout=MOST_MS)
        server.stop()
        qtbot.waitUntil(access.strip.isVisible, timeout=MOST_MS)
        cancel(window, "photos")
        assert len(window._session.pending) == 1
        with ProgressReportingServer(port=0, memory=True, authenticator=JWTAuthenticator(SECRET)) as other:
            token, url = tmp_path / "token", other.url
            token.write_text(admin())
            dialog = access.ask_for_servers()
            qtbot.mouseClick(dialog.add, Qt.MouseButton.LeftButton)
            form = dialog.findChild(ServerDialog)
            assert form is not None
            assert form.url.text() == server_url, "the one that is shown and not known yet"
            form.name.setText("Lab")
            form.url.setText("lab")
            form._accept()
            assert "no address" in form.told.text()
            form.url.setText(other.url)
            form.token_file.show_path(str(token))
            form._accept()
            assert [dialog.list.item(row).text().split("\n")[0] for row in range(2)] == ["This machine", "Lab"]
            dialog.reject()
            turn = next(one for one in access.button.menu().actions() if one.iconText() == "Lab")
            turn.trigger()

            live(qtbot, window)
            assert access.button.text() == "Lab"
            assert len(board) == 0
            assert len(window._session.pending) == 0
            assert "They were for another server: cancel photos." in access.strip.text.text()
            assert not reporter.should_cancel()
            window.close()
        reporter.report_completed()
    kept = QSettings(str(tmp_path / "viewer.ini"), QSettings.Format.IniFormat)
    assert last_server(kept) == Server("Lab", url, token_file=str(token))
    assert last_server(kept, "this machine") == LOCAL
    assert admin().split(".")[0] not in (tmp_path / "viewer.ini").read_text()


@pytest.mark.scenario("J111")
def test_one_is_edited_and_removed_and_what_was_kept_for_it_goes_too(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer
) -> None:
    window = opened(qtbot, tmp_path, server.url, admin())
    access = window.access
    access.keep(access.servers.put(Server("Lab", server.url)))
    access.connect_to(access.servers.named("Lab") or LOCAL)
    qtbot.waitUntil(lambda: window.indicator.word == "not signed in", timeout=MOST_MS)
    sign_in = access.ask_to_sign_in()
    sign_in.token.setText(admin())
    sign_in.keep.setChecked(True)
    qtbot.mouseClick(sign_in.accept_button, Qt.MouseButton.LeftButton)
    live(qtbot, window)
    file = Path(access.server.token_file)
    assert file.exists()
    assert access.servers.named("Lab") == access.server, "it is found by the same file next time"
    dialog = access.ask_for_servers()
    assert not dialog.remove.isEnabled(), "the local one stays"
    dialog.list.setCurrentRow(1)

    qtbot.mouseClick(dialog.remove, Qt.MouseButton.LeftButton)

    assert dialog.list.count() == 1
    assert not file.exists()
    dialog.reject()
    window.close()
    kept = QSettings(str(tmp_path / "viewer.ini"), QSettings.Format.IniFormat)
    assert of_text(str(kept.value("servers/known"))).others == ()


@pytest.mark.scenario("J112", "H5")
def test_thousands_wait_without_holding_up_the_window_and_are_sent_a_few_at_a_time(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer
) -> None:
    window = opened(qtbot, tmp_path, server.url, admin())
    session = window._session
    server.stop()
    qtbot.waitUntil(lambda: session.link.state == "reconnecting", timeout=MOST_MS)
    under_way, most, done = 0, 0, 0

    async def work(_client: AsyncClient) -> None:
        nonlocal under_way, most, done
        under_way += 1
        most = max(most, under_way)
        await asyncio.sleep(0)
        under_way -= 1
        done += 1

    changes = []
    session.pending_changed.connect(lambda: changes.append(len(session.pending)))
    for number in range(5000):
        session.ask(work, command=Command("cancel", f"operation-{number}", "x"))
    qtbot.waitUntil(lambda: changes == [5000], timeout=MOST_MS)
    window.access.take_up("pending")
    dialog = window.findChild(PendingDialog)
    assert dialog is not None
    assert len(dialog.rows) == 12
    assert dialog.more.text() == "and 4,988 more"
    dialog.reject()

    server.start()
    session.retry_now()

    qtbot.waitUntil(lambda: done == 5000, timeout=MOST_MS)
    assert 1 <= most <= 8
    assert len(session.pending) == 0


@pytest.mark.scenario("J112")
def test_all_of_it_is_taken_back_at_once(qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer) -> None:
    window = opened(qtbot, tmp_path, server.url, admin())
    session = window._session
    server.stop()
    qtbot.waitUntil(window.access.strip.isVisible, timeout=MOST_MS)
    asked: list[str] = []

    async def work(_client: AsyncClient) -> None:
        asked.append("")

    for number in range(3):
        session.ask(work, command=Command("pause", f"operation-{number}", "x"))
    window.access.take_up("pending")
    dialog = window.findChild(PendingDialog)
    assert dialog is not None
    qtbot.mouseClick(dialog.all, Qt.MouseButton.LeftButton)
    qtbot.waitUntil(lambda: window.findChild(PendingDialog) is None, timeout=MOST_MS)
    assert len(session.pending) == 0

    server.start()
    session.retry_now()

    live(qtbot, window)
    assert asked == []
