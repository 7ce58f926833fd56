"""The gateway's shell: WebSocket server, feed and requests around `core.sessions.GatewayCore`. One asyncio loop.

Writing never waits: bytes go into the connection's buffer, and the core is told how many are still there. One
ticker serves all sessions.
"""

from __future__ import annotations

import asyncio
import contextlib
import secrets
import time
from collections.abc import Coroutine, Mapping
from functools import partial
from typing import TYPE_CHECKING, Any, cast

import msgspec
import zmq
from msgspec import Struct
from websockets.asyncio.server import Server, ServerConnection, serve
from websockets.datastructures import Headers
from websockets.exceptions import ConnectionClosed
from websockets.protocol import State
from websockets.typing import Subprotocol

from rfm_runtime._version import __version__
from rfm_runtime.config import Endpoints, Settings, folders
from rfm_runtime.core.resources.flow import FlowMeter
from rfm_runtime.core.sessions.access import Authenticate, FollowedKeys, Grant, Sign
from rfm_runtime.core.sessions.forwarding import translated
from rfm_runtime.core.sessions.hub import (
    Beat,
    Close,
    Exchange,
    Fetch,
    Fetched,
    Forward,
    GatewayCore,
    Identity,
    PassOn,
    Push,
    Refused,
    goodbye,
)
from rfm_runtime.core.sessions.replica import Ask
from rfm_runtime.core.sessions.session import Session
from rfm_runtime.errors import RfmError, TokenExpiredError, UnavailableError, UnsupportedError
from rfm_runtime.gateway.certificates import Certificates
from rfm_runtime.gateway.connection import CLOSE_S, Connection, Threshold, options
from rfm_runtime.gateway.http import Http, bearer
from rfm_runtime.gateway.listener import Listener
from rfm_runtime.gateway.metrics import Metrics
from rfm_runtime.gateway.reporters import Reporters
from rfm_runtime.gateway.siblings import Siblings
from rfm_runtime.observe import logs, troubles
from rfm_runtime.observe.audit import AuditLog
from rfm_runtime.observe.garbage import Garbage
from rfm_runtime.protocol import internal
from rfm_runtime.protocol.codes import CLOSE_REASONS, CloseCode
from rfm_runtime.protocol.figures import OperationReport, PeriodReport
from rfm_runtime.protocol.history import HistoryReply, PerformanceReply
from rfm_runtime.protocol.internal import (
    ControlFrame,
    DataChunk,
    DataFetch,
    DataFocus,
    DataPixels,
    DataProbe,
    DataProbed,
    DataRecolour,
    DataRecoloured,
    DataTiles,
    Events,
    EventsSince,
    FeedFrame,
    GatewayHello,
    GatewayWelcome,
    Source,
    unpack,
)
from rfm_runtime.protocol.keys import KeyPair, Towards, place
from rfm_runtime.protocol.messages import (
    ArtifactChunk,
    CancelReply,
    FetchArtifact,
    FetchTiles,
    ListReply,
    Ok,
    OperationReply,
    Recolour,
    RecolourReply,
    TilePixels,
)
from rfm_runtime.protocol.notifying import RulesReply
from rfm_runtime.protocol.operation import error_info
from rfm_runtime.protocol.probing import ProbePoints, ProbeReply, SetFocus
from rfm_runtime.protocol.resources import Flow, ResourceReport
from rfm_runtime.protocol.revocation import Revocations, RevokeReply
from rfm_runtime.protocol.timeline import TimelineReply
from rfm_runtime.protocol.wire import SUBPROTOCOLS, Encoding, encode, join
from rfm_runtime.transport import sockets
from rfm_runtime.transport.drain import Drain
from rfm_runtime.transport.rpc import Rpc

if TYPE_CHECKING:
    from rfm_runtime.security.server_tls import ServerTls

__all__ = ["Gateway"]

log = logs.get("gateway")

TICK_S = 0.05
REQUEST_S = 5.0
EXCHANGE_S = 3.0
"""Less than there is for `hello`: whoever waits is told to come again, and not that he was late."""
PAINT_S = 65.0
"""Longer than an engine gives a process that colours a frame."""
ASK_S = 2.0
ENGINES_LIMIT = 64
LOOK_S = 2.0
"""How often it is looked whether certificate files are others; SIGHUP says so at once."""

