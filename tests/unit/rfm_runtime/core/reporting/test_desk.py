"""The desk: what a program says reaches the broker once there is one, in order, until it is acknowledged."""

from __future__ import annotations

import pytest

from rfm_runtime.core.reporting.desk import (
    ENDED_LIMIT,
    UNDER_WAY,
    Answered,
    Begin,
    Desk,
    End,
    GivenUp,
    Hello,
    Measure,
    Paused,
    Refused,
    Settled,
    Tell,
    Tick,
)
from rfm_runtime.errors import BadRequestError, ConflictError, DrainingError, UnavailableError
from rfm_runtime.protocol.internal import (
    Ack,
    Announce,
    Assign,
    Cancellation,
    ControlFrame,
    OperationMeasure,
    Outcome,
    OwnerWelcome,
    PauseOwner,
    PauseState,
    Principal,
)


def measure(done=0.0):
    return OperationMeasure(1, 0, 0, done=done, total=10.0)


def begin(operation_id="op"):
    return Begin(
        Announce(
            principal=Principal("local", ("admin",)), operation_id=operation_id, kind="k", name="n", measure=measure()
        )
    )


def assign(operation_id="op", handle=7, *, paused=False):
    return Assign(
        operation_id=operation_id,
        generation=1,
        handle=handle,
        kind="k",
        name="n",
        owner="local",
        params={},
        priority=0,
        paused=paused,
        correlation_id="",
    )


def frame(*cancelled, incarnation=1):
    entries = tuple(Cancellation(operation_id=one, generation=1, kill_after_ms=None) for one in cancelled)
    return ControlFrame(incarnation=incarnation, version=1, cancel=entries)


def welcome(*kept, drop=(), incarnation=1):
    return OwnerWelcome(incarnation=incarnation, keep=kept, drop=drop, control=frame(incarnation=incarnation))


def known(desk, operation_id="op"):
    """Begun, announced, answered."""
    desk.handle(welcome(), 0.0)
    (ask,) = desk.handle(begin(operation_id), 0.0)
    desk.handle(Answered(ask, assign(operation_id)), 0.0)
    return ask


def test_without_a_broker_nothing_is_asked_and_nothing_lost():
    desk = Desk()
    assert desk.handle(begin(), 0.0) == []
    assert desk.handle(Measure("op", measure(5.0)), 0.0) == []
    assert desk.handle(End("op", "completed", measure(10.0)), 0.0) == []
    assert desk.handle(Tick(), 100.0) == []
    (announce,) = desk.handle(welcome(), 200.0)
    assert isinstance(announce.message, Announce)
    # When it really began.
    assert announce.message.age_ms == 200_000
    (outcome,) = desk.handle(Answered(announce, assign()), 200.0)
    assert (outcome.message.state, outcome.message.final.done) == ("completed", 10.0)
    assert desk.handle(Answered(outcome, Ack()), 200.0) == [Settled("op")]
    assert desk.reports == {}


def test_progress_is_sent_when_it_changed_and_once():
    desk = Desk()
    known(desk)
    # It was announced with its first one.
    assert desk.handle(Tick(), 0.1) == []
    desk.handle(Measure("op", measure(2.0)), 0.2)
    (first,) = desk.handle(Tick(), 0.2)
    assert (first.handle, first.measure.done) == (7, 2.0)
    assert desk.handle(Tick(), 0.25) == []
    desk.handle(Measure("op", measure(3.0)), 0.3)
    (second,) = desk.handle(Tick(), 0.3)
    assert second.measure.done == 3.0
    assert second.measure.counter > first.measure.counter


def test_what_was_refused_for_a_while_is_said_again_when_it_is_time():
    desk = Desk()
    desk.handle(welcome(), 0.0)
    (ask,) = desk.handle(begin(), 0.0)
    assert desk.handle(Refused(ask, DrainingError("later", retry_after_s=5.0)), 1.0) == []
    assert desk.handle(Tick(), 5.9) == []
    (again,) = desk.handle(Tick(), 6.0)
    assert isinstance(again.message, Announce)


