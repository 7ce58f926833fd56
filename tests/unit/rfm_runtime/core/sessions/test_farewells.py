"""What is said to who is sent away, besides the code: what was missing, and which of what was shown is not taken."""

from __future__ import annotations

import msgspec
import pytest

from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.core.sessions.door import Refused
from rfm_runtime.core.sessions.hub import goodbye
from rfm_runtime.protocol.codes import CLOSE_REASONS, CloseCode
from rfm_runtime.protocol.internal import Principal
from rfm_runtime.protocol.messages import Goodbye, Hello
from rfm_runtime.protocol.revocation import Revocation, Revocations
from rfm_runtime.testing.sessions import Gate, Story

pytestmark = pytest.mark.scenario("G1", "J62")

TOKEN = Grant(Principal("ann", ("operator",)), None, "id-1", 1)
CERTIFICATE = Grant(Principal("ann", ("operator",)), None, by_certificate=True)


@pytest.fixture
def gate() -> Gate:
    return Gate(Story().answer, heartbeat_s=1000.0).boot()


def said(gate: Gate, certificate: str, token: str | None) -> str:
    """The reason of the goodbye to who is let in by none of these."""
    watcher = gate.connect()
    gate.core.sessions[watcher.number].certificate = certificate
    watcher.say(Hello(token=token), request_id=1)
    assert watcher.closed == CloseCode.INVALID_TOKEN
    (farewell,) = watcher.all(Goodbye)
    return farewell.reason


@pytest.mark.parametrize("token", [None, ""])
def test_who_shows_no_token_is_told_so_and_whose_certificate_counts_for_nothing(gate: Gate, token: str | None) -> None:
    assert said(gate, "", token) == "no token was shown"
    assert said(gate, "vera", token) == "no token was shown, and the certificate of vera is nobody's here (tls_users)"
    assert "\n" not in said(gate, "ve\nra", token)
    assert len(said(gate, "v" * 10_000, token)) < 200


def test_a_wrong_token_is_what_it_was(gate: Gate) -> None:
    for certificate in ("", "vera"):
        assert said(gate, certificate, "wrong") == CLOSE_REASONS[CloseCode.INVALID_TOKEN]


def test_a_revoked_token_is_called_so() -> None:
    story = Story()
    gate = Gate(story.answer, heartbeat_s=1000.0).boot()
    gate.grants["revocable"] = TOKEN
    here = gate.connect().hello("revocable")
    gone = Revocations(1, (Revocation(version=1, token_id="id-1"),))
    gate.feed(msgspec.structs.replace(story.frame(), revoked=1, revocations=gone))
    gate.tick()
    late = gate.connect()
    late.say(Hello(token="revocable"), request_id=1)
    for watcher in (here, late):
        assert watcher.closed == CloseCode.REVOKED
        assert [farewell.reason for farewell in watcher.all(Goodbye)] == ["the token was revoked"]
    refused = gate.try_connect(grant=TOKEN)
    assert isinstance(refused, Refused)
    assert goodbye(refused.code, refused.retry_after_ms, refused.reason).reason == "the token was revoked"


@pytest.mark.parametrize(
    ("refusal", "reason"),
    [
        ("the certificate was revoked", "the certificate was revoked"),
        (None, "the certificate is nobody's any more (tls_users)"),
    ],
)
def test_a_certificate_that_counts_no_more_is_called_so(gate: Gate, refusal: str | None, reason: str) -> None:
    watcher = gate.connect(grant=CERTIFICATE)
    watcher.say(Hello(), request_id=1)
    gate.carry_out(gate.core.certified(watcher.number, None, refusal, gate.now_ms))
    gate.flush_all()
    assert [farewell.reason for farewell in watcher.all(Goodbye)] == [reason]
    assert watcher.closed == CloseCode.REVOKED
