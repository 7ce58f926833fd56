"""One connection of a gateway before and below its messages: what `websockets` leaves to whoever uses it.

- Whoever has connected says what it wants in time and in few bytes, or is told 408, 414, 431 or 400. How many may be
  silent is decided by `core.sessions.doorstep`.
- Pings and fragments are no messages, so no limit of messages holds them. They are taken at a rate of their own, in
  pieces of what was read: 256 KiB of empty pings would keep everybody waiting for as long as it takes to answer them.
- Pongs go straight into the connection's buffer. Who pings and does not read is cut off before that fills the memory.

Owned by the gateway's loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import http
import socket
import weakref
from collections import Counter
from collections.abc import Callable
from functools import partial
from itertools import count
from typing import Any, Literal

from websockets.asyncio.server import ServerConnection
from websockets.exceptions import HeaderLineTooLong, RequestLineTooLong, TooManyHeaders
from websockets.frames import Frame, Opcode
from websockets.http11 import Request
from websockets.protocol import Event, State

from rfm_runtime.config import Settings
from rfm_runtime.core.sessions.doorstep import Doorstep
from rfm_runtime.core.timing import TokenBucket
from rfm_runtime.gateway import answers
from rfm_runtime.observe.wire import WIRE

__all__ = ["CLOSE_S", "Connection", "Threshold", "options"]

CLOSE_S = 1.0

PONG_LEAST_S = 10.0
"""For the answer to a ping, however often there is one: on a narrow network it waits for what was sent before it."""

HEAD_LIMIT_BYTES = 16 * 1024
"""A request line and its headers: a token, and the cookies of other servers that a browser has for localhost."""

PATH_LIMIT = 2048
"""Characters of a request's path: the longest that means something has 400."""

PIECE_BYTES = 2048
"""Taken at a time of what was read: 350 of the shortest frames, some milliseconds."""

FRAMES_PER_S = 1000.0
"""Pings, pongs and fragments of one connection: honest ones send a few a minute, or a message in a dozen parts."""

FRAMES_BURST = 2000.0

PONGS_LIMIT_BYTES = 64 * 1024
"""Of pongs that nobody reads."""

FLUSH_S = 1.0
"""For the last answer to leave."""

SLOWEST_BYTES_PER_S = 10_000
"""Who reads an answer more slowly is cut off."""

_COUNTED = (Opcode.PING, Opcode.PONG, Opcode.CONT)


def options(settings: Settings, threshold: Threshold) -> dict[str, Any]:
    """How a gateway uses the library, as arguments of `websockets.asyncio.server.serve`."""
    return {
        "compression": None,
        "max_size": settings.inbound_limit_bytes,
        "ping_interval": settings.heartbeat_s,
        "ping_timeout": max(settings.heartbeat_s, PONG_LEAST_S),
        "close_timeout": CLOSE_S,
        # Each has a timer of its own until its request is there, and one for the answer to be read.
        "open_timeout": None,
        "create_connection": partial(Connection, threshold),
        # Writes are paced by the core; this is only where the transport begins to say "full".
        "write_limit": settings.write_limit_bytes,
        "server_header": None,
        "logger": WIRE,
    }


class Threshold:
    """What connections of one gateway share until they have said what they want. timeout_s: for that."""

    def __init__(self, doorstep: Doorstep, counts: Counter[str], timeout_s: float) -> None:
        self.counts = counts
        self.timeout_s = timeout_s
        self._doorstep = doorstep
        self._numbers = count()
        self._silent: dict[int, weakref.ref[socket.socket]] = {}
        self._number_of: dict[int, int] = {}

    def came(self, accepted: socket.socket, address: str) -> None:
        """It waits here from its TLS handshake on. Another one may have to go for it."""
        number = next(self._numbers)
        self._silent[number] = weakref.ref(accepted)
        self._number_of[accepted.fileno()] = number
        # A TLS handshake that fails is told to nobody: the socket is let go of, and that is all.
        weakref.finalize(accepted, self.left, number).atexit = False
        gone = self._doorstep.came(number, address)
        if gone is None:
            return
        self.counts["refused_silent"] += 1
        oldest = self._silent.pop(gone)()
        if oldest is not None:
            with contextlib.suppress(OSError):
                oldest.shutdown(socket.SHUT_RDWR)

    def number_of(self, transport: asyncio.BaseTransport) -> int | None:
        """Of a connection whose TLS handshake is made, or that needs none."""
        accepted = transport.get_extra_info("socket")
        return None if accepted is None else self._number_of.pop(accepted.fileno(), None)

    def left(self, number: int | None) -> None:
        """It has said what it wants, or is gone. Idempotent."""
        if number is not None:
            self._doorstep.left(number)
            self._silent.pop(number, None)


