"""What comes from elsewhere is shown as it is written: nothing of it is taken for HTML, with its pictures and links."""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import escape
from pathlib import Path

import pytest
from PySide6.QtCore import QSettings, Qt
from PySide6.QtGui import QImage
from PySide6.QtGui import Qt as Guessing
from PySide6.QtWidgets import QAbstractButton, QApplication, QDialog, QGraphicsView, QLabel, QWidget
from pytestqt.qtbot import QtBot

from rfm_runtime import JWTAuthenticator, ProgressReporter, ProgressReportingServer
from rfm_runtime.client.async_client import AsyncClient
from rfm_runtime.protocol.operation import Operation, ProgressUpdate
from rfm_ui.model.machine import USE, Curve
from rfm_ui.model.pending import Command
from rfm_ui.model.servers import LOCAL
from rfm_ui.view.charts import Charts
from rfm_ui.view.components.connection_status import ReconnectionDialog
from rfm_ui.view.components.progress_bar import ProgressBar
from rfm_ui.view.looks import Looks
from rfm_ui.view.notifications.rules_page import RulesDialog
from rfm_ui.view.notifications.tray import as_body
from rfm_ui.view.pending_dialog import PendingDialog
from rfm_ui.view.report_dialog import ReportDialog
from rfm_ui.view.server_dialogs import ServerDialog, ServersDialog
from rfm_ui.view.session import Session
from rfm_ui.view.sign_in import SignInDialog
from rfm_ui.view.window import ViewerWindow
from rfm_ui.view.words import as_tip
from tests.screens import MOST_MS, opened

pytestmark = [pytest.mark.integration, pytest.mark.scenario("E12")]
AUTHENTICATOR = JWTAuthenticator(secret_key="0123456789abcdef0123456789abcdef")
EVIL = "<b>large</b> <a href='https://elsewhere.invalid'>sign in here</a>"


@pytest.fixture
def server() -> Iterator[ProgressReportingServer]:
    with ProgressReportingServer(port=0, memory=True, authenticator=AUTHENTICATOR) as running:
        yield running


@pytest.fixture
def picture(tmp_path: Path) -> str:
    """A name that has a red picture for whoever takes it for HTML."""
    image = QImage(40, 40, QImage.Format.Format_RGB32)
    image.fill(0xFFFF0000)
    assert image.save(str(tmp_path / "red.png"))
    return f'a <img src="{tmp_path}/red.png" width=40 height=40>'


def redness(widget: QWidget) -> int:
    widget.resize(900, 300)
    seen = widget.grab().toImage()
    return sum(seen.pixel(x, y) == 0xFFFF0000 for x in range(seen.width()) for y in range(seen.height()))


def guessing(root: QWidget) -> list[str]:
    """All labels that would take HTML for HTML, and all tool tips that would be taken for it though they are none."""
    labels = [
        f"{type(one.parent()).__name__}: {one.text()!r}"
        for one in root.findChildren(QLabel)
        if one.textFormat() != Qt.TextFormat.PlainText
    ]
    tips = [one.toolTip() for one in (root, *root.findChildren(QWidget))] + [one.toolTip() for one in root.actions()]
    return labels + [tip for tip in tips if Guessing.mightBeRichText(tip) and not is_escaped(tip)]


def is_escaped(tip: str) -> bool:
    return re.fullmatch(r"<qt>([^<]|<br>)*</qt>", tip) is not None


def all_of(window: ViewerWindow, session: Session) -> Iterator[QWidget]:
    """The window on each of its pages, then each of its dialogs."""
    for page in window._in_order:
        window.turn_to(page)
        yield window
    yield window.open_settings()
    yield PendingDialog(session, window)
    yield ReportDialog(session, window)
    yield ReconnectionDialog(window)
    yield SignInDialog(LOCAL, lambda _entry: None, window)
    yield ServerDialog(None, lambda _server: None, window)
    yield ServersDialog(lambda: window.access.servers, lambda _all: None, lambda _one: None, LOCAL, window)
    yield RulesDialog(window.notifications, window)
    page = window.operations
    page.list.selectAll()
    page.wishes.ask_priority()
    assert page.wishes.number is not None
    yield page.wishes.number
    page.wishes.number.reject()
    window.commands.show_keys()
    window.commands.open_palette()
    yield from [one for one in QApplication.topLevelWidgets() if isinstance(one, QDialog) and one.isVisible()]


