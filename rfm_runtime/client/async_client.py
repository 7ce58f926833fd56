"""`AsyncClient`: submit, watch, steer and fetch over one connection that is made again whenever it drops.

One background task owns the connection; everything belongs to the loop the client was entered in. Decisions are
in `link` (when to try again), `mirror` (what is known) and `outbox` (what waits to be sent).
"""

from __future__ import annotations

import asyncio
import random
import socket
import ssl
import time
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar
from urllib.parse import urlsplit

from msgspec import Struct
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidHandshake, InvalidStatus, InvalidURI
from websockets.typing import Subprotocol

from rfm_runtime._version import __version__
from rfm_runtime.client.artifacts import fetch
from rfm_runtime.client.connection_file import ConnectionInfo
from rfm_runtime.client.handle import AsyncOperation, Track
from rfm_runtime.client.ids import ulid
from rfm_runtime.client.link import (
    Failure,
    Link,
    LinkState,
    after_close,
    after_status,
    connected,
    failed,
    heard,
    silent,
)
from rfm_runtime.client.mirror import Mirror
from rfm_runtime.client.outbox import Outbox, Pending
from rfm_runtime.config import Settings, folders, load
from rfm_runtime.core.timing import Backoff
from rfm_runtime.errors import (
    BadRequestError,
    InternalError,
    NoRuntimeError,
    RfmError,
    UnauthorizedError,
    UnavailableError,
    UnknownOperationError,
)
from rfm_runtime.protocol.limits import OUTBOUND_LIMIT_BYTES
from rfm_runtime.protocol.messages import (
    CancelOperation,
    CancelReply,
    ChangePriority,
    ClientInfo,
    Explain,
    Explanation,
    GetOperation,
    Goodbye,
    Hello,
    Kind,
    Kinds,
    KindsReply,
    ListOperations,
    ListReply,
    Live,
    Ok,
    OperationFilter,
    OperationList,
    OperationReply,
    Pause,
    Resume,
    Submit,
    SubmitMany,
    SubmitManyReply,
    SubmitReply,
    SubmitRequest,
    Subscribe,
    Subscribed,
    Welcome,
)
from rfm_runtime.protocol.operation import ErrorInfo, Operation, OperationEvent, OperationState, ProgressUpdate
from rfm_runtime.protocol.wire import decode_batch, decode_message, encode, type_of

__all__ = ["AsyncClient", "Notice", "OnState"]

T = TypeVar("T", bound=Struct)
Notice = OperationEvent | ProgressUpdate | OperationList | Live
OnState = Callable[[LinkState, dict[str, Any]], None]
GetToken = Callable[[], str | Awaitable[str]]

REQUEST_S = 30.0
OPEN_S = 10.0
BATCH_LIMIT = 1_000_000
"""Envelopes in one message of our own server: bounded by its size, not by their number."""

LOOPBACK = {"127.0.0.1", "::1", "localhost"}
RENDER = "render.escape_time"