class Connection(ServerConnection):
    """See the module. `on_lost` are called once when it is gone."""

    def __init__(self, threshold: Threshold, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.on_lost: list[Callable[[], None]] = []
        self._threshold = threshold
        self._number: int | None = None
        self._head_bytes = 0
        self._refused = False
        self._late: asyncio.TimerHandle | None = None
        # What was read and not taken yet, from `_at` on; nothing is read meanwhile.
        self._read = b""
        self._at = 0
        self._next: asyncio.Handle | None = None
        self._held: set[Literal["messages", "pieces"]] = set()
        self._counted = 0
        self._frames = TokenBucket.full(FRAMES_PER_S, FRAMES_BURST, self.loop.time())
        self._pong_bytes = 0
        self._below: asyncio.WriteTransport | None = None

    @property
    def unsent_bytes(self) -> int:
        """What waits in this process for the peer to read. Below TLS there is another buffer, of 64 KiB and more."""
        below = self._below
        return self.transport.get_write_buffer_size() + (0 if below is None else below.get_write_buffer_size())

    @property
    def address(self) -> str:
        """Of the peer, without its port."""
        return str(self.remote_address[0]) if self.remote_address else "local"

    @property
    def secure(self) -> bool:
        """Whether it is under TLS."""
        return self.transport.get_extra_info("ssl_object") is not None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """As asyncio says."""
        super().connection_made(transport)
        # Asyncio counts only what TLS has not taken yet, and names the transport below nowhere else.
        self._below = getattr(getattr(transport, "_ssl_protocol", None), "_transport", None)
        self.recv_messages.pause = partial(self._hold, "messages")
        self.recv_messages.resume = partial(self._release, "messages")
        self._late = self.loop.call_later(
            self._threshold.timeout_s, self._refuse, http.HTTPStatus.REQUEST_TIMEOUT, "no request in time"
        )
        self._number = self._threshold.number_of(transport)

    def connection_lost(self, exc: Exception | None) -> None:
        """As asyncio says."""
        self._said()
        self._read = b""
        if self._next is not None:
            self._next.cancel()
        super().connection_lost(exc)
        for told in self.on_lost:
            told()
        self.on_lost.clear()

    def _said(self) -> None:
        """What it wants; or it is gone."""
        self._threshold.left(self._number)
        if self._late is not None:
            self._late.cancel()
            self._late = None

    # --- before its request -----------------------------------------------------------------

    def process_event(self, event: Event) -> None:
        """As the library says."""
        if isinstance(event, Request):
            self._said()
        elif isinstance(event, Frame) and event.opcode in _COUNTED:
            self._counted += 1
        super().process_event(event)

    def send_data(self) -> None:
        """As the library says; its own answers to what is no request have no headers, or are none."""
        error = self.protocol.handshake_exc
        if self.request is not None or error is None:
            super().send_data()
            return
        self.protocol.data_to_send()
        if isinstance(error.__cause__, EOFError):
            # It has gone before it said anything.
            self.transport.close()
            return
        match error:
            case RequestLineTooLong():
                self._refuse(http.HTTPStatus.REQUEST_URI_TOO_LONG, "the request line is too long")
            case HeaderLineTooLong() | TooManyHeaders():
                self._refuse(http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too many headers, or too long")
            case _:
                self._refuse(http.HTTPStatus.BAD_REQUEST, "not a GET request without a body")

    def _refuse(self, status: http.HTTPStatus, why: str) -> None:
        """The last answer to a peer whose request is none, or has not come."""
        if self._refused or self.transport.is_closing():
            return
        self._refused = True
        self._threshold.counts[f"refused_{status.value}"] += 1
        response = answers.plain(status, f"{why}\n")
        answers.harden(response, secure=self.secure, host=None)
        self.transport.write(response.serialize())
        if self.transport.can_write_eof():
            # What it goes on to send is thrown away: closed at once, the system would throw away the answer as well.
            self.transport.write_eof()
            self.transport.resume_reading()
            self.loop.call_later(FLUSH_S, self.transport.abort)
        else:
            self.transport.close()

    def answers(self, body_bytes: int) -> None:
        """An answer of that length is about to be sent: how long it may take to be read."""
        self.close_timeout = FLUSH_S + body_bytes / SLOWEST_BYTES_PER_S
        self._late = self.loop.call_later(self.close_timeout, self.transport.abort)

    def put(self, data: bytes, *, text: bool) -> None:
        """A message into its buffer, without waiting: what `websockets.broadcast` does for one connection.

        Nothing if it is closing: a peer may do that at any moment.
        """
        if self.protocol.state is not State.OPEN:
            return
        if text:
            self.protocol.send_text(data)
        else:
            self.protocol.send_binary(data)
        self.send_data()

    # --- reading ----------------------------------------------------------------------------

    def data_received(self, data: bytes) -> None:
        """As asyncio says."""
        if self._refused:
            return
        self._read, self._at = (self._read[self._at :] + data, 0) if self._read else (data, 0)
        if self._next is None:
            self._take()
        if self._read:
            self._hold("pieces")

    def eof_received(self) -> None:
        """As asyncio says; what came before it was said before it."""
        while self._read and not self._refused:
            self._piece()
        super().eof_received()

    def _take(self) -> None:
        """The next piece, unless messages wait to be handled; then let others have their turn."""
        self._next = None
        if "messages" in self._held:
            return
        wait_s = 0.0
        if self._read:
            self._piece()
            wait_s = self._charged()
        if self._read or wait_s > 0.0:
            self._hold("pieces")
            later = self.loop.call_later(wait_s, self._take) if wait_s > 0.0 else self.loop.call_soon(self._take)
            self._next = later
        elif "pieces" in self._held:
            self._release("pieces")

    def _piece(self) -> None:
        end = self._at + PIECE_BYTES
        piece = self._read if len(self._read) <= PIECE_BYTES else self._read[self._at : end]
        self._at = end
        if end >= len(self._read):
            self._read, self._at = b"", 0
        if self.request is None:
            self._head_bytes += len(piece)
        before = self.unsent_bytes
        super().data_received(piece)
        # Whatever else is written is not written from here.
        unread = self.unsent_bytes
        self._pong_bytes = self._pong_bytes + max(0, unread - before) if unread else 0
        if self.request is None and self._head_bytes > HEAD_LIMIT_BYTES:
            self._refuse(http.HTTPStatus.REQUEST_HEADER_FIELDS_TOO_LARGE, "too many headers, or too long")
        if self._pong_bytes > PONGS_LIMIT_BYTES:
            self._threshold.counts["cut_unread_pongs"] += 1
            self._read = b""
            self.transport.abort()

    def _charged(self) -> float:
        """Seconds until what it has sent besides messages is paid for."""
        if self._counted:
            self._frames = self._frames.charge(self._counted, self.loop.time())
            self._counted = 0
            if self._frames.tokens < 0.0:
                self._threshold.counts["slowed_frames"] += 1
                return -self._frames.tokens / FRAMES_PER_S
        return 0.0

    def _hold(self, why: Literal["messages", "pieces"]) -> None:
        self._held.add(why)
        self.transport.pause_reading()

    def _release(self, why: Literal["messages", "pieces"]) -> None:
        self._held.discard(why)
        if not self._held:
            self.transport.resume_reading()
        elif "messages" not in self._held and self._next is None:
            self._next = self.loop.call_soon(self._take)
