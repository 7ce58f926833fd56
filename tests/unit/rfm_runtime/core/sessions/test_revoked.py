"""Revoked tokens at a gateway: not let in, closed, not resumed; and what it does while it cannot know of them."""

from __future__ import annotations

import msgspec
import pytest

from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.core.sessions.door import Refused
from rfm_runtime.core.sessions.hub import FEED_LOST_S
from rfm_runtime.protocol.codes import CloseCode
from rfm_runtime.protocol.internal import GetRevocations, Principal
from rfm_runtime.protocol.messages import (
    AuthRefresh,
    GetOperation,
    Goodbye,
    Ok,
    Ping,
    Pong,
    ResumeFrom,
    Subscribed,
    Unsubscribe,
    Welcome,
)
from rfm_runtime.protocol.operation import ErrorInfo, OperationEvent
from rfm_runtime.protocol.revocation import Revocation, Revocations
from rfm_runtime.testing.sessions import Gate, Story

pytestmark = pytest.mark.scenario("G2", "J56")


class Broker(Story):
    """Whose set of revoked tokens a test tells."""

    def __init__(self):
        super().__init__()
        self.revocations = Revocations()
        self.lost = 0

    def revoke(self, **fields):
        version = self.revocations.version + 1
        entry = Revocation(version=version, **fields)
        self.revocations = Revocations(version, (*self.revocations.entries, entry))
        return self.frame(carried=True)

    def frame(self, *progress, carried=False):
        found = super().frame(*progress)
        return msgspec.structs.replace(
            found, revoked=self.revocations.version, revocations=self.revocations if carried else None
        )

    def answer(self, message):
        if isinstance(message, GetRevocations):
            self.lost += 1
            return self.revocations
        found = super().answer(message)
        if hasattr(found, "revocations") and not message.cursor:
            return msgspec.structs.replace(found, revocations=self.revocations)
        return found


@pytest.fixture
def broker():
    return Broker()


@pytest.fixture
def gate(broker):
    gate = Gate(broker.answer, heartbeat_s=1000.0).boot()
    for name, issued_at_ms in (("old", 1000), ("new", 9000)):
        gate.grants[name] = Grant(Principal("ann", ("operator",)), None, f"id-{name}", issued_at_ms)
    gate.feed(broker.frame())
    return gate


def refused_with(gate, token):
    watcher = gate.connect().hello(token)
    gate.tick()
    return watcher.closed


def test_sessions_of_a_revoked_token_end_and_others_go_on(gate, broker):
    old, new, bob = (gate.connect().hello(token).subscribe() for token in ("old", "new", "bob"))
    gate.feed(broker.revoke(token_id="id-old"))
    gate.tick()
    assert [watcher.closed for watcher in (old, new, bob)] == [CloseCode.REVOKED, None, None]
    assert [goodbye.reconnect for goodbye in old.all(Goodbye)] == [False]
    gate.feed(broker.revoke(user="ann", issued_before_ms=9000))
    gate.tick()
    assert [watcher.closed for watcher in (new, bob)] == [None, None]
    gate.feed(broker.revoke(user="ann", issued_before_ms=9001))
    gate.tick()
    assert [watcher.closed for watcher in (new, bob)] == [CloseCode.REVOKED, None]


def test_between_the_frame_and_the_close_nothing_is_done_for_it(gate, broker):
    watcher = gate.connect().hello("old")
    gate.feed(broker.revoke(token_id="id-old"))
    watcher.forget()
    watcher.say(GetOperation("a"), request_id=1)
    assert gate.forwards == []
    assert watcher.closed == CloseCode.REVOKED


def test_a_revoked_token_is_not_let_in_by_any_way(gate, broker):
    broker.accept("a")
    gate.feed(broker.revoke(token_id="id-old"))
    assert refused_with(gate, "old") == CloseCode.REVOKED
    grant = gate.grants["old"]
    assert gate.core.connected("a", "json", grant, gate.now_s) == Refused(
        CloseCode.REVOKED, None, "the token was revoked"
    )
    assert gate.core.identify("old") is None
    assert gate.core.identify("new") is not None
    # Across a resume.
    watcher = gate.connect().hello("old", resume=ResumeFrom("log", 0)).subscribe()
    gate.tick()
    assert (watcher.closed, watcher.all(Subscribed), watcher.all(OperationEvent)) == (CloseCode.REVOKED, [], [])
    # As a refresh of another.
    going = gate.connect().hello("new")
    going.say(AuthRefresh("old"), request_id=5)
    assert [error.code for error in going.all(ErrorInfo)] == ["bad_request"]
    assert gate.core.sessions[going.number].grant == gate.grants["new"]


