"""Every request × role × whose operation × kinds granted, against the real cores of gateway and broker together."""

from __future__ import annotations

import itertools
from typing import get_args

import msgspec
import pytest

from rfm_runtime.broker.looking_back import LOOKS
from rfm_runtime.core.operations.queries import matches
from rfm_runtime.core.permissions import (
    NEEDS,
    PUBLISHED,
    ROLES,
    Right,
    narrowed,
    reach,
    require,
    require_kind,
    sight,
)
from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.core.sessions.hub import Fetch, Forward, PassOn
from rfm_runtime.errors import ForbiddenError
from rfm_runtime.protocol.crew import GetWorkers
from rfm_runtime.protocol.figures import GetOperationReport, GetPeriodReport
from rfm_runtime.protocol.history import GetPerformance, History
from rfm_runtime.protocol.internal import Announce, OwnerHello, Principal
from rfm_runtime.protocol.messages import (
    NOTICES,
    REQUESTS,
    AuthRefresh,
    CancelOperation,
    ChangePriority,
    Explain,
    FetchArtifact,
    FetchTiles,
    GetOperation,
    Hello,
    Kinds,
    ListOperations,
    ListReply,
    OperationList,
    OperationReply,
    Pause,
    Ping,
    Recolour,
    Resume,
    ResumeFrom,
    Submit,
    SubmitMany,
    SubmitRequest,
    Subscribe,
    Subscribed,
    Unsubscribe,
)
from rfm_runtime.protocol.notifying import GetRules, SetRules
from rfm_runtime.protocol.operation import (
    EVENT_TYPES,
    Artifact,
    ErrorInfo,
    Operation,
    OperationEvent,
    OperationFilter,
    ProgressUpdate,
    TileGrid,
)
from rfm_runtime.protocol.probing import ProbePoints, SetFocus
from rfm_runtime.protocol.reports import (
    Alive,
    Report,
    ReportCanceled,
    ReportCompleted,
    ReportFailed,
    ReportPaused,
    ReportProgress,
    ReportResumed,
    ReportStarted,
)
from rfm_runtime.protocol.resources import GetMetrics, GetUsage
from rfm_runtime.protocol.revocation import Revoke
from rfm_runtime.protocol.sign_in import SignInLink
from rfm_runtime.protocol.timeline import GetTimeline
from rfm_runtime.testing.operations import KIND, World
from rfm_runtime.testing.sessions import Gate, Story

pytestmark = pytest.mark.scenario("J50", "G3")

# What each role may do, written down by hand. v: viewer, o: operator, a: admin, r: reporter; capital: of everybody's
# operations, small: of one's own.
MEANT = {
    "hello": "VOAR-",
    "unsubscribe": "VOAR-",
    "auth_refresh": "VOAR-",
    "ping": "VOAR-",
    "heartbeat": "VOAR-",
    "subscribe": "VOAr",
    "list_operations": "VOAr",
    "history": "VOAr",
    "timeline": "VOAr",
    "period_report": "VOAr",
    "operation_report": "VOAr",
    "kinds": "VOAr",
    "get_operation": "VOAr",
    "explain": "VOAr",
    "performance": "VOAr",
    "fetch_artifact": "VOAr",
    "fetch_tiles": "VOAr",
    "probe_points": "VOAr",
    "get_metrics": "VOA",
    "get_usage": "VOA",
    "get_workers": "VOA",
    "get_rules": "VOAR",
    "set_rules": "VOAR",
    "submit": "OA",
    "submit_many": "OA",
    "recolour": "OA",
    "cancel_operation": "oA",
    "pause": "oA",
    "resume": "oA",
    "set_priority": "oA",
    "set_focus": "oA",
    "revoke": "A",
    "sign_in_link": "A",
    "report": "OAR",
    "operation_started": "OAR",
    "progress_update": "OAR",
    "operation_paused": "OAR",
    "operation_resumed": "OAR",
    "operation_completed": "OAR",
    "operation_failed": "OAR",
    "operation_canceled": "OAR",
}

