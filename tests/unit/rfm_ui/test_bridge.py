"""The client in a thread of its own: every question is answered, and what the client forgets is told."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from typing import Any

import pytest

from rfm_runtime.client.async_client import AsyncClient
from rfm_runtime.errors import InternalError, RfmError
from rfm_runtime.protocol.messages import Live
from rfm_runtime.protocol.operation import EventType, Operation, OperationEvent, OperationState
from rfm_runtime.testing.hosts import free_ports
from rfm_runtime.testing.runtime import eventually
from rfm_ui.bridge import Bridge
from rfm_ui.model.board import Board

NOWHERE = "ws://127.0.0.1:{}/v1"


@pytest.fixture
def bridge() -> Iterator[Bridge]:
    """Of a server that is not there."""
    made = Bridge(lambda: None, url=NOWHERE.format(free_ports(1)), token="x" * 40)
    made.start()
    yield made
    made.close()


def answered(bridge: Bridge, heard: list[Any]) -> bool:
    for answer in bridge.take().answers:
        answer()
    return bool(heard)


def fault() -> Any:
    raise MemoryError("no room")


def test_what_fails_in_an_unforeseen_way_is_answered_too(bridge: Bridge, caplog: pytest.LogCaptureFixture) -> None:
    heard: list[tuple[Any, RfmError | None]] = []
    threads: list[str] = []

    def work() -> Any:
        threads.append(threading.current_thread().name)
        return fault()

    async def question(_client: AsyncClient) -> Any:
        return fault()

    bridge.aside(work, lambda *said: heard.append(said))
    eventually(lambda: answered(bridge, heard))
    eventually(lambda: bridge._client is not None)
    bridge.ask(question, lambda *said: heard.append(said))
    eventually(lambda: answered(bridge, heard[1:]))

    assert threads != ["rfm-bridge"]
    for result, error in heard:
        assert result is None
        assert isinstance(error, InternalError)
        assert "MemoryError: no room" in str(error)
        assert error.hint
    assert caplog.text.count("what was asked for could not be done") == 2


EVENTS: list[tuple[EventType, OperationState]] = [
    ("operation_accepted", "queued"),
    ("operation_started", "running"),
    ("operation_completed", "completed"),
]


def test_what_is_forgotten_by_the_client_is_forgotten_by_the_face() -> None:
    """Nothing grows with the number of all operations that there have ever been."""
    bridge, board = Bridge(lambda: None), Board()
    client = bridge._client = AsyncClient(url=NOWHERE.format(1), token="x" * 40)
    bridge._heard(Live("one", 0))
    gone: set[str] = set()
    most = seq = 0
    for number in range(5_000):
        operation_id, at_ms = f"op{number:08d}", 1_700_000_000_000 + number * 1000
        begun = Operation(
            operation_id=operation_id, kind="k", name="", owner="ann", state="queued", at_seq=seq + 1,
            created_at_ms=at_ms,
        )  # fmt: skip
        for event, state in EVENTS:
            seq += 1
            happened = OperationEvent(
                seq=seq, ts_ms=at_ms, type=event, operation_id=operation_id, state=state,
                operation=begun if state == "queued" else None, ended_at_ms=at_ms if state == "completed" else None,
            )  # fmt: skip
            assert client._mirror.event(happened)
            bridge._heard(happened)
        if number % 10 == 9:
            news = bridge.take()
            board.take(news.operations, news.gone)
            gone |= news.gone
            most = max(most, len(board.operations))

    assert set(board.operations) == set(client.known) == bridge._shown
    assert len(gone) == 5_000 - len(client.known)
    assert most <= 2_010, "the client keeps 2,000 of those that have ended, and there were 10 in a frame"
    bridge.close()


def test_what_was_shown_stays_until_the_next_connection_has_said_all() -> None:
    bridge = Bridge(lambda: None)
    client = bridge._client = AsyncClient(url=NOWHERE.format(1), token="x" * 40)
    bridge._heard(Live("one", 0))
    client._mirror.listed(
        Operation(operation_id="a", kind="k", name="", owner="ann", state="running", at_seq=1, created_at_ms=0)
    )
    bridge._changed.add("a")
    assert set(bridge.take().operations) == {"a"}
    bridge._is_caught_up = False
    bridge._client = AsyncClient(url=NOWHERE.format(1), token="y" * 40)
    assert bridge.take().gone == set()
    bridge._heard(Live("one", 0))
    assert bridge.take().gone == {"a"}
    bridge.close()
