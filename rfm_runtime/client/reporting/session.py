"""This process's reporting as its own threads see it: they leave word and go on.

The word is taken by one background thread (`line`), begun by the first operation. Whatever goes wrong there is
logged once and never reaches the program.
"""

from __future__ import annotations

import atexit
import contextlib
import logging
import math
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable
from types import FrameType
from typing import Protocol

from rfm_runtime.client.reporting.values import error_of, text_of
from rfm_runtime.core.reporting.desk import Begin, End, Paused
from rfm_runtime.protocol.internal import Announce, OperationMeasure
from rfm_runtime.protocol.limits import MESSAGE_LIMIT

__all__ = ["Reported", "Session", "Where", "Word", "session"]

log = logging.getLogger("rfm_runtime")

FLUSH_S = 2.0
"""How long the end of a program waits for the acknowledgement of outcomes that were said just before."""

LEFT_S = 0.5
"""After a loop was left, until the program would have ended if that was by an exception that nobody caught."""

HEARD_S = 0.05
"""Between two looks whether everything was heard."""

DRAWN_S = 0.2
"""How long the end of a loop waits, at most, for its bar to be drawn."""

AGAIN_S = 5.0
"""After the background thread has failed, until another is tried."""

LOAD_S = 10.0
"""How long a fork waits, at most, for the background thread to have loaded its modules."""


class Reported(Protocol):
    """An operation of the program. All but `announce` are called by the background thread."""

    operation_id: str
    name: str
    bar: bool | None

    def announce(self) -> Announce:
        """What it is."""
        ...

    def sample(self) -> OperationMeasure | None:
        """Where it stands, None if that is where it stood at the last call."""
        ...

    def told(self, *, cancel: bool, pause: bool) -> None:
        """Somebody wants it to stop, or to stand still."""
        ...


Word = tuple[Reported, Begin | Paused | End]
Where = tuple[FrameType, int]
"""A frame, and the instruction it is at."""


class Left:
    """A loop that was left. where: by whom. until_s: when that is taken for meant."""

    __slots__ = ("message", "operation", "until_s", "where")

    def __init__(self, until_s: float, operation: Reported, message: End, where: Where | None) -> None:
        self.until_s = until_s
        self.operation = operation
        self.message = message
        self.where = where


def _passes(error: BaseException, where: Where | None) -> bool:
    """Whether the exception came through that very instruction of that very frame."""
    trace = error.__traceback__
    while trace is not None and where is not None:
        if trace.tb_frame is where[0] and trace.tb_lasti == where[1]:
            return True
        trace = trace.tb_next
    return False