LETTERS = {"v": "viewer", "o": "operator", "a": "admin", "r": "reporter", "-": "no role"}
ROLE_SETS = {
    "viewer": ("viewer",),
    "operator": ("operator",),
    "admin": ("admin",),
    "reporter": ("reporter",),
    "no role": (),
    "a role of another release": ("owner",),
}
GRANTS = {"all kinds": None, "this kind": (KIND,), "another kind": ("other",), "no kind": ()}
OWNERS = ("ann", "bob")
OP = "op"

REQUEST = {
    "hello": Hello(token="x"),
    "subscribe": Subscribe(operations="all"),
    "unsubscribe": Unsubscribe(),
    "submit": Submit(operation_id="new", kind=KIND, request_key="key"),
    "submit_many": SubmitMany([SubmitRequest(operation_id="new", kind=KIND, request_key="key")]),
    "cancel_operation": CancelOperation(operation_id=OP),
    "pause": Pause(OP),
    "resume": Resume(OP),
    "set_priority": ChangePriority(OP, 3),
    "set_focus": SetFocus(operation_id=OP, x=0.5, y=0.5),
    "list_operations": ListOperations(),
    "get_operation": GetOperation(OP),
    "explain": Explain(OP),
    "fetch_artifact": FetchArtifact(operation_id=OP, name="image.png"),
    "fetch_tiles": FetchTiles(operation_id=OP, width=8, height=8),
    "probe_points": ProbePoints(operation_id=OP, points=[(0, 0)]),
    "recolour": Recolour(operation_id=OP, look={}),
    "kinds": Kinds(),
    "get_metrics": GetMetrics(),
    "get_usage": GetUsage(),
    "get_workers": GetWorkers(),
    "get_rules": GetRules(),
    "set_rules": SetRules(version=0),
    "history": History(),
    "timeline": GetTimeline(since_ms=0, width_ms=1, bins=1),
    "period_report": GetPeriodReport(),
    "operation_report": GetOperationReport(OP),
    "performance": GetPerformance(OP),
    "auth_refresh": AuthRefresh("ann"),
    "revoke": Revoke(token_id="x"),
    "sign_in_link": SignInLink(digest="0" * 64, user="bob", roles=["viewer"]),
    "ping": Ping(),
    "heartbeat": Alive(),
    "report": Report(reporter="program"),
    "operation_started": ReportStarted(operation_id="new", kind=KIND),
    "progress_update": ReportProgress(operation_id=OP, done=1.0),
    "operation_paused": ReportPaused(operation_id=OP),
    "operation_resumed": ReportResumed(operation_id=OP),
    "operation_completed": ReportCompleted(operation_id=OP),
    "operation_failed": ReportFailed(operation_id=OP),
    "operation_canceled": ReportCanceled(operation_id=OP),
}

NAMES_ONE = {name for name, need in NEEDS.items() if need.about in ("operation", "seen")}
FROM_THE_STORE = {"history", "performance", "timeline", "period_report", "operation_report"}
NAMES_A_KIND = {name for name, need in NEEDS.items() if need.about == "kind"}


def may(request: str, role: str, *, own: bool, granted: bool, narrow: bool = False) -> str:
    """ "ok", or the code that is the answer, by the hand-written table."""
    letters = MEANT[request]
    short = {name: letter for letter, name in LETTERS.items()}.get(role, "-")
    everywhere, somewhere = short.upper() in letters and short != "-", short in letters
    if "-" in letters:
        return "ok"
    if not everywhere and not somewhere:
        return "forbidden"
    if narrow and request in ("revoke", "sign_in_link"):
        # Of tokens for all kinds, as the link in `REQUEST` is.
        return "forbidden"
    if request in NAMES_A_KIND:
        return "ok" if granted else "forbidden"
    if request in NAMES_ONE:
        if not granted or (role == "reporter" and not own):
            return "unknown_operation"
        if not everywhere and not own:
            return "forbidden"
    return "ok"


