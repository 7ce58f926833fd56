"""Whoever may see something else than when his position was given gets a list, and knows everything at the end."""

from __future__ import annotations

import hypothesis.strategies as st
import pytest
from hypothesis import given

from rfm_runtime.client.mirror import Mirror
from rfm_runtime.core.permissions import sight
from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.core.sessions.hub import RESUME_WAIT_S
from rfm_runtime.core.sessions.positions import epoch_for, is_whole, log_of
from rfm_runtime.protocol.internal import Principal
from rfm_runtime.protocol.messages import (
    AuthRefresh,
    Live,
    OperationList,
    ResumeFrom,
    Subscribed,
    Welcome,
)
from rfm_runtime.protocol.operation import OperationEvent
from rfm_runtime.testing.sessions import Gate, Story, Watcher

pytestmark = pytest.mark.scenario("G2", "J90")

RIGHTS = {
    "wide": Principal("ann", ("viewer",)),
    "own": Principal("ann", ("reporter",)),
    "other kind": Principal("ann", ("viewer",), ("other",)),
    "bobs own": Principal("bob", ("reporter",)),
    "nothing": Principal("ann", ()),
}
SCENE = {"a": "ann", "b": "bob"}
SEEN = {"wide": {"a", "b"}, "own": {"a"}, "other kind": set(), "bobs own": {"b"}}


class Stage:
    """Two users' operations, and one watcher with the client's mirror over all its connections."""

    def __init__(self, **settings) -> None:
        self.story = Story()
        self.settings = settings
        for operation_id, owner in SCENE.items():
            self.story.accept(operation_id, owner=owner)
            self.story.start(operation_id)
        self.mirror = Mirror()
        self.gate = self.new_gate()

    def new_gate(self, answers: bool = True) -> Gate:
        gate = Gate(self.story.answer if answers else lambda _message: None, **self.settings)
        gate.grants |= {name: Grant(principal) for name, principal in RIGHTS.items()}
        return gate.boot()

    def enter(self, token: str, gate: Gate | None = None) -> Watcher:
        watcher = (gate or self.gate).connect().hello(token, resume=self.mirror.resume)
        return watcher.subscribe()

    def read(self, watcher: Watcher, upto: type | None = None) -> None:
        """Take what it was told, up to the first message of a type."""
        for message in watcher.told:
            match message:
                case Welcome():
                    self.mirror.forget_log(message.epoch, message.seq)
                case OperationList():
                    self.mirror.page(message)
                case Live():
                    self.mirror.moved(message.epoch, message.seq)
                case OperationEvent():
                    self.mirror.event(message)
            if upto is not None and isinstance(message, upto):
                break
        watcher.forget()

    def happens(self) -> None:
        for operation_id in SCENE:
            self.story.event(operation_id, "operation_priority", "running")
        self.gate.feed(self.story.frame())

    def known(self) -> dict[str, int]:
        return {operation_id: operation.at_seq for operation_id, operation in self.mirror.operations.items()}

    def true(self, token: str) -> dict[str, int]:
        return {operation_id: self.story.operations[operation_id].at_seq for operation_id in SEEN[token]}


def recovered(watcher: Watcher) -> list[bool]:
    return [answer.recovered for answer in watcher.all(Subscribed)]


@pytest.mark.parametrize("before", SEEN)
@pytest.mark.parametrize("after", SEEN)
def test_who_comes_back_with_other_rights_gets_a_list_and_who_has_the_same_resumes(before: str, after: str) -> None:
    stage = Stage()
    watcher = stage.enter(before)
    stage.read(watcher)
    assert stage.known() == stage.true(before)
    stage.gate.drop(watcher)
    stage.happens()
    watcher = stage.enter(after)
    assert recovered(watcher) == [before == after]
    stage.read(watcher)
    assert stage.known() == stage.true(after)
    stage.happens()
    stage.read(watcher)
    assert stage.known() == stage.true(after)


