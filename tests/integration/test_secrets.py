"""A whole life with secrets in it, also in odd places: all that it wrote, said or showed is searched for them."""

from __future__ import annotations

import base64
import contextlib
import http.client
import json
import logging
import os
import stat
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import pytest
from websockets.exceptions import InvalidHandshake, WebSocketException
from websockets.sync.client import connect

from rfm_runtime import Client, ProgressReporter, ProgressReportingServer
from rfm_runtime.client.connection_file import ConnectionInfo
from rfm_runtime.testing.runtime import eventually
from tests.commands import COMMAND, cli, environment
from tests.programs import Script
from tests.tokens import signed
from tests.whole import KIND, QUICK

pytestmark = [pytest.mark.integration, pytest.mark.timeout(240)]

SECRET = "f3c1b6a9d07e4852b1ce6f0a9d8b7c6e5f4a3b2c1d0e9f8a7b6c5d4e3f2a1b0c"
ODD = "Zq8-odd_secret-3vK1"
"""What somebody may have typed in the wrong place."""


@pytest.fixture(autouse=True)
def no_script_is_left() -> Iterator[None]:
    yield
    Script.kill_all()


class Life:
    """A runtime as a user starts it, at the log level that says most, with the mask that hides least."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(exist_ok=True)
        file = folder / "secret"
        file.write_text(SECRET)
        file.chmod(0o600)
        self.env = environment(folder, RFM_LOG_LEVEL="debug", RFM_TOKEN_SECRET_FILE=str(file), RFM_WORKERS="1")
        # By its commands, and to those who asked.
        self.said: list[str] = []
        self.answers: list[str] = []
        self.state, self.run = folder / "state", folder / "run"

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        done = cli(*arguments, env=self.env, cwd=self.folder)
        self.said += [done.stdout, done.stderr]
        return done

    @property
    def info(self) -> ConnectionInfo:
        return ConnectionInfo.read(self.run / "connection.json")

    def ask(self, path: str, **headers: str) -> int:
        """An answer in HTTP, which is kept."""
        where = urlsplit(self.info.url)
        asked = http.client.HTTPConnection(where.hostname, where.port, timeout=10)
        try:
            asked.request("GET", path, headers=headers)
            answer = asked.getresponse()
            self.answers += [str(answer.headers), answer.read().decode("utf-8", "replace")]
            return answer.status
        finally:
            asked.close()

    def arguments(self) -> str:
        """What `ps` shows of all its processes."""
        supervisor = psutil.Process(self.info.pid)
        return "\n".join(" ".join(p.cmdline()) for p in [supervisor, *supervisor.children(recursive=True)])


def files(*folders: Path) -> Iterator[Path]:
    for folder in folders:
        yield from (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def found(secrets: dict[str, str], texts: dict[str, bytes]) -> list[str]:
    """Which secret is where, as it is and as it may be written elsewhere."""
    lines = []
    for name, secret in secrets.items():
        ways = {secret.encode(), base64.b64encode(secret.encode()).rstrip(b"="), secret.encode().hex().encode()}
        lines += [f"{name} in {place}" for place, text in texts.items() if any(way in text for way in ways)]
    return lines


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    life = Life(tmp_path / "life")
    yield life
    cli("stop", "--now", env=life.env)


def sign_in_everywhere(life: Life, tokens: dict[str, str]) -> None:
    """Each token, good or bad, in its place and in places where it does not belong."""
    url = life.info.url
    for token in tokens.values():
        life.ask("/v1/operations", Authorization=f"Bearer {token}")
        life.ask(f"/v1/operations?token={token}", Authorization=f"Basic {token}", Cookie=f"t={token}")
        life.ask(f"/v1/operations/{token}", Authorization=f"Bearer {life.info.token}", X_Api_Key=token)
        life.ask(f"/{token}", Referer=f"http://localhost/?t={token}")
        life.ask("/healthz", Host=token, Origin=f"http://{token}")
        said: list[object] = [
            {"type": "hello", "data": {"token": token, "client": {"name": token, "version": token}}},
            {"type": token, "id": 1},
            {"type": "get_operation", "data": {"operation_id": token}},
            {"type": "cancel_operation", "data": {"operation_id": token, "reason": token}},
            {"type": "auth_refresh", "data": {"token": token}},
            {"type": "subscribe", "data": {"operations": token}},
            token,
        ]
        with (
            contextlib.suppress(OSError, WebSocketException, TimeoutError, EOFError),
            connect(f"{url}/?token={token}", subprotocols=["rfm.v1.json"], user_agent_header=token) as one,
        ):
            for message in said:
                one.send(json.dumps(message))
            for _ in said:
                one.recv(timeout=1.0)
        with pytest.raises((InvalidHandshake, OSError)):
            connect(url, additional_headers={"Authorization": f"Bearer {token}", "Origin": f"https://{token}"})


@pytest.mark.scenario("G10")
def test_no_secret_is_in_anything_that_a_whole_life_wrote(life: Life) -> None:
    assert life.command("start", "--daemon").returncode == 0
    own = life.info.token
    good = signed(SECRET, sub="ann", roles=["operator"], jti="jti-good")
    tokens = {
        "good": good,
        "expired": signed(SECRET, exp=int(time.time()) - 3600, jti="jti-expired"),
        "of another secret": signed("0" * 64, jti="jti-other"),
        "odd": ODD,
    }
    secrets = {"the signing secret": SECRET, "the runtime's own token": own, **tokens}
    arguments = [life.arguments()]

    sign_in_everywhere(life, {**tokens, "own": own})
    with Client(url=life.info.url, token=good) as client:
        assert client.submit(KIND, QUICK).wait(60) == "completed"
    script = Script(
        "from rfm_runtime import track\nfor _ in track(range(3), desc='told'):\n    pass\n",
        {**life.env, "RFM_URL": life.info.url, "RFM_TOKEN": good, "PYTHONPATH": os.pathsep.join(os.sys.path)},
    )
    life.said += [str(part) for part in script.end()]

    # Crashes: killed, and by a fault that dumps what there is.
    supervisor = psutil.Process(life.info.pid)
    for name, number in (("broker", 9), ("gateway-0", 6)):
        process = next(p for p in supervisor.children() if name in p.cmdline())
        process.send_signal(number)
        process.wait(10)
        eventually(lambda: life.command("status", "--json").returncode == 0, timeout_s=30, what=f"{name} is back")
    arguments.append(life.arguments())

    for command in (
        ("status",),
        ("status", "--json"),
        ("doctor",),
        ("doctor", "--json"),
        ("config", "show", "--origin"),
        ("config", "show", "--json"),
        ("ps", "--json"),
        ("history", "--json"),
        ("audit", "--json"),
        ("logs",),
        ("report", "--since", "1d", "-o", "report.html"),
        ("report", "--since", "1d", "-o", "report.json"),
        ("db", "status", "--json"),
        ("show", ODD),
        ("cancel", ODD),
        ("errors", "--json"),
        ("permissions", "--json"),
    ):
        life.command(*command)
    assert life.ask("/metrics") == 200
    assert life.ask("/readyz") == 200
    assert life.command("stop").returncode == 0
    arguments.append(str(COMMAND))

    homes = {life.folder / "secret", life.run / "token", life.run / "connection.json"}
    texts = {str(path): path.read_bytes() for path in files(life.folder) if path not in homes}
    assert any("gateway-0.log" in path for path in texts)
    assert any(text for path, text in texts.items() if "audit" in path), "there is an audit log"
    texts |= {f"output {number}": text.encode() for number, text in enumerate(life.said)}
    texts |= {f"ps {number}": text.encode() for number, text in enumerate(arguments)}
    # What has no shape and is nobody's secret is what it looks like, a name: the search itself finds something.
    assert found({"odd": secrets.pop("odd")}, texts)
    assert not found(secrets, texts)
    # What was sent in place of a name is repeated to who sent it, except what only we know.
    answers = {f"answer {number}": text.encode() for number, text in enumerate(life.answers)}
    assert not found({"the signing secret": SECRET}, answers)


@pytest.mark.scenario("G10")
def test_a_program_that_logs_everything_logs_no_token(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state-home"))
    monkeypatch.setenv("RFM_RUNTIME_DIR", str(tmp_path / "none"))
    with caplog.at_level(logging.DEBUG), ProgressReportingServer(port=0, memory=True) as server:
        with ProgressReporter("job", "logged") as reporter, Client(url=server.url, token=server.token) as client:
            reporter.report_progress(50)
            eventually(client.operations, what="what is reported is seen")
        token = server.token
    assert caplog.records, "it does log"
    assert token not in caplog.text
    assert [record.name for record in caplog.records if token in f"{record.args} {record.__dict__}"] == []


# --- files ----------------------------------------------------------------------------------------


def open_to_others(*folders: Path) -> dict[str, str]:
    """What others may do with something, by its path; sockets lie in a folder that is closed."""
    opened = {}
    for folder in folders:
        for path in (folder, *folder.rglob("*")):
            found = path.lstat()
            is_plain = stat.S_ISREG(found.st_mode) or stat.S_ISDIR(found.st_mode)
            if is_plain and stat.S_IMODE(found.st_mode) & 0o077:
                opened[str(path)] = oct(stat.S_IMODE(found.st_mode))
    return opened


@pytest.mark.scenario("G11", "J73")
def test_everything_is_its_users_alone_whatever_the_umask_and_what_was_open_is_closed(life: Life) -> None:
    def lived(*more: tuple[str, ...]) -> None:
        before = os.umask(0)
        try:
            assert life.command("start", "--daemon").returncode == 0
            assert life.command("render", "seahorse", "--size", "64x64", "-o", "s.png", "--force").returncode == 0
            assert life.command("db", "backup").returncode == 0
            for command in more:
                assert life.command(*command).returncode == 0
        finally:
            os.umask(before)

    lived(("keys", "init"), ("certs", "init", "--host", "localhost"))
    public = {str(life.state / "certs" / "ca.pem")}
    assert not set(open_to_others(life.state, life.run)) - public
    assert life.command("stop").returncode == 0
    # As a copy without modes leaves it, or an earlier release, or somebody who meant well.
    for path in (life.state, life.run, *life.state.rglob("*")):
        path.chmod(0o777 if path.is_dir() else 0o666)
    assert str(life.state / "journal.db") in open_to_others(life.state)
    lived()
    still = set(open_to_others(life.state, life.run))
    top = {str(path) for path in life.state.iterdir()}
    assert str(life.state) not in still
    assert not still & top, "what lies in the state folder itself is closed"
    assert not {path for path in still if path.endswith(".key") or "/keys/" in path}, "and so are keys"
    logged = (life.state / "logs" / "supervisor.log").read_text()
    assert "was_open_to_others" in logged
    assert "journal.db" in logged


@pytest.mark.scenario("G11", "J73")
def test_a_state_folder_with_other_things_in_it_stays_as_it_is_and_ours_in_it_are_closed(life: Life) -> None:
    life.state.mkdir(mode=0o755)
    (life.state / "thesis.tex").write_text("mine")
    (life.state / "thesis.tex").chmod(0o644)
    assert life.command("start", "--daemon").returncode == 0
    opened = open_to_others(life.state)
    assert set(opened) == {str(life.state), str(life.state / "thesis.tex")}


@pytest.mark.scenario("G11", "J73")
def test_a_server_in_a_program_with_a_lax_mask_keeps_its_files_to_itself(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state-home"))
    monkeypatch.setenv("RFM_RUNTIME_DIR", str(tmp_path / "none"))
    before = os.umask(0)
    try:
        with (
            ProgressReportingServer(port=0, state_dir=tmp_path / "state") as server,
            ProgressReporter("job", "x") as reporter,
        ):
            reporter.report_progress(50)
            assert not open_to_others(tmp_path / "state", server.runtime_dir)
    finally:
        os.umask(before)
