"""The gateway's core: who may connect, what a message means, resume, limits, deadlines, farewells."""

from __future__ import annotations

import msgspec
import pytest

from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.core.sessions.hub import FETCHES_LIMIT, RESUME_LIMIT_S, RESUME_WAIT_S, Refused, goodbye
from rfm_runtime.core.sessions.reporting import REPORTS
from rfm_runtime.protocol.crew import GetWorkers
from rfm_runtime.protocol.figures import GetOperationReport, GetPeriodReport
from rfm_runtime.protocol.history import GetPerformance, History
from rfm_runtime.protocol.internal import (
    DoCancel,
    DoExplain,
    DoGet,
    DoHistory,
    DoKinds,
    DoList,
    DoOperationReport,
    DoPause,
    DoPerformance,
    DoPeriodReport,
    DoPriority,
    DoRevoke,
    DoSubmit,
    DoTimeline,
)
from rfm_runtime.protocol.messages import (
    REQUESTS,
    ArtifactChunk,
    AuthRefresh,
    CancelOperation,
    CancelReply,
    ChangePriority,
    Explain,
    FetchArtifact,
    FetchTiles,
    GetOperation,
    Goodbye,
    Heartbeat,
    Hello,
    Kinds,
    ListOperations,
    Live,
    Ok,
    OperationList,
    Pause,
    Ping,
    Pong,
    Recolour,
    RecolourReply,
    Resume,
    ResumeFrom,
    Submit,
    SubmitMany,
    SubmitRequest,
    Subscribe,
    Subscribed,
    TilePixels,
    Unsubscribe,
    Welcome,
)
from rfm_runtime.protocol.notifying import GetRules, SetRules
from rfm_runtime.protocol.operation import Artifact, ErrorInfo, OperationEvent, TileGrid
from rfm_runtime.protocol.probing import ProbedPoint, ProbePoints, ProbeReply, SetFocus
from rfm_runtime.protocol.reports import Alive
from rfm_runtime.protocol.resources import GetMetrics, GetUsage
from rfm_runtime.protocol.revocation import Revoke
from rfm_runtime.protocol.sign_in import SignInLink
from rfm_runtime.protocol.timeline import GetTimeline
from rfm_runtime.testing.sessions import TOKENS, Gate, Story

FILE = Artifact(name="f", media_type="x/y", size_bytes=1, sha256="0")
SUBMISSION = SubmitRequest(operation_id="new", kind="k", request_key="key")


class Scene:
    """A story with two operations, and gateways that follow it."""

    def __init__(self, **settings):
        self.story = Story()
        self.story.accept("a")
        self.story.start("a")
        self.story.accept("b", owner="bob", location="ipc://engine")
        self.gate = Gate(self.story.answer, **settings).boot()
        self.gate.feed(self.story.frame())

    def event(self, count=1):
        for _ in range(count):
            self.story.event("a", "operation_priority", "running", priority=1)
        self.gate.feed(self.story.frame())


@pytest.fixture
def scene():
    scene = Scene()
    yield scene
    scene.gate.core.sanity_check()


def errors(watcher):
    return [error.code for error in watcher.all(ErrorInfo)]


def seqs(watcher):
    return [event.seq for event in watcher.all(OperationEvent)]


# --- hello ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("encoding", ["json", "msgpack"])
def test_a_valid_token_is_welcomed_with_the_position_to_resume_from(scene, encoding):
    watcher = scene.gate.connect(encoding)
    watcher.say(Hello(token="ann"), request_id=3)
    (welcome,) = watcher.all(Welcome)
    assert (welcome.epoch, welcome.seq, welcome.user, welcome.roles) == ("log", 3, "ann", ["operator"])
    assert watcher.envelopes[0].re == 3


def test_a_token_in_the_handshake_needs_none_in_hello(scene):
    watcher = scene.gate.connect(principal=TOKENS["bob"])
    watcher.say(Hello())
    assert watcher.all(Welcome)[0].user == "bob"


@pytest.mark.parametrize("first", [Subscribe(), Ping(), GetOperation(operation_id="a")])
@pytest.mark.parametrize("user", [None, "ann"])
def test_the_first_message_has_to_be_hello(scene, first, user):
    watcher = scene.gate.connect(principal=TOKENS.get(user))
    watcher.say(first)
    assert (errors(watcher), watcher.closed) == (["bad_request"], 4500)
    assert scene.gate.forwards == []


@pytest.mark.parametrize("token", ["mallory", "", None])
def test_a_wrong_token_is_closed_with_4501_and_told_not_to_come_back(scene, token):
    watcher = scene.gate.connect()
    watcher.say(Hello(token=token))
    assert watcher.closed == 4501
    assert watcher.told == [goodbye(4501, reason="" if token else "no token was shown")]
    assert not watcher.told[0].reconnect


def test_hello_twice_is_an_error_and_no_more(scene):
    watcher = scene.gate.connect().hello()
    watcher.say(Hello(token="root"))
    watcher.say(Ping())
    assert errors(watcher) == ["bad_request"]
    assert watcher.all(Pong)
    assert scene.gate.core.sessions[watcher.number].principal == TOKENS["ann"]


