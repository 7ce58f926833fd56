"""Who is not let in, or may not do something, is told what is wrong, and what to do: commands and clients."""

from __future__ import annotations

import json
from pathlib import Path
from subprocess import PIPE, Popen

import pytest

from rfm_runtime import Client, JWTAuthenticator, ProgressReportingServer, SecureProgressServer
from rfm_runtime.errors import UnauthorizedError
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
