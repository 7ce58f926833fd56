"""CURVE between hosts on real sockets: who is let in, who is cut off, and what becomes of garbage."""

from __future__ import annotations

import asyncio
import contextlib
import socket
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
import zmq

from rfm_runtime.config.endpoints import Address
from rfm_runtime.errors import InsecureBindError, PortTakenError, StartError
from rfm_runtime.protocol.keys import KeyPair, Towards
from rfm_runtime.security import curve_keys
from rfm_runtime.testing.hosts import free_ports
from rfm_runtime.testing.runtime import eventually
from rfm_runtime.transport import sockets
from rfm_runtime.transport.drain import Drain
from rfm_runtime.transport.hosts import Entrance, Hosts

pytestmark = [pytest.mark.integration, pytest.mark.scenario("G9", "J65")]

Context = zmq.Context[zmq.Socket[bytes]]


class Echo:
    """A guarded ROUTER, on ipc and tcp, that sends everything back; what was refused, and what was to be logged."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.context: Context = zmq.Context()
        self.near = f"ipc://{folder}/echo.sock"
        self.far = Address("127.0.0.1", free_ports(1)).endpoint()
        curve_keys.init(folder / "keys")
        self.own = curve_keys.own_pair(folder / "keys")
        self.counts: Counter[str] = Counter()
        self.said: list[str] = []
        self.ends: list[zmq.Socket[bytes]] = []

    def count(self, what: str) -> None:
        self.counts[what] += 1

    def back(self, frames: list[bytes]) -> None:
        self.drain.send(frames)

    @asynccontextmanager
    async def open(self) -> AsyncIterator[None]:
        loop = asyncio.get_running_loop()
        router = sockets.command_router(self.context, self.near)
        drain = self.drain = Drain(loop, router, self.back)
        hosts = Hosts(
            loop,
            self.context,
            Entrance(self.own, curve_keys.AllowList(self.folder / "keys")),
            on_count=self.count,
            on_say=lambda event, _: self.said.append(event),
        )
        hosts.open(router, self.far, drain.kick)
        try:
            yield
        finally:
            for end in self.ends:
                end.close(0)
            hosts.close()
            drain.close()
            self.context.term()

    def connect(self, endpoint: str, towards: Towards | None) -> zmq.Socket[bytes]:
        end = sockets.command_dealer(self.context, endpoint, towards)
        self.ends.append(end)
        return end

    def stranger(self, name: str) -> Towards:
        """A host with keys of its own; whether it is allowed is for the test to say."""
        curve_keys.init(self.folder / name)
        return Towards(curve_keys.own_pair(self.folder / name), self.own.public)

    def allow(self, name: str, towards: Towards) -> None:
        curve_keys.allow(self.folder / "keys", name, towards.own.public.hex())


async def answered(end: zmq.Socket[bytes], word: bytes, timeout_s: float = 10.0) -> bool:
    """Whether the word comes back, which is said again until then: what a lost connection had in hand is lost."""
    loop = asyncio.get_running_loop()
    until_s = loop.time() + timeout_s
    while loop.time() < until_s:
        end.send(word)
        if await asyncio.to_thread(end.poll, 100):
            while end.poll(0):
                last = end.recv()
            return last == word
    return False


async def until(condition: Callable[[], bool]) -> None:
    await asyncio.to_thread(eventually, condition)


def play(echo: Echo, run: Callable[[], Awaitable[None]]) -> None:
    async def whole() -> None:
        async with echo.open():
            await run()

    asyncio.run(whole())


@pytest.fixture
def echo(tmp_path: Path) -> Echo:
    return Echo(tmp_path)


def test_an_allowed_host_is_let_in_and_this_host_needs_no_key(echo: Echo) -> None:
    left = echo.stranger("left")
    echo.allow("left", left)

    async def run() -> None:
        assert await answered(echo.connect(echo.far, left), b"far")
        assert await answered(echo.connect(echo.near, None), b"near")
        assert await answered(echo.connect(echo.far, Towards(echo.own, echo.own.public)), b"own")
        assert echo.counts["refused"] == 0

    play(echo, run)


def test_a_host_that_is_not_allowed_is_refused_and_counted_and_let_in_once_it_is(echo: Echo) -> None:
    left = echo.stranger("left")

    async def run() -> None:
        end = echo.connect(echo.far, left)
        end.send(b"too early")
        await until(lambda: echo.counts["refused"] > 0)
        assert not end.poll(300)
        assert echo.said == ["host_refused"]
        echo.allow("left", left)
        assert await answered(end, b"now")

    play(echo, run)


def test_a_revoked_host_is_cut_off_and_the_others_are_not(echo: Echo) -> None:
    left, right = echo.stranger("left"), echo.stranger("right")
    echo.allow("left", left)
    echo.allow("right", right)

    async def run() -> None:
        ends = [echo.connect(echo.far, left), echo.connect(echo.far, right), echo.connect(echo.near, None)]
        for end in ends:
            assert await answered(end, b"before")
        curve_keys.revoke(echo.folder / "keys", "left")
        await until(lambda: echo.counts["refused"] > 0)
        assert not await answered(ends[0], b"after", timeout_s=0.5)
        assert await answered(ends[1], b"after")
        assert await answered(ends[2], b"after")

    play(echo, run)


def test_an_impostor_learns_nothing_and_gets_nothing(echo: Echo) -> None:
    """Whoever sits at the broker's address without its key: nobody speaks to it, and it cannot speak to us."""
    left = echo.stranger("left")
    echo.allow("left", left)
    other = echo.stranger("other").own.public

    async def run() -> None:
        deceived = echo.connect(echo.far, Towards(left.own, other))
        deceived.send(b"secret")
        await until(lambda: echo.counts["failed"] > 0)
        assert not deceived.poll(300)
        plain = echo.connect(echo.far, None)
        plain.send(b"plain")
        assert not plain.poll(500)
        assert await answered(echo.connect(echo.far, left), b"others go on")

    play(echo, run)


