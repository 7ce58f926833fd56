"""Who may do what, at a real gateway: WebSocket and HTTP, by peers that know nothing of this package."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rfm_runtime import Client, JWTAuthenticator, ProgressReportingServer
from rfm_runtime.errors import ForbiddenError, UnknownOperationError
from tests.plain import Plain, get
from tests.whole import KIND, QUICK

pytestmark = [pytest.mark.integration, pytest.mark.scenario("G3")]

AUTH = JWTAuthenticator("rights-of-everybody-in-this-test")

SCENE = {"ann-render": ("ann", KIND), "bob-render": ("bob", KIND), "rita-loop": ("rita", "external")}
"""Of each operation its owner and kind."""


class Scene:
    """A server with operations of several users. url: of the server. rita: the connection that reports."""

    def __init__(self, server: ProgressReportingServer) -> None:
        self.url = server.url
        self.own = server.token
        for name in ("ann-render", "bob-render"):
            with self.plain(SCENE[name][0], "operator") as peer:
                request = {"operation_id": name, "kind": KIND, "request_key": name, "params": QUICK}
                assert peer.code_of("submit", **request) == "submit_reply"
        self.rita = self.plain("rita", "reporter")
        assert self.rita.code_of("operation_started", operation_id="rita-loop", kind="external") == "reported"

    def plain(self, user: str, *roles: str, kinds: list[str] | None = None, **hello: object) -> Plain:
        return Plain(self.url, self.token(user, *roles, kinds=kinds), **hello)

    def token(self, user: str, *roles: str, kinds: list[str] | None = None) -> str:
        return AUTH.issue(user, roles, kinds=kinds)


@pytest.fixture(scope="module")
def scene() -> Iterator[Scene]:
    with ProgressReportingServer(port=0, memory=True, authenticator=AUTH) as server:
        scene = Scene(server)
        yield scene
        scene.rita.close()


WHO = [
    # user, roles, kinds, sees, may cancel
    ("eve", ("viewer",), None, set(SCENE), set()),
    ("ann", ("operator",), None, set(SCENE), {"ann-render"}),
    ("ann", ("operator",), ["external"], {"rita-loop"}, set()),
    ("rita", ("reporter",), None, {"rita-loop"}, set()),
    ("rita", ("reporter",), [KIND], set(), set()),
    ("rita", ("reporter", "viewer"), [KIND], {"ann-render", "bob-render"}, set()),
    ("root", ("admin",), [KIND], {"ann-render", "bob-render"}, {"ann-render", "bob-render"}),
]


@pytest.mark.parametrize(("user", "roles", "kinds", "sees"), [who[:4] for who in WHO])
def test_what_is_seen_is_the_same_by_every_way(scene: Scene, user, roles, kinds, sees) -> None:
    token = scene.token(user, *roles, kinds=kinds)
    with Client(url=scene.url, token=token) as client:
        assert {o.operation_id for o in client.operations()} == sees
        assert {o.operation_id for o in client.history()} == sees
        for name in SCENE:
            if name in sees:
                assert client.operation(name).operation_id == name
                assert client.performance(name).operation.operation_id == name
                assert client.explain(name)
                continue
            for asked in (client.operation, client.performance, client.explain):
                with pytest.raises(UnknownOperationError, match=f"no operation {name}"):
                    asked(name)
    status, page, _ = get(scene.url, "/v1/operations", token)
    assert (status, {o["operation_id"] for o in page["operations"]}) == (200, sees)
    for name in (*SCENE, "nobody"):
        meant = 200 if name in sees else 404
        assert get(scene.url, f"/v1/operations/{name}", token)[0] == meant
        assert get(scene.url, f"/v1/operations/{name}/artifacts/image.png", token)[0] == 404
    with scene.plain(user, *roles, kinds=kinds) as watcher:
        watcher.ask("subscribe", operations="all")
        watcher.until(lambda one: one["type"] == "live")
        assert watcher.told_of() == sees
    # Anybody's position: what follows it, and what may be seen of that.
    epoch = watcher.heard[0]["data"]["epoch"]
    with scene.plain(user, *roles, kinds=kinds, resume={"epoch": epoch, "seq": 0}) as watcher:
        assert watcher.ask("subscribe", operations="all")["data"] == {"recovered": True}
        watcher.until(lambda one: one["type"] == "live")
        assert watcher.told_of() == sees


@pytest.mark.parametrize(("user", "roles", "kinds", "sees", "may_cancel"), WHO)
@pytest.mark.parametrize(
    ("request_type", "fields"),
    [
        ("set_priority", {"priority": 0}),
        ("recolour", {"look": {}}),
        ("fetch_tiles", {"width": 8, "height": 8}),
        ("probe_points", {"points": [[0, 0]]}),
    ],
)
def test_what_is_asked_of_an_operation(
    scene: Scene, user, roles, kinds, sees, may_cancel, request_type, fields
) -> None:
    with scene.plain(user, *roles, kinds=kinds) as peer:
        for name in (*SCENE, "nobody"):
            answer = peer.code_of(request_type, operation_id=name, **fields)
            if (request_type == "set_priority" and not {"operator", "admin"} & set(roles)) or (
                request_type == "recolour" and not {"operator", "admin"} & set(roles)
            ):
                meant = "forbidden"
            elif name not in sees:
                meant = "unknown_operation"
            elif request_type == "set_priority":
                meant = "ok" if name in may_cancel else "forbidden"
            else:
                # It has neither pixels nor files, which is said to who may know that there is one.
                meant = "bad_request"
            assert (name, answer) == (name, meant)


def test_viewers_do_not_cancel_and_operators_only_their_own(scene: Scene) -> None:
    with scene.plain("eve", "viewer") as eve, scene.plain("ann", "operator") as ann:
        assert eve.code_of("cancel_operation", operation_id="bob-render") == "forbidden"
        assert ann.code_of("cancel_operation", operation_id="bob-render") == "forbidden"
        assert ann.code_of("pause", operation_id="bob-render") == "forbidden"
        mine = {"operation_id": "ann-second", "kind": KIND, "request_key": "second", "params": QUICK}
        try:
            assert ann.code_of("submit", **mine, parent_id="bob-render") == "forbidden"
            assert ann.code_of("submit", **mine) == "submit_reply"
            assert ann.ask("cancel_operation", operation_id="ann-second")["data"] == {"state": "cancelling"}
        finally:
            SCENE["ann-second"] = ("ann", KIND)
        with scene.plain("ann", "operator", kinds=["external"]) as narrow:
            assert narrow.code_of("submit", **{**mine, "operation_id": "x", "request_key": "x"}) == "forbidden"
            # Also of what there is no kind of: what is not granted is not told.
            assert narrow.code_of("submit", operation_id="x", kind="nobody", request_key="x") == "forbidden"


def test_nobody_reports_for_anothers_operation(scene: Scene) -> None:
    with scene.plain("rob", "reporter") as rob:
        before = scene.rita.code_of("progress_update", operation_id="rita-loop", done=1.0)
        assert before == "ok"
        for request in ("operation_completed", "operation_failed", "operation_canceled", "operation_paused"):
            theirs = rob.code_of(request, operation_id="rita-loop")
            nobodys = rob.code_of(request, operation_id="nobodys")
            assert theirs == nobodys != "ok"
        assert rob.code_of("progress_update", operation_id="rita-loop", done=99.0) == "unknown_operation"
        assert rob.code_of("operation_started", operation_id="rita-loop", kind="external") == "conflict"
    with scene.plain("eve", "viewer") as eve:
        assert eve.code_of("operation_started", operation_id="eves", kind="external") == "forbidden"
    with scene.plain("rob", "reporter", kinds=[KIND]) as narrow:
        assert narrow.code_of("operation_started", operation_id="robs", kind="external") == "forbidden"
    with Client(url=scene.url, token=scene.own) as admin:
        loop = admin.operation("rita-loop")
        assert (loop.state, loop.owner) == ("running", "rita")
        assert {o.operation_id for o in admin.operations()} == set(SCENE)


@pytest.mark.scenario("G2")
def test_a_narrower_token_on_the_way_applies_at_once_and_loses_no_outcome(scene: Scene) -> None:
    try:
        SCENE["zoe-loop"] = ("zoe", "external")
        with scene.plain("zoe", "reporter", "viewer") as zoe:
            zoe.ask("subscribe", operations="all")
            zoe.until(lambda one: one["type"] == "live")
            assert zoe.told_of() >= {"ann-render", "rita-loop"}
            assert zoe.code_of("operation_started", operation_id="zoe-loop", kind="external") == "reported"
            assert zoe.code_of("auth_refresh", token=scene.token("zoe", "reporter", kinds=[])) == "ok"
            zoe.heard.clear()
            zoe.until(lambda one: one["type"] == "live")
            assert zoe.told_of() == set()
            assert zoe.code_of("get_operation", operation_id="ann-render") == "unknown_operation"
            assert zoe.code_of("operation_started", operation_id="another", kind="external") == "forbidden"
            # What it began with the right to begin it.
            assert zoe.code_of("progress_update", operation_id="zoe-loop", done=5.0) == "ok"
            assert zoe.code_of("operation_completed", operation_id="zoe-loop") == "ok"
            assert zoe.told_of() == set()
        with Client(url=scene.url, token=scene.own) as admin:
            assert admin.operation("zoe-loop").state == "completed"
    finally:
        del SCENE["zoe-loop"]


def test_the_client_says_why_not(scene: Scene) -> None:
    with Client(url=scene.url, token=scene.token("ann", "operator")) as ann:
        with pytest.raises(ForbiddenError, match=r"ann .operator. may not cancel an operation of bob") as refused:
            ann.cancel("bob-render")
        assert "rfm-runtime permissions" in (refused.value.hint or "")
        with pytest.raises(UnknownOperationError):
            ann.cancel("nobodys")


def test_the_runtimes_own_token_may_do_everything(scene: Scene) -> None:
    with Plain(scene.url, scene.own) as own:
        assert own.heard[0]["data"]["roles"] == ["admin"]
        assert own.code_of("set_priority", operation_id="bob-render", priority=3) == "ok"
        assert own.code_of("get_metrics") == "metrics_reply"
    with scene.plain("rita", "reporter") as rita:
        assert rita.code_of("get_metrics") == "forbidden"
