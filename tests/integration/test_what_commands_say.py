"""What commands say to whoever looks after a runtime: of hosts without a gateway, other servers, half an option."""

from __future__ import annotations

import json
import time
import tomllib
from pathlib import Path

import pytest

from rfm_runtime import ProgressReportingServer
from rfm_runtime.testing.hosts import free_ports
from tests.commands import cli, document, environment, output, two_lines
from tests.tokens import SECRET, signed

pytestmark = [pytest.mark.integration, pytest.mark.scenario("J84")]


@pytest.mark.scenario("J66")
def test_a_host_without_a_gateway_says_what_runs_there_and_where(tmp_path: Path) -> None:
    env = environment(tmp_path)
    output("keys", "init", env=env)
    address = f"127.0.0.1:{free_ports(4)}"
    output("broker", "--address", address, "--daemon", env=env)
    try:
        said = document("status", env=env)
        assert (said["ready"], said["url"], said["parts"], said["broker_address"]) == (True, "", "broker", address)
        assert said["detail"].startswith("running: broker;")
        assert address in said["detail"]
        what, _ = two_lines(cli("broker", "--address", address, "--daemon", env=env), 3)
        assert what == f"a runtime is already running in {env['RFM_RUNTIME_DIR']} (pid {said['pid']}, no gateway)"
    finally:
        assert cli("stop", "--now", env=env).returncode == 0


def test_stop_never_stops_another_runtime_than_the_one_that_is_named(signing_admin: dict[str, str]) -> None:
    what, hint = two_lines(cli("stop", env={**signing_admin, "RFM_URL": "wss://ann:secret@lab.example:8765"}), 2)
    assert "RFM_URL names lab.example:8765" in what
    assert "unset RFM_URL" in hint
    # Who names the folder means this machine.
    two_lines(cli("stop", "--runtime-dir", signing_admin["RFM_RUNTIME_DIR"], env=signing_admin), 3)


def test_stop_goes_on_where_both_are_the_same(tmp_path: Path) -> None:
    env = environment(tmp_path)
    started = document("start", "--workers", "1", "--daemon", env=env)
    try:
        assert output("stop", env={**env, "RFM_URL": started["url"]}).startswith("stopped")
    finally:
        cli("stop", "--now", env=env)


@pytest.mark.parametrize("by_option", [False, True])
def test_a_clients_key_without_its_certificate_is_refused(signing_admin: dict[str, str], by_option: bool) -> None:
    arguments = ("--client-key", "ann.key") if by_option else ()
    env = signing_admin if by_option else {**signing_admin, "RFM_CLIENT_KEY": "ann.key"}
    what, hint = two_lines(cli("ps", *arguments, env=env), 2)
    assert "no certificate that it is of" in what
    assert "--client-cert" in hint


def test_until_when_a_users_tokens_are_revoked_is_said_and_written_down(
    signing_admin: dict[str, str], signing_state: Path
) -> None:
    before_ms = int((time.time() - 3600) * 1000)
    text = time.strftime("%Y-%m-%dT%H:%M:%S", time.localtime(before_ms / 1000))
    said = output("token", "revoke", "--user", "vera", "--issued-before", text, env=signing_admin)
    assert f"tokens of vera issued before {text[-8:]}" in said.replace(f"{text[:10]} ", "")
    output("token", "revoke", "--user", "vera", env=signing_admin)
    lines = output("audit", "--json", "--event", "administered", "--state-dir", str(signing_state), env=signing_admin)
    first, second = [one for one in map(json.loads, lines.splitlines()) if one.get("owner") == "vera"]
    assert first["issued_before_ms"] == before_ms // 1000 * 1000
    assert "issued_before_ms" not in second
    # Nobody here knows whether there are such tokens.
    assert "refused from now on" in output("token", "revoke", "--id", "abc", env=signing_admin)
    shown = output("audit", "--event", "administered", "--state-dir", str(signing_state), env=signing_admin)
    assert f"issued_before={text}" in shown


def test_a_token_that_has_expired_need_not_be_revoked(signing_admin: dict[str, str], tmp_path: Path) -> None:
    file = tmp_path / "old.token"
    file.write_text(signed(exp=int(time.time()) - 3600))
    what, hint = two_lines(cli("token", "revoke", str(file), env=signing_admin), 2)
    assert "has expired" in what
    assert "lets nobody in any more" in hint
    assert "milliseconds" not in hint


