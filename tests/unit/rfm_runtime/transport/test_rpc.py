"""Requests: each gets its own answer in whatever order they come, a time-out, or the end of the connection."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Awaitable, Callable, Iterator
from typing import Any

import msgspec
import pytest
import zmq
from hypothesis import Phase, given, settings
from hypothesis import strategies as st
from msgspec import Struct

from rfm_runtime.errors import ConflictError, InternalError, RfmError, UnavailableError, UnsupportedError
from rfm_runtime.protocol.internal import (
    Ack,
    DoExplain,
    Explained,
    MetricsText,
    OwnerHeartbeat,
    PauseOwner,
    Principal,
    Reply,
    Source,
    Status,
    pack,
    pack_reply,
    unpack,
    unpack_body,
)
from rfm_runtime.protocol.operation import ErrorInfo
from rfm_runtime.transport.drain import Drain
from rfm_runtime.transport.rpc import Rpc
from rfm_runtime.transport.sockets import command_dealer, command_router

Context = zmq.Context[zmq.Socket[bytes]]
# Not shrunk: what is lost is found by a time-out, once for each smaller example.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
NAMES = (f"inproc://rpc-{number}" for number in itertools.count())
ANN = Principal("ann", ("admin",))


@pytest.fixture(scope="module")
def context() -> Iterator[Context]:
    made: Context = zmq.Context()
    yield made
    made.term()


class Peer:
    """The other side: keeps what it is asked; answers are sent when a test says so."""

    def __init__(self, context: Context, endpoint: str) -> None:
        self.asked: list[tuple[bytes, int, Struct]] = []
        self.pushed: list[Struct] = []
        self._more = asyncio.Event()
        self.drain = Drain(asyncio.get_running_loop(), command_router(context, endpoint), self._on_message)

    def _on_message(self, frames: list[bytes]) -> None:
        message = unpack(frames[1:])
        if hasattr(message, "body"):
            self.asked.append((frames[0], message.id, unpack_body(message)))
        else:
            self.pushed.append(message)
        self._more.set()

    async def until(self, asked: int = 0, pushed: int = 0) -> None:
        async with asyncio.timeout(10):
            while len(self.asked) < asked or len(self.pushed) < pushed:
                self._more.clear()
                await self._more.wait()

    def answer(self, index: int, answer: Struct) -> None:
        routing, number, _ = self.asked[index]
        self.drain.send([routing, *pack_reply(number, answer)])

    def say(self, frames: list[bytes]) -> None:
        self.drain.send([self.asked[0][0], *frames])


def conversation(
    context: Context, talk: Callable[[Rpc, Peer], Awaitable[Any]], **options: Callable[[Any], None]
) -> tuple[Any, list[str]]:
    """What `talk` returns, and what the loop's exception handler was told."""
    told: list[str] = []

    async def run() -> Any:
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(lambda _, what: told.append(repr(what.get("exception", what["message"]))))
        endpoint = next(NAMES)
        peer = Peer(context, endpoint)
        rpc = Rpc(loop, command_dealer(context, endpoint), **options)
        try:
            return await talk(rpc, peer)
        finally:
            rpc.close()
            peer.drain.close()

    return asyncio.run(run()), told


def explain(rpc: Rpc, name: str, timeout_s: float = 10.0) -> asyncio.Future[Explained]:
    return asyncio.ensure_future(rpc.request(DoExplain(ANN, name), Explained, timeout_s=timeout_s))


# --- matching -----------------------------------------------------------------------------------


@given(st.permutations(list(range(12))), st.lists(st.integers(0, 11)), st.sets(st.integers(0, 11)))
@settings(max_examples=40, phases=PHASES)
def test_every_request_gets_its_own_answer_in_any_order_also_if_some_come_twice(
    context: Context, order: list[int], twice: list[int], refused: set[int]
) -> None:
    async def talk(rpc: Rpc, peer: Peer) -> None:
        asked = [explain(rpc, f"op-{n}") for n in range(12)]
        await peer.until(asked=12)
        assert [message.operation_id for _, _, message in peer.asked] == [f"op-{n}" for n in range(12)]
        for index in order + twice:
            name = peer.asked[index][2].operation_id
            peer.answer(index, ErrorInfo(code="conflict", message=name) if index in refused else Explained((name,)))
        answers = await asyncio.gather(*asked, return_exceptions=True)
        for index, answer in enumerate(answers):
            if index in refused:
                assert isinstance(answer, ConflictError)
                assert answer.message == f"op-{index}"
            else:
                assert answer == Explained((f"op-{index}",))

    assert conversation(context, talk)[1] == []


def test_an_answer_of_another_type_is_a_fault(context: Context) -> None:
    async def talk(rpc: Rpc, peer: Peer) -> None:
        asked = explain(rpc, "a")
        await peer.until(asked=1)
        peer.answer(0, MetricsText("up 1"))
        with pytest.raises(InternalError, match="DoExplain was answered with MetricsText"):
            await asked

    assert conversation(context, talk)[1] == []


