"""`rfm-runtime token` in the words of its user: durations, files, exit codes, links, and what the audit log keeps."""

from __future__ import annotations

import json
import os
import stat
import subprocess
import time
from pathlib import Path

import pytest

from rfm_runtime import ProgressReportingServer
from tests.commands import COMMAND, cli, environment, output, two_lines
from tests.plain import Plain
from tests.tokens import SECRET, signed

pytestmark = [pytest.mark.integration, pytest.mark.scenario("J58", "J76")]


@pytest.fixture
def env(tmp_path: Path) -> dict[str, str]:
    """Of somebody who has a secret, and no runtime."""
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    return environment(tmp_path, RFM_TOKEN_SECRET_FILE=str(secret))


@pytest.mark.parametrize(
    ("arguments", "said", "advised"),
    [
        (("issue", "--user", "ann", "--lifetime", "soon"), "'soon' is no duration", "15min, 12h, 30d"),
        (("issue", "--user", "ann", "--lifetime", "0s"), "--lifetime 0s is nothing", "15min, 12h or 30d"),
        (("issue", "--user", "ann", "--lifetime", "99999d"), "--lifetime 99999d is more than", "30 years at most"),
        (("link", "--user", "ann", "--valid", "2h"), "--valid 2h is more than", "a link is valid for 1h at most"),
        (("link", "--user", "ann", "--valid", "0s"), "--valid 0s is nothing", "15min, 12h or 30d"),
        (("link", "--user", "ann", "--lifetime", "31d"), "--lifetime 31d is more than", "30d at most"),
        (("link", "--user", ""), "user is ''", "1 to 128"),
        (("link", "--user", "a", "--roles", ",".join("x" * 300)), "roles are", "viewer, operator"),
        (("link", "--user", "a", "--kind", "k" * 5000), "kinds are", "names of kinds"),
        (("link", "--user", "a", "--url", "lab.example"), "--url lab.example is no address", "https://HOST:8765"),
        (("link", "--user", "a", "--url", "https://lab/?a#b"), "is no address", "without # and ?"),
    ],
)
def test_what_cannot_be_meant_is_said_in_our_words(
    env: dict[str, str], arguments: tuple[str, ...], said: str, advised: str
) -> None:
    what, hint = two_lines(cli("token", *arguments, env=env), 2)
    assert said in what
    assert advised in hint
    assert "Expected" not in what


def test_what_a_token_is_not_valid_for_is_an_exit_code_too(env: dict[str, str], tmp_path: Path) -> None:
    """What is printed is the same either way."""
    for name, token, code in (("good", signed(), 0), ("old", signed(exp=int(time.time()) - 60), 1), ("odd", "", 2)):
        file = tmp_path / name
        file.write_text(token)
        assert cli("token", "inspect", str(file), env=env).returncode == code
        done = cli("token", "inspect", str(file), "--json", env=env)
        assert done.returncode == code
        if code < 2:
            found = json.loads(done.stdout)
            assert (found["valid"], found["why_not"]) == ((True, None) if code == 0 else (False, "it has expired"))
            assert done.stderr == ""


def test_a_token_goes_into_a_file_that_nobody_else_can_read(env: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "ann.token"
    done = cli("token", "issue", "--user", "ann", "-o", str(file), env=env)
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    before = file.read_text()
    assert cli("token", "inspect", str(file), env=env).returncode == 0
    assert "exists and was kept" in two_lines(cli("token", "issue", "--user", "ann", "-o", str(file), env=env), 2)[0]
    assert file.read_text() == before


@pytest.mark.parametrize(("mode", "warned"), [(0o644, True), (0o640, True), (0o600, False), (None, False)])
def test_output_that_others_can_read_is_spoken_of(
    env: dict[str, str], tmp_path: Path, mode: int | None, warned: bool
) -> None:
    """mode: of the file that a shell writes it to; None: a pipe."""
    command = [*COMMAND, "token", "issue", "--user", "ann"]
    if mode is None:
        done = subprocess.run(command, env=env, capture_output=True, text=True, timeout=90, check=True)
    else:
        file = tmp_path / "ann.token"
        with os.fdopen(os.open(file, os.O_WRONLY | os.O_CREAT, 0o600), "w") as opened:
            os.fchmod(opened.fileno(), mode)
            done = subprocess.run(
                command, env=env, stdout=opened, stderr=subprocess.PIPE, text=True, timeout=90, check=True
            )
        assert file.read_text().count(".") == 2
    assert ("-o FILE" in done.stderr) == warned
    assert (done.stderr == "") == (not warned)


def test_why_a_token_was_revoked_is_in_the_audit_log(signing_admin: dict[str, str], signing_state: Path) -> None:
    output("token", "revoke", "--user", "una", "--reason", "left the lab", env=signing_admin)
    output("token", "revoke", "--id", "t-1", env=signing_admin)
    lines = output("audit", "--json", "--event", "administered", "--state-dir", str(signing_state), env=signing_admin)
    found = [json.loads(line) for line in lines.splitlines()]
    assert [(one.get("owner", ""), one.get("token_id", ""), one.get("reason", "")) for one in found[-2:]] == [
        ("una", "", "left the lab"),
        ("", "t-1", ""),
    ]


def test_a_link_names_the_address_that_others_use(
    signing_admin: dict[str, str], signing_server: ProgressReportingServer, tmp_path: Path
) -> None:
    given = output("token", "link", "--user", "gast", "--url", "https://lab.example:8443/", env=signing_admin).strip()
    address, _, code = given.partition("/#code=")
    assert address == "https://lab.example:8443"
    by_itself = output("token", "link", "--user", "gast", env=signing_admin).strip()
    assert by_itself.startswith(signing_server.url.replace("ws://", "http://").rstrip("/") + "/#code=")
    assert output("token", "link", "--user", "g", "--url", "wss://lab/rfm", env=signing_admin).startswith(
        "https://lab/rfm/#"
    )
    # Whatever it names, its code is one of this server.
    with Plain(signing_server.url, None) as page:
        page.say("hello", code=code, client={"name": "page", "version": "1"})
        assert page.until(lambda one: one["type"] in ("welcome", "goodbye"))["data"]["user"] == "gast"
    file = tmp_path / "link"
    assert cli("token", "link", "--user", "gast", "-o", str(file), env=signing_admin).stdout == ""
    assert (stat.S_IMODE(file.stat().st_mode), "/#code=" in file.read_text()) == (0o600, True)
