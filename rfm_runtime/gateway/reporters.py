"""Lines to the broker for programs that report through this gateway: one of its own for each, as the broker expects.

Owned by the gateway's loop. What is said on them is decided by `core.sessions.reporting`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial

import zmq
from msgspec import Struct

from rfm_runtime.config import Endpoints
from rfm_runtime.errors import RfmError, UnavailableError
from rfm_runtime.observe import logs
from rfm_runtime.observe.garbage import Garbage
from rfm_runtime.protocol.internal import (
    Ack,
    Announce,
    Assign,
    ControlFrame,
    OperationMeasure,
    OwnerHeartbeat,
    OwnerHello,
    OwnerWelcome,
    Source,
    pack_progress,
    unpack,
)
from rfm_runtime.protocol.keys import Towards
from rfm_runtime.transport import sockets
from rfm_runtime.transport.drain import Drain
from rfm_runtime.transport.rpc import Rpc

__all__ = ["Reporters"]

log = logs.get("gateway")

REQUEST_S = 5.0

_ANSWERS: dict[type[Struct], type[Struct]] = {OwnerHello: OwnerWelcome, Announce: Assign}


class Reporters:
    """By session. on_push: told the broker's one-way messages; on_control: the cancel set, once anybody reports."""

    def __init__(
        self,
        context: zmq.Context[zmq.Socket[bytes]],
        endpoints: Endpoints,
        towards: Towards | None,
        *,
        on_push: Callable[[int, Struct], None],
        on_control: Callable[[ControlFrame], None],
        garbage: Garbage,
    ) -> None:
        self._context = context
        self._endpoints = endpoints
        self._towards = towards
        self._on_push = on_push
        self._on_control = on_control
        self._garbage = garbage
        self._loop = asyncio.get_running_loop()
        self._lines: dict[int, Rpc] = {}
        self._unsent: dict[int, OperationMeasure] = {}
        self._control: Drain | None = None
        self._ingest: zmq.Socket[bytes] | None = None

    def _line(self, session: int) -> Rpc:
        line = self._lines.get(session)
        if line is None:
            if self._control is None:
                control = sockets.control_subscriber(self._context, self._endpoints.control, self._towards)
                self._control = Drain(self._loop, control, self._controlled)
                self._ingest = sockets.ingest_push(self._context, self._endpoints.ingest, self._towards)
            dealer = sockets.command_dealer(self._context, self._endpoints.command, self._towards)
            line = self._lines[session] = Rpc(
                self._loop,
                dealer,
                on_push=partial(self._on_push, session),
                on_garbage=partial(self._garbage.found, "reporter"),
            )
        return line

    async def ask(self, session: int, message: Struct) -> Struct:
        """The broker's answer. Raises RfmError."""
        try:
            line = self._line(session)
        except zmq.ZMQError as error:
            # No socket or descriptor left.
            log.warning("no_line", error=str(error))
            raise UnavailableError("this gateway cannot take another program", retry_after_s=5.0) from None
        answer: Struct = await line.request(message, _ANSWERS.get(type(message), Ack), timeout_s=REQUEST_S)
        return answer

    def push(self, handle: int, measure: OperationMeasure) -> None:
        """Pass a measure on, or keep it until the broker takes it or a newer one comes."""
        if self._ingest is None:
            return
        self._unsent.pop(handle, None)
        try:
            self._ingest.send(pack_progress(handle, 0, measure), zmq.NOBLOCK)
        except zmq.Again:
            self._unsent[handle] = measure

    def push_again(self) -> None:
        """What was not taken; at each tick."""
        for handle, measure in list(self._unsent.items()):
            self.push(handle, measure)

    def connect_again(self) -> None:
        """The broker has been silent for long."""
        for line in self._lines.values():
            line.connect_again(self._endpoints.command)
        if self._control is not None and self._ingest is not None:
            self._control.connect_again(self._endpoints.control)
            sockets.connect_again(self._ingest, self._endpoints.ingest)

    def beat(self, session: int, source: Source, operations: int) -> None:
        """Its program lives."""
        line = self._lines.get(session)
        if line is not None:
            line.push(OwnerHeartbeat(source, operations))

    def drop(self, session: int) -> None:
        """The connection is gone; whether its program is, shows when its lease ends."""
        line = self._lines.pop(session, None)
        if line is not None:
            line.close()

    def close(self) -> None:
        """Close all. Idempotent."""
        for session in list(self._lines):
            self.drop(session)
        if self._control is not None and self._ingest is not None:
            self._control.close()
            self._ingest.close()
            self._control = self._ingest = None

    def _controlled(self, frames: list[bytes]) -> None:
        try:
            frame = unpack(frames)
        except RfmError as error:
            self._garbage.found("control", error)
            return
        if isinstance(frame, ControlFrame):
            self._on_control(frame)
