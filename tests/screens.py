"""Help for tests of the viewer without a screen. To be imported before Qt makes its application."""

from __future__ import annotations

import os
from pathlib import Path

from PySide6.QtCore import QEvent, QObject, QSettings
from PySide6.QtWidgets import QWidget
from pytestqt.qtbot import QtBot
from typing_extensions import override

from rfm_ui.view.session import Session
from rfm_ui.view.window import ViewerWindow

__all__ = ["MOST_MS", "Paints", "opened"]

# Before the first fixture asks for an application; a test that has a screen starts the viewer as a process.
os.environ["QT_QPA_PLATFORM"] = "offscreen"

MOST_MS = 20_000
"""That anything may take on a machine that does other things too."""


def opened(qtbot: QtBot, folder: Path, url: str, token: str) -> ViewerWindow:
    """A window that is live. It goes with the test, and what it computes."""
    session = Session(url=url, token=token, initial_delay=0.05)
    window = ViewerWindow(session, QSettings(str(folder / "viewer.ini"), QSettings.Format.IniFormat))
    qtbot.addWidget(window, before_close_func=lambda one: one.explorer.leave())
    session.start()
    window.show()
    qtbot.waitUntil(lambda: window.indicator.word == "live", timeout=MOST_MS)
    return window


class Paints(QObject):
    """count: how often a widget was painted."""

    def __init__(self, widget: QWidget) -> None:
        super().__init__(widget)
        self.count = 0
        widget.installEventFilter(self)

    @override
    def eventFilter(self, watched: QObject, event: QEvent) -> bool:
        """Counts, and lets everything through."""
        self.count += event.type() == QEvent.Type.Paint
        return super().eventFilter(watched, event)
