"""A desk at work: its words carried to a broker, and the broker's back. In one event loop.

What is decided is in `core.reporting.Desk`; the connection is the carrier's. The program's own side, a background
thread (`line`) or an asyncio client (`resilient`), is the `Hearer`.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Container, Coroutine, Iterator
from typing import Any, Protocol

from msgspec import Struct

from rfm_runtime.client.reporting.carrier import Carrier, Listener
from rfm_runtime.core.reporting.desk import (
    Answered,
    Ask,
    Desk,
    GivenUp,
    Hello,
    Lost,
    Progress,
    Refused,
    Settled,
    Tell,
)
from rfm_runtime.errors import InternalError, RfmError
from rfm_runtime.protocol.internal import Announce, Outcome

__all__ = ["Clerk", "Hearer"]

log = logging.getLogger("rfm_runtime")

AGAIN_S = 0.1
SECOND_S = 1.0
REFUSED_S = 5.0


class Hearer(Protocol):
    """The program. Called in the clerk's loop."""

    def told(self, tell: Tell) -> None:
        """Somebody wants an operation to stop, or to stand still."""
        ...

    def settled(self, operation_id: str) -> None:
        """Its outcome is on the broker's disk."""
        ...

    def given_up(self, operation_id: str, reason: str, *, ended: bool) -> None:
        """The broker will not have it. ended: because it has its outcome already."""
        ...

    def found(self, reachable: bool, *, connected: bool) -> None:
        """Whether a server is there, and knows this program."""
        ...

    def unreachable(self, error: RfmError) -> None:
        """Nobody answers, for this reason."""
        ...


class Clerk:
    """The `Listener` of its carrier."""

    def __init__(self, loop: asyncio.AbstractEventLoop, hearer: Hearer) -> None:
        self._loop = loop
        self._hearer = hearer
        self._desk = Desk()
        self._carrier: Carrier | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._greeting = False

    @property
    def is_idle(self) -> bool:
        """Whether nothing lives, and every outcome is acknowledged."""
        return not self._desk.reports

    @property
    def is_over(self) -> bool:
        """Whether its carrier will not connect any more."""
        return self._carrier is not None and self._carrier.is_over

    def knows(self, operation_id: str) -> bool:
        """Whether it has something to say of that operation."""
        return operation_id in self._desk.reports

    def unheard(self, until_s: float, kept: Container[str]) -> Iterator[tuple[Announce, Outcome]]:
        """As `Desk.unheard`, now."""
        return self._desk.unheard(until_s, time.monotonic(), kept)

    def connect(self, make: Callable[[Listener], Carrier]) -> None:
        """Speak through this carrier from now on; `disconnect` first from another."""
        self._hearer.found(True, connected=False)
        self._carrier = make(self)
        self._greet()

    def disconnect(self) -> asyncio.Task[None] | None:
        """Speak to nobody; the task in which the carrier closes."""
        carrier, self._carrier = self._carrier, None
        if carrier is None:
            return None
        self._hearer.found(False, connected=False)
        self._abandon()
        self.handle(Lost())
        return self._loop.create_task(carrier.close())

    def beat(self, operations: int) -> None:
        """The program lives; once a second while it is connected."""
        if self._carrier is not None:
            self._carrier.beat(operations)

    # --- what the carrier says --------------------------------------------------------------

    def unreachable(self, error: RfmError) -> None:
        """As `Listener` says."""
        self._hearer.unreachable(error)

    def lost(self) -> None:
        """As `Listener` says."""
        self._hearer.found(True, connected=False)
        self._abandon()
        self.handle(Lost())
        self._greet()

    def handle(self, message: Struct) -> None:
        """Tell the desk, and carry out what it asks for."""
        for command in self._desk.handle(message, time.monotonic()):
            match command:
                case Hello():
                    self._greet()
                case Ask():
                    self._spawn(self._ask(command))
                case Progress():
                    if self._carrier is not None:
                        self._carrier.push(command)
                case Tell():
                    self._hearer.told(command)
                case Settled():
                    self._hearer.settled(command.operation_id)
                case GivenUp():
                    log.debug("%s is given up: %s", command.operation_id, command.reason)
                    self._hearer.given_up(command.operation_id, command.reason, ended=command.ended)

    def _abandon(self) -> None:
        for task in self._tasks:
            task.cancel()
        self._greeting = False

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _ask(self, ask: Ask) -> None:
        if self._carrier is None:
            return
        try:
            answer = await self._carrier.ask(ask.message)
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
        if not self._greeting and self._carrier is not None:
            self._greeting = True
            self._spawn(self._hello(self._carrier))

    async def _hello(self, carrier: Carrier) -> None:
        """Until it is answered, or the server is gone."""
        while carrier is self._carrier:
            try:
                welcome = await carrier.hello(self._desk.hello().held)
            except RfmError as error:
                log.debug("the broker does not answer: %s", error)
                if not error.temporary:
                    # Who may not report is told, and asks again for the day on which he may.
                    self._hearer.unreachable(error)
                await asyncio.sleep(error.retry_after_s or (AGAIN_S if error.temporary else REFUSED_S))
                continue
            except Exception:
                # A fault of ours: no reason to be silent for ever.
                log.debug("a hello failed", exc_info=True)
                await asyncio.sleep(SECOND_S)
                continue
            self._greeting = False
            self._hearer.found(True, connected=True)
            self.handle(welcome)
            return
