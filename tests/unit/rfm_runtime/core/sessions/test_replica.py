"""The replica: what it applies, what it asks for after each kind of gap, what it keeps and what it forgets."""

from __future__ import annotations

import msgspec
import pytest

from rfm_runtime.core.sessions.replica import BUFFER_LIMIT, Replica
from rfm_runtime.protocol.internal import EventsSince, ProgressState, Snapshot
from rfm_runtime.testing.sessions import Story


class Followed:
    """A replica that follows a story; `asks` are the questions that nobody has answered yet."""

    def __init__(self, history_events=100):
        self.story = Story()
        self.replica = Replica(history_events)
        self.asks = []

    def take(self, asks):
        self.asks += asks
        self.replica.sanity_check()

    def feed(self, *frames):
        for frame in frames:
            self.take(self.replica.frame(frame))

    def answer(self, ask=None, answer=None):
        """The broker answers a question: the oldest, if none is given."""
        ask = ask or self.asks.pop(0)
        answer = answer or self.story.answer(ask.message)
        match ask.message:
            case Snapshot():
                self.take(self.replica.page(answer, ask.attempt))
            case EventsSince():
                self.take(self.replica.events(answer, ask.attempt))
            case ProgressState():
                self.replica.progress_state(answer, ask.attempt)
        self.replica.sanity_check()

    def settle(self):
        while self.asks:
            self.answer()

    def states(self):
        return {oid: operation.state for oid, operation in self.replica.operations.items()}


@pytest.fixture
def it():
    followed = Followed()
    yield followed
    followed.replica.sanity_check()


def live(followed):
    followed.take(followed.replica.restart())
    followed.settle()
    assert followed.replica.is_live
    return followed


def messages(followed):
    return [type(ask.message) for ask in followed.asks]


# --- becoming live --------------------------------------------------------------------------------


def test_the_first_frame_of_all_makes_it_read_everything(it):
    it.story.accept("op")
    it.feed(it.story.frame())
    assert messages(it) == [Snapshot]
    it.settle()
    assert it.replica.is_live
    assert it.states() == {"op": "pending"}


def test_a_snapshot_comes_in_pages_and_the_events_since_its_first_follow(it):
    it.story.page_limit = 2
    for number in range(5):
        it.story.accept(f"op-{number}")
    it.take(it.replica.restart())
    it.answer()
    # Both happen between two pages: one to what was sent already, one to what is still to come.
    it.story.start("op-0")
    it.story.start("op-4")
    it.settle()
    assert it.states() == {f"op-{number}": "running" if number in (0, 4) else "pending" for number in range(5)}
    assert it.replica.position == it.story.head


def test_frames_that_come_while_it_reads_are_applied_afterwards(it):
    it.story.accept("op")
    it.take(it.replica.restart())
    it.answer()
    answer = it.story.answer(it.asks[0].message)
    it.story.start("op")
    it.feed(it.story.frame(it.story.measure("op", 5.0)))
    assert it.states() == {"op": "pending"}
    it.answer(it.asks.pop(0), answer)
    assert it.states() == {"op": "running"}
    assert it.replica.progress["op"].update.done == 5.0


def test_a_broker_that_is_replaced_between_two_pages_is_read_anew(it):
    it.story.page_limit = 1
    it.story.accept("a")
    it.story.accept("b")
    it.take(it.replica.restart())
    it.answer()
    it.story.restart()
    it.answer()
    assert it.asks[-1].message == Snapshot()
    it.settle()
    assert sorted(it.states()) == ["a", "b"]


def test_more_frames_than_it_keeps_while_it_reads_start_it_again(it):
    live(it)
    it.story.accept("op")
    it.story.frame()
    it.feed(it.story.frame())
    assert messages(it) == [EventsSince]
    unanswered = it.asks.pop()
    for _ in range(BUFFER_LIMIT):
        it.feed(it.story.frame())
    assert messages(it) == [Snapshot]
    it.answer(unanswered)
    assert not it.replica.is_live
    it.settle()
    assert it.states() == {"op": "pending"}


