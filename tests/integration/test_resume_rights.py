"""Who comes back with a token of other rights, at a real gateway: a list, and nothing missing in it."""

from __future__ import annotations

import pytest

from rfm_runtime import JWTAuthenticator, ProgressReportingServer
from tests.plain import Plain
from tests.whole import KIND, QUICK

pytestmark = [pytest.mark.integration, pytest.mark.scenario("G2", "J90")]

AUTH = JWTAuthenticator("rights-of-who-comes-back-in-this-test")
NARROW, WIDE = ("reporter",), ("viewer",)
SEEN = {NARROW: {"ann-render"}, WIDE: {"ann-render", "bob-render"}}


def position(watcher: Plain) -> dict[str, object]:
    (*_, live) = (one for one in watcher.heard if one["type"] == "live")
    return live["data"]


def test_a_position_is_good_for_the_rights_that_it_was_given_under() -> None:
    with ProgressReportingServer(port=0, memory=True, authenticator=AUTH) as server:

        def come(roles: tuple[str, ...], **hello: object) -> Plain:
            return Plain(server.url, AUTH.issue("ann", roles), **hello)

        for user in ("ann", "bob"):
            with Plain(server.url, AUTH.issue(user, ("operator",))) as peer:
                name = f"{user}-render"
                request = {"operation_id": name, "kind": KIND, "request_key": name, "params": QUICK}
                assert peer.code_of("submit", **request) == "submit_reply"
        for before, after in ((NARROW, WIDE), (WIDE, NARROW), (NARROW, NARROW), (WIDE, WIDE)):
            with come(before) as watcher:
                watcher.ask("subscribe", operations="all")
                watcher.until(lambda one: one["type"] == "live")
                known = position(watcher)
            with come(after, resume=known) as watcher:
                assert watcher.ask("subscribe", operations="all")["data"] == {"recovered": before == after}
                watcher.until(lambda one: one["type"] == "live")
                assert before == after or watcher.told_of() == SEEN[after]
        # With another token on the way the position that follows is that of the new rights.
        with come(NARROW) as watcher:
            watcher.ask("subscribe", operations="all")
            watcher.until(lambda one: one["type"] == "live")
            narrow = position(watcher)
            assert watcher.code_of("auth_refresh", token=AUTH.issue("ann", WIDE)) == "ok"
            watcher.until(lambda one: one["type"] == "live" and one["data"]["epoch"] != narrow["epoch"])
            known = position(watcher)
        for resume, recovered in ((known, True), (narrow, False), ({**known, "partial": True}, False)):
            with come(WIDE, resume=resume) as watcher:
                assert watcher.ask("subscribe", operations="all")["data"] == {"recovered": recovered}
