"""Signing in at a real screen, from the command line on: who has no token types one, and it is found again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rfm_runtime import ProgressReportingServer
from rfm_runtime.testing.runtime import eventually
from tests.tokens import signed
from tests.xscreens import Person, are_there

pytestmark = [
    pytest.mark.integration,
    pytest.mark.skipif(not are_there(), reason="Xvfb and xdotool are not installed"),
]


@contextmanager
def viewer(display: str, home: Path, *options: str, url: str = "") -> Iterator[subprocess.Popen[bytes]]:
    """The command, as somebody starts it. What it says is in home/said."""
    env = {name: value for name, value in os.environ.items() if not name.startswith("RFM_")}
    env |= {"HOME": str(home), "DISPLAY": display, "QT_QPA_PLATFORM": "xcb", "RFM_RUNTIME_DIR": str(home / "none")}
    env |= {f"XDG_{name}_HOME": str(home / name.lower()) for name in ("CONFIG", "CACHE", "DATA", "STATE")}
    if url:
        env["RFM_URL"] = url
    with (home / "said").open("ab") as said:
        command = [sys.executable, "-P", "-m", "rfm_runtime.cli", "viewer", *options]
        process = subprocess.Popen(command, env=env, stdout=said, stderr=said)
        try:
            yield process
        finally:
            if process.poll() is None:
                process.kill()
            process.wait(10)


def window(person: Person, name: str) -> str:
    return eventually(
        lambda: person.does("search", "--onlyvisible", "--name", f"^{name}$").partition("\n")[0],
        timeout_s=60, what=f"the window {name}",
    )  # fmt: skip


def signed_in(state: Path, user: str) -> int:
    """How often somebody has come in, by the audit log."""
    text = "".join(path.read_text() for path in (state / "audit").glob("*")) if (state / "audit").exists() else ""
    lines = [line for line in text.splitlines() if "signed_in" in line]
    return sum(f'"{user}"' in line for line in lines)


@pytest.mark.scenario("J110", "J111", "J114")
def test_a_person_signs_in_and_is_known_the_next_time(
    display: str, signing_server: ProgressReportingServer, signing_state: Path, tmp_path: Path
) -> None:
    person = Person(display, tmp_path / "screens")
    token = signed(sub="eve")
    with viewer(display, tmp_path, "--theme", "contrast", url=signing_server.url) as process:
        person.does("windowfocus", "--sync", window(person, "Sign in"))
        person.sees("asked")
        person.does("type", "--delay", "1", token)
        # From the field to the CA file, its button, and the box that has it kept.
        person.does("key", "Tab", "Tab", "Tab", "space")
        person.sees("entered")
        person.does("key", "Return")

        eventually(lambda: signed_in(signing_state, "eve") == 1, timeout_s=30, what="eve is in")
        person.does("windowfocus", "--sync", window(person, "rfm-runtime"))
        person.sees("live")
        person.does("key", "ctrl+3")
        person.does("key", "ctrl+q")
        eventually(lambda: process.poll() is not None, timeout_s=30, what="the window is closed")

    settings = tmp_path / "config" / "rfm-runtime" / "viewer.conf"
    assert "page=Timeline" in settings.read_text()
    # Neither the server nor the token is named: both are kept, the token in a file of its own.
    with viewer(display, tmp_path, "--reset-layout") as process:
        eventually(lambda: signed_in(signing_state, "eve") == 2, timeout_s=60, what="eve is in again")
        person.does("windowfocus", "--sync", window(person, "rfm-runtime"))
        person.sees("again")
        person.does("key", "ctrl+q")
        eventually(lambda: process.poll() is not None, timeout_s=30, what="the window is closed")

    assert "page=Operations" in settings.read_text()
    kept = [path for path in (tmp_path / "config").rglob("*") if path.is_file() and token in path.read_text()]
    assert [path.stat().st_mode & 0o777 for path in kept] == [0o600]
    assert token not in (tmp_path / "said").read_text()
    assert "Traceback" not in (tmp_path / "said").read_text()
    with viewer(display, tmp_path, "--server", "nowhere") as process:
        eventually(lambda: process.poll() is not None, timeout_s=60, what="it has said why not")
        assert process.returncode == 2
    assert "there is no server 'nowhere'" in (tmp_path / "said").read_text()
