"""One watcher: what it subscribed to, in which order it is sent what, and what it costs when it is slow."""

from __future__ import annotations

import pytest

from rfm_runtime.core.sessions.session import CONTROL_LIMIT_BYTES, FINISHED_SHOWN, PAGE_OPERATIONS
from rfm_runtime.protocol.limits import PAGE_LIMIT_BYTES
from rfm_runtime.protocol.messages import (
    ArtifactChunk,
    FetchArtifact,
    GetOperation,
    Live,
    OperationList,
    OperationReply,
    Ping,
    Pong,
    ResumeFrom,
    Subscribe,
    Subscribed,
    Throttled,
    Unsubscribe,
)
from rfm_runtime.protocol.operation import (
    Artifact,
    ErrorInfo,
    OperationEvent,
    OperationFilter,
    ProgressUpdate,
    TileMap,
)
from rfm_runtime.protocol.wire import encode, join
from rfm_runtime.testing.sessions import Gate, Story

LIMIT_BYTES = 2000
FILE = Artifact(name="f", media_type="x/y", size_bytes=1, sha256="0")


class Scene:
    """A story, a gateway that follows it, and watchers of it."""

    def __init__(self, **settings):
        self.story = Story()
        self.gate = Gate(self.story.answer, write_limit_bytes=LIMIT_BYTES, **settings).boot()

    def run(self, *operation_ids, **fields):
        for operation_id in operation_ids:
            self.story.accept(operation_id, **fields)
            self.story.start(operation_id)
        self.show()

    def show(self, *progress):
        self.gate.feed(self.story.frame(*progress))

    def measure(self, operation_id, done, **fields):
        self.show(self.story.measure(operation_id, done, **fields))

    def end(self, *operation_ids, **fields):
        for operation_id in operation_ids:
            self.story.end(operation_id, **fields)
        self.show()

    def watch(self, operations="all", encoding="json", token="ann", **fields):
        """A watcher that has seen everything there is."""
        watcher = self.gate.connect(encoding).hello(token).subscribe(operations, **fields)
        assert watcher.all(Live)
        watcher.forget()
        return watcher

    def session(self, watcher):
        return self.gate.core.sessions[watcher.number]


@pytest.fixture
def scene():
    scene = Scene()
    yield scene
    scene.gate.core.sanity_check()


def kinds(watcher):
    return [type(message) for message in watcher.told]


def seqs(watcher):
    return [event.seq for event in watcher.all(OperationEvent)]


def listed(watcher):
    return [operation.operation_id for page in watcher.all(OperationList) for operation in page.operations]


# --- the first list -------------------------------------------------------------------------------


@pytest.mark.scenario("B5")
@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_a_late_watcher_gets_the_list_first_then_live_then_what_happens(scene, encoding):
    scene.run("a", "b")
    watcher = scene.gate.connect(encoding).hello().subscribe()
    assert kinds(watcher)[1:] == [Subscribed, OperationList, Live]
    assert not watcher.all(Subscribed)[0].recovered
    assert sorted(listed(watcher)) == ["a", "b"]
    assert watcher.all(Live)[0] == Live("log", scene.story.head)
    scene.measure("a", 1.0)
    scene.end("a")
    assert kinds(watcher)[-2:] == [ProgressUpdate, OperationEvent]