def test_who_says_nothing_is_closed_with_4502(scene):
    silent, welcomed = scene.gate.connect(), scene.gate.connect().hello()
    scene.gate.tick(4.9)
    assert silent.closed is None
    scene.gate.tick(0.2)
    assert (silent.closed, welcomed.closed) == (4502, None)
    assert silent.all(Goodbye)[0].code == 4502


@pytest.mark.scenario("D14")
def test_nobody_is_welcomed_before_the_name_of_the_log_is_known():
    story = Story()
    story.accept("a")
    gate = Gate(lambda _: None)
    watcher = gate.connect().hello().subscribe()
    gate.ticks(0.2)
    assert watcher.told == []
    gate.answer = story.answer
    gate.boot()
    gate.tick()
    assert [type(message) for message in watcher.told] == [Welcome, Subscribed, OperationList, Live]
    assert watcher.all(Welcome)[0].epoch == "log"


# --- how many -------------------------------------------------------------------------------------


def test_too_many_connections_of_an_address_that_said_no_hello_are_refused_for_now():
    scene = Scene(connections_per_address=2, hello_timeout_s=5.0)
    first = scene.gate.connect(address="x")
    scene.gate.connect(address="x")
    assert scene.gate.try_connect(address="x") == Refused(4013, 5000)
    scene.gate.connect(address="y")
    scene.gate.drop(first)
    scene.gate.connect(address="x")
    scene.gate.core.sanity_check()


def test_strangers_do_not_keep_out_who_has_a_token():
    scene = Scene(connections_per_address=2, handshakes_per_s=2.0)
    for _ in range(2):
        scene.gate.connect(address="x")
    assert isinstance(scene.gate.try_connect(address="x"), Refused)
    assert scene.gate.connect(address="x", principal=TOKENS["ann"]).hello().all(Welcome)


def test_a_wrong_token_is_no_way_around_the_limits_of_strangers():
    scene = Scene(handshakes_per_s=3.0)
    core = scene.gate.core
    codes = [core.wrong_token("x", scene.gate.now_s).code for _ in range(6)]
    assert codes == [4501] * 3 + [4013] * 3
    assert core.counts["refused_token"] == 6


def test_who_said_hello_takes_no_place_of_strangers():
    scene = Scene(connections_per_address=1)
    watcher = scene.gate.connect(address="x").hello()
    scene.gate.connect(address="x")
    scene.gate.drop(watcher)
    assert isinstance(scene.gate.try_connect(address="x"), Refused)
    scene.gate.core.sanity_check()


@pytest.mark.parametrize("early", [False, True])
def test_too_many_connections_of_a_user_are_refused_with_4504(early):
    scene = Scene(connections_per_user=2)
    first, _ = (scene.gate.connect().hello() for _ in range(2))
    if early:
        assert scene.gate.try_connect(principal=TOKENS["ann"]) == Refused(4504, None)
    else:
        refused = scene.gate.connect().hello()
        assert (refused.closed, refused.all(Welcome)) == (4504, [])
    assert scene.gate.connect().hello("bob").all(Welcome)
    scene.gate.drop(first)
    assert scene.gate.connect().hello().all(Welcome)


def test_too_many_handshakes_are_refused_with_4013_and_the_time_to_wait():
    scene = Scene(handshakes_per_s=5.0)
    for number in range(5):
        scene.gate.connect(address=str(number))
    refused = scene.gate.try_connect()
    assert refused.code == 4013
    assert refused.retry_after_ms >= 200
    assert goodbye(refused.code, refused.retry_after_ms).reconnect
    scene.gate.now_s += refused.retry_after_ms / 1000
    scene.gate.connect()


ANNS = Grant(TOKENS["ann"])
BOBS = Grant(TOKENS["bob"])


def test_a_flood_of_one_user_fills_the_line_for_nobody_else():
    scene = Scene(handshakes_per_s=10.0)
    core, begin_s = scene.gate.core, scene.gate.now_s
    assert max(core.knock(ANNS, begin_s) for _ in range(5000)) == 30.0
    wait_s = core.knock(BOBS, begin_s)
    assert 0.0 < wait_s < 0.5
    # Who floods goes on with it meanwhile, and waits for nothing.
    for step in range(100):
        core.knock(ANNS, begin_s + step * wait_s / 100)
    assert core.knock(BOBS, begin_s + wait_s + 0.2) == 0.0


@pytest.mark.scenario("D5")
def test_a_crowd_is_let_in_at_its_rate_and_each_is_told_another_time():
    scene = Scene(handshakes_per_s=10.0)
    core, begin_s = scene.gate.core, scene.gate.now_s
    waits_s = [core.knock(ANNS, begin_s) for _ in range(110)]
    assert waits_s[:10] == [0.0] * 10
    assert waits_s[10:] == pytest.approx([0.1 * n for n in range(1, 101)])
    again_s = [core.knock(ANNS, begin_s + wait_s + 0.001) for wait_s in waits_s[10:]]
    assert again_s == [0.0] * 100
    assert core.counts["refused_handshakes"] == 100


def test_a_flood_sends_nobody_home_for_an_hour():
    scene = Scene(handshakes_per_s=10.0)
    waits_s = [scene.gate.core.knock(ANNS, scene.gate.now_s) for _ in range(5000)]
    assert max(waits_s) == 30.0