class Both:
    """A gateway and a broker with one operation `op` of `owner`, paused if it is to be resumed."""

    def __init__(self, owner: str) -> None:
        self.world = World()
        self.world.submit(OP, principal=Principal(owner, ("operator",)))
        self.world.write()
        self.story = Story()
        grid = TileGrid(width_px=64, height_px=64, tile_px=64, columns=1, rows=1)
        self.story.accept(OP, kind=KIND, owner=owner, location="ipc://data", grid=grid)
        image = Artifact(name="image.png", media_type="image/png", size_bytes=1, sha256="0")
        self.gate = Gate(self.story.answer).boot()
        self.gate.feed(self.story.frame())
        known = self.gate.core.replica.operations
        known[OP] = msgspec.structs.replace(known[OP], artifacts=(image,))

    def ask(self, who: Principal, request: str) -> str:
        """The code of the error that is the answer, "ok" if it is none; through gateway and broker."""
        self.gate.grants["who"] = Grant(who)
        self.gate.grants["ann"] = Grant(who)
        watcher = self.gate.connect().hello("who")
        watcher.forget()
        if request == "hello":
            # Said already, by the right token.
            return "ok" if watcher.closed is None else f"closed {watcher.closed}"
        watcher.say(REQUEST[request], request_id=7)
        errors = watcher.all(ErrorInfo)
        for forward in self.gate.forwards:
            errors += self.answers(forward)
        for passed in self.gate.passed:
            if isinstance(passed.message, Announce):
                errors += self.announced(passed)
        return errors[0].code if errors else "ok"

    def answers(self, forward: Forward) -> list[ErrorInfo]:
        """Of the broker."""
        if isinstance(forward.message, LOOKS):
            # By the shell, from the store: see the integration tests.
            return []
        number = self.world.ask(b"gateway", forward.message)
        self.world.write()
        answer = self.world.replies[number]
        return [answer] if isinstance(answer, ErrorInfo) else []

    def announced(self, passed: PassOn) -> list[ErrorInfo]:
        hello = next(p.message for p in self.gate.passed if isinstance(p.message, OwnerHello))
        numbers = [self.world.ask(b"program", message) for message in (hello, passed.message)]
        self.world.write()
        return [answer for number in numbers if isinstance(answer := self.world.replies[number], ErrorInfo)]


def test_the_table_is_of_every_request_and_of_everything_that_is_published() -> None:
    assert NEEDS.keys() == REQUESTS.keys() == MEANT.keys() == REQUEST.keys()
    assert PUBLISHED.keys() == set(NOTICES) | set(EVENT_TYPES)
    assert {need.right for need in (*NEEDS.values(), *PUBLISHED.values())} <= {None, *get_args(Right)}


@pytest.mark.parametrize("request_type", list(REQUESTS))
def test_every_request_is_answered_as_the_table_means_it(request_type: str) -> None:
    """The whole product, for real: 30 requests × 6 sets of roles × 2 owners × 4 grants of kinds."""
    if request_type in FROM_THE_STORE:
        # The broker's part is in the store: test_rights.py.
        grants, owners = {"all kinds": None}, ("ann",)
    else:
        grants, owners = GRANTS, OWNERS
    wrong = []
    for (role, roles), owner, (grant, kinds) in itertools.product(ROLE_SETS.items(), owners, grants.items()):
        both = Both(owner)
        if request_type == "resume":
            both.ask(Principal(owner, ("operator",)), "pause")
            both.gate.forwards.clear()
        meant = may(
            request_type, role, own=owner == "ann", granted=kinds is None or KIND in kinds, narrow=kinds is not None
        )
        answer = both.ask(Principal("ann", roles, kinds), request_type)
        if meant == "ok" and request_type == "progress_update":
            # It has the right to report; that this one is no operation of its program is said as of any other.
            meant = "unknown_operation"
        if answer != meant:
            wrong.append((role, f"{owner}'s", grant, f"meant {meant}, was {answer}"))
    assert not wrong


@pytest.mark.parametrize("request_type", ["fetch_artifact", "fetch_tiles", "probe_points", "recolour"])
def test_what_may_be_fetched_is_fetched(request_type: str) -> None:
    both = Both("bob")
    assert both.ask(Principal("ann", ("operator",)), request_type) == "ok"
    assert [type(fetch) for fetch in both.gate.fetches] == [Fetch]


def answer_to(both: Both, who: Principal, request: str, operation_id: str) -> ErrorInfo:
    watcher_request = msgspec.structs.replace(REQUEST[request], operation_id=operation_id)
    both.gate.grants["who"] = Grant(who)
    watcher = both.gate.connect().hello("who")
    watcher.say(watcher_request, request_id=7)
    found = watcher.all(ErrorInfo)
    if not found:
        found = both.answers(both.gate.forwards.pop())
    return found[0]


