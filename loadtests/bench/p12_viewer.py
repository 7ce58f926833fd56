"""P12: the viewer with 1,000 operations that report ten times a second each, and scrolled through 10,000 (H5).

A program of its own reports, a runtime merges and sends, the window shows the list without a screen: what its thread
takes of a processor for a frame, news, model and painting together, and how many frames it makes of what comes. A list
of 10,000 live operations is then scrolled from end to end and back: what is between two frames.
"""

from __future__ import annotations

import argparse
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import pairwise
from pathlib import Path
from typing import Any

import psutil

from rfm_runtime.testing.runtime import Runtime, runtime

__all__ = ["run"]

OPERATIONS = 1_000
HZ = 10.0
LIVE = 10_000
"""Operations of H5; they report every five seconds."""
LIVE_HZ = 0.2
WARM_UP_S = 60.0
"""At most until a run begins."""
SCROLL_PX = 60
"""From one frame to the next: some 4,000 pixels a second."""
GAP_MS = 33.0
"""Between two frames, 99 times of 100: one may be missed."""
FRAMES_PER_S = 60.0
FRAME_MS = 4.0

PROGRAM = """
import sys, time
from rfm_runtime import ProgressReporter
many, hz, percent = int(sys.argv[1]), float(sys.argv[2]), float(sys.argv[3])
reporters = [ProgressReporter("load", f"operation {k}") for k in range(many)]
print("ready", flush=True)
turn = 0
while True:
    begin_s = time.monotonic()
    for k, reporter in enumerate(reporters):
        reporter.report_progress(min(98.0, turn * percent + k / many), f"step {turn}")
    turn += 1
    time.sleep(max(0.0, 1.0 / hz - (time.monotonic() - begin_s)))
"""


def run(quick: bool = False, seconds: float = 60.0) -> list[dict[str, Any]]:
    """Rows for frames, CPU time of a frame, updates and memory, and for scrolling."""
    # In this process, which is a benchmark's own.
    os.environ["QT_QPA_PLATFORM"] = "offscreen"
    from PySide6.QtWidgets import QApplication

    from rfm_ui.view import theme

    application = QApplication([])
    theme.apply(application, "dark")
    seconds, scrolled_s = (8.0, 5.0) if quick else (seconds, 20.0)
    with _watched(application, OPERATIONS, HZ, seconds) as watched:
        rows = _frames(watched, seconds)
    with _watched(application, LIVE, LIVE_HZ, scrolled_s) as watched:
        return rows + _scrolled(watched, scrolled_s)


class Watched:
    """A window that shows operations of a program. updates: of operations. paints: when the list was painted."""

    def __init__(self, application: Any, running: Runtime, many: int) -> None:
        from PySide6.QtCore import QEvent, QObject, QSettings
        from typing_extensions import override

        from rfm_ui.bridge import News
        from rfm_ui.view.session import Session
        from rfm_ui.view.window import ViewerWindow

        paints: list[float] = []

        class Paints(QObject):
            @override
            def eventFilter(self, watched: QObject, event: QEvent) -> bool:
                if event.type() == QEvent.Type.Paint:
                    paints.append(time.monotonic())
                return super().eventFilter(watched, event)

        self.application, self.paints, self.updates = application, paints, 0
        self.session = Session(url=running.url, token=running.info.token)
        settings = QSettings(f"{running.settings.state_dir}/viewer.ini", QSettings.Format.IniFormat)
        self.window = ViewerWindow(self.session, settings)

        def heard(news: News) -> None:
            self.updates += len(news.operations)

        self.session.news.connect(heard)
        self.session.start()
        self.window.show()
        self._filter = Paints()
        self.list = self.window.operations.list
        self.list.viewport().installEventFilter(self._filter)
        until_s = time.monotonic() + 60.0
        while len(self.window.operations.board) < many and time.monotonic() < until_s:
            application.processEvents()
            time.sleep(0.005)
        if (shown := len(self.window.operations.board)) < many:
            raise RuntimeError(f"{shown} of {many} operations are shown, the connection is {self.session.link}")
        _serve(application, 3.0)


@contextmanager
def _watched(application: Any, many: int, hz: float, seconds: float) -> Iterator[Watched]:
    # Progress never goes back: what had come to its end before the run has would stand still for the rest of it.
    percent = 97.0 / ((seconds + WARM_UP_S) * hz)
    with tempfile.TemporaryDirectory() as home, runtime(Path(home)) as running:
        where = os.environ | {"RFM_RUNTIME_DIR": str(running.folders.runtime)}
        command = [sys.executable, "-P", "-c", PROGRAM, str(many), str(hz), str(percent)]
        program = subprocess.Popen(command, env=where, stdout=subprocess.PIPE)
        try:
            if program.stdout is None or program.stdout.readline() != b"ready\n":
                raise RuntimeError("the program that reports did not begin")
            watched = Watched(application, running, many)
            try:
                yield watched
            finally:
                watched.window.close()
        finally:
            program.kill()
            program.wait()


def _frames(watched: Watched, seconds: float) -> list[dict[str, Any]]:
    process = psutil.Process()

    def now() -> tuple[float, ...]:
        rss, at_s = process.memory_info().rss, time.monotonic()
        return len(watched.paints), watched.updates, time.thread_time(), rss, at_s

    before = now()
    _serve(watched.application, seconds)
    painted, changed, cpu_s, grown, took_s = (b - a for a, b in zip(before, now(), strict=True))
    frame_ms = cpu_s * 1000 / max(1, painted)
    about = f"{OPERATIONS:,} operations at {HZ:g} Hz"
    frames, most_ms = painted / took_s, "CPU time of the window's thread for a frame"
    return [
        _row(f"{about}: frames", frames, "frames/s", f"≥ {FRAMES_PER_S:g}", frames >= FRAMES_PER_S),
        _row(f"{about}: {most_ms}", frame_ms, "ms", f"≤ {FRAME_MS:g}", frame_ms <= FRAME_MS),
        _row(f"{about}: operations that changed", changed / took_s, "/s", "–", True),
        _row(f"{about}: growth in {seconds:g} s", grown / 2**20, "MiB", "≤ 10", grown / 2**20 <= 10.0),
    ]


def _scrolled(watched: Watched, seconds: float) -> list[dict[str, Any]]:
    from PySide6.QtCore import Qt, QTimer

    bar, step = watched.list.verticalScrollBar(), [SCROLL_PX]

    def scroll() -> None:
        if not 0 < bar.value() + step[0] < bar.maximum():
            step[0] = -step[0]
        bar.setValue(bar.value() + step[0])

    timer = QTimer()
    timer.setTimerType(Qt.TimerType.PreciseTimer)
    timer.setInterval(16)
    timer.timeout.connect(scroll)
    timer.start()
    del watched.paints[:]
    cpu_s = time.thread_time()
    _serve(watched.application, seconds)
    cpu_s = time.thread_time() - cpu_s
    timer.stop()
    gaps_ms = sorted((b - a) * 1000 for a, b in pairwise(watched.paints))
    p99_ms, frame_ms = gaps_ms[int(0.99 * len(gaps_ms))], cpu_s * 1000 / len(gaps_ms)
    about = f"scrolling through {LIVE:,} live operations"
    return [
        _row(f"{about}: between two frames, p50", gaps_ms[len(gaps_ms) // 2], "ms", "–", True),
        _row(f"{about}: between two frames, p99", p99_ms, "ms", f"≤ {GAP_MS:g}", p99_ms <= GAP_MS),
        _row(f"{about}: CPU time for a frame", frame_ms, "ms", f"≤ {FRAME_MS:g}", frame_ms <= FRAME_MS),
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
