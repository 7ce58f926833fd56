"""Each fault of the network, over real sockets: what both ends see of it."""

from __future__ import annotations

import asyncio
import contextlib
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import pytest

from rfm_runtime.testing.chaos.faults import BlackHole, Cut, HalfOpen, IdleCut, Latency, Stalls, Throttle
from rfm_runtime.testing.chaos.frames import FrameMeter
from rfm_runtime.testing.chaos.proxy import FaultProxy

HEAD = b"HTTP/1.1 101 Switching Protocols\r\n\r\n"
QUIET_S = 0.3
"""Long enough to see that nothing comes: what works takes a millisecond."""


class Ends:
    """A client and the server it reached, on either side of the proxy."""

    def __init__(self, proxy: FaultProxy, port: int) -> None:
        self.proxy = proxy
        self.port = port
        self.served: asyncio.Queue[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = asyncio.Queue()
        self.writers: list[asyncio.StreamWriter] = []

    async def connect(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        self.writers.append(writer)
        return reader, writer

    async def close(self) -> None:
        for writer in self.writers:
            writer.transport.abort()
        # A transport is closed in the loop's next turn.
        await asyncio.sleep(0.01)


def over_sockets(test: Callable[[Ends], Awaitable[None]]) -> None:
    async def main() -> None:
        async with asyncio.timeout(20), ends() as made:
            await test(made)

    asyncio.run(main())


@asynccontextmanager
async def ends() -> AsyncIterator[Ends]:
    waiting: list[Ends] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        waiting[0].writers.append(writer)
        waiting[0].served.put_nowait((reader, writer))

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    proxy = FaultProxy("127.0.0.1", server.sockets[0].getsockname()[1], seed=1)
    made = Ends(proxy, await proxy.start())
    waiting.append(made)
    try:
        yield made
    finally:
        await proxy.close()
        server.close()
        await made.close()


async def nothing_comes(reader: asyncio.StreamReader) -> None:
    with pytest.raises(TimeoutError):
        async with asyncio.timeout(QUIET_S):
            await reader.read(1)


def frame(payload: bytes) -> bytes:
    return b"\x82\x7e" + struct.pack(">H", len(payload)) + payload


def test_without_a_fault_everything_goes_through_in_both_directions_and_so_does_the_end() -> None:
    async def test(ends: Ends) -> None:
        reader, writer = await ends.connect()
        server_reader, server = await ends.served.get()
        sent = bytes(range(256)) * 4000
        writer.write(sent)
        writer.write_eof()
        assert await server_reader.read(-1) == sent
        server.write(sent[::-1])
        server.close()
        assert await reader.read(-1) == sent[::-1]

    over_sockets(test)


def test_latency_delays_each_piece_and_keeps_the_order_and_lets_many_travel_at_once() -> None:
    async def test(ends: Ends) -> None:
        latency = Latency(0.2, 0.1)
        ends.proxy.on(latency)
        reader, _ = await ends.connect()
        _, server = await ends.served.get()
        times = []
        for number in range(20):
            server.write(bytes([number]))
            await asyncio.sleep(0.005)
        began_s = time.monotonic()
        got = b""
        while len(got) < 20:
            got += await reader.read(20)
            times.append(time.monotonic() - began_s)
        assert got == bytes(range(20))
        # The first was sent 0.1 s before; twenty one after the other would take 4 s.
        assert times[-1] < 2.0
        ends.proxy.off(latency)
        assert ends.proxy.faults == ()
        began_s = time.monotonic()
        ends.proxy.on(Latency(0.2))
        server.write(b"x")
        await reader.read(1)
        assert time.monotonic() - began_s >= 0.2

    over_sockets(test)


def test_stalls_hold_back_some_pieces_and_what_follows_them() -> None:
    async def test(ends: Ends) -> None:
        reader, _ = await ends.connect()
        _, server = await ends.served.get()
        ends.proxy.on(Stalls(1.0, 0.3))
        began_s = time.monotonic()
        server.write(b"late")
        assert await reader.readexactly(4) == b"late"
        assert time.monotonic() - began_s >= 0.3

    over_sockets(test)


def test_a_throttled_connection_carries_so_much_a_second_and_its_sender_feels_it() -> None:
    async def test(ends: Ends) -> None:
        ends.proxy.on(Throttle(40_000))
        reader, _ = await ends.connect()
        _, server = await ends.served.get()
        began_s = time.monotonic()
        server.write(b"." * 40_000)
        await reader.readexactly(20_000)
        assert time.monotonic() - began_s >= 0.4
        # More than all buffers on the way hold.
        server.write(b"." * 8_000_000)
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(QUIET_S):
                await server.drain()

    over_sockets(test)


@pytest.mark.parametrize("reset", [False, True])
def test_a_cut_ends_the_next_frame_in_its_middle_and_the_connection_with_it(reset: bool) -> None:
    async def test(ends: Ends) -> None:
        reader, _ = await ends.connect()
        server_reader, server = await ends.served.get()
        server.write(HEAD + frame(b"whole"))
        whole = await reader.readexactly(len(HEAD + frame(b"whole")))
        ends.proxy.on(Cut(reset))
        server.write(frame(b"x" * 1000))
        got = b""
        try:
            got = await reader.read(-1)
            ended = "orderly"
        except ConnectionResetError:
            ended = "reset"
        assert ended == ("reset" if reset else "orderly")
        if not reset:
            meter = FrameMeter()
            meter.feed(whole + got)
            assert meter.inside
            assert 4 < len(got) < 1004
        # The server's side is gone as well.
        with contextlib.suppress(ConnectionResetError):
            assert await server_reader.read(1) == b""
        # The next connection is whole.
        again, _ = await ends.connect()
        _, server_again = await ends.served.get()
        server_again.write(HEAD + frame(b"whole"))
        assert await again.readexactly(len(whole)) == whole

    over_sockets(test)


def test_a_peer_that_vanished_says_nothing_not_even_goodbye_and_its_successor_is_served() -> None:
    async def test(ends: Ends) -> None:
        _, writer = await ends.connect()
        server_reader, _ = await ends.served.get()
        writer.write(b"hello")
        assert await server_reader.readexactly(5) == b"hello"
        ends.proxy.on(HalfOpen())
        writer.write(b"lost")
        writer.close()
        await nothing_comes(server_reader)
        ends.proxy.off()
        await nothing_comes(server_reader)
        _, successor = await ends.connect()
        served, _ = await ends.served.get()
        successor.write(b"hello")
        assert await served.readexactly(5) == b"hello"

    over_sockets(test)


def test_a_black_hole_accepts_and_forwards_nothing_until_it_is_over() -> None:
    async def test(ends: Ends) -> None:
        _, before = await ends.connect()
        server_before, _ = await ends.served.get()
        hole = BlackHole()
        ends.proxy.on(hole)
        _, writer = await ends.connect()
        writer.write(b"hello")
        before.write(b"hello")
        await nothing_comes(server_before)
        assert ends.served.empty()
        ends.proxy.off(hole)
        assert await server_before.readexactly(5) == b"hello"
        served, _ = await ends.served.get()
        assert await served.readexactly(5) == b"hello"

    over_sockets(test)


def test_what_is_idle_is_cut_and_what_moves_is_not() -> None:
    async def test(ends: Ends) -> None:
        ends.proxy.on(IdleCut(0.5))
        idle, _ = await ends.connect()
        await ends.served.get()
        busy, _ = await ends.connect()
        _, server = await ends.served.get()

        async def talk() -> None:
            while True:
                server.write(b".")
                await asyncio.sleep(0.1)

        talking = asyncio.create_task(talk())
        assert await idle.read(-1) == b""
        assert await busy.readexactly(8) == b"." * 8
        assert not busy.at_eof()
        talking.cancel()

    over_sockets(test)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 127, 65_535, 65_536])
@pytest.mark.parametrize("masked", [False, True])
def test_frames_are_measured_whatever_their_size_and_however_they_are_cut(size: int, masked: bool) -> None:
    mask = 0x80 if masked else 0
    if size < 126:
        header = bytes([0x81, mask | size])
    elif size < 2**16:
        header = bytes([0x81, mask | 126]) + struct.pack(">H", size)
    else:
        header = bytes([0x81, mask | 127]) + struct.pack(">Q", size)
    one = header + b"mask" * masked + b"\x81" * size
    stream = HEAD + one * 3
    for step in (1, 7, 4096):
        meter = FrameMeter()
        boundaries = 0
        inside_before = False
        for i in range(0, len(stream), step):
            meter.feed(stream[i : i + step])
            boundaries += inside_before and not meter.inside
            inside_before = meter.inside
        assert not meter.inside
        if step == 1:
            assert boundaries == 3
    meter = FrameMeter()
    meter.feed(HEAD + one + one[: len(one) - 1])
    assert meter.inside
