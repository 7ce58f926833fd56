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
from typing import Protocol

from rfm_runtime.core.reporting.desk import Begin, End, Paused
from rfm_runtime.protocol.internal import Announce, OperationMeasure
from rfm_runtime.protocol.limits import MESSAGE_LIMIT, NAME_LIMIT
from rfm_runtime.protocol.operation import ErrorInfo

__all__ = ["Reported", "Session", "Word", "session"]

log = logging.getLogger("rfm_runtime")

FLUSH_S = 2.0
"""How long the end of a program waits for the acknowledgement of outcomes that were said just before."""

LEFT_S = 0.5
"""After a loop was left, until the program would have ended if that was by an exception that nobody caught."""

LOAD_S = 10.0
"""How long a fork waits, at most, for the background thread to have loaded its modules."""


class Reported(Protocol):
    """An operation of the program. All but `announce` are called by the background thread."""

    operation_id: str
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


class Session:
    """One process. Methods are called from any thread, return at once, and raise nothing.

    words: what the background thread has not heard yet. left: loops that were left early, by a break or by an
    exception, which their iterator is not told; if the program ends at once with an exception, that was it.
    unsettled: outcomes that the broker has not acknowledged. reachable: whether a runtime is there, None before
    anybody looked; connected: whether its broker knows this program. ending: the program
    ends, and the thread says by `ended` that it has left the terminal as it was.
    """

    def __init__(self) -> None:
        self.pid = os.getpid()
        self.words: deque[Word] = deque()
        self.left: deque[tuple[float, Reported, End]] = deque()
        self.wake: Callable[[], object] | None = None
        self.changed = threading.Condition()
        self.reachable: bool | None = None
        self.connected = False
        self.unsettled = 0
        self.ending = False
        self.ended = threading.Event()
        self.loaded = threading.Event()
        self._starting = threading.Lock()
        self._thread: threading.Thread | None = None
        self._warned: set[str] = set()

    def say(self, operation: Reported, message: Begin | Paused | End) -> None:
        """Have the background thread hear this."""
        if isinstance(message, End):
            with self.changed:
                self.unsettled += 1
        self.words.append((operation, message))
        self._wake()

    def leave(self, operation: Reported, message: End) -> None:
        """Have the background thread hear in a while that a loop was left; at the end of the program, why."""
        with self.changed:
            self.unsettled += 1
        self.left.append((time.monotonic() + LEFT_S, operation, message))

    def decide(self, now_s: float, died_of: BaseException | None = None) -> None:
        """What was left until `now_s` was left for good, or failed of what the program died of."""
        while self.left and self.left[0][0] <= now_s:
            try:
                _, operation, message = self.left.popleft()
            except IndexError:
                return
            if died_of is not None:
                code, text = type(died_of).__name__, f"{type(died_of).__name__}: {died_of}"
                error = ErrorInfo(code=code[:NAME_LIMIT], message=text[:MESSAGE_LIMIT])
                message = End(message.operation_id, "failed", message.measure, error)
            self.words.append((operation, message))
            self._wake()

    def _wake(self) -> None:
        with self._starting:
            if self._thread is None:
                thread = threading.Thread(target=self._run, name="rfm-progress", daemon=True)
                try:
                    thread.start()
                except RuntimeError as error:
                    self.warn("thread", f"progress is not reported: {error}")
                    return
                self._thread = thread
        if self.wake is not None:
            # At the end of the program its loop may be closed already.
            with contextlib.suppress(RuntimeError):
                self.wake()

    @property
    def began(self) -> bool:
        """Whether there is a background thread."""
        return self._thread is not None

    def flush(self, timeout_s: float) -> bool:
        """Wait until every outcome is acknowledged; False when the time is out, and at once without a broker."""
        deadline_s = time.monotonic() + timeout_s
        if os.getpid() != self.pid:
            return False
        with self.changed:
            while self.unsettled:
                left_s = deadline_s - time.monotonic()
                if left_s <= 0.0 or self.reachable is False:
                    return False
                self.changed.wait(left_s)
        return True

    def finish(self) -> None:
        """The program ends: let outcomes arrive, and the terminal be put in order."""
        if os.getpid() != self.pid or self._thread is None:
            return
        self.decide(math.inf, getattr(sys, "last_value", None))
        self.flush(FLUSH_S)
        self.ending = True
        if self.wake is not None:
            with contextlib.suppress(RuntimeError):
                self.wake()
                self.ended.wait(FLUSH_S)

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
        # ZeroMQ and asyncio are loaded here: the program does not wait for them.
        try:
            from rfm_runtime.client.reporting.line import Line
        finally:
            self.loaded.set()
        Line(self).run()


class _Holder:
    """The session of this process, once there is one."""

    def __init__(self) -> None:
        self.lock = threading.Lock()
        self.session: Session | None = None

    def get(self) -> Session:
        with self.lock:
            if self.session is None:
                self.session = Session()
                atexit.register(self.session.finish)
            return self.session

    def before_fork(self) -> None:
        """Half an import, of the background thread, would stay half an import in the child."""
        if self.session is not None and self.session.began:
            self.session.loaded.wait(LOAD_S)

    def forget(self) -> None:
        """In a forked child: the thread and the sockets are the parent's, and whoever held the lock is not here."""
        self.lock = threading.Lock()
        self.session = None


_holder = _Holder()


def session() -> Session:
    """This process's session."""
    return _holder.get()


os.register_at_fork(before=_holder.before_fork, after_in_child=_holder.forget)
