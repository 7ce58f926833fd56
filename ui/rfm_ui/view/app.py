"""The viewer as a program."""

from __future__ import annotations

import gc
import signal
import sys
from typing import Any

from PySide6.QtCore import QCoreApplication, QSettings, QTimer
from PySide6.QtWidgets import QApplication

from rfm_ui.view import theme
from rfm_ui.view.session import Session
from rfm_ui.view.window import ViewerWindow

__all__ = ["run"]

SIGNAL_MS = 200
"""Between two looks of Python, which acts on a signal only while it runs itself."""


def run(*, theme_name: str = "", **options: Any) -> int:
    """Show the viewer until its window is closed; the exit code. theme_name: dark, light, "" for the desktop's.

    options: of the client, as of `AsyncClient`.
    """
    QCoreApplication.setOrganizationName("rfm-runtime")
    QCoreApplication.setApplicationName("viewer")
    application = QApplication([sys.argv[0]])
    theme.apply(application, theme_name)
    session = Session(application, **options)
    window = ViewerWindow(session, QSettings())
    signal.signal(signal.SIGINT, lambda *_: window.close())
    awake = QTimer(application)
    awake.timeout.connect(lambda: None)
    awake.start(SIGNAL_MS)
    session.start()
    window.show()
    # Modules, widgets and themes are no garbage: looking through them takes a full collection 15 ms of a frame.
    gc.freeze()
    code = application.exec()
    session.close()
    return code