def test_the_list_comes_in_pages_as_the_socket_drains(scene):
    scene.run(*(f"op-{number}" for number in range(3 * PAGE_OPERATIONS)))
    watcher = scene.gate.connect().hello()
    watcher.frozen = True
    watcher.subscribe()
    waiting_bytes = watcher.unsent_bytes
    scene.gate.ticks(1.0)
    assert watcher.unsent_bytes == waiting_bytes
    watcher.frozen = False
    watcher.read()
    scene.gate.ticks(0.5)
    pages = watcher.all(OperationList)
    assert [(page.first, page.more) for page in pages] == [(True, True), (False, True), (False, False)]
    assert len(set(listed(watcher))) == 3 * PAGE_OPERATIONS


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_a_page_of_large_operations_is_short(scene, encoding):
    labels = {f"{number:02}": "é" * 256 for number in range(32)}
    ids = [f"op-{number:03}" for number in range(2 * PAGE_OPERATIONS)]
    for operation_id in ids:
        scene.story.accept(operation_id, labels=labels)
    scene.gate.feed(scene.story.frame())
    watcher = scene.gate.connect(encoding).hello().subscribe()
    scene.gate.ticks(0.5)
    pages = watcher.all(OperationList)
    assert len(pages) > 2
    assert all(len(encode(page, encoding, ts=0)) < 2 * PAGE_LIMIT_BYTES for page in pages)
    assert set(ids) <= set(listed(watcher))


def test_what_a_page_shows_already_is_not_told_again_and_what_it_does_not_show_is(scene):
    ids = [f"op-{number:03}" for number in range(4 * PAGE_OPERATIONS)]
    scene.run(*ids)
    watcher = scene.gate.connect().hello()
    watcher.frozen = True
    watcher.subscribe()
    # Newest first: the last one is on the first page, which is in the socket; the first one is not sent yet.
    scene.end(ids[-1], ids[0])
    watcher.frozen = False
    watcher.read()
    scene.gate.ticks(0.5)
    shown = {operation.operation_id: operation for page in watcher.all(OperationList) for operation in page.operations}
    assert (shown[ids[-1]].state, shown[ids[0]].state) == ("running", "completed")
    assert [event.operation_id for event in watcher.all(OperationEvent)] == [ids[-1]]
    assert kinds(watcher)[-1] == Live


def test_the_default_list_has_everything_active_and_the_newest_of_what_has_ended(scene):
    finished = [f"done-{number}" for number in range(FINISHED_SHOWN + 20)]
    scene.run("alive", *finished)
    scene.end(*finished)
    active = scene.gate.connect().hello().subscribe("active")
    everything = scene.gate.connect().hello().subscribe("all")
    scene.gate.ticks(2.0)
    assert listed(active) == ["alive", *reversed(finished[20:])]
    assert len(listed(everything)) == 1 + len(finished)


def test_an_empty_runtime_shows_one_empty_page(scene):
    watcher = scene.gate.connect().hello().subscribe()
    assert watcher.all(OperationList) == [OperationList(operations=[], more=False, first=True)]


# --- subscriptions --------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("operations", "seen"),
    [
        ("active", {"ann-1", "ann-2", "bob-1"}),
        ("all", {"ann-1", "ann-2", "bob-1"}),
        ("mine", {"ann-1", "ann-2"}),
        (["bob-1", "never"], {"bob-1"}),
        (OperationFilter(owner="bob"), {"bob-1"}),
        (OperationFilter(kinds=["other"]), {"ann-2"}),
        (OperationFilter(labels={"a": "1"}), {"ann-1"}),
        (OperationFilter(text="ANN"), {"ann-1", "ann-2"}),
    ],
)
def test_it_sees_list_events_and_progress_of_what_it_subscribed_to_and_of_nothing_else(scene, operations, seen):
    def all_run():
        scene.run("ann-1", labels={"a": "1"})
        scene.run("ann-2", kind="other")
        scene.run("bob-1", owner="bob")

    early = scene.watch(operations)
    all_run()
    late = scene.gate.connect().hello().subscribe(operations)
    assert set(listed(late)) == seen
    for operation_id in ("ann-1", "ann-2", "bob-1"):
        scene.measure(operation_id, 1.0)
        scene.gate.ticks(0.1)
        scene.end(operation_id)
    for watcher in (early, late):
        assert {update.operation_id for update in watcher.all(ProgressUpdate)} == seen
        assert {event.operation_id for event in watcher.all(OperationEvent)} == seen
        assert len(watcher.all(ProgressUpdate)) == len(seen)


