"""Computations of dask's local schedulers, seen by how many tasks are done and stopped from anywhere.

dask calls back in the thread that computes. With dask.distributed `track` does it, without this module:

>>> try:
...     for future in track(distributed.as_completed(futures), "features", total=len(futures)):
...         use(future.result())
... except OperationCanceled:
...     client.cancel(futures)
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from typing import Any

from rfm_runtime.client.reporting.tracking import Progress
from rfm_runtime.errors import SetupError

try:
    from dask.callbacks import Callback
except ImportError:
    raise SetupError(
        "rfm_runtime.integrations.dask needs dask, which is not installed", hint="pip install dask"
    ) from None

__all__ = ["ProgressCallback"]


class ProgressCallback(Callback):
    """Each computation in its block, or after `register()`, is an operation. options: as of `Progress`.

    Once somebody has asked to stop, no other task begins and OperationCanceled is raised by `compute()`, as soon as a
    task would have begun; dask does not wait for those that run in its threads then. A pause holds tasks as well.

    >>> with ProgressCallback("features"):
    ...     features.compute()
    """

    operation: Progress | None = None
    """Of the computation that began last."""

    def __init__(self, desc: str = "", **options: Any) -> None:
        super().__init__()
        self._desc = desc
        self._options = {"kind": "dask", "unit": "tasks", **options}
        # By the graph: threads may compute several at a time.
        self._operations: dict[int, Progress] = {}

    def _start_state(self, dsk: Mapping[Any, Any], state: Mapping[str, Any]) -> None:
        total = sum(len(state[which]) for which in ("ready", "waiting", "running", "finished"))
        self.operation = self._operations[id(dsk)] = Progress(total, self._desc or "dask", **self._options)

    def _pretask(self, key: Any, dsk: Mapping[Any, Any], state: Mapping[str, Any]) -> None:
        del key, state
        if (operation := self._operations.get(id(dsk))) is not None:
            # Nothing is done yet, but this is where it may stand still or stop.
            operation.update(0)

    def _posttask(
        self, key: Any, result: Any, dsk: Mapping[Any, Any], state: Mapping[str, Any], worker_id: Any
    ) -> None:
        del key, result, state, worker_id
        if (operation := self._operations.get(id(dsk))) is not None:
            operation.done += 1

    def _finish(self, dsk: Mapping[Any, Any], state: Mapping[str, Any], errored: bool) -> None:
        del state, errored
        if (operation := self._operations.pop(id(dsk), None)) is not None:
            # dask says that it failed, and is about to raise why.
            operation.__exit__(*sys.exc_info())
