"""P12: the viewer with 1,000 operations that report ten times a second each.

A program of its own reports, a runtime merges and sends, the window shows the list without a screen: what its thread
takes of a processor for a frame, news, model and painting together, and how many frames it makes of what comes.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from rfm_runtime.testing.runtime import Runtime, runtime

__all__ = ["run"]

OPERATIONS = 1_000
HZ = 10.0
FRAMES_PER_S = 60.0
FRAME_MS = 4.0

PROGRAM = """
import sys, time
from rfm_runtime import ProgressReporter
many, hz = int(sys.argv[1]), float(sys.argv[2])
reporters = [ProgressReporter("load", f"operation {k}") for k in range(many)]
print("ready", flush=True)
turn = 0
while True:
    begin_s = time.monotonic()
    for k, reporter in enumerate(reporters):
        reporter.report_progress((turn + k) % 990 / 10.0, f"step {turn}")
    turn += 1
    time.sleep(max(0.0, 1.0 / hz - (time.monotonic() - begin_s)))
"""


def run(quick: bool = False, seconds: float = 60.0) -> list[dict[str, Any]]:
    """Rows for frames, CPU time of a frame, updates and memory."""
    # In this process, which is a benchmark's own.
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    seconds = 8.0 if quick else seconds
    with tempfile.TemporaryDirectory() as home, runtime(Path(home)) as running:
        where = os.environ | {"RFM_RUNTIME_DIR": str(running.folders.runtime)}
        command = [sys.executable, "-P", "-c", PROGRAM, str(OPERATIONS), str(HZ)]
        program = subprocess.Popen(command, env=where, stdout=subprocess.PIPE)
        try:
            if program.stdout is None or program.stdout.readline() != b"ready\n":
                raise RuntimeError("the program that reports did not begin")
            return _rows(running, seconds)
        finally:
            program.kill()
            program.wait()


def _rows(running: Runtime, seconds: float) -> list[dict[str, Any]]:
    from PySide6.QtCore import QEvent, QObject, QSettings
    from PySide6.QtWidgets import QApplication
    from typing_extensions import override

    from rfm_ui.bridge import News
    from rfm_ui.view import theme
    from rfm_ui.view.session import Session
    from rfm_ui.view.window import ViewerWindow

    class Paints(QObject):
        count = 0

        @override
        def eventFilter(self, watched: QObject, event: QEvent) -> bool:
            self.count += event.type() == QEvent.Type.Paint
            return super().eventFilter(watched, event)

    application = QApplication([])
    theme.apply(application, "dark")
    session = Session(url=running.url, token=running.info.token)
    window = ViewerWindow(session, QSettings(f"{running.settings.state_dir}/viewer.ini", QSettings.Format.IniFormat))
    updates, deliveries = [0], [0]

    def heard(news: News) -> None:
        updates[0] += len(news.operations)
        deliveries[0] += 1

    session.news.connect(heard)
    session.start()
    window.show()
    paints = Paints()
    window.operations.list.viewport().installEventFilter(paints)
    until_s = time.monotonic() + 60.0
    while len(window.operations.board) < OPERATIONS and time.monotonic() < until_s:
        application.processEvents()
        time.sleep(0.005)
    if (shown := len(window.operations.board)) < OPERATIONS:
        raise RuntimeError(f"{shown} of {OPERATIONS} operations are shown, the connection is {session.link}")
    _serve(application, 3.0)
    process = psutil.Process()
    before = paints.count, updates[0], time.thread_time(), process.memory_info().rss, time.monotonic()
    _serve(application, seconds)
    after = paints.count, updates[0], time.thread_time(), process.memory_info().rss, time.monotonic()
    window.close()
    painted, changed, cpu_s, grown, took_s = (b - a for a, b in zip(before, after, strict=True))
    frame_ms = cpu_s * 1000 / max(1, painted)
    about = f"{OPERATIONS:,} operations at {HZ:g} Hz"
    frames, most_ms = painted / took_s, "CPU time of the window's thread for a frame"
    return [
        _row(f"{about}: frames", frames, "frames/s", f"≥ {FRAMES_PER_S:g}", frames >= FRAMES_PER_S),
        _row(f"{about}: {most_ms}", frame_ms, "ms", f"≤ {FRAME_MS:g}", frame_ms <= FRAME_MS),
        _row(f"{about}: operations that changed", changed / took_s, "/s", "–", True),
        _row(f"{about}: growth in {seconds:g} s", grown / 2**20, "MiB", "≤ 10", grown / 2**20 <= 10.0),
    ]


def _serve(application: Any, seconds: float) -> None:
    """As its event loop does, for so long."""
    from PySide6.QtCore import QTimer

    # Not `quit`, which closes the window first.
    QTimer.singleShot(round(seconds * 1000), lambda: application.exit(0))
    application.exec()


def _row(what: str, ours: float, unit: str, target: str, met: bool) -> dict[str, Any]:
    row = {"id": "P12", "what": what, "ours": ours, "peer": None, "unit": unit, "ratio": None}
    return {**row, "target": target, "met": met}


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--minutes", type=float, default=10.0, help="of what is measured")
    measured = run(seconds=60.0 * parser.parse_args().minutes)
    for row in measured:
        print(f"{row['what']}: {row['ours']:.2f} {row['unit']} (wanted: {row['target']})")
    sys.exit(not all(row["met"] for row in measured))
