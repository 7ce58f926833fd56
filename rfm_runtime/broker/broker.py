"""The broker's shell: sockets, tick, journal and pidfds around `core.operations.Hub`. One asyncio loop.

It receives, hands to the hub, and carries out the hub's commands in order; it decides nothing. Embedded use
makes one and calls `start` and `stop`; the process of the same name is `__main__`.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import signal
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import msgspec
import zmq
from msgspec import Struct

from rfm_runtime.broker.ingest import Ingest
from rfm_runtime.broker.left import Left, Reading
from rfm_runtime.broker.looking_back import LOOKS, Look, look
from rfm_runtime.broker.metrics import Metrics
from rfm_runtime.config import Endpoints, Settings
from rfm_runtime.core.operations.feed import Feed
from rfm_runtime.core.operations.hub import Hub, Validator
from rfm_runtime.core.operations.record import (
    Asked,
    Batch,
    Command,
    Control,
    Died,
    Drain,
    Forget,
    Heard,
    Journal,
    JournalFailed,
    Journalled,
    Kill,
    Loaded,
    Now,
    Publish,
    Push,
    Revoked,
    Ruled,
    Send,
    Tick,
    Told,
    Watch,
)
from rfm_runtime.core.reports.single import operation_report
from rfm_runtime.core.resources.board import Board
from rfm_runtime.core.resources.flow import FlowMeter
from rfm_runtime.errors import (
    BadRequestError,
    InternalError,
    JournalError,
    RateLimitedError,
    RfmError,
    UnavailableError,
)
from rfm_runtime.observe import logs
from rfm_runtime.observe.alive import boot_id, is_alive
from rfm_runtime.observe.garbage import Garbage
from rfm_runtime.protocol import internal
from rfm_runtime.protocol.history import PerformanceReply
from rfm_runtime.protocol.internal import (
    DoCancel,
    DoOperationReport,
    GatewayWelcome,
    LastWord,
    MetricsText,
    OwnerHello,
    ProgressStateReply,
    Request,
    Source,
    pack,
    pack_reply,
    unpack,
    unpack_body,
    unpack_progress,
)
from rfm_runtime.protocol.operation import (
    TERMINAL_EVENTS,
    TERMINAL_STATES,
    OperationEvent,
    ProgressUpdate,
    error_info,
)
from rfm_runtime.protocol.resources import ResourceReport, Resources, Usage
from rfm_runtime.protocol.revocation import Revocations
from rfm_runtime.store.journal import Journal as Store
from rfm_runtime.store.shown import Shown
from rfm_runtime.transport import sockets
from rfm_runtime.transport.drain import Drain as SocketDrain
from rfm_runtime.transport.hosts import Entrance, Hosts

__all__ = ["Broker"]

log = logs.get("broker")

READERS = 2
LOOKS_LIMIT = 32
"""Looks into the past at the same time, and those that wait. Each is short: see `store.journal.SCAN_LIMIT`."""

HEARD_AT_ONCE = 50
"""Outcomes of those that programs left, in one turn of the loop, one commit and one frame of the feed."""

HEARD_AHEAD = 4
"""Commits of what was heard that may wait while more is: behind a slow disk outcomes wait where they are safe already.
Commits of others do not count, of which there may always be as many."""

HEARD_AGAIN_S = 0.02
"""Before it is looked whether those commits are through."""

LAST_WORDS_S = 5.0
"""Between two looks for what programs left that nobody watched."""

WATCH_AGAIN_S = 1.0
"""After a failure to watch a process for a reason that is not its death."""


class Broker:
    """One broker. Everything happens in the loop's thread except the journal's writing.

    shown: the file that keeps what watchers were shown; without it a killed broker goes on with the journal's word.
    last_words: the folder in which programs leave outcomes that they could not tell.
    away, entrance: where other hosts connect, and who may; None: nobody does.
    """

    def __init__(
        self,
        settings: Settings,
        endpoints: Endpoints,
        store: Store,
        *,
        validators: Mapping[str, Validator],
        context: zmq.Context[zmq.Socket[bytes]],
        shown: Path | None = None,
        last_words: Path | None = None,
        away: Endpoints | None = None,
        entrance: Entrance | None = None,
        first: bool = False,
    ) -> None:
        self._settings = settings
        self._first = first
        self.unfinished = 0
        self._endpoints = endpoints
        self._away = away
        self._entrance = entrance
        self._hosts: Hosts | None = None
        self._store = store
        self._shown_file = shown
        self._left = Left(last_words)
        self._shown: Shown | None = None
        self._validators = validators
        self._context = context
        self._loop = asyncio.get_running_loop()
        self.metrics = Metrics()
        self._garbage = Garbage(log, lambda socket: self.metrics.garbage.labels(socket).inc())
        self.board = Board(settings.resources_interval_s, settings.max_hz, settings.write_limit_bytes)
        self._flow = FlowMeter(self._loop.time())
        self._heard = self._coalesced = 0
        self._frame_sent_s = 0.0
        self._watched: dict[int, Source] = {}
        self._cancels: dict[str, float] = {}
        self._asked_s: dict[tuple[bytes, int], float] = {}
        self._tick_handle: asyncio.TimerHandle | None = None
        self._tick_due_s = 0.0
        self._hearing: asyncio.Handle | None = None
        # Commits of what was heard that are not through, by number.
        self._heard_ahead: deque[int] = deque()
        self._closed = False
        self._boot_id = boot_id()
        self._journal_trouble: str | None = None
        self._looks = 0
        self._readers = ThreadPoolExecutor(READERS, thread_name_prefix="journal-read")

    # --- life -------------------------------------------------------------------------------

    def start(self) -> None:
        """Load the journal, bind, begin to tick. Raises JournalError or zmq.ZMQError."""
        loaded = self._load()
        self.hub = Hub(
            loaded,
            self._settings,
            validators=self._validators,
            mint_handle=lambda: secrets.randbits(64),
            now=self._now(),
            shown={} if self._shown is None else self._shown.before,
            first=self._first,
        )
        self.unfinished = len(self.hub.live)
        if self._shown is not None:
            for operation_id in self._shown.before.keys() - self.hub.live:
                self._shown.drop(operation_id)
        self._frames = Feed(loaded.epoch, loaded.incarnation, loaded.head, self.hub.revocations.committed.version)
        self._store.start(self._on_written, self._on_failed)
        for endpoint in (
            self._endpoints.command,
            self._endpoints.control,
            self._endpoints.feed,
            self._endpoints.ingest,
        ):
            _unlink(endpoint)
        self._router = sockets.command_router(self._context, self._endpoints.command)
        self._command = SocketDrain(self._loop, self._router, self._on_command)
        self._publisher = sockets.control_publisher(self._context, self._endpoints.control)
        self._control = SocketDrain(self._loop, self._publisher, self._on_subscription)
        self._feed = sockets.feed_publisher(self._context, self._endpoints.feed)
        pull = sockets.ingest_pull(self._context, self._endpoints.ingest)
        self._ingest = Ingest(self._loop, pull, self.hub.handles)
        self._let_hosts_in(pull)
        self._carry_out(self.hub.start(self._now()))
        # After the owners that are found dead at once, each of which is asked what it left.
        self._loop.call_soon(self._look_for_last_words)
        self._tick_due_s = self._loop.time() + self._settings.tick_s
        self._tick_handle = self._loop.call_at(self._tick_due_s, self._tick)
        log.info(
            "broker_ready",
            epoch=loaded.epoch,
            incarnation=loaded.incarnation,
            operations=len(loaded.rows),
            seq=loaded.head,
        )

    def _let_hosts_in(self, pull: zmq.Socket[bytes]) -> None:
        if self._away is None or self._entrance is None:
            return
        self._hosts = Hosts(
            self._loop,
            self._context,
            self._entrance,
            on_count=lambda what: self.metrics.connections.labels(what).inc(),
            on_say=lambda event, fields: log.warning(event, **fields),
        )
        self._hosts.open(self._router, self._away.command, self._command.kick)
        self._hosts.open(self._publisher, self._away.control, self._control.kick)
        # Nothing is received there, so that there is nothing to look for.
        self._hosts.open(self._feed, self._away.feed, lambda: None)
        self._hosts.open(pull, self._away.ingest, self._ingest.kick)

    def _load(self) -> Loaded:
        loaded = self._store.load(
            history_events=self._settings.history_events, finished_keep=self._settings.finished_keep
        )
        if self._shown_file is None:
            return loaded
        try:
            self._shown = Shown(self._shown_file, loaded.epoch)
        except OSError as error:
            self._show_no_more(error)
            return loaded
        if self._shown.head <= loaded.head:
            return loaded
        log.warning("journal_is_a_backup", seq=loaded.head, told=self._shown.head, kept="it goes on as another log")
        self._shown.close()
        self._store.renew()
        return self._load()

    def used(self, report: ResourceReport) -> None:
        """What this process uses. From any thread."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._take_used, report)

    def _take_used(self, report: ResourceReport) -> None:
        now_s = self._loop.time()
        states = self.hub.log.committed.counts()
        flow = self._flow.flow(
            now_s,
            messages=self._heard,
            coalesced=self._coalesced,
            connections=0,
            waiting=states.get("pending", 0) + states.get("queued", 0),
        )
        self.board.take(Usage(report=msgspec.structs.replace(report, flow=flow)), now_s)

    def drain(self) -> None:
        """Take nothing new."""
        self._carry_out(self.hub.handle(Drain(), self._now()))
        log.info("draining")

    async def stop(self) -> None:
        """Stop intake, commit everything, publish what that releases, close. Idempotent."""
        if self._closed:
            return
        self._closed = True
        if self._tick_handle is not None:
            self._tick_handle.cancel()
        if self._hosts is not None:
            self._hosts.close()
        self._ingest.close()
        self._readers.shutdown(wait=True, cancel_futures=True)
        await self._close_store()
        # The writer's last notifications were scheduled on this loop; let them run.
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        self._command.close()
        self._control.close()
        self._feed.close()
        for descriptor in list(self._watched):
            self._unwatch(descriptor)
        for endpoint in msgspec.structs.astuple(self._endpoints):
            _unlink(endpoint)
        if self._shown is not None:
            self._shown.close()
            self._shown = None
        self.hub.sanity_check()
        log.info("broker_stopped", seq=self.hub.log.head)

    async def _close_store(self) -> None:
        """In a thread of its own: the loop's executor is gone when a program that forgot to stop us ends."""
        closed = self._loop.create_future()

        def close() -> None:
            try:
                self._store.close()
            finally:
                self._loop.call_soon_threadsafe(closed.set_result, None)

        try:
            threading.Thread(target=close, name="journal-close", daemon=True).start()
        except RuntimeError:
            # Nor, from Python 3.12 on, is there another thread then: nobody is served any more, and may be held up.
            close()
        await closed

    def _now(self) -> Now:
        return Now(self._loop.time(), time.time_ns() // 1_000_000)

    # --- sockets ----------------------------------------------------------------------------

    def _on_command(self, frames: list[bytes]) -> None:
        routing = frames[0]
        message: Struct | None = None
        try:
            message = unpack(frames[1:])
            if isinstance(message, Usage):
                self.board.take(message, self._loop.time())
                return
            if not isinstance(message, Request):
                self._carry_out(self.hub.handle(Told(routing, message), self._now()))
                return
            body = unpack_body(message)
            if isinstance(body, OwnerHello) and body.local and body.source.boot_id != self._boot_id:
                # Its process is none of this machine's, whatever it says: nothing here may be taken for it, or killed.
                body = msgspec.structs.replace(body, local=False)
        except RfmError as error:
            self._garbage.found("command", error)
            if isinstance(message, Request):
                self._reply(routing, message.id, error_info(error))
            return
        if isinstance(body, internal.Metrics):
            self._reply(routing, message.id, MetricsText(self.metrics_text()))
            return
        if isinstance(body, LOOKS):
            self._look_back(routing, message.id, body)
            return
        try:
            missing = self.hub.missing(body)
            if missing is not None:
                self.hub.recall(self._store.find(*missing), self._now())
        except JournalError as error:
            self._reply(
                routing, message.id, error_info(UnavailableError(error.message, hint=error.hint, retry_after_s=1.0))
            )
            return
        asked_s = self._loop.time()
        commands = self.hub.handle(Asked(routing, message.id, body), self._now())
        if isinstance(body, DoCancel):
            self._time_cancel(routing, message.id, body.request.operation_id, asked_s)
        self._carry_out(commands)

    def _look_back(self, routing: bytes, request_id: int, body: Look) -> None:
        """Ask the store, which may have much to look through, in a thread: nobody else waits for it."""

        def answered(found: asyncio.Future[Struct]) -> None:
            self._looks -= 1
            if self._closed or found.cancelled():
                return
            error = found.exception()
            if isinstance(error, JournalError):
                error = UnavailableError(error.message, hint=error.hint, retry_after_s=1.0)
            if isinstance(error, RfmError):
                self._reply(routing, request_id, error_info(error))
            elif error is not None:
                log.error("looking_back_failed", exc_info=error)
                self._reply(routing, request_id, error_info(InternalError("the store cannot be asked")))
            else:
                answer = self.hub.present(found.result(), self._now(), body.principal)
                if isinstance(body, DoOperationReport) and isinstance(answer, PerformanceReply):
                    answer = operation_report(answer, now_ms=self._now().wall_ms)
                self._reply(routing, request_id, answer)

        if self._looks >= LOOKS_LIMIT:
            busy = RateLimitedError(f"{LOOKS_LIMIT} looks into the past wait already", retry_after_s=0.5)
            self._reply(routing, request_id, error_info(busy))
            return
        self._looks += 1
        asked = self._loop.run_in_executor(self._readers, look, self._store, body, self._now().wall_ms)
        asked.add_done_callback(answered)

    def _time_cancel(self, routing: bytes, request_id: int, operation_id: str, asked_s: float) -> None:
        """Only what will still have its outcome published is timed: a refused cancel leaves nothing behind."""
        self._asked_s[routing, request_id] = asked_s
        record = self.hub.records.get(operation_id)
        committed = self.hub.log.committed.get(operation_id)
        ended = committed is not None and committed.state in TERMINAL_STATES
        if record is not None and record.operation.cancel_requested and not ended:
            self._cancels.setdefault(operation_id, asked_s)

    def _on_subscription(self, frames: list[bytes]) -> None:
        """A late joiner gets the whole cancel set at once."""
        if frames[0] == b"\x01":
            self._send_control(self.hub.control_frame())
        elif frames[0] != b"\x00":
            # Subscriptions to everything are all that anybody has a use for.
            self._garbage.found("control", BadRequestError(f"{len(frames)} frames that subscribe to nothing"))

    def _reply(self, routing: bytes, request_id: int, answer: Struct) -> None:
        if isinstance(answer, GatewayWelcome | ProgressStateReply):
            answer = msgspec.structs.replace(answer, frame_no=self._frames.number)
        asked_s = self._asked_s.pop((routing, request_id), None)
        if asked_s is not None:
            self.metrics.cancel_acknowledged.observe(self._loop.time() - asked_s)
        self._deliver([routing, *pack_reply(request_id, answer)])

    def _deliver(self, frames: list[bytes]) -> None:
        try:
            self._command.send(frames)
        except zmq.ZMQError as error:
            # EHOSTUNREACH: it is gone. EAGAIN: it does not read; it will ask again.
            self.metrics.undeliverable.inc()
            log.info("undeliverable", error=str(error))

    # --- commands ---------------------------------------------------------------------------

    def _carry_out(self, commands: Iterable[Command]) -> None:
        queue: deque[Command] = deque(commands)
        while queue:
            command = queue.popleft()
            match command:
                case Journal():
                    self._journal(command.batch, queue)
                case Send():
                    self._reply(command.routing, command.request_id, command.answer)
                case Push():
                    self._deliver([command.routing, *pack(command.message)])
                case Publish():
                    self._publish(command.events)
                case Revoked():
                    self._revoke(command.revocations)
                case Ruled():
                    self._send_frame((), (), rules=((command.user, command.version),))
                case Control():
                    self._send_control(command.frame)
                case Watch():
                    self._watch(command.source)
                case Kill():
                    self._kill(command.source)
                case Forget():
                    self._left.forget(command.name)

    def _journal(self, batch: Batch, queue: deque[Command]) -> None:
        if not batch.is_empty:
            self._store.append(batch)
        elif self.hub.log.pending == 1:
            # Nothing to write and nothing before it: what hangs on it may leave now.
            queue.extend(self.hub.handle(Journalled(batch.number), self._now()))
        else:
            self._store.append(batch)

    def _publish(self, events: tuple[OperationEvent, ...]) -> None:
        if self._shown is not None:
            self._shown.head = events[-1].seq
        for event in events:
            self.metrics.events.labels(event.type).inc()
            log.info(
                event.type,
                operation_id=event.operation_id,
                seq=event.seq,
                generation=event.generation,
                correlation_id=self._correlation(event.operation_id),
                reason=event.reason,
            )
            if self._shown is not None and event.type in TERMINAL_EVENTS:
                self._shown.drop(event.operation_id)
            asked_s = self._cancels.pop(event.operation_id, None) if event.type in TERMINAL_EVENTS else None
            if asked_s is not None:
                self.metrics.cancel_idle.observe(self._loop.time() - asked_s)
        self._send_frame(events, ())

    def _correlation(self, operation_id: str) -> str | None:
        operation = self.hub.log.committed.get(operation_id)
        return None if operation is None else operation.correlation_id

    def _send_frame(
        self,
        events: tuple[OperationEvent, ...],
        progress: tuple[Any, ...],
        resources: Resources | None = None,
        revocations: Revocations | None = None,
        rules: tuple[tuple[str, int], ...] = (),
    ) -> None:
        now = self._now()
        frame = self._frames.frame(
            now.wall_ms,
            events,
            progress,
            resources=resources,
            journal=self._journal_trouble,
            revocations=revocations,
            rules=rules,
        )
        self._frame_sent_s = now.mono_s
        self._feed.send_multipart(pack(frame), zmq.NOBLOCK)
        self.metrics.feed_frames.inc()

    def _revoke(self, revocations: Revocations) -> None:
        newest = max(revocations.entries, key=lambda entry: entry.version)
        log.info("revoked", by=newest.by, user=newest.user, token=newest.token_id, version=revocations.version)
        self._send_frame((), (), revocations=revocations)

    def _send_control(self, frame: Struct) -> None:
        self._control.send(pack(frame))

    # --- the journal's thread calls back ----------------------------------------------------

    def _on_written(self, number: int, elapsed_s: float) -> None:
        self._from_thread(self._written, number, elapsed_s)

    def _on_failed(self, trouble: JournalFailed) -> None:
        self._from_thread(self._failed, trouble)

    def _from_thread(self, callback: Callable[..., None], *arguments: Any) -> None:
        self._loop.call_soon_threadsafe(callback, *arguments)

    def _written(self, number: int, elapsed_s: float) -> None:
        self.metrics.commit.observe(elapsed_s)
        self._flow.took(elapsed_s)
        while self._heard_ahead and self._heard_ahead[0] <= number:
            self._heard_ahead.popleft()
        self._carry_out(self.hub.handle(Journalled(number), self._now()))

    def _failed(self, trouble: JournalFailed) -> None:
        self._carry_out(self.hub.handle(trouble, self._now()))
        reason = trouble.reason
        said = None if reason is None else f"the journal cannot be written: {reason}; {trouble.hint}"
        self.metrics.journal_failing.set(0 if reason is None else 2 if trouble.outcomes else 1)
        # It is tried twice a second: a log on a full disk is not to be filled with that.
        if said == self._journal_trouble:
            return
        self._journal_trouble = said
        if reason is None:
            log.info("journal_writes_again")
        else:
            kept = "outcomes are written" if trouble.outcomes else "batches wait in memory"
            log.error("journal_failed", reason=reason, hint=trouble.hint, kept=f"{kept}; nothing new is taken")

    # --- processes --------------------------------------------------------------------------

    def _watch(self, source: Source) -> None:
        """Tell the hub when the process is gone; at once if it is."""
        try:
            descriptor = os.pidfd_open(source.pid)
        except ProcessLookupError:
            self._loop.call_soon(self._died, source)
            return
        except OSError as error:
            # Out of descriptors says nothing about the owner.
            log.warning("owner_not_watched", owner=source.name, owner_pid=source.pid, error=str(error))
            self._loop.call_later(WATCH_AGAIN_S, self._watch, source)
            return
        if not is_alive(source.pid, source.start_time):
            os.close(descriptor)
            self._loop.call_soon(self._died, source)
            return
        self._watched[descriptor] = source
        self._loop.add_reader(descriptor, self._ended, descriptor)

    def _ended(self, descriptor: int) -> None:
        source = self._unwatch(descriptor)
        self._died(source)

    def _unwatch(self, descriptor: int) -> Source:
        self._loop.remove_reader(descriptor)
        os.close(descriptor)
        return self._watched.pop(descriptor)

    def _died(self, source: Source) -> None:
        log.warning("owner_died", owner=source.name, owner_pid=source.pid)
        # What it could not say happened before it died.
        if self._left.died(source):
            self._hear()
        else:
            self._carry_out(self.hub.handle(Died(source), self._now()))

    def _look_for_last_words(self) -> None:
        """Of programs that nobody watches: they had never been heard of, or a file of theirs could not be read."""
        self._look_on(self._left.look())

    def _look_on(self, looking: Iterator[None]) -> None:
        """One file a turn: there may be thousands."""
        if self._closed:
            return
        try:
            next(looking)
        except StopIteration:
            self._loop.call_later(LAST_WORDS_S, self._look_for_last_words)
        except Exception:
            # Whatever fails in one look, the next one comes.
            self._loop.call_later(LAST_WORDS_S, self._look_for_last_words)
            raise
        else:
            self._loop.call_soon(self._look_on, looking)
        self._hear()

    def _hear(self) -> None:
        """Go on with what programs left, unless that goes on by itself."""
        if self._hearing is None and self._left.reading:
            self._hearing = self._loop.call_soon(self._hear_some)

    def _hear_some(self) -> None:
        """Some outcomes, then as much time for everybody else as they have taken."""
        self._hearing = None
        if self._closed:
            return
        if len(self._heard_ahead) > HEARD_AHEAD:
            self._hearing = self._loop.call_later(HEARD_AGAIN_S, self._hear_some)
            return
        begin_s = self._loop.time()
        found = self._left.next(HEARD_AT_ONCE)
        if found is not None:
            self._hear_of(*found)
        if self._left.reading:
            self._hearing = self._loop.call_later(self._loop.time() - begin_s, self._hear_some)

    def _hear_of(self, reading: Reading, found: list[LastWord]) -> None:
        words = tuple(found)
        unknown = [word.outcome.operation_id for word in words if word.outcome.operation_id not in self.hub.records]
        if unknown:
            try:
                self.hub.recall(self._store.find("", [], unknown), self._now())
            except JournalError as error:
                # Those that live are here, and the others wait.
                log.warning("last_words_wait", program=reading.source.name, reason=error.message)
                words = tuple(word for word in words if word.outcome.operation_id not in unknown)
                reading.whole = False
        whole = reading.over and reading.whole
        if whole:
            self._left.heard(reading.source.name)
        before = self.hub.log.newest
        self._carry_out(self.hub.handle(Heard(reading.source, words, whole), self._now()))
        if self.hub.log.newest > before and self.hub.log.pending:
            self._heard_ahead.append(self.hub.log.newest)
        if reading.over:
            log.info("last_words", program=reading.source.name, outcomes=reading.outcomes, damaged=reading.damaged)
            if reading.died:
                self._carry_out(self.hub.handle(Died(reading.source), self._now()))

    def _kill(self, source: Source) -> None:
        if is_alive(source.pid, source.start_time):
            log.warning("owner_replaced_and_killed", owner=source.name, owner_pid=source.pid)
            # It may be gone, or not ours to kill: it is fenced either way.
            with contextlib.suppress(OSError):
                os.kill(source.pid, signal.SIGKILL)

    # --- time -------------------------------------------------------------------------------

    def _tick(self) -> None:
        """Progress, deadlines, the feed's heartbeat. Sockets were drained by the turns before."""
        now = self._now()
        self.metrics.loop_lag.set(max(0.0, now.mono_s - self._tick_due_s))
        # Before the work: whatever fails in one tick (the loop logs it), the next one comes.
        self._tick_due_s = max(self._tick_due_s, now.mono_s) + self._settings.tick_s
        self._tick_handle = self._loop.call_at(self._tick_due_s, self._tick)
        self._merge(now)
        self._carry_out(self.hub.handle(Tick(), now))
        progress = self.hub.progress(now)
        self._keep_shown(progress)
        resources = self.board.due(now.mono_s, now.wall_ms)
        if progress or resources or now.mono_s - self._frame_sent_s >= self._settings.feed_keepalive_s:
            self._send_frame((), progress, resources)

    def _keep_shown(self, updates: tuple[ProgressUpdate, ...]) -> None:
        """Before anybody sees it."""
        if self._shown is None:
            return
        try:
            for update in updates:
                self._shown.put(update.operation_id, update.done)
        except OSError as error:
            self._show_no_more(error)

    def _show_no_more(self, error: OSError) -> None:
        """No room for the file: a broker that is killed now may show less when it is back, and nothing else."""
        log.warning("shown_not_kept", error=str(error))
        if self._shown is not None:
            self._shown.close()
            self._shown = None

    def _merge(self, now: Now) -> None:
        fates = self.metrics.progress
        measured = self.hub.measured
        merged = stale = garbage = 0
        limited = self.hub.limited
        received, unknown = self._ingest.received, self._ingest.unknown
        for handle, source, message in self._ingest.take():
            try:
                measure = unpack_progress(message)
            except BadRequestError:
                garbage += 1
                continue
            if measured(handle, source, measure, now):
                merged += 1
            else:
                stale += 1
        unknown_now = self._ingest.unknown - unknown
        limited = self.hub.limited - limited
        self._ingest.received = self._ingest.unknown = 0
        coalesced = max(0, received - merged - stale - garbage - unknown - unknown_now)
        self._heard += received
        self._coalesced += coalesced
        for fate, count in (
            ("merged", merged),
            ("stale", stale - limited),
            ("limited", limited),
            ("garbage", garbage),
            ("unknown", unknown + unknown_now),
            ("coalesced", coalesced),
        ):
            if count:
                fates.labels(fate).inc(count)

    def metrics_text(self) -> str:
        """Exposition text, with the gauges brought up to date."""
        states = self.hub.log.committed.counts()
        for state in (
            "pending",
            "queued",
            "running",
            "paused",
            "cancelling",
            "completed",
            "failed",
            "canceled",
        ):
            self.metrics.operations.labels(state).set(states.get(state, 0))
        self.metrics.owners.set(sum(1 for owner in self.hub.owners if owner.routing is not None))
        self.metrics.pending.set(self.hub.log.pending)
        return self.metrics.text()


def _unlink(endpoint: str) -> None:
    """A socket file that a killed predecessor left would make the bind fail."""
    if endpoint.startswith("ipc://"):
        Path(endpoint.removeprefix("ipc://")).unlink(missing_ok=True)
