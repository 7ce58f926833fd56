"""The runtime's client in a thread of its own; what it hears is collected until the face asks, once a frame."""

from __future__ import annotations

import asyncio
import inspect
import logging
import threading
import time
from collections import deque
from collections.abc import Callable, Coroutine, Mapping
from dataclasses import dataclass, field
from typing import Any, TypeVar

from rfm_runtime.client.async_client import AsyncClient, Notice
from rfm_runtime.client.link import LinkState
from rfm_runtime.errors import (
    CertificateError,
    InternalError,
    NoRuntimeError,
    RfmError,
    TokenExpiredError,
    UnauthorizedError,
    UnavailableError,
)
from rfm_runtime.protocol.messages import Live, OperationList, Welcome
from rfm_runtime.protocol.operation import Operation, OperationEvent, ProgressUpdate
from rfm_runtime.protocol.resources import Resources
from rfm_ui.model.link import LinkNews

__all__ = ["Answer", "Bridge", "News", "Question"]

T = TypeVar("T")
Question = Callable[[AsyncClient], Coroutine[Any, Any, Any]]
"""Asks a client for something."""
Answer = Callable[[Any, RfmError | None], None]
"""Called in the face's thread with what was asked for, or with why it could not be had."""

EVENTS_KEPT = 20_000
"""Of a face that has not asked for a while; what operations have become is always complete."""

LAST_S = 1.0
"""At most until what was asked for is answered when all is closed."""

LOOK_S = 0.5
"""Between two looks whether a runtime has been started."""

logger = logging.getLogger(__name__)

FAULT = "what was asked for could not be done"

SIGN_IN = UnauthorizedError, TokenExpiredError
"""After these another token helps."""


@dataclass(slots=True)
class News:
    """What has happened since the last frame. operations: the newest of those that changed. gone: ids that are known
    no longer. link: the last change of the connection. is_new_server: forget what was known of another.
    missed: ids of those that changed while nobody looked, as a list or a replay says. is_caught_up: there are no
    others. rules: another connection of the user has changed the rules of notifications.
    """

    operations: dict[str, Operation] = field(default_factory=dict)
    gone: set[str] = field(default_factory=set)
    events: list[OperationEvent] = field(default_factory=list)
    link: LinkNews | None = None
    resources: Resources | None = None
    answers: list[Callable[[], None]] = field(default_factory=list)
    is_new_server: bool = False
    server: Welcome | None = None
    missed: set[str] = field(default_factory=set)
    is_caught_up: bool = False
    rules: bool = False


