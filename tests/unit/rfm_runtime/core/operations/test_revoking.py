"""Revoked tokens at the broker: on disk before anybody is told, by rising versions, not forgotten too soon."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.core.operations import revoking
from rfm_runtime.protocol.internal import DoRevoke, GetRevocations, Principal, Snapshot
from rfm_runtime.protocol.operation import ErrorInfo
from rfm_runtime.protocol.revocation import Revocations, Revoke, RevokeReply
from rfm_runtime.testing.operations import ADMIN, World

pytestmark = pytest.mark.scenario("G2", "J56")


@pytest.fixture
def world():
    return World()


def revoke(world, principal=ADMIN, /, **fields):
    return world.ask(b"gateway", DoRevoke(principal, Revoke(**fields)))


def known(world):
    number = world.ask(b"gateway", GetRevocations())
    answer = world.replies[number]
    assert isinstance(answer, Revocations)
    return answer


def test_it_is_on_disk_before_it_is_told_or_answered(world):
    number = revoke(world, token_id="t-1", reason="lost")
    assert (world.revoked, world.replies.get(number), known(world)) == ([], None, Revocations())
    world.write()
    assert world.replies[number] == RevokeReply(1)
    (told,) = world.revoked
    assert told == known(world)
    (entry,) = told.entries
    assert (entry.token_id, entry.by, entry.reason, entry.at_ms) == ("t-1", "local", "lost", world.wall_ms)


def test_a_gateway_that_joins_is_given_them_with_the_first_page(world):
    revoke(world, user="ann")
    world.write()
    first = world.replies[world.ask(b"gateway", Snapshot())]
    assert first.revocations == known(world)
    assert first.revocations.entries[0].issued_before_ms == world.wall_ms
    assert world.replies[world.ask(b"gateway", Snapshot("a"))].revocations is None


def test_a_broker_that_is_killed_knows_what_was_answered_and_nothing_else(world):
    revoke(world, token_id="t-1")
    world.write()
    revoke(world, token_id="t-2")
    world.boot()
    assert [entry.token_id for entry in known(world).entries] == ["t-1"]
    revoke(world, token_id="t-3")
    world.write()
    assert known(world).version == 2


def test_the_same_again_changes_nothing_and_is_answered_after_the_first(world):
    first, second = revoke(world, user="ann", issued_before=500), revoke(world, user="ann", issued_before=400)
    assert second not in world.replies
    world.write()
    assert [world.replies[number] for number in (first, second)] == [RevokeReply(1), RevokeReply(1)]
    later = revoke(world, user="ann", issued_before=600)
    world.write()
    assert world.replies[later] == RevokeReply(2)
    assert [entry.issued_before_ms for entry in known(world).entries] == [600]


def test_a_token_is_revoked_for_the_longest_time_that_was_asked_for(world):
    ends = [world.wall_ms + 2000, world.wall_ms + 1000, world.wall_ms + 3000, None, world.wall_ms + 9000]
    found = []
    for end in ends:
        revoke(world, token_id="t-1", expires_at=end)
        world.write()
        found += [(entry.version, entry.expires_at_ms) for entry in known(world).entries]
    assert found == [(1, ends[0]), (1, ends[0]), (2, ends[2]), (3, None), (3, None)]


def test_one_that_was_over_and_is_revoked_again_is_kept(world):
    revoke(world, token_id="t-1", expires_at=world.wall_ms)
    revoke(world, token_id="t-2")
    world.write()
    world.wall_ms += revoking.CLOCKS_MS + 1
    revoke(world, token_id="t-1")
    world.write()
    world.boot()
    assert {entry.token_id: entry.expires_at_ms for entry in known(world).entries} == {"t-1": None, "t-2": None}


def test_seconds_in_place_of_milliseconds_are_no_revocation(world):
    for expires_at in (world.wall_ms // 1000, world.wall_ms - revoking.CLOCKS_MS - 1):
        refused = world.replies[revoke(world, token_id="t-1", expires_at=expires_at)]
        assert refused.code == "bad_request"
        assert "milliseconds" in refused.hint
    # One that may still be taken, by other clocks.
    number = revoke(world, token_id="t-1", expires_at=world.wall_ms - revoking.CLOCKS_MS)
    world.write()
    assert world.replies[number] == RevokeReply(1)


@pytest.mark.scenario("G3")
@pytest.mark.parametrize("role", ["viewer", "operator", "reporter", "nothing"])
def test_whoever_is_no_administrator_revokes_nothing(world, role):
    refused = world.replies[revoke(world, Principal("eve", (role,)), user="ann")]
    assert isinstance(refused, ErrorInfo)
    assert refused.code == "forbidden"
    assert known(world) == Revocations()


@pytest.mark.parametrize(
    "fields", [{}, {"token_id": "t", "user": "ann"}, {"user": "ann", "issued_before": 2_000_000_000_000}]
)
def test_what_cannot_be_meant_is_refused(world, fields):
    refused = world.replies[revoke(world, **fields)]
    assert (refused.code, bool(refused.hint)) == ("bad_request", True)


@pytest.mark.scenario("F7")
def test_a_full_disk_that_takes_outcomes_takes_this_too_and_one_that_takes_nothing_says_so(world):
    world.fail()
    assert world.replies[revoke(world, user="ann")].code == "unavailable"
    world.recover()
    world.hub.log.failing, world.hub.log.outcomes_only = "full", True
    number = revoke(world, user="ann")
    world.write()
    assert world.replies[number] == RevokeReply(1)


def test_there_is_an_end_to_them_until_some_have_expired(world, monkeypatch):
    monkeypatch.setattr(revoking, "REVOCATIONS_LIMIT", 3)
    for name in "abc":
        revoke(world, token_id=name, expires_at=world.wall_ms + 1000)
    assert world.replies[revoke(world, token_id="d")].code == "quota_exceeded"
    world.write()
    world.wall_ms += 1000 + revoking.CLOCKS_MS
    assert world.replies[revoke(world, token_id="d")].code == "quota_exceeded"
    world.wall_ms += 1
    revoke(world, token_id="d")
    world.write()
    # The newest of them stays: its number must not be given twice.
    assert [entry.token_id for entry in known(world).entries] == ["c", "d"]
    world.boot()
    assert known(world).version == 4


@given(
    st.lists(
        st.tuples(
            st.sampled_from(["token", "user", "write", "boot", "time"]),
            st.integers(0, 3),
            st.none() | st.integers(0, 9),
        ),
        max_size=40,
    )
)
def test_versions_rise_whatever_happens_and_what_was_answered_stays(steps):
    world = World()
    told = []
    held: dict[str, int] = {}
    for what, who, later in steps:
        match what:
            case "token":
                expires_at = None if later is None else world.wall_ms + 10_000 * later
                number = revoke(world, token_id=f"t{who}", expires_at=expires_at)
                world.write()
                if isinstance(world.replies[number], RevokeReply):
                    held[f"token:t{who}"] = 2**60 if expires_at is None else expires_at
            case "user":
                revoke(world, user=f"u{who}")
            case "write":
                world.write()
            case "boot":
                world.write()
                world.boot()
            case "time":
                world.wall_ms += 20_000 * who
        world.hub.sanity_check()
        found = known(world)
        told.append(found)
        for key, expires_at_ms in held.items():
            still = any(entry.key == key for entry in found.entries)
            assert still or any(
                entry.key == key and entry.expires_at_ms is not None and entry.expires_at_ms < world.wall_ms
                for before in told
                for entry in before.entries
            ), (key, expires_at_ms)
    versions = [one.version for one in told]
    assert versions == sorted(versions)
    # One version is one set.
    assert len({one.version for one in told}) == len(set(told))
