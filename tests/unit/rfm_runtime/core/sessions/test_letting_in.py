"""What decides where several things say who somebody is, and what a token that was revoked may still cost others."""

from __future__ import annotations

import hashlib
from typing import Any

import pytest

from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.core.sessions.door import REFUSED_BURST_S, Refused
from rfm_runtime.core.sessions.fetches import Fetches
from rfm_runtime.core.sessions.hub import USER_FETCHES_LIMIT, Exchange
from rfm_runtime.protocol.codes import CloseCode
from rfm_runtime.protocol.internal import DoSignInLink, Principal
from rfm_runtime.protocol.messages import FetchTiles, Hello, Ok, TilePixels, Welcome
from rfm_runtime.protocol.operation import ErrorInfo, TileGrid
from rfm_runtime.protocol.revocation import Revocation, Revocations
from rfm_runtime.protocol.sign_in import SignInLink
from rfm_runtime.protocol.wire import encode
from rfm_runtime.testing.sessions import TOKENS, Gate, Story

pytestmark = pytest.mark.scenario("J54")

CERTIFIED = Grant(Principal("cert", ("viewer",)), None, by_certificate=True)
OLD = Grant(Principal("ann", ("operator",)), None, "id-old", 1000)


def gate_with(story: Story | None = None, **settings: Any) -> Gate:
    return Gate((story or Story()).answer, heartbeat_s=1000.0, **settings).boot()


def revoked(**settings: Any) -> Gate:
    """A gate at which the token "old" is revoked, and says so."""
    gate = gate_with(**settings)
    gate.grants["old"] = OLD
    gate.core.answered(Revocations(1, (Revocation(version=1, token_id="id-old"),)), 0)
    return gate


@pytest.mark.scenario("G8")
def test_a_token_shown_behind_a_certificate_counts_for_the_connections_of_its_user() -> None:
    gate = gate_with(connections_per_user=3)
    # The certificate's own connections are others.
    closed = [gate.connect(grant=CERTIFIED).hello("ann").closed for _ in range(5)]
    assert closed == [None] * 3 + [CloseCode.CONNECTION_LIMIT] * 2
    assert gate.connect(grant=CERTIFIED).hello("bob").closed is None


def test_a_full_user_may_show_a_token_of_his_own_behind_his_certificate() -> None:
    gate = gate_with(connections_per_user=1)
    own = Grant(TOKENS["ann"], None, by_certificate=True)
    assert gate.connect(grant=own).hello("ann").closed is None


@pytest.mark.scenario("G2", "G8")
def test_a_revoked_token_stands_in_no_line_of_its_user() -> None:
    gate = revoked(handshakes_per_s=5.0)
    for _ in range(50):
        assert gate.core.knock(OLD, gate.now_s) == 0.0
    assert gate.core.knock(Grant(TOKENS["ann"]), gate.now_s) == 0.0


@pytest.mark.scenario("G2", "G8")
@pytest.mark.parametrize("in_header", [True, False])
def test_whoever_shows_a_revoked_token_again_and_again_is_told_when_to_come(in_header: bool) -> None:
    gate = revoked(refused_sign_ins_per_s=1.0, handshakes_per_s=1000.0)
    codes = []
    for _ in range(round(REFUSED_BURST_S) + 5):
        if in_header:
            found = gate.try_connect(grant=OLD)
            assert isinstance(found, Refused)
            codes.append(found.code)
        else:
            entered = gate.try_connect()
            codes.append(entered.code if isinstance(entered, Refused) else entered.hello("old").closed)
    assert codes[0] == CloseCode.REVOKED
    assert codes[-1] == CloseCode.RATE_LIMITED
    # Those who have another address, or a good token, come in.
    assert gate.connect(address="b").hello("ann").closed is None


def say(gate: Gate, watcher: Any, hello: Hello) -> list[Any]:
    data = encode(hello, "json", ts=0, request_id=1)
    commands = gate.core.received(watcher.number, data.decode(), gate.now_s, gate.now_ms)
    gate.carry_out(commands)
    gate.flush(watcher)
    return commands


