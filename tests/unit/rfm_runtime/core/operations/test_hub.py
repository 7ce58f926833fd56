"""The hub, message by message: commits before words, claims and their fences, pause, cancel, restart, forgetting."""

from __future__ import annotations

import msgspec
import pytest

from rfm_runtime.core.operations import ownership
from rfm_runtime.core.operations.queries import page_of
from rfm_runtime.core.operations.record import Drain, Heard, JournalFailed
from rfm_runtime.core.operations.schedule import AGEING_S
from rfm_runtime.protocol.internal import (
    Ack,
    Announce,
    Assign,
    DoCancel,
    DoExplain,
    DoGet,
    DoKinds,
    DoList,
    DoPause,
    DoPriority,
    DoSubmit,
    Events,
    EventsSince,
    Explained,
    HeldOperation,
    HelloAsked,
    KindsKnown,
    LastWord,
    OperationMeasure,
    Outcome,
    OwnerHeartbeat,
    OwnerWelcome,
    PauseOwner,
    PauseState,
    Principal,
    PriorityOwner,
    ProgressState,
    ProgressStateReply,
    Release,
    Snapshot,
    SnapshotPage,
    Started,
    Status,
    StatusReply,
    Submitted,
    TileMeasure,
    pack_reply,
)
from rfm_runtime.protocol.limits import DETAILS_LIMIT_BYTES, MESSAGE_LIMIT, NAME_LIMIT, PAGE_LIMIT_BYTES
from rfm_runtime.protocol.messages import (
    CancelOperation,
    CancelReply,
    ListOperations,
    ListReply,
    OperationReply,
    SubmitRequest,
)
from rfm_runtime.protocol.operation import Artifact, ErrorInfo, after_event
from rfm_runtime.testing.operations import ADMIN, KIND, World, owner_hello

ANN = Principal("ann", ("operator",))
BOB = Principal("bob", ("operator",))
VIEWER = Principal("eve", ("viewer",))
E = b"engine"
G = b"gateway"


@pytest.fixture
def world():
    world = World()
    yield world
    world.check()


def greet(world, routing=E, **fields):
    return world.call(routing, owner_hello(**fields), OwnerWelcome)


def submitted(world, operation_id, **fields):
    number = world.submit(operation_id, **fields)
    world.write()
    assert isinstance(world.replies[number], Submitted), world.replies[number]


def pushed(world, kind, operation_id):
    return [m for _, m in world.pushes if isinstance(m, kind) and m.operation_id == operation_id]


def started(world, operation_id="op", routing=E):
    assign = pushed(world, Assign, operation_id)[-1]
    message = Started(operation_id=operation_id, generation=assign.generation, total=100.0)
    world.call(routing, message, Ack)
    return assign


def running(world, operation_id="op", **fields):
    if world.hub.owners.get("engine-0") is None:
        greet(world)
    submitted(world, operation_id, **fields)
    return started(world, operation_id)


def measure(assign, counter=1, done=0.0):
    return OperationMeasure(generation=assign.generation, counter=counter, measured_at_ms=0, done=done, total=100.0)


def outcome(assign, state="completed", done=100.0, **fields):
    return Outcome(
        operation_id=assign.operation_id,
        generation=assign.generation,
        state=state,
        final=measure(assign, 1000, done),
        **fields,
    )


def types(world, operation_id="op"):
    return [event.type.removeprefix("operation_") for event in world.feed if event.operation_id == operation_id]


def state(world, operation_id="op"):
    return world.rows[operation_id].operation.state


# --- journal, then everything else ----------------------------------------------------------------


def test_nothing_is_said_and_nobody_works_before_the_acceptance_is_on_disk(world):
    greet(world)
    number = world.submit("op")
    world.tick()
    assert number not in world.replies
    assert not world.feed
    assert not world.pushes
    assert world.call(G, Snapshot(), SnapshotPage).operations == ()
    world.write()
    assert world.replies[number].replies[0].operation_id == "op"
    assert pushed(world, Assign, "op")


def test_queries_in_between_know_only_what_is_on_disk():
    world = World()
    world.submit("op")
    for message in (DoGet(ADMIN, "op"), DoExplain(ADMIN, "op")):
        assert world.replies[world.ask(G, message)].code == "unknown_operation"
    assert world.replies[world.ask(G, DoList(ADMIN, ListOperations()))].operations == []
    assert world.replies[world.ask(G, Status())].states == {}
    assert world.replies[world.ask(G, EventsSince("log", 0))].events == ()


def test_an_explanation_does_not_give_away_an_uncommitted_outcome(world):
    submitted(world, "op")
    world.cancel("op")
    lines = world.replies[world.ask(G, DoExplain(ADMIN, "op"))].lines
    assert lines[0] == "op is queued."
    assert "being written" in lines[1]
    world.write()


def test_a_refusal_does_not_give_away_an_uncommitted_outcome(world):
    submitted(world, "op")
    world.cancel("op")
    number = world.ask(G, DoPause(ADMIN, "op", True))
    assert number not in world.replies
    world.write()
    assert world.replies[number].code == "conflict"


def test_while_the_journal_fails_changes_are_refused_at_once_and_leave_nothing_behind(world):
    assign = running(world)
    world.fail()
    pending = world.hub.log.pending
    for _ in range(50):
        for routing, message in (
            (G, DoPause(ADMIN, "op", True)),
            (G, DoPriority(ADMIN, "op", 1)),
            (E, outcome(assign)),
            (E, Started(operation_id="op", generation=assign.generation)),
            (E, owner_hello()),
        ):
            assert world.replies[world.ask(routing, message)].code == "unavailable"
        assert world.replies[world.submit("new")].code == "unavailable"
    assert world.hub.log.pending == pending
    world.recover()
    assert world.call(E, outcome(assign), Ack) == Ack()


def test_while_the_journal_fails_a_cancel_acts_says_so_and_is_written_once(world):
    running(world)
    world.fail()
    for _ in range(20):
        assert world.replies[world.cancel("op")].code == "unavailable"
    assert world.controls[-1].cancel[0].operation_id == "op"
    assert world.hub.log.pending == 1
    assert "cancelling" not in types(world)
    world.recover()
    assert types(world)[-1] == "cancelling"


