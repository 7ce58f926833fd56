"""Keys of tokens that go while a gateway runs: their sessions go with them. Answers that come late change nothing."""

from __future__ import annotations

import msgspec
import pytest

from rfm_runtime.core.sessions.access import EXPIRING_MS, GRACE_MS, Grant
from rfm_runtime.protocol.codes import CloseCode
from rfm_runtime.protocol.internal import DoRevoke, DoSignInLink, Principal
from rfm_runtime.protocol.messages import Goodbye, TokenExpiring
from rfm_runtime.protocol.revocation import Revocation, Revocations, RevokeReply
from rfm_runtime.protocol.sign_in import SignInLink
from rfm_runtime.testing.sessions import Gate, Story

ANN = Principal("ann", ("admin",))


class Held:
    """Keys by their fingerprint, with their ends (ms since 1970; None: no end)."""

    def __init__(self, **ends: int | None) -> None:
        self.ends = ends

    def look(self) -> bool:
        return True

    def vouched(self, grant: Grant) -> Grant | None:
        if grant.key not in self.ends:
            return None if grant.key else grant
        end = self.ends[grant.key]
        return grant if end is None else msgspec.structs.replace(grant, expires_at_ms=end)


@pytest.fixture
def story() -> Story:
    return Story()


@pytest.fixture
def gate(story: Story) -> Gate:
    gate = Gate(story.answer, heartbeat_s=1e6).boot()
    gate.grants |= {key: Grant(ANN, None, f"id-{key}", 1, key=key) for key in ("k1", "k2")}
    gate.grants["own"] = Grant(ANN)
    gate.feed(story.frame())
    return gate


@pytest.mark.scenario("G2", "J74")
def test_sessions_of_a_key_that_is_gone_end_and_others_go_on(gate: Gate):
    first, second, own = (gate.connect().hello(token) for token in ("k1", "k2", "own"))
    early = gate.connect(grant=gate.grants["k1"])  # which has not said hello yet
    gate.carry_out(gate.core.keys_changed(Held(k2=None), gate.now_ms))
    gate.tick()
    codes = [watcher.closed for watcher in (first, early, second, own)]
    assert codes == [CloseCode.REVOKED, CloseCode.REVOKED, None, None]
    assert [goodbye.reconnect for goodbye in first.all(Goodbye)] == [False]
    assert gate.core.counts["revoked_keys"] == 2


@pytest.mark.scenario("G2", "J74")
def test_whose_key_is_taken_for_a_while_is_told_and_ends_with_it(gate: Gate, story: Story):
    watcher = gate.connect().hello("k1")
    ends_ms = gate.now_ms + EXPIRING_MS + 5_000
    gate.carry_out(gate.core.keys_changed(Held(k1=ends_ms), gate.now_ms))
    told = 0
    while gate.now_ms <= ends_ms + GRACE_MS:
        assert watcher.closed is None
        assert bool(told) == (gate.now_ms > ends_ms - EXPIRING_MS)
        gate.feed(story.frame())
        gate.tick(1.0)
        told = len(watcher.all(TokenExpiring))
    assert (watcher.closed, told) == (CloseCode.TOKEN_EXPIRED, 1)


def of(version: int) -> Revocations:
    entries = [Revocation(version=number, token_id=f"id-k{number}") for number in range(1, version + 1)]
    return Revocations(version, tuple(entries))


def carried(story: Story, version: int):
    return msgspec.structs.replace(story.frame(), revoked=version, revocations=of(version))


@pytest.mark.scenario("G2", "J56")
def test_an_older_set_of_the_same_log_undoes_nothing(gate: Gate, story: Story):
    gate.feed(carried(story, 2))
    gate.core.answered(of(1), 0)  # what was asked for before that
    gate.feed(carried(story, 1))
    watchers = [gate.connect().hello(token) for token in ("k1", "k2")]
    gate.tick()
    assert [watcher.closed for watcher in watchers] == [CloseCode.REVOKED, CloseCode.REVOKED]


@pytest.mark.scenario("G2", "J56")
def test_another_log_has_numbers_of_its_own(gate: Gate, story: Story):
    gate.feed(carried(story, 2))
    restored = Story("restored", 2)
    gate.answer = restored.answer
    gate.feed(carried(restored, 1))
    watchers = [gate.connect().hello(token) for token in ("k1", "k2")]
    gate.tick()
    assert [watcher.closed for watcher in watchers] == [CloseCode.REVOKED, None]


@pytest.mark.scenario("G2", "J56")
def test_a_token_that_was_shown_before_it_says_it_was_issued_is_revoked_by_its_id_too(story: Story):
    asked: list[DoRevoke] = []

    def answer(message):
        if not isinstance(message, DoRevoke):
            return story.answer(message)
        asked.append(message)
        return RevokeReply(2)

    gate = Gate(answer, heartbeat_s=1e6).boot()
    gate.grants["ahead"] = Grant(ANN, 10**9, "id-ahead", gate.now_ms, is_ahead=True)
    gate.grants["right"] = Grant(ANN, 10**9, "id-right", gate.now_ms)
    gate.feed(story.frame())
    watchers = [gate.connect().hello(token) for token in ("ahead", "right")]
    entry = Revocation(version=1, user="ann", issued_before_ms=gate.now_ms + 1)
    gate.feed(msgspec.structs.replace(story.frame(), revoked=1, revocations=Revocations(1, (entry,))))
    gate.tick()
    assert [watcher.closed for watcher in watchers] == [CloseCode.REVOKED] * 2
    assert [(one.principal.roles, one.request.token_id, one.request.expires_at) for one in asked] == [
        (("admin",), "id-ahead", 10**9)
    ]


@pytest.mark.scenario("J58")
def test_the_broker_hears_with_which_token_a_link_is_made(gate: Gate):
    watcher = gate.connect().hello("k1")
    link = SignInLink(digest="a" * 64, user="bob", roles=["viewer"])
    watcher.say(link, request_id=1)
    assert [forward.message for forward in gate.forwards] == [DoSignInLink(ANN, link, "id-k1", 1)]
