"""What programs elsewhere report through a gateway's core: who may, what the broker is told, what they hear."""

from __future__ import annotations

import pytest

from rfm_runtime.core.sessions.hub import PASSED_LIMIT, Beat, Identity, PassOn, Push
from rfm_runtime.core.sessions.reporting import HELD_LIMIT, Reporting
from rfm_runtime.errors import (
    BadRequestError,
    ConflictError,
    QuotaExceededError,
    TooLargeError,
    UnavailableError,
)
from rfm_runtime.protocol.causes import CANCELED, FAILED
from rfm_runtime.protocol.internal import (
    Ack,
    Announce,
    Assign,
    Cancellation,
    ControlFrame,
    HelloAsked,
    Outcome,
    OwnerHello,
    OwnerWelcome,
    PauseOwner,
    PauseState,
    Principal,
)
from rfm_runtime.protocol.messages import Ok
from rfm_runtime.protocol.operation import ErrorInfo
from rfm_runtime.protocol.reports import (
    Alive,
    Asked,
    Fault,
    Held,
    Kept,
    Report,
    ReportAgain,
    ReportCanceled,
    ReportCompleted,
    Reported,
    ReportFailed,
    ReportPaused,
    ReportProgress,
    ReportReply,
    ReportStarted,
)
from rfm_runtime.protocol.wire import decode_batch, decode_request, encode
from rfm_runtime.testing.sessions import Gate, Story

NOTHING = ControlFrame(incarnation=1, version=0, cancel=())


def assign(operation_id="op", handle=7, *, paused=False):
    return Assign(
        operation_id=operation_id,
        generation=1,
        handle=handle,
        kind="k",
        name="n",
        owner="ann",
        params={},
        priority=0,
        paused=paused,
        correlation_id="",
    )


def welcome(*keep, drop=(), control=NOTHING):
    return OwnerWelcome(incarnation=control.incarnation, keep=keep, drop=drop, control=control)


def cancel(operation_id="op", incarnation=1):
    entry = Cancellation(operation_id=operation_id, generation=1, kill_after_ms=None)
    return ControlFrame(incarnation=incarnation, version=1, cancel=(entry,))


@pytest.fixture
def gate():
    return Gate(Story().answer).boot()


@pytest.fixture
def program(gate):
    """A program that has introduced itself and begun `op`."""
    watcher = gate.connect().hello("ann")
    watcher.say(Report(reporter="r", pid=5), request_id=1)
    gate.passed_on(welcome())
    watcher.say(ReportStarted(operation_id="op", name="n", total=200.0, unit="rows"), request_id=2)
    gate.passed_on(assign())
    watcher.forget()
    return watcher


# --- who may --------------------------------------------------------------------------------------


@pytest.mark.scenario("G3")
@pytest.mark.parametrize(
    "report", [Report(reporter="r"), ReportStarted(operation_id="op"), ReportProgress(operation_id="op")]
)
def test_who_only_looks_reports_nothing(gate, report):
    watcher = gate.connect().hello("eve")
    watcher.forget()
    watcher.say(report, request_id=1)
    assert [error.code for error in watcher.all(ErrorInfo)] == ["forbidden"]
    assert gate.passed == []


@pytest.mark.scenario("G3")
def test_a_program_is_known_by_its_user_and_its_name(gate):
    for user in ("ann", "bob"):
        gate.connect().hello(user).say(Report(reporter="engine-0"))
    names = [command.message.source.name for command in gate.passed]
    assert names == ["ann/engine-0", "bob/engine-0"]


@pytest.mark.scenario("G3")
@pytest.mark.usefixtures("program")
def test_progress_of_what_is_not_its_own_is_refused(gate):
    other = gate.connect().hello("bob")
    other.forget()
    other.say(ReportProgress(operation_id="op", done=1.0), request_id=1)
    assert [error.code for error in other.all(ErrorInfo)] == ["unknown_operation"]
    assert gate.pushes == []


def test_a_connection_speaks_for_one_program(program):
    program.say(Report(reporter="another"), request_id=3)
    assert [error.code for error in program.all(ErrorInfo)] == ["bad_request"]


# --- what the broker is told ------------------------------------------------------------------------


