"""`ResilientWebSocketClient`: the reference document's client, with flat messages, on top of the one client.

What it reports of operations of its own goes through a clerk like any program's, on a connection of its own; everything
else through an `AsyncClient`. All in the loop in which it is connected.
"""

from __future__ import annotations

import asyncio
import contextlib
import inspect
import logging
import os
import secrets
import time
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from types import TracebackType
from typing import Any

import msgspec
from msgspec import Struct

from rfm_runtime.client.async_client import AsyncClient
from rfm_runtime.client.connection import GetToken
from rfm_runtime.client.link import LinkState
from rfm_runtime.client.reporting.carrier import Listener
from rfm_runtime.client.reporting.clerk import Clerk
from rfm_runtime.client.reporting.elsewhere import Elsewhere
from rfm_runtime.client.reporting.values import text_of
from rfm_runtime.config import Destination, Trust
from rfm_runtime.core.reporting import wording
from rfm_runtime.core.reporting.desk import Begin, End, Measure, Tell, Tick
from rfm_runtime.core.reporting.hearing import Heard, announced, ended
from rfm_runtime.errors import BadRequestError, ConflictError, RfmError, UnauthorizedError, UnavailableError
from rfm_runtime.observe.alive import source
from rfm_runtime.protocol.causes import WORKER_LOST
from rfm_runtime.protocol.internal import Principal
from rfm_runtime.protocol.limits import NAME_LIMIT
from rfm_runtime.protocol.messages import REQUESTS
from rfm_runtime.protocol.reports import (
    Fault,
    Measured,
    ReportCanceled,
    ReportCompleted,
    ReportFailed,
    ReportStarted,
)
from rfm_runtime.protocol.wire import encode, type_of
from rfm_runtime.security.tls import ClientCert

__all__ = ["ResilientWebSocketClient"]

log = logging.getLogger("rfm_runtime")

OnMessage = Callable[[dict[str, Any]], object]
OnConnectionChange = Callable[[bool, dict[str, Any]], object]

OPTIONS = ("max_retries", "initial_delay", "max_delay", "jitter")
TICK_S = 0.1
SECOND_S = 1.0
AGAIN_S = 5.0

ENDED_KEPT = 10_000
"""Ids of operations that have ended, to tell a late word from a new operation."""

LEFT = "the client was closed before it said how it went"

PRINCIPAL = Principal("", ())
"""The gateway knows better."""

FLUSH_S = 2.0
"""How long `disconnect` waits for outcomes to be acknowledged."""

REPORTS = {"operation_started", "progress_update", "operation_completed", "operation_failed", "operation_canceled"}
CONNECTING = {"hello", "report", "heartbeat", "operation_paused", "operation_resumed", "subscribe", "unsubscribe"}
"""Said by the client itself."""


