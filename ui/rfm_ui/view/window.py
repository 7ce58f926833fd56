"""The viewer's window: pages on the left, the connection above."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from functools import partial
from typing import Any, TypeVar

from PySide6.QtCore import QProcess, QSettings, Qt
from PySide6.QtGui import QCloseEvent
from PySide6.QtWidgets import (
    QAbstractButton,
    QApplication,
    QButtonGroup,
    QHBoxLayout,
    QMainWindow,
    QPushButton,
    QSplitter,
    QStackedWidget,
    QToolButton,
    QVBoxLayout,
    QWidget,
)
from typing_extensions import override

from rfm_runtime.core.notifying.notifier import Telling
from rfm_runtime.errors import BadRequestError
from rfm_ui.bridge import News
from rfm_ui.model.saved import SavedView
from rfm_ui.model.servers import Server
from rfm_ui.view import theme
from rfm_ui.view.access import Access
from rfm_ui.view.actions import action, button
from rfm_ui.view.appearance_page import AppearancePage
from rfm_ui.view.commands import Commands
from rfm_ui.view.components.connection_status import ConnectionStatusIndicator
from rfm_ui.view.explorer_page import ExplorerPage
from rfm_ui.view.layout import Layout, even_out, forget_layout
from rfm_ui.view.looks import Looks
from rfm_ui.view.machine_page import MachinePage
from rfm_ui.view.notifications.centre import Notifications
from rfm_ui.view.notifications.rules_page import RulesDialog
from rfm_ui.view.notifications.settings_page import NotificationsPage
from rfm_ui.view.operations_page import OperationsPage
from rfm_ui.view.session import Session
from rfm_ui.view.settings_dialog import SettingsDialog, SettingsPages
from rfm_ui.view.timeline_page import TimelinePage
from rfm_ui.view.words import Label
from rfm_ui.view.workers_page import WorkersPage

__all__ = ["ViewerWindow"]

T = TypeVar("T", bound=QAbstractButton)

START = ["-P", "-m", "rfm_runtime.cli", "start", "--daemon"]


class ViewerWindow(QMainWindow):
    """The whole viewer, for one session. It closes the session with itself.

    server: which the session shows. local: options of the client for the runtime of this machine. looks: what changes
    theme and letters; None: nothing does.
    """

    def __init__(
        self,
        session: Session,
        settings: QSettings,
        server: Server | None = None,
        *,
        local: Mapping[str, Any] | None = None,
        looks: Looks | None = None,
    ) -> None:
        super().__init__()
        self.setWindowTitle("rfm-runtime")
        self.resize(1120, 760)
        self._session = session
        self._settings = settings
        self.settings_pages = SettingsPages()
        self._names: dict[QWidget, str] = {}
        self.commands = Commands(self, self._names, self.turn_to, settings)
        self.indicator = ConnectionStatusIndicator(can_sign_in=True)
        self.indicator.retry_wanted.connect(session.retry_now)
        self.pages = QStackedWidget()
        self.access = Access(session, settings, self.pages, server, local)
        self.indicator.sign_in_wanted.connect(self.access.ask_to_sign_in)
        self.access.changed.connect(self._show_actions)
        self._show_actions()
        self._in_order: list[QWidget] = []
        self._buttons = QButtonGroup(self)
        self._rail = QVBoxLayout()
        self._rail.setSpacing(6)
        self.title = Label()
        theme.heading(self.title, "page")
        self.start_runtime = QPushButton("Start a runtime here")
        self.start_runtime.clicked.connect(self._start_runtime)
        self.start_runtime.hide()
        self.operations = OperationsPage(session, settings)
        self.explorer = ExplorerPage(session)
        self._add_page("Operations", self.operations)
        self._add_page("Explorer", self.explorer)
        self.timeline = TimelinePage(session)
        self._add_page("Timeline", self.timeline)
        self.machine = MachinePage(session)
        self._add_page("Machine", self.machine)
        self.workers = WorkersPage(session)
        self._add_page("Workers", self.workers)
        self._rail.addStretch(1)
        self.notifications = Notifications(session, self, settings)
        self.notifications.wanted.connect(self._show_told)
        rules = action(self, "Notifications", self.show_rules, about="What you are told of, and how")
        self._rail.addWidget(_wide(button(rules)))
        self._lay_out()
        self._buttons.idClicked.connect(self._turn_to)
        self._turn_to(0)
        action(self, "Close the window", self.close, ["Ctrl+Q"], context=Qt.ShortcutContext.WindowShortcut)
        action(
            self, "Full screen", lambda: self.fill_screen(not self.isFullScreen()), ["F11"],
            about="Nothing but the page on the whole screen, or all of it again",
            context=Qt.ShortcutContext.WindowShortcut,
        )  # fmt: skip
        self.explorer.full_screen_wanted.connect(self.fill_screen)
        session.news.connect(self._heard)
        self._layout = Layout(settings, self, self._names)
        if looks is not None:
            self.settings_pages.add("Appearance", lambda: AppearancePage(looks, self.reset_layout))
            for name, title in looks.names():
                action(self, f"Theme: {title.casefold()}", partial(self._use_theme, looks, name))
        self.settings_pages.add("Notifications", lambda: NotificationsPage(self.notifications, self.show_rules))
        opened = action(self, "Settings …", self.open_settings, ["Ctrl+,"], context=Qt.ShortcutContext.WindowShortcut)
        self._rail.addWidget(_wide(button(opened)))
        self._restore()

    @override
    def closeEvent(self, event: QCloseEvent) -> None:
        """What runs on the server goes on."""
        self._layout.keep(self.title.text(), self.operations.bar.view)
        self.notifications.close()
        self._session.close()
        super().closeEvent(event)

    def _add_page(self, name: str, page: QWidget) -> None:
        number = self.pages.addWidget(page)
        self._in_order.append(page)
        self._names[page] = name
        button = QToolButton()
        button.setText(name)
        button.setCheckable(True)
        _wide(button)
        self._buttons.addButton(button, number)
        self._rail.addWidget(button)
        everywhere = Qt.ShortcutContext.WindowShortcut
        action(self, f"Go to {name}", lambda: self._turn_to(number), [f"Ctrl+{number + 1}"], context=everywhere)

    def _lay_out(self) -> None:
        self._rail_bar, self._head_bar = QWidget(), QWidget()
        self._rail_bar.setLayout(self._rail)
        head = QHBoxLayout(self._head_bar)
        head.setContentsMargins(16, 12, 16, 0)
        head.addWidget(self.title)
        head.addStretch(1)
        head.addWidget(self.start_runtime)
        head.addWidget(self.access.button)
        head.addWidget(self.indicator)
        right = QVBoxLayout()
        right.setSpacing(0)
        right.addWidget(self._head_bar)
        around = self._around = QHBoxLayout()
        around.setContentsMargins(16, 12, 16, 0)
        around.addWidget(self.access.strip)
        right.addLayout(around)
        right.addWidget(self.pages, 1)
        self._rail.setContentsMargins(12, 12, 0, 12)
        whole = QWidget()
        layout = QHBoxLayout(whole)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.setSpacing(0)
        layout.addWidget(self._rail_bar)
        layout.addLayout(right, 1)
        self.setCentralWidget(whole)

    def open_settings(self, first: str = "") -> SettingsDialog:
        """Open them, at this subject."""
        dialog = SettingsDialog(self.settings_pages, first, self)
        dialog.setAttribute(Qt.WidgetAttribute.WA_DeleteOnClose)
        dialog.open()
        return dialog

    def _use_theme(self, looks: Looks, name: str) -> None:
        try:
            looks.choose(name)
        except BadRequestError:
            # The page says what is wrong with its file, when it is chosen there.
            self.open_settings("Appearance")

    def reset_layout(self) -> None:
        """Put everything where it was in the beginning; the window stays where it is."""
        forget_layout(self._settings)
        for splitter in self.pages.findChildren(QSplitter):
            even_out(splitter)
        self.operations.bar.show_view(SavedView())

    def _restore(self) -> None:
        self._layout.restore()
        if (page := self._layout.page) is not None:
            self.turn_to(page)
        if (search := self._layout.search) is not None:
            self.operations.bar.show_view(search)

    def turn_to(self, page: QWidget) -> None:
        """Show one of the pages."""
        self._turn_to(self._in_order.index(page))

    def fill_screen(self, is_full: bool) -> None:
        """Nothing but the page on the whole screen, or all of it as it was."""
        if is_full == self.isFullScreen():
            return
        self.setWindowState(self.windowState() ^ Qt.WindowState.WindowFullScreen)
        self._rail_bar.setHidden(is_full)
        self._head_bar.setHidden(is_full)
        self._around.setContentsMargins(16, 0 if is_full else 12, 16, 0)
        self.explorer.fill_screen(is_full)

    def _turn_to(self, number: int) -> None:
        button = self._buttons.button(number)
        button.setChecked(True)
        self.title.setText(button.text())
        self.pages.setCurrentIndex(number)
        self._in_order[number].setFocus(Qt.FocusReason.OtherFocusReason)

    def _heard(self, news: News) -> None:
        if news.link is not None:
            self.indicator.show_news(news.link)
            self.start_runtime.setVisible(news.link.no_runtime)
            if not news.link.no_runtime:
                self.start_runtime.setEnabled(True)

    def _show_told(self, telling: Telling) -> None:
        """What a notification is about."""
        self.operations.reveal(telling.operation_ids)
        self.turn_to(self.operations)

    def show_rules(self) -> None:
        """What the user is told of, and how."""
        # Over the settings, where it is opened from there.
        RulesDialog(self.notifications, QApplication.activeModalWidget() or self).open()

    def _show_actions(self) -> None:
        for one in self.access.actions:
            self.addAction(one)

    def _start_runtime(self) -> None:
        """As the command does; the session looks for it by itself."""
        self.start_runtime.setEnabled(False)
        QProcess.startDetached(sys.executable, START)


def _wide(button: T) -> T:
    """As all of the rail are."""
    button.setMinimumWidth(120)
    return button