def test_a_flood_of_strangers_keeps_nobody_out_who_has_a_token():
    scene = Scene(handshakes_per_s=2.0)
    refused = [scene.gate.try_connect(address=str(number)) for number in range(6)][2:]
    assert [one.retry_after_ms for one in refused] == [600, 1100, 1600, 2100]
    assert scene.gate.core.knock(ANNS, scene.gate.now_s) == 0.0


def test_one_stranger_who_waits_for_nobody_does_not_send_the_others_home_for_minutes():
    scene = Scene(handshakes_per_s=10.0)
    refused = [scene.gate.try_connect(address=str(number)) for number in range(1000)][10:]
    assert max(one.retry_after_ms for one in refused) == 2100


def test_a_connection_that_is_gone_leaves_nothing(scene):
    watchers = [scene.gate.connect(address=str(i), principal=TOKENS["ann"]).hello().subscribe() for i in range(3)]
    for watcher in watchers:
        scene.gate.drop(watcher)
        scene.gate.drop(watcher)
    core = scene.gate.core
    assert (core.sessions, core._door.by_address, core._door.by_user) == ({}, {}, {})
    core.replied(watchers[0].number, 1, Ok(), 0)
    core.fetched(watchers[0].number, 1, ErrorInfo(code="x", message="y"), 0)
    assert core.received(watchers[0].number, "{}", 0.0, 0) == []


# --- resume ---------------------------------------------------------------------------------------


@pytest.mark.scenario("D8")
def test_a_position_in_the_ring_is_recovered_and_exactly_what_was_missed_follows(scene):
    scene.event(5)
    watcher = scene.gate.connect().hello(resume=ResumeFrom("log", 4)).subscribe()
    assert watcher.all(Subscribed) == [Subscribed(True)]
    assert seqs(watcher) == [5, 6, 7, 8]
    assert watcher.all(OperationList) == []
    assert watcher.all(Live) == [Live("log", 8)]


def test_a_resume_from_the_newest_position_replays_nothing(scene):
    watcher = scene.gate.connect().hello(resume=ResumeFrom("log", 3)).subscribe()
    assert [type(message) for message in watcher.told] == [Welcome, Subscribed, Live]
    assert watcher.all(Subscribed)[0].recovered


@pytest.mark.scenario("D7")
@pytest.mark.parametrize("resume", [ResumeFrom("other", 8), ResumeFrom("other", 10**9), ResumeFrom("log", 2), None])
def test_a_position_of_another_log_or_before_the_ring_gets_the_list(scene, resume):
    scene.event(5)
    watcher = scene.gate.connect().hello(resume=resume).subscribe()
    assert watcher.all(Subscribed) == [Subscribed(False)]
    assert seqs(watcher) == []
    assert len(watcher.all(OperationList)) == 1
    assert watcher.all(Live) == [Live("log", 8)]


@pytest.mark.scenario("D6")
def test_nobody_resumes_from_a_ring_that_is_still_being_filled(scene):
    scene.event(5)
    scene.gate.core.filled = False
    watcher = scene.gate.connect().hello(resume=ResumeFrom("log", 4)).subscribe()
    newcomer = scene.gate.connect().hello().subscribe()
    scene.gate.tick(0.1)
    assert watcher.all(Subscribed) == []
    assert newcomer.all(Live)
    scene.gate.core.filled = True
    scene.gate.tick(0.1)
    assert watcher.all(Subscribed) == [Subscribed(True)]
    assert seqs(watcher) == [5, 6, 7, 8]


@pytest.mark.scenario("D15")
def test_a_position_ahead_of_this_gateway_waits_until_it_is_reached(scene):
    watcher = scene.gate.connect().hello(resume=ResumeFrom("log", 5)).subscribe()
    scene.gate.tick(RESUME_WAIT_S / 2)
    assert watcher.all(Subscribed) == []
    scene.event(3)
    scene.gate.tick()
    assert watcher.all(Subscribed) == [Subscribed(True)]
    assert seqs(watcher) == [6]


@pytest.mark.scenario("D15")
def test_it_does_not_wait_for_ever(scene):
    watcher = scene.gate.connect().hello(resume=ResumeFrom("log", 5)).subscribe()
    scene.gate.ticks(RESUME_WAIT_S - 0.1)
    assert watcher.all(Subscribed) == []
    scene.gate.ticks(0.2)
    assert watcher.all(Subscribed) == [Subscribed(False)]
    assert len(watcher.all(OperationList)) == 1


@pytest.mark.scenario("D15")
def test_a_gateway_that_lost_the_feed_fetches_what_a_watcher_knows_already(scene):
    scene.story.event("a", "operation_priority", "queued")
    scene.story.frame()
    watcher = scene.gate.connect().hello(resume=ResumeFrom("log", 4)).subscribe()
    scene.gate.ticks(RESUME_WAIT_S - 0.1)
    assert watcher.all(Subscribed) == []
    scene.gate.ticks(0.2)
    assert watcher.all(Subscribed) == [Subscribed(True)]
    assert scene.gate.core.replica.position == 4
    assert watcher.all(Live) == [Live("log", 4)]


