"""Reporting to a server elsewhere: one WebSocket, made again whenever it drops.

What is said is in `core.reporting.wording`.
"""

from __future__ import annotations

import asyncio
import itertools
import logging
import math
import time
from collections import deque
from typing import Any, TypeVar

from msgspec import Struct

from rfm_runtime.client.connection import Connection, GetToken, Speaker
from rfm_runtime.client.link import Link
from rfm_runtime.client.reporting.carrier import Listener
from rfm_runtime.config import Destination
from rfm_runtime.core.reporting import wording
from rfm_runtime.core.reporting.desk import Progress
from rfm_runtime.core.timing import Backoff
from rfm_runtime.errors import InternalError, RfmError, UnavailableError
from rfm_runtime.protocol.internal import (
    Ack,
    Announce,
    Assign,
    HeldOperation,
    Outcome,
    OwnerWelcome,
    PauseState,
    Source,
)
from rfm_runtime.protocol.messages import Ok, Welcome
from rfm_runtime.protocol.operation import ErrorInfo
from rfm_runtime.protocol.reports import Alive, Reported, ReportProgress, ReportReply

__all__ = ["Elsewhere"]

log = logging.getLogger("rfm_runtime")

REQUEST_S = 5.0

GONE_S = 60.0
"""A server that was there so recently is awaited at the end of the program: it may only restart."""

LONGEST_S = 10.0
"""Between two tries to connect, at most: whoever is away for a lease is given up, and a try may take ten seconds."""

M = TypeVar("M", bound=Struct)


class Elsewhere:
    """A connection that speaks for this program, `source`. get_token: for another token, once this one is refused."""

    def __init__(
        self,
        listener: Listener,
        loop: asyncio.AbstractEventLoop,
        source: Source,
        found: Destination,
        *,
        get_token: GetToken,
    ) -> None:
        self._listener = listener
        self._source = source
        self._numbers = itertools.count(1)
        self._answers: dict[int, asyncio.Future[Struct]] = {}
        # One of each operation, in the order in which they changed.
        self._progress: dict[str, ReportProgress] = {}
        self._requests: deque[tuple[Struct, int]] = deque()
        self._something = asyncio.Event()
        self._up = asyncio.Event()
        self._lived_s = -math.inf
        # No other try is made: it was refused for good, or failed.
        self.is_over = False
        speaker = Speaker(
            resume_from=lambda: None,
            welcomed=self._welcomed,
            to_send=list,
            answered=self._answered,
            noticed=self._noticed,
            dropped=self._dropped,
            told=self._told,
        )
        self._connection = Connection(
            speaker,
            Link(Backoff(0.5, LONGEST_S, 1.0)),
            url=found.url,
            token=found.token,
            connection_file=None,
            get_token=get_token,
            name="reporter",
            encoding="msgpack",
            trust=found.trust,
        )
        self._tasks = [loop.create_task(self._keep()), loop.create_task(self._send())]
        for task in self._tasks:
            task.add_done_callback(self._ended)

    # --- what the line asks for -------------------------------------------------------------

    async def hello(self, held: tuple[HeldOperation, ...]) -> OwnerWelcome:
        """As `Carrier` says."""
        await self._up.wait()
        answer: Struct = Ok()
        for page in wording.hello(self._source.name, self._source.host, self._source.pid, held):
            answer = await self._request(page, Ok if page.more else ReportReply)
        (welcome,) = wording.notices(answer)
        if not isinstance(welcome, OwnerWelcome):
            raise InternalError(f"a report was answered with {type(answer).__name__}")
        return welcome

    async def ask(self, message: Announce | Outcome | PauseState) -> Assign | Ack:
        """As `Carrier` says."""
        reply = Reported if isinstance(message, Announce) else Ok
        return wording.answer(await self._request(wording.request(message), reply))

    def push(self, progress: Progress) -> None:
        """As `Carrier` says."""
        self._progress[progress.operation_id] = wording.progress(progress.operation_id, progress.measure)
        self._something.set()

    def beat(self, operations: int) -> None:
        """As `Carrier` says."""
        if operations:
            self._requests.append((Alive(), 0))
            self._something.set()

    async def close(self) -> None:
        """As `Carrier` says."""
        self._refuse(UnavailableError("the connection was closed"))
        # With a code that says *done*: a server must not take it for a fault.
        await self._connection.close()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- the connection ---------------------------------------------------------------------

    async def _keep(self) -> None:
        try:
            await self._connection.run()
        except RfmError as error:
            self.is_over = True
            self._listener.unreachable(error)

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A fault of ours, which nobody would see."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self.is_over = True
            self._listener.unreachable(InternalError(f"the connection failed: {error!r}"))

    async def _send(self) -> None:
        while True:
            await self._something.wait()
            self._something.clear()
            if not self._up.is_set():
                # A report of all that is held will say it.
                self._progress.clear()
                continue
            batch = list(self._requests)
            batch += [(progress, 0) for progress in self._progress.values() if self._can_be_said(progress)]
            self._requests.clear()
            self._progress.clear()
            await self._connection.send_all(batch)

    def _can_be_said(self, progress: ReportProgress) -> bool:
        try:
            self._connection.encode(progress)
        except (TypeError, ValueError, OverflowError, RecursionError):
            # What one operation says must not keep the others from being heard.
            log.debug("%s says what cannot be sent", progress.operation_id, exc_info=True)
            return False
        return True

    async def _request(self, message: Struct, reply: type[M]) -> M:
        if not self._up.is_set():
            raise UnavailableError("there is no connection")
        number = next(self._numbers)
        # What cannot be said raises here, not where others' words are sent.
        self._connection.encode(message, number)
        future: asyncio.Future[Struct] = asyncio.get_running_loop().create_future()
        self._answers[number] = future
        self._requests.append((message, number))
        self._something.set()
        try:
            async with asyncio.timeout(REQUEST_S):
                answer = await future
        except TimeoutError:
            raise UnavailableError(f"no answer within {REQUEST_S:g} s") from None
        finally:
            self._answers.pop(number, None)
        if not isinstance(answer, reply):
            raise InternalError(f"expected {reply.__name__}, got {type(answer).__name__}")
        return answer

    def _refuse(self, error: RfmError) -> None:
        for future in self._answers.values():
            if not future.done():
                future.set_exception(error)

    def _welcomed(self, _welcome: Welcome) -> None:
        self._connection.live()
        self._lived_s = time.monotonic()
        self._requests.clear()
        self._up.set()

    def _dropped(self) -> None:
        self._refuse(UnavailableError("the connection dropped"))
        if self._up.is_set():
            self._up.clear()
            self._lived_s = time.monotonic()
            self._listener.lost()

    def _answered(self, number: int, data: Struct) -> None:
        future = self._answers.get(number)
        if future is None or future.done():
            return
        if isinstance(data, ErrorInfo):
            future.set_exception(data.to_exception())
        else:
            future.set_result(data)

    def _noticed(self, data: Struct) -> None:
        for message in wording.notices(data):
            self._listener.handle(message)

    def _told(self, _details: dict[str, Any]) -> None:
        link = self._connection.link
        if link.state == "reconnecting" and time.monotonic() - self._lived_s > GONE_S:
            said = f"{self._connection.url}: {link.reason}"
            self._listener.unreachable(UnavailableError(said, hint=self._connection.advice))