def test_no_label_and_no_tip_of_the_whole_window_guesses(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    settings = QSettings(str(tmp_path / "viewer.ini"), QSettings.Format.IniFormat)
    session = Session(url=server.url, token=server.token)
    window = ViewerWindow(session, settings, looks=Looks(settings))
    qtbot.addWidget(window, before_close_func=lambda one: one.explorer.leave())
    session.start()
    window.show()
    with ProgressReporter("copying", EVIL) as reporter:
        reporter.report_progress(10, EVIL, message=EVIL)
        qtbot.waitUntil(lambda: len(window.operations.board) == 1, timeout=MOST_MS)
        model = window.operations.model
        window.operations.list.setCurrentIndex(model.index(0))
        tip = str(model.data(model.index(0), Qt.ItemDataRole.ToolTipRole))
        assert is_escaped(tip), tip
        assert escape(EVIL) in tip
        qtbot.waitUntil(lambda: EVIL in window.operations.details.name.text(), timeout=MOST_MS)
        seen = [(type(one).__name__, guessing(one)) for one in all_of(window, session)]
    assert len(seen) > 14
    assert [found for found in seen if found[1]] == []


def test_a_picture_that_a_name_asks_for_is_not_shown(qtbot: QtBot, picture: str) -> None:
    session = Session(None, url="ws://127.0.0.1:9")

    async def asked(_client: AsyncClient) -> None:
        """Never sent."""

    try:
        session.ask(asked, None, Command("cancel", "one", picture))
        waiting = PendingDialog(session)
        qtbot.addWidget(waiting)
        away = ReconnectionDialog()
        qtbot.addWidget(away)
        away.tell(1, "in 3 s", picture, allow_manual=True)
        bar = ProgressBar()
        qtbot.addWidget(bar)
        latest = ProgressUpdate(
            operation_id="one", rev=(0, 1), at_seq=1, measured_at_ms=2000, done=1.0, total=10.0, rate=1.0, unit=picture
        )  # fmt: skip
        bar.show_operation(
            Operation(
                operation_id="one",
                kind="copying",
                name=picture,
                owner="ann",
                state="running",
                at_seq=1,
                created_at_ms=1000,
                latest=latest,
            )
        )
        assert [redness(one) for one in (waiting, away, bar)] == [0, 0, 0]
    finally:
        session.close()


def nameless(root: QWidget) -> set[str]:
    """Where the keyboard comes to and nobody hears what it is."""
    found = set()
    for one in root.findChildren(QWidget):
        # What has a proxy never has the focus itself.
        is_stop = one.isVisible() and one.focusProxy() is None and one.focusPolicy() & Qt.FocusPolicy.TabFocus
        has_word = isinstance(one, QAbstractButton) and one.text()
        if is_stop and not one.accessibleName() and not has_word:
            found.add(f"{type(one).__name__} of {type(one.parent()).__name__}")
    return found


def test_each_place_that_the_keyboard_comes_to_has_a_name(
    qtbot: QtBot, tmp_path: Path, server: ProgressReportingServer
) -> None:
    window = opened(qtbot, tmp_path, server.url, server.token)
    assert server.url
    with ProgressReporter("copying", "photos"):
        qtbot.waitUntil(lambda: len(window.operations.board) == 1, timeout=MOST_MS)
        window.operations.list.setCurrentIndex(window.operations.model.index(0))
        found = set()
        for page in window._in_order:
            window.turn_to(page)
            found |= nameless(window)
        charts = window.machine.findChildren(QGraphicsView)
        assert charts
        assert not any(one.focusPolicy() & Qt.FocusPolicy.TabFocus for one in charts), "keys do nothing there"
        for number in range(3):
            window.turn_to(window.explorer)
            window.explorer.show_panel(number)
            found |= nameless(window)
        window.turn_to(window.timeline)
        window.timeline.show_heatmap()
        found |= nameless(window)
        for dialog in (
            window.open_settings(),
            PendingDialog(window._session, window),
            ReportDialog(window._session, window),
            SignInDialog(LOCAL, lambda _entry: None, window),
            ServerDialog(None, lambda _server: None, window),
            ServersDialog(lambda: window.access.servers, lambda _all: None, lambda _one: None, LOCAL, window),
            RulesDialog(window.notifications, window),
        ):
            dialog.show()
            found |= nameless(dialog)
            dialog.close()
        window.commands.show_keys()
        assert window.commands.keys is not None
        found |= nameless(window.commands.keys)
    assert found == set()


def test_the_legend_of_a_chart_shows_names_as_they_are(qtbot: QtBot) -> None:
    charts = Charts(USE)
    qtbot.addWidget(charts)
    row = (1.0, 2.0)
    charts.show_curves([Curve(EVIL, (-1.0, 0.0), *[row] * 9)], 60)
    [(_sample, label)] = charts._legend.items
    assert label.item.toPlainText() == EVIL


@pytest.mark.parametrize("text", ["", "photos 1", "1 < 2 & 3 > 2", EVIL, "&lt;b>", "two\nlines <i>of it</i>"])
def test_a_tip_says_what_it_was_given(text: str) -> None:
    tip = as_tip(text)
    assert is_escaped(tip) or (tip == text and not Guessing.mightBeRichText(tip))
    if tip != text:
        assert tip == f"<qt>{escape(text).replace(chr(10), '<br>')}</qt>"


def test_a_message_of_the_desktop_has_no_markup_and_is_never_empty() -> None:
    assert as_body(EVIL) == "&lt;b&gt;large&lt;/b&gt; &lt;a href='https://elsewhere.invalid'&gt;sign in here&lt;/a&gt;"
    assert as_body("it's done & saved") == "it's done &amp; saved"
    assert as_body("") == " "