@pytest.mark.scenario("D15")
def test_while_the_broker_is_silent_nobody_is_shown_less_than_he_knows(scene):
    scene.gate.answer = lambda _message: None
    watcher = scene.gate.connect().hello(resume=ResumeFrom("log", 5)).subscribe()
    # It gets frames, so that its own clock asks for nothing.
    for _ in range(round(RESUME_LIMIT_S - 1)):
        scene.gate.feed(scene.story.frame())
        scene.gate.ticks(1.0)
    assert watcher.all(Subscribed) == []
    assert 5 <= len(scene.gate.unanswered) <= 10
    scene.gate.ticks(2.0)
    assert watcher.closed == 4010
    assert watcher.all(OperationList) == []


def test_a_resume_counts_for_the_first_subscription_only(scene):
    watcher = scene.gate.connect().hello(resume=ResumeFrom("log", 3)).subscribe()
    watcher.subscribe()
    assert [answer.recovered for answer in watcher.all(Subscribed)] == [True, False]


@pytest.mark.parametrize("then", [Subscribe(operations=["a"]), Unsubscribe()])
def test_a_subscription_that_waits_is_answered_before_another_takes_its_place(scene, then):
    watcher = scene.gate.connect().hello(resume=ResumeFrom("log", 5))
    watcher.say(Subscribe(), request_id=1)
    watcher.say(then, request_id=2)
    answers = {envelope.re: message for envelope, message in zip(watcher.envelopes, watcher.told, strict=True)}
    assert answers[1].code == "conflict"
    scene.event(3)
    scene.gate.tick()
    answers = {envelope.re: type(message) for envelope, message in zip(watcher.envelopes, watcher.told, strict=True)}
    assert answers[2] is (Subscribed if isinstance(then, Subscribe) else Ok)


def test_a_watcher_of_a_log_that_is_gone_is_closed_with_4010_and_told_nothing_of_the_new_one(scene):
    watcher = scene.gate.connect().hello().subscribe()
    other = scene.gate.connect().hello()
    watcher.forget()
    story = Story("other")
    story.accept("x")
    scene.gate.answer = story.answer
    scene.gate.feed(story.frame())
    other.subscribe()
    assert watcher.told == []
    watcher.say(Ping())
    scene.gate.tick()
    assert (watcher.closed, other.closed) == (4010, 4010)
    assert watcher.told == [Pong(), goodbye(4010)]
    assert watcher.told[1].reconnect
    assert other.all(Subscribed) == []
    again = scene.gate.connect().hello(resume=ResumeFrom("log", 3)).subscribe()
    scene.gate.tick()
    assert (again.all(Welcome)[0].epoch, again.all(Subscribed)) == ("other", [Subscribed(False)])


def test_while_the_gateway_catches_up_a_subscription_waits(scene):
    scene.gate.answer = lambda _: None
    scene.story.event("a", "operation_priority", "running", priority=1)
    scene.story.frame()
    scene.gate.feed(scene.story.frame())
    assert not scene.gate.core.is_ready
    watcher = scene.gate.connect().hello().subscribe()
    assert watcher.all(Subscribed) == []
    scene.gate.answer = scene.story.answer
    scene.gate.carry_out(scene.gate.core.replica.again(silent=False))
    scene.gate.tick()
    assert watcher.all(Live) == [Live("log", 4)]


# --- requests -------------------------------------------------------------------------------------

ANN = TOKENS["ann"]
CANCEL = CancelOperation(operation_id="a", mode="hard")
LIST = ListOperations(limit=5)
REPORT = GetPeriodReport(since_ms=5)
PAST = History(since_ms=5)
FAR = GetTimeline(since_ms=5, width_ms=10, bins=3)

FORWARDED = [
    (
        Submit(operation_id="new", kind="k", request_key="key"),
        DoSubmit(principal=ANN, submissions=(Submit(operation_id="new", kind="k", request_key="key"),)),
    ),
    (SubmitMany([SUBMISSION]), DoSubmit(principal=ANN, submissions=(SUBMISSION,))),
    (CANCEL, DoCancel(ANN, CANCEL)),
    (Pause("a"), DoPause(ANN, "a", True)),
    (Resume("a"), DoPause(ANN, "a", False)),
    (ChangePriority("a", 3), DoPriority(ANN, "a", 3)),
    (LIST, DoList(ANN, LIST)),
    (GetOperation("a"), DoGet(ANN, "a")),
    (Explain("a"), DoExplain(ANN, "a")),
    (Kinds(), DoKinds(ANN)),
    (PAST, DoHistory(ANN, PAST)),
    (FAR, DoTimeline(ANN, FAR)),
    (REPORT, DoPeriodReport(ANN, REPORT)),
    (GetOperationReport("a"), DoOperationReport(ANN, "a")),
    (GetPerformance("a"), DoPerformance(ANN, "a")),
]
ANSWERED_HERE = {Hello, Subscribe, Unsubscribe, Ping, AuthRefresh, GetMetrics, GetUsage, GetWorkers, Alive, *REPORTS}
ANSWERED_BY_ENGINES = {FetchArtifact, FetchTiles, ProbePoints, SetFocus, Recolour}


def test_every_request_of_the_protocol_is_known_here():
    forwarded = {type(request) for request, _ in FORWARDED} | {Revoke, SignInLink, GetRules, SetRules}
    assert forwarded | ANSWERED_HERE | ANSWERED_BY_ENGINES == set(REQUESTS.values())


