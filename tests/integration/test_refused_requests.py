"""What is refused for want of a right or of room: noted by the name of what was asked for, and asked again in place."""

from __future__ import annotations

import asyncio
import json
import re
from pathlib import Path
from typing import Any

import pytest

from rfm_runtime import JWTAuthenticator, ProgressReportingServer
from rfm_runtime.client.async_client import AsyncClient
from rfm_runtime.errors import ForbiddenError
from rfm_runtime.protocol.messages import Ping, Pong
from tests.plain import Plain, get
from tests.whole import KIND, QUICK

pytestmark = pytest.mark.integration

AUTH = JWTAuthenticator("refused-secret-of-a-test-that-is-long-enough")


def denied(folder: Path) -> list[dict[str, Any]]:
    """Of the audit log, in order."""
    lines = [line for path in sorted(folder.iterdir()) for line in path.read_text().splitlines()]
    return [one for one in map(json.loads, lines) if one["event"] == "denied"]


@pytest.mark.scenario("G3", "J51")
def test_what_was_asked_for_over_http_is_named_as_over_websocket(tmp_path: Path) -> None:
    operator = AUTH.issue("ann", ["operator"])
    narrow = AUTH.issue("ann", ["operator"], kinds=["external"])
    nobody = AUTH.issue("eve", [])
    with ProgressReportingServer(port=0, state_dir=tmp_path / "state", authenticator=AUTH) as server:
        with Plain(server.url, operator) as peer:
            request = {"operation_id": "op", "kind": KIND, "request_key": "op", "params": QUICK}
            assert peer.code_of("submit", **request) == "submit_reply"
        with Plain(server.url, narrow) as peer:
            assert peer.code_of("get_operation", operation_id="op") == "unknown_operation"
            assert peer.code_of("fetch_artifact", operation_id="op", name="x.png") == "unknown_operation"
        assert get(server.url, "/v1/operations/op", narrow)[0] == 404
        assert get(server.url, "/v1/operations/op/artifacts/x.png", narrow)[0] == 404
        with Plain(server.url, nobody) as peer:
            assert peer.code_of("list_operations") == "forbidden"
        assert get(server.url, "/v1/operations", nobody)[0] == 403
        assert get(server.url, "/v1/operations")[0] == 401
    found = denied(tmp_path / "state" / "audit")
    over_http = [(e["user"], e["request"], e.get("operation_id", "")) for e in found if e["client"] == "http"]
    over_websocket = [(e["user"], e["request"], e.get("operation_id", "")) for e in found if e["client"] == "plain"]
    assert over_http == [
        ("ann", "get_operation", "op"),
        ("ann", "fetch_artifact", "op"),
        ("eve", "list_operations", ""),
    ]
    assert over_websocket == over_http


def counted(url: str, what: str) -> float:
    """How often the gateway has decided so."""
    found = re.search(rf'rfm_gateway_decisions_total{{.*what="{what}"}} ([0-9.]+)', str(get(url, "/metrics")[1]))
    return float(found[1]) if found else 0.0


@pytest.mark.scenario("G8")
def test_a_subscription_that_comes_too_soon_is_asked_for_again_on_the_same_connection(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # Two subscriptions are all that a user may ask for at once; the next a second later.
    monkeypatch.setenv("RFM_USER_COMMANDS_PER_S", "5")

    async def come(url: str, token: str) -> tuple[list[str], str]:
        states: list[str] = []
        async with AsyncClient(url, token, on_state=lambda state, _: states.append(state)) as client:
            # Live, not only connected: what happens from now on is heard.
            assert client.server is not None
            await client.request(Ping(), Pong)
            return states, client.server.session

    with ProgressReportingServer(port=0, memory=True) as server, Plain(server.url, server.token) as before:
        while before.code_of("subscribe", operations="active") != "rate_limited":
            pass
        refused = counted(server.url, "error_rate_limited")
        states, session = asyncio.run(come(server.url, server.token))
        assert counted(server.url, "error_rate_limited") > refused, "it did come too soon"
        assert states[0] == "live"
        assert "reconnecting" not in states
        welcomed = before.until(lambda one: one["type"] == "welcome")["data"]["session"]
        assert int(session[1:]) == int(welcomed[1:]) + 1, "one connection was enough"


@pytest.mark.scenario("G3")
def test_who_may_see_nothing_is_told_so_at_once() -> None:
    async def come(url: str) -> None:
        async with AsyncClient(url, AUTH.issue("eve", [])):
            raise AssertionError("there is nothing to be connected for")

    with ProgressReportingServer(port=0, memory=True, authenticator=AUTH) as server:
        with pytest.raises(ForbiddenError):
            asyncio.run(asyncio.wait_for(come(server.url), 5.0))
        assert counted(server.url, "received_hello") == 1.0, "and it was not tried again"
