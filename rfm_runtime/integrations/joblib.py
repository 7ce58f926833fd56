"""`joblib.Parallel`, seen by how many tasks are done and stopped from anywhere: import it from here instead.

Each task is wrapped: in whatever process it is about to begin, it looks at the operation's page whether it is to.
"""

from __future__ import annotations

import contextlib
import operator
from collections.abc import Callable, Iterable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path
from typing import Any

from rfm_runtime.client.reporting.shared import Shared
from rfm_runtime.client.reporting.tracking import Progress
from rfm_runtime.errors import OperationCanceled, SetupError

try:
    import joblib
    from joblib import delayed
except ImportError:
    raise SetupError(
        "rfm_runtime.integrations.joblib needs joblib, which is not installed", hint="pip install joblib"
    ) from None

__all__ = ["Parallel", "delayed"]

Task = tuple[Callable[..., Any], tuple[Any, ...], Mapping[str, Any]]


class Parallel(joblib.Parallel):
    """As `joblib.Parallel`; each call is an operation that counts its tasks.

    desc: for people. total: tasks, if the iterable does not tell by its length. reported: more options of `Progress`.
    Once somebody has asked to stop, tasks that have not begun do not begin, and the call raises OperationCanceled as
    soon as joblib is done with the others, as if one of them had: it kills processes, and waits for threads.

    >>> sizes = Parallel(n_jobs=4, desc="compress", total=len(paths))(delayed(compress)(path) for path in paths)
    """

    operation: Progress | None = None
    """Of the call under way, or of the last one."""

    def __init__(
        self,
        *args: Any,
        desc: str = "",
        total: float | None = None,
        reported: Mapping[str, Any] | None = None,
        **options: Any,
    ) -> None:
        super().__init__(*args, **options)
        self._desc = desc
        self._total = total
        self._reported = {"kind": "joblib", "unit": "tasks", **(reported or {}), "pausable": False}

    def __call__(self, iterable: Iterable[Task]) -> Any:
        """As joblib's. Raises OperationCanceled if somebody asked to stop."""
        total = operator.length_hint(iterable, -1) if self._total is None else self._total
        operation = Progress(None if total < 0 else total, self._desc or "joblib", **self._reported)
        tasks = _Tasks(iterable, operation)
        self.operation = operation
        results = _results(operation, tasks, lambda: super(Parallel, self).__call__(tasks.all()))
        # The first of them begins the tasks, as joblib does at once.
        next(results)
        return results if self.return_generator else list(results)

    def print_progress(self) -> None:
        """As joblib's, which calls it in whatever thread a task is over."""
        if self.operation is not None:
            self.operation.done = self.n_completed_tasks
        super().print_progress()


def _results(operation: Progress, tasks: _Tasks, begin: Callable[[], Iterable[Any]]) -> Iterator[Any]:
    with operation:
        output = begin()
        yield None
        yield from output
        if tasks.stopped:
            operation.raise_if_canceled()
        # The last may be handed out before it is counted.
        operation.done = tasks.count


class _Tasks:
    """What joblib is given instead of the tasks. Once it has taken all of them, their number is known."""

    def __init__(self, iterable: Iterable[Task], operation: Progress) -> None:
        self._iterable = iterable
        self._operation = operation
        self.count = 0
        self.stopped = False

    def all(self) -> Iterable[Task]:
        """A list if it was one: joblib tells its length as well."""
        return list(self._each()) if isinstance(self._iterable, list | tuple) else self._each()

    def _each(self) -> Iterator[Task]:
        path = None
        # Without one, only what was not handed out yet can be kept from beginning.
        with contextlib.suppress(OSError):
            path = self._operation._share().path
        for function, arguments, named in self._iterable:
            if self._operation.should_cancel():
                # Not raised here: this may be the thread in which a pool hands out results.
                self.stopped = True
                return
            self.count += 1
            yield _Guarded(function, self._operation.operation_id, path), arguments, named
        if self._operation.total is None:
            self._operation.total = self.count


class _Guarded:
    """A function that is not called any more once somebody has asked to stop."""

    def __init__(self, function: Callable[..., Any], operation_id: str, path: str | None) -> None:
        self._function = function
        self._operation_id = operation_id
        self._path = path

    def __call__(self, *arguments: Any, **named: Any) -> Any:
        page = None if self._path is None else _page(self._operation_id, self._path)
        if page is not None and page.cancel:
            raise OperationCanceled("the operation was cancelled before this task began")
        return self._function(*arguments, **named)


@lru_cache(maxsize=8)
def _page(operation_id: str, path: str) -> Shared | None:
    """The page of that operation; None where there is none, as on another machine. The id: paths are used again."""
    del operation_id
    try:
        if not Path(path).readlink().name.startswith("memfd:rfm-progress"):
            return None
        return Shared.of(path)
    except (OSError, ValueError):
        return None