@pytest.mark.parametrize("request_type", sorted(NAMES_ONE - FROM_THE_STORE))
@pytest.mark.parametrize("roles", [("admin",), ("operator",)])
def test_what_may_not_be_seen_is_answered_as_what_there_is_not(request_type: str, roles: tuple[str, ...]) -> None:
    who = Principal("ann", roles, ("other",))
    there, nowhere = (answer_to(Both("bob"), who, request_type, name) for name in (OP, "no"))
    assert there.code == "unknown_operation"
    assert there == msgspec.structs.replace(
        nowhere, message=nowhere.message.replace("no operation no", f"no operation {OP}")
    )


@pytest.mark.parametrize("kinds", [None, (KIND,), ("other",)])
@pytest.mark.parametrize("owner", OWNERS)
def test_a_parent_has_to_be_seen_and_to_be_ones_own(owner: str, kinds: tuple[str, ...] | None) -> None:
    both = Both(owner)
    who = Principal("ann", ("operator",), None if kinds is None else (*kinds, "child"))
    both.world.hub.validators = {**both.world.hub.validators, "child": lambda _params: None}
    number = both.world.submit("new", principal=who, kind="child", parent_id=OP)
    both.world.write()
    answer = both.world.replies[number]
    code = answer.code if isinstance(answer, ErrorInfo) else "ok"
    seen = kinds is None or KIND in kinds
    assert code == ("unknown_operation" if not seen else "ok" if owner == "ann" else "forbidden")


# --- what is published ----------------------------------------------------------------------------

SCENE = [("a-count", "ann", KIND), ("a-other", "ann", "other"), ("b-count", "bob", KIND), ("b-other", "bob", "other")]

WATCHERS = [
    (("viewer",), None, {"a-count", "a-other", "b-count", "b-other"}),
    (("operator",), None, {"a-count", "a-other", "b-count", "b-other"}),
    (("admin",), None, {"a-count", "a-other", "b-count", "b-other"}),
    (("reporter",), None, {"a-count", "a-other"}),
    (("viewer",), (KIND,), {"a-count", "b-count"}),
    (("operator",), ("other",), {"a-other", "b-other"}),
    (("admin",), (KIND,), {"a-count", "b-count"}),
    (("reporter",), (KIND,), {"a-count"}),
    (("reporter", "viewer"), (KIND,), {"a-count", "b-count"}),
    (("viewer",), (), set()),
]


def told_of(watcher) -> set[str]:
    """Every operation that it was told anything of."""
    found = {event.operation_id for event in watcher.all(OperationEvent)}
    found |= {update.operation_id for update in watcher.all(ProgressUpdate)}
    return found | {o.operation_id for page in watcher.all(OperationList) for o in page.operations}


class Stage:
    """A gateway that is told a story of four operations."""

    def __init__(self) -> None:
        self.story = Story()
        self.gate = Gate(self.story.answer).boot()

    def begin(self) -> None:
        for operation_id, owner, kind in SCENE:
            self.story.accept(operation_id, owner=owner, kind=kind)
            self.story.start(operation_id)
        self.gate.feed(self.story.frame())

    def go_on(self, done: float) -> None:
        updates = [self.story.measure(operation_id, done) for operation_id, _, _ in SCENE]
        self.gate.feed(self.story.frame(*updates))
        self.gate.ticks(0.2)

    def end(self) -> None:
        for operation_id, _, _ in SCENE:
            self.story.end(operation_id)
        self.gate.feed(self.story.frame())

    def enter(self, who: Principal, **hello):
        self.gate.grants["who"] = Grant(who)
        return self.gate.connect().hello("who", **hello)


SUBSCRIPTIONS = [
    "all",
    "active",
    "mine",
    [operation_id for operation_id, _, _ in SCENE],
    OperationFilter(text="-"),
    OperationFilter(owner="bob"),
    OperationFilter(kinds=["other"]),
]


