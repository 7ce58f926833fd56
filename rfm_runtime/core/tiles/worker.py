"""A worker process as the engine's core knows it, and how much it is given at once. Owned by `EngineCore`."""

from __future__ import annotations

import math

from rfm_runtime.core.tiles.messages import Task

__all__ = ["FIRST_DEPTH", "LEAD_S", "LONG_S", "QUEUE_LIMIT", "REST_S", "ROUND_TRIP_S", "Worker", "depth"]

FIRST_DEPTH = 2
"""Tasks in a worker's hands while nothing is known of their cost: the one that runs, and the next."""

LEAD_S = 0.05
"""CPU time of what waits in a worker's hands: each message costs a core that computes 0.2 ms, so a cheap task
travels with others."""

LONG_S = 0.1
"""CPU time of a task that is worth waiting for: the next one goes to whoever is free first, and not behind it."""

QUEUE_LIMIT = 16
"""Tasks in a worker's hands, however cheap they are."""

ROUND_TRIP_S = 0.002
"""CPU time that a worker may hold to the very end of a phase: about what it would wait for the next message."""

REST_S = 0.02
"""How long answers of workers that have enough to do may lie unread."""


def depth(task_s: float | None, left: int, workers: int) -> int:
    """How many tasks a worker may hold, the running one included.

    task_s: expected CPU time of the next one, None before the first. left: tasks that nobody holds; towards their end
    workers hold fewer, so that none waits for long while another has a queue.
    """
    if task_s is None:
        wanted = FIRST_DEPTH
    elif task_s >= LONG_S:
        wanted = 1
    else:
        wanted = 1 + max(1, min(QUEUE_LIMIT - 1, math.ceil(LEAD_S / max(task_s, 1e-9))))
    fair = (left + workers) // (2 * max(1, workers))
    if task_s is not None:
        fair = max(fair, math.floor(ROUND_TRIP_S / max(task_s, 1e-9)))
    return min(wanted, 1 + fair)


class Worker:
    """tasks: in the order it does them, the first one runs. stopping: operations it was told to stop and still holds.

    kill_sent: its death is ours, and no fault of its task. alone: what it holds has killed, and is all it may hold.
    rests_until_s: it was refused memory, and is given nothing until then.
    """

    __slots__ = ("alone", "kill_sent", "rests_until_s", "stopping", "tasks")

    def __init__(self) -> None:
        self.tasks: list[Task] = []
        self.stopping: set[tuple[str, int]] = set()
        self.kill_sent = False
        self.alone = False
        self.rests_until_s: float | None = None

    @property
    def is_unable(self) -> bool:
        """Whether nothing can be given to it now, however little it holds."""
        return self.kill_sent or self.rests_until_s is not None

    def give_back(self, task: Task) -> None:
        """It does not hold the task any more."""
        self.tasks.remove(task)
        self.alone = False
        key = (task.operation_id, task.generation)
        if not any((held.operation_id, held.generation) == key for held in self.tasks):
            self.stopping.discard(key)
