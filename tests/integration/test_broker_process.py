"""The real broker process on raw sockets: what gateways, engines and watchers rely on, kill -9 included."""

from __future__ import annotations

import itertools
import json
import os
import resource
import signal
import subprocess
import sys
from collections import deque

import pytest

from rfm_runtime.protocol.internal import (
    Ack,
    Announce,
    Assign,
    DoCancel,
    DoExplain,
    DoGet,
    DoPriority,
    DoSubmit,
    Events,
    EventsSince,
    Explained,
    GatewayHello,
    GatewayWelcome,
    HeldOperation,
    LastWord,
    OperationMeasure,
    Outcome,
    OwnerWelcome,
    Principal,
    Snapshot,
    SnapshotPage,
    Started,
    Status,
    Submitted,
    pack_request,
)
from rfm_runtime.protocol.messages import CancelOperation, CancelReply, SubmitRequest
from rfm_runtime.protocol.operation import ErrorInfo
from rfm_runtime.store.last_words import Keeper, files
from rfm_runtime.testing.broker import ADMIN, KIND, BrokerProcess, hello, push, submit
from rfm_runtime.testing.runtime import eventually

pytestmark = pytest.mark.integration


@pytest.fixture
def broker(tmp_path):
    process = BrokerProcess(tmp_path)
    process.start()
    yield process
    process.close()


def measure(generation, counter, done):
    return OperationMeasure(generation=generation, counter=counter, measured_at_ms=0, done=done, total=100.0, unit="px")


def outcome(assign, state="completed", *, counter=1000, done=100.0, **fields):
    return Outcome(
        operation_id=assign.operation_id,
        generation=assign.generation,
        state=state,
        final=measure(assign.generation, counter, done),
        **fields,
    )


def take(engine, operation_id):
    """Wait for the assignment and confirm it."""
    assign = engine.pushed(Assign, operation_id=operation_id)
    assert engine.ask(Started(operation_id=operation_id, generation=assign.generation, total=100.0)) == Ack()
    return assign


def greet(peer, **fields):
    welcome = peer.ask_again(hello(**fields))
    assert isinstance(welcome, OwnerWelcome), welcome
    return welcome


def cancel(peer, operation_id, **fields):
    return peer.ask(DoCancel(ADMIN, CancelOperation(operation_id=operation_id, **fields)))


def contiguous(feed):
    """Every frame follows the one before."""
    frames = feed.drain()
    for before, after in itertools.pairwise(frames):
        if after.incarnation == before.incarnation:
            assert (after.frame_no, after.prev_seq) == (before.frame_no + 1, before.head_seq)


@pytest.mark.scenario("B1")
def test_accepted_started_progress_completed_in_order_on_every_feed(broker):
    gateway, engine, feeds = broker.peer(), broker.peer(), [broker.feed(), broker.feed()]
    greet(engine)
    submit(gateway, "op-1", name="first")
    assign = take(engine, "op-1")
    ingest = broker.ingest()
    for counter in range(1, 6):
        push(ingest, assign.handle, 1, measure(assign.generation, counter, 15.0 * counter))
        done = 15.0 * counter
        eventually(lambda done=done: any(p.done == done for p in feeds[0].progress("op-1")), what=f"{done} is shown")
    assert engine.ask(outcome(assign)) == Ack()
    for feed in feeds:
        final = feed.event("operation_completed", "op-1").final
        assert (final.progress, final.done, final.total) == (100.0, 100.0, 100.0)
        assert feed.types("op-1") == [
            "operation_accepted",
            "operation_queued",
            "operation_started",
            "operation_completed",
        ]
        shown = feed.progress("op-1")
        assert [p.done for p in shown] == sorted(p.done for p in shown)
        assert all(p.progress <= 99.0 and p.rev < final.rev for p in shown)
        contiguous(feed)