@pytest.mark.parametrize(("roles", "kinds", "seen"), WATCHERS)
@pytest.mark.parametrize("operations", SUBSCRIPTIONS, ids=str)
@pytest.mark.parametrize("late", [False, True])
def test_events_progress_and_lists_have_what_may_be_seen_alone(roles, kinds, seen, operations, late) -> None:
    stage = Stage()
    stage.begin() if late else None
    watcher = stage.enter(Principal("ann", roles, kinds)).subscribe(operations)
    free = stage.enter(Principal("ann", ("admin",))).subscribe(operations)
    stage.begin() if not late else None
    stage.go_on(1.0)
    stage.go_on(2.0)
    stage.end()
    assert told_of(watcher) == told_of(free) & seen
    for operation_id in told_of(watcher):
        ends = [e.state for e in watcher.all(OperationEvent) if e.operation_id == operation_id]
        assert ends[-1] == "completed"


@pytest.mark.scenario("G2")
@pytest.mark.parametrize(("roles", "kinds", "seen"), WATCHERS)
def test_a_resume_as_another_user_gives_what_that_one_may_see_alone(roles, kinds, seen) -> None:
    stage = Stage()
    stage.begin()
    position = ResumeFrom("log", 0)
    admin = stage.enter(Principal("root", ("admin",)), resume=position).subscribe("all")
    assert told_of(admin) == {operation_id for operation_id, _, _ in SCENE}
    watcher = stage.enter(Principal("ann", roles, kinds), resume=position).subscribe("all")
    stage.end()
    assert [s.recovered for s in watcher.all(Subscribed)] == [True]
    assert told_of(watcher) == seen


def test_who_cannot_be_told_of_all_that_he_may_see_gets_a_list() -> None:
    """Of an event whose operation is forgotten nobody knows whose it is."""
    stage = Stage()
    stage.begin()
    for entry in stage.gate.core.replica.ring:
        entry.about = None
    position = ResumeFrom("log", 0)
    for kinds, recovered in ((None, True), ((KIND,), False)):
        watcher = stage.enter(Principal("ann", ("viewer",), kinds), resume=position).subscribe("all")
        assert [s.recovered for s in watcher.all(Subscribed)] == [recovered]
        assert bool(watcher.all(OperationList)) is not recovered


@pytest.mark.scenario("G2")
@pytest.mark.parametrize("frozen", [False, True])
def test_a_narrower_token_applies_at_once_and_a_wider_one_as_well(frozen: bool) -> None:
    stage = Stage()
    stage.begin()
    stage.go_on(1.0)
    watcher = stage.enter(Principal("ann", ("viewer",))).subscribe("all")
    assert told_of(watcher) == {operation_id for operation_id, _, _ in SCENE}
    watcher.forget()
    watcher.frozen = frozen
    stage.gate.grants["narrow"] = Grant(Principal("ann", ("viewer",), (KIND,)))
    watcher.say(AuthRefresh("narrow"))
    stage.go_on(2.0)
    watcher.frozen = False
    watcher.read()
    stage.go_on(3.0)
    # A list that takes the place of the one before: what is not in it is not there any more.
    assert [page.first for page in watcher.all(OperationList)] == [True]
    assert told_of(watcher) == {"a-count", "b-count"}
    watcher.forget()
    stage.gate.grants["wide"] = Grant(Principal("ann", ("viewer",)))
    watcher.say(AuthRefresh("wide"))
    stage.end()
    assert told_of(watcher) == {operation_id for operation_id, _, _ in SCENE}
    assert len({e.seq for e in watcher.all(OperationEvent)}) == 4


def test_what_the_runtime_uses_is_no_business_of_reporters() -> None:
    stage = Stage()
    watcher = stage.enter(Principal("ann", ("reporter",))).subscribe("mine", metrics=True)
    assert [error.code for error in watcher.all(ErrorInfo)] == ["forbidden"]
    observer = stage.enter(Principal("ann", ("viewer",))).subscribe("mine", metrics=True)
    session = stage.gate.core.sessions[observer.number]
    session.wants_metrics()
    assert session.metrics_due
    session.grant = Grant(Principal("ann", ("reporter",)))
    assert not session.metrics_due
    session.wants_metrics()
    assert not session.metrics_due


# --- lists and explanations -----------------------------------------------------------------------


