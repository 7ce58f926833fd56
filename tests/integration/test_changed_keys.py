"""Keys and users that are taken back at the gateways of a started runtime: whoever used them is out, others stay."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
from websockets.exceptions import ConnectionClosed
from websockets.sync.client import ClientConnection, connect

from rfm_runtime import Client, JWTAuthenticator
from rfm_runtime.protocol.codes import CloseCode
from rfm_runtime.protocol.sign_in import SignInLink
from rfm_runtime.security.rotation import rotate
from rfm_runtime.testing.runtime import Runtime, eventually, runtime
from tests.tokens import SECRET, jwks, key_pair, signed

pytestmark = pytest.mark.integration

RSA, EDWARDS = key_pair("rsa"), key_pair("ed25519")


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Runtime]:
    secret, public = tmp_path / "secret", tmp_path / "keys.json"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    replaced(public, jwks(rsa=RSA, edwards=EDWARDS))
    options = {"token_secret_file": str(secret), "token_public_keys": str(public), "gateways": 2, "workers": 1}
    with runtime(tmp_path, drain_timeout_s=1.0, **options) as started:
        yield started
        assert "Traceback" not in started.logs(), started.logs()


def replaced(path: Path, text: str) -> None:
    other = path.with_suffix(".new")
    other.write_text(text)
    other.chmod(0o644)
    other.replace(path)


@contextmanager
def session(running: Runtime, **said: str) -> Iterator[ClientConnection]:
    """One that says this in its hello, whatever is answered."""
    with connect(running.url, proxy=None) as socket:
        data = {"client": {"name": "test", "version": "1"}, **said}
        socket.send(json.dumps({"type": "hello", "id": 1, "ts": 0, "data": data}))
        yield socket


def first(socket: ClientConnection) -> str:
    """What it is told first: welcome, or goodbye."""
    found = json.loads(socket.recv(timeout=10))
    return str((found[0] if isinstance(found, list) else found)["type"])


def ended(socket: ClientConnection) -> int:
    """The close code."""
    with pytest.raises(ConnectionClosed) as closed:
        # Goodbye comes first.
        list(iter(lambda: socket.recv(timeout=10), None))
    assert closed.value.rcvd is not None
    return closed.value.rcvd.code


def all_have_looked() -> None:
    """Each gateway looks at the files by itself, within two seconds: another may not know yet what this one does."""
    began_s = time.monotonic()
    eventually(lambda: time.monotonic() - began_s > 2.0, what="every gateway has looked at the files")


def answers(socket: ClientConnection) -> bool:
    socket.send(json.dumps({"type": "ping", "id": 9, "ts": 0, "data": {}}))
    while True:
        found = json.loads(socket.recv(timeout=10))
        if any(one.get("re") == 9 for one in (found if isinstance(found, list) else [found])):
            return True


@pytest.mark.scenario("G2", "J74")
def test_whose_key_was_changed_is_out_within_seconds_and_others_stay(running: Runtime) -> None:
    tokens = {
        "secret": signed(roles=["admin"], exp=int(time.time()) + 10**8),
        "rsa": signed(RSA, "RS256", sub="mole", roles=["admin"]),
        "edwards": signed(EDWARDS, "EdDSA", sub="eve"),
        "own": running.info.token,
    }
    public = Path(running.settings.token_public_keys)
    with ExitStack() as stack:
        # Of each enough for both gateways.
        found = {
            name: [stack.enter_context(session(running, token=token)) for _ in range(4)]
            for name, token in tokens.items()
        }
        assert all(first(socket) == "welcome" for sockets in found.values() for socket in sockets)
        began_s = time.monotonic()
        rotate(running.settings, None)
        assert {ended(socket) for socket in found["secret"]} == {CloseCode.REVOKED}
        replaced(public, jwks(edwards=EDWARDS))
        assert {ended(socket) for socket in found["rsa"]} == {CloseCode.REVOKED}
        assert time.monotonic() - began_s < 10.0
        assert all(answers(socket) for name in ("edwards", "own") for socket in found[name])
        all_have_looked()
        # An odd key among them keeps nobody out.
        (listed,) = json.loads(jwks(rsa=RSA))["keys"]
        (good,) = json.loads(jwks(edwards=EDWARDS))["keys"]
        replaced(public, json.dumps({"keys": [listed | {"key_ops": None}, good]}))
        all_have_looked()
        for name, told in (("edwards", "welcome"), ("rsa", "goodbye"), ("secret", "goodbye")):
            with session(running, token=tokens[name]) as socket:
                assert first(socket) == told
        assert all(answers(socket) for name in ("edwards", "own") for socket in found[name])


@pytest.mark.scenario("G2", "J56", "J58")
def test_who_is_revoked_has_no_other_way_in(running: Runtime) -> None:
    code = secrets.token_urlsafe(32)
    link = SignInLink(digest=hashlib.sha256(code.encode()).hexdigest(), user="ann", roles=["admin"])
    ahead = signed(EDWARDS, "EdDSA", iat=int(time.time()) + 25, jti="ahead")
    with Client(url=running.url, token=running.info.token) as own, session(running, token=ahead) as socket:
        assert first(socket) == "welcome"
        own.sign_in_link(link)
        own.revoke(user="ann")
        fresh = JWTAuthenticator(SECRET).issue("ann")
        assert ended(socket) == CloseCode.REVOKED
        with session(running, code=code) as other:
            assert ended(other) == CloseCode.INVALID_TOKEN
        for _ in range(4):
            with session(running, token=ahead) as other:
                assert ended(other) == CloseCode.REVOKED
        # In the same second, or not: it is later.
        with session(running, token=fresh) as other:
            assert first(other) == "welcome"