def test_bytes_that_are_no_zeromq_are_counted_and_harm_nobody(echo: Echo) -> None:
    left = echo.stranger("left")
    echo.allow("left", left)
    port = int(echo.far.rpartition(":")[2])

    async def run() -> None:
        good = echo.connect(echo.far, left)
        assert await answered(good, b"before")
        for garbage in (
            b"GET / HTTP/1.1\r\n\r\n" * 10,
            b"\xff" * 100,
            b"\xff" + b"\0" * 8 + b"\x7f\x03\x00" + b"A" * 200,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(garbage)
            await writer.drain()
            # Given up by the other side: at once, or when the time for a handshake is over.
            async with asyncio.timeout(10):
                with contextlib.suppress(ConnectionResetError):
                    while await reader.read(1000):
                        pass
            writer.close()
        await until(lambda: echo.counts["ended"] >= 3)
        assert await answered(good, b"after")
        assert (echo.counts["accepted"], echo.counts["welcomed"], echo.counts["ended"]) == (4, 1, 3)

    play(echo, run)


def test_an_address_is_said_to_be_taken_or_none_of_ours(echo: Echo) -> None:
    async def run() -> None:
        with socket.create_server(("127.0.0.1", 0)) as holder:
            router = sockets.command_router(echo.context, f"{echo.near}2")
            echo.ends.append(router)
            sockets.guard(router, echo.own)
            with pytest.raises(PortTakenError):
                sockets.listen(router, f"tcp://127.0.0.1:{holder.getsockname()[1]}")
            with pytest.raises(StartError, match="cannot listen"):
                sockets.listen(router, "tcp://192.0.2.1:9")

    play(echo, run)


@pytest.mark.parametrize("connect", [sockets.command_dealer, sockets.feed_subscriber, sockets.ingest_push])
def test_plain_tcp_to_another_host_is_refused(connect: Callable[..., zmq.Socket[bytes]]) -> None:
    context: Context = zmq.Context()
    try:
        with pytest.raises(InsecureBindError) as caught:
            connect(context, "tcp://192.0.2.1:8770")
        assert "rfm-runtime keys init" in (caught.value.hint or "")
    finally:
        context.term()


def test_a_pair_of_keys_is_what_zeromq_takes_it_for(tmp_path: Path) -> None:
    public = curve_keys.init(tmp_path / "keys")
    pair = curve_keys.own_pair(tmp_path / "keys")
    assert pair == KeyPair(public, pair.secret)
    assert {len(pair.public), len(pair.secret)} == {32}
