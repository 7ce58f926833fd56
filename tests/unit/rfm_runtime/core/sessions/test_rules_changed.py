"""Who looks on as a user hears that his rules are others now; nobody else does."""

from __future__ import annotations

import msgspec
import pytest

from rfm_runtime.protocol.internal import DoGetRules, DoSetRules, Principal
from rfm_runtime.protocol.messages import Subscribe
from rfm_runtime.protocol.notifying import GetRules, Rules, RulesChanged, RulesReply, SetRules
from rfm_runtime.testing.sessions import Gate, Story, Watcher

pytestmark = pytest.mark.scenario("E12", "J118")

ANN, BOB = Principal("ann", ("viewer",)), Principal("bob", ("viewer",))
NOBODY = Principal("ann", ())


def looks_on(gate: Gate, who: Principal) -> Watcher:
    watcher = gate.connect(principal=who).hello()
    watcher.say(Subscribe(operations="active"))
    return watcher


def heard(watcher: Watcher) -> list[RulesChanged]:
    return [one for one in watcher.told if isinstance(one, RulesChanged)]


def test_only_windows_of_that_user_are_told() -> None:
    story = Story()
    gate = Gate(story.answer).boot()
    gate.feed(story.frame())
    first, second, other = looks_on(gate, ANN), looks_on(gate, ANN), looks_on(gate, BOB)
    idle = gate.connect(principal=ANN).hello()
    strangers = gate.connect(principal=NOBODY).hello()

    gate.feed(msgspec.structs.replace(story.frame(), rules=(("ann", 7),)))

    assert heard(first) == heard(second) == [RulesChanged(7)]
    assert heard(other) == heard(idle) == heard(strangers) == []


def test_the_broker_is_asked_for_ones_own() -> None:
    story = Story()
    gate = Gate(story.answer).boot()
    gate.feed(story.frame())
    watcher = gate.connect(principal=ANN).hello()
    wanted = SetRules(version=3, rules=Rules())
    watcher.say(GetRules(), request_id=1)
    watcher.say(wanted, request_id=2)
    assert [forward.message for forward in gate.forwards] == [DoGetRules(ANN), DoSetRules(ANN, wanted)]
    gate.replied(RulesReply(version=3, rules=Rules()))
    assert [one for one in watcher.told if isinstance(one, RulesReply)] == [RulesReply(version=3, rules=Rules())]
