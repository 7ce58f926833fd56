"""The audit log of a real server: what happened is in it, what is secret is not, and `rfm-runtime audit` shows it."""

from __future__ import annotations

import json
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from rfm_runtime import JWTAuthenticator, ProgressReportingServer
from rfm_runtime.testing.runtime import Runtime, eventually, runtime
from tests.commands import COMMAND
from tests.plain import Plain, get
from tests.whole import KIND, QUICK

pytestmark = [pytest.mark.integration, pytest.mark.scenario("J51")]

AUTH = JWTAuthenticator("audited-secret-that-nobody-may-find-anywhere")


LATER_MS = 4_000_000_000_000
"""After everything that a test does."""


def audit(state_dir: Path, *options: str) -> list[dict[str, Any]]:
    done = subprocess.run(
        [*COMMAND, "audit", "--json", "--state-dir", str(state_dir), *options],
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_what_happened_to_a_server_is_told_in_order(tmp_path: Path) -> None:
    ann, eve, root = (
        AUTH.issue(user, [role]) for user, role in (("ann", "operator"), ("eve", "viewer"), ("root", "admin"))
    )
    wrong = "eyJ-a-token-that-is-none"
    with ProgressReportingServer(port=0, state_dir=tmp_path / "state", authenticator=AUTH) as server:
        with Plain(server.url, ann) as peer:
            request = {"operation_id": "op", "kind": KIND, "request_key": "op", "params": QUICK}
            assert peer.code_of("submit", **request) == "submit_reply"
            assert peer.code_of("pause", operation_id="op") == "ok"
            assert peer.code_of("auth_refresh", token=AUTH.issue("ann", ["viewer"], kinds=["external"])) == "ok"
            assert peer.code_of("get_operation", operation_id="op") == "unknown_operation"
            assert peer.code_of("get_operation", operation_id="nobodys") == "unknown_operation"
            assert peer.code_of("auth_refresh", token=eve) == "bad_request"
        with Plain(server.url, wrong) as stranger:
            assert stranger.heard[-1]["data"]["code"] == 4501
        with Plain(server.url, eve) as viewer:
            assert viewer.code_of("cancel_operation", operation_id="op") == "forbidden"
        assert get(server.url, "/v1/operations", wrong)[0] == 401
        assert get(server.url, "/v1/operations")[0] == 401
        with Plain(server.url, root) as admin:
            assert admin.code_of("resume", operation_id="op") == "ok"
            assert admin.code_of("cancel_operation", operation_id="op") == "cancel_reply"
            # While it runs: each is there before its answer.
            found = audit(tmp_path / "state", "--event", "acted_on_anothers")
            assert [(e["user"], e["request"], e["owner"]) for e in found] == [
                ("root", "resume", "ann"),
                ("root", "cancel_operation", "ann"),
            ]
        own = server.token
    every = audit(tmp_path / "state")
    told = [(e["event"], e.get("user", ""), e.get("request", e.get("reason", ""))) for e in every]
    assert told == [
        ("runtime_started", "", ""),
        ("signed_in", "ann", ""),
        ("token_renewed", "ann", ""),
        ("denied", "ann", "get_operation"),
        ("sign_in_refused", "ann", "wrong token"),
        ("sign_in_refused", "", "wrong token"),
        ("signed_in", "eve", ""),
        ("denied", "eve", "cancel_operation"),
        ("sign_in_refused", "", "wrong token"),
        ("sign_in_refused", "", "no token"),
        ("signed_in", "root", ""),
        ("acted_on_anothers", "root", "resume"),
        ("acted_on_anothers", "root", "cancel_operation"),
        ("runtime_stopped", "", ""),
    ]
    assert every[2]["roles"] == ["viewer"]
    assert every[2]["kinds"] == ["external"]
    assert every[3]["operation_id"] == "op"
    assert {e["address"] for e in every[1:-1]} == {"127.0.0.1"}
    everything = "".join(path.read_text(encoding="utf-8") for path in (tmp_path / "state" / "audit").iterdir())
    for secret in (ann, eve, root, own, wrong, ann.rpartition(".")[2], "audited-secret"):
        assert secret not in everything
    assert [e["event"] for e in audit(tmp_path / "state", "--user", "eve")] == ["signed_in", "denied"]
    assert audit(tmp_path / "state", "--user", "nobody") == []
    for path in (tmp_path / "state" / "audit").iterdir():
        assert path.stat().st_mode & 0o777 == 0o600


def test_what_is_refused_over_http_is_there_too(tmp_path: Path) -> None:
    narrow = AUTH.issue("ann", ["operator"], kinds=["external"])
    with ProgressReportingServer(port=0, state_dir=tmp_path / "state", authenticator=AUTH) as server:
        with Plain(server.url, AUTH.issue("ann", ["operator"])) as peer:
            request = {"operation_id": "op", "kind": KIND, "request_key": "op", "params": QUICK}
            assert peer.code_of("submit", **request) == "submit_reply"
        assert get(server.url, "/v1/operations/op", narrow)[0] == 404
        assert get(server.url, "/v1/operations/nobodys", narrow)[0] == 404
        assert get(server.url, "/v1/operations", AUTH.issue("eve", []))[0] == 403
    found = audit(tmp_path / "state", "--event", "denied")
    assert [(e["user"], e["client"], e.get("operation_id", ""), e["reason"]) for e in found] == [
        ("ann", "http", "op", "not to be seen"),
        ("eve", "http", "", "forbidden"),
    ]


@pytest.mark.scenario("G2")
def test_whose_tokens_were_revoked_and_which_session_ended_for_it(tmp_path: Path) -> None:
    with (
        ProgressReportingServer(port=0, state_dir=tmp_path / "state", authenticator=AUTH) as server,
        Plain(server.url, AUTH.issue("eve", ["viewer"])) as eve,
        Plain(server.url, server.token) as own,
    ):
        assert eve.code_of("revoke", user="ann") == "forbidden"
        assert own.code_of("revoke", user="eve") == "revoke_reply"
        assert eve.until(lambda one: one["type"] == "goodbye")["data"]["code"] == 4503
        assert own.code_of("revoke", token_id="an-id") == "revoke_reply"
    found = audit(tmp_path / "state")
    told = [
        (e["event"], e["user"], e.get("owner", "") or e.get("token_id", "") or e.get("reason", "")) for e in found[3:-1]
    ]
    assert told[0] == ("denied", "eve", "")
    assert sorted(told[1:]) == [
        ("administered", "local", "an-id"),
        ("administered", "local", "eve"),
        ("session_ended", "eve", "revoked token"),
    ]


def test_a_flood_of_refused_sign_ins_is_a_few_lines_that_count_them_all(tmp_path: Path) -> None:
    with ProgressReportingServer(port=0, state_dir=tmp_path / "state", authenticator=AUTH) as server:
        for _ in range(30):
            with Plain(server.url, "wrong") as stranger:
                assert stranger.heard[-1]["type"] == "goodbye"
    refused = audit(tmp_path / "state", "--event", "sign_in_refused", "--event", "limited")
    assert sum(e.get("count", 1) for e in refused) == 30
    assert len(refused) < 8


def test_for_people_it_is_a_line_each_and_what_others_wrote_moves_no_cursor(tmp_path: Path) -> None:
    folder = tmp_path / "audit"
    folder.mkdir()
    entry = {
        "process": "g",
        "at_ms": 4_000_000_000_000,
        "event": "denied",
        "user": "eve\x1b[2J",
        "request": "pause",
        "count": 3,
    }
    (folder / "g.jsonl").write_text(json.dumps(entry) + "\nhalf a li", encoding="utf-8")
    done = subprocess.run(
        [*COMMAND, "audit", "--state-dir", str(tmp_path)], capture_output=True, text=True, timeout=60, check=True
    )
    (line,) = done.stdout.splitlines()
    assert "denied ×3" in line
    assert "request=pause" in line
    assert "\x1b" not in line
    done = subprocess.run(
        [*COMMAND, "audit", "--event", "nothing", "--state-dir", str(tmp_path)],
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "signed_in" in done.stderr


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    with runtime(tmp_path_factory.mktemp("audited"), gateways=2, workers=1, connections_per_user=17) as started:
        yield started


def test_a_started_runtime_says_what_is_weaker_and_several_gateways_are_shown_as_one(whole: Runtime) -> None:
    for _ in range(8):
        with Plain(whole.url, whole.info.token) as peer:
            assert peer.code_of("ping") == "pong"
    state = whole.folders.state
    found = eventually(
        lambda: (
            (every := audit(state)) and sum(e.get("count", 1) for e in every if e["event"] == "signed_in") and every
        ),
        what="they are written",
    )
    assert (found[0]["event"], found[0]["process"]) == ("runtime_started", "supervisor")
    assert found[0]["weakened"] == ["connections_per_user"]
    assert [e["at_ms"] for e in found] == sorted(e["at_ms"] for e in found)
    assert {e["process"] for e in found} <= {"supervisor", "gateway-0", "gateway-1"}
    assert {(e["user"], tuple(e["roles"])) for e in found if e["event"] == "signed_in"} == {("local", ("admin",))}


def test_follow_goes_on_as_it_is_written(whole: Runtime) -> None:
    path = whole.folders.audit / "gateway-9.jsonl"

    def write(user: str) -> None:
        with path.open("a", encoding="utf-8") as file:
            file.write(json.dumps({"process": "gateway-9", "at_ms": LATER_MS, "event": "denied", "user": user}) + "\n")

    write("ann")
    process = subprocess.Popen(
        [*COMMAND, "audit", "--json", "--follow", "--event", "denied", "--state-dir", str(whole.folders.state)],
        stdout=subprocess.PIPE,
        text=True,
    )
    heard: list[str] = []

    def read() -> None:
        assert process.stdout is not None
        heard.extend(json.loads(line)["user"] for line in process.stdout)

    reader = threading.Thread(target=read)
    reader.start()
    try:
        eventually(lambda: heard == ["ann"], what="what there is is shown")
        write("bob")
        eventually(lambda: heard == ["ann", "bob"], what="what comes is shown")
        # As a process does whose file is full.
        path.replace(path.with_name("gateway-9.1.jsonl"))
        write("eve")
        eventually(
            lambda: heard == ["ann", "bob", "eve"], what="what comes after a rotation is shown, and nothing twice"
        )
    finally:
        process.terminate()
        process.wait(timeout=10)
        reader.join(timeout=10)
        if process.stdout is not None:
            process.stdout.close()
