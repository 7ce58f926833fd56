"""`ProgressReporter`: an operation of this program, seen and cancelled from anywhere.

Reporting sets attributes and returns: 0.1 µs. Everything else is the background thread's.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import os
import sys
import threading
import time
import weakref
from collections.abc import Callable, Mapping
from inspect import CO_ASYNC_GENERATOR, CO_COROUTINE
from types import FrameType, TracebackType
from typing import Any, Literal

from rfm_runtime.client.ids import ulid
from rfm_runtime.client.reporting.parts import Children, Step
from rfm_runtime.client.reporting.session import Where, session
from rfm_runtime.client.reporting.shared import Shared
from rfm_runtime.client.reporting.values import canceled, error_of, number_of, plain_details, text_of, total_of
from rfm_runtime.core.reporting.desk import Begin, End, Paused
from rfm_runtime.errors import OperationCanceled
from rfm_runtime.observe.own import memory_bytes
from rfm_runtime.protocol.internal import Announce, OperationMeasure, Principal
from rfm_runtime.protocol.limits import LABEL_LIMIT, LABELS_LIMIT, MESSAGE_LIMIT, NAME_LIMIT
from rfm_runtime.protocol.operation import ErrorInfo

__all__ = ["BORROWED", "Borrowing", "ProgressReporter", "Reporting"]

log = logging.getLogger("rfm_runtime")

State = Literal["running", "completed", "failed", "canceled"]

# Until tokens name users, everybody who can reach the runtime's folder is its one user.
PRINCIPAL = Principal("local", ("admin",))


class Reporting:
    """What every operation of this program has: its story, and how it hears that it is to stop.

    done, total, unit: how far it is; total None if nobody knows. bar: a local bar, None for *without a runtime only*.
    """

    def __init__(
        self,
        kind: str,
        name: str,
        *,
        total: float | None,
        unit: str,
        labels: Mapping[str, str] | None = None,
        pausable: bool = False,
        bar: bool | None = None,
        parent: Reporting | None = None,
        weight: float = 1.0,
    ) -> None:
        self.operation_id = ulid()
        self.parent_id = None if parent is None else parent.operation_id
        self._children = Children()
        self.kind = text_of(kind, NAME_LIMIT)
        self.name = text_of(name, NAME_LIMIT)
        pairs = itertools.islice((labels or {}).items(), LABELS_LIMIT)
        self.labels = {text_of(key, LABEL_LIMIT): text_of(value, LABEL_LIMIT) for key, value in pairs}
        self.pausable = pausable
        self.bar = bar
        self.total = total
        self.unit = text_of(unit, NAME_LIMIT)
        self.done: float = 0.0
        self._began_cpu_ns = time.process_time_ns()
        self.state: State = "running"
        self._step = ""
        self._message = ""
        self._details: Mapping[str, Any] | None = None
        # Set by the background thread when there is anything to look at beside going on.
        self._attention = False
        self._cancel = False
        self._pause = False
        self._steered = threading.Condition()
        self._wakers: list[Callable[[], None]] = []
        self._lock = threading.RLock()
        self._callbacks: list[Callable[[], object]] = []
        self._ends: list[Callable[[], object]] = []
        self._last: tuple[Any, ...] | None = None
        self._shared: Shared | None = None
        # In a forked child, or where it came by pickle: what was done when it came.
        self._borrowed: float | None = None
        _living.add(self)
        session().say(self, Begin(self.announce()))
        if parent is not None:
            parent._adopt(self, weight)

    # --- for the background thread ----------------------------------------------------------

    def announce(self) -> Announce:
        """What it is."""
        return Announce(
            principal=PRINCIPAL,
            operation_id=self.operation_id,
            kind=self.kind,
            name=self.name,
            labels=self.labels,
            pausable=self.pausable,
            parent_id=self.parent_id,
            measure=self._measure(),
        )

    def sample(self) -> OperationMeasure | None:
        """Where it stands, None if that is where it stood at the last call."""
        now = (self._value(), self.total, self._step, self._message, self._details)
        last = self._last
        # By identity: what a program gives may be anything, and say anything of being equal.
        if (
            last is not None
            and now[0] == last[0]
            and all(one is other for one, other in zip(now[1:], last[1:], strict=True))
        ):
            return None
        self._last = now
        return self._measure()

    def told(self, *, cancel: bool, pause: bool) -> None:
        """Somebody wants it to stop, or to stand still."""
        asked = cancel and not self._cancel
        with self._steered:
            self._cancel, self._pause = cancel, pause
            self._attention = cancel or pause
            self._steered.notify_all()
        for wake in list(self._wakers):
            # Its loop may have ended.
            with contextlib.suppress(RuntimeError):
                wake()
        if self._shared is not None:
            self._shared.tell(cancel=cancel, pause=pause)
        if asked:
            for child in self._children.living():
                child.told(cancel=True, pause=False)
            callbacks = list(self._callbacks)
            if callbacks:
                # Not here: what they do, and how long, is the program's.
                threading.Thread(target=self._call_all, args=(callbacks,), name="rfm-cancel", daemon=True).start()

    def _call_all(self, callbacks: list[Callable[[], object]]) -> None:
        for callback in callbacks:
            self._call(callback)

    def _call(self, callback: Callable[[], object]) -> None:
        try:
            callback()
        except Exception:
            log.exception("a callback of %s failed", self.operation_id)

    @property
    def value(self) -> float:
        """How far it is, with what other processes have added."""
        return number_of(self._value())

    def _value(self) -> float:
        value = number_of(self.done)
        if self._shared is not None:
            value += self._shared.total()
        return max(value, self._children.share() * (total_of(self.total) or 0.0))

    def share(self) -> float:
        """How far it is, 0–1; 0 where nobody knows."""
        if self.state == "completed":
            return 1.0
        total = total_of(self.total)
        return min(1.0, self.value / total) if total else 0.0

    def _adopt(self, child: Reporting, weight: float) -> None:
        self._children.add(child, weight)
        if self._cancel:
            child.told(cancel=True, pause=False)

    def _measure(self) -> OperationMeasure:
        return OperationMeasure(
            generation=1,
            counter=0,
            measured_at_ms=time.time_ns() // 1_000_000,
            done=number_of(self._value()),
            total=total_of(self.total),
            unit=text_of(self.unit, NAME_LIMIT),
            step=text_of(self._step, NAME_LIMIT),
            message=text_of(self._message, MESSAGE_LIMIT),
            details=plain_details(self._details),
            # Of the whole program since it has begun: what else it does meanwhile nobody can tell apart.
            cpu_ns=max(0, time.process_time_ns() - self._began_cpu_ns),
            memory_bytes=memory_bytes(),
            workers=1,
            slots=1,
        )

    # --- the story --------------------------------------------------------------------------

    def should_cancel(self) -> bool:
        """Whether somebody asked to stop."""
        if self._borrowed is not None and self._shared is not None:
            return self._shared.cancel
        return self._cancel

    def raise_if_canceled(self) -> None:
        """Raise OperationCanceled if somebody asked to stop."""
        if self.should_cancel():
            raise OperationCanceled(f"{self.name} was cancelled")

    def request_cancel(self) -> None:
        """Ask it, and what it is the parent of, to stop: as if somebody elsewhere had."""
        self.told(cancel=True, pause=False)

    def on_end(self, callback: Callable[[], object]) -> None:
        """Have `callback` called once when it has its outcome, in the thread that says so; at once if it has."""
        with self._lock:
            waits = self.state == "running"
            if waits:
                self._ends.append(callback)
        if not waits:
            self._call(callback)

    def on_cancel(self, callback: Callable[[], object]) -> None:
        """Have `callback` called once when somebody asks to stop, in a thread of its own; at once if that was."""
        self._callbacks.append(callback)
        if self.should_cancel():
            self._call(callback)

    def wait_while_paused(self) -> None:
        """Stand still while somebody wants that. Raises OperationCanceled if somebody asks to stop meanwhile."""
        stood = False
        with self._steered:
            while self._stands():
                if not stood:
                    stood = True
                    session().say(self, Paused(self.operation_id, True))
                self._steered.wait()
        if stood:
            session().say(self, Paused(self.operation_id, False))
        self.raise_if_canceled()

    def _stands(self) -> bool:
        return self._pause and not self._cancel and self.state == "running"

    def _attend(self) -> None:
        """There is something to look at: raise, or stand still."""
        if self._cancel:
            self.raise_if_canceled()
        # In a loop of asyncio everything else would stand still as well.
        if self._pause and self.pausable and not _in_event_loop():
            self.wait_while_paused()

    def _end(
        self,
        state: Literal["completed", "failed", "canceled"],
        error: ErrorInfo | None = None,
        *,
        left: Where | None = None,
    ) -> None:
        """The first outcome counts. One that comes later changes nothing, and is warned of once.

        left: it ended early, there, and whether that was meant will show.
        """
        if self._borrowed is not None:
            log.warning("%s is another process's: its outcome is that one's", self.name)
            return
        with self._lock:
            if self.state != "running":
                session().warn(
                    f"outcome {self.operation_id}", f"{self.name} is {self.state} already: {state} changes nothing"
                )
                return
            self.state = state
        _living.discard(self)
        end = End(self.operation_id, state, self._measure(), error)
        if left is not None:
            session().leave(self, end, left)
        else:
            session().say(self, end)
            session().let_finish(self.operation_id)
        for callback in self._ends:
            self._call(callback)

    def _leave_block(self, error: BaseException | None) -> None:
        """The block around it was left: how, is how it went."""
        if self._borrowed is not None:
            return
        if error is None or (isinstance(error, SystemExit) and not error.code):
            if self.state == "running":
                self._end("completed")
        elif isinstance(error, OperationCanceled) or not isinstance(error, Exception | SystemExit):
            # Ctrl-C, or the end of a task.
            if self.state == "running":
                text = text_of(error, MESSAGE_LIMIT)
                self._end("canceled", canceled(text or type(error).__name__))
        elif self.state == "running":
            self._end("failed", error_of(error))
        else:
            session().reconsider(self.operation_id, End(self.operation_id, "failed", self._measure(), error_of(error)))

    def flush(self, timeout_s: float = 2.0) -> bool:
        """Wait until a broker has acknowledged all outcomes of this program; whether it did."""
        return session().flush(timeout_s)

    # --- several processes ------------------------------------------------------------------

    def _share(self) -> Shared:
        if self._shared is None:
            self._shared = Shared.create()
            self._shared.tell(cancel=self._cancel, pause=self._pause)
        return self._shared

    def _borrow(self, shared: Shared) -> None:
        """From here on this process only adds to what another one reports."""
        self._shared = shared
        self._borrowed = number_of(self.done)
        self._attention = self._cancel = self._pause = False
        self._lock, self._steered = threading.RLock(), threading.Condition()
        self.__class__ = borrowing(type(self))

    def __reduce__(self) -> tuple[Any, ...]:
        """For another process of this machine, which then adds to this operation."""
        own = next(kind for kind in type(self).__mro__ if not issubclass(kind, Borrowing))
        state = {
            "operation_id": self.operation_id,
            "kind": self.kind,
            "name": self.name,
            "total": self.total,
            "unit": self.unit,
            "done": self.done,
        }
        return _arrive, (own, state, self._share().path)

    def __del__(self) -> None:
        """Dropped without a word: nobody can say any more how it went."""
        if (
            getattr(self, "state", "") == "running"
            and getattr(self, "_borrowed", 0.0) is None
            and not sys.is_finalizing()
        ):
            self._end("canceled", canceled("the program dropped it before its end"))


def _arrive(own: type[Reporting], state: dict[str, Any], path: str) -> Reporting:
    """An operation of another process. Raises OSError if that is gone."""
    operation = own.__new__(own)
    operation.__dict__.update(
        state,
        labels={},
        pausable=False,
        bar=False,
        leave=True,
        state="running",
        parent_id=None,
        _parts=Step("", 1.0),
        _children=Children(),
        _callbacks=[],
        _wakers=[],
        _ends=[],
        _step="",
        _message="",
        _details=None,
        _last=None,
    )
    operation._borrow(Shared.of(path))
    return operation


def _in_event_loop() -> bool:
    """Whether standing still here would hold up other coroutines."""
    asyncio = sys.modules.get("asyncio")
    if asyncio is None or asyncio._get_running_loop() is None:
        return False
    # A cell of a notebook runs in its kernel's loop, which waits for it anyway; unless it is a coroutine itself.
    return not _in_plain_cell()


def _in_plain_cell() -> bool:
    if "IPython" not in sys.modules:
        return False
    frame: FrameType | None = sys._getframe(1)
    while frame is not None and not frame.f_code.co_flags & (CO_COROUTINE | CO_ASYNC_GENERATOR):
        frame = frame.f_back
    return frame is not None and str(frame.f_globals.get("__name__")).startswith("IPython.")


class ProgressReporter(Reporting):
    """An operation of this program, in percent, told in as many or few words as one likes.

    operation_type: what kind of work it is, to filter by. name: for people. pausable: the program looks, by
    `wait_while_paused`, whether it is to stand still. labels: to find it by. bar: show a local bar; None: only while
    no runtime is there. parent: an operation that it is a part of, which is as far as its parts are by their weights,
    and whose cancel cancels it.

    Any thread, any loop, and forked children may report. As a context manager it completes at the end of the block,
    fails with an exception, and is cancelled by OperationCanceled. Never blocks, never raises but for what its
    name says.
    """

    def __init__(
        self,
        operation_type: str,
        name: str = "",
        *,
        labels: Mapping[str, str] | None = None,
        pausable: bool = False,
        bar: bool | None = None,
        parent: Reporting | None = None,
        weight: float = 1.0,
    ) -> None:
        self._parts = Step("", 1.0)
        super().__init__(
            operation_type,
            name or operation_type,
            total=100.0,
            unit="%",
            labels=labels,
            pausable=pausable,
            bar=bar,
            parent=parent,
            weight=weight,
        )

    def report_progress(
        self,
        progress: float,
        current_step: str | None = None,
        *,
        message: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """How far it is, 0–100; a bar never moves back. current_step, message, details: stay until they are replaced.

        details: what every encoding can carry, at most 8 KiB; values of other types are shown as text.
        """
        self.done = progress
        if current_step is not None:
            self._step = current_step
        if message is not None:
            self._message = message
        if details is not None:
            self._details = details

    def step(self, name: str, share: float) -> contextlib.AbstractContextManager[Step]:
        """A part of the work, as a context manager: `share` (0–1) of the whole. Parts may be nested, or overlap."""
        return self._parts.step(name, share)

    def report_completed(self, *, message: str | None = None, details: Mapping[str, Any] | None = None) -> None:
        """It is done."""
        self._say(message, details)
        self._end("completed")

    def report_failed(
        self, error: str | BaseException = "", *, code: str = "failed", details: Mapping[str, Any] | None = None
    ) -> None:
        """It cannot be done. error: why, for people. code: the same for programs."""
        self._say(None, details)
        if isinstance(error, BaseException):
            self._end("failed", error_of(error))
            return
        text = text_of(error, MESSAGE_LIMIT) or "no reason given"
        self._end("failed", ErrorInfo(code=text_of(code, NAME_LIMIT), message=text))

    def report_canceled(self, *, message: str | None = None, details: Mapping[str, Any] | None = None) -> None:
        """It stopped because somebody, here or elsewhere, wanted that."""
        self._say(message, details)
        self._end("canceled", None if message is None else canceled(message))

    def _say(self, message: str | None, details: Mapping[str, Any] | None) -> None:
        if message is not None:
            self._message = message
        if details is not None:
            self._details = details

    def __enter__(self) -> ProgressReporter:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._leave_block(error)

    def _value(self) -> float:
        return max(super()._value(), self._parts.value())

    def sample(self) -> OperationMeasure | None:
        """Where it stands, None if that is where it stood at the last call."""
        path = self._parts.path()
        if path:
            self._step = path
        return super().sample()


class Borrowing:
    """Mixed into what a process has that does not own it: what it reports is added to what the owner reports."""


class BorrowedReporter(Borrowing, ProgressReporter):
    """Of `ProgressReporter`."""

    def report_progress(
        self,
        progress: float,
        current_step: str | None = None,
        *,
        message: str | None = None,
        details: Mapping[str, Any] | None = None,
    ) -> None:
        """What this process has done counts; texts are the owner's."""
        del current_step, message, details
        now = number_of(progress)
        if self._borrowed is not None and now > self._borrowed and self._shared is not None:
            self._shared.add(now - self._borrowed)
            self._borrowed = now
        self.done = progress


