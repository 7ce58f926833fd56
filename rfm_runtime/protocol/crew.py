"""An engine's workers: what each does and has done, and what those that died have died of."""

from __future__ import annotations

from typing import Literal

from msgspec import Struct

__all__ = ["CrewUsage", "GetWorkers", "WorkerState", "WorkerUsage", "WorkersReply"]

WorkerState = Literal["starting", "idle", "computing", "stopping", "resting", "alone"]
"""starting: takes no tasks yet. stopping: was told to put down what it has in hand. resting: was refused memory.
alone: what it has in hand has killed before."""


class WorkerUsage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One worker; its successor after a death has the same number, and goes on with its counts.

    pid: 0 while it starts. operation_id, phase, index: of what it has in hand; tile: which pixels (x, y, width,
    height); the id is empty for who may not see the operation. tiles: that it has finished. iterations_per_s: of those
    that it finished lately, by their CPU time; None before the first. cpu_percent, memory_bytes: of its process, 100 is
    one core. starts: of this number. last_death: what the one before died of.
    """

    number: int
    pid: int = 0
    state: WorkerState = "starting"
    operation_id: str = ""
    phase: str = ""
    index: int | None = None
    tile: tuple[int, int, int, int] | None = None
    tiles: int = 0
    iterations_per_s: float | None = None
    cpu_percent: float = 0.0
    memory_bytes: int = 0
    starts: int = 0
    last_death: str = ""


class CrewUsage(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """All workers of an engine, by number. deaths: how many there were since the engine came up, by cause."""

    engine: str
    measured_at_ms: int
    workers: tuple[WorkerUsage, ...] = ()
    deaths: dict[str, int] = {}


class GetWorkers(Struct, frozen=True):
    """`get_workers`: what each worker does. → `workers_reply`"""


class WorkersReply(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """By engine, as each told last."""

    crews: tuple[CrewUsage, ...] = ()