def test_what_was_not_answered_is_asked_again(it):
    assert [type(ask.message) for ask in it.replica.again(silent=False)] == [Snapshot]
    live(it)
    assert it.replica.again(silent=False) == []
    it.story.accept("op")
    it.story.frame()
    it.feed(it.story.frame())
    first = it.asks.pop()
    it.take(it.replica.again(silent=False))
    assert (it.asks[0].message, it.asks[0].attempt > first.attempt) == (first.message, True)
    it.answer()
    unanswered = it.asks.pop()
    assert isinstance(unanswered.message, ProgressState)
    it.take(it.replica.again(silent=False))
    assert messages(it) == [ProgressState]
    it.settle()
    assert it.replica.again(silent=False) == []


# --- gaps -----------------------------------------------------------------------------------------


def test_frames_in_order_are_applied_and_ask_nothing(it):
    live(it)
    it.story.accept("op")
    it.feed(it.story.frame())
    it.story.start("op")
    it.feed(it.story.frame(it.story.measure("op", 1.0)))
    assert it.asks == []
    assert it.states() == {"op": "running"}
    assert it.replica.changed == {"op"}


@pytest.mark.scenario("D14")
def test_a_gap_in_events_asks_for_those_since_the_position(it):
    live(it)
    it.story.accept("op")
    it.story.frame()
    it.story.start("op")
    it.feed(it.story.frame())
    assert it.asks[0].message == EventsSince("log", 0)
    it.settle()
    assert [entry.event.seq for entry in it.replica.ring] == [1, 2]
    assert it.states() == {"op": "running"}


def test_a_lost_frame_of_progress_asks_for_the_state_of_progress(it):
    it.story.accept("op")
    it.story.start("op")
    live(it)
    it.feed(it.story.frame())
    it.story.frame(it.story.measure("op", 1.0))
    it.feed(it.story.frame())
    assert messages(it) == [ProgressState]
    it.settle()
    assert it.replica.progress["op"].update.done == 1.0


def test_a_new_incarnation_of_the_broker_asks_for_the_state_of_progress(it):
    live(it)
    it.feed(it.story.frame())
    it.story.restart()
    it.story.frame()
    # Its number follows that of the last one of the old incarnation, by chance.
    it.feed(it.story.frame())
    assert messages(it) == [ProgressState]
    assert it.replica.is_live


def test_a_late_frame_of_an_old_incarnation_changes_nothing(it):
    it.story.accept("op")
    it.story.start("op")
    live(it)
    late = it.story.frame(it.story.measure("op", 1.0))
    it.story.restart()
    it.feed(it.story.frame())
    it.settle()
    it.replica.changed.clear()
    it.feed(late)
    assert it.asks == []
    assert it.replica.changed == set()


@pytest.mark.scenario("D7")
def test_another_epoch_is_read_from_the_beginning(it):
    it.story.accept("old")
    live(it)
    generation = it.replica.generation
    it.story = Story("other")
    it.story.accept("new")
    it.feed(it.story.frame())
    assert messages(it) == [Snapshot]
    it.settle()
    assert (it.replica.epoch, it.states()) == ("other", {"new": "pending"})
    assert it.replica.generation > generation
    assert it.replica.floor == it.replica.position == 1


def test_a_gap_older_than_the_brokers_memory_is_a_snapshot(it):
    live(it)
    it.story.accept("op")
    it.story.start("op")
    it.story.forget_before(1)
    it.story.frame()
    it.feed(it.story.frame())
    it.answer()
    assert messages(it) == [Snapshot]
    it.settle()
    assert it.states() == {"op": "running"}
    assert it.replica.floor == 2


