"""The line to the local broker, in its background thread: looks at operations, carries out the desk's commands.

A thin shell around `core.reporting.Desk`: ten times a second it samples what lives; once a second it looks whether
a runtime is there. Without one it shows the local bars.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import secrets
import time
import weakref
from collections.abc import Coroutine
from typing import Any

import zmq
from msgspec import Struct

from rfm_runtime.client.connection_file import ConnectionInfo
from rfm_runtime.client.reporting.bars import Bars
from rfm_runtime.client.reporting.session import Reported, Session
from rfm_runtime.config import Folders, folders, load
from rfm_runtime.core.reporting.desk import (
    Answered,
    Ask,
    Begin,
    Desk,
    End,
    GivenUp,
    Hello,
    Lost,
    Measure,
    Progress,
    Refused,
    Settled,
    Tell,
    Tick,
)
from rfm_runtime.errors import InternalError, RfmError
from rfm_runtime.observe.alive import source
from rfm_runtime.protocol.internal import (
    Ack,
    Announce,
    Assign,
    OwnerHeartbeat,
    OwnerHello,
    OwnerWelcome,
    pack_progress,
    unpack,
)
from rfm_runtime.transport import sockets
from rfm_runtime.transport.drain import Drain
from rfm_runtime.transport.rpc import Rpc

__all__ = ["Line"]

log = logging.getLogger("rfm_runtime")

TICK_S = 0.1
"""People see no difference to less, and the program does not feel it."""

SECOND_S = 1.0
"""Between two heartbeats, and two looks whether a runtime is there, or still is."""

IDLE_S = 5.0
"""A program that reports nothing for so long leaves the broker alone until it does again."""

REQUEST_S = 1.0


class _Connection:
    """Sockets to one runtime."""

    def __init__(self, line: Line, loop: asyncio.AbstractEventLoop, found: Folders) -> None:
        self._context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        command = sockets.command_dealer(self._context, found.endpoint("command"))
        self.rpc = Rpc(loop, command, on_push=line.handle, on_garbage=_garbage)
        control = sockets.control_subscriber(self._context, found.endpoint("control"))
        self._control = Drain(loop, control, line.on_control)
        self.ingest = sockets.ingest_push(self._context, found.endpoint("ingest"))

    def close(self) -> None:
        self.rpc.close()
        self._control.close()
        self.ingest.close()
        self._context.term()


class Line:
    """Everything happens in its thread's loop."""

    def __init__(self, session: Session) -> None:
        self._session = session
        self._desk = Desk()
        # Who drops an operation without a word is found out: only the program keeps it alive.
        self._live: weakref.WeakValueDictionary[str, Reported] = weakref.WeakValueDictionary()
        self._bars = Bars()
        # A name of its own for each: a forked child must not be taken for its parent.
        self._source = source(f"reporter-{session.pid}-{secrets.token_hex(4)}", 1)
        self._connection: _Connection | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._greeting = False
        self._second_s = -SECOND_S

    def run(self) -> None:
        """Until the program ends."""
        asyncio.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._awake = asyncio.Event()
        self._session.wake = lambda: self._loop.call_soon_threadsafe(self._awake.set)
        while not self._session.ending:
            try:
                await self._turn()
            except Exception:
                self._session.warn("turn", "progress could not be reported for a moment; the program goes on")
                log.debug("a turn of the reporting thread failed", exc_info=True)
                await asyncio.sleep(TICK_S)
        self._hear()
        self._bars.close()
        self._disconnect()
        self._session.ended.set()

    # --- the program ------------------------------------------------------------------------

    async def _turn(self) -> None:
        self._session.decide(time.monotonic())
        self._hear()
        self._session.turned()
        if not self._desk.reports:
            self._bars.close()
            self._session.idle = True
            if self._connection is None or not await self._sleep(IDLE_S):
                self._disconnect()
                await self._sleep(None)
            self._session.idle = False
            return
        now_s = time.monotonic()
        if now_s - self._second_s >= SECOND_S:
            self._second_s = now_s
            self._look()
        for operation in list(self._live.values()):
            try:
                measure = operation.sample()
            except Exception:
                # One that cannot be looked at is no reason to leave the others out.
                log.debug("%s cannot be sampled", operation.operation_id, exc_info=True)
                continue
            if measure is not None:
                self.handle(Measure(operation.operation_id, measure))
                self._bars.show(operation, measure)
        self.handle(Tick())
        self._bars.draw(seen=self._session.connected)
        await self._sleep(TICK_S)

    async def _sleep(self, for_s: float | None) -> bool:
        """Until then, or until the program says something; whether it did."""
        self._awake.clear()
        if self._session.words or self._session.ending:
            return True
        try:
            async with asyncio.timeout(for_s):
                await self._awake.wait()
        except TimeoutError:
            return False
        return True

    def _hear(self) -> None:
        while self._session.words:
            operation, message = self._session.words.popleft()
            if isinstance(message, Begin):
                self._live[operation.operation_id] = operation
                self._bars.show(operation, message.announce.measure)
            elif isinstance(message, End):
                self._live.pop(operation.operation_id, None)
                self._bars.end(operation, message)
            known = operation.operation_id in self._desk.reports
            self.handle(message)
            if isinstance(message, End) and not known:
                # The broker did not want it.
                self._session.settle()

    # --- the broker -------------------------------------------------------------------------

    def _look(self) -> None:
        """Connect if a runtime is there, and disconnect if it is gone."""
        try:
            found = folders(load().settings)
            ConnectionInfo.read(found.connection)
        except RfmError as error:
            if self._connection is None and any(operation.bar is not False for operation in self._live.values()):
                self._session.warn("runtime", f"{error.message}: progress is shown in this program alone")
            self._disconnect()
            self._session.found(False, connected=False)
            return
        if self._connection is None:
            self._session.found(True, connected=False)
            self._connection = _Connection(self, self._loop, found)
            self._greet()
        elif self._session.connected:
            self._connection.rpc.push(OwnerHeartbeat(self._source, len(self._live)))

    def _disconnect(self) -> None:
        if self._connection is None:
            return
        self._session.found(False, connected=False)
        for task in self._tasks:
            task.cancel()
        self._greeting = False
        self._connection.close()
        self._connection = None
        self.handle(Lost())

    def on_control(self, frames: list[bytes]) -> None:
        """The cancel set, or a new broker's word."""
        try:
            self.handle(unpack(frames))
        except RfmError as error:
            _garbage(error)

    def handle(self, message: Struct) -> None:
        """Tell the desk, and carry out what it asks for."""
        for command in self._desk.handle(message, time.monotonic()):
            match command:
                case Hello():
                    self._greet()
                case Ask():
                    self._spawn(self._ask(command))
                case Progress():
                    self._push(command)
                case Tell():
                    operation = self._live.get(command.operation_id)
                    if operation is not None:
                        operation.told(cancel=command.cancel, pause=command.pause)
                case Settled():
                    self._session.settle()
                case GivenUp():
                    log.debug("%s is given up: %s", command.operation_id, command.reason)
                    self._session.warn(
                        "given up", f"an operation is not reported (others may follow it): {command.reason}"
                    )
                    if command.operation_id not in self._live:
                        self._session.settle()

    def _push(self, progress: Progress) -> None:
        if self._connection is not None:
            # Nobody takes it now: progress is cumulative, the next one says it all.
            with contextlib.suppress(zmq.Again):
                self._connection.ingest.send(pack_progress(progress.handle, 0, progress.measure), zmq.NOBLOCK)

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, ask: Ask) -> None:
        if self._connection is None:
            return
        reply = Assign if isinstance(ask.message, Announce) else Ack
        try:
            answer: Struct = await self._connection.rpc.request(ask.message, reply, timeout_s=REQUEST_S)
        except RfmError as error:
            self.handle(Refused(ask, error))
            return
        except Exception as error:
            # It cannot even be sent: never again.
            log.debug("a request failed", exc_info=True)
            self.handle(Refused(ask, InternalError(f"it cannot be told: {type(error).__name__}")))
            return
        self.handle(Answered(ask, answer))

    def _greet(self) -> None:
        if not self._greeting and self._connection is not None:
            self._greeting = True
            self._spawn(self._hello(self._connection))

    async def _hello(self, connection: _Connection) -> None:
        """Until it is answered, or the runtime is gone."""
        while connection is self._connection:
            hello = OwnerHello(
                source=self._source,
                role="reporter",
                kinds=(),
                location=None,
                slots=0,
                workers=0,
                held=self._desk.hello().held,
            )
            try:
                welcome = await connection.rpc.request(hello, OwnerWelcome, timeout_s=REQUEST_S)
            except RfmError as error:
                log.debug("the broker does not answer: %s", error)
                await asyncio.sleep(error.retry_after_s or 0.1)
                continue
            except Exception:
                self._greeting = False
                raise
            self._greeting = False
            self._session.found(True, connected=True)
            self.handle(welcome)
            return


def _garbage(error: RfmError) -> None:
    log.debug("the broker said something that cannot be read: %s", error)
