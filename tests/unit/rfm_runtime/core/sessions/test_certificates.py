"""Whom a client certificate lets in, and what becomes of a session whose certificate the files judge anew."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.core.sessions.access import EXPIRING_MS, GRACE_MS, Grant
from rfm_runtime.core.sessions.certificates import Admission, Peer
from rfm_runtime.protocol.codes import CloseCode
from rfm_runtime.protocol.internal import Principal
from rfm_runtime.protocol.messages import Goodbye, Hello, TokenExpiring, Welcome
from rfm_runtime.testing.sessions import Gate, Story

pytestmark = pytest.mark.scenario("J62")

NAMES = st.sampled_from(["ann", "bob", "cat", "dan@example.org"])
AUTHORITIES = st.sampled_from(["", "a", "b"])
PEERS = st.builds(
    Peer, st.lists(NAMES, max_size=3).map(tuple), AUTHORITIES, st.integers(1, 3), st.sampled_from([0, 999, 1000, 2000])
)
ADMISSIONS = st.builds(
    Admission,
    st.dictionaries(NAMES, st.builds(Principal, NAMES, st.just(("viewer",)))),
    st.frozensets(st.tuples(AUTHORITIES, st.integers(1, 3))),
)
NOW_MS = 1000


@given(ADMISSIONS, PEERS)
def test_who_may_not_be_here_is_granted_nothing(admission: Admission, peer: Peer) -> None:
    refusal, grant = admission.refusal(peer, NOW_MS), admission.grant(peer, NOW_MS)
    good = peer.authority and (peer.authority, peer.serial) not in admission.revoked and peer.expires_at_ms >= NOW_MS
    assert (refusal is None) == bool(good)
    known = [name for name in peer.names if name in admission.users]
    if not good or not known:
        assert grant is None
        return
    # The first of its names that is somebody's decides, and its end is the session's.
    assert grant == Grant(admission.users[known[0]], peer.expires_at_ms, by_certificate=True)


@given(ADMISSIONS, PEERS, st.tuples(AUTHORITIES, st.integers(1, 3)))
def test_revoking_takes_nothing_but_what_it_names(admission: Admission, peer: Peer, gone: tuple[str, int]) -> None:
    after = Admission(admission.users, admission.revoked | {gone})
    if (peer.authority, peer.serial) == gone:
        assert after.grant(peer, NOW_MS) is None
        assert after.refusal(peer, NOW_MS) is not None
    else:
        assert after.grant(peer, NOW_MS) == admission.grant(peer, NOW_MS)
        assert after.refusal(peer, NOW_MS) == admission.refusal(peer, NOW_MS)


# --- sessions -------------------------------------------------------------------------------------


def certified(user: str = "ann", *roles: str, expires_at_ms: int | None = None) -> Grant:
    return Grant(Principal(user, roles or ("operator",)), expires_at_ms, by_certificate=True)


@pytest.fixture
def gate() -> Gate:
    return Gate(Story().answer, heartbeat_s=1000.0).boot()


def enter(gate: Gate, grant: Grant | None, token: str | None = None) -> Any:
    watcher = gate.connect(grant=grant)
    watcher.say(Hello(token=token), request_id=1)
    return watcher


def judge(gate: Gate, watcher: Any, grant: Grant | None, refusal: str | None = None) -> None:
    gate.carry_out(gate.core.certified(watcher.number, grant, refusal, gate.now_ms))
    gate.flush_all()


def test_a_certificate_needs_no_token(gate: Gate) -> None:
    (welcome,) = enter(gate, certified()).all(Welcome)
    assert (welcome.user, welcome.roles) == ("ann", ["operator"])


def test_a_token_that_is_shown_decides(gate: Gate) -> None:
    (welcome,) = enter(gate, certified(), "eve").all(Welcome)
    assert (welcome.user, welcome.roles) == ("eve", ["viewer"])
    assert enter(gate, certified(), "wrong").closed == CloseCode.INVALID_TOKEN


def test_users_are_counted_as_who_they_are_in_the_end(gate: Gate) -> None:
    watchers = [enter(gate, certified(), token) for token in ("eve", None, "ann")]
    for watcher in watchers:
        gate.drop(watcher)
    gate.core.sanity_check()
    assert not gate.core._door.by_user


@pytest.mark.parametrize(("grant", "refusal"), [(None, None), (None, "revoked"), (certified(), "revoked")])
def test_who_is_not_to_be_there_is_told_goodbye(gate: Gate, grant: Grant | None, refusal: str | None) -> None:
    watcher, other = enter(gate, certified()), enter(gate, certified("bob"))
    judge(gate, watcher, grant, refusal)
    assert watcher.closed == CloseCode.REVOKED
    assert [goodbye.reconnect for goodbye in watcher.all(Goodbye)] == [False]
    assert other.closed is None


def test_a_token_outlives_its_users_entry_and_not_the_certificate(gate: Gate) -> None:
    watcher = enter(gate, certified(), "bob")
    judge(gate, watcher, None)
    assert watcher.closed is None
    judge(gate, watcher, None, "revoked")
    assert watcher.closed == CloseCode.REVOKED


def test_other_roles_apply_at_once_and_another_user_begins_anew(gate: Gate) -> None:
    watcher = enter(gate, certified())
    judge(gate, watcher, certified("ann", "viewer"))
    assert watcher.closed is None
    assert gate.core.sessions[watcher.number].principal == Principal("ann", ("viewer",))
    judge(gate, watcher, certified("bob", "viewer"))
    assert watcher.closed == CloseCode.RESYNC
    assert [goodbye.reconnect for goodbye in watcher.all(Goodbye)] == [True]


def test_without_a_change_nothing_is_said(gate: Gate) -> None:
    watcher = enter(gate, certified())
    before = len(watcher.told)
    judge(gate, watcher, certified())
    assert len(watcher.told) == before
    assert gate.core.certified(10_000, None, "revoked", gate.now_ms) == []


def test_the_end_of_a_certificate_ends_the_session_as_that_of_a_token_does(gate: Gate) -> None:
    ends_ms = gate.now_ms + EXPIRING_MS + 1000
    watcher = enter(gate, certified(expires_at_ms=ends_ms))
    gate.ticks(3, 0.5)
    assert watcher.all(TokenExpiring) == [TokenExpiring(ends_ms)]
    gate.ticks((ends_ms + GRACE_MS - gate.now_ms) / 1000.0 + 1.0, 0.5)
    assert watcher.closed == CloseCode.TOKEN_EXPIRED
