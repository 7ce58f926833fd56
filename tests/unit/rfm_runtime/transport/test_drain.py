"""The drain: nothing is lost however sends and receives interleave, and nobody else in the loop waits long."""

from __future__ import annotations

import asyncio
import itertools
import threading
from collections.abc import Awaitable, Callable, Iterator
from typing import Any, TypeVar

import pytest
import zmq
from hypothesis import Phase, given, settings
from hypothesis import strategies as st

from rfm_runtime.transport.drain import BATCH, Drain
from rfm_runtime.transport.sockets import command_dealer, command_router

Context = zmq.Context[zmq.Socket[bytes]]
# Not shrunk: what is lost is found by a time-out, once for each smaller example.
PHASES = (Phase.explicit, Phase.reuse, Phase.generate)
T = TypeVar("T")
OPENED: list[Drain | zmq.Socket[bytes]] = []
NAMES = (f"inproc://drain-{number}" for number in itertools.count())


@pytest.fixture(scope="module")
def context() -> Iterator[Context]:
    made: Context = zmq.Context()
    yield made
    made.term()


class End:
    """A socket with its drain; what was received, and a wait for it."""

    def __init__(self, socket: zmq.Socket[bytes], then: Callable[[End, list[bytes]], None] | None = None) -> None:
        self.received: list[list[bytes]] = []
        self._then = then
        self._more = asyncio.Event()
        self.drain = Drain(asyncio.get_running_loop(), socket, self._on_message)
        OPENED.append(self.drain)

    def _on_message(self, frames: list[bytes]) -> None:
        self.received.append(frames)
        self._more.set()
        if self._then is not None:
            self._then(self, frames)

    async def until(self, count: int) -> None:
        async with asyncio.timeout(10):
            while len(self.received) < count:
                self._more.clear()
                await self._more.wait()


def pair(context: Context, then: Callable[[End, list[bytes]], None] | None = None) -> tuple[End, zmq.Socket[bytes]]:
    """A drained ROUTER and a bare DEALER that is connected to it."""
    endpoint = next(NAMES)
    router = End(command_router(context, endpoint), then)
    dealer = command_dealer(context, endpoint)
    OPENED.append(dealer)
    return router, dealer


def play(run: Callable[[], Awaitable[T]]) -> T:
    """Run it in a loop of its own, and close what it opened, drains before their sockets, also where it fails."""

    async def whole() -> T:
        try:
            return await run()
        finally:
            while OPENED:
                OPENED.pop().close()

    return asyncio.run(whole())


def echo(end: End, frames: list[bytes]) -> None:
    end.drain.send(frames)


# --- nothing is lost ----------------------------------------------------------------------------


@given(st.lists(st.tuples(st.integers(0, 3), st.integers(0, 3), st.booleans()), max_size=30))
@settings(max_examples=50, phases=PHASES)
def test_nothing_is_lost_however_sends_and_receives_interleave(context: Context, steps: list[Any]) -> None:
    async def run() -> None:
        router, socket = pair(context)
        dealer = End(socket)
        dealer.drain.send([b"hello"])
        await router.until(1)
        peer = router.received[0][0]
        sent_up, sent_down = 0, 0
        for up, down, rest in steps:
            for _ in range(up):
                dealer.drain.send([b"%d" % sent_up])
                sent_up += 1
            for _ in range(down):
                router.drain.send([peer, b"%d" % sent_down])
                sent_down += 1
            if rest:
                await asyncio.sleep(0)
        await router.until(1 + sent_up)
        await dealer.until(sent_down)
        assert [frames[1] for frames in router.received[1:]] == [b"%d" % n for n in range(sent_up)]
        assert [frames[0] for frames in dealer.received] == [b"%d" % n for n in range(sent_down)]

    play(run)


@pytest.mark.parametrize("in_flight", [1, 2, 50])
def test_a_conversation_in_which_each_answer_brings_the_next_question_never_stops(
    context: Context, in_flight: int
) -> None:
    rounds = 3000

    async def run() -> None:
        def ask_again(end: End, frames: list[bytes]) -> None:
            if int(frames[0]) + in_flight < rounds:
                end.drain.send([b"%d" % (int(frames[0]) + in_flight)])

        _, socket = pair(context, echo)
        dealer = End(socket, ask_again)
        for number in range(in_flight):
            dealer.drain.send([b"%d" % number])
        await dealer.until(rounds)
        assert [int(frames[0]) for frames in dealer.received] == list(range(rounds))

    play(run)


