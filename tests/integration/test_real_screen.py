"""The viewer on a real X server, driven from outside as a person would: keys, wheel, and a server that goes away.

SCREENS=FOLDER keeps what was on the screen after each step, to be looked at.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from PIL import ImageGrab

from rfm_runtime import Client, ProgressReporter
from rfm_runtime.protocol.operation import TERMINAL_STATES, Operation
from rfm_runtime.testing.runtime import Runtime, eventually

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(
        shutil.which("Xvfb") is None or shutil.which("xdotool") is None, reason="Xvfb and xdotool are not installed"
    ),
]


@pytest.fixture
def display() -> Iterator[str]:
    """A screen of its own."""
    reading, writing = os.pipe()
    server = subprocess.Popen(
        ["Xvfb", "-displayfd", str(writing), "-screen", "0", "1280x860x24", "-nolisten", "tcp"],
        pass_fds=[writing], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    os.close(writing)
    try:
        with os.fdopen(reading) as told:
            yield f":{told.readline().strip()}"
    finally:
        server.terminate()
        server.wait(10)


COLOURS = 100
"""More than a page without a picture has."""


class Person:
    """Somebody at the screen. folder: for what is seen."""

    def __init__(self, display: str, folder: Path) -> None:
        self._display = display
        self._env = os.environ | {"DISPLAY": display}
        self._folder = Path(os.environ.get("SCREENS", folder))
        self._folder.mkdir(parents=True, exist_ok=True)
        self._steps = 0

    def sees(self, step: str) -> int:
        """Keep what is on the screen; how many colours the poorer half of a fractal's picture would have."""
        seen = ImageGrab.grab(xdisplay=self._display).convert("RGB")
        self._steps += 1
        seen.save(self._folder / f"{self._steps:02}-{step}.png")
        halves = (seen.crop((160, 100, 1100, 400)), seen.crop((160, 420, 1100, 720)))
        return min(len(half.getcolors(maxcolors=half.width * half.height) or ()) for half in halves)

    def does(self, *words: str) -> str:
        """One act of xdotool; what it says."""
        done = subprocess.run(
            ["xdotool", *words], env=self._env, capture_output=True, text=True, timeout=30, check=False
        )
        return done.stdout.strip()

    def turns(self, notches: int) -> None:
        """The wheel, towards what is under the pointer: the valley of the seahorses."""
        self.does("mousemove", "605", "386", "click", "--repeat", str(notches), "--delay", "60", "4")


@pytest.fixture
def viewer(display: str, running: Runtime, tmp_path: Path) -> Iterator[subprocess.Popen[bytes]]:
    home = {
        "HOME": str(tmp_path),
        "XDG_CONFIG_HOME": str(tmp_path / "config"),
        "XDG_CACHE_HOME": str(tmp_path / "cache"),
    }
    known = {"RFM_URL": running.url, "RFM_TOKEN_FILE": str(running.folders.token)}
    screen = {"DISPLAY": display, "QT_QPA_PLATFORM": "xcb"}
    with (tmp_path / "said").open("wb") as said:
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "rfm_runtime.cli", "viewer", "--theme", "dark"],
            env=os.environ | home | known | screen, stdout=said, stderr=said,
        )  # fmt: skip
        yield process
        if process.poll() is None:
            process.kill()
        process.wait(10)


def explored(client: Client) -> list[Operation]:
    """Renders of the explorer, the newest first."""
    return client.operations(labels={"from": "explorer"})


def test_a_person_at_a_screen(
    display: str, viewer: subprocess.Popen[bytes], running: Runtime, client: Client,
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    person = Person(display, tmp_path / "screens")
    window = eventually(
        lambda: person.does("search", "--onlyvisible", "--name", "^rfm-runtime$").partition("\n")[0],
        timeout_s=60, what="the window",
    )  # fmt: skip
    person.does("windowfocus", "--sync", window)
    person.sees("start")

    person.does("key", "ctrl+2")

    eventually(
        lambda: explored(client)[:1] and explored(client)[0].state == "completed", timeout_s=60, what="a picture"
    )
    eventually(lambda: person.sees("explorer") > COLOURS, timeout_s=30, what="the picture is on the screen")
    first = len(explored(client))
    for step in range(10):
        person.turns(1)
        person.sees(f"zoom-{step + 1}")
    eventually(lambda: len(explored(client)) > first, timeout_s=30, what="the wheel is heard")
    eventually(
        lambda: all(one.state in TERMINAL_STATES for one in explored(client)),
        timeout_s=60,
        what="nothing stale is left",
    )
    assert explored(client)[0].state == "completed", "the last view is finished"
    eventually(lambda: person.sees("zoomed") > COLOURS, timeout_s=30, what="the last view is on the screen")

    person.does("key", "ctrl+1")
    monkeypatch.setenv("RFM_RUNTIME_DIR", str(running.folders.runtime))
    with ProgressReporter("copying", "photos", bar=False) as reporter:
        reporter.report_progress(40.0, "forty")
        eventually(lambda: [one.name for one in client.operations(states=["running"])] == ["photos"], what="it runs")
        person.sees("operations")
        person.does("key", "Home")
        person.sees("chosen")
        person.does("key", "Delete")
        eventually(reporter.should_cancel, timeout_s=30, what="the cancellation has come to the program")
        reporter.report_canceled()
    person.sees("cancelled")
    person.does("key", "ctrl+2")

    running.kill("gateway-0")
    eventually(
        lambda: person.sees("lost") > 0 and "gateway-0" in running.processes(), timeout_s=30, what="the gateway is back"
    )
    before = len(explored(client))

    def another() -> bool:
        person.does("key", "minus")
        return len(explored(client)) > before

    eventually(another, timeout_s=60, what="the viewer has found its server again")
    eventually(lambda: person.sees("found") > COLOURS, timeout_s=30, what="the picture is on the screen")
    assert viewer.poll() is None, (tmp_path / "said").read_text()
    person.does("key", "ctrl+q")
    eventually(lambda: viewer.poll() is not None, timeout_s=30, what="the window is closed")
    assert "Traceback" not in (tmp_path / "said").read_text()