@pytest.mark.parametrize(("request_", "forwarded"), FORWARDED)
def test_what_the_broker_decides_is_forwarded_with_who_asks(scene, request_, forwarded):
    watcher = scene.gate.connect().hello()
    watcher.say(request_, request_id=9)
    (forward,) = scene.gate.forwards
    assert (forward.session, forward.request_id, forward.message) == (watcher.number, 9, forwarded)


def test_what_an_administrator_alone_may_is_forwarded_too(scene):
    watcher = scene.gate.connect().hello("root")
    watcher.say(Revoke(user="ann"), request_id=9)
    (forward,) = scene.gate.forwards
    assert forward.message == DoRevoke(TOKENS["root"], Revoke(user="ann"))


def test_the_brokers_answer_goes_to_who_asked_and_says_to_what(scene):
    asker, other = scene.gate.connect("msgpack").hello(), scene.gate.connect().hello()
    other.forget()
    asker.say(CancelOperation(operation_id="a"), request_id=4)
    asker.say(CancelOperation(operation_id="a"))
    for _ in range(2):
        scene.gate.replied(CancelReply("cancelling"))
    assert asker.all(CancelReply) == [CancelReply("cancelling")] * 2
    assert [envelope.re for envelope in asker.envelopes[-2:]] == [4, None]
    assert other.told == []


def test_a_batch_of_requests_is_answered_one_by_one(scene):
    watcher = scene.gate.connect().hello()
    watcher.say(Ping(), Explain("a"), Ping())
    assert (len(watcher.all(Pong)), len(scene.gate.forwards)) == (2, 1)


def test_a_fresh_token_has_to_be_of_the_same_user(scene):
    watcher = scene.gate.connect().hello()
    watcher.say(AuthRefresh("ann"))
    watcher.say(AuthRefresh("bob"))
    watcher.say(AuthRefresh("rubbish"))
    assert watcher.all(Ok) == [Ok()]
    assert errors(watcher) == ["bad_request"] * 2


def test_who_may_not_see_sees_neither_operations_nor_files(scene):
    watcher = scene.gate.connect().hello("nobody")
    watcher.say(Subscribe(), FetchArtifact(operation_id="b", name="f"))
    scene.event()
    assert errors(watcher) == ["forbidden"] * 2
    assert seqs(watcher) == []
    assert scene.gate.fetches == []


# --- files ----------------------------------------------------------------------------------------

CHUNK = ArtifactChunk(operation_id="b", name="f", offset=0, size_bytes=1, sha256="0", chunk=b"x")
FETCH = FetchArtifact(operation_id="b", name="f")


def with_file(scene):
    scene.story.end("b", artifacts=(FILE,))
    scene.gate.feed(scene.story.frame())
    return scene.gate.connect().hello()


def test_a_file_is_fetched_from_the_engine_that_has_it(scene):
    watcher = with_file(scene)
    watcher.say(FETCH, request_id=5)
    (fetch,) = scene.gate.fetches
    assert (fetch.location, fetch.request) == ("ipc://engine", FETCH)
    scene.gate.fetched(CHUNK)
    assert watcher.all(ArtifactChunk) == [CHUNK]
    assert watcher.envelopes[-1].re == 5
    watcher.say(FETCH, request_id=6)
    scene.gate.fetched(ErrorInfo(code="unavailable", message="gone"))
    assert errors(watcher) == ["unavailable"]


def test_a_file_of_what_has_none_or_is_unknown_is_an_error(scene):
    watcher = scene.gate.connect().hello()
    watcher.say(FetchArtifact(operation_id="a", name="f"))
    watcher.say(FetchArtifact(operation_id="never", name="f"))
    assert errors(watcher) == ["bad_request", "unknown_operation"]


PIXELS = FetchTiles(operation_id="drawn", width=640, height=400, step=2)
COLOURS = Recolour(operation_id="b", look={"palette": "magma", "slopes": 1.0, "dither": True})


def test_other_colours_come_from_the_engine_that_has_the_frame(scene):
    watcher = with_file(scene)
    watcher.say(COLOURS, request_id=3)
    (fetch,) = scene.gate.fetches
    assert (fetch.location, fetch.request) == ("ipc://engine", COLOURS)
    scene.gate.fetched(RecolourReply(FILE))
    assert watcher.all(RecolourReply) == [RecolourReply(FILE)]
    # It takes time and room, as a submission does.
    viewer = scene.gate.connect().hello("eve")
    viewer.say(COLOURS)
    assert errors(viewer) == ["forbidden"]


def test_pixels_come_of_what_runs_and_not_too_many_at_once(scene):
    grid = TileGrid(width_px=640, height_px=400, tile_px=128, columns=5, rows=4)
    scene.story.accept("drawn", location="ipc://engine", grid=grid)
    scene.story.start("drawn")
    scene.gate.feed(scene.story.frame())
    viewer = scene.gate.connect().hello("eve")
    viewer.say(PIXELS, request_id=4)
    (fetch,) = scene.gate.fetches
    assert (fetch.location, fetch.request) == ("ipc://engine", PIXELS)
    here = TilePixels(operation_id="drawn", x=0, y=0, width=1, height=1, step=2, rgb=b"rgb")
    scene.gate.fetched(here)
    assert viewer.all(TilePixels) == [here]
    viewer.say(msgspec.structs.replace(PIXELS, step=1), msgspec.structs.replace(PIXELS, operation_id="a"))
    assert errors(viewer) == ["bad_request"] * 2
    for _ in range(FETCHES_LIMIT + 1):
        viewer.say(PIXELS)
    assert errors(viewer)[2:] == ["rate_limited"]