def test_an_answer_to_an_older_question_is_ignored(it):
    it.story.accept("op")
    it.take(it.replica.restart())
    older = it.asks.pop()
    it.take(it.replica.restart())
    it.answer(older)
    assert it.states() == {}
    it.settle()
    it.story.start("op")
    it.story.frame()
    it.feed(it.story.frame())
    older = it.asks.pop()
    it.take(it.replica.again(silent=False))
    it.answer(older)
    assert not it.replica.is_live
    it.settle()
    assert it.replica.is_live


def test_a_snapshot_that_reaches_up_to_the_ring_leaves_it(it):
    live(it)
    it.story.accept("op")
    it.feed(it.story.frame())
    generation = it.replica.generation
    it.take(it.replica.restart())
    it.settle()
    assert (it.replica.generation, it.replica.floor) == (generation, 0)


# --- what is known of an operation ----------------------------------------------------------------


def test_progress_of_a_lower_revision_changes_nothing(it):
    it.story.accept("op")
    it.story.start("op")
    live(it)
    first, second = it.story.measure("op", 1.0), it.story.measure("op", 2.0)
    it.feed(it.story.frame(second))
    it.feed(it.story.frame(first))
    assert it.replica.progress["op"].update == it.replica.operations["op"].latest == second


def test_there_is_no_progress_after_an_outcome_nor_of_what_nobody_knows(it):
    it.story.accept("op")
    it.story.start("op")
    live(it)
    late = it.story.measure("op", 1.0)
    it.feed(it.story.frame(msgspec.structs.replace(late, operation_id="stranger")))
    it.story.end("op")
    it.feed(it.story.frame(late))
    assert it.replica.progress == {}
    assert (it.replica.changed, it.replica.ended) == (set(), {"op"})
    assert it.replica.operations["op"].latest.rev > late.rev


def test_what_was_shown_is_not_taken_back_by_a_broker_that_was_just_started(it):
    it.story.accept("op")
    it.story.start("op")
    it.story.measure("op", 3.0)
    journalled = it.story.operations["op"]
    live(it)
    it.feed(it.story.frame(it.story.measure("op", 5.0)))
    it.story.operations["op"] = journalled
    it.story.restart()
    it.take(it.replica.restart())
    it.settle()
    assert it.replica.operations["op"].latest.done == 5.0
    assert it.replica.progress["op"].update.done == 5.0


def test_what_was_shown_is_not_taken_back_when_it_is_started_again(it):
    it.story.accept("op")
    it.story.start("op")
    it.story.measure("op", 3.0)
    journalled = it.story.operations["op"]
    live(it)
    it.feed(it.story.frame(it.story.measure("op", 5.0)))
    it.story.operations["op"] = journalled
    it.story.start("op")
    it.feed(it.story.frame())
    assert it.replica.operations["op"].latest.done == 5.0


def test_an_event_changes_the_fields_it_carries(it):
    it.story.accept("op")
    live(it)
    it.story.event("op", "operation_priority", "pending", priority=7)
    it.story.end("op", "canceled", forced=True, cancel_requested=True)
    it.feed(it.story.frame())
    operation = it.replica.operations["op"]
    assert (operation.priority, operation.state, operation.ended_at_ms) == (7, "canceled", 3)
    assert (operation.forced, operation.cancel_requested) == (True, True)


# --- memory ---------------------------------------------------------------------------------------


def test_the_ring_is_bounded_and_has_no_gap():
    it = live(Followed(history_events=10))
    for number in range(30):
        it.story.accept(f"op-{number}")
        it.feed(it.story.frame())
    assert (it.replica.floor, it.replica.position, len(it.replica.ring)) == (20, 30, 10)
    assert it.replica.since(20, 0).event.seq == 21
    assert it.replica.since(25, 4).event.seq == 30
    assert it.replica.since(25, 5) is None