@pytest.mark.scenario("F7")
def test_with_room_for_outcomes_alone_what_runs_ends_and_nothing_new_is_taken(world):
    assign = running(world)
    submitted(world, "waits")
    world.handle(JournalFailed("no room", outcomes=True, hint="make some"))
    for routing, message in (
        (G, DoPause(ADMIN, "op", True)),
        (G, DoPriority(ADMIN, "op", 1)),
    ):
        refusal = world.replies[world.ask(routing, message)]
        assert (refusal.code, refusal.hint) == ("unavailable", "make some")
    assert world.replies[world.submit("new")].code == "unavailable"
    # An owner whose connection was made again has to be heard, or its outcome would not be.
    measure = OperationMeasure(assign.generation, 1, 0, done=1.0, total=10.0)
    held = HeldOperation(operation_id="op", generation=assign.generation, state="running", measure=measure)
    assert greet(world, held=(held,)).keep
    number = world.cancel("waits")
    world.write()
    assert world.replies[number].state == "cancelling"
    world.call(E, outcome(assign), Ack)
    assert state(world, "op") == "completed"
    assert not world.hub.waiting.heads()
    world.handle(JournalFailed(None))
    submitted(world, "new")


# --- submit ---------------------------------------------------------------------------------------


def test_a_repeated_submit_is_a_duplicate_however_the_first_one_ended(world):
    submitted(world, "op")
    world.cancel("op")
    world.write()
    number = world.submit("op")
    world.write()
    assert world.replies[number].replies[0].duplicate


def test_a_key_that_comes_again_with_another_id_is_the_operation_it_was(world):
    first = SubmitRequest(operation_id="a", kind=KIND, request_key="key", params={"x": 1})
    world.call(G, DoSubmit(principal=ADMIN, submissions=(first,)), Submitted)
    again = msgspec.structs.replace(first, operation_id="b", correlation_id="another")
    [reply] = world.call(G, DoSubmit(principal=ADMIN, submissions=(again,)), Submitted).replies
    assert (reply.operation_id, reply.duplicate) == ("a", True)
    other = msgspec.structs.replace(again, params={"x": 2})
    assert world.refused(G, DoSubmit(principal=ADMIN, submissions=(other,))).code == "conflict"
    assert set(world.rows) == {"a"}


def test_a_repeated_submit_is_a_duplicate_even_when_memory_has_forgotten_the_first():
    world = World(finished_keep=1)
    for number in range(4):
        submitted(world, f"op-{number}")
        world.cancel(f"op-{number}")
        world.write()
    world.tick()
    assert len(world.hub.records) == 1
    again = world.submit("op-0")
    world.write()
    assert world.replies[again].replies[0].duplicate
    assert world.call(G, DoGet(ADMIN, "op-1"), OperationReply).operation.state == "canceled"
    world.check()


def test_many_are_accepted_together_or_not_at_all(world):
    good = SubmitRequest(operation_id="a", kind=KIND, request_key="a")
    bad = SubmitRequest(operation_id="b", kind=KIND, request_key="b", params={"bad": True})
    assert world.refused(G, DoSubmit(principal=ADMIN, submissions=(good, bad))).code == "bad_request"
    assert not world.rows
    twin = SubmitRequest(operation_id="b", kind=KIND, request_key="a")
    assert world.refused(G, DoSubmit(principal=ADMIN, submissions=(good, twin))).code == "conflict"
    child = SubmitRequest(operation_id="b", kind=KIND, request_key="b", parent_id="a")
    world.call(G, DoSubmit(principal=ADMIN, submissions=(good, child)), Submitted)
    assert world.rows["b"].operation.parent_id == "a"


def test_nothing_is_submitted_below_a_parent_that_ends_or_is_another_users(world):
    running(world, principal=ANN)
    world.submit("child-of-ann", principal=BOB, parent_id="op")
    world.cancel("op")
    late = world.submit("late", principal=ANN, parent_id="op")
    world.write()
    assert world.replies[late].code == "conflict"
    assert "child-of-ann" not in world.rows


def test_too_large_and_unknown_kinds_are_refused(world):
    assert world.replies[world.submit("op", params={"x": "y" * 50_000})].code == "too_large"
    refused = world.replies[world.submit("op", kind="nobody.knows")]
    assert refused.code == "bad_request"
    assert KIND in refused.hint


def test_the_right_to_do_it_is_checked_at_every_command(world):
    submitted(world, "op", principal=ANN)
    nobody = Principal("x", ())
    refused = [
        world.submit("new", principal=VIEWER),
        world.cancel("op", principal=BOB),
        world.cancel("op", principal=VIEWER),
        world.ask(G, DoPause(BOB, "op", True)),
        world.ask(G, DoPriority(VIEWER, "op", 1)),
        world.ask(G, DoGet(nobody, "op")),
        world.ask(G, DoList(nobody, ListOperations())),
        world.ask(G, DoExplain(nobody, "op")),
    ]
    world.write()
    assert {world.replies[number].code for number in refused} == {"forbidden"}
    assert state(world) == "queued"
    world.cancel("op", principal=ANN)
    world.write()
    assert state(world) == "canceled"


# --- cancel ---------------------------------------------------------------------------------------


def test_a_running_operation_is_canceled_when_its_owner_says_so(world):
    assign = running(world)
    number = world.cancel("op", reason="enough")
    assert world.controls[-1].cancel[0].generation == assign.generation
    assert number not in world.replies
    world.write()
    assert world.replies[number] == CancelReply(state="cancelling")
    assert types(world)[-1] == "cancelling"
    world.call(E, outcome(assign, "canceled", 20.0), Ack)
    assert types(world)[-1] == "canceled"
    assert world.hub.control_frame().cancel == ()


def test_a_completion_that_was_faster_stands_and_says_that_a_cancel_was_asked(world):
    assign = running(world)
    world.cancel("op")
    world.call(E, outcome(assign), Ack)
    assert (world.feed[-1].type, world.feed[-1].cancel_requested) == ("operation_completed", True)


def test_a_soft_cancel_does_not_take_a_hard_one_back(world):
    running(world)
    world.cancel("op", mode="hard")
    world.cancel("op", mode="soft")
    world.write()
    assert world.hub.cancel_set["op"].kill_after_ms == 0
    assert types(world).count("cancelling") == 1