@pytest.mark.scenario("B2")
def test_a_failure_carries_message_code_severity_and_hint(broker):
    gateway, engine, feed = broker.peer(), broker.peer(), broker.feed()
    greet(engine)
    submit(gateway, "op-1")
    assign = take(engine, "op-1")
    error = ErrorInfo(code="out_of_memory", message="64 GiB wanted", severity="critical", hint="make it smaller")
    engine.ask(outcome(assign, "failed", error=error, done=40.0))
    event = feed.event("operation_failed", "op-1")
    assert event.error == error
    assert (event.final.done, event.final.progress) == (40.0, 40.0)


@pytest.mark.scenario("B3")
def test_a_cancel_goes_out_at_once_is_repeated_and_ends_with_the_owners_answer(broker):
    gateway, engine, feed, control = broker.peer(), broker.peer(), broker.feed(), broker.control()
    greet(engine)
    submit(gateway, "op-1")
    assign = take(engine, "op-1")
    assert cancel(gateway, "op-1", reason="enough") == CancelReply(state="cancelling")
    seen = control.until(lambda frame: frame.cancel, "the cancel set")
    assert (seen.cancel[0].operation_id, seen.cancel[0].kill_after_ms) == ("op-1", 1000)
    feed.event("operation_cancelling", "op-1")
    eventually(lambda: sum(bool(f.cancel) for f in control.drain()) >= 4, what="the set is repeated")
    late = broker.control()
    late.until(lambda frame: frame.cancel, "a late joiner gets the set")
    assert "operation_canceled" not in feed.types("op-1")
    engine.ask(outcome(assign, "canceled", done=10.0))
    assert feed.event("operation_canceled", "op-1").cancel_requested
    control.until(lambda frame: frame.version > seen.version and not frame.cancel, "the set is empty again")
    assert cancel(gateway, "op-1") == CancelReply(state="already_terminal")
    metrics = broker.metrics(gateway)
    assert metrics["rfm_cancel_acknowledge_seconds_count"] == 2.0
    assert metrics["rfm_cancel_idle_seconds_count"] == 1.0


@pytest.mark.scenario("B13")
def test_a_higher_priority_overtakes_the_queue(broker):
    gateway, engine = broker.peer(), broker.peer()
    greet(engine, slots=1)
    for number in range(4):
        submit(gateway, f"op-{number}")
    first = take(engine, "op-0")
    assert gateway.ask(DoPriority(ADMIN, "op-3", 0)) == Ack()
    explained = gateway.ask(DoExplain(ADMIN, "op-3"))
    assert isinstance(explained, Explained)
    assert any("2 operations are ahead" in line for line in explained.lines), explained
    assert any("1 of 1 slots" in line for line in explained.lines), explained
    assert gateway.ask(DoPriority(ADMIN, "op-3", 5)) == Ack()
    # It needs no free slot; the others keep waiting.
    engine.pushed(Assign, operation_id="op-3", priority=5)
    engine.ask(outcome(first))
    assert not any(isinstance(p, Assign) and p.operation_id == "op-2" for p in engine.pushes)


def test_the_same_submit_twice_is_one_operation_and_another_body_a_conflict(broker):
    gateway, engine = broker.peer(), broker.peer()
    greet(engine)
    first = submit(gateway, "op-1", params={"x": 1})
    again = submit(gateway, "op-1", params={"x": 1})
    assert (again.operation_id, again.duplicate, first.duplicate) == ("op-1", True, False)
    other = SubmitRequest(operation_id="op-2", kind=KIND, request_key="key-op-1")
    refused = gateway.ask(DoSubmit(principal=ADMIN, submissions=(other,)))
    assert isinstance(refused, ErrorInfo)
    assert refused.code == "conflict"


@pytest.mark.scenario("C9")
def test_bad_parameters_of_a_render_are_refused_at_submit(broker):
    gateway = broker.peer()
    submission = SubmitRequest(operation_id="op-1", kind="render.escape_time", request_key="k", params={"width_px": -5})
    refused = gateway.ask(DoSubmit(principal=ADMIN, submissions=(submission,)))
    assert isinstance(refused, ErrorInfo)
    assert refused.code == "bad_request"
    nobody = SubmitRequest(operation_id="op-2", kind="no.such", request_key="k")
    refused = gateway.ask(DoSubmit(principal=ADMIN, submissions=(nobody,)))
    assert "render.escape_time" in refused.hint


