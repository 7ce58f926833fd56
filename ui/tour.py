"""Every view in every theme and state, to be looked at: `make tour` writes FOLDER/STATE-PAGE-THEME-SCALE.png.

States: empty (a runtime that nothing was asked of), full (what ends, fails and runs, and a picture), long (names and
messages that are far too long, and in other scripts), broken (no server where one should be). A private runtime;
nothing of this machine's user is seen.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import QSettings, QTimer
from PySide6.QtGui import QAction
from PySide6.QtWidgets import QApplication, QFileDialog, QWidget

from rfm_runtime import ProgressReporter
from rfm_runtime.testing.hosts import free_ports
from rfm_runtime.testing.runtime import Runtime, runtime
from rfm_ui.model.themes import THEMES
from rfm_ui.view.looks import Looks
from rfm_ui.view.session import Session
from rfm_ui.view.window import ViewerWindow

SIZE = 1180, 740
NARROW = 900, 600
MOST_S = 60.0
SETTLED_S = 2.5
"""Until what a page asks for is there."""
WARM_UP_S = 20.0
"""Until something has ended, something has failed and something runs."""

LONG = (
    "a name that somebody has made of a whole command line --with=every --option=there --is=and /a/path/to/a/file.toml",
    "Übergrößenträger_ohne_ein_einziges_Leerzeichen_" * 3,
    "分形渲染 曼德博集合 深度缩放 动画 第一部分",
    "עיבוד של תמונות מהטיול לים",
    "🚀🌊 " * 30,
    "x",
)


def main() -> None:
    """Write all of them, at one scale; the scale is Qt's, so each is a process."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--scale", type=int, default=0, help="1 or 2; without it, both")
    parser.add_argument("--theme", action="append", default=[], help="repeatable; without it, all")
    chosen = parser.parse_args()
    chosen.folder.mkdir(parents=True, exist_ok=True)
    if chosen.scale:
        _tour(chosen.folder, chosen.scale, chosen.theme or list(THEMES))
        return
    for scale in ("1", "2"):
        again = [sys.executable, *sys.orig_argv[1:], "--scale", scale]
        subprocess.run(again, env=os.environ | {"QT_SCALE_FACTOR": scale}, check=True)


def _tour(folder: Path, scale: int, themes: list[str]) -> None:
    application = QApplication([])
    with ExitStack() as stack:
        home = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        # What the viewer keeps is this tour's.
        for place in ("XDG_CONFIG_HOME", "XDG_DATA_HOME", "XDG_CACHE_HOME", "XDG_STATE_HOME"):
            os.environ[place] = str(home / place.lower())
        running = stack.enter_context(runtime(home))
        os.environ["RFM_RUNTIME_DIR"] = str(running.folders.runtime)
        tour = Tour(application, running, folder, scale, home)
        tour.take("empty", themes)
        tour.take("broken", themes, url=f"ws://127.0.0.1:{free_ports(1)}")
        with _long_names():
            tour.take("long", themes)
        with _busy(running):
            _wait(application, lambda: False, WARM_UP_S)
            tour.take("full", themes)


class Tour:
    """Goes through the pages of a window."""

    def __init__(self, application: QApplication, running: Runtime, folder: Path, scale: int, home: Path) -> None:
        self._application = application
        self._running = running
        self._folder = folder
        self._scale = scale
        self._home = home

    def take(self, state: str, themes: list[str], url: str = "") -> None:
        """Every page in some themes, of one server."""
        for name in themes:
            settings = QSettings(str(self._home / f"{state}-{name}.ini"), QSettings.Format.IniFormat)
            looks = Looks(settings)
            looks.begin(self._application, name)
            session = Session(url=url or self._running.url, token=self._running.info.token, initial_delay=5.0)
            window = ViewerWindow(session, settings, looks=looks)
            window.resize(*(NARROW if state == "long" else SIZE))
            session.start()
            window.show()
            self._settle()
            for number in range(window.pages.count()):
                self._page(window, window.pages.widget(number), f"{state}-{{}}-{name}-{self._scale}x.png")
            if state == "full":
                self._dialogs(window, f"dialog-{{}}-{name}-{self._scale}x.png")
            window.close()
            window.deleteLater()
            self._settle(0.2)

    def _page(self, window: ViewerWindow, page: QWidget, file: str) -> None:
        window.turn_to(page)
        self._settle()
        if page is window.explorer and window.indicator.word == "live":
            _wait(self._application, lambda: window.explorer.is_complete, MOST_S)
        title = window.title.text().lower()
        window.grab().save(str(self._folder / file.format(title)))
        if page is window.operations and len(window.operations.board):
            operations = window.operations
            for wanted in ("running", "failed"):
                operations.board.settle()
                rows = [row for row in range(len(operations.board)) if operations.board.at(row).state == wanted]
                if rows:
                    operations.list.setCurrentIndex(operations.model.index(rows[0]))
                    self._settle()
                    window.grab().save(str(self._folder / file.format(f"{title}-{wanted}")))

    def _dialogs(self, window: ViewerWindow, file: str) -> None:
        """Whatever an action opens."""
        for action in window.findChildren(QAction):
            if action.isEnabled() and action.text().rstrip(".").endswith("…") and not action.isCheckable():
                name = "".join(letter for letter in action.text().lower() if letter.isalnum())
                # A dialog that is waited for has an event loop of its own, in which this is called.
                QTimer.singleShot(round(SETTLED_S * 1000), partial(self._take_dialogs, window, file.format(name)))
                action.trigger()
                self._settle(SETTLED_S + 0.5)

    def _take_dialogs(self, window: ViewerWindow, file: str) -> None:
        for widget in self._application.topLevelWidgets():
            if widget.isVisible() and widget is not window:
                if not isinstance(widget, QFileDialog):
                    widget.grab().save(str(self._folder / file))
                widget.close()

    def _settle(self, seconds: float = SETTLED_S) -> None:
        _wait(self._application, lambda: False, seconds)


@contextmanager
def _busy(running: Runtime) -> Iterator[None]:
    command = [sys.executable, "-P", "-m", "rfm_runtime.cli", "simulate", "--runtime-dir", str(running.folders.runtime)]
    options = ["--operations", "400", "--at-once", "9", "--duration", "14", "--seed", "5", "--fail", "12"]
    busy = subprocess.Popen(command + options, stdout=subprocess.DEVNULL)
    try:
        yield
    finally:
        busy.kill()
        busy.wait()


@contextmanager
def _long_names() -> Iterator[None]:
    with ExitStack() as stack:
        for number, name in enumerate(LONG):
            reporter = stack.enter_context(
                ProgressReporter("a kind that is long as well", name, labels={name[:60]: name})
            )
            reporter.report_progress(100.0 * number / len(LONG), f"step {number} of a thing that is called {name}")
        failing = ProgressReporter("copying", LONG[1])
        failing.report_progress(40.0, LONG[0])
        failing.report_failed(f"the disk is full: {LONG[0]} " * 4, details={"path": LONG[0], "free": 0})
        yield


def _wait(application: QApplication, condition: Callable[[], bool], most_s: float) -> None:
    until_s = time.monotonic() + most_s
    while time.monotonic() < until_s and not condition():
        application.processEvents()
        time.sleep(0.01)


if __name__ == "__main__":
    main()