def test_a_program_is_a_remote_owner_with_what_it_holds(gate):
    watcher = gate.connect("msgpack").hello("ann")
    held = Held(operation_id="op", done=3.0, total=4.0, state="paused")
    watcher.say(Report(reporter="r", host="h", pid=5, held=(held,)), request_id=1)
    (command,) = gate.passed
    hello = command.message
    assert isinstance(hello, OwnerHello)
    assert (hello.role, hello.local, hello.source.host, hello.source.pid) == ("reporter", False, "h", 5)
    (holding,) = hello.held
    assert (holding.operation_id, holding.generation, holding.state, holding.measure.done) == ("op", 1, "paused", 3.0)


def test_what_is_held_comes_in_pages(gate):
    watcher = gate.connect().hello("ann")
    watcher.forget()
    watcher.say(Report(reporter="r", held=(Held(operation_id="a"),), more=True), request_id=1)
    assert watcher.all(Ok) == [Ok()]
    assert gate.passed == []
    watcher.say(Report(reporter="r", held=(Held(operation_id="b"),)), request_id=2)
    assert [held.operation_id for held in gate.passed[0].message.held] == ["a", "b"]


def test_more_than_anybody_may_have_is_not_held():
    reporting = Reporting(Principal("ann", ("reporter",)), "s1")
    many = tuple(Held(operation_id=str(number)) for number in range(HELD_LIMIT + 1))
    with pytest.raises(TooLargeError):
        reporting.introduced(Report(reporter="r", held=many), 0)


def test_percent_is_of_whatever_is_counted(gate, program):
    program.say(ReportProgress(operation_id="op", progress=50.0))
    program.say(ReportProgress(operation_id="op", done=120.0))
    program.say(ReportProgress(operation_id="op", done=130.0, total=None))
    shown = [(push.measure.done, push.measure.total, push.measure.unit) for push in gate.pushes]
    assert shown == [(100.0, 200.0, "rows"), (120.0, 200.0, "rows"), (130.0, None, "rows")]


def test_percent_alone_is_a_bar(gate):
    watcher = gate.connect().hello("ann")
    watcher.say(ReportStarted(operation_id="op"))
    gate.passed_on(welcome())
    gate.passed_on(assign())
    watcher.say(ReportProgress(operation_id="op", progress=25.0, message="m"))
    (push,) = gate.pushes
    assert (push.handle, push.measure.done, push.measure.total, push.measure.unit) == (7, 25.0, 100.0, "%")
    assert push.measure.message == "m"


def test_of_details_that_are_too_large_only_the_size_is_kept(gate, program):
    program.say(ReportProgress(operation_id="op", done=1.0, details={"text": "x" * 20_000}))
    assert list(gate.pushes[0].measure.details) == ["details_left_out"]


def test_measures_are_numbered(gate, program):
    for done in (3.0, 2.0):
        program.say(ReportProgress(operation_id="op", done=done))
    first, second = (push.measure.counter for push in gate.pushes)
    assert first < second


@pytest.mark.parametrize(
    ("said", "state", "error"),
    [
        (ReportCompleted(operation_id="op"), "completed", None),
        (ReportFailed(operation_id="op", error="no disk"), "failed", FAILED.error("no disk")),
        (ReportFailed(operation_id="op", message="m"), "failed", FAILED.error("m")),
        (
            ReportFailed(operation_id="op", error=Fault(code="E1", message="m")),
            "failed",
            ErrorInfo(code="E1", message="m"),
        ),
        (ReportCanceled(operation_id="op", reason="why"), "canceled", CANCELED.error("why")),
        (ReportCanceled(operation_id="op"), "canceled", None),
    ],
)
def test_outcomes(gate, program, said, state, error):
    program.say(said, request_id=9)
    (command,) = gate.passed
    assert isinstance(command.message, Outcome)
    assert (command.message.state, command.message.error, command.message.final.total) == (state, error, 200.0)
    gate.passed_on(Ack())
    assert program.all(Ok) == [Ok()]


def test_an_outcome_is_repeated_by_who_never_heard_the_answer(gate):
    watcher = gate.connect().hello("ann")
    watcher.say(Report(reporter="r"), request_id=1)
    gate.passed_on(welcome())
    watcher.say(ReportCompleted(operation_id="before"), request_id=2)
    assert gate.passed[0].message.operation_id == "before"


