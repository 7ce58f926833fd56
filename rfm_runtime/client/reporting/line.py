"""The line to a broker, in its background thread: looks at operations, carries out the desk's commands.

A thin shell around `core.reporting.Desk`: ten times a second it samples what lives; once a second it looks whether
a runtime is there. Without one it shows the local bars.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import secrets
import time
import weakref

from rfm_runtime.client.reporting.bars import Bars
from rfm_runtime.client.reporting.carrier import Carrier, Listener
from rfm_runtime.client.reporting.clerk import Clerk
from rfm_runtime.client.reporting.loop import Loop
from rfm_runtime.client.reporting.nearby import Nearby
from rfm_runtime.client.reporting.session import Reported, Session
from rfm_runtime.client.reporting.where import prepare, where
from rfm_runtime.config import Destination, Folders
from rfm_runtime.core.reporting.desk import Begin, End, Measure, Tell, Tick
from rfm_runtime.errors import NoRuntimeError, RfmError, UnauthorizedError
from rfm_runtime.observe.alive import source
from rfm_runtime.protocol.internal import LastWord
from rfm_runtime.store.last_words import Keeper

__all__ = ["Line"]

log = logging.getLogger("rfm_runtime")

TICK_S = 0.1
"""People see no difference to less, and the program does not feel it."""

SECOND_S = 1.0
"""Between two heartbeats, and two looks whether a runtime is there, or still is."""

IDLE_S = 5.0
"""A program that reports nothing for so long leaves the broker alone until it does again."""

KEEP_S = 1.0
"""An outcome that is not acknowledged so soon is kept on disk: a runtime that is there takes milliseconds."""

CLOSE_S = 1.0


class Line:
    """Everything happens in its thread's loop."""

    def __init__(self, session: Session) -> None:
        self._session = session
        # Who drops an operation without a word is found out: only the program keeps it alive.
        self._live: weakref.WeakValueDictionary[str, Reported] = weakref.WeakValueDictionary()
        self._bars = Bars(session.stands)
        # A name of its own for each: a forked child must not be taken for its parent.
        self._source = source(f"reporter-{session.pid}-{secrets.token_hex(4)}", 1)
        self._where: Destination | Folders | None = None
        # Where outcomes are left for the broker: with the runtime that has heard of this program last.
        self._keeper: Keeper | None = None
        self._closing: asyncio.Task[None] | None = None
        self._second_s = -SECOND_S
        if os.environ.get("RFM_URL"):
            prepare()

    def run(self) -> None:
        """Until the program ends."""
        with asyncio.Runner(loop_factory=Loop) as runner:
            runner.run(self._serve())

    async def _serve(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._clerk = Clerk(self._loop, self)
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
        self._keep(0.0)
        self._bars.close()
        self._disconnect()
        if self._closing is not None:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(CLOSE_S):
                    await self._closing
        self._session.close()

    # --- the program ------------------------------------------------------------------------

    async def _turn(self) -> None:
        self._session.decide(time.monotonic())
        self._hear()
        self._session.turned()
        if self._clerk.is_idle:
            self._bars.close()
            self._session.idle = True
            if self._where is None or not await self._sleep(IDLE_S):
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
                self._clerk.handle(Measure(operation.operation_id, measure))
                self._bars.show(operation, measure)
        self._clerk.handle(Tick())
        self._keep(KEEP_S)
        self._bars.draw(seen=self._session.connected)
        # With nobody to tell what has ended, only a look now and then.
        await self._sleep(TICK_S if self._live or self._session.connected else SECOND_S)

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
            known = self._clerk.knows(operation.operation_id)
            self._clerk.handle(message)
            if isinstance(message, End) and not known:
                # The broker did not want it.
                self._session.settle()

    # --- what nobody hears ------------------------------------------------------------------

    def _keep(self, after_s: float) -> None:
        """Leave on disk what was said so long ago and is not acknowledged: this program may end before it is."""
        if self._keeper is None:
            return
        now_ms = time.time_ns() // 1_000_000
        unheard = self._clerk.unheard(time.monotonic() - after_s, self._keeper.kept)
        words = [LastWord(announce=announce, outcome=outcome, kept_at_ms=now_ms) for announce, outcome in unheard]
        try:
            self._keeper.keep(words)
        except FileNotFoundError:
            # A runtime that reads no such files has no folder for them.
            self._keeper = None
        except OSError as error:
            self._session.warn("keep", f"outcomes that the runtime has not taken cannot be kept: {error}")
        else:
            self._session.kept = len(self._keeper.waiting)

    def _forget(self, operation_id: str) -> None:
        if self._keeper is not None:
            with contextlib.suppress(OSError):
                self._keeper.settled(operation_id)
            self._session.kept = len(self._keeper.waiting)

    # --- the broker -------------------------------------------------------------------------

    def _look(self) -> None:
        """Connect if a runtime is there, and disconnect if it is gone, or another is meant."""
        try:
            found = where()
        except RfmError as error:
            if self._where is None:
                self.unreachable(error)
            self._disconnect()
            return
        if not self._is_same(found):
            self._disconnect()
            self._where = found
            self._clerk.connect(lambda clerk: self._carrier(clerk, found))
        elif self._session.connected:
            self._clerk.beat(len(self._live))

    def _disconnect(self) -> None:
        self._where = None
        self._closing = self._clerk.disconnect() or self._closing

    def _is_same(self, found: Destination | Folders) -> bool:
        if isinstance(found, Destination) and isinstance(self._where, Destination) and not self._clerk.is_over:
            # Another token of the same server is looked for when this one is refused.
            return found.url == self._where.url
        return found == self._where

    def _fresh_token(self) -> str:
        """A server that was started again has another one, and may have written it where the first was read."""
        named, used = where(), self._where
        if not (isinstance(named, Destination) and isinstance(used, Destination)) or named == used:
            raise UnauthorizedError("the server wants another token")
        self._where = named
        return named.token

    def _carrier(self, clerk: Listener, found: Destination | Folders) -> Carrier:
        if isinstance(found, Folders):
            return Nearby(clerk, self._loop, self._source, found)
        # With all that WebSockets take: nothing for a program that only reports to its own machine.
        from rfm_runtime.client.reporting.elsewhere import Elsewhere

        return Elsewhere(clerk, self._loop, self._source, found, get_token=self._fresh_token)

    def unreachable(self, error: RfmError) -> None:
        """As `Hearer` says."""
        # Who names a server is told; who only has bars, when they are seen here and nowhere else.
        named = not isinstance(error, NoRuntimeError)
        if named or any(operation.bar is not False for operation in self._live.values()):
            todo = f" ({error.hint})" if named else ""
            self._session.warn("runtime", f"{error.message}: progress is shown in this program alone{todo}")
        self._session.found(False, connected=False)

    def told(self, tell: Tell) -> None:
        """As `Hearer` says."""
        operation = self._live.get(tell.operation_id)
        if operation is not None:
            operation.told(cancel=tell.cancel, pause=tell.pause)

    def settled(self, operation_id: str) -> None:
        """As `Hearer` says."""
        self._forget(operation_id)
        self._session.settle()

    def given_up(self, operation_id: str, reason: str, *, ended: bool) -> None:
        """As `Hearer` says."""
        if ended:
            # Otherwise its file would stay, with all that comes into it while this program lives.
            self._forget(operation_id)
        self._session.warn("given up", f"an operation is not reported (others may follow it): {reason}")
        if operation_id not in self._live:
            self._session.settle()

    def found(self, reachable: bool, *, connected: bool) -> None:
        """As `Hearer` says."""
        if connected and isinstance(self._where, Folders):
            folder = self._where.last_words
            if self._keeper is None or self._keeper.folder != folder:
                self._keeper = Keeper(folder, self._source)
        self._session.found(reachable, connected=connected)
