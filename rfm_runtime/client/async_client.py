"""`AsyncClient`: submit, watch, steer and fetch over one connection that is made again whenever it drops.

One background task owns the `Connection`; everything belongs to the loop the client was entered in. Decisions are
in `mirror` (what is known) and `outbox` (what waits to be sent).
"""

from __future__ import annotations

import asyncio
import os
import weakref
from collections import deque
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Literal, TypeVar

from msgspec import Struct

from rfm_runtime.client.artifacts import PAINT_S, fetch
from rfm_runtime.client.connection import OPEN_S, Connection, GetToken, Speaker
from rfm_runtime.client.connection_file import ConnectionInfo
from rfm_runtime.client.handle import AsyncOperation, Track
from rfm_runtime.client.ids import ulid
from rfm_runtime.client.link import Link, LinkState
from rfm_runtime.client.mirror import Mirror
from rfm_runtime.client.outbox import Outbox, Pending
from rfm_runtime.client.requests import REQUEST_S, Requests
from rfm_runtime.config import Settings, Trust, check_no_password, destination, folders, load
from rfm_runtime.core.timing import Backoff
from rfm_runtime.errors import (
    BadRequestError,
    ConflictError,
    InternalError,
    RateLimitedError,
    RfmError,
    UnauthorizedError,
    UnavailableError,
    UnknownOperationError,
)
from rfm_runtime.protocol.messages import (
    AuthRefresh,
    FetchTiles,
    GetOperation,
    Live,
    Ok,
    OperationList,
    OperationReply,
    Recolour,
    RecolourReply,
    Submit,
    SubmitMany,
    SubmitManyReply,
    SubmitReply,
    SubmitRequest,
    Subscribe,
    Subscribed,
    Throttled,
    TilePixels,
    Welcome,
)
from rfm_runtime.protocol.notifying import RulesChanged
from rfm_runtime.protocol.operation import (
    TERMINAL_STATES,
    ErrorInfo,
    Operation,
    OperationEvent,
    OperationState,
    ProgressUpdate,
)
from rfm_runtime.protocol.probing import ProbedPoint, ProbePoints, ProbeReply, SetFocus
from rfm_runtime.protocol.resources import Resources
from rfm_runtime.protocol.wire import type_of
from rfm_runtime.security.tls import ClientCert

__all__ = ["AsyncClient", "Notice", "OnRules", "OnState"]

T = TypeVar("T", bound=Struct)
Notice = OperationEvent | ProgressUpdate | OperationList | Live | Resources | Throttled
OnState = Callable[[LinkState, dict[str, Any]], None]
OnRules = Callable[[int], None]

REPEAT_S = 0.5
"""Until a request that came too often is repeated, when the server does not say."""

RENDER = "render.escape_time"