def test_the_states_of_a_filter_choose_the_list_and_hide_no_outcome(scene):
    scene.run("runs", "ended")
    scene.end("ended")
    watcher = scene.gate.connect().hello().subscribe(OperationFilter(states=["running"]))
    assert listed(watcher) == ["runs"]
    scene.end("runs")
    assert watcher.all(OperationEvent)[-1].type == "operation_completed"


def test_another_subscription_takes_the_place_of_the_first(scene):
    scene.run("a", "b")
    watcher = scene.watch(["a"])
    watcher.subscribe(["b"])
    assert (listed(watcher), watcher.all(Subscribed)) == (["b"], [Subscribed(False)])
    watcher.forget()
    scene.measure("a", 1.0)
    scene.measure("b", 1.0)
    scene.gate.ticks(0.2)
    assert [update.operation_id for update in watcher.all(ProgressUpdate)] == ["b"]


def test_a_subscription_in_the_middle_of_a_replay_begins_anew_and_misses_nothing(scene):
    scene.run(*(f"op-{number}" for number in range(100)))
    watcher = scene.gate.connect().hello(resume=ResumeFrom("log", 0))
    watcher.frozen = True
    watcher.subscribe()
    assert 0 < scene.session(watcher).cursor < scene.story.head
    watcher.subscribe("active")
    watcher.frozen = False
    watcher.read()
    scene.gate.ticks(1.0)
    assert [answer.recovered for answer in watcher.all(Subscribed)] == [True, False]
    assert len(listed(watcher)) == 100
    assert watcher.all(Live)[-1].seq == scene.story.head
    watcher.forget()
    scene.end("op-5")
    assert seqs(watcher) == [scene.story.head]


def test_after_unsubscribing_it_sees_nothing_and_costs_nothing(scene):
    scene.run(*(f"op-{number}" for number in range(100)))
    watcher = scene.gate.connect().hello()
    watcher.frozen = True
    watcher.subscribe()
    watcher.say(Unsubscribe())
    watcher.frozen = False
    watcher.read()
    scene.gate.ticks(0.5)
    watcher.forget()
    scene.measure("op-0", 1.0)
    scene.end("op-0")
    assert watcher.told == []
    assert scene.gate.core.pending() == []


def test_tiles_are_for_those_who_asked_for_them(scene):
    scene.run("op")
    plain, detailed = scene.watch(), scene.watch(detail="tiles")
    tiles = TileMap(total=2, done=1, committed=b"\x01")
    scene.measure("op", 1.0, tiles=tiles)
    assert [update.tiles for update in plain.all(ProgressUpdate)] == [None]
    assert [update.tiles for update in detailed.all(ProgressUpdate)] == [tiles]
    final = scene.story.measure("op", 2.0, tiles=tiles)
    scene.story.event("op", "operation_completed", "completed", final=final)
    scene.show()
    assert plain.all(OperationEvent)[-1].final.tiles is None
    assert detailed.all(OperationEvent)[-1].final.tiles == tiles


def test_events_of_a_forgotten_operation_still_reach_those_who_may_see_them():
    scene = Scene(finished_keep=1)
    watchers = [scene.watch(operations) for operations in ("active", "mine", ["op-0"], OperationFilter(owner="ann"))]
    stranger = scene.watch(OperationFilter(owner="bob"))
    for watcher in (*watchers, stranger):
        watcher.frozen = True
    scene.run(*(f"op-{number}" for number in range(20)))
    scene.end(*(f"op-{number}" for number in range(20)))
    scene.gate.tick()
    assert "op-0" not in scene.gate.core.replica.operations
    for watcher in (*watchers, stranger):
        watcher.frozen = False
        watcher.read()
    scene.gate.ticks(0.5)
    for watcher in watchers:
        ends = [e.operation_id for e in watcher.all(OperationEvent) if e.type == "operation_completed"]
        assert ends.count("op-0") == 1
    assert seqs(stranger) == []