@pytest.mark.scenario("G8")
def test_no_outcome_of_its_own_is_limited_away(gate, program):
    names = [f"op-{number}" for number in range(3 * gate.settings.commands_burst)]
    for name in names:
        gate.now_s += 1.0 / gate.settings.commands_per_s
        program.say(ReportStarted(operation_id=name), request_id=1)
        gate.passed_on(assign(name))
    for start in range(0, len(names), 100):
        for name in names[start : start + 100]:
            program.say(ReportCompleted(operation_id=name), request_id=1)
            program.say(ReportProgress(operation_id=name, done=1.0))
        for _ in range(100):
            gate.passed_on(Ack())
    assert program.all(ErrorInfo) == []


@pytest.mark.scenario("G8")
def test_outcomes_of_what_it_does_not_have_are_commands(gate, program):
    for number in range(3 * gate.settings.commands_burst):
        program.say(ReportCompleted(operation_id=f"foreign-{number}"), request_id=1)
    assert len(gate.passed) <= gate.settings.commands_burst
    assert {error.code for error in program.all(ErrorInfo)} == {"rate_limited"}


@pytest.mark.scenario("G8")
def test_words_that_wait_for_an_answer_are_bounded(gate, program):
    for _ in range(2 * PASSED_LIMIT):
        program.say(ReportCompleted(operation_id="op"), request_id=1)
    assert len(gate.passed) == PASSED_LIMIT
    gate.passed_on(Ack())
    program.forget()
    program.say(ReportPaused("op"), request_id=1)
    assert program.all(ErrorInfo) == []


@pytest.mark.scenario("G8")
def test_what_is_refused_for_now_is_not_kept(gate, program):
    for number in range(50):
        program.say(ReportStarted(operation_id=f"more-{number}"), request_id=1)
        gate.passed_on(QuotaExceededError("too many"))
    assert gate.core.sessions[program.number].reporting.operations == 1


@pytest.mark.scenario("G7")
def test_of_pages_that_never_end_nothing_long_is_kept(gate):
    watcher = gate.connect("msgpack").hello("ann")
    held = Held(operation_id="a", message="m" * 2000, details={"text": "x" * 40_000}, done=2.0)
    watcher.say(Report(reporter="r", held=(held,)), request_id=1)
    (holding,) = gate.passed[0].message.held
    assert (holding.measure.done, holding.measure.message, holding.measure.details) == (2.0, "", None)


def test_what_was_said_while_it_was_announced_is_passed_on(gate):
    watcher = gate.connect().hello("ann")
    watcher.say(ReportStarted(operation_id="op"), request_id=1)
    watcher.say(ReportProgress(operation_id="op", progress=50.0))
    gate.passed_on(welcome())
    assert gate.pushes == []
    gate.passed_on(assign())
    assert [(push.handle, push.measure.done) for push in gate.pushes] == [(7, 50.0)]


@pytest.mark.scenario("G3")
def test_connections_of_two_gateways_are_two_programs():
    sources = []
    for name in ("one", "other"):
        gate = Gate(Story().answer).boot()
        gate.core.identity = Identity("1", 0, name)
        gate.connect().hello("ann").say(ReportStarted(operation_id="op"))
        sources.append(gate.passed[0].message.source.name)
    assert sources == ["ann/~one-s1", "ann/~other-s1"]
    with pytest.raises(BadRequestError):
        decode_request(decode_batch(encode(Report(reporter="~one-s1"), "json", ts=0), "json")[0], "json")


def test_a_pause_is_confirmed(gate, program):
    program.say(ReportPaused("op"), request_id=1)
    assert gate.passed[0].message == PauseState("op", 1, True)
    gate.passed_on(Ack())
    assert program.all(Ok) == [Ok()]


def test_a_program_lives_as_long_as_it_says_anything(gate, program):
    gate.ticks(3.0)
    assert len(gate.beats) == 1
    program.say(Alive())
    gate.ticks(3.0)
    assert [(beat.source.name, beat.operations) for beat in gate.beats] == [("ann/r", 1)] * 2


# --- what the program hears -------------------------------------------------------------------------


def test_a_report_is_answered_with_what_became_of_it(gate):
    watcher = gate.connect().hello("ann")
    watcher.say(Report(reporter="r", held=(Held(operation_id="op"), Held(operation_id="gone"))), request_id=1)
    gate.passed_on(welcome(assign(paused=True), drop=("gone",), control=cancel()))
    assert watcher.all(ReportReply) == [ReportReply(keep=(Kept("op", True),), drop=("gone",), cancel=("op",))]


