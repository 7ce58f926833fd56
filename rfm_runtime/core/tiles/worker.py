"""A worker process as the engine's core knows it. Owned by `EngineCore`."""

from __future__ import annotations

from rfm_runtime.core.tiles.messages import Task

__all__ = ["PREFETCH", "Worker"]

PREFETCH = 2
"""Tasks in a worker's hands: the one that runs and the next, so that no core waits for the pipe."""


class Worker:
    """tasks: in the order it does them, the first one runs. stopping: operations it was told to stop and still holds.

    kill_sent: its death is ours, and no fault of its task.
    """

    __slots__ = ("kill_sent", "stopping", "tasks")

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.stopping: set[tuple[str, int]] = set()
        self.kill_sent = False

    def give_back(self, task: Task) -> None:
        """It does not hold the task any more."""
        self.tasks.remove(task)
        key = (task.operation_id, task.generation)
        if not any((held.operation_id, held.generation) == key for held in self.tasks):
            self.stopping.discard(key)