def test_events_of_what_nobody_knows_any_more_reach_those_who_see_everything_or_named_it(scene):
    scene.story.accept("op")
    forgotten = scene.story.operations.pop("op")
    scene.gate.carry_out(scene.gate.core.replica.restart())
    watchers = {str(operations): scene.watch(operations) for operations in ("all", "active", ["op"], ["no"], "mine")}
    scene.story.operations["op"] = forgotten
    scene.end("op")
    told = {operations for operations, watcher in watchers.items() if watcher.all(OperationEvent)}
    assert told == {"all", "active", "['op']"}


# --- lanes ----------------------------------------------------------------------------------------


def test_the_order_is_control_then_events_then_progress_then_files(scene):
    scene.run("op", "with-file")
    scene.end("with-file", artifacts=(FILE,))
    operation = scene.gate.core.replica.operations["with-file"]
    scene.gate.core.replica.operations["with-file"] = type(operation)(**{**as_dict(operation), "location": "ipc://e"})
    watcher = scene.watch()
    watcher.say(FetchArtifact(operation_id="with-file", name="f"), request_id=7)
    number, core = watcher.number, scene.gate.core
    chunk = ArtifactChunk(operation_id="with-file", name="f", offset=0, size_bytes=1, sha256="0", chunk=b"x")
    core.fetched(number, 7, chunk, 0)
    core.feed(scene.story.frame(), scene.gate.now_s)
    update = scene.story.measure("op", 1.0)
    scene.story.event("op", "operation_paused", "paused")
    core.feed(scene.story.frame(update), scene.gate.now_s)
    core.replied(number, 8, Pong(), 0)
    # In a JSON session files are binary messages, so the order is that of the payloads.
    payloads = core.pull(number, 0, scene.gate.now_s, 0)
    assert [payload.binary for payload in payloads] == [False, False, False, True]
    for payload in payloads:
        watcher.take(payload.data, binary=payload.binary)
    assert kinds(watcher) == [Pong, OperationEvent, ProgressUpdate, ArtifactChunk]
    assert watcher.envelopes[-1].re == 7


def as_dict(operation):
    return {name: getattr(operation, name) for name in operation.__struct_fields__}


def test_a_chunk_waits_behind_events_but_is_sent_when_there_is_room(scene):
    scene.run("op")
    watcher = scene.watch()
    session = scene.session(watcher)
    session.fetching = 1
    watcher.frozen = True
    scene.run(*(f"op-{number}" for number in range(50)))
    chunk = ArtifactChunk(operation_id="op", name="f", offset=0, size_bytes=1, sha256="0", chunk=bytes(10_000))
    scene.gate.core.fetched(watcher.number, 7, chunk, 0)
    scene.gate.ticks(0.2)
    assert len(session.bulk) == 1
    watcher.frozen = False
    watcher.read()
    scene.gate.ticks(1.0)
    assert kinds(watcher)[-1] == ArtifactChunk
    assert len(seqs(watcher)) == 100


def test_progress_is_held_back_until_the_event_it_follows_is_sent(scene):
    scene.run("op")
    watcher = scene.watch()
    scene.story.event("op", "operation_paused", "paused")
    ahead = scene.story.measure("op", 5.0)
    frame = scene.story.frame()
    # The answer about progress overtakes the frame with the event.
    scene.gate.core.replica._measure(ahead)
    scene.gate.core._spread()
    scene.gate.ticks(0.5)
    assert watcher.told == []
    scene.gate.feed(frame)
    scene.gate.ticks(0.1)
    assert kinds(watcher) == [OperationEvent, ProgressUpdate]
    assert watcher.told[1].at_seq == watcher.told[0].seq


def test_no_progress_follows_an_outcome(scene):
    scene.run("op")
    watcher = scene.watch()
    scene.measure("op", 1.0)
    scene.gate.core.feed(scene.story.frame(scene.story.measure("op", 2.0)), scene.gate.now_s)
    assert scene.session(watcher).slots == {"op"}
    scene.end("op")
    scene.gate.ticks(1.0)
    assert scene.session(watcher).slots == set()
    assert [getattr(message, "done", "end") for message in watcher.told] == [1.0, "end"]
    assert watcher.told[-1].final.done == 2.0