def test_what_is_refused_for_good_is_given_up_and_said_so():
    desk = Desk()
    desk.handle(welcome(), 0.0)
    (ask,) = desk.handle(begin(), 0.0)
    assert desk.handle(Refused(ask, BadRequestError("no")), 0.0) == [GivenUp("op", "no")]
    assert desk.handle(End("op", "completed", measure()), 0.0) == []


def test_an_outcome_that_is_fenced_off_is_given_up():
    desk = Desk()
    known(desk)
    (ask,) = desk.handle(End("op", "failed", measure()), 0.0)
    assert desk.handle(Refused(ask, ConflictError("it has ended")), 0.0) == [GivenUp("op", "it has ended", ended=True)]


def test_the_first_outcome_counts():
    desk = Desk()
    known(desk)
    (ask,) = desk.handle(End("op", "completed", measure(9.0)), 0.0)
    assert desk.handle(End("op", "failed", measure()), 0.0) == []
    assert desk.handle(Measure("op", measure(1.0)), 0.0) == []
    assert isinstance(ask.message, Outcome)
    assert desk.reports["op"].outcome.final.done == 9.0


def test_a_new_broker_is_told_everything_and_its_handles_count():
    desk = Desk()
    known(desk)
    desk.handle(Measure("op", measure(4.0)), 0.0)
    (hello,) = desk.handle(frame(incarnation=2), 1.0)
    assert isinstance(hello, Hello)
    assert [(held.operation_id, held.state, held.measure.done) for held in hello.held] == [("op", "running", 4.0)]
    assert desk.handle(welcome(assign(handle=9), incarnation=2), 1.0) == []
    (sent,) = desk.handle(Tick(), 1.1)
    assert sent.handle == 9


def test_a_broker_with_another_journal_is_told_anew():
    desk = Desk()
    known(desk)
    desk.handle(frame(incarnation=2), 1.0)
    (ask,) = desk.handle(welcome(drop=("op",), incarnation=2), 1.0)
    assert isinstance(ask.message, Announce)


def test_an_announcement_without_an_answer_is_held_too():
    desk = Desk()
    desk.handle(welcome(), 0.0)
    (ask,) = desk.handle(begin(), 0.0)
    assert [held.operation_id for held in desk.hello().held] == ["op"]
    desk.handle(frame(incarnation=2), 0.0)
    (again,) = desk.handle(welcome(drop=("op",), incarnation=2), 0.0)
    # The answer of the broker of before comes late, and means nothing.
    assert desk.handle(Answered(ask, assign(handle=1)), 0.0) == []
    desk.handle(Answered(again, assign(handle=2)), 0.0)
    assert desk.reports["op"].handle == 2


def test_a_cancel_is_told_once_and_none_of_another_generation():
    desk = Desk()
    known(desk)
    assert desk.handle(frame("op"), 0.0) == [Tell("op", cancel=True, pause=False)]
    assert desk.handle(frame("op"), 0.0) == []
    other = Desk()
    known(other)
    entry = Cancellation(operation_id="op", generation=2, kill_after_ms=None)
    assert other.handle(ControlFrame(incarnation=1, version=1, cancel=(entry,)), 0.0) == []


def test_a_pause_is_confirmed_when_the_program_stands_still_and_again_when_it_goes_on():
    desk = Desk()
    known(desk)
    assert desk.handle(PauseOwner("op", 1, True), 0.0) == [Tell("op", cancel=False, pause=True)]
    (ask,) = desk.handle(Paused("op", True), 0.0)
    assert ask.message == PauseState("op", 1, True)
    assert desk.handle(Answered(ask, Ack()), 0.0) == []
    assert desk.handle(PauseOwner("op", 1, False), 0.0) == [Tell("op", cancel=False, pause=False)]
    (ask,) = desk.handle(Paused("op", False), 0.0)
    assert ask.message == PauseState("op", 1, False)


