"""The viewer as a program."""

from __future__ import annotations

import gc
import signal
import sys
from collections.abc import Mapping
from typing import Any

from PySide6.QtCore import QCoreApplication, QSettings, QTimer
from PySide6.QtWidgets import QApplication

from rfm_ui.model.servers import LOCAL
from rfm_ui.view.access import last_server, options_of
from rfm_ui.view.layout import forget_layout
from rfm_ui.view.looks import Looks
from rfm_ui.view.session import Session
from rfm_ui.view.window import ViewerWindow

__all__ = ["run"]

SIGNAL_MS = 200
"""Between two looks of Python, which acts on a signal only while it runs itself."""


def run(
    *,
    theme_name: str = "",
    server: str = "",
    elsewhere: Mapping[str, Any] | None = None,
    is_local: bool = False,
    reset_layout: bool = False,
    **local: Any,
) -> int:
    """Show the viewer until its window is closed; the exit code.

    theme_name: of `themes.THEMES`, or of a file; "" for the one that was chosen last. server: by name or address;
    without it `elsewhere`, options of the client; without these the one that was shown last, unless is_local. local:
    options of the client for the runtime of this machine. reset_layout: forget where everything was. Raises
    BadRequestError for a server or a theme that there is not.
    """
    QCoreApplication.setOrganizationName("rfm-runtime")
    QCoreApplication.setApplicationName("viewer")
    settings = QSettings()
    options, shown = dict(elsewhere or {}), None
    if not options:
        shown = LOCAL if is_local else last_server(settings, server)
        options = local if shown.is_local else options_of(shown)
    looks = Looks(settings)
    looks.check(theme_name)
    if reset_layout:
        forget_layout(settings)
    application = QApplication([sys.argv[0]])
    looks.begin(application, theme_name)
    session = Session(application, **options)
    window = ViewerWindow(session, settings, shown, local=local, looks=looks)
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
