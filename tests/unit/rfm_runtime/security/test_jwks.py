"""A key set at an address: fetched beside whoever asks, seldom, bounded, and from nowhere else."""

from __future__ import annotations

import http.server
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from rfm_runtime import JWTAuthenticator
from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.errors import BadRequestError, UnavailableError
from rfm_runtime.security import jwks as module
from rfm_runtime.testing.runtime import eventually
from tests.tokens import jwks, key_pair, signed

pytestmark = pytest.mark.scenario("G1", "J59")

FIRST, SECOND = key_pair("rsa"), key_pair("ed25519")


class Issuer:
    """Publishes keys. answer: what a request gets; asked: how often there was one."""

    def __init__(self) -> None:
        self.keys = jwks(first=FIRST)
        self.answer: Callable[[http.server.BaseHTTPRequestHandler], None] = self.publish
        self.asked = 0
        issuer = self

        class Handler(http.server.BaseHTTPRequestHandler):
            def do_GET(self) -> None:
                issuer.asked += 1
                issuer.answer(self)

            def log_message(self, *_: object) -> None:
                """Not in the output of tests."""

        self.server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
        self.thread = threading.Thread(target=self.server.serve_forever, kwargs={"poll_interval": 0.01})
        self.thread.start()
        self.url = f"http://127.0.0.1:{self.server.server_address[1]}/keys"

    def publish(self, request: http.server.BaseHTTPRequestHandler) -> None:
        send(request, self.keys.encode())

    def close(self) -> None:
        self.server.shutdown()
        self.server.server_close()
        self.thread.join()


def send(request: http.server.BaseHTTPRequestHandler, body: bytes, status: int = 200, **headers: str) -> None:
    request.send_response(status)
    for name, value in headers.items():
        request.send_header(name, value)
    request.end_headers()
    # Who has heard enough hangs up.
    try:
        request.wfile.write(body)
    except OSError:
        return


@pytest.fixture
def issuer() -> Iterator[Issuer]:
    made = Issuer()
    yield made
    made.close()
    eventually(lambda: all(thread.name != "jwks" for thread in threading.enumerate()), what="no fetch is left")


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """Seconds to be added to the clock of the module's."""
    ahead = [0.0]
    real = time.monotonic

    class Ahead:
        @staticmethod
        def monotonic() -> float:
            return real() + ahead[0]

    monkeypatch.setattr(module, "time", Ahead)
    return ahead


def settled(authenticator: JWTAuthenticator, token: str) -> object:
    """What is said once it can be."""

    def said() -> list[object]:
        try:
            return [authenticator.authenticate(token)]
        except UnavailableError:
            return []

    return eventually(said, what="the keys are fetched")[0]


def first(**changes: object) -> str:
    return signed(FIRST, "RS256", {"kid": "first"}, **changes)


def second() -> str:
    return signed(SECOND, "EdDSA", {"kid": "second"})


def test_keys_are_fetched_beside_whoever_asks_who_is_told_to_come_again(issuer: Issuer) -> None:
    held = threading.Event()

    def late(request: http.server.BaseHTTPRequestHandler) -> None:
        held.wait(10)
        issuer.publish(request)

    issuer.answer = late
    authenticator = JWTAuthenticator(jwks_url=issuer.url)
    began_s = time.monotonic()
    with pytest.raises(UnavailableError) as later:
        authenticator.authenticate(first())
    assert time.monotonic() - began_s < 1.0
    assert later.value.retry_after_s == 1.0
    held.set()
    assert settled(authenticator, first()).principal.user == "ann"
    assert issuer.asked == 1


def test_a_key_that_is_not_there_is_looked_for_once_a_minute(issuer: Issuer, clock: list[float]) -> None:
    authenticator = JWTAuthenticator(jwks_url=issuer.url)
    assert settled(authenticator, first()) is not None
    assert [authenticator.authenticate(second()) for _ in range(50)] == [None] * 50
    assert issuer.asked == 1
    issuer.keys = jwks(first=FIRST, second=SECOND)
    clock[0] += module.AGAIN_S
    assert settled(authenticator, second()) is not None
    for number in range(50):
        assert authenticator.authenticate(signed(SECOND, "EdDSA", {"kid": f"made up {number}"})) is None
    assert issuer.asked == 2


def test_they_are_fetched_again_after_an_hour_and_what_was_taken_back_is_refused(
    issuer: Issuer, clock: list[float]
) -> None:
    authenticator = JWTAuthenticator(jwks_url=issuer.url)
    assert settled(authenticator, first()) is not None
    issuer.keys = jwks(second=SECOND)
    clock[0] += module.CACHED_S
    # Meanwhile the present ones do.
    assert authenticator.authenticate(first()) is not None
    eventually(lambda: issuer.asked == 2, what="the second fetch")
    assert settled(authenticator, second()) is not None
    assert authenticator.authenticate(first()) is None