def test_a_weak_secret_is_warned_of_by_whoever_issues_with_it(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.touch(mode=0o600)
    env = environment(tmp_path, RFM_TOKEN_SECRET_FILE=str(secret))
    secret.write_text("short")
    issued = cli("token", "issue", "--user", "ann", env=env)
    assert (issued.returncode, issued.stdout.count(".")) == (0, 2)
    assert "shorter than 32 bytes" in issued.stderr
    secret.write_text(SECRET)
    assert cli("token", "issue", "--user", "ann", env=env).stderr == ""


def test_what_a_client_certificate_takes_can_be_pasted_into_the_settings(tmp_path: Path) -> None:
    env = environment(tmp_path)
    output("certs", "init", "--host", "localhost", env=env)
    said = output("certs", "client", "ann", "--role", "operator", env=env)
    before, _, lines = said.partition("settings file (")
    assert f"{env['HOME']}/.config/rfm-runtime/config.toml" in lines.splitlines()[0]
    assert "user:    ann: operator" in before
    found = tomllib.loads("\n".join(lines.splitlines()[1:]))
    assert set(found) == {"tls_client_ca", "tls_client_crl", "tls_users"}
    assert all(Path(path).is_file() for path in found.values())


def test_what_a_missing_file_of_a_token_needs_is_said(signing_server: ProgressReportingServer, tmp_path: Path) -> None:
    env = environment(tmp_path, RFM_URL=signing_server.url, RFM_TOKEN_FILE=str(tmp_path / "none"))
    _, hint = two_lines(cli("ps", env=env), 2)
    assert "RFM_TOKEN_FILE" in hint


def test_who_may_not_is_told_what_in_words(signing_server: ProgressReportingServer, tmp_path: Path) -> None:
    token = tmp_path / "vera.token"
    token.write_text(signed(sub="vera", roles=["viewer"]))
    env = environment(tmp_path, RFM_URL=signing_server.url, RFM_TOKEN_FILE=str(token))
    what, _ = two_lines(cli("token", "revoke", "--user", "ann", env=env), 5)
    assert what == "vera (viewer) may not revoke tokens"


def test_a_long_life_of_a_token_is_warned_of(tmp_path: Path) -> None:
    env = environment(tmp_path, RFM_TOKEN_SECRET=SECRET)
    assert "valid for 9999 d" in cli("token", "issue", "--user", "ann", "--lifetime", "9999d", env=env).stderr
    assert cli("token", "issue", "--user", "ann", "--lifetime", "30d", env=env).stderr == ""


def test_two_secrets_are_one_too_many(tmp_path: Path) -> None:
    env = environment(tmp_path, RFM_TOKEN_SECRET=SECRET, RFM_TOKEN_SECRET_FILE=str(tmp_path / "secret"))
    what, hint = two_lines(cli("token", "issue", "--user", "ann", env=env), 2)
    assert "two secrets" in what
    assert "unset RFM_TOKEN_SECRET" in hint
    assert SECRET not in what + hint


def test_names_that_a_new_certificate_lacks_are_said(tmp_path: Path) -> None:
    env = environment(tmp_path)
    assert cli("certs", "init", "--host", "old.lab", "--host", "both.lab", env=env).stderr == ""
    again = cli("certs", "init", "--host", "new.lab", "--host", "both.lab", env=env)
    assert again.returncode == 0
    assert "no longer for old.lab; for all:" in again.stderr
    assert "certs init --host new.lab --host both.lab --host old.lab" in again.stderr


def test_this_hosts_own_key_is_not_another_hosts(tmp_path: Path) -> None:
    env = environment(tmp_path)
    key = output("keys", "init", env=env).strip()
    what, hint = two_lines(cli("keys", "allow", "front", key, env=env), 2)
    assert "of this host itself" in what
    assert "on front" in hint
    output("keys", "allow", "front", "1" * 64, env=env)
    assert "allowed already, as front" in two_lines(cli("keys", "allow", "east", "1" * 64, env=env), 2)[0]


@pytest.mark.parametrize(
    ("variable", "value", "takes"),
    [
        ("RFM_QUOTA_RUNNING", "x", "a whole number of 0 or more"),
        ("RFM_PORT", "70000", "a whole number from 0 to 65535"),
        ("RFM_ALLOW_INSECURE", "maybe", "true or false"),
        ("RFM_MAX_HZ", "0", "a number above 0 and up to 60"),
    ],
)
def test_a_setting_says_what_it_takes(tmp_path: Path, variable: str, value: str, takes: str) -> None:
    what, _ = two_lines(cli("config", "show", env=environment(tmp_path, **{variable: value})), 2)
    assert what.endswith(f"(environment {variable}): it has to be {takes}")


@pytest.mark.parametrize(
    ("value", "takes"),
    [("0", "1 or more"), ("99999", "3650 or less"), ("x", "a whole number"), ("1.5", "a whole number")],
)
def test_an_option_says_what_it_takes(tmp_path: Path, value: str, takes: str) -> None:
    what, _ = two_lines(cli("certs", "init", "--days", value, env=environment(tmp_path)), 2)
    assert what == f"Invalid value for '--days': it has to be {takes}"