@pytest.mark.parametrize(("roles", "kinds", "seen"), WATCHERS)
@pytest.mark.parametrize(
    "wanted",
    [OperationFilter(), OperationFilter(owner="bob"), OperationFilter(kinds=["other"]), OperationFilter(text="a-")],
)
def test_a_filter_is_narrowed_to_what_may_be_seen(roles, kinds, seen, wanted) -> None:
    who = Principal("ann", roles, kinds)
    operations = [
        Operation(operation_id=name, kind=kind, name=name, owner=owner, state="running", at_seq=1, created_at_ms=0)
        for name, owner, kind in SCENE
    ]
    narrow = narrowed(who, wanted)
    found = {o.operation_id for o in operations if narrow is not None and matches(o, narrow)}
    assert found == {o.operation_id for o in operations if matches(o, wanted)} & seen
    view = sight(who)
    assert view is not None
    assert {o.operation_id for o in operations if view.has(o)} == seen


def test_lists_and_single_operations_of_the_broker_have_what_may_be_seen_alone() -> None:
    world = World()
    world.hub.validators = {kind: lambda _params: None for kind in (KIND, "other")}
    for operation_id, owner, kind in SCENE:
        world.submit(operation_id, principal=Principal(owner, ("operator",)), kind=kind)
    world.write()
    both = Both("ann")
    both.world = world
    for roles, kinds, seen in WATCHERS:
        both.gate.grants["who"] = Grant(Principal("ann", roles, kinds))
        watcher = both.gate.connect().hello("who")
        watcher.say(ListOperations(limit=1), request_id=1)
        found: list[str] = []
        while both.gate.forwards:
            page = world.call(b"g", both.gate.forwards.pop().message, ListReply)
            found += [operation.operation_id for operation in page.operations]
            if page.cursor is not None:
                watcher.say(ListOperations(limit=1, cursor=page.cursor), request_id=1)
        assert set(found) == seen
        assert len(found) == len(seen)
        for operation_id, _, _ in SCENE:
            watcher.say(GetOperation(operation_id), request_id=2)
            message = both.gate.forwards.pop().message
            if operation_id in seen:
                assert world.call(b"g", message, OperationReply).operation.operation_id == operation_id
            else:
                assert world.refused(b"g", message).code == "unknown_operation"


def test_several_roles_add_up_and_a_role_that_is_none_gives_nothing() -> None:
    assert reach(Principal("x", ("reporter", "viewer")), "see") == "all"
    assert reach(Principal("x", ("reporter",)), "see") == "own"
    assert reach(Principal("x", ("owner", "")), "see") is None
    assert sight(Principal("x", ())) is None
    assert set(ROLES) == {"viewer", "operator", "admin", "reporter"}


def test_a_refusal_says_what_would_help() -> None:
    both = Both("bob")
    refused = answer_to(both, Principal("ann", ("operator",)), "cancel_operation", OP)
    assert refused.message == "ann (operator) may not cancel an operation of bob"
    assert refused.hint is not None
    assert "role admin;" in refused.hint
    refused = answer_to(both, Principal("eve", ("viewer",)), "cancel_operation", OP)
    assert refused.hint is not None
    assert "role operator or admin;" in refused.hint


@pytest.mark.parametrize(
    ("request_type", "said"),
    [
        ("cancel_operation", "eve (viewer) may not cancel operations"),
        ("set_priority", "eve (viewer) may not change the priority of operations"),
        ("submit", "eve (viewer) may not submit operations"),
        ("submit_many", "eve (viewer) may not submit operations"),
        ("operation_started", "eve (viewer) may not report operations"),
        ("recolour", "eve (viewer) may not recolour operations"),
        ("revoke", "eve (viewer) may not revoke tokens"),
        ("sign_in_link", "eve (viewer) may not make sign-in links"),
    ],
)
def test_a_refusal_says_what_may_not_be_done_in_words(request_type: str, said: str) -> None:
    with pytest.raises(ForbiddenError) as refused:
        require(Principal("eve", ("viewer",)), request_type)
    assert refused.value.message == said


def test_every_request_has_words() -> None:
    for request_type, need in NEEDS.items():
        if need.right is not None:
            with pytest.raises(ForbiddenError, match=r"^x \(no role\) may not [a-z -]+$"):
                require(Principal("x", ()), request_type)


def test_a_kind_that_is_not_granted_is_named_in_words() -> None:
    with pytest.raises(ForbiddenError, match=r"^ann may not submit operations of kind b$"):
        require_kind(Principal("ann", ("operator",), ("a",)), "submit_many", "b")