KEYS_S = 1.0
"""How often it is looked whether keys of tokens are others: sessions of one that is gone end, whoever shows none."""

_ANSWERS: dict[type[Any], type[Any]] = {
    internal.DoSubmit: internal.Submitted,
    internal.DoCancel: CancelReply,
    internal.DoPause: internal.Ack,
    internal.DoPriority: internal.Ack,
    internal.DoList: ListReply,
    internal.DoGet: OperationReply,
    internal.DoExplain: internal.Explained,
    internal.DoKinds: internal.KindsKnown,
    internal.DoHistory: HistoryReply,
    internal.DoTimeline: TimelineReply,
    internal.DoPeriodReport: PeriodReport,
    internal.DoOperationReport: OperationReport,
    internal.DoPerformance: PerformanceReply,
    internal.Snapshot: internal.SnapshotPage,
    internal.EventsSince: internal.Events,
    internal.ProgressState: internal.ProgressStateReply,
    internal.DoRevoke: RevokeReply,
    internal.DoGetRules: RulesReply,
    internal.DoSetRules: RulesReply,
    internal.DoSignInLink: internal.Ack,
    internal.GetRevocations: Revocations,
}


class Gateway:
    """One gateway. Owned by the loop's thread."""

    def __init__(
        self,
        settings: Settings,
        *,
        source: Source,
        authenticate: Authenticate,
        endpoints: Endpoints,
        context: zmq.Context[zmq.Socket[bytes]],
        gateways: Mapping[str, str] | None = None,
        tls: ServerTls | None = None,
        towards: Towards | None = None,
        own: KeyPair | None = None,
        sign: Sign | None = None,
        keys: FollowedKeys | None = None,
    ) -> None:
        """gateways: endpoints of all on the port, by name; None where there is only this one. tls: None: plain text.

        towards: for a broker on another host. own: this host's keys, for engines on others; None: it has none.
        sign: makes a token for somebody, which every gateway of this runtime takes; None: sign-in links do not work.
        keys: that tokens are checked with; None: none that can change.
        """
        self._settings = settings
        self._source = source
        self.authenticate = authenticate
        self._endpoints = endpoints
        self._towards = towards
        self._own = own
        self._context = context
        self._sign = sign
        self._keys = keys
        self._loop = asyncio.get_running_loop()
        self.core = GatewayCore(
            settings, Identity(__version__, _now_ms(), secrets.token_hex(8)), self.authenticate, self._loop.time()
        )
        self.metrics = Metrics(self.core)
        self._flow = FlowMeter(self._loop.time())
        self._sent = self._welcomed = 0
        self.certificates = Certificates(tls, folders(settings).served_certificate)
        self._audit = AuditLog(folders(settings).audit, source.name)
        self._garbage = Garbage(log, lambda socket: self.core.counts.update((f"garbage_{socket}",)))
        self._siblings = Siblings(context, source.name, gateways or {}, self._own_metrics, self._garbage)
        self.ready = asyncio.Event()
        self._connections: dict[int, Connection] = {}
        self._engines: dict[str, Rpc] = {}
        self._reporters = Reporters(
            context, endpoints, towards, on_push=self._on_push, on_control=self._on_control, garbage=self._garbage
        )
        self._tasks: set[asyncio.Task[None]] = set()
        self._following: asyncio.Task[None] | None = None
        self._prefilling = False
        self.core.filled = False
        self.core.informed = False
        self._closed = False

    @property
    def now_s(self) -> float:
        """The loop's clock."""
        return self._loop.time()

    def troubles(self) -> tuple[str, bool]:
        """What ends again and again, for people, and whether the runtime does without it now."""
        found = troubles.read(folders(self._settings).troubles)
        keys = "" if self._keys is None else self._keys.trouble
        said = [*(trouble.said(_now_ms()) for trouble in found), self.certificates.trouble, keys]
        return "; ".join(filter(None, said)), any(trouble.down for trouble in found)

    def granted(self, connection: ServerConnection, token: str | None) -> Grant | None:
        """What a connection may: a token that is shown decides, without one its client certificate.

        Raises UnavailableError while nobody can say, TokenExpiredError for a token that was valid once.
        """
        if token is not None:
            return self.authenticate(token)
        return self.certificates.grant(connection)

    # --- life -------------------------------------------------------------------------------

    async def start(self, listener: Listener) -> None:
        """Follow the feed, then accept connections on `listener`."""
        command = sockets.command_dealer(self._context, self._endpoints.command, self._towards)
        self.rpc = Rpc(self._loop, command, on_garbage=partial(self._garbage.found, "command"))
        feed = sockets.feed_subscriber(self._context, self._endpoints.feed, self._towards)
        self._feed = Drain(self._loop, feed, self._on_feed)
        self._spawn(self._introduce())
        self._ask(self.core.replica.restart())
        self._http = Http(self, self._settings)
        context = self.certificates.context
        threshold = Threshold(self.core.doorstep, self.core.counts, self._settings.hello_timeout_s)
        listener.on_accept = threshold.came
        self._server: Server = await serve(
            self._connection,
            sock=listener,
            ssl=context,
            ssl_handshake_timeout=None if context is None else self._settings.hello_timeout_s,
            ssl_shutdown_timeout=None if context is None else CLOSE_S,
            subprotocols=[Subprotocol(name) for name in SUBPROTOCOLS],
            select_subprotocol=_select,
            process_request=self._http.process,
            process_response=self._http.harden,
            **options(self._settings, threshold),
        )
        if self.certificates.context is not None:
            self._following = self._loop.create_task(self._follow_certificates())
            self._following.add_done_callback(self._finished)
        self._tick_due_s = self._loop.time() + TICK_S
        self._tick_handle = self._loop.call_at(self._tick_due_s, self._tick)
        self._ask_again_s = self._loop.time() + ASK_S
        self._connected_s = self._loop.time()
        self._keys_due_s = self._loop.time()

    async def stop(self) -> None:
        """Say goodbye to everybody, then close. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._following is not None:
            self._following.cancel()
        self._tick_handle.cancel()
        self._carry_out(self.core.drain(_now_ms()))
        self._server.close(close_connections=False)
        if self._tasks:
            await asyncio.wait(self._tasks, timeout=CLOSE_S)
        self._server.close(code=CloseCode.DRAINING, reason=CLOSE_REASONS[CloseCode.DRAINING])
        try:
            async with asyncio.timeout(2 * CLOSE_S):
                await self._server.wait_closed()
        except TimeoutError:
            log.warning("connections_cut", count=len(self._connections))
        for task in self._tasks:
            task.cancel()
        self._feed.close()
        self.rpc.close()
        for rpc in self._engines.values():
            rpc.close()
        self._reporters.close()
        self._siblings.close()
        self._audit.write(self.core.notes.take(all_of_it=True))
        self._audit.close()
        log.info("gateway_stopped")

    def used(self, report: ResourceReport) -> None:
        """What this process uses. From any thread."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._tell_used, report)

    def _tell_used(self, report: ResourceReport) -> None:
        if not self._closed:
            self.rpc.push(self.core.usage(msgspec.structs.replace(report, flow=self._flow_now())))

    def _flow_now(self) -> Flow:
        return self._flow.flow(
            self._loop.time(),
            messages=self._sent,
            coalesced=self.core.superseded_progress,
            connections=self._welcomed,
            waiting=sum(len(session.slots) for session in self.core.sessions.values()),
        )

    def _spawn(self, coroutine: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(coroutine)
        self._tasks.add(task)
        task.add_done_callback(self._finished)

    def _finished(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("background_task_failed", exc_info=error)

    # --- the broker -------------------------------------------------------------------------

    def _on_feed(self, frames: list[bytes]) -> None:
        try:
            frame = unpack(frames)
        except RfmError as error:
            self._garbage.found("feed", error)
            return
        if isinstance(frame, FeedFrame):
            self._ask(self.core.feed(frame, self._loop.time()))
            self._after_change()

    async def _introduce(self) -> None:
        """Hear of the broker what its snapshots do not say."""
        hello = GatewayHello(self._source)
        while True:
            try:
                welcome = await self.rpc.request(hello, GatewayWelcome, timeout_s=ASK_S)
            except RfmError as error:
                log.info("hello_unanswered", error=error.message)
                await asyncio.sleep(error.retry_after_s or 0.1)
                continue
            self.core.durable = welcome.durable
            return

    def _ask(self, asks: list[Ask]) -> None:
        for ask in asks:
            self._ask_again_s = self._loop.time() + ASK_S
            self._spawn(self._asked(ask))

    async def _asked(self, ask: Ask) -> None:
        try:
            answer = await self.rpc.request(ask.message, _ANSWERS[type(ask.message)], timeout_s=ASK_S)
        except RfmError as error:
            # The ticker asks again.
            log.info("ask_unanswered", type=type(ask.message).__name__, error=error.message)
            return
        self._ask(self.core.answered(answer, ask.attempt))
        if self.core.replica.is_live and not self._prefilling:
            self._prefilling = True
            await self._prefill()
            self.core.filled = True
        self._after_change()

    async def _prefill(self) -> None:
        """Older events for the ring: watchers of a gateway that was restarted resume instead of starting anew."""
        replica = self.core.replica
        target, epoch = replica.floor, replica.epoch
        found: list[Any] = []
        try:
            first = await self.rpc.request(EventsSince(epoch, target), Events, timeout_s=ASK_S)
            seq = max(first.floor, target - self._settings.history_events)
            while seq < target:
                page = await self.rpc.request(EventsSince(epoch, seq), Events, timeout_s=ASK_S)
                if not page.recovered or not page.events:
                    return
                found += [event for event in page.events if event.seq <= target]
                seq = page.events[-1].seq
        except RfmError as error:
            log.info("prefill_failed", error=error.message)
            return
        replica.prefill(epoch, tuple(found))

    def _after_change(self) -> None:
        if self.core.replica.is_live and self.core.filled:
            self.ready.set()
        self._flush_all()

    async def _forward(self, command: Forward) -> None:
        begin_s = self._loop.time()
        if isinstance(command.message, internal.DoSubmit):
            for submission in command.message.submissions:
                log.info(
                    "submitting",
                    session=f"s{command.session}",
                    operation_id=submission.operation_id,
                    correlation_id=submission.correlation_id,
                )
        answer: Any
        try:
            reply = await self.rpc.request(command.message, _ANSWERS[type(command.message)], timeout_s=REQUEST_S)
            answer = translated(reply, command.message)
        except UnavailableError as error:
            answer = error_info(error) if error.retry_after_s is not None else self.core.broker_away(self._loop.time())
        except RfmError as error:
            answer = error_info(error)
        took_s = self._loop.time() - begin_s
        self.metrics.request.observe(took_s)
        self._flow.took(took_s)
        self.core.replied(command.session, command.request_id, answer, _now_ms(), command.message)
        self._write_down()
        self._flush(command.session)

    async def _exchange(self, command: Exchange) -> None:
        """The code of a sign-in link, as its digest, for a token."""
        token: str | RfmError
        try:
            if self._sign is None:
                raise UnsupportedError("this server makes no tokens")
            asked = internal.DoExchange(command.digest)
            found = await self.rpc.request(asked, internal.Exchanged, timeout_s=EXCHANGE_S)
            token = self._sign(found.principal, found.lifetime_s)
        except RfmError as error:
            token = error
        self._carry_out(self.core.exchanged(command.session, token, self._loop.time(), _now_ms()))
        self._flush(command.session)

    def _on_push(self, session: int, message: Struct) -> None:
        self._carry_out(self.core.pushed(session, message, _now_ms()))
        self._flush(session)

    def _on_control(self, frame: ControlFrame) -> None:
        self._carry_out(self.core.control(frame, _now_ms()))
        self._flush_all()

    async def _pass_on(self, command: PassOn) -> None:
        if command.session not in self._connections:
            # It has left meanwhile, and its line with it.
            return
        answer: Struct | RfmError
        try:
            answer = await self._reporters.ask(command.session, command.message)
        except RfmError as error:
            answer = error
        self._carry_out(self.core.passed_on(command, answer, _now_ms()))
        self._flush(command.session)

    async def fetch(self, location: str, operation_id: str, name: str, offset: int, length: int) -> DataChunk:
        """A chunk from the engine at `location`. Raises RfmError."""
        rpc = self._engine(location)
        return await rpc.request(DataFetch(operation_id, name, offset, length), DataChunk, timeout_s=REQUEST_S)

    def _engine(self, location: str) -> Rpc:
        rpc = self._engines.get(location)
        if rpc is None:
            if len(self._engines) >= ENGINES_LIMIT:
                self._engines.pop(next(iter(self._engines))).close()
            endpoint, key = place(location)
            if key is None and self._endpoints.are_remote:
                raise UnsupportedError(
                    "the engine that has the files can be reached on its own host alone",
                    hint="give it an address for gateways on other hosts: the setting data_address there",
                )
            if key is not None and self._own is None:
                raise UnsupportedError(
                    "the engine that has the files is on another host, and this gateway's has no keys",
                    hint="make them with `rfm-runtime keys init`, allow them there, and restart",
                )
            towards = None if key is None or self._own is None else Towards(self._own, key)
            try:
                dealer = sockets.data_dealer(self._context, endpoint, towards)
            except zmq.ZMQError as error:
                # No socket or descriptor left.
                log.warning("no_line_to_engine", error=str(error))
                raise UnavailableError("this gateway cannot reach another engine", retry_after_s=5.0) from None
            rpc = self._engines[location] = Rpc(self._loop, dealer, on_garbage=partial(self._garbage.found, "data"))
        return rpc

    async def _fetch(self, command: Fetch) -> None:
        # Whatever becomes of it: what is under way counts for its user until it is answered.
        answer: Struct = self.core.unavailable("the engine that has the files")
        try:
            answer = await self._fetched(command.location, command.request)
        except UnavailableError:
            pass
        except RfmError as error:
            answer = error_info(error)
        finally:
            self.core.fetched(command.session, command.request_id, answer, _now_ms(), command.request)
            self._flush(command.session)

    async def _fetched(self, location: str, request: Fetched) -> Struct:
        operation_id = request.operation_id
        match request:
            case FetchArtifact():
                chunk = await self.fetch(location, operation_id, request.name, request.offset, request.length)
                return ArtifactChunk(
                    operation_id=operation_id,
                    name=request.name,
                    offset=chunk.offset,
                    size_bytes=chunk.size_bytes,
                    sha256=chunk.sha256,
                    chunk=chunk.chunk,
                )
            case FetchTiles():
                x, y, width, height, step = request.x, request.y, request.width, request.height, request.step
                part = DataTiles(operation_id, x, y, width, height, step)
                pixels = await self._engine(location).request(part, DataPixels, timeout_s=PAINT_S)
                return TilePixels(
                    operation_id=operation_id,
                    x=x,
                    y=y,
                    width=pixels.width,
                    height=pixels.height,
                    step=step,
                    rgb=pixels.rgb,
                )
            case ProbePoints():
                probe = DataProbe(operation_id, tuple(request.points), request.orbit)
                probed = await self._engine(location).request(probe, DataProbed, timeout_s=PAINT_S)
                return ProbeReply(operation_id, list(probed.points))
            case SetFocus():
                focus = DataFocus(operation_id, request.x, request.y)
                await self._engine(location).request(focus, internal.Ack, timeout_s=PAINT_S)
                return Ok()
            case Recolour():
                again = DataRecolour(operation_id, request.look)
                recoloured = await self._engine(location).request(again, DataRecoloured, timeout_s=PAINT_S)
                return RecolourReply(recoloured.artifact)

    def _own_metrics(self) -> str:
        return self.metrics.text(self.core)

    async def metrics_text(self) -> str:
        """The gateways', the broker's and the engines' exposition text; who does not answer is left out."""
        parts = [await self._siblings.metrics_text(), self.metrics.resources_text()]
        locations = {o.location for o in self.core.replica.operations.values() if o.location} | self._engines.keys()
        for location in (None, *sorted(locations)):
            try:
                rpc = self.rpc if location is None else self._engine(location)
                parts.append((await rpc.request(internal.Metrics(), internal.MetricsText, timeout_s=1.0)).text)
            except RfmError as error:
                log.info("metrics_missing", error=error.message)
        return "".join(parts)

    # --- certificates -----------------------------------------------------------------------

    async def _follow_certificates(self) -> None:
        while True:
            if self.certificates.ends_s is not None:
                self.metrics.certificate_ends(self.certificates.ends_s)
            await asyncio.sleep(LOOK_S)
            try:
                self.reload(again=False)
            except Exception:
                # Whatever is wrong with these files or with one connection, the next ones are followed.
                log.exception("certificates_not_followed")

    def reload(self, *, again: bool = True) -> None:
        """Use newer certificate files from now on; who may not be here by them is told goodbye. again: in any case."""
        if not self.certificates.look(again=again):
            return
        for number, connection in list(self._connections.items()):
            refusal, grant = self.certificates.refusal(connection), self.certificates.grant(connection)
            self._carry_out(self.core.certified(number, grant, refusal, _now_ms()))
        self._flush_all()

    # --- connections ------------------------------------------------------------------------

    async def _connection(self, accepted: ServerConnection) -> None:
        """Handler of one WebSocket, from handshake to close."""
        connection = cast(Connection, accepted)
        now_s = self._loop.time()
        encoding: Encoding = SUBPROTOCOLS.get(connection.subprotocol or "", "json")
        request = connection.request
        offered = bearer(request.headers) if request is not None else None
        address = connection.address
        try:
            grant = self.granted(connection, offered)
        except UnavailableError as later:
            await self._refuse(connection, encoding, self.core.cannot_say(later))
            return
        except TokenExpiredError:
            await self._refuse(connection, encoding, self.core.wrong_token(address, now_s, CloseCode.TOKEN_EXPIRED))
            return
        if connection.subprotocol is None and request is not None and _is_of_another_version(request.headers):
            # Nothing it said would mean what it means here.
            self.core.counts["refused_version"] += 1
            await self._refuse(connection, encoding, Refused(CloseCode.VERSION, None))
            return
        if offered is not None and grant is None:
            await self._refuse(connection, encoding, self.core.wrong_token(address, now_s))
            return
        session = self.core.connected(
            address,
            encoding,
            grant,
            now_s,
            certificate=self.certificates.name(connection),
            certificate_ends_ms=self.certificates.ends_ms(connection),
        )
        if isinstance(session, Refused):
            await self._refuse(connection, encoding, session)
            return
        self._connections[session.number] = connection
        bound = log.bind(session=f"s{session.number}")
        bound.info("connected", encoding=encoding)
        try:
            await self._read(connection, session)
        except ConnectionClosed:
            bound.debug("connection_lost")
        finally:
            self.core.disconnected(session.number)
            self._connections.pop(session.number, None)
            self._reporters.drop(session.number)
            bound.info("disconnected", client=session.client, code=connection.close_code, hz=session.pace.hz)

    async def _refuse(self, connection: Connection, encoding: Encoding, refused: Refused) -> None:
        farewell = encode(goodbye(refused.code, refused.retry_after_ms, refused.reason), encoding, ts=_now_ms())
        self._write(connection, farewell, text=encoding == "json")
        await connection.close(refused.code, CLOSE_REASONS.get(refused.code, ""))

    async def _read(self, connection: Connection, session: Session) -> None:
        welcomed = False
        async for message in connection:
            wait_s = self.core.wait_s(session.number, self._loop.time())
            while wait_s > 0.0:
                await asyncio.sleep(wait_s)
                wait_s = self.core.wait_s(session.number, self._loop.time())
            self._carry_out(self.core.received(session.number, message, self._loop.time(), _now_ms()))
            self._flush(session.number)
            if not welcomed and session.max_hz:
                welcomed = True
                self._welcomed += 1
                self.metrics.setup.observe(self._loop.time() - session.connected_s)

    def _carry_out(self, commands: list[Any]) -> None:
        for command in commands:
            match command:
                case Forward():
                    self._spawn(self._forward(command))
                case Fetch():
                    self._spawn(self._fetch(command))
                case PassOn():
                    self._spawn(self._pass_on(command))
                case Push():
                    self._reporters.push(command.handle, command.measure)
                case Exchange():
                    self._spawn(self._exchange(command))
                case Beat():
                    self._reporters.beat(command.session, command.source, command.operations)
                case Close():
                    self._spawn(self._close(command))
                case Ask():
                    self._ask([command])
        self._write_down()

    def _write_down(self) -> None:
        """What happened just now is on disk before anybody is told of it."""
        if self.core.notes.has_lines:
            self._audit.write(self.core.notes.take())

    async def _close(self, command: Close) -> None:
        connection = self._connections.get(command.session)
        if connection is None:
            return
        stalled = command.code == CloseCode.SLOW_CONSUMER
        if not stalled:
            self._flush(command.session)
        try:
            async with asyncio.timeout(CLOSE_S):
                await connection.close(command.code, CLOSE_REASONS.get(command.code, ""))
        except TimeoutError:
            connection.transport.abort()
        if stalled:
            # Its buffer will never drain: what is in it must not be kept.
            connection.transport.abort()

    # --- writing ----------------------------------------------------------------------------

    def _flush_all(self) -> None:
        for number in self.core.pending():
            try:
                self._flush(number)
            except Exception:
                # One watcher's fault is not the others': it connects again, and resumes.
                log.exception("flush_failed", session=f"s{number}")
                self._connections[number].transport.abort()

    def _flush(self, number: int) -> None:
        connection = self._connections.get(number)
        if connection is None or connection.protocol.state is not State.OPEN:
            return
        unsent = connection.unsent_bytes
        payloads = self.core.pull(number, unsent, self._loop.time(), _now_ms())
        if not payloads:
            return
        text = [payload.data for payload in payloads if not payload.binary]
        binary = [payload for payload in payloads if payload.binary]
        if text:
            self._write(connection, join(text, "json"), text=True)
        if binary:
            self._write(connection, join([payload.data for payload in binary], "msgpack"), text=False)
        self.metrics.messages.inc(len(payloads))
        self._sent += len(payloads)

    def _write(self, connection: Connection, data: bytes, *, text: bool) -> None:
        connection.put(data, text=text)
        self.metrics.written.inc(len(data))

    # --- time -------------------------------------------------------------------------------

    def _tick(self) -> None:
        now_s = self._loop.time()
        self.metrics.loop_lag.set(max(0.0, now_s - self._tick_due_s))
        # Before the work: whatever fails in one tick (the loop logs it), the next one comes.
        self._tick_due_s = max(self._tick_due_s, now_s) + TICK_S
        self._tick_handle = self._loop.call_at(self._tick_due_s, self._tick)
        if now_s >= self._ask_again_s:
            self._ask_again_s = now_s + ASK_S
            self._ask(self.core.ask_again(now_s))
            self._reach_again(now_s)
        self._reporters.push_again()
        if self._keys is not None and now_s >= self._keys_due_s:
            self._keys_due_s = now_s + KEYS_S
            if self._keys.look():
                self._carry_out(self.core.keys_changed(self._keys, _now_ms()))
        self._carry_out(self.core.tick(now_s, _now_ms()))
        self._audit.write(self.core.notes.take())
        self._flush_all()

    def _reach_again(self, now_s: float) -> None:
        """A broker on another host, from which nothing is heard: see `sockets.CONNECT_AGAIN_S`."""
        silent_s = now_s - max(self.core.last_frame_s, self._connected_s)
        if self._endpoints.are_remote and silent_s > sockets.CONNECT_AGAIN_S:
            self._connected_s = now_s
            log.info("connecting_again", address=self._endpoints.command)
            self.rpc.connect_again(self._endpoints.command)
            self._feed.connect_again(self._endpoints.feed)
            self._reporters.connect_again()


def _select(_connection: ServerConnection, offered: Any) -> Subprotocol | None:
    """The first we know; none offered, or none of ours, means JSON."""
    return next((name for name in offered if name in SUBPROTOCOLS), None)


def _is_of_another_version(headers: Headers) -> bool:
    """Whether a client offers versions of this protocol, none of which `_select` knew."""
    offered = (name.strip() for line in headers.get_all("Sec-WebSocket-Protocol") for name in line.split(","))
    return any(name.startswith("rfm.") for name in offered)


def _now_ms() -> int:
    return time.time_ns() // 1_000_000