def test_what_finished_first_is_forgotten_first_and_what_lives_never(it):
    live(it)
    it.story.accept("alive")
    for number in range(5):
        it.story.accept(f"op-{number}")
    for number in (3, 0, 1, 4, 2):
        it.story.end(f"op-{number}")
    it.feed(it.story.frame())
    it.replica.forget(2)
    assert sorted(it.states()) == ["alive", "op-2", "op-4"]


@pytest.mark.parametrize("events_per_ms", [1, 1000])
def test_it_forgets_in_the_order_of_their_ends_after_a_snapshot_too(it, events_per_ms):
    it.story.events_per_ms = events_per_ms
    for number in range(4):
        it.story.accept(f"op-{number}")
    for number in (3, 0, 1, 2):
        it.story.end(f"op-{number}")
    live(it)
    it.replica.forget(2)
    assert sorted(it.states()) == ["op-1", "op-2"]


def test_an_event_says_whom_it_is_about_when_the_operation_is_forgotten(it):
    live(it)
    it.story.accept("op", owner="bob")
    it.story.end("op")
    it.feed(it.story.frame())
    it.replica.forget(0)
    assert it.states() == {}
    assert [entry.about.owner for entry in it.replica.ring] == ["bob", "bob"]


def test_older_events_are_taken_into_the_ring_if_they_end_at_its_floor():
    it = Followed(history_events=4)
    for number in range(6):
        it.story.accept(f"op-{number}", owner="bob")
    older = tuple(it.story.events)
    live(it)
    it.replica.prefill("log", older[:5])
    it.replica.prefill("other", older)
    assert it.replica.floor == 6
    it.replica.prefill("log", older)
    assert (it.replica.floor, len(it.replica.ring)) == (2, 4)
    assert {entry.about.owner for entry in it.replica.ring} == {"bob"}
    it.replica.sanity_check()
    it.replica.prefill("log", older[:2])
    assert len(it.replica.ring) == 4


def test_older_events_say_whom_they_are_about_even_if_the_broker_has_forgotten_it(it):
    it.story.accept("op", owner="bob")
    it.story.end("op")
    older = tuple(it.story.events)
    del it.story.operations["op"]
    live(it)
    it.replica.prefill("log", older)
    assert [entry.about.owner for entry in it.replica.ring] == ["bob", "bob"]
    it.replica.sanity_check()


def test_an_event_of_an_operation_that_the_broker_has_forgotten_is_kept_without_it(it):
    it.story.accept("op")
    forgotten = it.story.operations.pop("op")
    live(it)
    it.story.operations["op"] = forgotten
    it.story.end("op")
    it.feed(it.story.frame())
    assert it.replica.ring[-1].about is None
    assert it.states() == {}


# --- the check ------------------------------------------------------------------------------------


def test_the_check_finds_a_gap_in_the_ring_and_progress_that_outlives_its_operation(it):
    live(it)
    it.story.accept("op")
    it.story.start("op")
    it.feed(it.story.frame(it.story.measure("op", 1.0)))
    broken = it.replica
    broken.position += 1
    with pytest.raises(AssertionError, match="ring"):
        broken.sanity_check()
    broken.position -= 1
    outlived = broken.progress["op"]
    it.story.end("op")
    it.feed(it.story.frame())
    broken.progress["op"] = outlived
    with pytest.raises(AssertionError, match="has ended"):
        broken.sanity_check()
    del broken.progress["op"]


def test_a_silent_feed_is_asked_around_and_what_it_says_meanwhile_counts_once(it):
    live(it)
    it.story.accept("op")
    frame = it.story.frame()
    it.take(it.replica.again(silent=True))
    assert messages(it) == [EventsSince]
    assert it.replica.is_live
    it.feed(frame)
    it.settle()
    assert it.replica.position == it.story.head
    it.story.start("op")
    it.story.frame()
    it.take(it.replica.again(silent=True))
    it.settle()
    assert it.states() == {"op": "running"}
    assert it.replica.is_live