class ResilientWebSocketClient:
    """A connection to the server at `url` that is made again whenever it drops, and forgets nothing meanwhile.

    reconnect_options: max_retries (None: for ever), initial_delay and max_delay in seconds, jitter 0–1. auth_token: or
    a function, also a coroutine, that gives a fresh one whenever the server wants another. ca_file, client_cert,
    allow_insecure: as of `AsyncClient`.

    on_message(message) is called with everything that happens, as a flat dictionary with `type`: first the list of
    operations, then events, progress, and `asked` if somebody wants an operation of this client to stop.
    on_connection_change(connected, details) is called with every change of the connection; details has `state`, and
    where it is known `attempt`, `next_try_in_s` and `reason`. Both may be set at any time, and be coroutines. What they
    raise is logged. Usable as `async with`. Raises BadRequestError for options that do not exist.
    """

    def __init__(
        self,
        url: str,
        reconnect_options: Mapping[str, Any] | None = None,
        auth_token: str | GetToken | None = None,
        *,
        ca_file: str | os.PathLike[str] | None = None,
        client_cert: ClientCert | None = None,
        allow_insecure: bool | None = None,
    ) -> None:
        options = dict(reconnect_options or {})
        if unknown := sorted(set(options) - set(OPTIONS)):
            raise BadRequestError(f"unknown reconnect options: {', '.join(unknown)}", hint=f"use {', '.join(OPTIONS)}")
        self.on_message: OnMessage | None = None
        self.on_connection_change: OnConnectionChange | None = None
        token = auth_token if isinstance(auth_token, str) else ""
        trust = Trust(ca_file, client_cert, allow_insecure)
        self._destination = Destination(url, token.strip(), trust)
        self._get_token = auth_token if callable(auth_token) else None
        self._client = AsyncClient(
            url,
            self._destination.token,
            get_token=None if self._get_token is None else self._fresh,
            on_state=self._changed,
            name="resilient",
            ca_file=ca_file,
            client_cert=client_cert,
            allow_insecure=allow_insecure,
            **options,
        )
        self._listening: asyncio.Task[None] | None = None
        self._reports: _Reports | None = None
        self._called: set[asyncio.Future[Any]] = set()

    # --- life -------------------------------------------------------------------------------

    async def __aenter__(self) -> ResilientWebSocketClient:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.disconnect()

    @property
    def connected(self) -> bool:
        """Whether the connection is live."""
        return self._client.state == "live"

    async def connect(self) -> None:
        """Wait until the list of operations is there. Idempotent.

        Raises UnauthorizedError or TokenExpiredError, and UnavailableError once all tries have failed: without
        `max_retries` it waits.
        """
        if self._listening is not None:
            return
        if self._get_token is not None and not self._destination.token:
            self._client.use_token(await self._fresh())
        self._listening = asyncio.create_task(self._listen(), name="rfm-resilient")
        try:
            await self._client.connect(None)
        except BaseException:
            await self.disconnect()
            raise

    async def disconnect(self) -> None:
        """Have outcomes acknowledged, within two seconds, then close. Idempotent."""
        reports, self._reports = self._reports, None
        if reports is not None:
            await reports.close()
        listening, self._listening = self._listening, None
        await self._client.close()
        if listening is not None:
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)

    async def _fresh(self) -> str:
        if self._get_token is None:
            raise UnauthorizedError("the server wants another token")
        token = self._get_token()
        token = token if isinstance(token, str) else await token
        self._destination = replace(self._destination, token=token.strip())
        return self._destination.token

    # --- what comes in ----------------------------------------------------------------------

    async def _listen(self) -> None:
        with contextlib.suppress(RfmError):
            async for notice in self._client.watch():
                self._tell(notice)

    def _tell(self, message: Struct) -> None:
        if self.on_message is not None:
            self._call(self.on_message, {"type": type_of(message), **_flat(message)})

    def _changed(self, state: LinkState, details: dict[str, Any]) -> None:
        if self.on_connection_change is not None:
            self._call(self.on_connection_change, state == "live", {"state": state, **details})

    def _call(self, handler: Callable[..., object], *arguments: Any) -> None:
        try:
            answer = handler(*arguments)
        except Exception:
            log.exception("a handler of the client failed")
            return
        if inspect.isawaitable(answer):
            task = asyncio.ensure_future(_logged(answer))
            self._called.add(task)
            task.add_done_callback(self._called.discard)

    # --- what goes out ----------------------------------------------------------------------

    async def send_message(self, message: Mapping[str, Any]) -> dict[str, Any] | None:
        """Say something, as a flat dictionary with `type`. Without a connection it waits for the next one.

        A request (`cancel_operation`, `list_operations`, `submit`, …) gives its answer, flat as well, or raises the
        server's error. Of operations of one's own (`operation_started`, `progress_update`, `operation_completed`,
        `operation_failed`, `operation_canceled`) the newest word is kept until the server has it; None. Progress of an
        operation that was not started starts it. Raises BadRequestError for what is no message.
        """
        if not isinstance(message, Mapping):
            raise BadRequestError(
                f"a message is a dictionary, not a {type(message).__name__}", hint='e.g. {"type": "ping"}'
            )
        fields = dict(message)
        kind = fields.pop("type", None)
        if not isinstance(kind, str) or kind not in REQUESTS or kind in CONNECTING:
            known = ", ".join(sorted(set(REQUESTS) - CONNECTING))
            raise BadRequestError(f"{text_of(kind, NAME_LIMIT)!r} is no type of message", hint=f"known types: {known}")
        try:
            said: Struct = msgspec.convert(fields, REQUESTS[kind])
        except (msgspec.ValidationError, TypeError) as error:
            raise BadRequestError(f"{kind}: {error}", hint="see the message's fields in docs/protocol.md") from None
        try:
            encode(said, "msgpack", ts=0)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise BadRequestError(f"{kind} cannot be encoded: {error}", hint="use text that is Unicode") from None
        if self._listening is None:
            raise UnavailableError("the client is not connected", hint="await connect() first")
        if kind in REPORTS:
            if self._reports is None:
                self._reports = _Reports(lambda: self._destination, self._tell, get_token=self._fresh)
            if isinstance(said, Measured):
                self._reports.say(said)
            return None
        answer: Struct = await self._client.request(said, Struct)
        return {"type": type_of(answer), **_flat(answer)}


