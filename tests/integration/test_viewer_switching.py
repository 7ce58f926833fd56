"""From one server to another: nothing of the first is left that could be taken for the second's."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
from PySide6.QtCore import QPointF, QSettings
from PySide6.QtGui import QEnterEvent
from PySide6.QtWidgets import QApplication, QMainWindow, QWidget
from pytestqt.qtbot import QtBot

from rfm_runtime import JWTAuthenticator, ProgressReporter, ProgressReportingServer, ResourceMonitor
from rfm_runtime.core.notifying.notifier import Telling
from rfm_runtime.core.notifying.rules import Ways
from rfm_runtime.testing.hosts import free_ports
from rfm_ui.model.servers import Server, Servers
from rfm_ui.view.access import Access
from rfm_ui.view.notifications.toasts import Toasts
from rfm_ui.view.session import Session
from rfm_ui.view.sign_in import Entry
from tests.screens import MOST_MS, opened
from tests.tokens import SECRET, signed

pytestmark = pytest.mark.integration


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folders: nothing of this machine's user is touched, or found."""
    for name in ("CONFIG", "STATE"):
        monkeypatch.setenv(f"XDG_{name}_HOME", str(tmp_path / name))
    monkeypatch.setenv("RFM_RUNTIME_DIR", str(tmp_path / "none"))
    return tmp_path


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[list[ProgressReportingServer]]:
    one = ProgressReportingServer(
        port=free_ports(1), state_dir=tmp_path / "one", authenticator=JWTAuthenticator(SECRET),
        resource_monitor=ResourceMonitor(interval=0.5),
    )  # fmt: skip
    other = ProgressReportingServer(
        port=free_ports(1), state_dir=tmp_path / "other", authenticator=JWTAuthenticator(SECRET)
    )
    # Programs report to the one that was started first.
    with one, other:
        yield [one, other]


def telling(number: int) -> Telling:
    return Telling(
        when="failed", tone="bad", title=f"photos {number} has failed", body="", said="",
        operation_ids=(f"op-{number}",), ways=Ways(toast=True),
    )  # fmt: skip


@pytest.mark.scenario("J123")
def test_what_was_shown_of_a_server_goes_with_it(
    qtbot: QtBot, tmp_path: Path, servers: list[ProgressReportingServer]
) -> None:
    one, other = servers
    window = opened(qtbot, tmp_path, one.url, signed(sub="root", roles=["admin"]))
    with ProgressReporter("copying", "photos", bar=False) as reporter:
        reporter.report_progress(10.0)
        qtbot.waitUntil(lambda: len(window.operations.board) == 1, timeout=MOST_MS)
        operation = window.operations.board.at(0)
        window.turn_to(window.machine)
        qtbot.waitUntil(lambda: window.machine.table.rowCount() > 0, timeout=MOST_MS)
        window.turn_to(window.timeline)
        window.timeline.found.show_operations("now", [operation])
        window.timeline.found.show()
        window.timeline.details.show_operation(operation)
        window.notifications.toasts.put(telling(1))
        window.notifications.tray.tell(telling(1))
        assert window.timeline.details.isVisible()

        # Who may not look at the machine there, so that nothing comes in its place.
        window.access.connect_to(Server("other", url=other.url))
        window.access.sign_in(Entry(Server("other", url=other.url), token=signed(sub="eve", roles=["reporter"])))

        qtbot.waitUntil(lambda: window.indicator.word == "live" and not len(window.operations.board), timeout=MOST_MS)
        assert not window.timeline.details.isVisible()
        assert not window.timeline.found.isVisible()
        assert not len(window.timeline.found.board)
        assert window.machine.table.rowCount() == 0
        assert not window.notifications.toasts.toasts


def test_a_token_that_a_link_gave_is_kept_for_the_server_that_gave_it(qtbot: QtBot, tmp_path: Path) -> None:
    one, other = Server("one", url="ws://127.0.0.1:1"), Server("other", url="ws://127.0.0.1:2")
    session = Session(url=one.url, token="")
    page = QWidget()
    qtbot.addWidget(page, before_close_func=lambda _page: session.close())
    access = Access(session, QSettings(str(tmp_path / "viewer.ini"), QSettings.Format.IniFormat), page, one)
    access.keep(Servers().put(one).put(other))
    with qtbot.waitSignal(access.changed):
        access.sign_in(Entry(one, code="once", is_kept=True))
    given = access.keeper_of(one.url)
    # As the connection's thread does once the server has welcomed it, while somebody turns to another one.
    thread = threading.Thread(target=given, args=("a token of one",))
    thread.start()
    thread.join()

    access.connect_to(other)

    def kept() -> Server | None:
        return access.servers.named("one")

    qtbot.waitUntil(lambda: (there := kept()) is not None and bool(there.token_file), timeout=MOST_MS)
    assert not access.server.token_file
    assert access.servers.named("other") == other


def test_toasts_go_by_themselves_when_the_one_that_was_looked_at_is_dismissed(qtbot: QtBot) -> None:
    window = QMainWindow()
    window.resize(900, 700)
    qtbot.addWidget(window)
    window.show()
    toasts = Toasts(window)
    for number in range(2):
        toasts.put(telling(number))
    one = toasts.toasts[0]
    # Without a screen no pointer comes or goes.
    QApplication.sendEvent(one, QEnterEvent(QPointF(5.0, 5.0), QPointF(5.0, 5.0), QPointF(5.0, 5.0)))
    assert toasts.stack.is_held

    one.close_button.click()

    assert len(toasts.toasts) == 1
    assert not toasts.stack.is_held