def test_a_pause_that_is_asked_for_again_was_not_heard_to_be_confirmed():
    desk = Desk()
    known(desk)
    desk.handle(PauseOwner("op", 1, True), 0.0)
    (ask,) = desk.handle(Paused("op", True), 0.0)
    desk.handle(Answered(ask, Ack()), 0.0)
    (again,) = desk.handle(PauseOwner("op", 1, True), 1.0)
    assert again.message == PauseState("op", 1, True)


def test_an_unanswered_request_is_the_only_one_under_way():
    desk = Desk()
    known(desk)
    (ask,) = desk.handle(End("op", "completed", measure()), 0.0)
    assert desk.handle(Tick(), 0.5) == []
    assert desk.handle(Refused(ask, UnavailableError("no answer")), 1.0) == []
    assert desk.handle(Tick(), 1.5) == []
    (again,) = desk.handle(Tick(), 2.0)
    assert again.message == ask.message


def test_explain_says_where_it_is():
    desk = Desk()
    desk.handle(begin(), 0.0)
    assert desk.explain("op") == ("op is not known to a broker yet.", "No broker is connected.")
    known(desk, "other")
    desk.handle(End("other", "completed", measure()), 0.0)
    assert desk.explain("other")[-1] == "It completed; the broker has not acknowledged that."
    assert desk.explain("none") == ("none is settled, or not of this program.",)


def test_only_so_many_requests_are_under_way_and_the_others_have_their_turn():
    desk = Desk()
    desk.handle(welcome(), 0.0)
    asks = [ask for number in range(2 * UNDER_WAY) for ask in desk.handle(begin(f"op-{number}"), 0.0)]
    assert len(asks) == UNDER_WAY
    (following,) = desk.handle(Answered(asks[0], assign("op-0")), 0.0)
    assert following.operation_id == f"op-{UNDER_WAY}"
    (another,) = desk.handle(Refused(asks[1], UnavailableError("later")), 0.0)
    assert another.operation_id == f"op-{UNDER_WAY + 1}"
    desk.sanity_check()
    desk.handle(frame(incarnation=2), 0.0)
    again = desk.handle(welcome(drop=tuple(desk.reports), incarnation=2), 0.0)
    assert len(again) == UNDER_WAY
    desk.sanity_check()


def test_outcomes_that_nobody_takes_are_let_go_the_oldest_first():
    desk = Desk()
    for number in range(ENDED_LIMIT + 1):
        desk.handle(begin(f"op-{number}"), 0.0)
        said = desk.handle(End(f"op-{number}", "completed", measure()), 0.0)
    assert [(command.operation_id, type(command)) for command in said] == [("op-0", GivenUp)]
    assert len(desk.reports) == ENDED_LIMIT
    desk.sanity_check()


@pytest.mark.scenario("J33")
def test_what_nobody_has_acknowledged_is_told_by_its_age():
    desk = Desk()
    known(desk, "a")
    known(desk, "b")
    desk.handle(begin("c"), 2.0)
    (ask,) = desk.handle(End("b", "failed", measure(4.0)), 5.0)
    desk.handle(End("a", "completed", measure(10.0)), 6.0)

    def unheard(until_s):
        return [(outcome.operation_id, announce.age_ms) for announce, outcome in desk.unheard(until_s, 10.0)]

    assert unheard(4.9) == []
    assert unheard(5.0) == [("b", 10_000)]
    assert unheard(6.0) == [("b", 10_000), ("a", 10_000)]
    assert [outcome.operation_id for _, outcome in desk.unheard(6.0, 10.0, {"b"})] == ["a"]
    desk.handle(Answered(ask, Ack()), 7.0)
    assert unheard(9.0) == [("a", 10_000)]
    assert [outcome.final.done for _, outcome in desk.unheard(9.0, 10.0)] == [10.0]
