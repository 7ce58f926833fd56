"""Administrators whose token is of some kinds, or ends soon: what they give away is no more than they have."""

from __future__ import annotations

import itertools

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.core.sessions.forwarding import forwarded
from rfm_runtime.protocol.internal import Ack, DoExchange, DoRevoke, DoSignInLink, Exchanged, Principal, RevokeReply
from rfm_runtime.protocol.operation import ErrorInfo
from rfm_runtime.protocol.revocation import Revoke
from rfm_runtime.protocol.sign_in import SignInLink
from rfm_runtime.testing.operations import World

pytestmark = pytest.mark.scenario("G3", "J50", "J58")
DIGEST = "a" * 64
KINDS = st.none() | st.lists(st.sampled_from("abc"), unique=True, max_size=3)


def link(**fields: object) -> SignInLink:
    return SignInLink(**{"digest": DIGEST, "user": "eve", "roles": ["admin"], **fields})


def answer(world: World, message: DoSignInLink | DoExchange | DoRevoke) -> object:
    number = world.ask(b"gateway", message)
    world.write()
    return world.replies[number]


@given(maker=KINDS, given_away=KINDS)
def test_no_link_is_of_a_kind_that_its_maker_has_not(maker: list[str] | None, given_away: list[str] | None) -> None:
    world = World()
    who = Principal("boss", ("admin",), None if maker is None else tuple(maker))
    made = answer(world, DoSignInLink(who, link(kinds=given_away)))
    used = answer(world, DoExchange(DIGEST))
    if maker is None or (given_away is not None and set(given_away) <= set(maker)):
        assert made == Ack()
        assert isinstance(used, Exchanged)
        assert used.principal.kinds == (None if given_away is None else tuple(sorted(given_away)))
    else:
        assert isinstance(made, ErrorInfo)
        assert (made.code, bool(made.hint)) == ("forbidden", True)
        assert isinstance(used, ErrorInfo)


@pytest.mark.parametrize(
    ("kinds", "wanted"), list(itertools.product([(), ("a",), ("a", "b")], [Revoke(user="ann"), Revoke(token_id="x")]))
)
def test_whoever_is_narrowed_revokes_nobody(kinds: tuple[str, ...], wanted: Revoke) -> None:
    world = World()
    refused = answer(world, DoRevoke(Principal("boss", ("admin",), kinds), wanted))
    assert isinstance(refused, ErrorInfo)
    assert (refused.code, bool(refused.hint)) == ("forbidden", True)
    assert world.revocations == {}
    assert isinstance(answer(world, DoRevoke(Principal("boss", ("admin",)), wanted)), RevokeReply)


@given(
    lasts_ms=st.integers(-100_000, 100_000),
    waits_s=st.floats(0.0, 90.0),
    lifetime_s=st.floats(1.0, 200.0),
)
def test_what_a_link_gives_ends_no_later_than_the_token_of_its_maker(
    lasts_ms: int, waits_s: float, lifetime_s: float
) -> None:
    world = World()
    ends_ms = world.wall_ms + lasts_ms
    grant = Grant(Principal("boss", ("admin",)), ends_ms, "id", world.wall_ms)
    made = answer(world, forwarded(grant, link(lifetime_s=lifetime_s, valid_s=100.0)))
    if lasts_ms <= 0:
        assert isinstance(made, ErrorInfo)
        assert made.code == "token_expired"
        return
    assert made == Ack()
    world.mono_s += waits_s
    used = answer(world, DoExchange(DIGEST))
    if isinstance(used, ErrorInfo):
        assert waits_s * 1000 >= lasts_ms - 1
        return
    assert used.lifetime_s == pytest.approx(min(lifetime_s, lasts_ms / 1000 - waits_s))
    assert used.lifetime_s > 0.0


def test_what_is_asked_for_with_a_token_that_has_no_end_lasts_as_long_as_was_asked() -> None:
    world = World()
    assert answer(world, forwarded(Grant(Principal("local", ("admin",))), link(lifetime_s=2_592_000.0))) == Ack()
    used = answer(world, DoExchange(DIGEST))
    assert isinstance(used, Exchanged)
    assert used.lifetime_s == 2_592_000.0
