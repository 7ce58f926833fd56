"""Requests with replies over a DEALER socket, in asyncio: the asker's side of `command` and `data`."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Callable
from typing import TypeVar

import zmq
from msgspec import Struct

from rfm_runtime.errors import InternalError, RfmError, UnavailableError
from rfm_runtime.protocol.internal import Reply, pack, pack_request, unpack, unpack_body
from rfm_runtime.transport.drain import Drain

__all__ = ["Rpc"]

T = TypeVar("T", bound=Struct)


class Rpc:
    """Many requests at once; replies are matched by number, in any order.

    on_push: called with one-way messages of the peer (an owner's `Assign`, …). Owned by the loop's thread.
    """

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        socket: zmq.Socket[bytes],
        *,
        on_push: Callable[[Struct], None] | None = None,
        on_garbage: Callable[[RfmError], None] | None = None,
    ) -> None:
        self._loop = loop
        self._numbers = itertools.count(1)
        self._waiting: dict[int, asyncio.Future[Struct]] = {}
        self._on_push = on_push
        self._on_garbage = on_garbage
        self._drain = Drain(loop, socket, self._received)

    async def request(self, message: Struct, reply: type[T], *, timeout_s: float) -> T:
        """The peer's answer, of type `reply`. Raises the peer's error, or UnavailableError after `timeout_s`.

        A time-out says nothing about whether the request was carried out.
        """
        number = next(self._numbers)
        future: asyncio.Future[Struct] = self._loop.create_future()
        self._waiting[number] = future
        try:
            try:
                self._drain.send(pack_request(number, message))
            except zmq.ZMQError as error:
                raise UnavailableError(f"cannot send {type(message).__name__}: {error}") from None
            async with asyncio.timeout(timeout_s):
                answer = await future
        except TimeoutError:
            raise UnavailableError(
                f"no answer to {type(message).__name__} within {timeout_s:g} s",
                hint="see `rfm-runtime status`; repeating the request is safe",
            ) from None
        finally:
            self._waiting.pop(number, None)
        if not isinstance(answer, reply):
            raise InternalError(f"{type(message).__name__} was answered with {type(answer).__name__}")
        return answer

    def push(self, message: Struct) -> bool:
        """A one-way message; False if the queue is full."""
        try:
            self._drain.send(pack(message))
        except zmq.ZMQError:
            return False
        return True

    def connect_again(self, endpoint: str) -> None:
        """Give up the connection, with requests that wait for it, and make it anew."""
        self._drain.connect_again(endpoint)

    def close(self) -> None:
        """Close the socket; requests under way get UnavailableError. Idempotent."""
        self._drain.close()
        for future in self._waiting.values():
            if not future.done():
                future.set_exception(UnavailableError("the connection to the peer was closed"))

    def _received(self, frames: list[bytes]) -> None:
        try:
            message = unpack(frames)
            if not isinstance(message, Reply):
                if self._on_push is not None:
                    self._on_push(message)
                return
            future = self._waiting.get(message.id)
            if future is None or future.done():
                return
            if message.error is not None:
                future.set_exception(message.error.to_exception())
                return
            try:
                future.set_result(unpack_body(message))
            except RfmError as error:
                # Whoever asked is told now, not when the time is out.
                future.set_exception(InternalError(f"the answer cannot be read: {error.message}"))
                raise
        except RfmError as error:
            if self._on_garbage is None:
                raise
            self._on_garbage(error)