def test_what_becomes_of_a_point_is_asked_of_the_engine_while_it_runs(scene):
    grid = TileGrid(width_px=640, height_px=400, tile_px=128, columns=5, rows=4)
    scene.story.accept("drawn", location="ipc://engine", grid=grid)
    scene.story.start("drawn")
    scene.gate.feed(scene.story.frame())
    viewer = scene.gate.connect().hello("eve")
    wanted = ProbePoints(operation_id="drawn", points=[(3, 4)], orbit=5)
    viewer.say(wanted, request_id=4)
    (fetch,) = scene.gate.fetches
    assert (fetch.location, fetch.request) == ("ipc://engine", wanted)
    told = ProbeReply("drawn", [ProbedPoint(x=3, y=4, re=-0.5, im=0.25, n=7, orbit=(0.0, 0.0))])
    scene.gate.fetched(told)
    assert viewer.all(ProbeReply) == [told]
    viewer.say(ProbePoints(operation_id="a", points=[(3, 4)]))
    viewer.say(ProbePoints(operation_id="drawn", points=[(3, 4)] * 5, orbit=1000))
    assert errors(viewer) == ["bad_request"] * 2
    assert "4000 places are the limit" in viewer.all(ErrorInfo)[-1].message
    # It takes one of the few places that pixels have.
    for _ in range(FETCHES_LIMIT + 1):
        viewer.say(wanted)
    assert errors(viewer)[2:] == ["rate_limited"]
    # Who may not change it does not say what of it is computed first.
    focus = SetFocus(operation_id="drawn", x=0.25, y=1.0)
    scene.gate.fetches.clear()
    other = scene.gate.connect().hello("eve")
    other.say(focus)
    assert errors(other) == ["forbidden"]
    watcher = scene.gate.connect().hello("root")
    watcher.say(focus)
    (fetch,) = scene.gate.fetches
    assert (fetch.location, fetch.request) == ("ipc://engine", focus)


def test_more_chunks_at_once_than_the_limit_are_refused_until_some_have_come(scene):
    watcher = with_file(scene)
    for _ in range(FETCHES_LIMIT + 2):
        watcher.say(FETCH)
    assert len(scene.gate.fetches) == FETCHES_LIMIT
    assert errors(watcher) == ["rate_limited"] * 2
    assert watcher.all(ErrorInfo)[0].retry_after_ms > 0
    scene.gate.fetched(CHUNK)
    watcher.say(FETCH)
    assert len(scene.gate.fetches) == FETCHES_LIMIT


def test_chunks_that_wait_for_who_does_not_read_count_as_well(scene):
    watcher = with_file(scene)
    watcher.frozen = True
    big = msgspec.structs.replace(CHUNK, chunk=bytes(250_000))
    for _ in range(50):
        watcher.say(FETCH)
        if scene.gate.fetches:
            scene.gate.fetched(big)
    assert len(scene.gate.core.sessions[watcher.number].bulk) == FETCHES_LIMIT
    assert watcher.unsent_bytes < 2 * 250_000


# --- limits ---------------------------------------------------------------------------------------


@pytest.mark.scenario("G8")
def test_a_client_that_asks_too_much_is_told_when_to_go_on_and_others_are_not_affected():
    scene = Scene(commands_per_s=10.0, commands_burst=5)
    loud, quiet = scene.gate.connect().hello(), scene.gate.connect().hello("bob")
    for _ in range(8):
        loud.say(Ping())
    assert (len(loud.all(Pong)), errors(loud)) == (5, ["rate_limited"] * 3)
    limited = loud.all(ErrorInfo)[0]
    assert limited.temporary
    assert limited.retry_after_ms == 100
    quiet.say(Ping())
    assert quiet.all(Pong)
    scene.gate.now_s += limited.retry_after_ms / 1000 + 0.001
    loud.say(Ping())
    assert len(loud.all(Pong)) == 6


@pytest.mark.scenario("G8")
def test_a_client_that_floods_is_slowed_down_and_what_others_say_is_not_behind_it():
    scene = Scene(inbound_per_s=10.0)
    core, now_s = scene.gate.core, scene.gate.now_s
    loud, quiet = scene.gate.connect().hello(), scene.gate.connect().hello("bob")
    waits = [core.wait_s(loud.number, now_s) for _ in range(50)]
    assert waits[:5] == [0.0] * 5
    assert waits[5:] == [pytest.approx(0.2)] * 45
    assert core.wait_s(quiet.number, now_s) == 0.0
    assert core.wait_s(loud.number, now_s + 0.201) == 0.0
    assert core.counts["slowed_client"] == 45