def test_a_parent_takes_its_children_with_it(world):
    assign = running(world)
    submitted(world, "child", parent_id="op")
    submitted(world, "grandchild", parent_id="child")
    world.cancel("op")
    world.write()
    assert state(world, "grandchild") == "canceled"
    assert {entry.operation_id for entry in world.controls[-1].cancel} == {"op", "child"}
    world.call(E, outcome(assign, "canceled"), Ack)


def test_a_program_of_its_own_is_asked_and_never_killed(world):
    announced(world)
    assert world.replies[world.cancel("op", mode="hard")].code == "unsupported"
    world.cancel("op", deadline_ms=5)
    world.write()
    assert world.controls[-1].cancel[0].kill_after_ms is None


def test_the_set_is_repeated_until_the_owner_is_dead(world):
    running(world)
    world.cancel("op")
    world.write()
    sent = len(world.controls)
    for _ in range(10):
        world.tick(0.05)
    assert len(world.controls) - sent == pytest.approx(5, abs=1)
    world.die(owner_hello().source)
    world.write()
    assert (world.feed[-1].type, world.feed[-1].forced) == ("operation_canceled", True)


# --- programs that report -------------------------------------------------------------------------


def announce(operation_id="op", **fields):
    measure = OperationMeasure(1, 1, 0, done=3.0, total=10.0, unit="files")
    given = {"kind": "convert", "name": "Convert", "measure": measure, **fields}
    return Announce(principal=ADMIN, operation_id=operation_id, **given)


def announced(world, operation_id="op", **fields):
    greet(world, role="reporter", resumable=())
    return world.call(E, announce(operation_id, **fields), Assign)


@pytest.mark.scenario("B1")
def test_a_program_begins_an_operation_of_its_own(world):
    assign = announced(world, labels={"run": "7"})
    assert [event.type for event in world.feed] == ["operation_accepted", "operation_started"]
    operation = world.feed[-1].operation
    assert (operation.kind, operation.name, operation.owner, operation.state) == (
        "convert",
        "Convert",
        "local",
        "running",
    )
    assert operation.labels == {"run": "7"}
    assert operation.latest.done == 3.0
    world.report(assign.handle, 0, OperationMeasure(1, 2, 0, done=5.0, total=10.0))
    assert [update.progress for update in world.tick()] == [50.0]
    world.call(E, outcome(assign), Ack)
    assert state(world, "op") == "completed"


def test_what_is_told_late_has_begun_when_it_began(world):
    announced(world, age_ms=90_000)
    operation = world.feed[-1].operation
    assert operation.created_at_ms == operation.started_at_ms == world.now.wall_ms - 90_000


def test_an_announcement_that_is_repeated_changes_nothing(world):
    first = announced(world)
    assert world.call(E, announce(), Assign) == first
    assert len(world.feed) == 2


def test_only_a_reporter_that_said_hello_may_announce(world):
    assert world.refused(E, announce()).code == "unavailable"
    greet(world)
    assert world.refused(E, announce()).code == "unsupported"
    greet(world, b"R", name="reporter-1", pid=200, role="reporter", resumable=())
    viewer = msgspec.structs.replace(announce(), principal=Principal("eve", ("viewer",)))
    assert world.refused(b"R", viewer).code == "forbidden"


def test_an_operation_that_has_ended_or_is_anothers_is_not_begun_again(world):
    assign = announced(world)
    greet(world, b"R", name="reporter-2", pid=200, role="reporter", resumable=())
    assert world.refused(b"R", announce()).code == "conflict"
    world.call(E, outcome(assign), Ack)
    assert world.refused(E, announce()).code == "conflict"


@pytest.mark.scenario("B8")
def test_a_program_that_ends_without_a_word_has_failed(world):
    announced(world)
    world.die(owner_hello().source)
    world.write()
    (error,) = [event.error for event in world.feed if event.type == "operation_failed"]
    assert error.code == "worker_lost"
    assert "without saying how it went" in error.message


def test_programs_are_bound_by_the_quota_and_by_the_end_of_the_runtime():
    world = World(operations_per_user=1)
    announced(world)
    assert world.refused(E, announce("another")).code == "quota_exceeded"
    world.handle(Drain())
    assert world.refused(E, announce("later")).code == "draining"


@pytest.mark.scenario("B12")
def test_only_a_program_that_looks_for_it_can_be_paused(world):
    announced(world)
    assert world.refused(b"gateway", DoPause(ADMIN, "op", True)).code == "unsupported"
    assign = world.call(E, announce("other", pausable=True), Assign)
    world.call(b"gateway", DoPause(ADMIN, "other", True), Ack)
    assert world.pushes[-1][1] == PauseOwner("other", 1, True)
    world.call(E, PauseState("other", assign.generation, True), Ack)
    assert state(world, "other") == "paused"


def test_a_program_goes_on_with_a_restarted_broker(world):
    assign = announced(world)
    world.boot()
    measure = OperationMeasure(1, 9, 0, done=7.0, total=10.0)
    held = (HeldOperation(operation_id="op", generation=1, state="running", measure=measure),)
    (kept,) = greet(world, role="reporter", resumable=(), held=held).keep
    assert kept.handle != assign.handle
    assert world.tick()[-1].done == 7.0
    assert world.replies[world.cancel("op", mode="hard")].code == "unsupported"
    world.call(E, outcome(kept), Ack)
    assert state(world, "op") == "completed"


def test_a_part_is_cancelled_with_its_parent_and_does_without_one_that_has_ended(world):
    assign = announced(world)
    world.call(E, announce("part", parent_id="op"), Assign)
    assert world.rows["part"].operation.parent_id == "op"
    world.cancel("op")
    world.write()
    assert {entry.operation_id for entry in world.controls[-1].cancel} == {"op", "part"}
    world.call(E, outcome(assign, "canceled"), Ack)
    world.call(E, announce("late", parent_id="op"), Assign)
    world.call(E, announce("orphan", parent_id="none"), Assign)
    assert world.rows["late"].operation.parent_id is world.rows["orphan"].operation.parent_id is None


def test_a_program_is_given_nothing_to_do_and_gives_nothing_away(world):
    welcome = greet(world, role="reporter", slots=4)
    assert welcome.keep == ()
    submitted(world, "op-of-another")
    assert not pushed(world, Assign, "op-of-another")
    assign = world.call(E, announce(), Assign)
    release = Release("op", assign.generation, "no time", OperationMeasure(1, 9, 0, done=1.0))
    assert world.refused(E, release).code == "unsupported"
    artifact = Artifact(name="x", media_type="text/plain", size_bytes=1, sha256="0" * 64)
    world.call(E, outcome(assign, artifacts=(artifact,)), Ack)
    assert world.rows["op"].operation.artifacts == ()


