"""The reference's resilient client: flat messages, handlers set at any time, drops that lose nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from rfm_runtime import Client, ConfigError, JWTAuthenticator, ProgressReportingServer, ResilientWebSocketClient
from rfm_runtime.errors import BadRequestError, ConflictError, UnauthorizedError, UnavailableError
from rfm_runtime.testing.runtime import Runtime, eventually, runtime

pytestmark = [pytest.mark.integration, pytest.mark.scenario("A5")]

OPTIONS = {"max_retries": 10, "initial_delay": 0.5, "max_delay": 30.0, "jitter": 0.2}


class Heard:
    """What the handlers were told."""

    def __init__(self, client: ResilientWebSocketClient) -> None:
        self.messages: list[dict[str, Any]] = []
        self.states: list[tuple[bool, str]] = []
        client.on_message = self.messages.append
        client.on_connection_change = lambda connected, details: self.states.append((connected, details["state"]))

    def of(self, kind: str, operation_id: str) -> list[dict[str, Any]]:
        return [m for m in self.messages if m["type"] == kind and m.get("operation_id") == operation_id]

    async def until(self, condition: Callable[[], Any], what: str) -> None:
        await asyncio.to_thread(eventually, condition, timeout_s=20, what=what)


def client_of(running: Runtime, **options: Any) -> ResilientWebSocketClient:
    return ResilientWebSocketClient(
        url=running.url, reconnect_options={**OPTIONS, **options}, auth_token=running.info.token
    )


def play(scene: Callable[[], Awaitable[None]]) -> None:
    asyncio.run(asyncio.wait_for(_awaited(scene), 60))


async def _awaited(scene: Callable[[], Awaitable[None]]) -> None:
    await scene()


def test_the_example_of_the_reference(running: Runtime, client: Client) -> None:
    async def scene() -> None:
        resilient = client_of(running)
        await resilient.connect()
        heard = Heard(resilient)
        await resilient.send_message(
            {"type": "progress_update", "operation_id": "op123", "progress": 50, "message": "Halfway there"}
        )
        await heard.until(lambda: heard.of("operation_started", "op123"), "it is started")
        await heard.until(
            lambda: client.operation("op123").latest and client.operation("op123").latest.progress == 50, "half"
        )
        shown = client.operation("op123")
        assert shown.latest is not None
        assert (shown.latest.message, shown.state) == ("Halfway there", "running")
        await resilient.send_message({"type": "operation_completed", "operation_id": "op123"})
        await resilient.disconnect()
        assert heard.states[-1][0] is False
        await resilient.disconnect()

    play(scene)
    assert client.operation("op123").state == "completed"


def test_what_is_open_when_it_leaves_has_failed(running: Runtime, client: Client) -> None:
    async def scene() -> None:
        async with client_of(running) as resilient:
            heard = Heard(resilient)
            await resilient.send_message({"type": "operation_started", "operation_id": "open-1"})
            await heard.until(lambda: heard.of("operation_started", "open-1"), "it is started")

    play(scene)
    left = client.operation("open-1")
    assert left.error is not None
    assert (left.state, left.error.code) == ("failed", "worker_lost")
    assert "closed before it said how it went" in left.error.message


def test_what_is_no_message_or_comes_too_late_is_refused(running: Runtime) -> None:
    async def scene() -> None:
        async with client_of(running) as resilient:
            with pytest.raises(BadRequestError, match="a dictionary, not a list"):
                await resilient.send_message([])  # type: ignore[arg-type]
            await resilient.send_message({"type": "progress_update", "operation_id": "implied-1", "done": 1})
            with pytest.raises(ConflictError, match="begun by what was said"):
                await resilient.send_message({"type": "operation_started", "operation_id": "implied-1"})
            await resilient.send_message({"type": "operation_completed", "operation_id": "implied-1"})

    play(scene)


def test_requests_are_answered_flat(running: Runtime) -> None:
    async def scene() -> None:
        async with client_of(running) as resilient:
            await resilient.send_message({"type": "operation_started", "operation_id": "flat-1", "kind": "k"})
            heard = Heard(resilient)
            await heard.until(lambda: heard.of("operation_started", "flat-1"), "it is started")
            answer = await resilient.send_message({"type": "get_operation", "operation_id": "flat-1"})
            assert answer is not None
            assert (answer["type"], answer["operation"]["kind"]) == ("operation", "k")
            assert (await resilient.send_message({"type": "ping"})) == {"type": "pong"}
            answer = await resilient.send_message({"type": "cancel_operation", "operation_id": "flat-1"})
            assert answer == {"type": "cancel_reply", "state": "cancelling"}
            await heard.until(lambda: heard.of("asked", "flat-1"), "it is asked to stop")
            await resilient.send_message({"type": "operation_canceled", "operation_id": "flat-1", "reason": "asked"})
            await heard.until(lambda: heard.of("operation_canceled", "flat-1"), "its outcome is told")
            with pytest.raises(ConflictError):
                await resilient.send_message({"type": "progress_update", "operation_id": "flat-1", "progress": 9})

    play(scene)


@pytest.mark.fault
@pytest.mark.scenario("F3")
def test_a_drop_loses_nothing(running: Runtime, client: Client) -> None:
    async def scene() -> None:
        async with client_of(running, initial_delay=0.05) as resilient:
            heard = Heard(resilient)
            await resilient.send_message({"type": "operation_started", "operation_id": "drop-1", "total": 100})
            await heard.until(lambda: heard.of("operation_started", "drop-1"), "it is started")
            await asyncio.to_thread(running.kill, "gateway-0")
            await resilient.send_message({"type": "progress_update", "operation_id": "drop-1", "done": 70})
            await resilient.send_message({"type": "operation_completed", "operation_id": "drop-1", "done": 100})
            answer = await resilient.send_message({"type": "ping"})
            assert answer == {"type": "pong"}
            await heard.until(lambda: heard.of("operation_completed", "drop-1"), "its outcome is told")
            assert [connected for connected, _ in heard.states][-1] is True
            assert (False, "reconnecting") in heard.states

    play(scene)
    assert client.operation("drop-1").state == "completed"


def test_handlers_may_be_coroutines_and_fail(running: Runtime, caplog: pytest.LogCaptureFixture) -> None:
    async def scene() -> None:
        resilient = client_of(running)
        seen: list[str] = []

        async def handle(message: dict[str, Any]) -> None:
            seen.append(message["type"])
            raise RuntimeError("a fault of the handler")

        def broken(_connected: bool, _details: dict[str, Any]) -> None:
            raise ValueError("another")

        resilient.on_message, resilient.on_connection_change = handle, broken
        async with resilient:
            await asyncio.to_thread(eventually, lambda: "live" in seen, what="the list of operations")
            assert resilient.connected

    play(scene)
    assert "a fault of the handler" in caplog.text
    assert "another" in caplog.text


def test_a_token_from_a_function(running: Runtime) -> None:
    async def scene() -> None:
        async def token() -> str:
            return running.info.token + "\n"

        async with ResilientWebSocketClient(running.url, auth_token=token) as resilient:
            await resilient.send_message({"type": "operation_started", "operation_id": "token-1"})
            heard = Heard(resilient)
            await heard.until(lambda: heard.of("operation_started", "token-1"), "it reports with that token too")
            await resilient.send_message({"type": "operation_completed", "operation_id": "token-1"})

    play(scene)


@pytest.mark.scenario("D10")
def test_a_wrong_token_is_said_and_not_repeated(running: Runtime) -> None:
    async def scene() -> None:
        with pytest.raises(UnauthorizedError):
            await ResilientWebSocketClient(running.url, OPTIONS, "wrong").connect()

    play(scene)


@pytest.mark.scenario("D12")
def test_a_server_that_comes_later_is_waited_for(tmp_path: Path) -> None:
    with runtime(tmp_path, workers=1) as before:
        port = int(before.url.rpartition(":")[2])
        before.stop(now=True)

    async def scene() -> None:
        resilient = ResilientWebSocketClient(
            f"ws://127.0.0.1:{port}",
            {"initial_delay": 0.05, "max_delay": 0.2},
            lambda: before.folders.token.read_text() if before.folders.token.exists() else "none yet",
        )
        connecting = asyncio.create_task(resilient.connect())
        later = runtime(tmp_path, workers=1, port=port)
        await asyncio.to_thread(later.__enter__)
        try:
            await connecting
            assert resilient.connected
            await resilient.disconnect()
        finally:
            await asyncio.to_thread(later.__exit__, None, None, None)

    play(scene)


def test_tries_that_are_counted_end() -> None:
    async def scene() -> None:
        resilient = ResilientWebSocketClient(
            "ws://127.0.0.1:4", {"max_retries": 2, "initial_delay": 0.01, "max_delay": 0.01}, "x"
        )
        heard = Heard(resilient)
        with pytest.raises(UnavailableError):
            await resilient.connect()
        assert [state for _, state in heard.states].count("reconnecting") == 2

    play(scene)


@pytest.mark.parametrize(
    ("message", "said"),
    [
        ({}, "is no type of message"),
        ({"type": "hello"}, "is no type of message"),
        ({"type": "nonsense"}, "is no type of message"),
        ({"type": 7}, "is no type of message"),
        ({"type": "progress_update"}, "operation_id"),
        ({"type": "progress_update", "operation_id": "a b"}, "operation_id"),
        ({"type": "progress_update", "operation_id": "a", "progress": 101}, "progress"),
        ({"type": "cancel_operation", "operation_id": "a", "mode": "gently"}, "mode"),
    ],
)
def test_what_is_no_message_is_said_at_once(message: dict[str, Any], said: str) -> None:
    async def scene() -> None:
        with pytest.raises(BadRequestError, match=said):
            await ResilientWebSocketClient("ws://127.0.0.1:4").send_message(message)

    play(scene)


def test_before_it_is_connected_nothing_is_said() -> None:
    async def scene() -> None:
        with pytest.raises(UnavailableError, match="not connected"):
            await ResilientWebSocketClient("ws://127.0.0.1:4").send_message({"type": "ping"})

    play(scene)


def test_what_cannot_be_meant_is_refused() -> None:
    with pytest.raises(ConfigError):
        ResilientWebSocketClient("http://127.0.0.1:4")
    with pytest.raises(BadRequestError, match="retries"):
        ResilientWebSocketClient("ws://127.0.0.1:4", {"retries": 3})


def test_who_leaves_at_once_has_said_what_it_said(running: Runtime, client: Client) -> None:
    async def scene() -> None:
        async with client_of(running) as resilient:
            await resilient.send_message({"type": "operation_completed", "operation_id": "hasty-1"})

    play(scene)
    assert client.operation("hasty-1").state == "completed"


@pytest.mark.scenario("D10")
def test_a_token_that_is_refused_is_asked_for_anew() -> None:
    auth, other = JWTAuthenticator("s" * 32), JWTAuthenticator("t" * 32)
    issued: list[str] = []

    def token() -> str:
        issued.append((auth if issued else other).issue("ann", ["operator"]))
        return issued[-1]

    async def scene(server: ProgressReportingServer) -> None:
        async with ResilientWebSocketClient(server.url, {"initial_delay": 0.05}, token) as resilient:
            await resilient.send_message({"type": "operation_completed", "operation_id": "renewed-1"})

    with ProgressReportingServer(port=0, memory=True, authenticator=auth) as server:
        play(lambda: scene(server))
        with Client(url=server.url, token=server.token) as client:
            assert [(o.owner, o.state) for o in client.operations()] == [("ann", "completed")]
    # The first one was refused.
    assert len(issued) == 2


@pytest.mark.scenario("J16")
def test_what_cannot_be_said_is_refused_and_harms_nothing_else(running: Runtime, client: Client) -> None:
    async def scene() -> None:
        async with client_of(running) as resilient:
            await resilient.send_message({"type": "operation_started", "operation_id": "text-1"})
            with pytest.raises(BadRequestError, match="cannot be encoded"):
                await resilient.send_message(
                    {"type": "progress_update", "operation_id": "text-1", "message": "file \udcff.txt"}
                )
            await resilient.send_message({"type": "operation_completed", "operation_id": "text-1"})

    play(scene)
    assert client.operation("text-1").state == "completed"


def test_a_fetched_token_is_shown_at_once(running: Runtime) -> None:
    async def scene() -> None:
        given: list[str] = []

        def token() -> str:
            given.append(running.info.token)
            return given[-1]

        async with ResilientWebSocketClient(running.url, {"max_retries": 0}, token):
            assert given == [running.info.token]

    play(scene)
