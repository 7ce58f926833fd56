"""A watcher that comes from another log is welcomed once the broker has said which one there is."""

from __future__ import annotations

import pytest

from rfm_runtime.core.sessions.hub import ASK_AHEAD_S, COME_BACK_MS, LOG_LIMIT_S, goodbye
from rfm_runtime.protocol.internal import EventsSince
from rfm_runtime.protocol.messages import Live, OperationList, ResumeFrom, Subscribed, Welcome
from rfm_runtime.testing.sessions import Gate, Story, Watcher

pytestmark = pytest.mark.scenario("D7", "J91")


class Restored:
    """A broker that was restored from a backup, and a gateway that has not heard of it yet."""

    def __init__(self) -> None:
        self.asked = 0
        self.story = self.old = story("log", 5)
        self.gate = Gate(self.answer).boot()
        self.story = story("restored", 3)
        self.asked = 0

    def answer(self, message):
        self.asked += isinstance(message, EventsSince)
        return self.story.answer(message)

    def come(self, *position, partial: bool = False) -> Watcher:
        return self.gate.connect().hello(resume=ResumeFrom(*position, partial)).subscribe()


def story(epoch: str, events: int) -> Story:
    made = Story(epoch)
    made.accept("a")
    while made.head < events:
        made.event("a", "operation_priority", "queued")
    return made


def welcomed(watcher: Watcher) -> list[str]:
    return [message.epoch for message in watcher.all(Welcome)]


def test_who_knows_the_new_log_resumes_in_it_at_a_gateway_that_was_in_the_old_one():
    it = Restored()
    watcher = it.come("restored", 3)
    it.gate.tick()
    assert (welcomed(watcher), watcher.all(Subscribed)) == (["restored"], [Subscribed(True)])
    assert watcher.all(Live) == [Live("restored", 3)]


def test_who_comes_from_the_old_log_is_told_its_name_until_the_gateway_hears_of_the_new_one():
    it = Restored()
    watcher = it.come("log", 5)
    assert (welcomed(watcher), it.asked) == (["log"], 0)
    it.gate.feed(it.story.frame())
    it.gate.tick()
    assert watcher.closed == 4010
    again = it.come("log", 5)
    it.gate.tick()
    assert (welcomed(again), again.all(Subscribed)) == (["restored"], [Subscribed(False)])
    assert len(again.all(OperationList)) == 1


def test_the_answer_to_an_older_question_names_no_log():
    it = Restored()
    it.story = it.old
    before = it.gate.core.replica.again(silent=True)
    it.story = story("restored", 3)
    it.gate.answer = lambda _message: None
    watcher = it.come("restored", 2)
    it.gate.unanswered.clear()
    for ask in before:
        it.gate.carry_out(list(it.gate.core.answered(it.old.answer(ask.message), ask.attempt)))
    it.gate.ticks(0.5)
    assert welcomed(watcher) == []
    it.gate.answer = it.answer
    it.gate.ticks(ASK_AHEAD_S)
    assert welcomed(watcher) == ["restored"]


def test_while_the_broker_says_nothing_nobody_is_told_of_another_log():
    it = Restored()
    it.gate.answer = lambda _message: None
    watcher = it.come("restored", 2)
    early = it.gate.connect().hello(resume=ResumeFrom("restored", 2))
    own = it.come("log", 5)
    it.gate.ticks(LOG_LIMIT_S - 0.1)
    assert (watcher.told, early.told, welcomed(own)) == ([], [], ["log"])
    assert 4 <= len(it.gate.unanswered) <= 6
    it.gate.ticks(0.2)
    assert watcher.told == early.told == [goodbye(4010, COME_BACK_MS)]
    assert (watcher.closed, early.closed, own.closed) == (4010, 4010, None)


def test_a_crowd_asks_once_a_second():
    it = Restored()
    it.story = it.old
    crowd = [it.come("lost", 9) for _ in range(10)]
    it.gate.ticks(ASK_AHEAD_S + 0.1)
    assert all(welcomed(watcher) == ["log"] and watcher.all(Subscribed) == [Subscribed(False)] for watcher in crowd)
    assert it.asked <= 2


def test_a_welcome_to_other_rights_says_how_old_the_list_must_not_be():
    it = Restored()
    watcher = it.gate.connect().hello(resume=ResumeFrom("log~0123456789abcdef", 7))
    assert [(message.epoch, message.seq) for message in watcher.all(Welcome)] == [("log", 7)]
