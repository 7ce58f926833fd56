"""`Client`: the same methods as `AsyncClient`, for synchronous programs, also inside a running event loop.

A thin façade: one `AsyncClient` lives in a background thread with its own event loop.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import threading
from collections.abc import AsyncIterator, Coroutine, Iterator, Mapping, Sequence
from concurrent.futures import CancelledError
from types import TracebackType
from typing import Any, TypeVar

from rfm_runtime.client.async_client import AsyncClient, Notice
from rfm_runtime.client.handle import Operation
from rfm_runtime.client.link import LinkState
from rfm_runtime.errors import SetupError, UnavailableError
from rfm_runtime.protocol.crew import CrewUsage
from rfm_runtime.protocol.figures import OperationReport, PeriodReport
from rfm_runtime.protocol.history import PerformanceReply
from rfm_runtime.protocol.messages import Kind, SubmitRequest, TilePixels, Welcome
from rfm_runtime.protocol.notifying import Rules, RulesReply
from rfm_runtime.protocol.operation import Operation as OperationInfo
from rfm_runtime.protocol.operation import OperationState
from rfm_runtime.protocol.probing import ProbedPoint
from rfm_runtime.protocol.resources import Resources, UsageReply
from rfm_runtime.protocol.sign_in import SignInLink
from rfm_runtime.protocol.timeline import By, TimelineReply

__all__ = ["Client"]

T = TypeVar("T")


class Client:
    """A client of one runtime. Arguments as of `AsyncClient`; connects at once.

    Usable from any thread. After a fork the child needs a client of its own.
    """

    def __init__(self, url: str | None = None, token: str | None = None, **options: Any) -> None:
        self._async = AsyncClient(url, token, **options)
        self._pid = os.getpid()
        self._loop = asyncio.new_event_loop()
        # Whatever was handed to the loop before `_closed` is answered; after it, nothing is handed over any more.
        self._handing_over = threading.Lock()
        self._closed = False
        self._thread = threading.Thread(target=self._serve, name="rfm-client", daemon=True)
        self._thread.start()
        try:
            self.call(self._async.connect())
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def _serve(self) -> None:
        """The client's thread. What still runs at its end is cancelled, so that nobody waits for ever."""
        self._loop.run_forever()
        self._loop.run_until_complete(_end_tasks())

    def call(self, coroutine: Coroutine[Any, Any, T]) -> T:
        """Run a coroutine in the client's loop and wait for it. Raises UnavailableError once the client is closed."""
        if os.getpid() != self._pid:
            coroutine.close()
            raise SetupError("this client belongs to the parent process", hint="make a Client after the fork")
        with self._handing_over:
            if self._closed:
                coroutine.close()
                raise UnavailableError("the client was closed")
            future = asyncio.run_coroutine_threadsafe(coroutine, self._loop)
        try:
            return future.result()
        except CancelledError:
            raise UnavailableError("the client was closed") from None
        except BaseException:
            future.cancel()
            raise

    def iterate(self, items: AsyncIterator[T]) -> Iterator[T]:
        """An asynchronous iterator as a plain one."""
        running: set[asyncio.Task[Any]] = set()

        async def step() -> tuple[bool, T | None]:
            task = asyncio.ensure_future(anext(items))
            running.add(task)
            try:
                return True, await task
            except StopAsyncIteration:
                return False, None
            finally:
                running.discard(task)

        async def close() -> None:
            # Ctrl-C may come while a step is being handed over, which then runs on; what runs cannot be closed.
            for task in running:
                task.cancel()
            await asyncio.gather(*running, return_exceptions=True)
            await _close(items)

        try:
            while True:
                more, item = self.call(step())
                if not more:
                    return
                yield item  # type: ignore[misc]
        finally:
            # A closed client has ended its iterators already.
            if os.getpid() == self._pid and not self._closed:
                with contextlib.suppress(UnavailableError):
                    self.call(close())

    def close(self) -> None:
        """Close the connection and end the thread. Idempotent."""
        if os.getpid() != self._pid:
            return
        with self._handing_over:
            if self._closed:
                return
            self._closed = True
        asyncio.run_coroutine_threadsafe(self._async.close(), self._loop).result()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    @property
    def known(self) -> Mapping[str, OperationInfo]:
        """The newest of each operation, as far as this client was told: all that is alive, and what ended lately."""
        return self._async.known

    def retry_now(self) -> None:
        """Try again at once, where a connection that dropped is waited for."""
        self._loop.call_soon_threadsafe(self._async.retry_now)

    def refresh_token(self, token: str) -> None:
        """Go on with this token on the connection that there is: a fresh one of the same user.

        Raises TokenExpiredError; BadRequestError if it is somebody else's, or nobody's.
        """
        self.call(self._async.refresh_token(token))

    def use_token(self, token: str) -> None:
        """Show this token from the next connection on."""
        self._async.use_token(token)

    @property
    def state(self) -> LinkState:
        """connecting, live, stale, reconnecting, unauthorised, draining or closed."""
        return self._async.state

    @property
    def waiting(self) -> list[str]:
        """Requests that wait for a connection, by type, in the order in which they will be sent."""
        return self._async.waiting

    @property
    def server(self) -> Welcome | None:
        """What the server said of itself."""
        return self._async.server

    def submit(self, kind: str, params: Mapping[str, Any], **options: Any) -> Operation:
        """Submit an operation; accepted and on disk when this returns. Options as of `AsyncClient.submit`."""
        return Operation(self, self.call(self._async.submit(kind, params, **options)))

    def retry(self, operation_id: str) -> Operation:
        """Submit once more what has ended, as a new operation of one's own; see `AsyncClient.retry`."""
        return Operation(self, self.call(self._async.retry(operation_id)))

    def submit_many(self, submissions: Sequence[SubmitRequest]) -> list[Operation]:
        """Submit several; all are accepted, or none."""
        return [Operation(self, one) for one in self.call(self._async.submit_many(submissions))]

    def render(self, preset: str | None = None, **options: Any) -> Operation:
        """Render a preset, or parameters (re, im, width, …), or a preset with some of them changed."""
        return Operation(self, self.call(self._async.render(preset, **options)))

    def operations(self, **filters: Any) -> list[OperationInfo]:
        """Operations, newest first. Filters: states, kinds, owner, labels, text, limit."""
        return self.call(self._async.operations(**filters))

    def history(self, *, since_ms: int = 0, until_ms: int | None = None, **filters: Any) -> list[OperationInfo]:
        """Operations submitted in a period (ms since 1970), newest first. Filters: as of `operations`; `during`."""
        return self.call(self._async.history(since_ms=since_ms, until_ms=until_ms, **filters))

    def timeline(
        self, *, since_ms: int, width_ms: int, bins: int, by: By = "kind", rows: int = 12, **filters: Any
    ) -> TimelineReply:
        """A period from far away: see `AsyncClient.timeline`. Filters: as of `operations`, without `limit`."""
        return self.call(
            self._async.timeline(since_ms=since_ms, width_ms=width_ms, bins=bins, by=by, rows=rows, **filters)
        )

    def period_report(self, **options: Any) -> PeriodReport:
        """The figures of a report of a period: see `AsyncClient.period_report`."""
        return self.call(self._async.period_report(**options))

    def operation_report(self, operation_id: str) -> OperationReport:
        """The figures of a report of one operation. Raises UnknownOperationError."""
        return self.call(self._async.operation_report(operation_id))

    def performance(self, operation_id: str) -> PerformanceReply:
        """How an operation went over its time, with its parameters and events. Raises UnknownOperationError."""
        return self.call(self._async.performance(operation_id))

    def operation(self, operation_id: str) -> OperationInfo:
        """One operation. Raises UnknownOperationError."""
        return self.call(self._async.operation(operation_id))

    def parameters(self, operation_id: str) -> dict[str, Any]:
        """The parameters it was submitted with."""
        return self.call(self._async.parameters(operation_id))

    def handle(self, operation_id: str) -> Operation:
        """A handle for an operation that somebody submitted. Raises UnknownOperationError."""
        return Operation(self, self.call(self._async.handle(operation_id)))

    def watch(self) -> Iterator[Notice]:
        """Everything that happens: first the list, then events and progress."""
        return self.iterate(self._async.watch())

    def cancel(self, operation_id: str, **options: Any) -> str:
        """Cancel it: "cancelling", or "already_terminal". Options: mode, deadline_ms, reason."""
        return self.call(self._async.cancel(operation_id, **options))

    @property
    def url(self) -> str:
        """Where the server is."""
        return self._async.url

    def rules(self) -> RulesReply:
        """Of what this token's user wants to be told, with the version that a change has to be made from."""
        return self.call(self._async.rules())

    def set_rules(self, rules: Rules | None, version: int) -> RulesReply:
        """Have the user's rules kept; None: those that everybody has at first. See `AsyncClient.set_rules`."""
        return self.call(self._async.set_rules(rules, version))

    def sign_in_link(self, link: SignInLink) -> None:
        """Let whoever says the code in `hello` be that user, once. For admins."""
        self.call(self._async.sign_in_link(link))

    def revoke(self, **wanted: Any) -> int:
        """Refuse a token, or a user's: token_id, or user and issued_before_ms; expires_at_ms, reason. For admins."""
        return self.call(self._async.revoke(**wanted))

    def pause(self, operation_id: str) -> None:
        """Have it stop where it is and keep what it has."""
        self.call(self._async.pause(operation_id))

    def resume(self, operation_id: str) -> None:
        """Have it go on."""
        self.call(self._async.resume(operation_id))

    def set_priority(self, operation_id: str, priority: int) -> None:
        """A higher priority runs first (−100 to 100)."""
        self.call(self._async.set_priority(operation_id, priority))

    def explain(self, operation_id: str) -> list[str]:
        """Why is it in this state? One sentence a line."""
        return self.call(self._async.explain(operation_id))

    def resources(self) -> Resources | None:
        """What its processes use, whether they are healthy, and what would help; None in its first seconds."""
        return self.call(self._async.resources())

    def usage(self, span_s: int = 600) -> UsageReply:
        """What its processes have used in the last seconds (10 to 86,400), as far as the gateway has heard of it."""
        return self.call(self._async.usage(span_s))

    def workers(self) -> tuple[CrewUsage, ...]:
        """What each worker of each engine does, and what those that died have died of."""
        return self.call(self._async.workers())

    def kinds(self) -> list[Kind]:
        """What can be submitted, with the schemas of the parameters."""
        return self.call(self._async.kinds())

    def fetch_artifact(self, operation_id: str, name: str) -> bytes:
        """A file that the operation left, verified against its SHA-256."""
        return self.call(self._async.fetch_artifact(operation_id, name))

    def fetch_tiles(
        self, operation_id: str, *, x: int = 0, y: int = 0, width: int, height: int, step: int = 1
    ) -> TilePixels:
        """The colours of a part of a render, as far as it is computed: see `TilePixels`. At most 65,536 pixels."""
        return self.call(self._async.fetch_tiles(operation_id, x=x, y=y, width=width, height=height, step=step))

    def probe_points(
        self, operation_id: str, points: Sequence[tuple[int, int]], *, orbit: int = 0
    ) -> list[ProbedPoint]:
        """What becomes of pixels x, y of a render that runs or is finished: see `ProbedPoint`. At most 64."""
        return self.call(self._async.probe_points(operation_id, points, orbit=orbit))

    def set_focus(self, operation_id: str, x: float, y: float) -> None:
        """Have what is left of a render computed from there outwards: parts of its width and height, 0 to 1."""
        self.call(self._async.set_focus(operation_id, x, y))

    def recolour(self, operation_id: str, **look: Any) -> bytes:
        """A finished render with other colours, as PNG, without computing it again; see `AsyncClient.recolour`."""
        return self.call(self._async.recolour(operation_id, **look))

    def wait(self, operation_id: str, timeout_s: float | None = None) -> OperationState:
        """The terminal state of an operation. Raises UnknownOperationError; UnavailableError after `timeout_s`."""
        return self.call(self._async.wait(operation_id, timeout_s))


async def _close(items: AsyncIterator[T]) -> None:
    close = getattr(items, "aclose", None)
    if close is not None:
        await close()


async def _end_tasks() -> None:
    """Cancel everything else that runs in this loop, and wait for it."""
    tasks = asyncio.all_tasks() - {asyncio.current_task()}
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    await asyncio.get_running_loop().shutdown_asyncgens()