def test_of_progress_that_comes_faster_than_it_is_sent_only_the_newest_is(scene):
    scene.run("op")
    watcher = scene.watch(max_hz=2.0)
    for step in range(20):
        scene.measure("op", float(step))
        scene.gate.tick(0.1)
    dones = [update.done for update in watcher.all(ProgressUpdate)]
    assert dones[0] == 0.0
    assert dones == sorted(dones)
    assert 4 <= len(dones) <= 5
    assert scene.gate.core.superseded_progress == 20 - len(dones) - len(scene.session(watcher).slots)
    scene.gate.drop(watcher)
    assert scene.gate.core.superseded_progress >= 15


MANY = tuple(f"op-{number:04}" for number in range(600))


@pytest.fixture
def many(scene):
    """Many that run, each with progress."""
    scene.run(*MANY)
    scene.show(*(scene.story.measure(operation_id, 1.0) for operation_id in MANY))
    return scene


class Pulls:
    """A watcher whose socket is empty at each look. sizes: bytes of each pull. seen: progress, in order."""

    def __init__(self, scene, **fields):
        self.scene, self.sizes, self.seen = scene, [], []
        self.watcher = scene.gate.connect().hello()
        self.watcher.frozen = True
        self.watcher.subscribe(**fields)
        self.took()

    def took(self):
        self.sizes.append(self.watcher.unsent_bytes)
        self.watcher.read()
        self.seen += [(update.operation_id, update.done) for update in self.watcher.all(ProgressUpdate)]
        self.watcher.told = [message for message in self.watcher.told if not isinstance(message, ProgressUpdate)]

    def look(self, seconds=0.05):
        self.scene.gate.tick(seconds)
        self.took()


@pytest.mark.scenario("B5")
def test_a_new_watcher_of_many_is_told_once_where_they_stand_and_never_all_at_once(many):
    pulls = Pulls(many)
    while not pulls.watcher.all(Live):
        pulls.look()
    for _ in range(40):
        pulls.look()
    assert sorted(listed(pulls.watcher)) == list(MANY)
    assert {operation.latest.done for page in pulls.watcher.all(OperationList) for operation in page.operations} == {
        1.0
    }
    assert pulls.seen == []
    assert max(pulls.sizes) < 4 * LIMIT_BYTES + PAGE_LIMIT_BYTES
    assert many.gate.core.pending() == []


@pytest.mark.parametrize("resumes", [False, True])
def test_progress_of_many_at_once_is_sent_as_there_is_room_and_of_each_in_turn(many, resumes):
    pulls = Pulls(many)
    while not pulls.watcher.all(Live):
        pulls.look()
    if resumes:
        many.gate.drop(pulls.watcher)
        pulls.watcher = many.gate.connect().hello(resume=ResumeFrom("log", many.story.head))
        pulls.watcher.frozen = True
        pulls.watcher.subscribe()
        pulls.took()
    pulls.sizes.clear()
    rounds = 0
    while len({operation_id for operation_id, _ in pulls.seen}) < len(MANY):
        # All of them move all the time: those behind must not wait for ever.
        many.gate.core.feed(many.story.frame(*(many.story.measure(oid, 2.0 + rounds) for oid in MANY)), many.gate.now_s)
        pulls.look()
        rounds += 1
        assert rounds < 100
    assert max(pulls.sizes) < 4 * LIMIT_BYTES + 1000
    # Once each, before any of them comes again.
    assert len(pulls.seen) < len(MANY) + 4 * LIMIT_BYTES / 100
    for _ in range(100):
        pulls.look()
    last = dict(pulls.seen)
    assert last == dict.fromkeys(MANY, 1.0 + rounds)