class Bridge:
    """A connection for a face. wake: called in the bridge's thread when there is news after there was none.

    options: as of `AsyncClient`. Where no runtime runs, one is waited for. keep: called in the bridge's thread with the
    token that was given for a sign-in link.
    """

    def __init__(self, wake: Callable[[], None], **options: Any) -> None:
        self._wake = wake
        self._keep_token: Callable[[str], None] | None = options.pop("keep", None)
        self._options = options
        self._shows: tuple[Any, Any, str] | None = None
        self._lock = threading.Lock()
        self._changed: set[str] = set()
        self._events: deque[OperationEvent] = deque(maxlen=EVENTS_KEPT)
        self._answers: list[Callable[[], None]] = []
        self._link: LinkNews | None = None
        self._resources: Resources | None = None
        self._is_new_server = False
        self._is_pending = False
        self._missed: set[str] = set()
        self._is_caught_up = False
        self._rules_changed = False
        self._client: AsyncClient | None = None
        self._shown: set[str] = set()
        self._is_closed = False
        self._asking: set[asyncio.Task[Any] | None] = set()
        self._loop = asyncio.new_event_loop()
        self._again = asyncio.Event()
        self._thread = threading.Thread(target=self._serve, name="rfm-bridge", daemon=True)

    # --- for the face's thread --------------------------------------------------------------

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def close(self) -> None:
        """Have what was asked for carried out, close the connection and end the thread. Nothing is told any more.

        Within a second, and at once where there is no connection. Idempotent.
        """
        if self._is_closed:
            return
        self._is_closed = True
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._leave)
            self._thread.join()
        else:
            self._loop.close()

    def let_go(self) -> None:
        """As `close`, without waiting for the thread: from a destructor, whose locks it may be about to want."""
        if self._is_closed:
            return
        self._is_closed = True
        # Whom it would wake is gone.
        self._wake = _nobody
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._leave)
        elif self._thread.ident is None:
            # It has never been started; otherwise it closes its loop itself.
            self._loop.close()

    def take(self) -> News:
        """What has happened since the last call."""
        with self._lock:
            changed, self._changed = self._changed, set()
            news = News(events=list(self._events), answers=self._answers, link=self._link, resources=self._resources)
            news.is_new_server, self._is_new_server = self._is_new_server, False
            self._events.clear()
            news.missed, self._missed = self._missed, set()
            news.rules, self._rules_changed = self._rules_changed, False
            news.is_caught_up = self._is_caught_up
            self._answers, self._link, self._resources, self._is_pending = [], None, None, False
            known = {} if self._client is None else self._client.known
            news.server = None if self._client is None else self._client.server
            if news.is_new_server:
                self._shown.clear()
            for operation_id in changed:
                operation = known.get(operation_id)
                if operation is not None:
                    news.operations[operation_id] = operation
                elif operation_id in self._shown:
                    news.gone.add(operation_id)
            self._shown.update(news.operations)
            if self._is_caught_up and len(self._shown) > len(known):
                # What ended long ago is forgotten without a word.
                news.gone.update(one for one in self._shown if one not in known)
            self._shown -= news.gone
        return news

    @property
    def known(self) -> Mapping[str, Operation]:
        """The newest of each operation; to look at one by its id alone, since it changes in another thread."""
        return {} if self._client is None else self._client.known

    def ask(self, question: Callable[[AsyncClient], Coroutine[Any, Any, Any]], answer: Answer | None = None) -> None:
        """Ask the runtime; the answer comes with the news. While there is no connection it waits for one."""

        if not self._is_closed:
            asyncio.run_coroutine_threadsafe(self._asked(question, answer), self._loop)

    def aside(self, work: Callable[[], Any], answer: Answer | None = None) -> None:
        """Do what takes a while in another thread than the face's, such as writing a file; the answer comes with the
        news. What goes wrong is an RfmError.
        """

        async def done() -> None:
            result, error = None, None
            try:
                result = await asyncio.to_thread(work)
            except RfmError as refused:
                error = refused
            except Exception as fault:
                logger.exception(FAULT)
                error = _fault(fault)
            if answer is not None:
                self._put(lambda: self._answers.append(lambda: answer(result, error)))

        if not self._is_closed:
            asyncio.run_coroutine_threadsafe(done(), self._loop)

    def retry_now(self) -> None:
        """Try to connect at once."""

        def hurry() -> None:
            self._again.set()
            if self._client is not None:
                self._client.retry_now()

        if not self._is_closed:
            self._loop.call_soon_threadsafe(hurry)

    def use(self, **options: Any) -> None:
        """Connect anew, with these options besides those there are: another token, another certificate."""
        self._switch(lambda: self._options | {"keep": self._keep_token} | options)

    def connect_to(self, **options: Any) -> None:
        """Connect anew, with these options and no others: another server."""
        self._switch(lambda: dict(options))

    def sign_in(self, token: str, answer: Answer | None = None) -> None:
        """Go on with another token: on the connection there is, if it is of the same user, else on a new one.

        It takes the place of whatever gave tokens before.
        """

        def changed() -> dict[str, Any]:
            before = {name: value for name, value in self._options.items() if name not in ("get_token", "code")}
            return before | {"token": token}

        async def shown(client: AsyncClient) -> None:
            try:
                await client.refresh_token(token)
            except RfmError:
                self._turn_to(changed())
            else:
                self._options = changed()
                self._say(LinkNews("live", time.monotonic()))

        def show() -> None:
            if self._state() == "live":
                self._loop.create_task(self._asked(shown, answer))
            else:
                self._turn_to(changed())

        if not self._is_closed:
            self._loop.call_soon_threadsafe(show)

    def _switch(self, changed: Callable[[], dict[str, Any]]) -> None:
        if not self._is_closed:
            self._loop.call_soon_threadsafe(lambda: self._turn_to(changed()))

    # --- in the bridge's thread -------------------------------------------------------------

    def _serve(self) -> None:
        asyncio.set_event_loop(self._loop)
        self._loop.run_until_complete(self._keep())
        tasks = asyncio.all_tasks(self._loop)
        for task in tasks:
            task.cancel()
        self._loop.run_until_complete(asyncio.gather(*tasks, return_exceptions=True))
        self._loop.run_until_complete(self._loop.shutdown_asyncgens())
        self._loop.close()

    async def _keep(self) -> None:
        """One client after the other: each keeps its connection as long as there is hope."""
        while not self._is_closed:
            self._again.clear()
            wait_s: float | None = None
            try:
                await self._watch()
            except RfmError as error:
                if not self._again.is_set():
                    self._lost("unauthorised" if isinstance(error, SIGN_IN) else "closed", error)
                wait_s = LOOK_S if isinstance(error, NoRuntimeError) else None
            try:
                async with asyncio.timeout(wait_s):
                    await self._again.wait()
            except TimeoutError:
                continue

    async def _asked(self, question: Callable[[AsyncClient], Coroutine[Any, Any, Any]], answer: Answer | None) -> None:
        self._asking.add(asyncio.current_task())
        result, error = None, None
        try:
            if self._client is None:
                raise UnavailableError("there is no connection", hint="wait until it is live again")
            result = await question(self._client)
        except RfmError as refused:
            error = refused
        except Exception as fault:
            # Somebody waits for an answer, whatever it is.
            logger.exception(FAULT)
            error = _fault(fault)
        finally:
            self._asking.discard(asyncio.current_task())
        if answer is not None:
            self._put(lambda: self._answers.append(lambda: answer(result, error)))

    def _turn_to(self, options: dict[str, Any]) -> None:
        self._keep_token = options.pop("keep", None)
        self._options = options
        self._again.set()
        self._say(LinkNews("connecting", time.monotonic()))
        if self._client is not None:
            self._leaving = asyncio.ensure_future(self._client.close())

    async def _token(self) -> str:
        """The newest there is, which may be the one that was shown: then whoever has another is asked for it."""
        source = self._options.get("get_token")
        try:
            given = self._options.get("token") or "" if source is None else source()
            token = await given if inspect.isawaitable(given) else given
        except RfmError:
            # Its file is away, or empty: the present one is what there is.
            token = self._options.get("token") or ""
        server = None if self._client is None else self._client.server
        if self._state() == "live" and server is not None and token == self._options.get("token"):
            self._say(LinkNews("live", time.monotonic(), expires_ms=server.token_expires_at))
        self._options |= {"token": token}
        return str(token)

    async def _watch(self) -> None:
        options: dict[str, Any] = {"name": "viewer", "detail": "tiles", "metrics": True} | self._options
        if options.get("url") is not None:
            options["get_token"] = self._token
        client = AsyncClient(on_state=self._told, on_rules=self._told_of_rules, **options)
        where = options.get("url"), options.get("settings")
        with self._lock:
            self._client = client
            # With another token what was shown is still so, if perhaps no longer all that may be seen.
            self._is_new_server |= self._shows is None or self._shows[:2] != where
            self._changed.clear()
            self._events.clear()
            self._missed.clear()
            self._is_caught_up = False
        user = "" if self._shows is None or self._is_new_server else self._shows[2]
        self._shows = (*where, user)
        try:
            await client.connect(None)
            self._welcomed(client, where, user)
            async for notice in client.watch():
                self._heard(notice)
        finally:
            await client.close()

    def _welcomed(self, client: AsyncClient, where: tuple[Any, Any], before: str) -> None:
        server = client.server
        if server is None:
            return
        self._shows = (*where, server.user)
        if before and before != server.user:
            with self._lock:
                self._is_new_server = True
        if server.token is not None:
            # A code is good for once; from now on there is a token.
            self._options = {name: value for name, value in self._options.items() if name != "code"}
            self._options |= {"token": server.token}
            keep, self._keep_token = self._keep_token, None
            if keep is not None:
                try:
                    keep(server.token)
                except Exception:
                    # Whoever is signed in stays so.
                    logger.exception("the token of a sign-in link could not be kept")

    async def _close(self) -> None:
        if self._asking and self._state() == "live":
            # What somebody has asked for and then closed the window on.
            await asyncio.wait({task for task in self._asking if task is not None}, timeout=LAST_S)
        if self._client is not None:
            await self._client.close()
        # The loop ends with this, so it comes last.
        self._again.set()

    def _leave(self) -> None:
        self._leaving = asyncio.ensure_future(self._close())

    def _state(self) -> LinkState:
        return "closed" if self._client is None else self._client.state

    def _told(self, state: LinkState, details: dict[str, Any]) -> None:
        if state not in ("live", "stale"):
            with self._lock:
                self._is_caught_up = False
        if state in ("closed", "unauthorised"):
            # `_lost` says it in a moment, and why.
            return
        now_s = time.monotonic()
        wait_s = details.get("next_try_in_s")
        self._say(
            LinkNews(
                state,
                now_s,
                attempt=details.get("attempt", 0),
                next_try_s=None if wait_s is None else now_s + wait_s,
                reason=details.get("reason", ""),
                hint=details.get("hint") or "",
                trouble=details.get("trouble", ""),
                silent_s=details.get("silent_s", 0.0),
            )
        )

    def _told_of_rules(self, _version: int) -> None:
        def put() -> None:
            self._rules_changed = True

        self._put(put)

    def _lost(self, state: LinkState, error: RfmError) -> None:
        if not self._is_closed:
            self._say(
                LinkNews(
                    state,
                    time.monotonic(),
                    reason=error.message,
                    hint=error.hint or "",
                    no_runtime=isinstance(error, NoRuntimeError),
                    code=error.code,
                    trouble=error.trouble if isinstance(error, CertificateError) else "",
                )
            )

    def _say(self, news: LinkNews) -> None:
        def put() -> None:
            self._link = news

        self._put(put)

    def _heard(self, notice: Notice) -> None:
        match notice:
            case ProgressUpdate():
                self._put(lambda: self._changed.add(notice.operation_id))
            case OperationEvent():

                def put_event() -> None:
                    self._changed.add(notice.operation_id)
                    self._events.append(notice)
                    if self._is_caught_up:
                        self._missed.discard(notice.operation_id)
                    else:
                        self._missed.add(notice.operation_id)

                self._put(put_event)
            case OperationList():

                def put_list() -> None:
                    self._changed.update(one.operation_id for one in notice.operations)
                    self._missed.update(one.operation_id for one in notice.operations)
                    if not notice.more:
                        # What is missing from a whole list has gone.
                        self._changed |= self._shown

                self._put(put_list)
            case Live():

                def put_live() -> None:
                    self._is_caught_up = True

                self._put(put_live)
            case Resources():

                def put_resources() -> None:
                    self._resources = notice

                self._put(put_resources)

    def _put(self, change: Callable[[], object]) -> None:
        """Change what is collected, and say so if it is the first since the face has asked."""
        with self._lock:
            change()
            first, self._is_pending = not self._is_pending, True
        if first:
            self._wake()


def _fault(fault: Exception) -> InternalError:
    return InternalError(
        f"the viewer could not do it: {type(fault).__name__}: {fault}", hint="try it again; if it stays so, report it"
    )


def _nobody() -> None:
    """Has to be woken."""
