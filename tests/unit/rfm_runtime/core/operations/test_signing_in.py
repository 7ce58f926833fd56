"""Sign-in links at the broker: used once, in time, made by administrators, and not too many."""

from __future__ import annotations

import pytest

from rfm_runtime.core.operations import signing_in
from rfm_runtime.protocol.internal import Ack, DoExchange, DoRevoke, DoSignInLink, Exchanged, Principal
from rfm_runtime.protocol.revocation import Revoke
from rfm_runtime.protocol.sign_in import SignInLink
from rfm_runtime.testing.operations import ADMIN, World

pytestmark = pytest.mark.scenario("J58")
DIGEST = "a" * 64


def make(world, principal=ADMIN, /, token_id="", issued_at_ms=0, **fields):
    given = {"digest": DIGEST, "user": "ann", "roles": ["viewer"], **fields}
    asked = DoSignInLink(principal, SignInLink(**given), token_id, issued_at_ms)
    return world.replies[world.ask(b"gateway", asked)]


def use(world, digest=DIGEST):
    return world.replies[world.ask(b"gateway", DoExchange(digest))]


def test_it_is_used_once():
    world = World()
    assert make(world, roles=["reporter", "operator"], kinds=["b", "a"], lifetime_s=60.0) == Ack()
    assert use(world) == Exchanged(Principal("ann", ("operator", "reporter"), ("a", "b")), 60.0)
    assert use(world).code == "unauthorized"


def test_it_is_used_in_time_or_never():
    world = World()
    make(world, valid_s=10.0)
    world.mono_s += 10.0
    assert use(world).code == "unauthorized"
    # A wall clock that was set changes nothing.
    make(world, valid_s=10.0)
    world.wall_ms += 3_600_000
    assert isinstance(use(world), Exchanged)


def test_a_broker_that_is_started_again_knows_none():
    world = World()
    make(world)
    world.boot()
    assert use(world).code == "unauthorized"


@pytest.mark.scenario("G3")
@pytest.mark.parametrize("role", ["viewer", "operator", "reporter"])
def test_administrators_alone_make_them(role):
    world = World()
    assert make(world, Principal("eve", (role,)), roles=["admin"]).code == "forbidden"
    assert use(world).code == "unauthorized"


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        *(({"digest": digest}, "bad_request") for digest in ("", "a" * 63, "A" * 64, "g" * 64)),
        ({"user": "a/b"}, "bad_request"),
        ({"user": "local"}, "bad_request"),
        ({"roles": ["root"]}, "bad_request"),
        ({}, "conflict"),
    ],
)
def test_what_cannot_be_meant_is_refused(fields, code):
    world = World()
    if not fields:
        make(world)
    refused = make(world, **fields)
    assert (refused.code, bool(refused.hint)) == (code, True)


def test_there_is_an_end_to_them_until_some_are_too_old(monkeypatch):
    monkeypatch.setattr(signing_in, "LINKS_LIMIT", 2)
    world = World()
    make(world, digest="b" * 64, valid_s=5.0)
    make(world, digest="c" * 64, valid_s=50.0)
    assert make(world).code == "quota_exceeded"
    world.mono_s += 5.0
    assert make(world) == Ack()
    assert isinstance(use(world, "c" * 64), Exchanged)


BOSS = Principal("boss", ("admin",))


@pytest.mark.scenario("G2", "J56")
@pytest.mark.parametrize(
    ("revoked", "used"),
    [
        ({"user": "ann"}, False),
        ({"user": "boss"}, False),
        ({"token_id": "of-boss"}, False),
        ({"user": "bob"}, True),
        ({"token_id": "another"}, True),
        # Before the link was made, and the token that it was made with was issued.
        ({"user": "ann", "issued_before": 400}, True),
        ({"user": "boss", "issued_before": 400}, True),
        # The link is younger, the token is not.
        ({"user": "boss", "issued_before": 600}, False),
    ],
    ids=str,
)
def test_a_link_that_waits_ends_with_whom_it_is_for_its_maker_and_his_token(revoked, used):
    world = World()
    make(world, BOSS, token_id="of-boss", issued_at_ms=500)
    world.wall_ms += 1
    world.ask(b"gateway", DoRevoke(ADMIN, Revoke(**revoked)))
    # Not only from the commit on.
    assert isinstance(use(world), Exchanged) is used
    # The next one is another matter.
    assert make(world) == Ack()
    assert isinstance(use(world), Exchanged)


@pytest.mark.scenario("G2", "J56")
@pytest.mark.parametrize("revoked", [{"user": "boss"}, {"token_id": "of-boss"}], ids=str)
def test_a_gateway_that_has_not_heard_that_its_maker_was_revoked_makes_none(revoked):
    world = World()
    world.ask(b"gateway", DoRevoke(ADMIN, Revoke(**revoked)))
    assert make(world, BOSS, token_id="of-boss", issued_at_ms=500).code == "unauthorized"
    assert use(world).code == "unauthorized"
    # A later token of his is not revoked with the earlier ones.
    assert make(world, BOSS, token_id="next", issued_at_ms=world.wall_ms + 1) == Ack()