@pytest.mark.scenario("G8")
def test_all_clients_together_are_slowed_down_too_and_then_taken():
    scene = Scene(inbound_per_s=10.0)
    core, now_s = scene.gate.core, scene.gate.now_s
    watchers = [scene.gate.connect().hello(token) for token in ("ann", "ann", "bob")]
    waits = [core.wait_s(watcher.number, now_s) for _ in range(4) for watcher in watchers]
    assert waits == [0.0] * 10 + [pytest.approx(0.1)] * 2
    # What was not taken cost nothing.
    assert core.wait_s(watchers[-1].number, now_s + 0.101) == 0.0


@pytest.mark.parametrize(("asked", "given"), [(None, 20.0), (5.0, 5.0), (60.0, 20.0)])
def test_nobody_gets_progress_more_often_than_the_server_allows(scene, asked, given):
    hello = scene.gate.connect().hello(max_hz=asked)
    assert scene.gate.core.sessions[hello.number].max_hz == given
    subscribe = scene.gate.connect().hello().subscribe(max_hz=asked)
    assert scene.gate.core.sessions[subscribe.number].max_hz == given


# --- what is not the protocol ---------------------------------------------------------------------


@pytest.mark.scenario("G7")
@pytest.mark.parametrize("rubbish", [b"", b"{", b"[", b"1", b'{"type":1}', b'"x"', b'{"data":{}}', b"[" * 5000])
def test_what_is_no_envelope_is_closed_with_4500(scene, rubbish):
    for watcher in (scene.gate.connect(), scene.gate.connect().hello()):
        watcher.send(rubbish)
        assert (errors(watcher), watcher.closed) == (["bad_request"], 4500)
        assert isinstance(watcher.told[-1], Goodbye)


def test_bytes_that_are_no_messagepack_are_closed_with_4500(scene):
    watcher = scene.gate.connect("msgpack").hello()
    watcher.send(b"\xc1\xff")
    assert watcher.closed == 4500


@pytest.mark.parametrize(
    "message",
    [
        b'{"type":"no_such_thing","id":3}',
        b'{"type":"subscribe","id":3,"data":{"operations":7}}',
        b'{"type":"cancel_operation","id":3,"data":{"operation_id":"../etc"}}',
        b'{"type":"set_priority","id":3,"data":{"operation_id":"a","priority":100000}}',
        b'{"type":"submit_many","id":3,"data":{"operations":[]}}',
        b'{"type":"welcome","id":3}',
    ],
)
def test_a_request_that_is_wrong_is_answered_and_leaves_the_connection_open(scene, message):
    watcher = scene.gate.connect().hello()
    watcher.send(message)
    assert (errors(watcher), watcher.closed) == (["bad_request"], None)
    assert watcher.envelopes[-1].re == 3
    watcher.say(Ping())
    assert watcher.all(Pong)
    assert scene.gate.forwards == []


def test_too_many_requests_in_one_message_are_refused(scene):
    watcher = scene.gate.connect().hello()
    watcher.say(*([Ping()] * 65))
    assert (errors(watcher), watcher.closed, watcher.all(Pong)) == (["too_large"], None, [])


def test_after_a_close_nothing_more_is_done(scene):
    watcher = scene.gate.connect()
    watcher.send(b'[{"type":"ping"},{"type":"hello","data":{"token":"ann"}}]')
    assert (watcher.closed, watcher.all(Welcome)) == (4500, [])
    closing = scene.gate.connect().hello().subscribe()
    core = scene.gate.core
    core._close(core.sessions[closing.number], 4001, 0)
    closing.say(Ping())
    scene.event()
    assert [type(message) for message in closing.told[-2:]] == [Live, Goodbye]
    assert core.pending() == []


def test_types_that_clients_make_up_are_counted_as_one(scene):
    watcher = scene.gate.connect().hello()
    before = len(scene.gate.core.counts)
    for number in range(50):
        watcher.send(b'{"type":"made_up_%d"}' % number)
    assert scene.gate.core.counts["received_unknown"] == 50
    assert len(scene.gate.core.counts) <= before + 2


# --- time -----------------------------------------------------------------------------------------


@pytest.mark.scenario("D11")
def test_after_twenty_seconds_of_silence_there_is_a_heartbeat(scene):
    watcher = scene.gate.connect().hello().subscribe()
    scene.gate.ticks(19.0)
    assert watcher.all(Heartbeat) == []
    scene.event()
    scene.gate.ticks(19.0)
    assert watcher.all(Heartbeat) == []
    scene.gate.ticks(22.0)
    assert len(watcher.all(Heartbeat)) == 2


def test_a_watcher_whose_socket_was_full_once_still_gets_heartbeats(scene):
    watcher = scene.gate.connect().hello().subscribe()
    watcher.frozen = True
    scene.event()
    scene.event()
    watcher.frozen = False
    watcher.read()
    scene.gate.ticks(30.0)
    assert (watcher.closed, len(watcher.all(Heartbeat))) == (None, 1)


def test_a_write_that_stalls_for_five_seconds_is_closed_with_4008(scene):
    watcher, healthy = (scene.gate.connect().hello().subscribe() for _ in range(2))
    watcher.frozen = True
    scene.event()
    scene.gate.ticks(4.8)
    assert watcher.closed is None
    scene.gate.ticks(0.4)
    assert (watcher.closed, healthy.closed) == (4008, None)
    assert goodbye(4008).reconnect
    assert seqs(healthy) == [4]