class AsyncClient:
    """A client of one runtime.

    url, token: of the runtime; without them the local one is found through its connection file.
    max_retries (None: for ever), initial_delay, max_delay (seconds), jitter (0–1): how lost connections are made again.
    get_token: called for a fresh token when the server refuses the present one. on_state: told every change of
    the connection. encoding: "msgpack" or "json". Use it as `async with AsyncClient() as client`.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        settings: Settings | None = None,
        max_retries: int | None = None,
        initial_delay: float = 0.5,
        max_delay: float = 30.0,
        jitter: float = 1.0,
        get_token: GetToken | None = None,
        on_state: OnState | None = None,
        name: str = "python",
        detail: str = "summary",
        encoding: str = "msgpack",
    ) -> None:
        if encoding not in ("json", "msgpack"):
            raise BadRequestError(f"encoding is {encoding!r}", hint='choose "msgpack" or "json"')
        self._url = url
        self._token = token
        self._connection_file = None if url is not None else _connection_file(settings)
        self._link = Link(Backoff(initial_delay, max_delay, jitter), max_retries)
        self._get_token = get_token
        self._on_state = on_state
        self._name = name
        self._detail = detail
        self._encoding: Any = encoding
        self._mirror = Mirror()
        self._outbox = Outbox()
        self._answers: dict[int, asyncio.Future[Struct]] = {}
        self._tracks: dict[str, Track] = {}
        self._watchers: set[_Watch] = set()
        self._connection: ClientConnection | None = None
        self._heard_s = 0.0
        self._silence: asyncio.Task[None] | None = None
        self._closing = False
        self._used_token = ""
        self._goodbye: Goodbye | None = None
        self._task: asyncio.Task[None] | None = None
        self._live: asyncio.Future[None] | None = None
        self._stopped: RfmError | None = None
        self.server: Welcome | None = None

    # --- life -------------------------------------------------------------------------------

    async def __aenter__(self) -> AsyncClient:
        await self.connect()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    @property
    def state(self) -> LinkState:
        """connecting, live, stale, reconnecting, unauthorised, draining or closed."""
        return self._link.state

    @property
    def waiting(self) -> list[str]:
        """Requests that wait for a connection, by type, in the order in which they will be sent."""
        return [type_of(pending.message) for pending in self._outbox.to_send()]

    async def connect(self, timeout_s: float | None = OPEN_S) -> None:
        """Wait until the list of operations is there. Raises NoRuntimeError, UnauthorizedError, UnavailableError."""
        if self._task is None:
            if self._connection_file is not None:
                # Nobody there is said at once; later the file is awaited, since a restart writes it anew.
                ConnectionInfo.read(self._connection_file)
            self._closing = False
            self._live = asyncio.get_running_loop().create_future()
            self._task = asyncio.create_task(self._run(), name="rfm-client")
            self._task.add_done_callback(self._ended)
        if self._live is None:
            raise InternalError("the client has no connection task")
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(self._live)
        except TimeoutError:
            reason = self._link.reason or "no answer"
            await self.close()
            raise UnavailableError(f"no connection to {self._url} within {timeout_s:g} s: {reason}") from None

    async def close(self) -> None:
        """Close the connection; handles keep what they know. Idempotent."""
        task, self._task = self._task, None
        self._closing = True
        if self._connection is not None:
            # With a code that says *done*: a cancelled task would close it as a fault.
            await self._connection.close()
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._stop(UnavailableError("the client was closed"), "closed")

    # --- the connection ---------------------------------------------------------------------

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A fault, a callback of the user that raised, or a connection file that others can read."""
        if task.cancelled() or (error := task.exception()) is None:
            return
        if not isinstance(error, RfmError):
            error = InternalError(f"the client's connection task failed: {error!r}", hint="connect again")
        self._stop(error, "closed")

    async def _run(self) -> None:
        while True:
            failure = await self._try()
            self._connection = None
            if self._closing:
                return
            for pending in self._outbox.disconnected():
                self._refuse(pending, UnavailableError("the connection dropped while a file was fetched"))
            can_refresh = failure.fresh_token and self._can_refresh()
            self._link, wait_s = failed(self._link, failure, time.monotonic(), random, can_refresh=can_refresh)
            if wait_s is None:
                unauthorised = self._link.state == "unauthorised"
                error: RfmError = (
                    UnauthorizedError(failure.reason) if unauthorised else UnavailableError(failure.reason)
                )
                self._stop(error, self._link.state)
                self._tell(reason=failure.reason)
                return
            self._tell(attempt=self._link.attempt, next_try_in_s=wait_s, reason=failure.reason)
            await asyncio.sleep(wait_s)
            if failure.fresh_token and self._get_token is not None:
                fresh = self._get_token()
                self._token = fresh if isinstance(fresh, str) else await fresh

    def _can_refresh(self) -> bool:
        """Whether another token than the refused one can be had: from a callback, or a connection file written anew."""
        if self._get_token is not None or self._connection_file is None:
            return self._get_token is not None
        try:
            return ConnectionInfo.read(self._connection_file).token != self._used_token
        except NoRuntimeError:
            return True

    async def _try(self) -> Failure:
        """One connection, from opening to its end; why it ended."""
        self._goodbye = None
        try:
            url, token = self._where()
            self._used_token = token
            async with connect(
                url,
                subprotocols=[Subprotocol(f"rfm.v1.{self._encoding}")],
                max_size=OUTBOUND_LIMIT_BYTES,
                compression=None,
                open_timeout=OPEN_S,
                close_timeout=1.0,
                proxy=None,
            ) as connection:
                await self._converse(connection, token)
                return Failure("closed", retry=True)
        except ConnectionClosed as closed:
            return self._closed(closed)
        except InvalidStatus as refused:
            return after_status(refused.response.status_code, _retry_after(refused.response.headers.get("Retry-After")))
        except InvalidURI as bad:
            return Failure(f"not a WebSocket address: {bad.uri}", retry=False)
        except ssl.SSLCertVerificationError as bad_certificate:
            return Failure(f"the server's certificate is not trusted: {bad_certificate.verify_message}", retry=False)
        except BadRequestError as garbage:
            return Failure(f"what listens there does not speak rfm.v1: {garbage.message}", retry=False)
        except NoRuntimeError as nobody:
            return Failure(nobody.message, retry=True, nearby=True)
        except ConnectionRefusedError as nobody:
            nearby = urlsplit(self._url or "").hostname in LOOPBACK
            return Failure(f"no connection: {nobody.strerror}", retry=True, nearby=nearby)
        except socket.gaierror as unknown:
            return Failure(f"the host's name cannot be resolved: {unknown.strerror}", retry=True)
        except (OSError, TimeoutError, InvalidHandshake) as broken:
            return Failure(f"no connection: {str(broken) or type(broken).__name__}", retry=True)

    def _closed(self, closed: ConnectionClosed) -> Failure:
        code = closed.rcvd.code if closed.rcvd is not None else 1006
        reason = closed.rcvd.reason if closed.rcvd is not None else ""
        retry_after_s = None
        if self._goodbye is not None:
            code, reason = self._goodbye.code, self._goodbye.reason
            if self._goodbye.retry_after_ms is not None:
                retry_after_s = self._goodbye.retry_after_ms / 1000
        return after_close(code, reason, retry_after_s)

    def _where(self) -> tuple[str, str]:
        if self._connection_file is None:
            return self._url or "", self._token or ""
        info = ConnectionInfo.read(self._connection_file)
        self._url = info.url
        return info.url, info.token

    async def _converse(self, connection: ClientConnection, token: str) -> None:
        hello = Hello(token=token, client=ClientInfo(self._name, __version__), resume=self._mirror.resume)
        await connection.send(self._encode(hello, 0), text=self._encoding == "json")
        try:
            await self._listen(connection)
        finally:
            if self._silence is not None:
                self._silence.cancel()

    async def _notice_silence(self, heartbeat_s: float) -> None:
        """Say so when nothing came for two heartbeats: a peer that vanished without a word is no live one."""
        while True:
            silent_s = time.monotonic() - self._heard_s
            if silent_s >= 2.0 * heartbeat_s and self._link.state == "live":
                self._link = silent(self._link, silent_s)
                self._tell(silent_s=silent_s)
            await asyncio.sleep(max(2.0 * heartbeat_s - silent_s, heartbeat_s / 4))

    async def _listen(self, connection: ClientConnection) -> None:
        welcomed = False
        async for message in connection:
            self._heard_s = time.monotonic()
            if self._link.state == "stale":
                self._link = heard(self._link)
                self._tell()
            encoding: Any = "json" if isinstance(message, str) else "msgpack"
            for envelope in decode_batch(message, encoding, batch_limit=BATCH_LIMIT):
                data = decode_message(envelope, encoding)
                if data is None:
                    continue
                if isinstance(data, Welcome):
                    welcomed = True
                    await self._welcomed(connection, data)
                elif envelope.re is not None and envelope.re > 0:
                    self._answered(envelope.re, data)
                elif welcomed or isinstance(data, Goodbye | ErrorInfo):
                    self._noticed(data)

    async def _welcomed(self, connection: ClientConnection, welcome: Welcome) -> None:
        self.server = welcome
        self._silence = asyncio.create_task(self._notice_silence(welcome.heartbeat_s))
        self._mirror.forget_log(welcome.epoch)
        subscribe = Subscribe(operations="active", detail="tiles" if self._detail == "tiles" else "summary")
        await connection.send(self._encode(subscribe, 0), text=self._encoding == "json")
        self._connection = connection
        await self._send_waiting()

    def _encode(self, message: Struct, number: int) -> bytes:
        return encode(message, self._encoding, ts=0, request_id=number)

    async def _send_waiting(self) -> None:
        connection = self._connection
        if connection is None:
            return
        for pending in self._outbox.to_send():
            if pending.sent:
                continue
            pending.sent = True
            try:
                await connection.send(self._encode(pending.message, pending.number), text=self._encoding == "json")
            except ConnectionClosed:
                # The reader sees it as well; what was not sent is sent by the next connection.
                pending.sent = False
                return

    # --- what comes in ----------------------------------------------------------------------

    def _answered(self, number: int, data: Struct) -> None:
        if self._outbox.answered(number) is None:
            return
        future = self._answers.pop(number, None)
        if future is None or future.done():
            return
        if isinstance(data, ErrorInfo):
            future.set_exception(data.to_exception())
        else:
            future.set_result(data)

    def _noticed(self, data: Struct) -> None:
        match data:
            case OperationEvent():
                if self._mirror.event(data):
                    self._spread(data.operation_id, data)
            case ProgressUpdate():
                if self._mirror.progress(data):
                    self._spread(data.operation_id, data)
            case OperationList():
                for operation_id in self._mirror.page(data):
                    self._bump(operation_id)
                self._show(data)
            case Live():
                self._now_live(data)
            case Subscribed():
                if not data.recovered:
                    self._look_after_handles()
            case Goodbye():
                self._goodbye = data

    def _now_live(self, live: Live) -> None:
        self._mirror.moved(live.epoch, live.seq)
        if self._link.state != "live":
            self._link = connected(self._link, time.monotonic())
            self._tell()
        if self._live is not None and not self._live.done():
            self._live.set_result(None)
        self._show(live)

    def _look_after_handles(self) -> None:
        """A snapshot shows the newest of what is finished; a handle's operation may be older than that."""
        for operation_id, track in self._tracks.items():
            if not track.terminal:
                task = asyncio.ensure_future(self._refresh(operation_id))
                track.refreshing = task

    async def _refresh(self, operation_id: str) -> None:
        try:
            await self.operation(operation_id)
        except UnknownOperationError as error:
            self._tracks[operation_id].lost = error
            self._bump(operation_id)
        except RfmError:
            # No connection again: the next one asks anew.
            return

    def _spread(self, operation_id: str, notice: Notice) -> None:
        self._bump(operation_id)
        self._show(notice)

    def _bump(self, operation_id: str) -> None:
        track = self._tracks.get(operation_id)
        if track is None:
            return
        operation = self._mirror.operations.get(operation_id)
        if operation is not None:
            track.operation = operation
        elif track.lost is None:
            # Something happened to what the mirror has forgotten, and an event alone does not say what it is.
            track.refreshing = asyncio.ensure_future(self._refresh(operation_id))
        track.bump()

    def _show(self, notice: Notice) -> None:
        for watch in self._watchers:
            watch.put(notice)

    def _tell(self, **details: Any) -> None:
        if self._on_state is not None:
            self._on_state(self._link.state, details)

    def _stop(self, error: RfmError, state: LinkState) -> None:
        """Nothing comes any more: whoever waits is told why."""
        if self._stopped is None or state != "closed":
            self._stopped = error
        if self._live is not None and not self._live.done():
            self._live.set_exception(error)
            # Read by `connect`; a client that never waited must not log it as unread.
            self._live.exception()
        for number in list(self._answers):
            self._outbox.answered(number)
            future = self._answers.pop(number)
            if not future.done():
                future.set_exception(error)
        for track in self._tracks.values():
            track.stopped = error
            track.bump()
        for watch in self._watchers:
            watch.stop(error)
        if self._link.state != state:
            self._link = Link(self._link.backoff, self._link.max_retries, state=state, reason=error.message)
            self._tell(reason=error.message)

    # --- requests ---------------------------------------------------------------------------

    async def request(self, message: Struct, reply: type[T], *, timeout_s: float = REQUEST_S) -> T:
        """The server's answer. Queued while there is no connection. Raises the server's error or UnavailableError."""
        if self._task is None or self._task.done():
            raise self._stopped or UnavailableError(
                "the client is not connected", hint="use `async with AsyncClient() as client`, or await connect()"
            )
        try:
            # What cannot be said must not wait in the queue: there it would end the connection, again and again.
            self._encode(message, 0)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise BadRequestError(
                f"{type_of(message)} cannot be encoded: {error}", hint="use strings, numbers, lists and dictionaries"
            ) from None
        pending, refused = self._outbox.add(message)
        if refused is not None:
            self._refuse(refused, UnavailableError("too many requests wait for a connection"))
        if pending is None:
            raise UnavailableError("too many requests wait for a connection", hint="wait until it is live again")
        future: asyncio.Future[Struct] = asyncio.get_running_loop().create_future()
        self._answers[pending.number] = future
        try:
            await self._send_waiting()
            async with asyncio.timeout(timeout_s):
                answer = await future
        except TimeoutError:
            raise UnavailableError(
                f"no answer within {timeout_s:g} s ({self._link.state})", hint="repeating the request is safe"
            ) from None
        finally:
            self._outbox.answered(pending.number)
            self._answers.pop(pending.number, None)
        if not isinstance(answer, reply):
            raise InternalError(f"expected {reply.__name__}, got {type(answer).__name__}")
        return answer

    def _refuse(self, pending: Pending, error: RfmError) -> None:
        future = self._answers.pop(pending.number, None)
        if future is not None and not future.done():
            future.set_exception(error)

    async def submit(
        self,
        kind: str,
        params: Mapping[str, Any],
        *,
        name: str = "",
        priority: int = 0,
        labels: Mapping[str, str] | None = None,
        parent_id: str | None = None,
        operation_id: str | None = None,
        request_key: str | None = None,
        timeout_s: float = REQUEST_S,
    ) -> AsyncOperation:
        """Submit an operation; accepted and on disk when this returns. The same `request_key` does nothing twice."""
        submission = Submit(
            operation_id=operation_id or ulid(),
            kind=kind,
            request_key=request_key or ulid(),
            params=dict(params),
            name=name,
            priority=priority,
            labels=dict(labels or {}),
            parent_id=parent_id,
            correlation_id=ulid()[-12:],
        )
        self._track(submission.operation_id)
        answer = await self.request(submission, SubmitReply, timeout_s=timeout_s)
        return AsyncOperation(self, self._track(answer.operation_id))

    async def submit_many(self, submissions: Sequence[SubmitRequest]) -> list[AsyncOperation]:
        """Submit several; all are accepted, or none."""
        answer = await self.request(SubmitMany(list(submissions)), SubmitManyReply)
        return [AsyncOperation(self, self._track(reply.operation_id)) for reply in answer.operations]

    async def render(
        self,
        preset: str | None = None,
        *,
        name: str | None = None,
        priority: int = 0,
        labels: Mapping[str, str] | None = None,
        request_key: str | None = None,
        **params: Any,
    ) -> AsyncOperation:
        """Render a preset, or `params` (re, im, width, …), or a preset with some of them changed."""
        if preset is None:
            fields = params
        else:
            from rfm_runtime.client.presets import preset_params

            fields = preset_params(preset) | params
        return await self.submit(
            RENDER, fields, name=name or preset or "render", priority=priority, labels=labels, request_key=request_key
        )

    async def operations(
        self,
        *,
        states: Sequence[OperationState] | None = None,
        kinds: Sequence[str] | None = None,
        owner: str | None = None,
        labels: Mapping[str, str] | None = None,
        text: str | None = None,
        limit: int | None = None,
    ) -> list[Operation]:
        """Operations, newest first, filtered."""
        wanted = OperationFilter(
            states=list(states) if states is not None else None,
            kinds=list(kinds) if kinds is not None else None,
            owner=owner,
            labels=dict(labels) if labels is not None else None,
            text=text,
        )
        found: list[Operation] = []
        cursor = None
        while True:
            size = 500 if limit is None else min(500, limit - len(found))
            page = await self.request(ListOperations(filter=wanted, cursor=cursor, limit=size), ListReply)
            found += page.operations
            cursor = page.cursor
            if cursor is None or (limit is not None and len(found) >= limit):
                return found

    async def operation(self, operation_id: str) -> Operation:
        """One operation. Raises UnknownOperationError."""
        reply = await self.request(GetOperation(operation_id), OperationReply)
        if self._mirror.listed(reply.operation):
            self._bump(operation_id)
        return reply.operation

    async def parameters(self, operation_id: str) -> dict[str, Any]:
        """The parameters it was submitted with."""
        return (await self.request(GetOperation(operation_id), OperationReply)).params

    async def handle(self, operation_id: str) -> AsyncOperation:
        """A handle for an operation that somebody submitted. Raises UnknownOperationError."""
        track = self._track(operation_id)
        known = await self.operation(operation_id)
        # While the answer was on its way, an event may have told more than it says.
        if track.operation is None or track.operation.at_seq <= known.at_seq:
            track.operation = known
        return AsyncOperation(self, track)

    async def cancel(
        self, operation_id: str, *, mode: str = "soft", deadline_ms: int | None = None, reason: str | None = None
    ) -> str:
        """Cancel it: "cancelling", or "already_terminal". `hard` kills its worker at once."""
        if mode not in ("soft", "hard"):
            raise BadRequestError(f"mode is {mode!r}", hint='choose "soft" or "hard"')
        chosen: Any = mode
        request = CancelOperation(operation_id=operation_id, mode=chosen, deadline_ms=deadline_ms, reason=reason)
        return (await self.request(request, CancelReply)).state

    async def pause(self, operation_id: str) -> None:
        """Have it stop where it is and keep what it has."""
        await self.request(Pause(operation_id), Ok)

    async def resume(self, operation_id: str) -> None:
        """Have it go on."""
        await self.request(Resume(operation_id), Ok)

    async def set_priority(self, operation_id: str, priority: int) -> None:
        """A higher priority runs first (−100 to 100)."""
        await self.request(ChangePriority(operation_id, priority), Ok)

    async def explain(self, operation_id: str) -> list[str]:
        """Why is it in this state? One sentence a line."""
        return (await self.request(Explain(operation_id), Explanation)).lines

    async def kinds(self) -> list[Kind]:
        """What can be submitted, with the schemas of the parameters."""
        return (await self.request(Kinds(), KindsReply)).kinds

    async def fetch_artifact(self, operation_id: str, name: str) -> bytes:
        """A file that the operation left, verified against its SHA-256."""
        return await fetch(self, operation_id, name)

    async def wait(self, operation_id: str, timeout_s: float | None = None) -> OperationState:
        """The terminal state of an operation. Raises UnknownOperationError; UnavailableError after `timeout_s`."""
        return await (await self.handle(operation_id)).wait(timeout_s)

    async def watch(self) -> AsyncIterator[Notice]:
        """Everything that happens: first the list (`OperationList`, then `Live`), then events and progress.

        Events are never left out; of progress only the newest of each operation waits. After a lost connection it
        goes on where it was, or, if that is too long ago, with a new list.
        """
        watch = _Watch()
        known = list(self._mirror.operations.values())
        if self._link.state == "live":
            watch.put(OperationList(operations=known, more=False, first=True))
            watch.put(Live(self._mirror.epoch, self._mirror.seq))
        self._watchers.add(watch)
        try:
            while True:
                yield await watch.get()
        finally:
            self._watchers.discard(watch)

    def _track(self, operation_id: str) -> Track:
        track = self._tracks.get(operation_id)
        if track is None:
            track = self._tracks[operation_id] = Track(operation_id)
            track.operation = self._mirror.operations.get(operation_id)
        return track


class _Watch:
    """One `watch()`: events in order, progress by its place in line with the newest value."""

    def __init__(self) -> None:
        self._line: deque[Notice | str] = deque()
        self._newest: dict[str, ProgressUpdate] = {}
        self._arrived = asyncio.Event()
        self._error: RfmError | None = None

    def put(self, notice: Notice) -> None:
        if isinstance(notice, ProgressUpdate):
            if notice.operation_id not in self._newest:
                self._line.append(notice.operation_id)
            self._newest[notice.operation_id] = notice
        else:
            self._line.append(notice)
        self._arrived.set()

    def stop(self, error: RfmError) -> None:
        self._error = error
        self._arrived.set()

    async def get(self) -> Notice:
        while True:
            if self._line:
                item = self._line.popleft()
                return self._newest.pop(item) if isinstance(item, str) else item
            if self._error is not None:
                raise self._error
            self._arrived.clear()
            await self._arrived.wait()


def _connection_file(settings: Settings | None) -> Path:
    return folders(settings if settings is not None else load().settings).connection


def _retry_after(value: str | None) -> float | None:
    return float(value) if value is not None and value.isdecimal() else None