def test_a_cancel_is_said_once_and_to_whom_it_concerns(gate, program):
    other = gate.connect().hello("bob")
    other.say(Report(reporter="r"), request_id=1)
    gate.passed_on(welcome())
    other.forget()
    for _ in range(3):
        gate.control(cancel())
    assert program.all(Asked) == [Asked(operation_id="op", cancel=True)]
    assert other.told == []


def test_a_pause_is_asked_for(gate, program):
    gate.pushed(program, PauseOwner(operation_id="op", generation=1, paused=True))
    assert program.all(Asked) == [Asked(operation_id="op", pause=True)]


@pytest.mark.parametrize("word", ["another broker", "who are you"])
def test_a_new_broker_hears_of_everything_again(gate, program, word):
    frame = ControlFrame(incarnation=2, version=0, cancel=())
    for _ in range(3):
        if word == "another broker":
            gate.control(frame)
        else:
            gate.pushed(program, HelloAsked())
    assert program.all(ReportAgain) == [ReportAgain()]
    program.say(ReportProgress(operation_id="op", done=9.0))
    assert gate.pushes == []
    program.say(Report(reporter="r", pid=5, held=(Held(operation_id="op", done=9.0),)), request_id=5)
    gate.passed_on(welcome(assign(handle=8), control=frame))
    program.say(ReportProgress(operation_id="op", done=10.0))
    assert [(push.handle, push.measure.done) for push in gate.pushes] == [(8, 10.0)]


def test_the_gateway_speaks_for_a_program_that_never_introduced_itself(gate):
    watcher = gate.connect().hello("ann")
    watcher.forget()
    watcher.say(ReportStarted(operation_id="op"), request_id=1)
    assert [type(command.message) for command in gate.passed] == [OwnerHello, Announce]
    gate.passed_on(welcome())
    gate.passed_on(assign(paused=True))
    assert watcher.told == [Reported("op", True)]
    watcher.say(ReportProgress(operation_id="op", done=4.0))
    # The broker has a measure of before, in what was begun.
    assert [push.measure.counter for push in gate.pushes] == [2]
    gate.control(ControlFrame(incarnation=2, version=0, cancel=()))
    (command,) = gate.passed
    assert [(held.operation_id, held.measure.done) for held in command.message.held] == [("op", 4.0)]
    assert watcher.told == [Reported("op", True)]


def test_an_unanswered_hello_is_said_again(gate):
    watcher = gate.connect().hello("ann")
    watcher.say(ReportStarted(operation_id="op"), request_id=1)
    gate.passed_on(UnavailableError("no answer"))
    gate.passed_on(UnavailableError("say hello first"))
    gate.control(NOTHING)
    assert [type(command.message) for command in gate.passed] == [OwnerHello]


def test_what_the_broker_does_not_want_is_forgotten(gate, program):
    program.say(ReportStarted(operation_id="taken"), request_id=1)
    gate.passed_on(ConflictError("another's"))
    program.say(ReportProgress(operation_id="taken"), request_id=2)
    assert [error.code for error in program.all(ErrorInfo)] == ["conflict", "unknown_operation"]


def test_a_late_answer_of_the_last_broker_gives_no_handle():
    reporting = Reporting(Principal("ann", ("reporter",)), "s1")
    hello = reporting.introduced(Report(reporter="r"), 0)
    reporting.answered(hello, welcome())
    announce = reporting.said(ReportStarted(operation_id="op"), 0)
    reporting.control(ControlFrame(incarnation=2, version=0, cancel=()))
    reporting.answered(announce, assign())
    reporting.sanity_check()
    assert reporting.progress(ReportProgress(operation_id="op"), 0) is None


def test_what_is_no_report_is_refused():
    with pytest.raises(BadRequestError):
        Reporting(Principal("ann", ("reporter",)), "s1").said(Alive(), 0)


def test_commands_name_their_session(gate, program):
    program.say(ReportProgress(operation_id="op"))
    program.say(ReportCompleted(operation_id="op"), request_id=4)
    assert isinstance(gate.pushes[0], Push)
    assert isinstance(gate.passed[0], PassOn)
    assert (gate.passed[0].session, gate.passed[0].request_id) == (program.number, 4)
    gate.ticks(1.5)
    assert isinstance(gate.beats[0], Beat)
    assert gate.beats[0].session == program.number