def test_who_asked_for_little_is_not_sent_more_because_it_is_much(many):
    pulls = Pulls(many, max_hz=1.0)
    while not pulls.watcher.all(Live):
        pulls.look()
    for step in range(100):
        many.gate.core.feed(many.story.frame(*(many.story.measure(oid, 2.0 + step) for oid in MANY)), many.gate.now_s)
        pulls.look()
    times = [sum(operation_id == oid for operation_id, _ in pulls.seen) for oid in (MANY[0], MANY[300], MANY[-1])]
    assert max(times) <= 6
    assert min(times) >= 1


# --- slow watchers --------------------------------------------------------------------------------


@pytest.fixture
def slow(scene):
    scene.run("op")
    watcher = scene.watch()
    core = scene.gate.core

    def pulls(seconds, unsent_bytes):
        for _ in range(round(seconds / 0.05)):
            core.feed(scene.story.frame(scene.story.measure("op", scene.gate.now_s)), scene.gate.now_s)
            for payload in core.pull(watcher.number, unsent_bytes, scene.gate.now_s, 0):
                watcher.take(payload.data, binary=payload.binary)
            scene.gate.now_s += 0.05
        return watcher

    return pulls


@pytest.mark.scenario("J28")
def test_a_slow_watcher_gets_progress_half_as_often_each_time_and_is_told(scene, slow):
    watcher = slow(10.0, LIMIT_BYTES)
    assert watcher.told == []
    slow(0.05, 0)
    assert [message.hz for message in watcher.all(Throttled)] == [10.0, 5.0, 1.0]
    assert scene.session(watcher).hz == 1.0


def test_it_recovers_step_by_step_when_it_is_calm(slow):
    slow(10.0, LIMIT_BYTES)
    watcher = slow(40.0, 0)
    told = watcher.all(Throttled)
    assert [message.hz for message in told] == [10.0, 5.0, 1.0, 5.0, 10.0, 20.0]
    assert [message.hz == message.max_hz for message in told] == [False] * 5 + [True]
    watcher.forget()
    slow(2.0, 0)
    assert len(watcher.all(ProgressUpdate)) == pytest.approx(40, abs=3)


@pytest.mark.scenario("J28")
def test_it_recovers_while_nothing_happens_and_is_told(scene, slow):
    slow(10.0, LIMIT_BYTES)
    watcher = slow(0.5, 0)
    scene.end("op")
    watcher.forget()
    scene.gate.ticks(31.0)
    assert [message.hz for message in watcher.all(Throttled)] == [5.0, 10.0, 20.0]
    assert scene.session(watcher).pace.step == 0


def test_while_it_is_slow_it_is_sent_nothing_and_afterwards_every_event(scene, slow):
    watcher = slow(0.1, 0)
    watcher.forget()
    slow(1.0, LIMIT_BYTES)
    for _ in range(10):
        scene.story.event("op", "operation_paused", "paused")
        scene.story.event("op", "operation_resumed", "running")
    slow(1.0, LIMIT_BYTES)
    assert watcher.told == []
    slow(2.0, 0)
    assert seqs(watcher) == list(range(3, 23))


def test_a_change_of_pace_above_the_rate_it_asked_for_is_not_told():
    scene = Scene()
    scene.run("op")
    watcher = scene.watch(max_hz=1.0)
    watcher.frozen = True
    watcher.take(encode(Pong(), "json", ts=0) + b" " * LIMIT_BYTES, binary=False)
    for _ in range(20):
        scene.measure("op", scene.gate.now_s)
        scene.gate.now_s += 0.5
        scene.gate.core.sessions[watcher.number].stalled_since_s = None
    watcher.read()
    assert scene.session(watcher).pace.step > 0
    assert watcher.all(Throttled) == []