def test_an_issuer_that_is_away_is_done_without_for_an_hour_more(issuer: Issuer, clock: list[float]) -> None:
    authenticator = JWTAuthenticator(jwks_url=issuer.url)
    assert settled(authenticator, first()) is not None
    issuer.answer = lambda request: send(request, b"", 503)
    clock[0] += module.CACHED_S + 60
    assert authenticator.authenticate(first()) is not None
    eventually(lambda: issuer.asked == 2, what="it is tried")
    clock[0] += module.STALE_S - module.CACHED_S
    assert settled(authenticator, first()) is None
    issuer.answer = issuer.publish
    clock[0] += module.AGAIN_S
    assert settled(authenticator, first()) is not None


@pytest.mark.parametrize(
    "answer",
    [
        lambda request: send(request, b"<html>"),
        lambda request: send(request, b'{"keys": []}'),
        lambda request: send(request, b"{" * 100_000),
        lambda request: send(request, b" " * (module.LIMIT_BYTES + 1)),
        lambda request: send(request, b"", 302, Location="http://127.0.0.1:1/keys"),
        lambda request: send(request, b"", 302, Location="file:///etc/passwd"),
        lambda request: send(request, b"", 404),
        lambda request: request.wfile.write(b"no HTTP\r\n\r\n"),
        lambda request: request.connection.close(),
    ],
)
def test_what_is_no_key_set_lets_nobody_in(
    issuer: Issuer, answer: Callable[[http.server.BaseHTTPRequestHandler], None]
) -> None:
    issuer.answer = answer
    authenticator = JWTAuthenticator(jwks_url=issuer.url)
    assert settled(authenticator, first()) is None
    assert issuer.asked == 1


@pytest.mark.scenario("G2", "J74")
def test_an_empty_set_takes_all_keys_back(issuer: Issuer, clock: list[float]) -> None:
    authenticator = JWTAuthenticator(jwks_url=issuer.url)
    grant = settled(authenticator, first())
    assert isinstance(grant, Grant)
    assert authenticator.look()
    issuer.keys = '{"keys": []}'
    clock[0] += module.CACHED_S
    eventually(authenticator.look, what="other keys")
    assert authenticator.vouched(grant) is None
    assert settled(authenticator, first()) is None


def test_a_thread_that_cannot_be_started_is_tried_again(
    issuer: Issuer, clock: list[float], monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_thread: threading.Thread) -> None:
        raise RuntimeError("can't start new thread")

    authenticator = JWTAuthenticator(jwks_url=issuer.url)
    with monkeypatch.context() as patched:
        patched.setattr(threading.Thread, "start", full)
        # Nobody is told to come again for what does not come.
        assert authenticator.authenticate(first()) is None
        assert authenticator.authenticate(first()) is None
    assert authenticator.authenticate(first()) is None
    assert issuer.asked == 0
    clock[0] += module.AGAIN_S
    assert isinstance(settled(authenticator, first()), Grant)


def test_who_sends_it_byte_by_byte_is_not_waited_for(issuer: Issuer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "FETCH_S", 0.3)
    ends = threading.Event()

    def drip(request: http.server.BaseHTTPRequestHandler) -> None:
        send(request, b"")
        while not ends.wait(0.02):
            try:
                request.wfile.write(b" ")
            except OSError:
                return

    issuer.answer = drip
    try:
        assert settled(JWTAuthenticator(jwks_url=issuer.url), first()) is None
    finally:
        ends.set()


def test_a_token_that_names_no_key_of_this_kind_is_refused_without_a_fetch(issuer: Issuer) -> None:
    authenticator = JWTAuthenticator("s" * 32, jwks_url=issuer.url)
    assert settled(authenticator, first()) is not None
    assert authenticator.authenticate(authenticator.issue("ann")) is not None
    assert authenticator.authenticate(signed("x" * 32)) is None
    assert issuer.asked == 1


@pytest.mark.parametrize(
    "url",
    [
        "http://example.org/keys",
        "ftp://example.org/keys",
        "file:///etc/passwd",
        "https://",
        "https://user:password@example.org/keys",
        "https://example.org:port/keys",
        "keys.json",
    ],
)
def test_another_address_is_refused(url: str) -> None:
    with pytest.raises(BadRequestError) as refused:
        JWTAuthenticator(jwks_url=url)
    assert "https://" in refused.value.hint