def test_what_a_program_says_of_tiles_is_not_kept(world):
    measure = OperationMeasure(1, 1, 0, done=1.0, total=2.0, tiles_total=1, committed=b"x" * 100_000, ended=((1, 1),))
    assign = announced(world, measure=measure)
    assert world.rows["op"].operation.latest.tiles is None
    assert not world.report(assign.handle, 7, TileMeasure(1, 1, 0, 0, 99, 0, 0))


def test_the_id_of_a_program_is_nobodys_request_key(world):
    submitted(world, "S1", request_key="op")
    announced(world)
    assert world.hub.keys["local", "op"] == "S1"


def test_long_texts_of_a_program_are_cut(world):
    assign = announced(world)
    measure = OperationMeasure(1, 2, 0, done=4.0, step="s" * 5000, message="m" * 50_000, unit="u" * 500)
    world.report(assign.handle, 0, measure)
    (update,) = world.tick()
    assert len(update.step) == len(update.unit) == NAME_LIMIT
    assert len(update.message) == MESSAGE_LIMIT
    assert update.message.endswith("…")


# --- owners ---------------------------------------------------------------------------------------


def test_an_assignment_is_repeated_until_it_is_confirmed(world):
    greet(world)
    submitted(world, "op")
    for _ in range(5):
        world.tick(0.5)
        world.tell(E, OwnerHeartbeat(owner_hello().source, 0))
    assert 2 <= len(pushed(world, Assign, "op")) <= 4
    started(world)
    count = len(pushed(world, Assign, "op"))
    world.tick(2.0)
    assert len(pushed(world, Assign, "op")) == count


def test_an_assignment_that_got_lost_is_repeated_while_it_is_cancelled_since_only_its_owner_can_end_it(world):
    greet(world)
    submitted(world, "op")
    world.cancel("op")
    world.write()
    world.pushes.clear()
    for _ in range(3):
        world.tick(0.5)
        world.tell(E, OwnerHeartbeat(owner_hello().source, 0))
    assign = pushed(world, Assign, "op")[-1]
    world.call(E, outcome(assign, "canceled", 0.0), Ack)
    world.write()
    assert world.feed[-1].type == "operation_canceled"


def test_a_dead_owners_operation_goes_to_the_next_as_a_new_generation_and_the_old_one_is_fenced(world):
    assign = running(world)
    world.report(assign.handle, 1, measure(assign, 1, 60.0))
    world.tick()
    world.die(owner_hello().source)
    greet(world, b"second", pid=200)
    second = started(world, routing=b"second")
    assert second.generation == assign.generation + 1
    assert types(world)[-2:] == ["requeued", "started"]
    assert not world.report(assign.handle, 1, measure(assign, 2, 70.0))
    assert world.refused(b"second", outcome(assign)).code == "conflict"
    world.report(second.handle, 1, measure(second, 1, 5.0))
    assert world.tick()[0].done == 60.0


def test_too_many_deaths_fail_it_and_what_cannot_be_resumed_fails_at_once():
    world = World(attempts=2)
    running(world)
    world.die(owner_hello().source)
    greet(world, pid=200)
    started(world)
    world.die(owner_hello(pid=200).source)
    world.write()
    assert world.feed[-1].error.code == "worker_lost"
    greet(world, pid=300, resumable=())
    submitted(world, "other")
    started(world, "other")
    world.die(owner_hello(pid=300).source)
    world.write()
    assert types(world, "other")[-1] == "failed"
    world.check()


def test_whether_it_can_be_resumed_is_known_after_a_restart_too():
    world = World()
    greet(world, resumable=())
    submitted(world, "op")
    started(world)
    world.boot()
    world.die(owner_hello().source)
    world.write()
    assert types(world)[-1] == "failed"
    world.check()


def test_a_new_process_of_the_same_name_replaces_the_old_one_for_good(world):
    running(world)
    greet(world, b"second", pid=200)
    assert [source.pid for source in world.killed] == [100]
    assert types(world)[-1] == "requeued"


def test_an_older_process_of_the_same_name_does_not_drive_out_the_newer_one(world):
    """It was frozen while its successor came, and the broker that knew of it has restarted since."""
    world.boot()
    greet(world, b"second", pid=200)
    assert world.refused(E, owner_hello(pid=100)).code == "conflict"
    assert [source.pid for source in world.killed] == [100]
    assert [owner.source.pid for owner in world.hub.owners] == [200]
    # Of another boot, or where the system does not say when it began, nobody knows which is the older one.
    source = owner_hello(pid=100).source
    for unknown in ({"boot_id": "another"}, {"start_time": 0.0}):
        hello = msgspec.structs.replace(owner_hello(pid=100), source=msgspec.structs.replace(source, **unknown))
        assert isinstance(world.call(E, hello, OwnerWelcome), OwnerWelcome)
        greet(world, b"second", pid=200)


def test_a_cancel_that_its_broker_did_not_live_to_write_is_still_one(world):
    assign = running(world)
    world.cancel("op")
    # The set went out before the commit, and the engine has stopped.
    world.boot()
    held = HeldOperation(operation_id="op", generation=assign.generation, state="ended", measure=measure(assign))
    greet(world, held=(held,))
    world.call(E, outcome(assign, "canceled"), Ack)
    operation = world.rows["op"].operation
    assert (operation.state, operation.cancel_requested) == ("canceled", True)


def test_a_program_with_the_name_of_another_is_refused_and_nobody_is_killed(world):
    greet(world, role="reporter")
    assert world.refused(b"second", owner_hello(pid=200, role="reporter")).code == "conflict"
    assert not world.killed


def test_who_has_not_said_hello_has_to_repeat_and_drops_nothing(world):
    assign = running(world)
    world.boot()
    assert world.refused(E, outcome(assign)).code == "unavailable"
    held = HeldOperation(operation_id="op", generation=assign.generation, state="ended", measure=measure(assign))
    welcome = greet(world, held=(held,))
    assert [kept.operation_id for kept in welcome.keep] == ["op"]
    assert world.call(E, outcome(assign), Ack) == Ack()


