"""Futures of `concurrent.futures`, seen by how many are done and stopped from anywhere.

Futures call `_count` in whatever thread they end in; the loop over them waits for what that puts into its queue.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import Executor, Future
from typing import Any, Generic, Literal, TypeVar

from rfm_runtime.client.reporting.session import Where
from rfm_runtime.client.reporting.tracking import Progress
from rfm_runtime.client.reporting.values import error_of
from rfm_runtime.protocol.operation import ErrorInfo

__all__ = ["as_completed", "executor_map"]

R = TypeVar("R")


def as_completed(
    futures: Iterable[Future[R]], desc: str = "", *, timeout: float | None = None, **options: Any
) -> Iterator[Future[R]]:
    """As `concurrent.futures.as_completed`; the operation counts what is done, however slowly it is looked at.

    options: as of `Progress`. What failed is counted in the details. Once somebody has asked to stop, futures that have
    not begun are cancelled and OperationCanceled is raised in the loop; the operation is cancelled when those that had
    begun are over. To a pool of processes that is also what is on its way to one: as many as it has, and one.

    >>> with ThreadPoolExecutor() as executor:
    ...     for future in as_completed([executor.submit(load, path) for path in paths], "load"):
    ...         use(future.result())
    """
    tasks = _Tasks(set(futures), desc, options, handed=True)
    return _begun(_completed(tasks, _deadline_s(timeout)))


def executor_map(
    executor: Executor,
    function: Callable[..., R],
    *iterables: Iterable[Any],
    desc: str = "",
    timeout: float | None = None,
    **options: Any,
) -> Iterator[R]:
    """As `executor.map`, one item a task: all are submitted now, results come in their order, the first exception
    cancels what has not begun. Options and cancellation as of `as_completed`.

    >>> with ProcessPoolExecutor() as executor:
    ...     sizes = list(executor_map(executor, compress, paths, desc="compress"))
    """
    futures = [executor.submit(function, *items) for items in zip(*iterables, strict=False)]
    tasks = _Tasks(futures, desc or getattr(function, "__name__", ""), options, handed=False)
    return _begun(_in_order(tasks, futures, _deadline_s(timeout)))


class _Tasks(Progress, Generic[R]):
    """An operation that has futures. It ends with the loop over them; if there is none, with the last of them."""

    def __init__(self, futures: Collection[Future[R]], desc: str, options: dict[str, Any], *, handed: bool) -> None:
        """handed: `take` is to give out the futures, else only to say that there is one more."""
        super().__init__(len(futures), desc, **{"kind": "futures", "unit": "tasks", **options, "pausable": False})
        self._alone = False
        self._handed = handed
        self._open = set(futures)
        self._count_lock = threading.RLock()
        self._late: list[ErrorInfo | None] = []
        self._figures: dict[str, Any] = {}
        # None: something happened.
        self._over: queue.SimpleQueue[Future[R] | None] = queue.SimpleQueue()
        for future in futures:
            future.add_done_callback(self._count)
        self.on_cancel(self._stop)

    def take(self, deadline_s: float | None) -> Future[R] | None:
        """The next that is over, None if something else happened. Raises OperationCanceled, and TimeoutError."""
        self.attend()
        try:
            future = self._over.get(timeout=None if deadline_s is None else max(0.0, deadline_s - time.monotonic()))
        except queue.Empty:
            raise TimeoutError(f"{len(self._open)} of {self.total} futures are not done") from None
        self.attend()
        return future

    def lacks(self, future: Future[R]) -> bool:
        """Whether it has not been counted, which is a little later than it is done."""
        return future in self._open

    def attend(self) -> None:
        """Raise OperationCanceled if somebody asked to stop; by then nothing begins any more."""
        if self.should_cancel():
            self._stop()
            self.raise_if_canceled()

    def _stop(self) -> None:
        with self._count_lock:
            left = list(self._open)
        for future in left:
            future.cancel()
        self._over.put(None)

    def _count(self, future: Future[R]) -> None:
        with self._count_lock:
            if future.cancelled():
                self._figures["canceled"] = self._figures.get("canceled", 0) + 1
            else:
                self.done += 1
                if (error := future.exception()) is not None:
                    self._figures["failed"] = self._figures.get("failed", 0) + 1
                    self._figures["error"] = error_of(error).message
            if self._figures:
                self.set_postfix(self._figures)
            self._open.discard(future)
            last = not self._open
        self._over.put(future if self._handed else None)
        if last and self._late:
            super()._end("canceled", self._late[0])
        elif last and self._alone:
            self._end_alone()

    def leave_alone(self) -> None:
        """Nobody will look at the results: how the futures end is how it went."""
        with self._count_lock:
            self._alone = True
            last = not self._open
        if last:
            self._end_alone()

    def _end_alone(self) -> None:
        if self.should_cancel() or "canceled" in self._figures:
            self.cancel("futures were cancelled")
        elif "failed" in self._figures:
            self.fail(self._figures["error"])
        else:
            self.close()

    def _end(
        self,
        state: Literal["completed", "failed", "canceled"],
        error: ErrorInfo | None = None,
        *,
        left: Where | None = None,
    ) -> None:
        with self._count_lock:
            if state == "canceled" and self._open and self.should_cancel():
                # It has stopped when nothing of it runs any more.
                self._late.append(error)
                return
        super()._end(state, error, left=left)


def _deadline_s(timeout: float | None) -> float | None:
    return None if timeout is None else time.monotonic() + timeout


def _begun(loop: Iterator[Any]) -> Iterator[Any]:
    """Up to where it knows whether it is gone through, or dropped."""
    next(loop)
    return loop


def _completed(tasks: _Tasks[R], deadline_s: float | None) -> Iterator[Future[R] | None]:
    try:
        yield None
    except GeneratorExit:
        tasks.leave_alone()
        return
    with tasks:
        for _ in range(int(tasks.total or 0)):
            while (future := tasks.take(deadline_s)) is None:
                pass
            yield future


def _in_order(tasks: _Tasks[R], futures: list[Future[R]], deadline_s: float | None) -> Iterator[R | None]:
    try:
        yield None
    except GeneratorExit:
        tasks.leave_alone()
        return
    futures.reverse()
    try:
        with tasks:
            while futures:
                while tasks.lacks(futures[-1]):
                    tasks.take(deadline_s)
                tasks.attend()
                yield futures.pop().result()
    finally:
        for future in futures:
            future.cancel()