@pytest.mark.scenario("F11", "D7")
@pytest.mark.parametrize("how", ["in its place", "another file"])
def test_a_restored_backup_is_another_log(broker, how):
    gateway, engine = broker.peer(), broker.peer()
    greet(engine)
    submit(gateway, "before")
    first = gateway.ask(GatewayHello(hello().source))
    broker.stop()
    backup = broker.folders.journal.read_bytes()
    broker.start()
    assert gateway.ask(GatewayHello(hello().source)).epoch == first.epoch
    greet(engine)
    submit(gateway, "after")
    known = gateway.ask(GatewayHello(hello().source)).head
    broker.kill()

    journal = broker.folders.journal
    for name in ("-wal", "-shm"):
        journal.with_name(journal.name + name).unlink(missing_ok=True)
    if how == "another file":
        journal.rename(journal.with_name("damaged.db"))
    journal.write_bytes(backup)
    broker.start()

    welcome = gateway.ask(GatewayHello(hello().source))
    assert welcome.epoch != first.epoch
    assert welcome.head < known
    assert not gateway.ask(EventsSince(first.epoch, welcome.head)).recovered
    # Once: the log that it is now goes on as itself.
    broker.kill()
    broker.start()
    assert gateway.ask(GatewayHello(hello().source)).epoch == welcome.epoch


@pytest.mark.scenario("F2")
@pytest.mark.fault
def test_killed_and_started_again_it_knows_the_same_operations_and_the_feed_goes_on(broker):
    gateway, engine, feed = broker.peer(), broker.peer(), broker.feed()
    greet(engine)
    for name in ("running", "cancelled", "waiting"):
        submit(gateway, name)
    running, cancelled = take(engine, "running"), take(engine, "cancelled")
    ingest = broker.ingest()
    push(ingest, running.handle, 1, measure(running.generation, 1, 60.0))
    eventually(lambda: any(p.done == 60.0 for p in feed.progress("running")), what="progress is shown")
    cancel(gateway, "cancelled")
    before = gateway.ask(GatewayHello(hello().source))
    head = feed.drain()[-1].head_seq

    broker.kill()
    broker.start()

    feed.until(lambda frame: frame.incarnation > before.incarnation, "the feed goes on")
    # The same sockets: ZeroMQ reconnects them, and the owner says what it holds.
    control = broker.control()
    control.until(lambda f: f.incarnation > before.incarnation and f.cancel, "the cancel set of before")
    held = (
        HeldOperation(
            operation_id="running",
            generation=running.generation,
            state="running",
            measure=measure(running.generation, 2, 65.0),
        ),
        HeldOperation(
            operation_id="cancelled",
            generation=cancelled.generation,
            state="ended",
            measure=measure(cancelled.generation, 2, 5.0),
        ),
    )
    welcome = greet(engine, held=held)
    assert {assign.operation_id for assign in welcome.keep} == {"running", "cancelled"}
    assert welcome.drop == ()
    new = {assign.operation_id: assign for assign in welcome.keep}
    assert new["running"].handle != running.handle
    assert new["running"].generation == running.generation

    after = gateway.ask_again(GatewayHello(hello().source))
    assert isinstance(after, GatewayWelcome)
    assert (after.epoch, after.head) == (before.epoch, before.head)
    assert after.incarnation == before.incarnation + 1

    assert engine.ask(outcome(cancelled, "canceled")) == Ack()
    assert engine.ask(outcome(running)) == Ack()
    assert engine.ask(outcome(running)) == Ack()
    take(engine, "waiting")
    assert engine.ask(outcome(engine.pushed(Assign, operation_id="waiting"))) == Ack()
    feed.event("operation_completed", "waiting")

    missed = gateway.ask(EventsSince(after.epoch, head))
    assert isinstance(missed, Events)
    assert missed.recovered
    assert [e.seq for e in missed.events] == list(range(head + 1, missed.head + 1))
    everything = gateway.ask(EventsSince(after.epoch, 0)).events
    for name in ("running", "cancelled", "waiting"):
        ends = [e for e in everything if e.operation_id == name and e.final is not None]
        assert len(ends) == 1, ends
    shown = [p.done for p in feed.progress("running")]
    assert shown == sorted(shown)
    contiguous(feed)