def test_silence_makes_stale_and_nothing_else(world):
    assign = running(world)
    world.report(assign.handle, 1, measure(assign, 1, 10.0))
    for _ in range(8):
        world.tick(0.5)
    assert world.shown["op"].stale
    before = len(world.feed)
    for _ in range(600):
        world.tick(0.9)
    assert len(world.feed) == before
    world.tell(E, OwnerHeartbeat(owner_hello().source, 1))
    world.tick()
    assert not world.shown["op"].stale


def test_a_remote_owner_is_given_up_when_its_lease_ran_out_but_not_for_our_own_standstill():
    world = World(lease_s=10.0)
    greet(world, local=False)
    assert not world.watched
    submitted(world, "op")
    started(world)
    world.tick(500.0)
    assert state(world) == "running"
    for _ in range(13):
        world.tick(0.9)
    world.write()
    assert state(world) == "queued"
    world.check()


def test_a_remote_owner_that_speaks_is_not_given_up_while_its_hello_cannot_be_written():
    world = World(lease_s=10.0)
    greet(world, local=False)
    submitted(world, "op")
    started(world)
    world.boot()
    world.fail()
    hello = owner_hello(local=False)
    for _ in range(20):
        assert world.refused(E, hello).temporary
        for _ in range(8):
            world.tick(0.9)
        world.tell(E, OwnerHeartbeat(hello.source, 1))
    world.recover()
    world.write()
    assert state(world) == "running"
    # What says nothing is given up as ever.
    for _ in range(13):
        world.tick(0.9)
    world.write()
    assert state(world) == "queued"
    world.check()


def test_a_draining_owner_gives_back_and_gets_nothing_new(world):
    assign = running(world)
    world.report(assign.handle, 1, measure(assign, 1, 30.0))
    release = Release(
        operation_id="op", generation=assign.generation, reason="stopping", measure=measure(assign, 2, 40.0)
    )
    world.call(E, release, Ack)
    world.tick(2.0)
    world.write()
    assert (state(world), types(world)[-1]) == ("queued", "requeued")
    assert world.rows["op"].operation.latest.done == 40.0
    assert any("shutting down" in line for line in world.call(G, DoExplain(ADMIN, "op"), Explained).lines)
    greet(world, b"second", pid=200)
    assert started(world, routing=b"second").generation == 2


# --- pause ----------------------------------------------------------------------------------------


def test_without_an_owner_a_pause_is_done_at_once(world):
    submitted(world, "op")
    world.call(G, DoPause(ADMIN, "op", True), Ack)
    greet(world)
    world.tick(1.0)
    assert (state(world), pushed(world, Assign, "op")) == ("paused", [])
    world.call(G, DoPause(ADMIN, "op", False), Ack)
    world.write()
    assert types(world)[-2:] == ["paused", "resumed"]
    assert pushed(world, Assign, "op")


def test_an_owner_is_asked_until_it_confirms(world):
    assign = running(world)
    world.call(G, DoPause(ADMIN, "op", True), Ack)
    world.tick(1.1)
    world.tick(1.1)
    asked = pushed(world, PauseOwner, "op")
    assert len(asked) == 3
    assert state(world) == "running"
    world.call(E, PauseState("op", assign.generation, True), Ack)
    assert types(world)[-1] == "paused"
    world.call(G, DoPause(ADMIN, "op", False), Ack)
    world.call(E, PauseState("op", assign.generation, False), Ack)
    assert types(world)[-1] == "resumed"


@pytest.mark.scenario("B12")
@pytest.mark.parametrize("wanted", [True, False])
def test_what_a_dead_owner_did_not_confirm_is_done_without_it_and_said(world, wanted):
    assign = running(world)
    if not wanted:
        world.call(G, DoPause(ADMIN, "op", True), Ack)
        world.call(E, PauseState("op", assign.generation, True), Ack)
    world.call(G, DoPause(ADMIN, "op", wanted), Ack)
    world.die(owner_hello().source)
    world.write()
    assert types(world)[-2:] == ["requeued", "paused" if wanted else "resumed"]
    assert world.feed[-1].state == state(world) == ("paused" if wanted else "queued")


def test_a_new_priority_is_told_to_the_owner(world):
    running(world)
    world.call(G, DoPriority(ADMIN, "op", 7), Ack)
    assert pushed(world, PriorityOwner, "op")[0].priority == 7
    assert (world.feed[-1].type, world.feed[-1].priority) == ("operation_priority", 7)


# --- restart, forgetting, queries -----------------------------------------------------------------


def test_a_bar_goes_on_where_it_was_after_a_restart(world):
    assign = running(world)
    world.report(assign.handle, 1, measure(assign, 1, 42.0))
    world.tick(1.0)
    world.write()
    world.boot()
    page = world.call(G, Snapshot(), SnapshotPage)
    assert page.operations[0].latest.done == 42.0
    held = HeldOperation(
        operation_id="op", generation=assign.generation, state="running", measure=measure(assign, 2, 30.0)
    )
    keep = greet(world, held=(held,)).keep[0]
    assert world.tick()[0].done == 42.0
    world.report(keep.handle, 1, measure(assign, 3, 50.0))
    world.report(keep.handle, 5, TileMeasure(assign.generation, 1, 0, 0, 5, 5, 5))
    update = world.tick(1.0)[0]
    assert update.done == 55.0
    # The time without a broker is no time the work took.
    assert update.eta_ms is None or update.eta_ms.p50 < 60_000


def test_an_assignment_that_never_arrived_is_sent_again_after_a_restart(world):
    greet(world)
    submitted(world, "op")
    world.boot()
    world.pushes.clear()
    greet(world)
    world.tick()
    assert pushed(world, Assign, "op")[0].generation == 1


@pytest.mark.scenario("J25")
def test_a_new_start_resumes_what_had_begun_and_holds_it_against_nobody():
    world = World(attempts=1)
    running(world)
    for pid in (200, 201, 202):
        world.boot(first=True)
        greet(world, pid=pid)
        world.write()
        started(world)
        world.write()
    record = world.hub.records["op"]
    assert (record.operation.state, record.row.losses, record.operation.generation) == ("running", 0, 4)
    reasons = [event.reason for event in world.events if event.type == "operation_requeued"]
    assert reasons == ["the runtime ended"] * 3
    # The death of an engine alone is another thing.
    world.boot()
    greet(world, pid=203)
    world.write()
    assert world.hub.records["op"].operation.error.code == "worker_lost"
    world.check()


