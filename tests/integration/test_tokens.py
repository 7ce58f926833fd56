"""Tokens at the gateways of a started runtime: who comes in, and with what everybody else is turned away."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import connect

from rfm_runtime import Client, JWTAuthenticator
from rfm_runtime.protocol.codes import CloseCode
from rfm_runtime.testing.runtime import Runtime, runtime
from tests.tokens import SECRET, crafted, jwks, key_pair, signed

pytestmark = pytest.mark.integration

RSA, EDWARDS = key_pair("rsa"), key_pair("ed25519")
PUBLIC = jwks(main=RSA, other=EDWARDS)


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    folder = tmp_path_factory.mktemp("rt")
    secret, public = folder / "secret", folder / "keys.json"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    public.write_text(PUBLIC)
    options = {"token_secret_file": str(secret), "token_public_keys": str(public), "gateways": 2, "workers": 1}
    with runtime(folder, drain_timeout_s=1.0, **options) as started:
        yield started
        assert {"gateway-0", "gateway-1"} <= set(started.processes()), started.logs()
        assert "Traceback" not in started.logs(), started.logs()
        # Nothing that is a secret, and no token, is in what was written.
        for word in (SECRET, started.info.token, signed().partition(".")[0] + "."):
            assert word not in started.logs()


def closed_with(running: Runtime, token: str, *, header: bool) -> int:
    """The close code of a connection that shows this token in its header, or in `hello`."""
    headers = {"Authorization": f"Bearer {token}"} if header else None
    with connect(running.url, additional_headers=headers, proxy=None) as socket:
        if not header:
            socket.send(hello(token))
        with pytest.raises(ConnectionClosed) as closed:
            # Goodbye comes first.
            list(iter(lambda: socket.recv(timeout=10), None))
        assert closed.value.rcvd is not None
        return closed.value.rcvd.code


def hello(token: str) -> str:
    return json.dumps(
        {"type": "hello", "id": 1, "ts": 0, "data": {"token": token, "client": {"name": "test", "version": "1"}}}
    )


HOSTILE: dict[str, Callable[[], str]] = {
    "no token": lambda: "",
    "garbage": lambda: "a.b.c",
    "another secret": lambda: signed("x" * 32),
    "alg none": lambda: signed("", "none"),
    "alg None": lambda: crafted({"alg": "None", "typ": "JWT"}),
    "HS256 of the public keys' text": lambda: crafted({"alg": "HS256", "typ": "JWT"}, PUBLIC.encode()),
    "RS256, signed with the secret": lambda: crafted({"alg": "RS256", "typ": "JWT"}),
    "kid is a path": lambda: crafted({"alg": "HS256", "typ": "JWT", "kid": "../../../dev/null"}, b""),
    "kid is a URL": lambda: signed(key_pair("rsa"), "RS256", {"kid": "http://127.0.0.1:1/keys"}),
    "kid is huge": lambda: signed(key_pair("rsa"), "RS256", {"kid": "k" * 5000}),
    "kid is another key's": lambda: signed(RSA, "RS256", {"kid": "other"}),
    "a key in the header": lambda: signed(key_pair("rsa"), "RS256", {"jku": "http://127.0.0.1:1/keys"}),
    "no aud": lambda: signed(aud=None),
    "another aud": lambda: signed(aud="somebody"),
    "another iss": lambda: signed(iss="somebody"),
    "no iss": lambda: signed(iss=None),
    "no exp": lambda: signed(exp=None),
    "no iat": lambda: signed(iat=None),
    "no jti": lambda: signed(jti=None),
    "no sub": lambda: signed(sub=None),
    "expired": lambda: signed(exp=int(time.time()) - 60),
    "not yet valid": lambda: signed(nbf=int(time.time()) + 120),
    "issued in the future": lambda: signed(iat=int(time.time()) + 120),
    "a refresh token": lambda: signed(typ="Refresh"),
    "a refresh token, otherwise": lambda: signed(token_use="refresh"),
    "an identity token": lambda: signed(RSA, "RS256", token_use="id"),
    "critical extensions": lambda: signed(headers={"crit": ["b64"], "b64": True}),
}


@pytest.mark.scenario("G1", "J55")
@pytest.mark.parametrize("make", HOSTILE.values(), ids=HOSTILE)
def test_whoever_shows_what_is_no_token_is_turned_away(running: Runtime, make: Callable[[], str]) -> None:
    token = make()
    assert closed_with(running, token, header=False) == CloseCode.INVALID_TOKEN
    if token:
        assert closed_with(running, token, header=True) == CloseCode.INVALID_TOKEN


@pytest.mark.scenario("G1", "J55")
@pytest.mark.parametrize(
    "token",
    [
        signed,
        lambda: signed(RSA, "RS256", {"kid": "main"}),
        lambda: signed(EDWARDS, "EdDSA", {"kid": "other"}),
        lambda: JWTAuthenticator(SECRET).issue("ann", ["operator"]),
    ],
)
def test_whoever_shows_a_token_of_the_keys_is_who_it_says(running: Runtime, token: Callable[[], str]) -> None:
    with Client(url=running.url, token=token()) as client:
        assert (client.server.user, client.server.roles) == ("ann", ["operator"])
        assert client.server.token_expires_at is not None


def test_the_runtimes_own_token_stays_valid(running: Runtime) -> None:
    with Client(url=running.url, token=running.info.token) as client:
        assert client.server.roles == ["admin"]
