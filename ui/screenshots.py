"""Pictures of the viewer for the docs: `make screenshots` writes docs/viewer/PAGE-THEME.png (.jpg).

A private runtime works on simulated operations and on renders; nothing of this machine's user is seen.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

os.environ.setdefault("QT_QPA_PLATFORM", "offscreen")

from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QApplication

from rfm_runtime.testing.runtime import Runtime, runtime
from rfm_ui.view import theme
from rfm_ui.view.session import Session
from rfm_ui.view.window import ViewerWindow

WARM_UP_S = 25.0
"""Until something has ended, something has failed and something runs."""
MOST_S = 60.0
SIZE = 1180, 740


def main() -> None:
    """Write all of them."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path)
    folder: Path = parser.parse_args().folder
    folder.mkdir(parents=True, exist_ok=True)
    application = QApplication([])
    with tempfile.TemporaryDirectory() as home, runtime(Path(home)) as running:
        command = [sys.executable, "-P", "-m", "rfm_runtime.cli", "simulate", "--runtime-dir", f"{home}/run"]
        options = ["--operations", "60", "--at-once", "9", "--duration", "14", "--seed", "5", "--fail", "12"]
        busy = subprocess.Popen(command + options, stdout=subprocess.DEVNULL)
        try:
            _wait(application, lambda: False, WARM_UP_S)
            for name in ("dark", "light"):
                _take(application, running, name, folder, Path(home))
        finally:
            busy.kill()
            busy.wait()


def _take(application: QApplication, running: Runtime, name: str, folder: Path, home: Path) -> None:
    theme.apply(application, name)
    session = Session(url=running.url, token=running.info.token)
    window = ViewerWindow(session, QSettings(str(home / "viewer.ini"), QSettings.Format.IniFormat))
    window.resize(*SIZE)
    session.start()
    window.show()
    operations, explorer = window.operations, window.explorer
    _wait(application, lambda: len(operations.board) > 0, MOST_S)
    _wait(application, lambda: False, 2.0)
    operations.board.settle()
    failed = next((r for r in range(len(operations.board)) if operations.board.at(r).state == "running"), 0)
    operations.list.setCurrentIndex(operations.model.index(failed))
    _wait(application, lambda: bool(operations.details.events.shown), MOST_S)
    _wait(application, lambda: False, 2.5)
    window.grab().save(str(folder / f"operations-{name}.png"))
    window.turn_to(explorer)
    explorer.preset.setCurrentText("tendrils" if name == "dark" else "seahorse")
    explorer.preset.activated.emit(explorer.preset.currentIndex())
    _wait(application, lambda: explorer.is_complete, MOST_S)
    # A tenth of what it takes as PNG.
    window.grab().save(str(folder / f"explorer-{name}.jpg"), quality=88)
    for page, file in ((window.timeline, "timeline"), (window.machine, "machine")):
        window.turn_to(page)
        _wait(application, lambda: False, 6.0)
        window.grab().save(str(folder / f"{file}-{name}.png"))
    window.turn_to(window.timeline)
    window.timeline.show_heatmap()
    _wait(application, lambda: window.timeline.heatmap.reply is not None, MOST_S)
    _wait(application, lambda: False, 1.0)
    window.grab().save(str(folder / f"heatmap-{name}.png"))
    window.close()


def _wait(application: QApplication, condition: Callable[[], bool], most_s: float) -> None:
    until_s = time.monotonic() + most_s
    while time.monotonic() < until_s and not condition():
        application.processEvents()
        time.sleep(0.01)


if __name__ == "__main__":
    main()
