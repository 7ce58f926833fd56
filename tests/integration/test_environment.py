"""Names of the environment: what is misspelt, or names a token for no server, is said, and not ignored."""

from __future__ import annotations

import json
import os
import socket
import sys
from pathlib import Path

import pytest

from tests.commands import cli, environment, output, two_lines
from tests.programs import Script

pytestmark = [pytest.mark.integration, pytest.mark.scenario("I5", "J77")]

SECRET = "not-for-anybodys-eyes"


@pytest.mark.parametrize("name", ["RFM_TOKEN_FILE", "RFM_TOKEN"])
@pytest.mark.parametrize("command", [("ps",), ("status",), ("cancel", "a"), ("render", "home", "-o", "m.png")])
def test_a_token_for_no_server_is_refused(tmp_path: Path, name: str, command: tuple[str, ...]) -> None:
    done = cli(*command, env=environment(tmp_path, **{name: SECRET}))
    what, hint = two_lines(done, 2)
    assert f"{name} is set" in what
    assert "RFM_URL" in what
    assert "set RFM_URL, e.g. ws://127.0.0.1:8765" in hint
    assert SECRET not in done.stderr
    # Which runtime is meant was said otherwise.
    chosen = cli("ps", "--runtime-dir", str(tmp_path / "other"), env=environment(tmp_path, **{name: SECRET}))
    assert chosen.returncode == 3


def test_a_program_with_a_token_for_no_server_is_told_and_runs(tmp_path: Path) -> None:
    code = """
    from rfm_runtime import track
    for _ in track(range(3), "job"):
        pass
    print("done")
    """
    script = Script(code, environment(tmp_path, RFM_TOKEN_FILE="nothing", PYTHONPATH=os.pathsep.join(sys.path)))
    try:
        status, out, err = script.end()
    finally:
        Script.kill_all()
    assert (status, out) == (0, "done\n")
    assert "RFM_TOKEN_FILE is set" in err
    assert "Traceback" not in err


def test_a_misspelt_name_is_told_once_with_the_one_that_is_meant(tmp_path: Path) -> None:
    env = environment(tmp_path, RFM_TOKEN_FLIE=SECRET, RFM_WORKRES="3", RFM_SITE_NAME="other program's")
    shown = cli("config", "show", "--json", env=env)
    assert shown.returncode == 0
    assert json.loads(shown.stdout)["workers"]["origin"] == "default"
    assert shown.stderr.splitlines() == [
        "warning: RFM_TOKEN_FLIE is no name that means something here; do you mean RFM_TOKEN_FILE?",
        "warning: RFM_WORKRES is no name that means something here; do you mean RFM_WORKERS?",
        "ignored: RFM_SITE_NAME is no name that means something here",
    ]
    # Elsewhere what is nothing like ours is another program's.
    assert cli("presets", env=env).stderr.count("warning: ") == 2
    assert "SITE_NAME" not in cli("presets", env=env).stderr
    checked = cli("doctor", "--json", env=env)
    found = [one for one in json.loads(checked.stdout)["findings"] if one["what"] == "environment"]
    assert checked.returncode == 1
    assert [(one["fine"], one["todo"].split(";")[0]) for one in found] == [
        (False, "rename it: RFM_TOKEN_FILE"),
        (False, "rename it: RFM_WORKERS"),
    ]
    assert SECRET not in shown.stderr + checked.stdout


def test_names_that_mean_something_are_not_spoken_of(tmp_path: Path) -> None:
    env = environment(
        tmp_path, RFM_TOKEN_SECRET="x" * 32, RFM_CA_FILE="", RFM_CLIENT_CERT="", RFM_CLIENT_KEY="", RFM_WORKERS="1"
    )
    assert cli("config", "show", env=env).stderr == ""
    found = json.loads(output("doctor", "--json", env=env))["findings"]
    assert [one["detail"] for one in found if one["what"] == "environment"] == [
        "commands go to the runtime of this machine"
    ]


def test_doctor_says_what_is_wrong_with_a_server_that_is_named(tmp_path: Path) -> None:
    done = cli("doctor", "--json", env=environment(tmp_path, RFM_TOKEN_FILE="t"))
    (found,) = [one for one in json.loads(done.stdout)["findings"] if one["what"] == "environment"]
    assert (done.returncode, found["fine"]) == (1, False)
    assert "RFM_URL" in found["todo"]


@pytest.mark.parametrize(("host", "advised"), [("127.0.0.1", "or a tunnel to one"), ("192.0.2.1", "no firewall")])
def test_where_nobody_answers_the_advice_is_about_that_place(tmp_path: Path, host: str, advised: str) -> None:
    """192.0.2.1 is nobody's (RFC 5737): there is no way to it, or no answer."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        url = f"wss://{host}:{taken.getsockname()[1]}"
        what, hint = two_lines(cli("ps", env=environment(tmp_path, RFM_URL=url, RFM_TOKEN="t")), 6)
    assert url in what
    assert advised in hint
    assert "on that host" in hint or "status" not in hint
