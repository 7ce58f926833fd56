"""What an engine tells of its workers: counts that outlive a worker, beside what the core knows of it now. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping

from rfm_runtime.core.tiles.worker import Worker
from rfm_runtime.protocol.crew import CrewUsage, WorkerState, WorkerUsage
from rfm_runtime.protocol.resources import ChildUsage

__all__ = ["WANTED", "Crew", "death_word"]

WANTED = "killed on purpose"

KEPT = 0.5
"""Of what counts for the speed, from one word to the next: what was finished half a minute ago counts no more."""


def death_word(cause: str, wanted: bool) -> str:
    """Under which name a death is counted: the signal, `exit`, `out-of-memory`."""
    return WANTED if wanted else cause.partition(" ")[0]


class _Member:
    """One number."""

    __slots__ = ("cpu_s", "iterations", "last_death", "pid", "starts", "tiles")

    def __init__(self) -> None:
        self.pid = 0
        self.starts = 0
        self.tiles = 0
        self.iterations = 0.0
        self.cpu_s = 0.0
        self.last_death = ""


class Crew:
    """Owned by the engine's shell, which tells it what comes through the pipes."""

    def __init__(self, count: int) -> None:
        self._members = {number: _Member() for number in range(1, count + 1)}
        self._deaths: Counter[str] = Counter()

    def ready(self, number: int, pid: int) -> None:
        """A process takes tasks."""
        member = self._members.setdefault(number, _Member())
        member.pid = pid
        member.starts += 1

    def done(self, number: int, phase: str, iterations: int, cpu_s: float) -> None:
        """It has finished a task."""
        member = self._members.setdefault(number, _Member())
        member.tiles += phase == "tile"
        member.iterations += iterations
        member.cpu_s += cpu_s

    def died(self, number: int, cause: str, wanted: bool) -> None:
        """Its process is gone; another one takes its number."""
        member = self._members.setdefault(number, _Member())
        member.pid = 0
        member.last_death = WANTED if wanted else cause
        self._deaths[death_word(cause, wanted)] += 1

    def usage(
        self, engine: str, workers: Mapping[int, Worker], processes: Iterable[ChildUsage], now_ms: int
    ) -> CrewUsage:
        """What is told now. workers: as the core knows them. processes: what those below the engine's use."""
        used = {process.pid: process for process in processes}
        told = tuple(
            self._told(number, member, workers.get(number), used.get(member.pid))
            for number, member in sorted(self._members.items())
        )
        for member in self._members.values():
            member.iterations *= KEPT
            member.cpu_s *= KEPT
        return CrewUsage(engine=engine, measured_at_ms=now_ms, workers=told, deaths=dict(self._deaths))

    @staticmethod
    def _told(number: int, member: _Member, worker: Worker | None, process: ChildUsage | None) -> WorkerUsage:
        task = worker.tasks[0] if worker is not None and worker.tasks else None
        return WorkerUsage(
            number=number,
            pid=member.pid,
            state=_state(member, worker),
            operation_id="" if task is None else task.operation_id,
            phase="" if task is None else task.phase,
            index=None if task is None else task.index,
            tile=None if task is None else (task.x, task.y, task.width, task.height),
            tiles=member.tiles,
            iterations_per_s=round(member.iterations / member.cpu_s, 1) if member.cpu_s > 1e-9 else None,
            cpu_percent=0.0 if process is None else process.cpu_percent,
            memory_bytes=0 if process is None else process.memory_bytes,
            starts=member.starts,
            last_death=member.last_death,
        )


def _state(member: _Member, worker: Worker | None) -> WorkerState:
    if worker is None or not member.pid:
        return "starting"
    if worker.rests_until_s is not None:
        return "resting"
    if worker.stopping or worker.kill_sent:
        return "stopping"
    if worker.alone and worker.tasks:
        return "alone"
    return "computing" if worker.tasks else "idle"