def test_a_cursor_that_falls_off_the_ring_begins_a_new_list():
    scene = Scene(history_events=20)
    scene.run("op")
    watcher = scene.watch()
    watcher.frozen = True
    for _ in range(40):
        scene.story.event("op", "operation_paused", "paused")
        scene.story.event("op", "operation_resumed", "running")
        scene.show()
    assert scene.session(watcher).cursor < scene.gate.core.replica.floor
    watcher.frozen = False
    watcher.read()
    watcher.forget()
    scene.gate.ticks(0.2)
    assert kinds(watcher) == [OperationList, Live]
    assert watcher.told[0].first
    assert watcher.told[0].operations[0].at_seq == watcher.told[1].seq == scene.story.head


def test_a_log_that_lost_its_end_is_listed_anew(scene):
    scene.run("a", "b")
    watcher = scene.watch()
    scene.story.events.pop()
    scene.story.operations["b"] = scene.story.events[-1].operation
    scene.story.restart()
    scene.show()
    scene.gate.tick()
    assert kinds(watcher) == [OperationList, Live]
    assert {operation.operation_id: operation.state for operation in watcher.told[0].operations} == {
        "a": "running",
        "b": "pending",
    }
    assert watcher.told[1].seq == scene.story.head == 3


def test_slots_of_a_slow_watcher_are_as_many_as_operations_are_alive(scene):
    watcher = scene.watch()
    watcher.frozen = True
    watcher.take(encode(Pong(), "json", ts=0) + b" " * LIMIT_BYTES, binary=False)
    for number in range(200):
        scene.run(f"op-{number}")
        scene.measure(f"op-{number}", 1.0)
        scene.end(f"op-{number}")
        assert len(scene.session(watcher).slots) <= 1


def test_replies_to_who_does_not_read_wait_here_and_are_few():
    scene = Scene(commands_burst=10_000)
    scene.run("op")
    watcher = scene.watch()
    watcher.frozen = True
    operation = scene.gate.core.replica.operations["op"]
    long = OperationReply(operation=operation, params={"x": "y" * 100_000})
    asked = 0
    while watcher.closed is None:
        watcher.say(GetOperation(operation_id="op"), request_id=1)
        scene.gate.replied(long)
        scene.gate.tick(0.05)
        asked += 1
    assert asked == pytest.approx(CONTROL_LIMIT_BYTES / 100_000, abs=3)
    assert watcher.closed == 4008
    assert watcher.unsent_bytes < 4 * LIMIT_BYTES + 110_000


def test_too_many_bytes_of_replies_are_a_flood(scene):
    session = scene.session(scene.watch())
    big = encode(ErrorInfo(code="x", message="y" * 100_000), "json", ts=0)
    while not session.is_flooded:
        scene.gate.core.replied(session.number, 1, ErrorInfo(code="x", message="y" * 100_000), 0)
        assert session.control_bytes <= CONTROL_LIMIT_BYTES + len(big) + 20
    session.pull(scene.gate.core.replica, 10**9, scene.gate.now_s, 0, LIMIT_BYTES)
    assert (session.control_bytes, session.is_flooded) == (0, False)


def test_a_session_with_nothing_to_say_is_not_flushed(scene):
    scene.run("op")
    scene.watch()
    assert scene.gate.core.pending() == []
    scene.story.frame()
    silent = Gate(lambda _: None)
    watcher = silent.connect().hello()
    watcher.say(Subscribe(), Ping())
    silent.flush_all()
    assert silent.core.pending() == []


def test_a_frame_is_encoded_once_for_all_who_speak_the_same(scene):
    scene.run("op")
    watchers = [scene.watch() for _ in range(3)] + [scene.watch(encoding="msgpack") for _ in range(2)]
    scene.gate.core.feed(scene.story.frame(scene.story.measure("op", 1.0)), scene.gate.now_s)
    scene.story.event("op", "operation_paused", "paused")
    scene.gate.core.feed(scene.story.frame(), scene.gate.now_s)
    sent = [scene.gate.core.pull(w.number, 0, scene.gate.now_s, 0) for w in watchers]
    assert len({id(payloads[0].data) for payloads in sent}) == 2
    assert len({id(payloads[1].data) for payloads in sent}) == 2
    assert join([payload.data for payload in sent[0]], "json").startswith(b"[")
