"""`rfm-runtime keys` as users run it."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tests.commands import cli, document, environment, output, two_lines

pytestmark = [pytest.mark.integration, pytest.mark.scenario("J65")]


def test_two_hosts_are_introduced_by_copy_and_paste(tmp_path: Path) -> None:
    left, right = environment(tmp_path / "left"), environment(tmp_path / "right")
    keys = {name: output("keys", "init", env=env).strip() for name, env in (("left", left), ("right", right))}
    assert output("keys", "show", env=left).strip() == keys["left"]
    assert document("keys", "show", env=left) == {"key": keys["left"]}
    assert cli("keys", "list", env=left).stdout == ""
    assert "may connect" in output("keys", "allow", "right", keys["right"].upper(), env=left)
    assert document("keys", "list", env=left) == {"allowed": {"right": keys["right"]}}
    assert keys["right"] in output("keys", "list", env=left)
    assert "not connect any more" in output("keys", "revoke", "right", env=left)
    assert document("keys", "list", env=left) == {"allowed": {}}
    told = document("keys", "allow", "right", keys["right"], env=left)
    assert told == {"host": "right", "key": keys["right"], "allowed": True}
    assert document("keys", "revoke", "right", env=left) == {"host": "right", "allowed": False}
    folder = tmp_path / "left" / "state" / "keys"
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700
    assert {stat.S_IMODE(path.stat().st_mode) for path in folder.iterdir()} == {0o600}


@pytest.mark.scenario("G10")
def test_what_is_wrong_is_said_with_what_to_do_and_no_secret_is_shown(tmp_path: Path) -> None:
    env = environment(tmp_path)
    assert "keys init" in two_lines(cli("keys", "show", env=env), 2)[1]
    shown = [cli("keys", "init", env=env)]
    for arguments in (["init"], ["allow", "left", "abc"], ["allow", "a b", "1" * 64], ["revoke", "left"]):
        shown.append(cli("keys", *arguments, env=env))
        two_lines(shown[-1], 2)
    shown += [cli("keys", "show", env=env), cli("keys", "list", "--json", env=env), cli("config", "show", env=env)]
    secret = (tmp_path / "state" / "keys" / "own.secret").read_text().strip()
    assert len(secret) == 64
    assert all(secret not in done.stdout + done.stderr for done in shown)