@pytest.mark.scenario("F4")
@pytest.mark.fault
def test_operations_of_a_killed_engine_wait_for_the_next_one(broker):
    gateway, engine, feed = broker.peer(), broker.peer(), broker.feed()
    process = subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE)
    try:
        greet(engine, process=process)
        submit(gateway, "op-1")
        first = take(engine, "op-1")
        ingest = broker.ingest()
        push(ingest, first.handle, 1, measure(first.generation, 1, 50.0))
        eventually(lambda: any(p.done == 50.0 for p in feed.progress("op-1")), what="progress is shown")
    finally:
        process.kill()
        process.communicate()
    feed.event("operation_requeued", "op-1")
    successor = broker.peer()
    greet(successor)
    second = take(successor, "op-1")
    assert second.generation == first.generation + 1
    push(ingest, first.handle, 1, measure(first.generation, 2, 99.0))
    push(ingest, second.handle, 1, measure(second.generation, 1, 10.0))
    eventually(lambda: len(feed.progress("op-1")) > 1, what="the new owner's progress is shown")
    assert {p.done for p in feed.progress("op-1")} == {50.0}
    # Whoever is fenced off learns it, whatever it says.
    late = engine.ask(outcome(first))
    assert isinstance(late, ErrorInfo)
    assert late.code in {"conflict", "unavailable"}
    assert successor.ask(outcome(second)) == Ack()
    feed.event("operation_completed", "op-1")


@pytest.mark.scenario("D14")
def test_a_gateway_that_joins_late_or_missed_frames_catches_up(broker):
    gateway, engine = broker.peer(), broker.peer()
    greet(engine, slots=100)
    for number in range(30):
        submit(gateway, f"op-{number:02}")
    welcome = gateway.ask(GatewayHello(hello().source))
    page = gateway.ask(Snapshot())
    assert isinstance(page, SnapshotPage)
    assert len(page.operations) == 30
    assert (page.epoch, page.cursor) == (welcome.epoch, "")
    events = gateway.ask(EventsSince(welcome.epoch, 10))
    assert [e.seq for e in events.events] == list(range(11, events.head + 1))
    assert not gateway.ask(EventsSince("another log", 10)).recovered
    assert not gateway.ask(EventsSince(welcome.epoch, 10_000)).recovered


@pytest.mark.scenario("F6")
@pytest.mark.fault
def test_a_stopped_broker_goes_on_as_if_nothing_had_happened(broker):
    gateway, engine, feed = broker.peer(), broker.peer(), broker.feed()
    greet(engine)
    submit(gateway, "op-1")
    assign = take(engine, "op-1")
    broker.running.send_signal(signal.SIGSTOP)
    pending = engine.send(outcome(assign))
    submitted = gateway.send(Status())
    with pytest.raises(TimeoutError):
        gateway.answer(submitted, 1.5)
    broker.running.send_signal(signal.SIGCONT)
    assert engine.answer(pending) == Ack()
    status = gateway.answer(submitted)
    assert status.journal == "ok"
    assert not any(p.stale for p in feed.progress("op-1"))
    feed.event("operation_completed", "op-1")


