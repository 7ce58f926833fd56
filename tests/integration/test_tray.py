"""The desktop's tray: a real viewer on a real screen, whose desktop is on a bus as desktops are."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import IO

import pytest

from rfm_runtime import Client, ProgressReporter, ProgressReportingServer
from rfm_runtime.protocol.notifying import Rule, Rules

pytestmark = [
    pytest.mark.integration,
    pytest.mark.scenario("E12", "J119"),
    pytest.mark.skipif(
        shutil.which("Xvfb") is None or shutil.which("dbus-daemon") is None,
        reason="Xvfb and dbus-daemon are not installed",
    ),
]

ROOT = Path(__file__).parents[2]

VIEWER = """
import os
from PySide6.QtCore import QSettings
from PySide6.QtWidgets import QApplication
from rfm_ui.view.session import Session
from rfm_ui.view.window import ViewerWindow

application = QApplication([])
session = Session(url=os.environ["URL"], token=os.environ["TOKEN"])
window = ViewerWindow(session, QSettings(os.environ["SETTINGS"], QSettings.Format.IniFormat))

def opened(telling):
    print("opened", *(one.operation_id for one in window.operations.chosen()), flush=True)
    window.close()

window.notifications.rules_known.connect(lambda _rules: print("knows", flush=True))
window.notifications.wanted.connect(opened)
session.start()
window.show()
application.exec()
print("toasts", len(window.notifications.toasts.toasts), flush=True)
"""


@contextmanager
def process(*command: str, **env: str) -> Iterator[subprocess.Popen[str]]:
    """One that ends with the test."""
    started = subprocess.Popen(
        command, env=os.environ | env, text=True, cwd=ROOT,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        yield started
    finally:
        started.kill()
        started.communicate(timeout=10)


def line(of: IO[str] | None, wanted: Callable[[str], bool] = bool) -> str:
    """The next line that is wanted; the test's time-out ends a wait for one that does not come."""
    assert of is not None
    for one in of:
        if wanted(one):
            return one.strip()
    raise AssertionError("it has ended without a word")


@pytest.fixture
def desktop(tmp_path: Path) -> Iterator[tuple[subprocess.Popen[str], dict[str, str]]]:
    """Its program, and what programs on it have to know."""
    with ExitStack() as stack:
        bus = stack.enter_context(process("dbus-daemon", "--session", "--nofork", "--print-address=1"))
        known = {"DBUS_SESSION_BUS_ADDRESS": line(bus.stdout), "XDG_RUNTIME_DIR": str(tmp_path)}
        shown = stack.enter_context(process(sys.executable, "-m", "tests.desktop", **known))
        assert line(shown.stdout) == "ready"
        reading, writing = os.pipe()
        screen = subprocess.Popen(
            ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1280x860x24", "-nolisten", "tcp"],
            pass_fds=[writing], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
        )  # fmt: skip
        stack.callback(screen.wait, 10)
        stack.callback(screen.terminate)
        os.close(writing)
        with os.fdopen(reading) as number:
            known["DISPLAY"] = f":{number.readline().strip()}"
        yield shown, known


def test_a_message_of_the_tray_leads_to_its_operation(
    tmp_path: Path, desktop: tuple[subprocess.Popen[str], dict[str, str]], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state-home"))
    monkeypatch.setenv("RFM_RUNTIME_DIR", str(tmp_path / "none"))
    shown, known = desktop
    with ProgressReportingServer(port=0, memory=True) as server:
        with Client(server.url, server.token) as client:
            client.set_rules(Rules(rules=(Rule(rule_id="f", when=("failed",), toast=False, tray=True),)), 0)
        about = {"URL": server.url, "TOKEN": server.token, "SETTINGS": str(tmp_path / "viewer.ini")}
        with process(sys.executable, "-c", VIEWER, QT_QPA_PLATFORM="xcb", **known, **about) as viewer:
            assert line(shown.stdout).startswith("icon ")
            assert line(viewer.stdout) == "knows"
            with ProgressReporter("copying", "photos") as reporter:
                reporter.report_failed("the disk is full")
            assert line(shown.stdout) == "message photos has failed | the disk is full · copying"

            assert shown.stdin is not None
            shown.stdin.write("click\n")
            shown.stdin.flush()

            assert line(viewer.stdout) == f"opened {reporter.operation_id}"
            # Who was told by the tray is not told by a toast as well.
            assert line(viewer.stdout) == "toasts 0"
            assert viewer.wait(20) == 0
