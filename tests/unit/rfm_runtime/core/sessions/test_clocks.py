"""A user's tokens are revoked although the clock of a gateway, and of who issued them, is ahead of the broker's."""

from __future__ import annotations

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Struct

from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.core.sessions.broker_clock import AGREE_MS, BrokerClock
from rfm_runtime.protocol.codes import CloseCode
from rfm_runtime.protocol.internal import DoRevoke, FeedFrame, Principal
from rfm_runtime.protocol.revocation import Revocation, Revocations, RevokeReply
from rfm_runtime.testing.sessions import Gate, Story

pytestmark = pytest.mark.scenario("G2", "J56")

ANN = Principal("ann", ("operator",))
AHEAD_MS = 25_000


@given(
    st.integers(-(10**9), 10**9),
    st.lists(st.tuples(st.floats(0.0, 1.0), st.floats(0.0, 5.0)), min_size=1, max_size=60),
)
def test_late_frames_make_nobodys_clock_ahead(ahead_ms: int, frames: list[tuple[float, float]]) -> None:
    clock, now_s, begun_ms = BrokerClock(), 10.0, 10**12
    clock.heard(begun_ms + 10_000, now_s)
    for elapsed_s, late_s in frames:
        now_s += elapsed_s
        clock.heard(round(begun_ms + 1000 * (now_s - late_s)), now_s)
    found = clock.ahead_ms(now_s, round(begun_ms + 1000 * now_s) + ahead_ms)
    # Of one that was heard in time, and of the last half minute.
    latest_ms = 0 if now_s < 40.0 else 5000
    if ahead_ms + latest_ms <= AGREE_MS - 2:
        assert found == 0
    elif ahead_ms > AGREE_MS + 2:
        assert ahead_ms - 2 <= found <= ahead_ms + latest_ms + 2


def test_what_was_heard_of_a_clock_that_is_set_back_is_forgotten() -> None:
    clock = BrokerClock()
    clock.heard(10_000_000, 0.0)
    for second in range(1, 70):
        clock.heard(5_000_000 + 1000 * second, float(second))
    assert clock.ahead_ms(69.0, 5_000_000 + 69_000 + 3000) == 3000


def test_without_a_word_of_the_broker_no_clock_is_ahead() -> None:
    assert BrokerClock().ahead_ms(1.0, 10**12) == 0


class Elsewhere:
    """A gateway whose clock is so far ahead of the broker's, and the broker, which may not answer."""

    def __init__(self, ahead_ms: int) -> None:
        self.story = Story()
        self.ahead_ms = ahead_ms
        self.asked: list[DoRevoke] = []
        self.answers = True
        self.known = Revocations()
        self.gate = Gate(self.answer, heartbeat_s=1e6).boot()
        self.beat()

    @property
    def broker_ms(self) -> int:
        return self.gate.now_ms - self.ahead_ms

    def answer(self, message: Struct) -> Struct | None:
        if not isinstance(message, DoRevoke):
            return self.story.answer(message)
        self.asked.append(message)
        return RevokeReply(self.known.version) if self.answers else None

    def beat(self) -> None:
        frame: FeedFrame = msgspec.structs.replace(
            self.story.frame(), ts_ms=self.broker_ms, revoked=self.known.version, revocations=self.known
        )
        self.gate.feed(frame)
        self.gate.tick()

    def revoke(self, **fields: object) -> None:
        version = self.known.version + 1
        entry = msgspec.convert({"version": version, **fields}, Revocation)
        self.known = Revocations(version, (*self.known.entries, entry))
        self.beat()

    def token(self, name: str) -> None:
        """Issued now, by a clock like the gateway's."""
        self.gate.grants[name] = Grant(ANN, self.gate.now_ms + 10**6, f"id-{name}", self.gate.now_ms)


def test_sessions_at_a_gateway_whose_clock_is_ahead_end_with_their_users_tokens() -> None:
    elsewhere = Elsewhere(AHEAD_MS)
    elsewhere.token("old")
    watcher = elsewhere.gate.connect().hello("old")
    elsewhere.gate.tick(1.0)
    elsewhere.revoke(user="ann", issued_before_ms=elsewhere.broker_ms)
    assert watcher.closed == CloseCode.REVOKED
    assert [asked.request.token_id for asked in elsewhere.asked] == ["id-old"], "for gateways with another clock"
    again = elsewhere.gate.connect().hello("old")
    elsewhere.gate.tick()
    assert again.closed == CloseCode.REVOKED
    # One that is issued after it is taken, by whatever clock.
    elsewhere.gate.tick(0.1)
    elsewhere.token("new")
    new = elsewhere.gate.connect().hello("new")
    elsewhere.beat()
    assert new.closed is None


@pytest.mark.parametrize("ahead_ms", [0, AGREE_MS // 2, -AHEAD_MS])
def test_where_clocks_agree_or_are_behind_nobody_else_is_closed(ahead_ms: int) -> None:
    elsewhere = Elsewhere(ahead_ms)
    elsewhere.revoke(user="ann", issued_before_ms=elsewhere.gate.now_ms)
    elsewhere.token("new")
    watcher = elsewhere.gate.connect().hello("new")
    elsewhere.beat()
    assert (watcher.closed, elsewhere.asked) == (None, [])


def test_who_came_in_before_the_clocks_were_compared_is_found() -> None:
    elsewhere = Elsewhere(0)
    elsewhere.revoke(user="ann", issued_before_ms=elsewhere.broker_ms)
    elsewhere.gate.grants["old"] = Grant(ANN, 10**9, "id-old", elsewhere.gate.now_ms + 10_000)
    watcher = elsewhere.gate.connect().hello("old")
    # The broker's clock is set back, and for a while what it said before is taken for late.
    elsewhere.ahead_ms = AHEAD_MS
    for _ in range(70):
        elsewhere.gate.now_s += 1.0
        elsewhere.beat()
    assert watcher.closed == CloseCode.REVOKED


def test_a_token_that_is_revoked_by_its_id_too_is_asked_for_until_the_broker_has_it() -> None:
    elsewhere = Elsewhere(AHEAD_MS)
    elsewhere.token("old")
    elsewhere.gate.connect().hello("old")
    elsewhere.answers = False
    elsewhere.gate.tick(1.0)
    elsewhere.revoke(user="ann", issued_before_ms=elsewhere.broker_ms)
    for _ in range(100):
        elsewhere.beat()
    assert 4 <= len(elsewhere.asked) <= 7, "once a second"
    assert {asked.request.token_id for asked in elsewhere.asked} == {"id-old"}
    asked = len(elsewhere.asked)
    elsewhere.revoke(token_id="id-old")
    for _ in range(100):
        elsewhere.beat()
    assert len(elsewhere.asked) == asked


def test_what_has_expired_is_asked_for_no_more() -> None:
    elsewhere = Elsewhere(AHEAD_MS)
    elsewhere.token("old")
    elsewhere.gate.connect().hello("old")
    elsewhere.answers = False
    elsewhere.gate.tick(1.0)
    elsewhere.revoke(user="ann", issued_before_ms=elsewhere.broker_ms)
    elsewhere.gate.now_s += 10**4
    asked = len(elsewhere.asked)
    for _ in range(100):
        elsewhere.beat()
    assert len(elsewhere.asked) <= asked + 1
