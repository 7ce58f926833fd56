"""A token that was valid once is said to have expired, to whoever has it: by every way in, and in words that help."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from rfm_runtime import Client, JWTAuthenticator, ProgressReportingServer
from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.errors import TokenExpiredError
from rfm_runtime.protocol.codes import CLOSE_REASONS, CloseCode
from tests.commands import cli, environment, two_lines
from tests.plain import Plain, get
from tests.tokens import SECRET, signed

pytestmark = [pytest.mark.integration, pytest.mark.scenario("G1", "J75")]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ProgressReportingServer]:
    folder = tmp_path_factory.mktemp("expired")
    with ProgressReportingServer(port=0, state_dir=folder / "state", authenticator=JWTAuthenticator(SECRET)) as started:
        yield started


def farewell(url: str, token: str, *, header: bool) -> tuple[int, str, int]:
    """Code and reason of the goodbye, and the code of the close."""
    shown = {"Authorization": f"Bearer {token}"} if header else {}
    with connect(url, additional_headers=shown, proxy=None) as socket:
        if not header:
            client = {"name": "test", "version": "1"}
            socket.send(json.dumps({"type": "hello", "id": 1, "ts": 0, "data": {"token": token, "client": client}}))
        said = json.loads(socket.recv(timeout=10))
        said = said[-1] if isinstance(said, list) else said
        with pytest.raises(ConnectionClosed) as closed:
            socket.recv(timeout=10)
    assert said["type"] == "goodbye"
    assert closed.value.rcvd is not None
    return said["data"]["code"], said["data"]["reason"], closed.value.rcvd.code


def past(**changes: object) -> str:
    """Of an hour ago, and right in everything else unless a test changes it."""
    return signed(**{"exp": int(time.time()) - 3600, **changes})


@pytest.mark.parametrize("header", [True, False])
def test_it_is_told_to_have_expired_with_the_code_for_it(server: ProgressReportingServer, header: bool) -> None:
    why = CLOSE_REASONS[CloseCode.TOKEN_EXPIRED]
    assert farewell(server.url, past(), header=header) == (4003, why, CloseCode.TOKEN_EXPIRED)


@pytest.mark.parametrize("header", [True, False])
@pytest.mark.parametrize(
    "token", [signed("x" * 32, exp=1), signed("", "none", exp=1), signed(exp=1)[:-4] + "AAAA", signed(aud="somebody")]
)
def test_of_what_nobody_here_has_signed_it_is_not_said(
    server: ProgressReportingServer, token: str, header: bool
) -> None:
    assert farewell(server.url, token, header=header)[0::2] == (4501, CloseCode.INVALID_TOKEN)
    status, said, headers = get(server.url, "/v1/operations", token)
    assert (status, said, headers["WWW-Authenticate"]) == (401, "a token is needed as bearer\n", "Bearer")


def test_a_plain_request_is_told_as_the_standard_has_it(server: ProgressReportingServer) -> None:
    status, said, headers = get(server.url, "/v1/operations", past())
    assert status == 401
    assert headers["WWW-Authenticate"] == 'Bearer error="invalid_token", error_description="the token has expired"'
    assert said["code"] == "token_expired"
    assert "rfm-runtime token issue" in said["hint"]
    # What everybody may ask for is answered, whatever is shown.
    assert get(server.url, "/healthz", past())[0] == 200


def test_a_session_that_is_shown_an_expired_one_goes_on_and_is_told(server: ProgressReportingServer) -> None:
    with Plain(server.url, signed()) as peer:
        assert peer.code_of("auth_refresh", token=past()) == "token_expired"
        assert peer.code_of("auth_refresh", token=signed("x" * 32, exp=1)) == "bad_request"
        assert peer.code_of("ping") == "pong"


def test_a_client_raises_what_it_is_and_does_not_show_it_again(server: ProgressReportingServer) -> None:
    token, asked = past(), []

    def cached() -> str:
        asked.append("")
        return token

    with pytest.raises(TokenExpiredError, match="has expired"):
        Client(url=server.url, token=token)
    with pytest.raises(TokenExpiredError, match="has expired"):
        Client(url=server.url, token=token, get_token=cached, initial_delay=0.05)
    assert len(asked) == 1
    with Client(url=server.url, token=token, get_token=signed, initial_delay=0.05) as client:
        assert client.server.user == "ann"


def test_a_command_says_it_in_two_lines_and_with_what_to_do(server: ProgressReportingServer, tmp_path: Path) -> None:
    token = tmp_path / "ann.token"
    token.write_text(past())
    env = environment(tmp_path, RFM_URL=server.url, RFM_TOKEN_FILE=str(token))
    what, hint = two_lines(cli("ps", env=env), 5)
    assert what == "the token has expired"
    assert "sign in again" in hint
    assert "rfm-runtime token issue" in hint


def test_who_comes_with_too_many_of_them_has_to_wait_like_one_who_guesses(tmp_path: Path) -> None:
    auth = JWTAuthenticator(SECRET)
    with ProgressReportingServer(port=0, state_dir=tmp_path / "state", authenticator=auth) as server:
        codes = [farewell(server.url, past(), header=True)[0] for _ in range(130)]
        assert set(codes) == {CloseCode.TOKEN_EXPIRED, CloseCode.RATE_LIMITED}
    audit = "".join(path.read_text() for path in (tmp_path / "state" / "audit").iterdir())
    assert '"reason":"expired token"' in audit.replace(": ", ":")


def test_a_programs_own_authenticator_can_say_so_too() -> None:
    class Book:
        """Of tokens in a book, where those that are over stay."""

        def authenticate(self, token: str) -> Grant | None:
            if token == "old":
                raise TokenExpiredError("of last week")
            return None

    with ProgressReportingServer(port=0, memory=True, authenticator=Book()) as server:
        for header in (True, False):
            assert farewell(server.url, "old", header=header)[0] == CloseCode.TOKEN_EXPIRED
            assert farewell(server.url, "none", header=header)[0] == CloseCode.INVALID_TOKEN