def test_a_socket_that_is_filled_as_fast_as_it_drains_has_not_stalled(scene):
    watcher = scene.gate.connect().hello().subscribe()
    watcher.frozen = True
    scene.event()
    for _ in range(200):
        scene.event()
        watcher.read(1)
        scene.gate.tick()
    assert watcher.closed is None
    assert watcher.unsent_bytes > 0


def test_a_socket_that_was_not_empty_at_the_last_write_has_not_stalled(scene):
    watcher = scene.gate.connect().hello().subscribe()
    watcher.frozen = True
    scene.event()
    scene.event()
    watcher.frozen = False
    watcher.read()
    scene.gate.ticks(10.0)
    assert watcher.closed is None


def test_ready_means_contiguous_and_hearing_of_the_broker(scene):
    core = scene.gate.core
    assert core.is_ready
    assert core.why_not_ready(scene.gate.now_s) is None
    assert "no word" in core.why_not_ready(scene.gate.now_s + 3.0)
    scene.gate.feed(msgspec.structs.replace(scene.story.frame(), journal="the disk is full"))
    assert "the disk is full" in core.why_not_ready(scene.gate.now_s)
    scene.gate.feed(scene.story.frame())
    assert core.why_not_ready(scene.gate.now_s) is None
    scene.gate.answer = lambda _: None
    scene.gate.feed(Story("other").frame())
    assert not core.is_ready
    assert "catching up" in core.why_not_ready(scene.gate.now_s)
    scene.gate.drain()
    assert core.why_not_ready(scene.gate.now_s) == "shutting down"


def test_finished_operations_are_forgotten_as_time_goes_by():
    scene = Scene(finished_keep=2)
    for number in range(6):
        scene.story.accept(f"op-{number}")
        scene.story.end(f"op-{number}")
    scene.gate.feed(scene.story.frame())
    scene.gate.tick()
    assert sorted(scene.gate.core.replica.operations) == ["a", "b", "op-4", "op-5"]


# --- farewell -------------------------------------------------------------------------------------


@pytest.mark.scenario("D1")
def test_a_gateway_that_shuts_down_says_goodbye_to_everybody_and_takes_nobody_new(scene):
    watchers = [scene.gate.connect().hello().subscribe(), scene.gate.connect("msgpack").hello(), scene.gate.connect()]
    scene.gate.drain()
    for number, watcher in enumerate(watchers):
        assert watcher.closed == 4001
        farewell = watcher.told[-1]
        # 200 a second are let in, so they come back 5 ms apart.
        assert (farewell.code, farewell.reconnect, farewell.retry_after_ms) == (4001, True, 500 + 5 * number)
    assert scene.gate.core.knock(ANNS, scene.gate.now_s) == 1.0
    refused = scene.gate.try_connect()
    assert (refused.code, refused.retry_after_ms) == (4001, 1000)
    assert not scene.gate.core.is_ready
    assert scene.gate.core.drain(0) == []


def test_a_goodbye_gets_through_a_full_socket_and_nothing_comes_after_it(scene):
    watcher = scene.gate.connect().hello().subscribe()
    watcher.frozen = True
    for _ in range(300):
        scene.event()
    for _ in range(3):
        watcher.say(Ping())
    scene.gate.drain()
    watcher.read()
    assert len(watcher.all(Pong)) == 3
    assert isinstance(watcher.told[-1], Goodbye)


def test_who_cannot_be_asked_is_unavailable_for_now(scene):
    error = scene.gate.core.unavailable("the engine")
    assert (error.code, error.temporary, error.retry_after_ms) == ("unavailable", True, 1000)
    assert "the engine" in error.message


@pytest.mark.scenario("F2", "F6")
def test_a_silent_broker_is_said_to_be_silent_since_when(scene):
    core = scene.gate.core
    now_s = core.last_frame_s
    assert core.broker_away(now_s + 1.0).message == "the broker does not answer"
    error = core.broker_away(now_s + 7.0)
    assert error.message == "the broker does not answer and has said nothing for 7 s"
    assert error.kept is not None
    assert error.to_exception().kept == error.kept


# --- for people -----------------------------------------------------------------------------------


def test_a_session_explains_itself(scene):
    watcher = scene.gate.connect(address="10.0.0.1").hello().subscribe()
    watcher.frozen = True
    scene.event()
    scene.gate.flush(watcher)
    lines = scene.gate.core.explain(watcher.number)
    assert "unnamed from 10.0.0.1" in lines[0]
    assert "0 events behind, progress at 20 Hz" in lines[1]
    assert "wait in its socket" in lines[2]


def test_the_check_finds_a_miscount_and_a_session_ahead_of_the_replica(scene):
    watcher = scene.gate.connect().hello().subscribe()
    core = scene.gate.core
    core._door.by_address["a"] += 1
    with pytest.raises(AssertionError, match="address"):
        core.sanity_check()
    core._door.by_address["a"] -= 1
    core.sessions[watcher.number].cursor += 1
    with pytest.raises(AssertionError, match="ahead"):
        core.sanity_check()
    core.sessions[watcher.number].cursor -= 1
