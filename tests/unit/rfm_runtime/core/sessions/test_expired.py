"""A token that was valid once, at the gateway's core: it is told apart, and costs its address what a wrong one does."""

from __future__ import annotations

import pytest

from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.core.sessions.door import REFUSED_BURST_S, Refused
from rfm_runtime.errors import TokenExpiredError
from rfm_runtime.protocol.codes import CloseCode
from rfm_runtime.protocol.messages import AuthRefresh, Goodbye, Ok, Ping, Pong
from rfm_runtime.protocol.operation import ErrorInfo
from rfm_runtime.testing.sessions import Gate, Story

pytestmark = pytest.mark.scenario("G1", "J75")


class Dated(Gate):
    """Everybody's old tokens begin with `old`."""

    def authenticate(self, token: str) -> Grant | None:
        if token.startswith("old"):
            raise TokenExpiredError("the token has expired")
        return super().authenticate(token)


@pytest.fixture
def gate() -> Dated:
    return Dated(Story().answer, refused_sign_ins_per_s=0.5, handshakes_per_s=1000.0).boot()


def closed(gate: Dated, how: str) -> int:
    """The code that an old token is refused with."""
    if how == "header":
        return gate.core.wrong_token("bad", gate.now_s, CloseCode.TOKEN_EXPIRED).code
    watcher = gate.try_connect(address="bad")
    if isinstance(watcher, Refused):
        return watcher.code
    watcher.hello("old")
    (goodbye,) = watcher.all(Goodbye)
    assert watcher.closed == goodbye.code
    return goodbye.code


@pytest.mark.parametrize("how", ["hello", "header"])
def test_it_is_closed_with_its_code_until_there_are_too_many(gate: Dated, how: str) -> None:
    allowed = round(0.5 * REFUSED_BURST_S)
    assert [closed(gate, how) for _ in range(allowed)] == [CloseCode.TOKEN_EXPIRED] * allowed
    assert closed(gate, how) == CloseCode.RATE_LIMITED
    told = {entry.reason for entry in gate.core.notes.take(all_of_it=True) if entry.event == "sign_in_refused"}
    assert told == {"expired token"}
    gate.core.sanity_check()


def test_a_session_that_is_shown_one_goes_on_as_it_was_and_its_address_pays(gate: Dated) -> None:
    ann = gate.connect(address="bad").hello("ann")
    before = gate.core.sessions[ann.number].grant
    for _ in range(round(0.5 * REFUSED_BURST_S)):
        ann.say(AuthRefresh("old"), request_id=1)
    assert {error.code for error in ann.all(ErrorInfo)} == {"token_expired"}
    assert gate.core.sessions[ann.number].grant == before
    assert ann.all(Ok) == []
    ann.say(Ping(), request_id=2)
    assert ann.all(Pong)
    assert closed(gate, "hello") == CloseCode.RATE_LIMITED