@pytest.mark.scenario("F7")
@pytest.mark.fault
def test_a_full_disk_is_said_loses_nothing_and_heals_by_itself(broker):
    gateway, engine, feed, control = broker.peer(), broker.peer(), broker.feed(), broker.control()
    greet(engine)
    submit(gateway, "op-1")
    assign = take(engine, "op-1")
    pid = broker.running.pid
    # Writing anything beyond the present end of any file fails, as on a full disk.
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, before[1]))
    held_back = engine.send(outcome(assign, "canceled"))
    eventually(lambda: gateway.ask(Status()).journal != "ok", what="the broker says so")
    refused = gateway.ask(
        DoSubmit(principal=ADMIN, submissions=(SubmitRequest(operation_id="x", kind=KIND, request_key="x"),))
    )
    assert isinstance(refused, ErrorInfo)
    assert (refused.code, refused.temporary) == ("unavailable", True)
    assert "operation_canceled" not in feed.types("op-1")
    frames = len(feed.drain())
    eventually(lambda: len(feed.drain()) > frames + 2, what="the feed goes on")
    page = gateway.ask(Snapshot())
    assert [operation.state for operation in page.operations] == ["running"]
    resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
    assert engine.answer(held_back) == Ack()
    feed.event("operation_canceled", "op-1")
    eventually(lambda: gateway.ask(Status()).journal == "ok", what="it writes again")
    submit(gateway, "op-2")
    contiguous(feed)
    assert control.drain()


@pytest.mark.scenario("F7")
@pytest.mark.fault
def test_with_a_full_disk_a_cancel_still_acts(broker):
    gateway, engine, control = broker.peer(), broker.peer(), broker.control()
    greet(engine)
    submit(gateway, "op-1")
    take(engine, "op-1")
    pid = broker.running.pid
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE)
    resource.prlimit(pid, resource.RLIMIT_FSIZE, (0, before[1]))
    gateway.send(DoPriority(ADMIN, "op-1", 3))
    eventually(lambda: gateway.ask(Status()).journal != "ok", what="the broker says so")
    answer = cancel(gateway, "op-1")
    assert answer.code == "unavailable"
    control.until(lambda frame: frame.cancel, "the cancel set is out")
    resource.prlimit(pid, resource.RLIMIT_FSIZE, before)
    eventually(lambda: gateway.ask(Status()).journal == "ok", what="it writes again")
    assert cancel(gateway, "op-1") == CancelReply(state="cancelling")


@pytest.mark.scenario("G9")
def test_garbage_on_every_socket_changes_nothing(broker):
    gateway, engine, feed = broker.peer(), broker.peer(), broker.feed()
    greet(engine)
    submit(gateway, "op-1")
    assign = take(engine, "op-1")
    ingest = broker.ingest()
    for rubbish in (
        b"",
        b"x",
        os.urandom(18),
        os.urandom(500),
        b"\x01\x01" + assign.handle.to_bytes(8, "big") + b"y" * 40,
    ):
        ingest.send(rubbish)
        gateway.socket.send(rubbish)
        gateway.socket.send_multipart([rubbish, rubbish])
        gateway.socket.send_multipart([b"\x01Request", rubbish, rubbish])
    answer = gateway.ask(hello().source)
    assert isinstance(answer, ErrorInfo)
    assert answer.code == "unsupported"
    push(ingest, assign.handle, 1, measure(assign.generation, 1, float("nan")))
    push(ingest, assign.handle, 2, measure(assign.generation, 1, 25.0))
    eventually(lambda: any(p.done == 25.0 for p in feed.progress("op-1")), what="progress is shown")
    eventually(
        lambda: broker.metrics(gateway)['rfm_broker_garbage_messages_total{socket="command"}'] >= 15, what="counted"
    )
    assert engine.ask(outcome(assign)) == Ack()
    assert broker.stop() == 0


