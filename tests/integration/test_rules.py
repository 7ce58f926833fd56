"""Rules of notifications with a real server: kept for each user, through restarts and backups, and by the command."""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from rfm_runtime import AsyncClient, Client, JWTAuthenticator, ProgressReportingServer
from rfm_runtime.core.notifying.rules import DEFAULTS
from rfm_runtime.errors import BadRequestError, ConflictError
from rfm_runtime.protocol.notifying import Quiet, Rule, Rules
from rfm_runtime.store.backup import backup, restore
from rfm_runtime.testing.hosts import free_ports

pytestmark = [pytest.mark.integration, pytest.mark.scenario("E12", "J118")]

AUTHENTICATOR = JWTAuthenticator(secret_key="0123456789abcdef0123456789abcdef")
ANN, BOB = (AUTHENTICATOR.issue(user, ["viewer"]) for user in ("ann", "bob"))
MINE = Rules(
    rules=(Rule(rule_id="mine", name="Nächte", when=("failed",), voice=True),),
    quiet=(Quiet(from_minute=1320, to_minute=420),),
)


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state-home"))
    monkeypatch.setenv("RFM_RUNTIME_DIR", str(tmp_path / "none"))
    return tmp_path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "state"


@pytest.fixture
def server(folder: Path) -> Iterator[ProgressReportingServer]:
    port = free_ports(1)
    with ProgressReportingServer(port=port, state_dir=folder, authenticator=AUTHENTICATOR) as running:
        yield running


def test_each_user_has_his_own_and_they_outlive_the_server(server: ProgressReportingServer) -> None:
    with Client(server.url, ANN) as ann, Client(server.url, BOB) as bob:
        assert (ann.rules().version, ann.rules().rules) == (0, DEFAULTS)
        kept = ann.set_rules(MINE, 0)
        assert ann.rules() == kept
        assert bob.rules().rules == DEFAULTS
        with pytest.raises(ConflictError, match="changed meanwhile"):
            ann.set_rules(Rules(), 0)
        with pytest.raises(BadRequestError, match="two rules have the id 'mine'"):
            ann.set_rules(Rules(rules=MINE.rules * 2), kept.version)
    server.stop()
    server.start()
    with Client(server.url, ANN) as ann:
        assert ann.rules() == kept
        assert ann.set_rules(None, kept.version).version == 0
        assert ann.rules().rules == DEFAULTS


def test_other_windows_of_the_user_are_told(server: ProgressReportingServer) -> None:
    async def changed() -> None:
        told: asyncio.Queue[int] = asyncio.Queue()
        of_bob: list[int] = []
        async with (
            AsyncClient(server.url, ANN, on_rules=told.put_nowait),
            AsyncClient(server.url, BOB, on_rules=of_bob.append),
            AsyncClient(server.url, ANN) as writer,
        ):
            kept = await writer.set_rules(MINE, 0)
            assert await told.get() == kept.version
            gone = await writer.set_rules(None, kept.version)
            assert await told.get() == gone.version == 0
        assert of_bob == []

    asyncio.run(asyncio.wait_for(changed(), 30.0))


def test_a_backup_has_them(server: ProgressReportingServer, folder: Path, tmp_path: Path) -> None:
    with Client(server.url, ANN) as ann:
        kept = ann.set_rules(MINE, 0)
        backup(folder / "journal.db", tmp_path / "copy.db")
        ann.set_rules(Rules(), kept.version)
    server.stop()
    restore(tmp_path / "copy.db", folder / "journal.db")
    server.start()
    with Client(server.url, ANN) as ann:
        assert ann.rules() == kept


def test_a_server_without_a_journal_keeps_them_while_it_runs() -> None:
    with ProgressReportingServer(port=0, memory=True) as running, Client(running.url, running.token) as client:
        kept = client.set_rules(MINE, 0)
        assert client.rules() == kept


@pytest.mark.scenario("J121")
def test_the_command(server: ProgressReportingServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    token = tmp_path / "token"
    token.touch(0o600)
    token.write_text(ANN)
    monkeypatch.setenv("RFM_URL", server.url)
    monkeypatch.setenv("RFM_TOKEN_FILE", str(token))

    def run(*arguments: str, said: str = "") -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-P", "-m", "rfm_runtime.cli", "rules", *arguments]
        return subprocess.run(command, check=False, input=said, capture_output=True, text=True, timeout=60)

    shown = run("show").stdout.splitlines()
    assert shown[:2] == [
        "These are the rules that everybody has at first.",
        "What is mine has failed: When what is mine fails: toast, tray and sound",
    ]
    file = run("show", "--toml").stdout
    changed = file.replace("sound = true", "sound = true\nvoice = true") + '\n[[quiet]]\nfrom = "22:00"\nto = "7:00"\n'
    assert run("set", "-", said=changed).stdout == "3 rules and 1 range of quiet hours are kept\n"
    kept = json.loads(run("show", "--json").stdout)
    assert kept["version"] > 0
    assert [rule["voice"] for rule in kept["rules"]] == [True, False, False]
    assert "Quiet: 22:00 to 07:00, every day" in run("show").stdout

    wrong = tmp_path / "wrong.toml"
    wrong.write_text('[[rule]]\nrule_id = "a"\nwhen = ["fails"]\n')
    refused = run("set", str(wrong))
    assert (refused.returncode, refused.stdout) == (2, "")
    assert "rule 1 ('a'): Invalid enum value 'fails' in `when[0]`" in refused.stderr
    assert "cannot be read: No such file" in run("set", str(tmp_path / "none.toml")).stderr

    assert json.loads(run("reset", "--json").stdout)["version"] == 0
    assert run("show").stdout.splitlines() == shown
