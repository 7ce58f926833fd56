"""Reporting to the runtime of this machine: the broker's own sockets."""

from __future__ import annotations

import asyncio
import logging

import zmq

from rfm_runtime.client.reporting.carrier import Listener
from rfm_runtime.config import Folders
from rfm_runtime.core.reporting.desk import Progress
from rfm_runtime.errors import RfmError
from rfm_runtime.protocol.internal import (
    Ack,
    Announce,
    Assign,
    HeldOperation,
    Outcome,
    OwnerHeartbeat,
    OwnerHello,
    OwnerWelcome,
    PauseState,
    Source,
    pack_progress,
    unpack,
)
from rfm_runtime.transport import sockets
from rfm_runtime.transport.drain import Drain
from rfm_runtime.transport.rpc import Rpc

__all__ = ["Nearby"]

log = logging.getLogger("rfm_runtime")

REQUEST_S = 1.0


class Nearby:
    """Sockets to one runtime."""

    def __init__(self, listener: Listener, loop: asyncio.AbstractEventLoop, source: Source, found: Folders) -> None:
        self.is_over = False
        self._listener = listener
        self._source = source
        # What the broker did not take, until it does: no newer one may come for long.
        self._unsent: dict[str, Progress] = {}
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        command = sockets.command_dealer(self._context, found.endpoint("command"))
        self._rpc = Rpc(loop, command, on_push=listener.handle, on_garbage=_garbage)
        control = sockets.control_subscriber(self._context, found.endpoint("control"))
        self._control = Drain(loop, control, self._controlled)
        self._ingest = sockets.ingest_push(self._context, found.endpoint("ingest"))

    async def hello(self, held: tuple[HeldOperation, ...]) -> OwnerWelcome:
        """As `Carrier` says."""
        hello = OwnerHello(source=self._source, role="reporter", kinds=(), location=None, slots=0, workers=0, held=held)
        return await self._rpc.request(hello, OwnerWelcome, timeout_s=REQUEST_S)

    async def ask(self, message: Announce | Outcome | PauseState) -> Assign | Ack:
        """As `Carrier` says."""
        if isinstance(message, Announce):
            return await self._rpc.request(message, Assign, timeout_s=REQUEST_S)
        return await self._rpc.request(message, Ack, timeout_s=REQUEST_S)

    def push(self, progress: Progress) -> None:
        """As `Carrier` says."""
        self._unsent.pop(progress.operation_id, None)
        try:
            self._ingest.send(pack_progress(progress.handle, 0, progress.measure), zmq.NOBLOCK)
        except zmq.Again:
            self._unsent[progress.operation_id] = progress

    def beat(self, operations: int) -> None:
        """As `Carrier` says."""
        self._rpc.push(OwnerHeartbeat(self._source, operations))
        for progress in list(self._unsent.values()):
            self.push(progress)

    async def close(self) -> None:
        """As `Carrier` says."""
        self._rpc.close()
        self._control.close()
        self._ingest.close()
        self._context.term()

    def _controlled(self, frames: list[bytes]) -> None:
        """The cancel set, or a new broker's word."""
        try:
            self._listener.handle(unpack(frames))
        except RfmError as error:
            _garbage(error)


def _garbage(error: RfmError) -> None:
    log.debug("the broker said something that cannot be read: %s", error)