def test_one_that_waits_for_a_gateway_to_start_is_closed_when_that_knows(broker):
    broker.revoke(token_id="id-old")
    gate = Gate(lambda _message: None)
    gate.core.informed = False
    gate.grants["old"] = Grant(Principal("ann", ("operator",)), None, "id-old", 1)
    watcher = gate.connect().hello("old")
    watcher.say(GetOperation("a"), request_id=1)
    assert [error.code for error in watcher.all(ErrorInfo)] == ["unavailable"]
    watcher.subscribe()
    gate.answer = broker.answer
    gate.boot()
    gate.tick()
    assert (watcher.closed, watcher.all(Welcome), gate.forwards) == (CloseCode.REVOKED, [], [])


def test_a_lost_frame_is_made_up_for(gate, broker):
    watcher = gate.connect().hello("old")
    broker.revoke(token_id="id-old")  # of which this gateway hears nothing
    gate.feed(broker.frame())
    gate.tick()
    assert (watcher.closed, broker.lost) == (CloseCode.REVOKED, 1)
    gate.feed(broker.frame())
    assert broker.lost == 1


def test_while_the_broker_does_not_answer_it_is_asked_once_a_second(gate, broker):
    broker.revoke(token_id="id-old")
    gate.answer = lambda _message: None
    for _ in range(60):
        gate.feed(broker.frame())
        gate.tick()
    assert 3 <= sum(isinstance(ask.message, GetRevocations) for ask in gate.unanswered) <= 4


def test_a_token_without_an_id_cannot_be_revoked(gate, broker):
    gate.grants["own"] = Grant(Principal("local", ("admin",)))
    watcher = gate.connect().hello("own")
    gate.feed(broker.revoke(user="local", issued_before_ms=10**12))
    gate.tick()
    assert watcher.closed is None


@pytest.mark.scenario("D14")
def test_without_a_feed_nobody_new_is_let_in_and_nothing_is_done(gate, broker):
    watcher = gate.connect().hello("new")
    while gate.now_s - gate.core.last_frame_s <= FEED_LOST_S:
        watcher.say(GetOperation("a"), request_id=1)
        gate.tick(0.5)
    done = len(gate.forwards)
    assert done > 0
    watcher.forget()
    watcher.say(GetOperation("a"), request_id=1)
    assert [(error.code, error.temporary) for error in watcher.all(ErrorInfo)] == [("unavailable", True)]
    assert len(gate.forwards) == done
    watcher.say(Ping(), request_id=7)
    watcher.say(Unsubscribe(), request_id=8)
    watcher.say(AuthRefresh("new"), request_id=9)
    assert (watcher.all(Pong), watcher.all(Ok)) == ([Pong()], [Ok(), Ok()])
    assert watcher.closed is None
    refused = gate.try_connect()
    assert isinstance(refused, Refused)
    assert (refused.code, refused.retry_after_ms) == (CloseCode.RESYNC, 2000)
    gate.feed(broker.frame())
    watcher.say(GetOperation("a"), request_id=9)
    assert len(gate.forwards) == done + 1
    assert gate.connect().hello("new").all(Welcome)


def test_a_subscription_waits_for_the_feed_and_is_sent_elsewhere_in_the_end(gate, broker):
    first, second = gate.connect().hello("new"), gate.connect().hello("new")
    gate.now_s += FEED_LOST_S + 0.1
    first.subscribe()
    gate.tick(5.0)
    second.subscribe()
    assert first.all(Subscribed) == []
    gate.tick(5.0)
    assert (first.closed, second.closed) == (CloseCode.RESYNC, None)
    gate.feed(broker.frame())
    gate.tick()
    assert second.all(Subscribed)


def test_who_connected_before_says_hello_too_late(gate):
    early = gate.connect()
    gate.now_s += FEED_LOST_S + 0.1
    early.hello("new")
    gate.tick()
    assert early.closed == CloseCode.RESYNC