def test_rights_that_widen_on_the_way_and_a_connection_that_drops_within_the_list() -> None:
    stage = Stage()
    watcher = stage.enter("own")
    stage.read(watcher)
    watcher.say(AuthRefresh("wide"))
    stage.read(watcher, OperationList)
    assert stage.known() == stage.true("wide")
    stage.gate.drop(watcher)
    stage.story.end("a")
    stage.gate.feed(stage.story.frame())
    watcher = stage.enter("wide")
    # It would hear once more of what the list had, and with more pages not at all of what they had.
    assert recovered(watcher) == [False]
    assert watcher.all(OperationEvent) == []
    stage.read(watcher)
    assert stage.known() == stage.true("wide")


def test_rights_that_change_and_change_back_within_a_list() -> None:
    """The list without it has taken `b` away: its position under the rights before is none any more."""
    stage = Stage()
    watcher = stage.enter("wide")
    stage.read(watcher)
    watcher.say(AuthRefresh("own"))
    stage.read(watcher, OperationList)
    assert stage.known() == stage.true("own")
    stage.gate.drop(watcher)
    watcher = stage.enter("wide")
    assert recovered(watcher) == [False]
    stage.read(watcher)
    assert stage.known() == stage.true("wide")
    stage.gate.drop(watcher)
    assert recovered(stage.enter("wide")) == [True]


def test_rights_that_widen_while_it_waits_for_a_gateway_that_has_just_come_up() -> None:
    stage = Stage()
    watcher = stage.enter("own")
    stage.read(watcher)
    stage.gate.drop(watcher)
    stage.gate = stage.new_gate(answers=False)
    watcher = stage.enter("own")
    watcher.say(AuthRefresh("wide"))
    assert recovered(watcher) == []
    stage.gate.answer = stage.story.answer
    stage.gate.carry_out(list(stage.gate.core.ask_again(stage.gate.now_s)))
    stage.gate.tick(0.1)
    assert recovered(watcher) == [False]
    stage.read(watcher)
    assert stage.known() == stage.true("wide")
    stage.gate.drop(watcher)
    assert recovered(stage.enter("wide")) == [True]


def test_a_list_for_other_rights_is_not_older_than_what_the_watcher_knows() -> None:
    stage = Stage()
    lags = stage.new_gate()
    watcher = stage.enter("own")
    stage.happens()
    stage.read(watcher)
    stage.gate.drop(watcher)
    watcher = stage.enter("wide", lags)
    lags.ticks(RESUME_WAIT_S / 2)
    assert recovered(watcher) == []
    lags.ticks(RESUME_WAIT_S)
    assert recovered(watcher) == [False]
    stage.read(watcher)
    assert stage.known() == stage.true("wide")


def test_a_position_within_a_list_is_answered_by_a_list_whatever_the_rights() -> None:
    stage = Stage()
    whole = stage.gate.connect().hello("wide", resume=ResumeFrom("log", 4)).subscribe()
    partial = stage.gate.connect().hello("wide", resume=ResumeFrom("log", 4, partial=True)).subscribe()
    assert (recovered(whole), recovered(partial)) == ([True], [False])


# --- names --------------------------------------------------------------------------------------

principals = st.builds(
    Principal,
    st.sampled_from(["ann", "bob", "ann,bob"]),
    st.lists(st.sampled_from(["viewer", "operator", "admin", "reporter", "none"]), max_size=2).map(tuple),
    st.none() | st.lists(st.sampled_from(["a", "b", "a,b"]), max_size=3).map(tuple),
)


@given(principals, principals, st.integers(1, 2**53))
def test_a_position_is_good_for_those_alone_who_see_the_same(one: Principal, other: Principal, seq: int) -> None:
    epoch = epoch_for("log0-0123456789abcdef", sight(one))
    assert len(epoch) <= 64
    assert log_of(epoch) == "log0-0123456789abcdef"
    same = sight(one) == sight(other)
    assert is_whole(ResumeFrom(epoch, seq), log_of(epoch), sight(other)) is same
    assert is_whole(ResumeFrom(epoch, 0), log_of(epoch), sight(other))
    assert not is_whole(ResumeFrom(epoch, seq, partial=True), log_of(epoch), sight(one))
    assert not is_whole(ResumeFrom(epoch, seq), "another", sight(one))


def test_who_sees_everything_is_told_the_name_of_the_log_alone() -> None:
    assert epoch_for("log", sight(RIGHTS["wide"])) == "log"
    assert epoch_for("log", sight(RIGHTS["nothing"])).startswith("log~")