@pytest.mark.scenario("J25")
def test_a_new_start_fails_what_had_begun_if_it_is_told_to_and_nothing_else():
    world = World(interrupted="fail")
    assign = running(world, "held")
    given_back = running(world, "given-back")
    world.call(E, Release("given-back", given_back.generation, "drained", measure(given_back)), Ack)
    world.write()
    submitted(world, "waiting")
    world.boot()
    # The broker alone was started again: its owner is still there.
    assert world.hub.records["given-back"].operation.state == "queued"
    world.boot(first=True)
    world.write()
    greet(world, pid=200)
    world.write()
    states = {oid: world.hub.records[oid].operation.state for oid in ("held", "given-back", "waiting")}
    assert states == {"held": "failed", "given-back": "failed", "waiting": "queued"}
    assert {world.hub.records[oid].operation.error.code for oid in ("held", "given-back")} == {"interrupted"}
    assert assign.generation == 1
    world.check()


@pytest.mark.scenario("F5")
def test_what_cannot_be_resumed_fails_as_interrupted_when_it_is_given_back(world):
    greet(world, resumable=())
    submitted(world, "op")
    assign = started(world)
    world.call(E, Release("op", assign.generation, "drained", measure(assign)), Ack)
    world.write()
    assert world.hub.records["op"].operation.error.code == "interrupted"


def test_finished_operations_are_forgotten_by_number_and_age_children_first():
    world = World(finished_keep=3, finished_keep_s=60.0)
    for number in range(8):
        submitted(world, f"op-{number}")
        world.cancel(f"op-{number}")
        world.write()
        world.tick()
    assert sorted(world.hub.records) == ["op-5", "op-6", "op-7"]
    for _ in range(70):
        world.tick(0.95)
    assert not world.hub.records
    assert not world.hub.keys
    assert len(world.rows) == 8
    world.check()


def test_what_ended_first_is_forgotten_first_before_and_after_a_restart():
    world = World(finished_keep=3)
    for number in range(4):
        submitted(world, f"op-{number}")
    for number in (3, 1, 2, 0):
        world.cancel(f"op-{number}")
        world.write()
    world.boot()
    world.tick()
    assert sorted(world.hub.records) == ["op-0", "op-1", "op-2"]
    submitted(world, "op-4")
    world.cancel("op-4")
    world.write()
    world.tick()
    assert sorted(world.hub.records) == ["op-0", "op-2", "op-4"]
    world.check()


def test_a_parent_stays_while_a_child_lives():
    world = World(finished_keep=1, finished_keep_s=1.0)
    greet(world)
    submitted(world, "parent")
    submitted(world, "child", parent_id="parent")
    assign = started(world, "parent")
    world.call(E, outcome(assign), Ack)
    for _ in range(20):
        world.tick(0.5)
    assert "parent" in world.hub.records
    world.check()


def test_events_can_be_asked_for_inside_the_history_only():
    world = World(history_events=10)
    for number in range(10):
        submitted(world, f"op-{number}")
    assert world.call(G, EventsSince("log", 15), Events).events[0].seq == 16
    floor = world.call(G, EventsSince("log", 20), Events).floor
    assert floor == 10
    assert not world.call(G, EventsSince("log", 9), Events).recovered
    assert not world.call(G, EventsSince("log", 21), Events).recovered
    assert not world.call(G, EventsSince("other", 15), Events).recovered


def test_a_list_is_paged_filtered_and_newest_first(world):
    for number in range(7):
        submitted(world, f"op-{number}", labels={"even": str(number % 2 == 0)})
        world.tick(1.0)
    first = world.call(G, DoList(ADMIN, ListOperations(limit=3)), ListReply)
    second = world.call(G, DoList(ADMIN, ListOperations(limit=4, cursor=first.cursor)), ListReply)
    assert [o.operation_id for o in first.operations + second.operations] == [f"op-{n}" for n in range(6, -1, -1)]
    assert second.cursor is None
    assert world.refused(G, DoList(ADMIN, ListOperations(cursor="rubbish"))).code == "bad_request"


def test_draining_takes_and_assigns_nothing(world):
    greet(world)
    world.handle(Drain())
    assert world.replies[world.submit("op")].code == "draining"
    assert world.call(G, Status(), StatusReply).draining


def test_what_is_explained_names_who_is_in_the_way(world):
    greet(world, slots=1)
    for number in range(3):
        submitted(world, f"op-{number}")
    lines = world.call(G, DoExplain(ADMIN, "op-2"), Explained).lines
    assert lines[0] == "op-2 is queued."
    assert "engine-0 has 1 of 1 slots in use." in lines
    assert any("ahead of it" in line for line in lines)
    world.die(owner_hello().source)
    world.write()
    assert any("No engine" in line for line in world.call(G, DoExplain(ADMIN, "op-2"), Explained).lines)


def test_what_is_asked_about_everything_is_answered(world):
    assign = running(world)
    world.report(assign.handle, 1, measure(assign, 1, 10.0))
    world.tick()
    assert world.call(G, ProgressState(), ProgressStateReply).progress[0].done == 10.0
    assert [kind.kind for kind in world.call(G, DoKinds(ANN), KindsKnown).kinds] == [KIND]
    status = world.call(G, Status(), StatusReply)
    assert (status.states, status.peers[0].operations) == ({"running": 1}, 1)
    assert world.refused(G, OwnerHeartbeat(owner_hello().source, 0)).code == "unsupported"
    cancel = DoCancel(ADMIN, CancelOperation(operation_id="nobody"))
    assert world.refused(G, cancel).code == "unknown_operation"
    assert isinstance(world.replies[world.cancel("nobody")], ErrorInfo)


# --- much of everything ---------------------------------------------------------------------------

LABELS = {f"{number:02}{'k' * 250}": "é" * 256 for number in range(32)}
"""As large as labels may be: 24 KB of them."""


def everything(world, first, following):
    """All pages of something, each as it travels."""
    pages = [first]
    while (request := following(pages[-1])) is not None:
        pages.append(world.replies[world.ask(G, request)])
        assert len(pages) < 1000
    assert all(sum(map(len, pack_reply(1, page))) < 2 * PAGE_LIMIT_BYTES for page in pages)
    return pages