class Session:
    """One process. Methods are called from any thread, return at once, and raise nothing.

    words: what the background thread has not heard yet. left: loops that were left early, by a break or by an
    exception, which their iterator is not told; if the program ends at once with an exception, that was it.
    unsettled: outcomes that the broker has not acknowledged; kept: of these on disk;
    untold: those at the end of the program. reachable: whether a runtime is
    there, None before anybody looked; connected: whether its broker knows this program. ending: the program ends, and
    the thread says by `ended` that it has left the terminal as it was.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.words: deque[Word] = deque()
        self.left: deque[Left] = deque()
        self.wake: Callable[[], object] | None = None
        self.changed = threading.Condition()
        self.reachable: bool | None = None
        self.connected = False
        self.unsettled = 0
        self.kept = 0
        self.untold = 0
        self.was_reachable = False
        self.turns = 0
        self.standing: set[str] = set()
        self.ending = False
        self.idle = True
        self._failed_s = -math.inf
        self.ended = threading.Event()
        self.loaded = threading.Event()
        # An operation that is collected speaks too, from within whatever this thread does.
        self._starting = threading.RLock()
        self._thread: threading.Thread | None = None
        self._warned: set[str] = set()

    def say(self, operation: Reported, message: Begin | Paused | End) -> None:
        """Have the background thread hear this."""
        if isinstance(message, End):
            with self.changed:
                self.unsettled += 1
        self.words.append((operation, message))
        self._wake()

    def leave(self, operation: Reported, message: End, where: Where | None) -> None:
        """Have the background thread hear in a while that a loop was left; at the end of the program, why."""
        with self.changed:
            self.unsettled += 1
        self.left.append(Left(time.monotonic() + LEFT_S, operation, message, where))

    def reconsider(self, operation_id: str, message: End) -> None:
        """It was left by an exception, as the block around it shows."""
        for item in list(self.left):
            if item.message.operation_id == operation_id:
                item.message = message

    def decide(self, now_s: float, died_of: BaseException | None = None) -> None:
        """What was left until `now_s` was left for good, or failed of what the program died of."""
        while self.left and self.left[0].until_s <= now_s:
            try:
                item = self.left.popleft()
            except IndexError:
                return
            message = item.message
            if message.state == "canceled" and isinstance(died_of, Exception) and _passes(died_of, item.where):
                message = End(message.operation_id, "failed", message.measure, error_of(died_of))
            self.words.append((item.operation, message))
            self._wake()

    def _wake(self) -> None:
        """Have a thread that hears: ten times a second, or at once if it sleeps."""
        with self._starting:
            if self._thread is None:
                if time.monotonic() - self._failed_s < AGAIN_S:
                    self.words.clear()
                    return
                self.loaded.clear()
                thread = threading.Thread(target=self._run, name="rfm-progress", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:
                    self.warn("thread", f"progress is not reported: {error}")
                    self._failed_s = time.monotonic()
                    return
                self._thread = thread
        if self.idle:
            self._hurry()

    def _hurry(self) -> None:
        wake = self.wake
        if wake is not None:
            # At the end of the program its loop may be closed already.
            with contextlib.suppress(RuntimeError):
                wake()

    @property
    def began(self) -> bool:
        """Whether there is a background thread."""
        return self._thread is not None

    def flush(self, timeout_s: float) -> bool:
        """Wait until every outcome is acknowledged; False when the time is out, and at once without a broker."""
        deadline_s = time.monotonic() + timeout_s
        if os.getpid() != self.pid:
            return False
        self._hurry()
        with self.changed:
            # What is not heard yet may be an end, or lead to one.
            while self.unsettled or self.words:
                left_s = deadline_s - time.monotonic()
                if left_s <= 0.0 or self.reachable is False:
                    return False
                self.changed.wait(min(left_s, HEARD_S))
        return True

    def finish(self) -> None:
        """The program ends: let outcomes arrive, and the terminal be put in order."""
        if os.getpid() != self.pid or self._thread is None:
            return
        self.decide(math.inf, getattr(sys, "last_value", None))
        # What is heard last may have been dropped by the program, which then says so.
        self._await_turns(2)
        # As long as it gets on: thousands of outcomes take their time.
        before = self.unsettled + 1
        while not self.flush(FLUSH_S) and self.reachable and self.unsettled < before:
            before = self.unsettled
        # Whoever disconnects finds nobody any more.
        self.was_reachable = self.reachable is True
        self.ending = True
        self._hurry()
        self.ended.wait(FLUSH_S)
        many = "an outcome" if self.untold == 1 else f"{self.untold} outcomes"
        if self.untold and self.kept >= self.untold:
            self.warn("unsettled", f"the runtime has not taken {many} of this program yet: kept until it is back")
        elif self.untold and self.was_reachable:
            self.warn("unsettled", f"the runtime has not taken {many} of this program, and will show it as lost")

    def end(self) -> None:
        """Wait for nobody."""
        if os.getpid() != self.pid or self._thread is None:
            return
        self.ending = True
        self._hurry()
        self.ended.wait(FLUSH_S)

    def _await_turns(self, count: int) -> None:
        """Have the background thread go over everything that often, within a second."""
        deadline_s = time.monotonic() + 1.0
        with self.changed:
            until = self.turns + count
            while self.turns < until and (left_s := deadline_s - time.monotonic()) > 0.0:
                self._hurry()
                self.changed.wait(min(left_s, HEARD_S))

    def close(self) -> None:
        """Of the background thread: it has done all that it could."""
        self.untold = self.unsettled
        self.ended.set()

    def stands(self, operation_id: str, there: bool) -> None:
        """Of the background thread: a bar of it stands in the terminal, or does not any more."""
        with self.changed:
            if there:
                self.standing.add(operation_id)
            else:
                self.standing.discard(operation_id)
                self.changed.notify_all()

    def let_finish(self, operation_id: str) -> None:
        """What the program prints next is to stand below the last state of this bar, if there is one."""
        if operation_id not in self.standing or threading.current_thread() is self._thread:
            return
        self._hurry()
        deadline_s = time.monotonic() + DRAWN_S
        with self.changed:
            while operation_id in self.standing and (left_s := deadline_s - time.monotonic()) > 0.0:
                self.changed.wait(left_s)

    def turned(self) -> None:
        """Of the background thread: it has gone over everything once more."""
        with self.changed:
            self.turns += 1
            self.changed.notify_all()

    def warn(self, what: str, text: str) -> None:
        """Once a process for each `what`."""
        if what not in self._warned:
            self._warned.add(what)
            log.warning("%s", text)

    def found(self, reachable: bool, *, connected: bool) -> None:
        """Of the background thread: whether a runtime is there, and its broker knows this program."""
        with self.changed:
            self.reachable = reachable
            self.connected = connected
            self.changed.notify_all()

    def settle(self) -> None:
        """Of the background thread: one outcome less to wait for."""
        with self.changed:
            self.unsettled -= 1
            self.changed.notify_all()

    def _run(self) -> None:
        try:
            # ZeroMQ, asyncio and rich are loaded here: the program does not wait for them.
            try:
                from rfm_runtime.client.reporting.line import Line

                line = Line(self)
            finally:
                self.loaded.set()
            line.run()
        except Exception as error:
            # No descriptor left, or a fault of ours: later operations try again.
            log.debug("the reporting thread ended", exc_info=True)
            self.warn("failed", f"progress is not reported for now: {text_of(error, MESSAGE_LIMIT)}")
        finally:
            self.wake = None
            self.words.clear()
            with self._starting:
                self._thread = None
                self._failed_s = time.monotonic()
            with self.changed:
                self.unsettled = 0
                self.changed.notify_all()
            self.ended.set()


class _Holder:
    """The session of this process, once there is one."""

    def __init__(self) -> None:
        self.lock = threading.RLock()
        self.session: Session | None = None

    def get(self) -> Session:
        with self.lock:
            if self.session is None:
                self.session = Session()
                atexit.register(self.session.finish)
                if (util := sys.modules.get("multiprocessing.util")) is not None:
                    # Its children end without atexit.
                    util.Finalize(None, self.session.finish, exitpriority=0)
            return self.session

    def before_fork(self) -> None:
        """Half an import, of the background thread, would stay half an import in the child."""
        if self.session is not None and self.session.began:
            self.session.loaded.wait(LOAD_S)

    def forget(self) -> None:
        """In a forked child: the thread and the sockets are the parent's, and whoever held the lock is not here."""
        self.lock = threading.RLock()
        self.session = None


_holder = _Holder()


def session() -> Session:
    """This process's session."""
    return _holder.get()


def begin_anew() -> None:
    """End this process's session; the next operation begins another. What could not be told by now is dropped.

    For tests, which are many programs in one process: what one leaves is not to be told to the next one's server.
    """
    with _holder.lock:
        ended, _holder.session = _holder.session, None
    if ended is not None:
        atexit.unregister(ended.finish)
        ended.end()


os.register_at_fork(before=_holder.before_fork, after_in_child=_holder.forget)
