"""Who is not let in, or may not do something, is told what is wrong, and what to do: commands and clients."""

from __future__ import annotations

import json
import sys
import time
from pathlib import Path
from subprocess import PIPE, Popen, run
from textwrap import dedent

import pytest

from rfm_runtime import Client, JWTAuthenticator, ProgressReportingServer, SecureProgressServer
from rfm_runtime.core.sessions.access import GRACE_MS
from rfm_runtime.errors import ConfigError, TokenExpiredError, UnauthorizedError, UnavailableError
from rfm_runtime.security.users import add_user
from tests.certificates import authority
from tests.commands import COMMAND, cli, environment, two_lines
from tests.tokens import SECRET, signed

pytestmark = pytest.mark.integration


@pytest.mark.scenario("A3", "J62")
def test_a_certificate_that_is_nobodys_is_named(tmp_path: Path) -> None:
    ca = authority(tmp_path / "ca")
    certificate, key = ca.client("vera")
    add_user(ca.users, "ann", "ann", ["viewer"])
    with SecureProgressServer(
        port=0,
        memory=True,
        ssl_cert_file=ca.server,
        ssl_key_file=ca.server_key,
        client_ca=ca.certificate,
        users=ca.users,
    ) as server:
        env = environment(tmp_path, RFM_URL=server.url, RFM_CA_FILE=str(ca.certificate))
        shown = ("--client-cert", str(certificate), "--client-key", str(key))
        what, hint = two_lines(cli("ps", *shown, env=env), UnauthorizedError.exit_code)
    assert "no token was shown, and the certificate of vera is nobody's here (tls_users)" in what
    assert "tls_users" in hint
    assert "RFM_TOKEN_FILE" in hint


@pytest.mark.scenario("G2", "J57")
def test_a_watch_whose_token_expires_ends_and_does_not_come_and_go(tmp_path: Path) -> None:
    auth = JWTAuthenticator(SECRET)
    with ProgressReportingServer(port=0, state_dir=tmp_path / "state", authenticator=auth) as server:
        # It is taken for some seconds yet.
        almost = signed(exp=int(time.time()) - GRACE_MS // 1000 + 5)
        done = cli("watch", "--json", env=environment(tmp_path, RFM_URL=server.url, RFM_TOKEN=almost))
    assert done.returncode == TokenExpiredError.exit_code, done
    assert done.stdout.count('"type":"live"') == 1
    assert "connected again" not in done.stderr
    assert "the token has expired" in done.stderr


@pytest.mark.scenario("G2")
def test_a_watch_whose_token_is_revoked_ends_and_says_what_to_ask_for(tmp_path: Path) -> None:
    auth = JWTAuthenticator(SECRET)
    with ProgressReportingServer(port=0, state_dir=tmp_path / "state", authenticator=auth) as server:
        env = environment(tmp_path, RFM_URL=server.url, RFM_TOKEN=signed(jti="of-ann"))
        watching = Popen([*COMMAND, "watch", "--json"], env=env, stdout=PIPE, stderr=PIPE, text=True)
        try:
            assert watching.stdout is not None
            assert "type" in json.loads(watching.stdout.readline())
            with Client(url=server.url, token=server.token) as admin:
                admin.revoke(token_id="of-ann")
            said = watching.communicate(timeout=30)[1]
        finally:
            watching.kill()
            watching.communicate()
    assert watching.returncode == UnauthorizedError.exit_code
    assert "trying again" not in said
    assert "4503: the token was revoked" in said
    assert "ask for another token" in said


@pytest.mark.scenario("J63")
def test_a_command_does_not_wait_for_what_stays_as_it_is(tmp_path: Path) -> None:
    ca = authority(tmp_path / "ca")
    with SecureProgressServer(port=0, memory=True, ssl_cert_file=ca.server, ssl_key_file=ca.server_key) as server:
        plain = server.url.replace("wss://", "ws://")
        what, hint = two_lines(cli("ps", env=environment(tmp_path, RFM_URL=plain, RFM_TOKEN="x")), 6)
    assert "does that port speak TLS" in what
    assert "within" not in what
    assert "wss://" in hint
    nowhere = environment(tmp_path, RFM_URL="wss://nobody.invalid:8765", RFM_TOKEN="x")
    what, hint = two_lines(cli("ps", env=nowhere), UnavailableError.exit_code)
    assert what.startswith("the host's name cannot be resolved")
    assert "name in the address" in hint


@pytest.mark.parametrize("command", ["ps", "status", "watch"])
@pytest.mark.parametrize("user", ["u:hunter2", "u", ":hunter2"])
def test_an_address_with_a_password_is_refused_and_not_shown(tmp_path: Path, command: str, user: str) -> None:
    env = environment(tmp_path, RFM_URL=f"wss://{user}@127.0.0.1:1/", RFM_TOKEN="x")
    done = cli(command, env=env)
    what, hint = two_lines(done, ConfigError.exit_code)
    assert "hunter2" not in done.stderr
    assert "the address of the server has a" in what
    assert "RFM_TOKEN_FILE" in hint
    with pytest.raises(ConfigError):
        Client(url=env["RFM_URL"], token="x")


def test_without_a_port_the_one_that_was_tried_is_named(tmp_path: Path) -> None:
    for url, port in (("wss://127.0.0.1", 443), ("ws://127.0.0.1/v1/ws", 80)):
        with pytest.raises(UnavailableError) as refused:
            Client(url=url, token="x", max_retries=0)
        assert f"names no port, so {port} was tried" in (refused.value.hint or "")
        assert f"{url.partition(':')[0]}://127.0.0.1:8765" in (refused.value.hint or "")
        asked = cli("status", env=environment(tmp_path, RFM_URL=url, RFM_TOKEN="x"))
        assert f"names no port, so {port} was tried" in asked.stdout, asked


def test_the_log_of_a_gateway_has_its_own_words_about_connections_alone(tmp_path: Path) -> None:
    code = """
        import logging
        logging.basicConfig(level=logging.INFO, format="%(name)s %(message)s")
        from rfm_runtime import Client, ProgressReportingServer
        with ProgressReportingServer(port=0, memory=True) as server:
            with Client(url=server.url, token=server.token):
                pass
    """
    env = environment(tmp_path)
    done = run(
        [sys.executable, "-P", "-c", dedent(code)], env=env, capture_output=True, text=True, check=True, timeout=60
    )
    assert "rfm_runtime.gateway connected" in done.stderr
    assert "rfm_runtime.wire" not in done.stderr