def test_pages_of_large_operations_are_short_and_together_everything():
    world = World()
    greet(world)
    ids = [f"op-{number:03}" for number in range(120)]
    for operation_id in ids:
        world.submit(operation_id, labels=LABELS)
    world.write()
    pages = everything(
        world,
        world.replies[world.ask(G, Snapshot())],
        lambda page: Snapshot(page.cursor) if page.cursor else None,
    )
    assert len(pages) > 3
    assert [operation.operation_id for page in pages for operation in page.operations] == ids
    pages = everything(
        world,
        world.replies[world.ask(G, DoList(ADMIN, ListOperations(limit=500)))],
        lambda page: DoList(ADMIN, ListOperations(limit=500, cursor=page.cursor)) if page.cursor else None,
    )
    assert len(pages) > 3
    assert sorted(operation.operation_id for page in pages for operation in page.operations) == ids
    pages = everything(
        world,
        world.replies[world.ask(G, EventsSince("log", 0))],
        lambda page: EventsSince("log", page.events[-1].seq) if page.events else None,
    )
    assert len(pages) > 3
    assert [event.seq for page in pages for event in page.events] == list(range(1, world.events[-1].seq + 1))


def test_one_that_is_larger_than_a_page_still_comes_through():
    assert page_of([ErrorInfo(code="x", message="y" * (PAGE_LIMIT_BYTES + 1))] * 3, 10) != []


def test_a_user_has_a_limit_of_live_operations_and_others_are_not_affected():
    world = World(operations_per_user=3)
    running(world)
    for operation_id in ("op-1", "op-2"):
        submitted(world, operation_id)
    one_more = DoSubmit(principal=ADMIN, submissions=(SubmitRequest(operation_id="x", kind=KIND, request_key="x"),))
    assert world.refused(G, one_more).code == "quota_exceeded"
    submitted(world, "bobs", principal=BOB)
    # A repeated submit is no new operation.
    submitted(world, "op-2")
    world.cancel("op-2")
    world.write()
    submitted(world, "op-3")
    world.check()


def test_who_waits_is_found_without_looking_at_all_who_wait():
    world = World()
    greet(world, slots=1)
    # The world looks at all of its tables after each, so thousands would take minutes.
    for number in range(400):
        world.submit(f"op-{number}", priority=number % 3)
    world.write()
    looked = 0

    class Counted(dict):
        def __getitem__(self, key):
            nonlocal looked
            looked += 1
            return super().__getitem__(key)

    world.hub.records = Counted(world.hub.records)
    ownership.assign(world.hub, world.now)
    assert looked < 20


# --- what an owner says late, or not at all -------------------------------------------------------


def test_an_outcome_that_overtakes_the_start_implies_it(world):
    greet(world)
    submitted(world, "op")
    assign = pushed(world, Assign, "op")[-1]
    world.call(E, outcome(assign), Ack)
    assert types(world) == ["accepted", "queued", "started", "completed"]
    begun = next(event for event in world.feed if event.type == "operation_started")
    assert begun.operation.location == "ipc://data"
    assert world.rows["op"].operation.started_at_ms is not None


def test_a_final_without_a_word_of_its_last_owner_keeps_what_was_known(world):
    assign = running(world)
    world.report(assign.handle, 1, measure(assign, 1, 60.0))
    world.tick(2.0)
    world.write()
    world.die(owner_hello().source)
    world.write()
    world.boot()
    world.cancel("op")
    world.write()
    final = world.feed[-1].final
    assert (world.feed[-1].type, final.done, final.total, final.progress) == ("operation_canceled", 60.0, 100.0, 60.0)


def test_a_silent_owner_stays_silent_when_its_operation_is_cancelled(world):
    running(world)
    for _ in range(40):
        world.tick(0.1)
    assert world.hub.records["op"].merge.stale
    world.cancel("op")
    world.write()
    assert world.rows["op"].operation.stale
    before = msgspec.structs.replace(world.rows["op"].operation, at_seq=0)
    assert after_event(before, world.feed[-1], None).stale


def test_waiting_longer_books_no_slot_twice(world):
    greet(world, slots=1)
    submitted(world, "first")
    submitted(world, "second")
    world.tick(AGEING_S * 3)
    world.write()
    assert pushed(world, Assign, "second") == []


def test_details_that_are_too_large_are_left_out_and_it_is_said(world):
    assign = running(world)
    large = msgspec.structs.replace(measure(assign, 1, 10.0), details={"text": "x" * DETAILS_LIMIT_BYTES})
    world.report(assign.handle, 1, large)
    [update] = world.tick()
    assert update.done == 10.0
    assert "bytes" in update.details["details_left_out"]


def test_a_broker_goes_on_with_what_the_last_one_had_shown(world):
    assign = running(world)
    world.report(assign.handle, 1, measure(assign, 1, 10.0))
    world.tick(2.0)
    world.write()
    world.report(assign.handle, 1, measure(assign, 2, 40.0))
    world.tick()
    world.boot()
    held = HeldOperation(operation_id="op", generation=1, state="running", measure=measure(assign, 3, 20.0))
    greet(world, held=(held,))
    assert [update.done for update in world.tick()] == [40.0]


@pytest.mark.scenario("J2")
def test_an_outcome_that_is_not_on_disk_moves_no_bar(world):
    assign = running(world)
    world.report(assign.handle, 1, measure(assign, 1, 10.0))
    world.tick()
    world.ask(E, outcome(assign))
    # Whoever asks meanwhile is told what a broker that is killed now comes back with.
    listed = world.replies[world.ask(G, DoList(ADMIN, ListOperations()))].operations
    got = world.replies[world.ask(G, DoGet(ADMIN, "op"))].operation
    assert [operation.latest.done for operation in (*listed, got)] == [10.0, 10.0]
    assert not world.hub.all_progress()
    world.write()
    assert world.call(G, DoGet(ADMIN, "op"), OperationReply).operation.latest.progress == 100.0


def test_what_runs_behind_a_higher_priority_says_so(world):
    running(world, "low", priority=-5)
    running(world, "high", priority=5)
    [_, why] = world.call(G, DoExplain(ADMIN, "low"), Explained).lines
    assert why == "It waits for high, of a higher priority, to leave workers free."
    assert len(world.call(G, DoExplain(ADMIN, "high"), Explained).lines) == 1


