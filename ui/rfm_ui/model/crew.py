"""Workers as rows. Pure."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Final, NamedTuple

from rfm_runtime.core.counts import counted
from rfm_runtime.core.resources.sizes import size
from rfm_runtime.core.text import number, printable
from rfm_runtime.protocol.crew import CrewUsage, WorkerState, WorkerUsage
from rfm_runtime.protocol.operation import Operation
from rfm_ui.model.lines import Tone

__all__ = ["TONES", "WorkerRow", "deaths_line", "summary", "worker_rows"]

TONES: Final[Mapping[WorkerState, Tone]] = {
    "starting": "waiting",
    "idle": "idle",
    "computing": "running",
    "stopping": "stopped",
    "resting": "waiting",
    "alone": "stale",
}

WORDS: Final[Mapping[WorkerState, str]] = {"resting": "out of memory", "alone": "alone with a tile that killed"}


class WorkerRow(NamedTuple):
    """Texts, in the order of the columns; then what is not shown: the operation's id, what is said of the row."""

    name: str
    pid: str
    state: str
    what: str
    tile: str
    tiles: str
    speed: str
    cpu: str
    memory: str
    restarts: str
    operation_id: str
    tone: Tone
    about: str


def worker_rows(crews: Sequence[CrewUsage], known: Mapping[str, Operation]) -> list[WorkerRow]:
    """By engine and number. known: operations by id."""
    ordered = sorted(crews, key=lambda crew: crew.engine)
    return [_row(crew, worker, known, alone=len(crews) == 1) for crew in ordered for worker in crew.workers]


def summary(crews: Sequence[CrewUsage]) -> str:
    """All of them in a line."""
    workers = [worker for crew in crews for worker in crew.workers]
    if not workers:
        return "No engine is connected. Programs that report their own operations have no workers here."
    states = Counter(worker.state for worker in workers)
    parts = [f"{many} {WORDS.get(state, state)}" for state, many in sorted(states.items())]
    return f"{counted(len(workers), 'worker')}: {', '.join(parts)}"


def deaths_line(crews: Sequence[CrewUsage]) -> str:
    """How many have died, and what of; "" if none has."""
    deaths: Counter[str] = Counter()
    for crew in crews:
        deaths.update(crew.deaths)
    if not deaths:
        return ""
    causes = ", ".join(f"{many:,} {printable(cause)}" for cause, many in deaths.most_common())
    return f"{counted(deaths.total(), 'worker')} ended since the engine came up: {causes}"


def _row(crew: CrewUsage, worker: WorkerUsage, known: Mapping[str, Operation], *, alone: bool) -> WorkerRow:
    operation = known.get(worker.operation_id)
    title = "" if operation is None else printable(operation.name or operation.kind)
    name = f"worker {worker.number}" if alone else f"{printable(crew.engine)}, worker {worker.number}"
    state = WORDS.get(worker.state, worker.state)
    restarts = max(0, worker.starts - 1)
    about = [f"{name}: {state}"]
    if worker.last_death:
        about.append(f"the one before died of {printable(worker.last_death)}")
    return WorkerRow(
        name=name,
        pid=str(worker.pid) if worker.pid else "",
        state=state,
        # Of an operation that is not known here, or may not be seen, nothing is said.
        what=title or ("another operation" if worker.index is not None else ""),
        tile=_tile(worker),
        tiles=f"{worker.tiles:,}",
        # Of who rests it would be the last one that he had.
        speed=f"{number(worker.iterations_per_s)}/s" if worker.iterations_per_s and worker.index is not None else "",
        cpu=f"{worker.cpu_percent:.0f} %" if worker.pid else "",
        memory=size(worker.memory_bytes) if worker.pid else "",
        restarts=str(restarts) if restarts else "",
        operation_id=worker.operation_id,
        tone=TONES[worker.state],
        about="\n".join(about),
    )


def _tile(worker: WorkerUsage) -> str:
    if worker.index is None:
        return ""
    if worker.phase == "image":
        return "the picture"
    if worker.tile is None:
        return f"{worker.phase} {worker.index}"
    x, y, width, height = worker.tile
    return f"{worker.phase} {worker.index}: {width}×{height} at {x}, {y}"