class _Reports:
    """The client's own operations. tell: told what somebody wants of them."""

    def __init__(
        self, destination: Callable[[], Destination], tell: Callable[[Struct], None], *, get_token: GetToken
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._tell = tell
        self._heard: dict[str, Heard] = {}
        self._ended: dict[str, None] = {}
        self._implied: set[str] = set()
        # Something has come of what was said.
        self._news = asyncio.Event()
        self._connected = False
        self._reachable = True
        self._closing: asyncio.Task[None] | None = None
        self._clerk = Clerk(self._loop, self)
        self._source = source(f"client-{secrets.token_hex(8)}", 1)
        self._destination = destination
        self._get_token = get_token
        self._connect()
        self._ticking = asyncio.create_task(self._tick())

    def _connect(self) -> None:
        def make(clerk: Listener) -> Elsewhere:
            return Elsewhere(clerk, self._loop, self._source, self._destination(), get_token=self._get_token)

        self._clerk.connect(make)

    def say(self, message: Measured) -> None:
        """Take a word of one operation. Raises ConflictError if it has ended."""
        operation_id = message.operation_id
        if operation_id in self._ended:
            raise ConflictError(f"{operation_id} has ended", hint="begin an operation with a new id")
        now_ms = time.time_ns() // 1_000_000
        if isinstance(message, ReportStarted) and operation_id in self._implied:
            raise ConflictError(
                f"{operation_id} was begun by what was said of it before", hint="say `operation_started` first"
            )
        if operation_id not in self._heard:
            if not isinstance(message, ReportStarted):
                self._implied.add(operation_id)
            heard = self._heard[operation_id] = Heard()
            begun = message if isinstance(message, ReportStarted) else _implied(message)
            self._clerk.handle(Begin(announced(begun, heard.take(message, now_ms), PRINCIPAL)))
        measure = self._heard[operation_id].take(message, now_ms)
        if isinstance(message, ReportCompleted | ReportFailed | ReportCanceled):
            outcome = ended(message, measure)
            del self._heard[operation_id]
            self._implied.discard(operation_id)
            self._ended[operation_id] = None
            if len(self._ended) > ENDED_KEPT:
                del self._ended[next(iter(self._ended))]
            self._clerk.handle(End(operation_id, outcome.state, measure, outcome.error))
        else:
            self._clerk.handle(Measure(operation_id, measure))

    async def _tick(self) -> None:
        turns = 0
        while True:
            await asyncio.sleep(TICK_S)
            turns += 1
            self._clerk.handle(Tick())
            if self._connected and turns * TICK_S >= SECOND_S:
                turns = 0
                self._clerk.beat(0 if self._clerk.is_idle else 1)
            elif self._clerk.is_over and turns * TICK_S >= AGAIN_S:
                # Refused for good, or a token could not be had: what was said is kept, and may be taken yet.
                turns = 0
                self._closing = self._clerk.disconnect()
                self._connect()

    async def close(self) -> None:
        """End what has no outcome, wait for acknowledgements, then close."""
        for operation_id in list(self._heard):
            self.say(ReportFailed(operation_id=operation_id, error=Fault(code=WORKER_LOST.code, message=LEFT)))
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(FLUSH_S):
                while self._reachable and any(self._clerk.knows(one) for one in self._ended):
                    self._news.clear()
                    await self._news.wait()
        self._ticking.cancel()
        closing = self._clerk.disconnect()
        if closing is not None:
            await asyncio.gather(closing, return_exceptions=True)

    # --- as `Hearer` says -------------------------------------------------------------------

    def told(self, tell: Tell) -> None:
        """As `Hearer` says."""
        self._tell(wording.asked(tell))

    def settled(self, operation_id: str) -> None:
        """As `Hearer` says."""
        del operation_id
        self._news.set()

    def given_up(self, operation_id: str, reason: str, *, ended: bool) -> None:
        """As `Hearer` says."""
        del ended
        log.warning("%s is not reported: %s", operation_id, reason)
        if self._heard.pop(operation_id, None) is not None:
            self._ended[operation_id] = None
        self._news.set()

    def found(self, reachable: bool, *, connected: bool) -> None:
        """As `Hearer` says."""
        self._reachable, self._connected = reachable, connected
        self._news.set()

    def unreachable(self, error: RfmError) -> None:
        """As `Hearer` says."""
        log.debug("reports wait: %s", error)
        self._reachable = False
        self._news.set()


def _implied(message: Measured) -> ReportStarted:
    return ReportStarted(operation_id=message.operation_id, name=message.operation_id[:NAME_LIMIT])


def _flat(message: Struct) -> dict[str, Any]:
    flat: dict[str, Any] = msgspec.to_builtins(message)
    return flat


async def _logged(answer: Awaitable[object]) -> None:
    try:
        await answer
    except Exception:
        log.exception("a handler of the client failed")