@pytest.mark.parametrize("grant", [None, CERTIFIED])
def test_a_code_decides_as_a_token_does_and_a_second_hello_loses_nothing(grant: Grant | None) -> None:
    gate = gate_with()
    watcher = gate.connect(grant=grant)
    (exchange,) = say(gate, watcher, Hello(code="c"))
    assert exchange == Exchange(watcher.number, hashlib.sha256(b"c").hexdigest())
    # Its answer is on the way: what is said meanwhile is refused and the link is not lost.
    assert say(gate, watcher, Hello(token="bob")) == []
    assert say(gate, watcher, Hello(code="c")) == []
    assert [error.code for error in watcher.all(ErrorInfo)] == ["bad_request"] * 2
    gate.carry_out(gate.core.exchanged(watcher.number, "ann", gate.now_s, gate.now_ms))
    gate.flush(watcher)
    (welcome,) = watcher.all(Welcome)
    assert (welcome.user, welcome.token) == ("ann", "ann")
    say(gate, watcher, Hello(code="c"))
    assert watcher.closed is None
    assert gate.core.exchanged(watcher.number, "bob", gate.now_s, gate.now_ms) == []


def test_a_code_after_a_token_is_none() -> None:
    gate = gate_with()
    watcher = gate.connect(principal=TOKENS["eve"])
    say(gate, watcher, Hello(code="c"))
    assert watcher.closed == CloseCode.PROTOCOL


@pytest.mark.scenario("G8")
def test_one_users_connections_share_the_tiles_that_are_under_way() -> None:
    story = Story()
    story.accept("drawn", location="ipc://e", grid=TileGrid(width_px=64, height_px=64, tile_px=64, columns=1, rows=1))
    story.start("drawn")
    gate = gate_with(story)
    request = FetchTiles(operation_id="drawn", width=8, height=8)
    eves = [gate.connect().hello("eve") for _ in range(4)]
    for watcher in eves:
        for _ in range(6):
            watcher.say(request, request_id=2)
    assert len(gate.fetches) == USER_FETCHES_LIMIT
    refused = [error for watcher in eves for error in watcher.all(ErrorInfo)]
    assert {error.code for error in refused} == {"rate_limited"}
    assert all(error.retry_after_ms for error in refused)
    assert gate.core.counts["limited_fetch_user"] == 24 - USER_FETCHES_LIMIT
    # Others have their own, also while connections of the first go: the engine works on.
    for watcher in eves:
        gate.drop(watcher)
    again = gate.connect().hello("eve")
    again.say(request, request_id=2)
    gate.connect().hello("bob").say(request, request_id=2)
    assert len(gate.fetches) == USER_FETCHES_LIMIT + 1
    gate.fetched(TilePixels(operation_id="drawn", x=0, y=0, width=1, height=1, step=1, rgb=b"rgb"))
    again.say(request, request_id=2)
    assert len(gate.fetches) == USER_FETCHES_LIMIT + 1


def test_what_is_under_way_is_counted_until_it_has_come() -> None:
    fetches = Fetches()
    fetches.begin(1, "ann")
    fetches.begin(1, "ann")
    fetches.begin(2, "ann")
    assert (fetches.of("ann"), fetches.of("bob")) == (3, 0)
    for session in (1, 2, 1):
        fetches.end(session)
        fetches.sanity_check()
    assert fetches.of("ann") == 0


@pytest.mark.scenario("J51")
def test_the_audit_log_says_for_whom_a_link_is_and_with_which_roles() -> None:
    gate = gate_with()
    root = gate.connect().hello("root")
    link = SignInLink(digest="0" * 64, user="zed", roles=["admin"])
    asked = DoSignInLink(TOKENS["root"], link)
    gate.core.replied(root.number, 3, Ok(), gate.now_ms, asked)
    (entry,) = [entry for entry in gate.core.notes.take(all_of_it=True) if entry.event == "administered"]
    assert (entry.request, entry.owner, entry.granted) == ("sign_in_link", "zed", ("admin",))
