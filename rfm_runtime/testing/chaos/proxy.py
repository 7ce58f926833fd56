"""A TCP proxy that is a bad network: in front of a gateway's port, faults switched on and off while it runs.

Everything belongs to the event loop that `start` was called in. Needs no privileges.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import socket
import struct
import time
from collections.abc import AsyncIterator, Coroutine, Iterable
from typing import Any, TypeVar

from rfm_runtime.testing.chaos.faults import (
    BlackHole,
    Cut,
    HalfOpen,
    IdleCut,
    Latency,
    NetworkFault,
    Stalls,
    Throttle,
)
from rfm_runtime.testing.chaos.frames import FrameMeter

__all__ = ["FaultProxy"]

T = TypeVar("T")

PIECE_BYTES = 4096
PIECES = 256
"""Under way in one direction of one connection: a megabyte, as in a long pipe; who sends more waits."""

BUFFER_BYTES = 16 * 1024
"""Of the sockets, so that a slow network is felt by who sends, and does not end in the kernel's megabytes."""

LOOK_S = 0.02


class FaultProxy:
    """Forwards connections to host:port, worse than a network should. seed: of jitter and stalls."""

    def __init__(self, host: str, port: int, *, seed: int = 0) -> None:
        self._upstream = (host, port)
        self._rng = random.Random(seed)
        self._faults: list[NetworkFault] = []
        self._server: asyncio.Server | None = None
        self._connections: set[_Connection] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._passable = asyncio.Event()
        self._passable.set()
        self.accepted = 0
        self.forwarded_bytes = 0

    async def start(self) -> int:
        """Listen on a free port of loopback; which one."""
        listener = socket.create_server(("127.0.0.1", 0))
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, BUFFER_BYTES)
        self._server = await asyncio.start_server(self._accepted, sock=listener, limit=PIECE_BYTES)
        port: int = listener.getsockname()[1]
        return port

    async def close(self) -> None:
        """End all connections and stop listening. Idempotent."""
        if self._server is not None:
            self._server.close()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        # A transport is closed in the loop's next turn.
        await asyncio.sleep(0)

    # --- faults -----------------------------------------------------------------------------

    @property
    def faults(self) -> tuple[NetworkFault, ...]:
        """Which are on."""
        return tuple(self._faults)

    def on(self, fault: NetworkFault) -> None:
        """From now on. `HalfOpen` and `Cut` are of the connections there are, each once."""
        if isinstance(fault, HalfOpen):
            for connection in self._connections:
                connection.vanished = True
        elif isinstance(fault, Cut):
            for connection in self._connections:
                connection.cut = fault
        else:
            self._faults.append(fault)
        self._look()

    def off(self, fault: NetworkFault | None = None) -> None:
        """No longer; all of them without an argument. Who has vanished does not come back."""
        if fault is None:
            self._faults.clear()
        elif fault in self._faults:
            self._faults.remove(fault)
        self._look()

    def _look(self) -> None:
        if self._fault(BlackHole) is None:
            self._passable.set()
        else:
            self._passable.clear()

    def _fault(self, kind: type[T]) -> T | None:
        return next((fault for fault in self._faults if isinstance(fault, kind)), None)

    # --- connections ------------------------------------------------------------------------

    async def _accepted(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is not None:
            self._tasks.add(task)
            task.add_done_callback(self._tasks.discard)
        self.accepted += 1
        connection = _Connection(writer)
        self._connections.add(connection)
        try:
            await self._forward(connection, reader)
        except _Ended as fault:
            if fault.reset:
                connection.abort()
        except (OSError, TimeoutError):
            connection.abort()
        except asyncio.CancelledError:
            connection.abort()
        finally:
            self._connections.discard(connection)
            connection.close()

    async def _forward(self, connection: _Connection, reader: asyncio.StreamReader) -> None:
        await self._passable.wait()
        upstream = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        upstream.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
        upstream.setblocking(False)
        try:
            await asyncio.get_running_loop().sock_connect(upstream, self._upstream)
        except OSError:
            upstream.close()
            raise
        server_reader, server = await asyncio.open_connection(sock=upstream, limit=PIECE_BYTES)
        connection.server = server
        out, back = _Line(PIECES), _Line(PIECES)
        async with _together(
            self._read(connection, reader, out),
            self._send(connection, out, server, from_server=False),
            self._read(connection, server_reader, back),
            self._send(connection, back, connection.client, from_server=True),
            self._watch(connection),
        ) as tasks:
            # An end-of-file in one direction leaves the other open; a fault ends both.
            done, _ = await asyncio.wait(tasks, return_when=asyncio.FIRST_EXCEPTION)
            for task in done:
                task.result()

    async def _watch(self, connection: _Connection) -> None:
        """Cut what is idle; ends when both directions have."""
        while connection.open_directions:
            idle = self._fault(IdleCut)
            if idle is not None and time.monotonic() - connection.moved_s >= idle.after_s:
                raise _Ended(reset=False)
            await asyncio.sleep(LOOK_S)

    async def _read(self, connection: _Connection, source: asyncio.StreamReader, line: _Line) -> None:
        due_s, piece = 0.0, b" "
        while piece:
            piece = await source.read(PIECE_BYTES)
            if piece:
                connection.moved_s = time.monotonic()
            due_s = max(due_s, time.monotonic() + self._delay_s())
            await line.put((due_s, piece))

    async def _send(
        self, connection: _Connection, line: _Line, target: asyncio.StreamWriter, *, from_server: bool
    ) -> None:
        meter = FrameMeter()
        while True:
            due_s, piece = await line.get()
            await asyncio.sleep(max(0.0, due_s - time.monotonic()))
            await self._may_pass(connection, len(piece))
            if not piece:
                target.write_eof()
                connection.open_directions -= 1
                return
            cut = connection.cut if from_server else None
            at = meter.feed(piece, cutting=cut is not None)
            target.write(piece if at is None else piece[:at])
            await target.drain()
            self.forwarded_bytes += len(piece)
            if cut is not None and at is not None:
                raise _Ended(reset=cut.reset)

    def _delay_s(self) -> float:
        delay_s = 0.0
        if (latency := self._fault(Latency)) is not None:
            delay_s += max(0.0, latency.delay_s + latency.jitter_s * self._rng.uniform(-1.0, 1.0))
        if (stalls := self._fault(Stalls)) is not None and self._rng.random() < stalls.probability:
            delay_s += stalls.wait_s
        return delay_s

    async def _may_pass(self, connection: _Connection, size_bytes: int) -> None:
        if (throttle := self._fault(Throttle)) is not None:
            await asyncio.sleep(size_bytes / throttle.bytes_per_s)
        if connection.vanished:
            await asyncio.Event().wait()
        await self._passable.wait()


_Line = asyncio.Queue[tuple[float, bytes]]
"""What is under way in one direction, each piece with the time when it is due; an empty one is the end."""


@contextlib.asynccontextmanager
async def _together(*work: Coroutine[Any, Any, None]) -> AsyncIterator[list[asyncio.Task[None]]]:
    """Tasks of which none outlives the block."""
    tasks = [asyncio.create_task(one) for one in work]
    try:
        yield tasks
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class _Ended(Exception):
    """A fault ends the connection."""

    def __init__(self, *, reset: bool) -> None:
        super().__init__("ended by a fault")
        self.reset = reset


class _Connection:
    """One client and its way to the server."""

    def __init__(self, client: asyncio.StreamWriter) -> None:
        self.client = client
        self.server: asyncio.StreamWriter | None = None
        self.vanished = False
        self.cut: Cut | None = None
        self.open_directions = 2
        self.moved_s = time.monotonic()

    @property
    def writers(self) -> Iterable[asyncio.StreamWriter]:
        return [writer for writer in (self.client, self.server) if writer is not None]

    def abort(self) -> None:
        """RST in both directions."""
        for writer in self.writers:
            connected = writer.get_extra_info("socket")
            if connected is not None:
                with contextlib.suppress(OSError):
                    connected.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    def close(self) -> None:
        """FIN in both directions."""
        for writer in self.writers:
            writer.close()