class AsyncClient(Requests):
    """A client of one runtime.

    url, token: of the runtime; without them, and without `settings`, the one that RFM_URL names, or the local one,
    which is found through its connection file.
    code: of a sign-in link, instead of a token.
    max_retries (None: for ever), initial_delay, max_delay (seconds), jitter (0–1): how lost connections are made again.
    get_token: called for a fresh token a minute before the present one expires, and when the server refuses it; it may
    be a coroutine. on_state: told every change of the connection. metrics: `watch` tells also what the runtime uses, to
    whoever may know. on_rules: told that the user's rules of notifications have another version. encoding: "msgpack" or
    "json".
    ca_file: PEM with the authorities of a wss:// server, without it the system's. client_cert: PEM with certificate and
    key, or (certificate, key), where the server knows its clients by certificates. allow_insecure: send a token in
    plain text (ws://) to another host. These three default to what RFM_CA_FILE, RFM_CLIENT_CERT with RFM_CLIENT_KEY,
    and RFM_ALLOW_INSECURE say. Use it as `async with AsyncClient() as client`.
    """

    def __init__(
        self,
        url: str | None = None,
        token: str | None = None,
        *,
        code: str | None = None,
        settings: Settings | None = None,
        max_retries: int | None = None,
        initial_delay: float = 0.5,
        max_delay: float = 30.0,
        jitter: float = 1.0,
        get_token: GetToken | None = None,
        on_state: OnState | None = None,
        on_rules: OnRules | None = None,
        name: str = "python",
        detail: str = "summary",
        metrics: bool = False,
        encoding: str = "msgpack",
        ca_file: str | os.PathLike[str] | None = None,
        client_cert: ClientCert | None = None,
        allow_insecure: bool | None = None,
    ) -> None:
        if encoding not in ("json", "msgpack"):
            raise BadRequestError(f"encoding is {encoding!r}", hint='choose "msgpack" or "json"')
        chosen: Any = encoding
        if url is None and settings is None and (named := destination()) is not None:
            url, token = named.url, named.token
            # The file may have a fresh one by then.
            get_token = get_token or _named_token
        if url is not None:
            check_no_password(url)
        trust = Trust(ca_file, client_cert, allow_insecure)
        self._connection_file = None if url is not None else _connection_file(settings)
        self._on_state = on_state
        self._detail = detail
        self._metrics = metrics
        self._on_rules = on_rules
        self._mirror = Mirror()
        self._outbox = Outbox()
        speaker = Speaker(
            resume_from=lambda: self._mirror.resume,
            welcomed=self._welcomed,
            to_send=self._outbox.to_send,
            answered=self._answered,
            noticed=self._noticed,
            dropped=self._dropped,
            told=self._told,
        )
        self._connection = Connection(
            speaker,
            Link(Backoff(initial_delay, max_delay, jitter), max_retries),
            url=url,
            token=token,
            connection_file=self._connection_file,
            get_token=get_token,
            name=name,
            encoding=chosen,
            trust=trust,
            code=code or "",
        )
        self._answers: dict[int, asyncio.Future[Struct]] = {}
        # Of what nobody has a handle any more, nothing is kept.
        self._tracks: weakref.WeakValueDictionary[str, Track] = weakref.WeakValueDictionary()
        self._submitting: set[str] = set()
        self._watchers: set[_Watch] = set()
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
        return self._connection.link.state

    @property
    def waiting(self) -> list[str]:
        """Requests that wait for a connection, by type, in the order in which they will be sent."""
        return [type_of(pending.message) for pending in self._outbox.to_send()]

    @property
    def known(self) -> Mapping[str, Operation]:
        """The newest of each operation, as far as this client was told: all that is alive, and what ended lately."""
        return self._mirror.operations

    @property
    def url(self) -> str:
        """Where the server is, "" before it was found."""
        return self._connection.url or ""

    async def connect(self, timeout_s: float | None = OPEN_S) -> None:
        """Wait until the list of operations is there.

        Raises NoRuntimeError, UnauthorizedError, TokenExpiredError, UnavailableError; CertificateError if the server is
        not one to trust, InsecureUrlError if others could read the token.
        """
        if self._task is None:
            if self._connection_file is not None:
                # Nobody there is said at once; later the file is awaited, since a restart writes it anew.
                ConnectionInfo.read(self._connection_file).serving()
            self._live = asyncio.get_running_loop().create_future()
            self._task = asyncio.create_task(self._keep(), name="rfm-client")
            self._task.add_done_callback(self._ended)
        if self._live is None:
            raise InternalError("the client has no connection task")
        self._connection.is_patient = timeout_s is None
        try:
            async with asyncio.timeout(timeout_s):
                await asyncio.shield(self._live)
        except TimeoutError:
            reason = self._connection.link.reason or "no answer"
            await self.close()
            raise UnavailableError(
                f"no connection to {self._connection.url} within {timeout_s:g} s: {reason}",
                hint=self._connection.advice,
            ) from None

    async def close(self) -> None:
        """Close the connection; handles keep what they know. Idempotent."""
        task, self._task = self._task, None
        await self._connection.close()
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
        self._stop(UnavailableError("the client was closed"), "closed")

    async def _keep(self) -> None:
        try:
            await self._connection.run()
        except RfmError as error:
            self._stop(error, "unauthorised" if self.state == "unauthorised" else "closed")

    def _ended(self, task: asyncio.Task[None]) -> None:
        """A fault, or a callback of the user that raised."""
        if not task.cancelled() and (error := task.exception()) is not None:
            self._stop(InternalError(f"the client's connection task failed: {error!r}", hint="connect again"), "closed")

    def retry_now(self) -> None:
        """Try again at once, where a connection that dropped is waited for."""
        self._connection.retry_now()

    def use_token(self, token: str) -> None:
        """Show this token from the next connection on."""
        self._connection.use_token(token)

    async def refresh_token(self, token: str) -> None:
        """Go on with this token on the connection that there is: a fresh one of the same user.

        Raises TokenExpiredError; BadRequestError if it is somebody else's, or nobody's.
        """
        await self.request(AuthRefresh(token), Ok)
        self._connection.has_shown(token)

    # --- what comes in ----------------------------------------------------------------------

    def _welcomed(self, welcome: Welcome) -> Struct:
        self.server = welcome
        self._mirror.forget_log(welcome.epoch, welcome.seq)
        detail: Literal["tiles", "summary"] = "tiles" if self._detail == "tiles" else "summary"
        return Subscribe(operations="active", detail=detail, metrics=self._metrics and _may_observe(welcome))

    def _dropped(self) -> None:
        for pending in self._outbox.disconnected():
            self._refuse(pending, UnavailableError("the connection dropped while a file was fetched"))

    def _told(self, details: dict[str, Any]) -> None:
        if self._on_state is not None:
            self._on_state(self.state, details)

    def _answered(self, number: int, data: Struct) -> None:
        pending = self._outbox.answered(number)
        if pending is None:
            return
        pending.answered = True
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
            case Resources() | Throttled():
                self._show(data)
            case RulesChanged() if self._on_rules is not None:
                self._on_rules(data.version)
            case Subscribed():
                if not data.recovered:
                    self._look_after_handles()

    def _now_live(self, live: Live) -> None:
        self._mirror.moved(live.epoch, live.seq)
        self._connection.live()
        if self._live is not None and not self._live.done():
            self._live.set_result(None)
        self._show(live)

    def _look_after_handles(self) -> None:
        """A snapshot shows the newest of what is finished; a handle's operation may be older than that."""
        for operation_id, track in self._tracks.items():
            # One that is still being submitted is not unknown, only not there yet.
            if not track.terminal and operation_id not in self._submitting:
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
            track.lost = None
        elif track.lost is None:
            # Something happened to what the mirror has forgotten, and an event alone does not say what it is.
            track.refreshing = asyncio.ensure_future(self._refresh(operation_id))
        track.bump()

    def _show(self, notice: Notice) -> None:
        for watch in self._watchers:
            watch.put(notice)

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
        self._connection.ended(state, error.message)

    # --- requests ---------------------------------------------------------------------------

    async def request(self, message: Struct, reply: type[T], *, timeout_s: float = REQUEST_S) -> T:
        """The server's answer. Queued while there is no connection, repeated when the server asks for patience.

        Raises the server's error, or UnavailableError after `timeout_s`.
        """
        return await self._request(message, reply, timeout_s, [])

    async def _request(self, message: Struct, reply: type[T], timeout_s: float, tries: list[Pending]) -> T:
        """As `request`. tries: what became of it in the outbox, one after the other."""
        try:
            # What cannot be said must not wait in the queue: there it would end the connection, again and again.
            self._connection.encode(message)
        except (TypeError, ValueError, OverflowError, RecursionError) as error:
            raise BadRequestError(
                f"{type_of(message)} cannot be encoded: {error}", hint="use strings, numbers, lists and dictionaries"
            ) from None
        answer: Struct | None = None
        refused: RateLimitedError | None = None
        try:
            async with asyncio.timeout(timeout_s):
                while answer is None:
                    try:
                        answer = await self._ask(message, tries)
                    except RateLimitedError as too_many:
                        refused = too_many
                        await asyncio.sleep(too_many.retry_after_s or REPEAT_S)
        except TimeoutError:
            unsure = any(pending.unsure for pending in tries)
            if refused is not None and not unsure:
                raise refused from None
            what = "no answer" if unsure else "not sent, for want of a connection,"
            raise UnavailableError(
                f"{what} within {timeout_s:g} s ({self.state})", hint="repeating the request is safe"
            ) from None
        if not isinstance(answer, reply):
            raise InternalError(f"expected {reply.__name__}, got {type(answer).__name__}")
        return answer

    async def _ask(self, message: Struct, tries: list[Pending]) -> Struct:
        """One answer."""
        if self._task is None or self._task.done():
            raise self._stopped or UnavailableError(
                "the client is not connected", hint="use `async with AsyncClient() as client`, or await connect()"
            )
        pending, refused = self._outbox.add(message)
        if refused is not None:
            self._refuse(refused, UnavailableError("too many requests wait for a connection"))
        if pending is None:
            raise UnavailableError("too many requests wait for a connection", hint="wait until it is live again")
        tries.append(pending)
        future: asyncio.Future[Struct] = asyncio.get_running_loop().create_future()
        self._answers[pending.number] = future
        try:
            await self._connection.send_waiting()
            return await future
        finally:
            self._outbox.answered(pending.number)
            self._answers.pop(pending.number, None)

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
        track = self._track(submission.operation_id)
        self._submitting.add(submission.operation_id)
        tries: list[Pending] = []
        try:
            answer = await self._request(submission, SubmitReply, timeout_s, tries)
        except RfmError as error:
            # Of what was refused, or never sent, whoever says so knows what is to be done.
            if error.unsure or any(pending.unsure for pending in tries):
                error.unsure = True
                error.hint = (
                    f"it may have been accepted: see `rfm-runtime show {submission.operation_id}`, or submit it again "
                    f"with operation_id={submission.operation_id!r} and request_key={submission.request_key!r}, "
                    "which does nothing twice"
                )
            raise
        finally:
            self._submitting.discard(submission.operation_id)
        return AsyncOperation(
            self, track if answer.operation_id == track.operation_id else self._track(answer.operation_id)
        )

    async def retry(self, operation_id: str) -> AsyncOperation:
        """Submit once more what has ended: a new operation of one's own, of the same kind, parameters, name, labels
        and priority, and of no parent. Raises ConflictError if it has not ended, UnknownOperationError; BadRequestError
        if no engine offers the kind, as of what a program reported of itself.
        """
        known = await self.request(GetOperation(operation_id), OperationReply)
        ended = known.operation
        if ended.state not in TERMINAL_STATES:
            raise ConflictError(f"{operation_id} is {ended.state}", hint="only what has ended can be submitted again")
        return await self.submit(
            ended.kind, known.params, name=ended.name, priority=ended.priority, labels=ended.labels
        )

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

    async def operation(self, operation_id: str) -> Operation:
        """One operation. Raises UnknownOperationError."""
        reply = await self.request(GetOperation(operation_id), OperationReply)
        if self._mirror.listed(reply.operation):
            self._bump(operation_id)
        return reply.operation

    async def handle(self, operation_id: str) -> AsyncOperation:
        """A handle for an operation that somebody submitted. Raises UnknownOperationError."""
        track = self._track(operation_id)
        known = await self.operation(operation_id)
        # While the answer was on its way, an event may have told more than it says.
        if track.operation is None or track.operation.at_seq <= known.at_seq:
            track.operation = known
        return AsyncOperation(self, track)

    async def fetch_artifact(self, operation_id: str, name: str) -> bytes:
        """A file that the operation left, verified against its SHA-256."""
        return await fetch(self, operation_id, name)

    async def fetch_tiles(
        self, operation_id: str, *, x: int = 0, y: int = 0, width: int, height: int, step: int = 1
    ) -> TilePixels:
        """The colours of a part of a render, as far as it is computed: see `TilePixels`. At most 65,536 pixels."""
        request = FetchTiles(operation_id=operation_id, x=x, y=y, width=width, height=height, step=step)
        return await self.request(request, TilePixels, timeout_s=PAINT_S)

    async def probe_points(
        self, operation_id: str, points: Sequence[tuple[int, int]], *, orbit: int = 0
    ) -> list[ProbedPoint]:
        """What becomes of pixels x, y of a render that runs or is finished: see `ProbedPoint`. At most 64.

        orbit: places of their orbits that are wanted, at most 1,000.
        """
        request = ProbePoints(operation_id=operation_id, points=list(points), orbit=orbit)
        return (await self.request(request, ProbeReply, timeout_s=PAINT_S)).points

    async def set_focus(self, operation_id: str, x: float, y: float) -> None:
        """Have what is left of a render computed from there outwards: parts of its width and height, 0 to 1."""
        await self.request(SetFocus(operation_id=operation_id, x=x, y=y), Ok, timeout_s=PAINT_S)

    async def recolour(self, operation_id: str, **look: Any) -> bytes:
        """A finished render with other colours, as PNG, without computing it again.

        look: parameters of a render that have to do with colours, such as palette, density, slopes; those that are not
        named stay as they were. Raises BadRequestError.
        """
        request = Recolour(operation_id=operation_id, look=look)
        reply = await self.request(request, RecolourReply, timeout_s=PAINT_S)
        return await self.fetch_artifact(operation_id, reply.artifact.name)

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
        if self._mirror.epoch:
            # What comes next may go on from here, without a list of its own.
            watch.put(OperationList(operations=known, more=False, first=True))
        if self.state in ("live", "stale"):
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


def _named_token() -> str:
    """As the environment says now."""
    named = destination()
    if named is None:
        raise UnauthorizedError("the server wants another token")
    return named.token


def _may_observe(welcome: Welcome) -> bool:
    # Not wanted by most who import this, and not free.
    from rfm_runtime.core.permissions import reach
    from rfm_runtime.protocol.internal import Principal

    return reach(Principal(welcome.user, tuple(welcome.roles)), "observe") is not None
