"""Rules of notifications at the broker: one's own, on disk before they are told, and none lost unseen."""

from __future__ import annotations

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from rfm_runtime.core.notifying.rules import DEFAULTS
from rfm_runtime.core.operations import ruling
from rfm_runtime.protocol.internal import DoGetRules, DoSetRules, Principal
from rfm_runtime.protocol.notifying import Quiet, Rule, Rules, RulesReply, SetRules
from rfm_runtime.protocol.operation import ErrorInfo
from rfm_runtime.testing.operations import ADMIN, World

pytestmark = pytest.mark.scenario("E12", "J118")

ANN, BOB = Principal("ann", ("viewer",)), Principal("bob", ("operator",))
MINE = Rules(rules=(Rule(rule_id="mine", when=("failed",), voice=True),), quiet=(Quiet(from_minute=0, to_minute=60),))
OTHER = Rules(rules=(Rule(rule_id="other", when=("started",), whose="anybody"),))


@pytest.fixture
def world() -> World:
    return World()


def get(world: World, who: Principal = ANN) -> RulesReply:
    return world.call(b"gateway", DoGetRules(who), RulesReply)


def put(world: World, rules: Rules | None, version: int, who: Principal = ANN) -> RulesReply:
    return world.call(b"gateway", DoSetRules(who, SetRules(version=version, rules=rules)), RulesReply)


def refused(world: World, rules: Rules | None, version: int, who: Principal = ANN) -> ErrorInfo:
    return world.refused(b"gateway", DoSetRules(who, SetRules(version=version, rules=rules)))


def test_whoever_has_none_has_those_that_everybody_has_at_first(world: World) -> None:
    assert get(world) == RulesReply(version=0, rules=DEFAULTS)


def test_they_are_on_disk_before_they_are_told_or_answered(world: World) -> None:
    number = world.ask(b"gateway", DoSetRules(ANN, SetRules(version=0, rules=MINE)))
    assert number not in world.replies
    assert not world.ruled
    assert get_committed(world) == RulesReply(version=0, rules=DEFAULTS)
    world.write()
    answer = world.replies[number]
    assert answer == get(world) == RulesReply(version=world.wall_ms, rules=MINE)
    assert world.ruled == [("ann", world.wall_ms)]


def get_committed(world: World) -> object:
    """Without writing what waits."""
    return world.replies[world.ask(b"gateway", DoGetRules(ANN))]


def test_they_outlive_the_broker_and_what_was_not_written_does_not(world: World) -> None:
    first = put(world, MINE, 0)
    world.ask(b"gateway", DoSetRules(ANN, SetRules(version=first.version, rules=OTHER)))
    world.boot()
    assert get(world) == first
    assert put(world, OTHER, first.version).rules == OTHER


def test_two_windows_do_not_overwrite_each_other_unseen(world: World) -> None:
    first = put(world, MINE, 0)
    put(world, OTHER, first.version)
    lost = refused(world, MINE, first.version)
    assert (lost.code, lost.hint) == ("conflict", "look at them again, and make the change once more")
    assert get(world).rules == OTHER
    # Both at once, before any of it is on disk.
    now = get(world).version
    one = world.ask(b"gateway", DoSetRules(ANN, SetRules(version=now, rules=MINE)))
    two = world.ask(b"gateway", DoSetRules(ANN, SetRules(version=now, rules=DEFAULTS)))
    world.write()
    assert isinstance(world.replies[one], RulesReply)
    assert isinstance(world.replies[two], ErrorInfo)
    assert get(world).rules == MINE


def test_a_number_is_not_given_again_after_they_were_forgotten(world: World) -> None:
    first = put(world, MINE, 0)
    assert put(world, None, first.version) == RulesReply(version=0, rules=DEFAULTS)
    assert world.rules == {}
    assert refused(world, OTHER, first.version).code == "conflict"
    world.wall_ms += 1
    again = put(world, OTHER, 0)
    assert again.version > first.version
    assert put(world, None, again.version).version == 0
    # Nothing is there, and nothing is written.
    before = world.hub.log.newest
    assert put(world, None, 0).rules == DEFAULTS
    assert world.hub.log.newest == before + 1
    assert not world.waiting


def test_each_has_his_own_and_nobody_sees_anothers(world: World) -> None:
    put(world, MINE, 0)
    assert get(world, BOB) == RulesReply(version=0, rules=DEFAULTS)
    bobs = put(world, OTHER, 0, BOB)
    assert get(world).rules == MINE
    assert get(world, ADMIN).rules == DEFAULTS
    assert get(world, Principal("bob", ("reporter",), ("copy",))) == bobs
    nobody = world.refused(b"gateway", DoGetRules(Principal("bob", ())))
    assert (nobody.code, nobody.message) == ("forbidden", "bob (no role) may not have rules of notifications")


def test_what_cannot_be_kept_is_refused_and_changes_nothing(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    twice = refused(world, Rules(rules=(MINE.rules[0], MINE.rules[0])), 0)
    assert (twice.code, twice.message) == ("bad_request", "two rules have the id 'mine'")
    long = tuple(
        Rule(rule_id=f"r{number}", when=("failed",), kinds=tuple(f"{k}".ljust(128, "x") for k in range(16)))
        for number in range(32)
    )
    big = refused(world, Rules(rules=long), 0)
    assert big.code == "too_large"
    assert "32,768 are the limit" in big.message
    monkeypatch.setattr(ruling, "USERS_LIMIT", 1)
    first = put(world, MINE, 0)
    assert refused(world, OTHER, 0, BOB).code == "quota_exceeded"
    assert put(world, OTHER, first.version).rules == OTHER
    assert get(world, BOB).version == 0
    world.fail()
    full = refused(world, MINE, get_version(world))
    assert full.code == "unavailable"
    world.recover()
    assert get(world).rules == OTHER


def get_version(world: World) -> int:
    return world.hub.rules.version("ann")


@example([("ann", "set"), ("ann", "write"), ("ann", "reset"), ("ann", "reset"), ("ann", "write")])
@given(
    st.lists(st.tuples(st.sampled_from(["ann", "bob"]), st.sampled_from(["set", "reset", "stale", "write", "boot"])))
)
def test_over_any_history_what_is_kept_is_what_was_answered_last(steps: list[tuple[str, str]]) -> None:
    world = World()
    answered: dict[str, RulesReply] = {}
    asked: dict[int, str] = {}
    versions: set[tuple[str, int]] = set()
    for place, (user, what) in enumerate(steps):
        who = Principal(user, ("viewer",))
        if what == "write":
            world.write()
        elif what == "boot":
            world.boot()
            asked.clear()
        else:
            rules = None if what == "reset" else Rules(rules=(Rule(rule_id=f"r{place}", when=("failed",)),))
            version = world.hub.rules.version(user) + (1 if what == "stale" else 0)
            number = world.ask(b"gateway", DoSetRules(who, SetRules(version=version, rules=rules)))
            asked[number] = user
        for number in [number for number in asked if number in world.replies]:
            whose, answer = asked.pop(number), world.replies[number]
            if isinstance(answer, RulesReply):
                if answer.version:
                    assert (whose, answer.version) not in versions
                    versions.add((whose, answer.version))
                answered[whose] = answer
            else:
                assert isinstance(answer, ErrorInfo)
        world.wall_ms += 1
    world.boot()
    for user, expected in answered.items():
        assert get(world, Principal(user, ("viewer",))) == expected