def test_a_living_owner_that_is_taken_for_dead_is_asked_to_introduce_itself(world):
    running(world)
    world.die(owner_hello().source)
    world.write()
    world.pushes.clear()
    world.tell(E, OwnerHeartbeat(owner_hello().source, 1))
    assert world.pushes == [(E, HelloAsked())]
    welcome = greet(world)
    assert welcome.keep == ()
    world.tick()
    world.write()
    assert pushed(world, Assign, "op")[-1].generation == 2


@pytest.mark.scenario("F6")
def test_an_owner_that_froze_before_its_first_word_of_it_is_shown_as_silent(world):
    running(world)
    world.tick(0.05)
    assert not world.call(E, DoGet(ADMIN, "op"), OperationReply).operation.stale
    for _ in range(7):
        world.tick(0.5)
    assert world.call(E, DoGet(ADMIN, "op"), OperationReply).operation.stale


# --- what programs left on disk -------------------------------------------------------------------


def left(world, *words, whole=True, source=None):
    world.handle(Heard(owner_hello().source if source is None else source, words, whole))


def last_word(operation_id="op", state="completed", *, generation=1, age_ms=0, ago_ms=0, **fields):
    final = OperationMeasure(generation, 9, 0, done=10.0, total=10.0)
    return LastWord(
        announce=announce(operation_id, age_ms=age_ms),
        outcome=Outcome(operation_id=operation_id, generation=generation, state=state, final=final, **fields),
        kept_at_ms=1_700_000_000_000 - ago_ms,
    )


@pytest.mark.scenario("J33", "B8")
def test_what_a_program_left_is_how_it_went(world):
    announced(world)
    world.boot()
    left(world, last_word())
    world.die(owner_hello().source)
    world.write()
    assert [event.type for event in world.feed] == ["operation_accepted", "operation_started", "operation_completed"]
    assert world.feed[-1].final.done == 10.0
    assert world.forgotten == [owner_hello().source.name]


@pytest.mark.scenario("J33")
def test_what_is_left_is_removed_only_once_it_is_on_disk(world):
    announced(world)
    left(world, last_word())
    assert world.forgotten == []
    world.boot()
    left(world, last_word(), whole=False)
    world.write()
    assert (world.forgotten, state(world, "op")) == ([], "completed")
    left(world, last_word())
    world.write()
    assert world.forgotten == [owner_hello().source.name]
    assert [event.type for event in world.feed].count("operation_completed") == 1


@pytest.mark.scenario("J33", "F7")
def test_what_is_left_while_the_journal_fails_counts_when_it_writes_again(world):
    announced(world)
    world.fail()
    left(world, last_word())
    world.die(owner_hello().source)
    assert (world.forgotten, state(world, "op")) == ([], "running")
    world.recover()
    assert (world.forgotten, state(world, "op")) == ([owner_hello().source.name], "completed")


@pytest.mark.scenario("J33")
def test_what_began_and_ended_while_nobody_listened_is_told_with_its_times(world):
    failed = ErrorInfo(code="ValueError", message="no")
    left(world, last_word("new", "failed", age_ms=5_000, ago_ms=60_000, error=failed))
    world.write()
    operation = world.rows["new"].operation
    assert (operation.state, operation.error) == ("failed", failed)
    assert operation.created_at_ms == world.now.wall_ms - 65_000
    left(world, last_word("new", "completed"))
    world.write()
    assert state(world, "new") == "failed"
    assert [event.type for event in world.feed] == ["operation_accepted", "operation_started", "operation_failed"]


@pytest.mark.scenario("J33")
@pytest.mark.parametrize(("ago_ms", "ended_ago_ms"), [(40_000, 40_000), (400_000, 60_000), (-40_000, 0)])
def test_what_is_left_has_ended_when_it_was_left_as_far_as_clocks_allow(world, ago_ms, ended_ago_ms):
    """Not when it was heard; not before it began, nor in the future."""
    announced(world, age_ms=60_000)
    left(world, last_word(ago_ms=ago_ms))
    world.write()
    told(world, ended_ago_ms)


@pytest.mark.scenario("J33")
def test_what_nobody_had_heard_of_has_ended_when_it_was_left(world):
    left(world, last_word(age_ms=5_000, ago_ms=40_000))
    world.write()
    told(world, 40_000)
    assert world.rows["op"].operation.started_at_ms == world.now.wall_ms - 45_000


def told(world, ended_ago_ms):
    """In the row, to whoever follows the events, and in how it went."""
    operation, event = world.rows["op"].operation, world.feed[-1]
    assert operation.ended_at_ms == world.now.wall_ms - ended_ago_ms
    assert event.ts_ms == world.now.wall_ms
    assert after_event(operation, event, operation.latest).ended_at_ms == operation.ended_at_ms
    took_ms = operation.ended_at_ms - operation.started_at_ms
    assert world.performance["op"].points[-1].t_ms <= took_ms


@pytest.mark.scenario("J33")
@pytest.mark.parametrize("of", ["another process", "a lower generation", "what has ended", "a render"])
def test_what_is_left_by_others_changes_nothing(world, of):
    if of == "a render":
        running(world)
        left(world, last_word(), source=owner_hello("reporter-9", pid=900).source)
    else:
        assign = announced(world)
        if of == "another process":
            left(world, last_word(), source=owner_hello(pid=999).source)
        elif of == "a lower generation":
            left(world, last_word(generation=0))
        else:
            world.call(E, outcome(assign, "canceled"), Ack)
            left(world, last_word())
    before = "canceled" if of == "what has ended" else "running"
    world.write()
    assert state(world, "op") == before


@pytest.mark.scenario("J33")
def test_an_outcome_under_the_name_of_another_operation_changes_nothing(world):
    announced(world)
    wrong = msgspec.structs.replace(last_word("new"), announce=announce("op"))
    left(world, wrong)
    world.write()
    assert (state(world, "op"), "new" in world.rows) == ("running", False)
    assert [event.type for event in world.feed] == ["operation_accepted", "operation_started"]


@pytest.mark.scenario("J33")
def test_a_cancelled_program_that_left_its_outcome_leaves_the_cancel_set(world):
    announced(world)
    world.cancel("op")
    world.write()
    left(world, last_word(state="canceled"))
    world.die(owner_hello().source)
    world.write()
    assert (world.feed[-1].type, world.feed[-1].forced) == ("operation_canceled", False)
    assert world.hub.control_frame().cancel == ()
