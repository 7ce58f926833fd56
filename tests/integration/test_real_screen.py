"""The viewer on a real X server, driven from outside as a person would: keys, wheel, and a server that goes away.

SCREENS=FOLDER keeps what was on the screen after each step, to be looked at.
"""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rfm_runtime import Client, ProgressReporter
from rfm_runtime.protocol.operation import TERMINAL_STATES, Operation
from rfm_runtime.testing.runtime import Runtime, eventually
from tests.xscreens import Person, are_there

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not are_there(), reason="Xvfb and xdotool are not installed"),
]


COLOURS = 100
"""More than a page without a picture has."""


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
