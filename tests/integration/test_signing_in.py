"""How clients sign in besides by the token they begin with: by the code of a link, and by a fresh token as they go."""

from __future__ import annotations

import hashlib
import secrets
import time
from pathlib import Path

import pytest

from rfm_runtime import Client, ProgressReportingServer
from rfm_runtime.errors import BadRequestError, InsecureUrlError, TokenExpiredError, UnauthorizedError
from rfm_runtime.protocol.sign_in import SignInLink
from rfm_runtime.testing.runtime import eventually
from tests.tokens import signed

pytestmark = [pytest.mark.integration, pytest.mark.scenario("J110", "G2")]

GRACE_S = 25
"""So long after its end a token is taken still, and a session goes on."""


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """No runtime of this machine is found, and no settings for another."""
    monkeypatch.setenv("RFM_RUNTIME_DIR", str(tmp_path / "none"))
    for name in ("RFM_URL", "RFM_TOKEN", "RFM_TOKEN_FILE"):
        monkeypatch.delenv(name, raising=False)


def link(server: ProgressReportingServer, user: str) -> str:
    """A code for somebody."""
    code = secrets.token_urlsafe(32)
    with Client(url=server.url, token=signed(sub="root", roles=["admin"])) as admin:
        digest = hashlib.sha256(code.encode()).hexdigest()
        admin.sign_in_link(SignInLink(digest=digest, user=user, roles=["operator"]))
    return code


def test_a_code_is_said_once_and_its_token_finds_the_server_again(signing_server: ProgressReportingServer) -> None:
    code = link(signing_server, "eve")
    with Client(url=signing_server.url, code=code, initial_delay=0.05) as client:
        assert client.server is not None
        session = client.server.session
        assert (client.server.user, client.operations()) == ("eve", [])
        # A connection that breaks: the code has been used up by then.
        client.call(client._async._connection._socket.close())
        eventually(
            lambda: client.state == "live" and client.server.session != session, what="another session of the same"
        )
        assert client.server.user == "eve"
    with pytest.raises(UnauthorizedError):
        Client(url=signing_server.url, code=code, initial_delay=0.05)


def test_a_code_is_not_for_everybody_to_read() -> None:
    with pytest.raises(InsecureUrlError):
        Client(url="ws://192.0.2.1:8765", code="secret")


def test_a_fresh_token_goes_on_where_the_one_before_would_have_ended(signing_server: ProgressReportingServer) -> None:
    with Client(url=signing_server.url, token=signed(exp=int(time.time()) - GRACE_S + 3)) as client:
        session = client.server.session
        began_s = time.monotonic()
        with pytest.raises(BadRequestError, match="same user"):
            client.refresh_token(signed(sub="bob"))
        with pytest.raises(TokenExpiredError):
            client.refresh_token(signed(exp=int(time.time()) - 3600))

        client.refresh_token(signed())

        eventually(lambda: time.monotonic() - began_s > 5.0, what="the first one has ended")
        assert client.operations() == []
        assert client.server.session == session