# What each kind of operation is in a process that does not own it; a class of somebody's own is both.
BORROWED: dict[type[Reporting], type[Reporting]] = {ProgressReporter: BorrowedReporter}
_living: weakref.WeakSet[Reporting] = weakref.WeakSet()

SHARED_LIMIT = 100
"""Operations that a forked child may go on with: each page takes two descriptors."""


def borrowing(kind: type[Reporting]) -> type[Reporting]:
    """The class of such an operation there."""
    if issubclass(kind, Borrowing):
        return kind
    known = BORROWED.get(kind)
    if known is None:
        base = next((BORROWED[above] for above in kind.__mro__ if above in BORROWED), None)
        bases = (kind,) if base is None else (base, kind)
        known = BORROWED[kind] = type(kind.__name__, (Borrowing, *bases) if base is None else bases, {})
    return known


def _living_now() -> list[Reporting]:
    """Other threads may begin operations meanwhile."""
    while True:
        try:
            return list(_living)
        except RuntimeError:
            continue


def _before_fork() -> None:
    """A child may go on with what lives now."""
    for operation in _living_now()[:SHARED_LIMIT]:
        with contextlib.suppress(OSError):
            operation._share()


def _in_child() -> None:
    for operation in _living_now():
        shared = operation._shared
        if shared is not None:
            shared.forked()
            operation._borrow(shared)
        else:
            # It lives in the parent, and nothing that is done to it here is told.
            operation.state = "canceled"


os.register_at_fork(before=_before_fork, after_in_child=_in_child)
