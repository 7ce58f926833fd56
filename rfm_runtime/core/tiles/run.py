"""One render in the engine's hands: its phases, what is open, what runs, what is committed.

Owned by `EngineCore`; every method is a pure change of this object, and says what is left to do by its state.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable, Sequence
from typing import Literal

from rfm_runtime.core.counts import counted
from rfm_runtime.core.tiles.messages import Rect, Task
from rfm_runtime.core.tiles.order import (
    MIDDLE,
    PREVIEW_STEP,
    bitmap,
    measured_as,
    preview_blocks,
    preview_order,
    rect,
    tile_order,
    tiles_under,
)
from rfm_runtime.core.tiles.poison import Key, Poison, deaths_limit
from rfm_runtime.protocol.causes import POISON_RENDER, POISON_TILE, WORKER_LOST
from rfm_runtime.protocol.internal import Assign, HeldOperation, OperationMeasure
from rfm_runtime.protocol.operation import Artifact, ErrorInfo, TileGrid

__all__ = ["Run"]

PREVIEW_TRUST = 0.03
"""Weight of what a preview's own pixels have cost, to that of tiles: its pixels are far apart in memory, which costs
more than a cheap pixel takes."""

NEWEST = 0.2
"""Weight of the newest task in the mean: the next one is like those just before it."""

DEATH_NS = 1_000_000_000
"""CPU time that a death counts for among renders of a priority: what it computed is lost, and a process is started. One
that kills whatever it is given would otherwise never have had any, and be next for ever."""

REORDER_LIMIT = 10_000
"""Parts that wait and are put into another order while everybody else waits: 20 ms. Where there are more, whoever looks
sees little of each."""

STEPS: dict[str, tuple[int, str]] = {"preview": (1, "preview"), "tile": (2, "tiles"), "image": (3, "image")}


class Run:
    """phase: what is dispatched now. running: task → workers' number, by (phase, index).

    workers: among how many its tiles are shared. task_s: CPU time of the phase's tasks, as a moving mean; None before
    the first is back. weights: expected cost of tiles, from the preview, in a unit of its own: weighed_s seconds of CPU
    time are weighed of it, by the preview itself and by the tiles that are done. left: weight of what is not committed.
    preview_weight, preview_s: what of both is from the preview.
    image_s: time that one worker is expected to take for the picture.
    alone: open tasks that have killed, each to be given to a worker that holds nothing else.
    lost_ns: what its deaths count for when its turn is decided.
    dirty_tasks: whose pixels a dead worker may have left half-written. pixels: of committed tiles.
    successor: a newer claim of the same operation, which waits until nothing of this one runs.
    """

    def __init__(self, assign: Assign, grid: TileGrid, workers: int, image_s: float = 0.0) -> None:
        self.assign = assign
        self.grid = grid
        self.workers = workers
        self.image_s = image_s
        self.total_tiles = grid.columns * grid.rows
        self.priority = assign.priority
        self.paused = assign.paused
        self.pause_said: bool | None = False
        self.prepared = False
        self.doing = ""
        self.started_said = False
        self.cancelled = False
        self.released = False
        self.dropped = False
        self.ended = False
        self.forced = False
        self.error: ErrorInfo | None = None
        self.artifacts: tuple[Artifact, ...] | None = None
        self.kill_at_s: float | None = None
        self.phase: Literal["preview", "tile", "image"] = "preview"
        self.successor: Run | None = None
        self.blocks = preview_blocks(grid)
        self.focus = float(assign.params.get("focus_x", MIDDLE[0])), float(assign.params.get("focus_y", MIDDLE[1]))
        self.open: deque[Key] = deque()
        self.alone: deque[Key] = deque()
        self.running: dict[Key, int] = {}
        self.poison = Poison(holes_allowed=assign.params.get("on_poison") == "hole")
        self.committed: set[int] = set()
        # Measured 20 times a second: both grow with each commit, and are never counted anew over all tiles.
        self.pixels = 0
        self.bitmap = bytearray(bitmap((), self.total_tiles))
        self.attempts: dict[Key, int] = {}
        # Iterations of tasks that were stopped in the middle: what they did is kept, unless their pixels are reset.
        self.partial: dict[Key, int] = {}
        self.ended_attempts: dict[int, int] = {}
        self.dirty_tasks: set[Key] = set()
        self.weights: dict[int, float] = {}
        self.weighed = 0.0
        self.weighed_s = 0.0
        self.left = self.preview_weight = self.preview_s = 0.0
        self.previewed = 0
        self.iterations = 0
        self.cpu_ns = 0
        self.lost_ns = 0
        self.task_s: float | None = None
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
        return bool(self.open) and self._goes_on

    @property
    def isolatable(self) -> bool:
        """Whether a worker that holds nothing can be given something of it now that has to be alone."""
        return bool(self.alone) and self._goes_on

    @property
    def _goes_on(self) -> bool:
        return self.prepared and not self.stopping and not self.paused

    @property
    def next_s(self) -> float | None:
        """Expected CPU time of the task that is open first, rather too long than too short; None if nothing is known.

        Like those just before it, unless the preview says that it is dearer than they were.
        """
        phase, index = self.open[0] if self.open else (self.phase, 0)
        if phase != "tile" or index not in self.weights or self.weighed <= 0.0:
            return self.task_s
        return max(self.task_s or 0.0, self.weights[index] * self.weighed_s / self.weighed)

    @property
    def left_ns(self) -> int | None:
        """CPU time that its tiles are expected to take yet, with what is in hand; None before there is a preview."""
        if self.phase == "preview" or self.weighed <= 0.0 or len(self.weights) < self.total_tiles:
            return None
        doubted = 1.0 - PREVIEW_TRUST
        cost_s = self.weighed_s - doubted * self.preview_s
        return int(1e9 * max(0.0, self.left) * cost_s / (self.weighed - doubted * self.preview_weight))

    def prepare(
        self,
        committed: Iterable[int],
        iterations: int = 0,
        holes: Iterable[Rect] = (),
        costs: Sequence[float] = (),
    ) -> None:
        """The frame is there; tiles that an earlier claim committed are done, with so many iterations in them.

        costs: of all tiles, as its preview said, which is not made again.
        """
        committed = tuple(committed)
        self.prepared = True
        self.poison.found(holes)
        self.iterations = iterations
        if committed and len(costs) == self.total_tiles:
            self.weights = dict(enumerate(costs))
            self.left = sum(costs)
        for index in committed:
            self._commit(index)
        if self.committed:
            self._begin_tiles()
        else:
            self.open = deque(("preview", index) for index in preview_order(self.grid, self.blocks, self.focus))
        self._advance()

    def finished_before(self, artifacts: tuple[Artifact, ...], holes: Iterable[Rect] = ()) -> None:
        """An earlier claim finished it, and only its word was lost."""
        self.prepared = True
        self.poison.found(holes)
        for index in range(self.total_tiles):
            self._commit(index)
        self.phase = "image"
        self.artifacts = artifacts

    def _commit(self, index: int) -> None:
        if index in self.committed:
            return
        self.committed.add(index)
        _, _, width, height = rect(self.grid, index)
        self.pixels += width * height
        self.bitmap[index >> 3] |= 1 << (index & 7)
        self.left -= self.weights.get(index, 0.0)

    def take(self, worker: int, *, alone: bool = False) -> Task:
        """The next task for a worker; call only if `dispatchable`, or `isolatable` for one that is to be alone."""
        key = self.alone.popleft() if alone else self.open.popleft()
        self.running[key] = worker
        self.attempts[key] = self.attempts.get(key, 0) + 1
        fresh = key in self.dirty_tasks
        self.dirty_tasks.discard(key)
        phase, index = key
        x, y, width, height = self._rect(key)
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
            sealed=self.poison.is_sealed(key),
            holes=self.poison.holes_of(index) if phase == "tile" else (),
        )

    def _rect(self, key: Key) -> Rect:
        phase, index = key
        if phase == "tile":
            return rect(self.grid, index)
        if phase == "part":
            return self.poison.parts[index].rect
        if phase == "preview":
            return self.blocks[index]
        return 0, 0, self.grid.width_px, self.grid.height_px

    def done(
        self, task: Task, cpu_ns: int, weights: Iterable[tuple[int, float]], artifacts: tuple[Artifact, ...]
    ) -> None:
        """A task that runs here is finished."""
        key = (task.phase, task.index)
        del self.running[key]
        self.partial.pop(key, None)
        self.ended_attempts.pop(self._tile_number(task), None)
        self.changed = True
        cpu_s = cpu_ns / 1e9
        if task.phase == "part" or self.poison.is_sealed(key):
            # What it cost says nothing of tiles.
            self._part_done(task)
            self._advance()
            return
        self.task_s = cpu_s if self.task_s is None else self.task_s + NEWEST * (cpu_s - self.task_s)
        if task.phase == "preview":
            costs = dict(weights)
            self.weights.update(costs)
            self.weighed += sum(costs.values())
            self.left += sum(costs.values())
            self.preview_weight = self.weighed
            self.weighed_s += cpu_s * PREVIEW_STEP**2 if costs else 0.0
            self.preview_s = self.weighed_s
            self.previewed += 1
        elif task.phase == "tile":
            self._commit(task.index)
            if task.index in self.weights:
                self.weighed += self.weights[task.index]
                self.weighed_s += cpu_s
        else:
            self.artifacts = artifacts
        self._advance()

    def _part_done(self, task: Task) -> None:
        if task.phase == "tile":
            self._commit(task.index)
        else:
            self._settled(task.index)

    def _settled(self, part: int, cause: str | None = None) -> None:
        """With the last of its parts the tile is gone over once more, which commits it."""
        tile = self.poison.settled(part, cause)
        if tile is not None:
            self.alone.append(("tile", tile))

    def put_back(self, task: Task, *, begun: bool, iterations: int = 0) -> None:
        """It came back before its end, after so many iterations: first in line again, going on where it was."""
        key = (task.phase, task.index)
        self._returned(task)
        if iterations:
            self.partial[key] = self.partial.get(key, 0) + iterations
        self._line(key).appendleft(key)
        if task.fresh and not begun:
            # Nobody has reset its pixels yet: what the dead attempt left is still there.
            self.dirty_tasks.add(key)

    def _returned(self, task: Task) -> None:
        del self.running[task.phase, task.index]
        self.ended_attempts[self._tile_number(task)] = task.attempt

    def _line(self, key: Key) -> deque[Key]:
        return self.alone if self.poison.runs_alone(key) else self.open

    def died(self, task: Task, cause: str, *, guilty: bool) -> None:
        """Its worker died while it ran: computed again from scratch, or, if that happens too often, taken apart.

        guilty: the death counts against the task, since nobody asked for it.
        """
        key = (task.phase, task.index)
        self._returned(task)
        # What was there is done, and counted, once more; of a tile in parts all was there.
        self.iterations -= self.partial.pop(key, 0)
        if not self.poison.is_sealed(key):
            self.dirty_tasks.add(key)
        self.changed = True
        self.lost_ns += DEATH_NS if guilty else 0
        verdict = self.poison.died(key, self._rect(key), cause) if guilty else "again"
        if verdict in ("again", "alone"):
            self._line(key).appendleft(key)
            self._give_up_after_too_many(cause)
            return
        self.dirty_tasks.discard(key)
        if verdict == "split":
            parts = self.poison.split(key, self._rect(key))
            self.dirty_tasks.update(parts)
            self.alone.extendleft(reversed(parts))
        elif verdict == "hole":
            self._settled(task.index, cause)
        elif verdict == "skip":
            # The tiles will tell. Of its own pixels any may be half-written.
            self.previewed += 1
            self.dirty_tasks.update(("tile", tile) for tile in tiles_under(self.grid, self.blocks[task.index]))
        else:
            self._line(key).appendleft(key)
            self.error = self._poisoned(key, cause)
        self._give_up_after_too_many(cause)
        self._advance()

    def _give_up_after_too_many(self, cause: str) -> None:
        """Each death is bounded by its tile; this bounds what all tiles together may cost the others' workers.

        The picture of finished tiles has a bound of its own.
        """
        if self.error is None and self.phase != "image" and self.poison.total > deaths_limit(self.cpu_ns):
            left = self.total_tiles - len(self.committed)
            self.error = POISON_RENDER.error(
                f"given up after {self.poison.total} attempts of workers that came to nothing, with {left} of "
                f"{self.total_tiles} tiles to go; the last one: {cause}"
            )

    def _poisoned(self, key: Key, cause: str) -> ErrorInfo:
        phase, index = key
        if phase != "part":
            return WORKER_LOST.error(
                f"{counted(self.poison.deaths[key], 'attempt')} at {phase} {index} came to nothing: {cause}",
                hint="see `rfm-runtime logs engine`; a smaller tile_px or fewer workers may help",
            )
        x, y, width, height = self._rect(key)
        return POISON_TILE.error(
            f"nobody can compute the {width}×{height} pixels at {x},{y} (tile {self.poison.parts[index].tile}): {cause}"
        )

    def _advance(self) -> None:
        """To the next phase when nothing of this one is left."""
        if self.open or self.alone or self.running:
            return
        if self.phase == "preview":
            self._begin_tiles()
        if self.phase == "tile" and not self.open and not self.alone and len(self.committed) == self.total_tiles:
            self.phase = "image"
            self.task_s = None
            if self.artifacts is None:
                self.open.append(("image", 0))

    def _begin_tiles(self) -> None:
        self.phase = "tile"
        self.task_s = None
        left = (index for index in range(self.total_tiles) if index not in self.committed)
        order = tile_order(self.grid, left, self.weights, self.workers, self.focus)
        self.open = deque(("tile", index) for index in order)

    def look_at(self, focus: tuple[float, float]) -> None:
        """What nobody has begun yet is computed from there outwards."""
        self.focus = focus
        waiting = {index for phase, index in self.open if phase == self.phase}
        if self.phase == "image" or len(waiting) > REORDER_LIMIT:
            return
        if self.phase == "preview":
            order = [index for index in preview_order(self.grid, self.blocks, focus) if index in waiting]
        else:
            order = tile_order(self.grid, sorted(waiting), self.weights, self.workers, focus)
        # Parts of tiles that had to be split stay ahead of them.
        others = [key for key in self.open if key[0] != self.phase]
        self.open = deque([*others, *((self.phase, index) for index in order)])

    def measure(self, now_ms: int) -> OperationMeasure:
        """The cumulative measure, with the next counter."""
        self.counter += 1
        number, name = STEPS[self.phase]
        if self.started_said and not self.prepared:
            number, name = 0, "prepare"
        return OperationMeasure(
            generation=self.generation,
            counter=self.counter,
            measured_at_ms=now_ms,
            done=float(self.pixels),
            total=float(self.grid.width_px * self.grid.height_px),
            unit="px",
            step=name,
            steps=(number, len(STEPS)),
            message="" if self.prepared else self.doing,
            tiles_total=self.total_tiles,
            tiles_done=len(self.committed),
            committed=bytes(self.bitmap),
            previewed=self.previewed,
            iterations=self.iterations,
            cpu_ns=self.cpu_ns,
            ended=tuple(self.ended_attempts.items()),
            workers=len(self.running),
            slots=self.workers,
            deaths=self.poison.total,
            details=self.poison.details(),
            left_ns=self.left_ns,
            tail_ns=int(1e9 * self.image_s),
        )

    def held(self, now_ms: int) -> HeldOperation:
        """As its engine lists it to a broker, with its measure."""
        state: Literal["running", "paused", "cancelling", "ended"] = "running"
        if self.ended:
            state = "ended"
        elif self.cancelled:
            state = "cancelling"
        elif self.paused:
            state = "paused"
        return HeldOperation(
            operation_id=self.operation_id,
            generation=self.generation,
            state=state,
            measure=self.measure(now_ms),
        )

    def _tile_number(self, task: Task) -> int:
        """As workers number what they measure: tiles, then preview blocks, then parts."""
        return measured_as(self.grid, task)