@pytest.mark.scenario("B9")
def test_an_orderly_stop_leaves_no_socket_and_the_next_start_knows_everything(broker):
    gateway, engine = broker.peer(), broker.peer()
    greet(engine)
    for number in range(3):
        submit(gateway, f"op-{number}")
    engine.ask(outcome(take(engine, "op-0")))
    broker.running.send_signal(signal.SIGUSR1)
    eventually(lambda: gateway.ask(Status()).draining, what="it drains")
    refused = gateway.ask(
        DoSubmit(principal=ADMIN, submissions=(SubmitRequest(operation_id="x", kind=KIND, request_key="x"),))
    )
    assert refused.code == "draining"
    assert broker.stop() == 0
    assert not list(broker.folders.runtime.glob("*.sock"))
    assert broker.errors() == ""
    broker.start()
    again = broker.peer()
    status = again.ask_again(Status())
    assert status.states["completed"] == 1
    assert sum(status.states.values()) == 3
    got = again.ask(DoGet(ADMIN, "op-0"))
    assert got.operation.state == "completed"
    assert got.operation.latest.progress == 100.0
    logged = [json.loads(line) for line in (broker.folders.logs / "broker.log").read_text().splitlines()]
    ended = next(entry for entry in logged if entry["event"] == "operation_completed")
    assert (ended["operation_id"], bool(ended["correlation_id"])) == ("op-0", True)


@pytest.mark.scenario("F11")
def test_a_damaged_journal_is_a_clear_error_and_no_start_from_nothing(tmp_path):
    process = BrokerProcess(tmp_path)
    process.folders.journal.write_bytes(b"this is no journal")
    with pytest.raises(RuntimeError, match="damaged"):
        process.start()
    assert process.running.wait(10) == 1
    assert process.folders.journal.read_bytes() == b"this is no journal"
    process.close()


def left_by(broker, *, outcomes):
    """The ids of operations whose outcomes a program left that has ended."""
    program = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    source = hello("reporter-left", process=program).source
    program.communicate(b"\n")
    ids = [f"left-{number}" for number in range(outcomes)]
    broker.folders.last_words.mkdir()
    words = [
        LastWord(
            announce=Announce(principal=ADMIN, operation_id=oid, kind=KIND, name="n", measure=measure(1, 1, 0.0)),
            outcome=Outcome(operation_id=oid, generation=1, state="completed", final=measure(1, 2, 100.0)),
            kept_at_ms=0,
        )
        for oid in ids
    ]
    Keeper(broker.folders.last_words, source).keep(words)
    return ids


@pytest.mark.scenario("J33")
def test_thousands_of_outcomes_that_a_program_left_come_in_many_frames_and_once(broker):
    feed = broker.feed()
    ids = left_by(broker, outcomes=1201)
    eventually(lambda: files(broker.folders.last_words) == [], timeout_s=60.0, what="it is journalled and removed")
    eventually(lambda: len(feed.events()) >= 3 * len(ids), timeout_s=30.0, what="all of it is told")
    assert [event.operation_id for event in feed.events() if event.type == "operation_completed"] == ids
    assert len(feed.events()) == 3 * len(ids)
    # No commit, frame or turn of the loop is all of it: others are served in between.
    assert max(len(frame.events) for frame in feed.frames) <= 3 * 50


@pytest.mark.scenario("J33")
def test_what_a_program_left_is_heard_beside_a_journal_that_others_keep_busy(broker):
    peer = broker.peer()
    in_flight = deque()

    def busy():
        """Hundreds of others' commits wait at any time."""
        while len(in_flight) < 400:
            number = next(peer.numbers)
            submission = SubmitRequest(operation_id=f"op-{number}", kind=KIND, request_key=f"key-{number}")
            someone = Principal(f"user-{number // 1000}", ("admin",))
            in_flight.append(number)
            peer.socket.send_multipart(pack_request(number, DoSubmit(principal=someone, submissions=(submission,))))
        peer.drain(0.01)
        while in_flight and in_flight[0] in peer.replies:
            reply = peer.replies.pop(in_flight.popleft())
            assert isinstance(reply, Submitted), reply
        return True

    greet(broker.peer(), slots=1)
    left_by(broker, outcomes=500)
    eventually(lambda: busy() and files(broker.folders.last_words) == [], timeout_s=30.0, what="it is heard")