@pytest.mark.parametrize(
    "reply",
    [
        lambda number: Reply(number, "Explained", msgspec.Raw(b"\x80")),
        lambda number: Reply(number, "Nonsense", msgspec.Raw(b"\x80")),
        Reply,
    ],
)
def test_an_answer_that_cannot_be_read_is_told_at_once_and_counted(
    context: Context, reply: Callable[[int], Reply]
) -> None:
    garbage: list[RfmError] = []

    async def talk(rpc: Rpc, peer: Peer) -> None:
        asked = explain(rpc, "a")
        await peer.until(asked=1)
        peer.say(pack(reply(peer.asked[0][1])))
        with pytest.raises(InternalError, match="the answer cannot be read"):
            await asked

    assert conversation(context, talk, on_garbage=garbage.append)[1] == []
    assert len(garbage) == 1


# --- time-outs ----------------------------------------------------------------------------------


def test_without_an_answer_the_time_is_out_and_a_late_one_disturbs_nobody(context: Context) -> None:
    async def talk(rpc: Rpc, peer: Peer) -> None:
        with pytest.raises(UnavailableError, match=r"no answer to DoExplain within 0\.01 s") as caught:
            await explain(rpc, "late", timeout_s=0.01)
        assert caught.value.hint
        asked = explain(rpc, "next")
        await peer.until(asked=2)
        peer.answer(0, Explained(("late",)))
        peer.answer(1, Explained(("next",)))
        assert await asked == Explained(("next",))

    assert conversation(context, talk)[1] == []


def test_a_request_that_is_cancelled_is_forgotten(context: Context) -> None:
    async def talk(rpc: Rpc, peer: Peer) -> None:
        asked = explain(rpc, "a")
        await peer.until(asked=1)
        asked.cancel()
        with pytest.raises(asyncio.CancelledError):
            await asked
        peer.answer(0, Explained(("a",)))
        again = explain(rpc, "b")
        await peer.until(asked=2)
        peer.answer(1, Explained(("b",)))
        assert await again == Explained(("b",))
        assert rpc._waiting == {}

    assert conversation(context, talk)[1] == []


# --- the end ------------------------------------------------------------------------------------


def test_closing_ends_what_is_under_way_and_refuses_what_comes_later(context: Context) -> None:
    async def talk(rpc: Rpc, peer: Peer) -> None:
        asked = [explain(rpc, f"op-{n}") for n in range(3)]
        await peer.until(asked=3)
        rpc.close()
        rpc.close()
        for one in asked:
            with pytest.raises(UnavailableError, match="was closed"):
                await one
        with pytest.raises(UnavailableError, match="cannot send Status"):
            await rpc.request(Status(), Ack, timeout_s=10)
        assert not rpc.push(Ack())

    assert conversation(context, talk)[1] == []


# --- one-way messages ---------------------------------------------------------------------------


def test_one_way_messages_go_and_come_in_order_between_requests(context: Context) -> None:
    came: list[Struct] = []
    source = Source("engine-0", "host", "boot", 7, 1.5, 1)

    async def talk(rpc: Rpc, peer: Peer) -> None:
        assert all(rpc.push(OwnerHeartbeat(source, n)) for n in range(100))
        asked = explain(rpc, "a")
        await peer.until(asked=1, pushed=100)
        assert peer.pushed == [OwnerHeartbeat(source, n) for n in range(100)]
        for n in range(100):
            peer.say(pack(PauseOwner("a", n, paused=True)))
        peer.answer(0, Explained(()))
        await asked
        assert came == [PauseOwner("a", n, paused=True) for n in range(100)]

    assert conversation(context, talk, on_push=came.append)[1] == []


@pytest.mark.parametrize("frames", [[b"\x02Ack", b""], [b"\x01Ack"], [b"\x01What", b"\x80"], [b"\x01Ack", b"\xc1"]])
def test_garbage_is_handed_over_and_stops_nothing(context: Context, frames: list[bytes]) -> None:
    garbage: list[RfmError] = []

    async def talk(rpc: Rpc, peer: Peer) -> None:
        asked = explain(rpc, "a")
        await peer.until(asked=1)
        peer.say(frames)
        peer.answer(0, Explained(("a",)))
        assert await asked == Explained(("a",))

    assert conversation(context, talk, on_garbage=garbage.append)[1] == []
    assert len(garbage) == 1


def test_garbage_that_nobody_wants_is_told_to_the_loop(context: Context) -> None:
    async def talk(rpc: Rpc, peer: Peer) -> None:
        asked = explain(rpc, "a")
        await peer.until(asked=1)
        peer.say([b"\x01What", b"\x80"])
        peer.answer(0, Explained(("a",)))
        assert await asked == Explained(("a",))

    [told] = conversation(context, talk)[1]
    assert UnsupportedError.__name__ in told
