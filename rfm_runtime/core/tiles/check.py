"""The engine's core for tests and people: what holds at any time between its tables, and what a render waits for."""

from __future__ import annotations

from collections.abc import Mapping

from rfm_runtime.core.counts import counted
from rfm_runtime.core.tiles.order import bitmap, rect
from rfm_runtime.core.tiles.run import Run
from rfm_runtime.core.tiles.worker import QUEUE_LIMIT, Worker

__all__ = ["explain", "sanity_check"]

Held = dict[tuple[str, int, str, int], int]


def sanity_check(runs: Mapping[str, Run], workers: Mapping[int, Worker]) -> None:
    """Raise AssertionError if two tables disagree."""
    held = _held(workers)
    for run in runs.values():
        _check_run(run)
    for number, worker in workers.items():
        for task in worker.tasks:
            run_of = runs[task.operation_id]
            if run_of.poison.runs_alone((task.phase, task.index)) and not worker.alone:
                raise AssertionError(f"worker {number} has {task.phase} {task.index}, which is to be alone")
    known = {
        (run.operation_id, run.generation, phase, index): number
        for run in runs.values()
        for (phase, index), number in run.running.items()
    }
    # A claim is forgotten only when it is idle, so no task in a worker's hands is without its run.
    if known != held:
        raise AssertionError(f"runs and workers disagree about {known.items() ^ held.items()}")


def _held(workers: Mapping[int, Worker]) -> Held:
    held: Held = {}
    for number, worker in workers.items():
        if len(worker.tasks) > QUEUE_LIMIT:
            raise AssertionError(f"worker {number} holds {len(worker.tasks)} tasks")
        if worker.alone and len(worker.tasks) != 1:
            raise AssertionError(f"worker {number} is to hold one task alone, and holds {len(worker.tasks)}")
        operations = {(task.operation_id, task.generation) for task in worker.tasks}
        if not worker.stopping <= operations:
            raise AssertionError(f"worker {number} is to stop {worker.stopping - operations}, which it does not hold")
        for task in worker.tasks:
            key = (task.operation_id, task.generation, task.phase, task.index)
            if key in held:
                raise AssertionError(f"{key} is held by workers {held[key]} and {number}")
            held[key] = number
    return held


def _check_run(run: Run) -> None:
    for phase, index in run.running:
        if phase == "tile" and index in run.committed:
            raise AssertionError(f"{run.operation_id} tile {index} runs and is committed")
    waiting = [*run.open, *run.alone]
    if len(set(waiting)) != len(waiting) or set(waiting) & run.running.keys():
        raise AssertionError(f"{run.operation_id}: a task is open twice, or open and running")
    if run.ended and run.running:
        raise AssertionError(f"{run.operation_id} ended while {run.running} run")
    if run.successor is not None and not run.dropped:
        raise AssertionError(f"{run.operation_id} has a successor and goes on")
    if bytes(run.bitmap) != bitmap(run.committed, run.total_tiles):
        raise AssertionError(f"{run.operation_id}: the bitmap shows other tiles than are committed")
    if run.pixels != sum(width * height for _, _, width, height in (rect(run.grid, i) for i in run.committed)):
        raise AssertionError(f"{run.operation_id}: {run.pixels} pixels are not those of the committed tiles")


def explain(run: Run, first: Run | None) -> tuple[str, ...]:
    """What a render waits for. first: the one whose task is dispatched next."""
    lines = [f"{len(run.committed)} of {run.total_tiles} tiles are committed, {len(run.running)} tasks run."]
    if not run.prepared:
        lines.append("Its frame is being prepared.")
    if run.paused:
        lines.append("It is paused.")
    if run.poison.last_cause:
        tried = counted(sum(run.poison.deaths.values()), "attempt")
        lines.append(f"{tried} came to nothing, the last of: {run.poison.last_cause}.")
    if run.alone:
        lines.append(f"{len(run.alone)} of its tasks have killed, and wait for a worker that holds nothing else.")
    if run.poison.holes:
        lines.append(f"It has {run.poison.holes_said()}.")
    if run.open and not run.running and first is not None and first is not run:
        lines.append(f"{first.operation_id} goes first, with priority {first.priority} against {run.priority}.")
    return tuple(lines)
