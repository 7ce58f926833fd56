"""`ProgressManager`: the operations of a program that has several at once, found by their ids."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from types import TracebackType
from typing import Any

from rfm_runtime.client.reporting.reporter import ProgressReporter
from rfm_runtime.client.reporting.session import session
from rfm_runtime.errors import BadRequestError, UnknownOperationError

__all__ = ["ProgressManager"]


class ProgressManager:
    """Operations that were started here and have no outcome yet. Usable from any thread.

    on_start, on_end: called with each reporter when it is started, and when it has its outcome, in that thread. As a
    context manager it shuts down at the end of the block.
    """

    def __init__(
        self,
        *,
        on_start: Callable[[ProgressReporter], object] | None = None,
        on_end: Callable[[ProgressReporter], object] | None = None,
    ) -> None:
        self._on_start = on_start
        self._on_end = on_end
        self._active: dict[str, ProgressReporter] = {}
        self._changed = threading.Condition()
        self._closed = False

    def start(
        self, kind: str, name: str = "", *, parent: str | None = None, weight: float = 1.0, **options: Any
    ) -> ProgressReporter:
        """Begin an operation. parent: the id of an active one that it is a part of, with this weight among its parts.

        options: as of `ProgressReporter`. Raises UnknownOperationError if the parent is not active here, and
        BadRequestError after `shutdown`.
        """
        with self._changed:
            if self._closed:
                raise BadRequestError("this manager was shut down", hint="make another ProgressManager")
            above = None if parent is None else self._active.get(parent)
            if parent is not None and above is None:
                raise UnknownOperationError(f"{parent} is not active here", hint="start its parent first")
            reporter = ProgressReporter(kind, name, parent=above, weight=weight, **options)
            self._active[reporter.operation_id] = reporter
        reporter.on_end(lambda: self._ended(reporter))
        if self._on_start is not None:
            self._on_start(reporter)
        return reporter

    def _ended(self, reporter: ProgressReporter) -> None:
        with self._changed:
            self._active.pop(reporter.operation_id, None)
            self._changed.notify_all()
        if self._on_end is not None:
            self._on_end(reporter)

    def get(self, operation_id: str) -> ProgressReporter | None:
        """The active operation of that id, None if there is none."""
        with self._changed:
            return self._active.get(operation_id)

    def active(self) -> list[ProgressReporter]:
        """All that have no outcome yet, the oldest first."""
        with self._changed:
            return list(self._active.values())

    def cancel(self, operation_id: str) -> bool:
        """Ask an operation, and its parts, to stop; False if it is not active."""
        reporter = self.get(operation_id)
        if reporter is None:
            return False
        reporter.request_cancel()
        return True

    def cancel_all(self) -> int:
        """Ask all to stop; how many there are."""
        reporters = self.active()
        for reporter in reporters:
            reporter.request_cancel()
        return len(reporters)

    def shutdown(self, timeout_s: float = 5.0) -> bool:
        """Ask all to stop and wait until they have; what has not by then is reported as cancelled. Idempotent.

        Returns whether all stopped by themselves.
        """
        with self._changed:
            self._closed = True
        self.cancel_all()
        deadline_s = time.monotonic() + timeout_s
        with self._changed:
            while self._active and (left_s := deadline_s - time.monotonic()) > 0.0:
                self._changed.wait(left_s)
        late = self.active()
        for reporter in late:
            reporter.report_canceled(message=f"no answer within {timeout_s:g} s")
        session().flush(max(0.0, deadline_s - time.monotonic()))
        return not late

    def __enter__(self) -> ProgressManager:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.shutdown()
