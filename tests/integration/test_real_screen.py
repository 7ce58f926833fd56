"""The viewer on a real X server, driven from outside as a person would: keys, wheel, and a server that goes away."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rfm_runtime import Client
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


class Person:
    """Somebody at the screen."""

    def __init__(self, display: str) -> None:
        self._env = os.environ | {"DISPLAY": display}

    def does(self, *words: str) -> str:
        """One act of xdotool; what it says."""
        done = subprocess.run(
            ["xdotool", *words], env=self._env, capture_output=True, text=True, timeout=30, check=False
        )
        return done.stdout.strip()

    def turns(self, notches: int) -> None:
        """The wheel, towards what is under the pointer."""
        self.does("mousemove", "700", "420", "click", "--repeat", str(notches), "--delay", "60", "4")


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
    display: str, viewer: subprocess.Popen[bytes], running: Runtime, client: Client, tmp_path: Path
) -> None:
    person = Person(display)
    window = eventually(
        lambda: person.does("search", "--onlyvisible", "--name", "^rfm-runtime$").partition("\n")[0],
        timeout_s=60, what="the window",
    )  # fmt: skip
    person.does("windowfocus", "--sync", window)

    person.does("key", "ctrl+2")

    eventually(
        lambda: explored(client)[:1] and explored(client)[0].state == "completed", timeout_s=60, what="a picture"
    )
    first = len(explored(client))
    for _ in range(10):
        person.turns(1)
    eventually(lambda: len(explored(client)) > first, timeout_s=30, what="the wheel is heard")
    eventually(
        lambda: all(one.state in TERMINAL_STATES for one in explored(client)),
        timeout_s=60,
        what="nothing stale is left",
    )
    assert explored(client)[0].state == "completed", "the last view is finished"

    running.kill("gateway-0")
    eventually(lambda: "gateway-0" in running.processes(), timeout_s=30, what="the gateway is back")
    before = len(explored(client))

    def another() -> bool:
        person.does("key", "minus")
        return len(explored(client)) > before

    eventually(another, timeout_s=60, what="the viewer has found its server again")
    assert viewer.poll() is None, (tmp_path / "said").read_text()
    person.does("key", "ctrl+q")
    eventually(lambda: viewer.poll() is not None, timeout_s=30, what="the window is closed")
    assert "Traceback" not in (tmp_path / "said").read_text()
