"""One render in the engine's hands: its phases, what is open, what runs, what is committed.

Owned by `EngineCore`; every method is a pure change of this object, and says what is left to do by its state.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from rfm_runtime.core.tiles.messages import Phase, Task
from rfm_runtime.core.tiles.order import bitmap, preview_blocks, rect, tile_order
from rfm_runtime.protocol.internal import Assign, OperationMeasure
from rfm_runtime.protocol.operation import Artifact, ErrorInfo, TileGrid

__all__ = ["Run"]

DEATHS_LIMIT = 3
"""Unexpected deaths of workers with the same task before the operation fails: it is the task's fault."""

STEPS: dict[Phase, tuple[int, str]] = {
    "preview": (1, "preview"),
    "tile": (2, "tiles"),
    "image": (3, "image"),
}


class Run:
    """phase: what is dispatched now. running: task → workers' number, by (phase, index)."""

    def __init__(self, assign: Assign, grid: TileGrid) -> None:
        self.assign = assign
        self.grid = grid
        self.total_tiles = grid.columns * grid.rows
        self.priority = assign.priority
        self.paused = assign.paused
        self.pause_said: bool | None = False
        self.prepared = False
        self.cancelled = False
        self.released = False
        self.dropped = False
        self.ended = False
        self.forced = False
        self.error: ErrorInfo | None = None
        self.artifacts: tuple[Artifact, ...] | None = None
        self.kill_at_s: float | None = None
        self.phase: Phase = "preview"
        self.open: deque[tuple[Phase, int]] = deque()
        self.running: dict[tuple[Phase, int], int] = {}
        self.committed: set[int] = set()
        self.attempts: dict[tuple[Phase, int], int] = {}
        self.deaths: dict[tuple[Phase, int], int] = {}
        self.dirty_tasks: set[tuple[Phase, int]] = set()
        self.weights: dict[int, float] = {}
        self.previewed = 0
        self.iterations = 0
        self.cpu_ns = 0
        self.counter = 0
        self.changed = True

    @property
    def operation_id(self) -> str:
        """Its operation."""
        return self.assign.operation_id

    @property
    def generation(self) -> int:
        """The claim it works under."""
        return self.assign.generation

    @property
    def stopping(self) -> bool:
        """Nothing of it is to be dispatched any more, whatever the reason."""
        return self.cancelled or self.released or self.dropped or self.ended or self.error is not None

    @property
    def dispatchable(self) -> bool:
        """Whether a worker can be given something of it now."""
        return self.prepared and not self.stopping and not self.paused and bool(self.open)

    @property
    def pixels(self) -> int:
        """Pixels of committed tiles."""
        total = 0
        for index in self.committed:
            _, _, width, height = rect(self.grid, index)
            total += width * height
        return total

    def prepare(self, committed: Iterable[int]) -> None:
        """The frame is there; tiles that an earlier claim committed are done."""
        self.prepared = True
        self.committed = set(committed)
        if self.committed:
            self._begin_tiles()
        else:
            self.open = deque(("preview", index) for index in range(len(preview_blocks(self.grid))))
        self._advance()

    def take(self, worker: int) -> Task:
        """The next task for a worker; call only if `dispatchable`."""
        key = self.open.popleft()
        self.running[key] = worker
        self.attempts[key] = self.attempts.get(key, 0) + 1
        fresh = key in self.dirty_tasks
        self.dirty_tasks.discard(key)
        phase, index = key
        if phase == "tile":
            x, y, width, height = rect(self.grid, index)
        elif phase == "preview":
            x, y, width, height = preview_blocks(self.grid)[index]
        else:
            x, y, width, height = 0, 0, self.grid.width_px, self.grid.height_px
        return Task(
            operation_id=self.operation_id,
            generation=self.generation,
            phase=phase,
            index=index,
            attempt=self.attempts[key],
            x=x,
            y=y,
            width=width,
            height=height,
            fresh=fresh,
        )

    def done(self, task: Task, weights: Iterable[tuple[int, float]], artifacts: tuple[Artifact, ...]) -> bool:
        """A task is finished; False if it was not running here (counted once, whatever is said twice)."""
        if self.running.pop((task.phase, task.index), None) is None:
            return False
        self.changed = True
        if task.phase == "preview":
            self.weights.update(weights)
            self.previewed += 1
        elif task.phase == "tile":
            self.committed.add(task.index)
        else:
            self.artifacts = artifacts
        self._advance()
        return True

    def put_back(self, task: Task) -> None:
        """It stopped before its end: first in line again, going on where it was."""
        key = (task.phase, task.index)
        if self.running.pop(key, None) is not None:
            self.open.appendleft(key)

    def died(self, task: Task, cause: str, *, forced: bool) -> None:
        """Its worker died with it: computed again from scratch, or, if that happens too often, given up."""
        key = (task.phase, task.index)
        if self.running.pop(key, None) is None:
            return
        self.dirty_tasks.add(key)
        self.open.appendleft(key)
        if forced:
            return
        self.deaths[key] = self.deaths.get(key, 0) + 1
        if self.deaths[key] >= DEATHS_LIMIT:
            self.error = ErrorInfo(
                code="worker_lost",
                message=f"{DEATHS_LIMIT} workers died with {task.phase} {task.index}: {cause}",
                hint="see `rfm-runtime logs engine`; a smaller tile_px or fewer workers may help",
            )

    def _advance(self) -> None:
        """To the next phase when nothing of this one is left."""
        if self.open or self.running:
            return
        if self.phase == "preview":
            self._begin_tiles()
        if self.phase == "tile" and not self.open and len(self.committed) == self.total_tiles:
            self.phase = "image"
            if self.artifacts is None:
                self.open.append(("image", 0))

    def _begin_tiles(self) -> None:
        self.phase = "tile"
        left = (index for index in range(self.total_tiles) if index not in self.committed)
        self.open = deque(("tile", index) for index in tile_order(self.grid, left, self.weights))

    def measure(self, now_ms: int) -> OperationMeasure:
        """The cumulative measure, with the next counter."""
        self.counter += 1
        number, name = STEPS[self.phase]
        return OperationMeasure(
            generation=self.generation,
            counter=self.counter,
            measured_at_ms=now_ms,
            done=float(self.pixels),
            total=float(self.grid.width_px * self.grid.height_px),
            unit="px",
            step=name,
            steps=(number, len(STEPS)),
            tiles_total=self.total_tiles,
            tiles_done=len(self.committed),
            committed=bitmap(self.committed, self.total_tiles),
            previewed=self.previewed,
            iterations=self.iterations,
            cpu_ns=self.cpu_ns,
        )
