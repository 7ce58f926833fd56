"""Grants that expire: told a minute ahead, closed 25 s after, renewed on the way."""

from __future__ import annotations

import pytest

from rfm_runtime.core.sessions.access import EXPIRING_MS, GRACE_MS, Grant
from rfm_runtime.protocol.codes import CloseCode
from rfm_runtime.protocol.internal import Principal
from rfm_runtime.protocol.messages import AuthRefresh, Ok, Ping, TokenExpiring, Welcome
from rfm_runtime.protocol.operation import ErrorInfo, OperationEvent
from rfm_runtime.protocol.reports import Alive
from rfm_runtime.protocol.wire import encode, join
from rfm_runtime.testing.sessions import Gate, Story

pytestmark = pytest.mark.scenario("G2")
LIFE_MS = 100_000


@pytest.fixture
def gate():
    gate = Gate(Story().answer, heartbeat_s=1000.0).boot()
    gate.grants["short"] = Grant(Principal("ann", ("operator",)), gate.now_ms + LIFE_MS)
    return gate


def until(gate, at_ms):
    gate.ticks((at_ms - gate.now_ms) / 1000.0 + 0.5, 0.5)


def test_a_session_knows_when_its_token_expires(gate):
    watcher = gate.connect().hello("short")
    assert [welcome.token_expires_at for welcome in watcher.all(Welcome)] == [gate.grants["short"].expires_at_ms]
    assert [welcome.token_expires_at for welcome in gate.connect().hello("bob").all(Welcome)] == [None]


def test_it_is_told_once_and_then_closed(gate):
    expires_at_ms = gate.grants["short"].expires_at_ms
    watcher, other = gate.connect().hello("short"), gate.connect().hello("bob")
    gate.ticks(30, 0.5)
    assert watcher.all(TokenExpiring) == []
    until(gate, expires_at_ms - EXPIRING_MS)
    assert watcher.all(TokenExpiring) == [TokenExpiring(expires_at_ms)]
    until(gate, expires_at_ms + GRACE_MS - 1000)
    assert (watcher.closed, len(watcher.all(TokenExpiring))) == (None, 1)
    until(gate, expires_at_ms + GRACE_MS)
    assert watcher.closed == CloseCode.TOKEN_EXPIRED
    assert other.closed is None
    assert other.all(TokenExpiring) == []


def test_a_fresh_token_of_the_same_user_goes_on(gate):
    expires_at_ms = gate.grants["short"].expires_at_ms
    watcher = gate.connect().hello("short")
    until(gate, expires_at_ms - EXPIRING_MS)
    gate.grants["fresh"] = Grant(Principal("ann", ("viewer",)), expires_at_ms + LIFE_MS)
    watcher.say(AuthRefresh("fresh"), request_id=3)
    assert watcher.all(Ok) == [Ok()]
    until(gate, expires_at_ms + GRACE_MS + 1000)
    assert watcher.closed is None
    # Fewer rights apply at once.
    assert gate.core.sessions[watcher.number].principal == Principal("ann", ("viewer",))
    until(gate, expires_at_ms + LIFE_MS + GRACE_MS)
    assert watcher.closed == CloseCode.TOKEN_EXPIRED
    assert len(watcher.all(TokenExpiring)) == 2


@pytest.mark.scenario("G3")
def test_what_a_fresh_token_allows_no_more_ends_at_once(gate):
    story = gate.answer.__self__
    watcher = gate.connect().hello("ann").subscribe()
    story.accept("a")
    gate.feed(story.frame())
    assert len(watcher.all(OperationEvent)) == 1
    gate.grants["none"] = Grant(Principal("ann", ()))
    watcher.say(AuthRefresh("none"), request_id=3)
    watcher.forget()
    story.start("a")
    gate.feed(story.frame())
    assert watcher.told == []


@pytest.mark.scenario("G8")
def test_what_a_batch_has_counts(gate):
    watcher = gate.connect().hello("ann")
    many = [encode(Ping(), "json", ts=0, request_id=number) for number in range(64)]
    taken = 0
    while gate.core.wait_s(watcher.number, gate.now_s) == 0.0:
        gate.received(watcher, join(many, "json").decode())
        taken += 64
    assert taken <= gate.settings.inbound_per_s / 2 + 64


def test_heartbeats_are_free(gate):
    watcher = gate.connect().hello("ann")
    for _ in range(2 * int(gate.settings.inbound_per_s)):
        assert gate.core.wait_s(watcher.number, gate.now_s) == 0.0
        watcher.say(Alive())


@pytest.mark.parametrize("token", ["bob", "stranger"])
def test_another_users_token_renews_nothing(gate, token):
    watcher = gate.connect().hello("short")
    watcher.say(AuthRefresh(token), request_id=3)
    assert [error.code for error in watcher.all(ErrorInfo)] == ["bad_request"]
    assert gate.core.sessions[watcher.number].grant == gate.grants["short"]