def test_a_peer_in_another_thread_is_heard_while_this_one_keeps_sending(context: Context) -> None:
    count = 5000

    def peer(socket: zmq.Socket[bytes], got: list[bytes]) -> None:
        for number in range(count):
            socket.send(b"%d" % number)
        while len(got) < count:
            if not socket.poll(10_000):
                return
            got.append(socket.recv())

    async def run() -> None:
        router, socket = pair(context, echo)
        got: list[bytes] = []
        thread = threading.Thread(target=peer, args=(socket, got))
        thread.start()
        await router.until(count)
        await asyncio.to_thread(thread.join)
        assert got == [b"%d" % number for number in range(count)]

    play(run)


def test_what_waits_before_the_drain_begins_is_received(context: Context) -> None:
    async def run() -> None:
        endpoint = next(NAMES)
        socket = command_router(context, endpoint)
        dealer = command_dealer(context, endpoint)
        OPENED.append(dealer)
        dealer.send(b"early")
        # Reading the events takes the edge away.
        assert socket.poll(1000)
        router = End(socket)
        await router.until(1)

    play(run)


def test_who_sends_past_the_drain_kicks_it_and_nothing_is_lost(context: Context) -> None:
    async def run() -> None:
        router, dealer = pair(context)
        for number in range(1000):
            dealer.send(b"%d" % number)
            # Looking at the socket takes the edge away.
            router.drain._socket.getsockopt(zmq.EVENTS)
            router.drain.kick()
            await router.until(number + 1)

    play(run)


# --- an exception of the handler ----------------------------------------------------------------


@given(st.sets(st.integers(0, 39)))
@settings(max_examples=30, phases=PHASES)
def test_an_exception_of_the_handler_goes_to_the_loop_and_stops_nothing(context: Context, bad: set[int]) -> None:
    def fail(_end: End, frames: list[bytes]) -> None:
        if int(frames[1]) in bad:
            raise LookupError(frames[1].decode())

    async def run() -> list[str]:
        told: list[str] = []
        asyncio.get_running_loop().set_exception_handler(lambda _, told_of: told.append(str(told_of["exception"])))
        router, dealer = pair(context, fail)
        for number in range(40):
            dealer.send(b"%d" % number)
        await router.until(40)
        assert [int(frames[1]) for frames in router.received] == list(range(40))
        return told

    assert play(run) == [str(number) for number in sorted(bad)]


# --- turns --------------------------------------------------------------------------------------


def test_a_flood_is_taken_in_batches_between_which_the_loop_runs(context: Context) -> None:
    count = 10 * BATCH

    async def run() -> list[int]:
        router, dealer = pair(context)
        for number in range(count):
            dealer.send(b"%d" % number)
        seen = [0]
        async with asyncio.timeout(10):
            while seen[-1] < count:
                await asyncio.sleep(0)
                seen.append(len(router.received))
        return [after - before for before, after in itertools.pairwise(seen)]

    # The descriptor and the drain's own call may both have a turn in one round of the loop.
    assert max(play(run)) <= 2 * BATCH


# --- the end ------------------------------------------------------------------------------------


def test_a_handler_that_closes_the_drain_hears_nothing_more(context: Context) -> None:
    told: list[object] = []

    async def run() -> None:
        asyncio.get_running_loop().set_exception_handler(lambda _, what: told.append(what))
        router, dealer = pair(context, lambda end, _: end.drain.close())
        for number in range(10):
            dealer.send(b"%d" % number)
        await router.until(1)
        for _ in range(5):
            await asyncio.sleep(0)
        assert len(router.received) == 1
        assert router.drain._socket.closed

    play(run)
    assert told == []


def test_closing_is_idempotent_and_what_is_sent_afterwards_is_an_error(context: Context) -> None:
    async def run() -> None:
        router, _ = pair(context)
        router.drain.close()
        router.drain.close()
        router.drain.kick()
        with pytest.raises(zmq.ZMQError):
            router.drain.send([b"peer", b"late"])

    play(run)


def test_a_full_queue_is_said_at_once_and_receiving_goes_on(context: Context) -> None:
    async def run() -> None:
        endpoint = next(NAMES)
        server: zmq.Socket[bytes] = context.socket(zmq.PAIR)
        OPENED.append(server)
        server.setsockopt(zmq.RCVHWM, 1)
        server.bind(endpoint)
        socket: zmq.Socket[bytes] = context.socket(zmq.PAIR)
        socket.setsockopt(zmq.SNDHWM, 1)
        socket.connect(endpoint)
        client = End(socket)
        # One waits on each side.
        client.drain.send([b"x"])
        client.drain.send([b"x"])
        with pytest.raises(zmq.Again):
            client.drain.send([b"x"])
        server.send(b"still here")
        await client.until(1)

    play(run)
