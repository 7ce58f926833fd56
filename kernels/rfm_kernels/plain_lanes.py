"""The vector part of the escape-time kernels in NumPy, for runs without a compiler: see `rfm_kernels.lanes`."""

from __future__ import annotations

from typing import Any

import numpy as np

from rfm_kernels.formulas import Formula
from rfm_kernels.intrinsics import mask_of
from rfm_kernels.layout import BLOCK, DEGREE_SCALE, LIMIT, PARAMETERS, SCALE, SEED, VIEW, Layout, away, stepped
from rfm_kernels.vectors import MOST_LANES

__all__ = ["PlainLanes"]


class PlainLanes:
    """The same in NumPy."""

    def __init__(self, formula: Formula, place: Layout) -> None:
        self.formula, self.place, self.lanes = formula, place, place.lanes

    def rows(self, work: Any, first: int, count: int) -> Any:
        return work[first * self.lanes : (first + count) * self.lanes].reshape(count, self.lanes)

    def stepped(self, constants: Any, state: Any, c: Any) -> Any:
        p = constants[PARAMETERS : PARAMETERS + self.formula.parameters]
        new = stepped(self.formula, self.place, list(state), list(c), list(p), constants[SEED])
        return np.stack([np.broadcast_to(value, state[0].shape) for value in new])

    def size(self, state: Any) -> Any:
        if self.formula.converges:
            return (state[0] - state[2]) ** 2 + (state[1] - state[3]) ** 2
        return state[0] * state[0] + state[1] * state[1]

    def over(self, size: Any, limit: float) -> Any:
        return ~(size >= limit) if self.formula.converges else ~(size <= limit)

    def advance(self, work: Any, which: int, limit: int, safe: float) -> tuple[int, int]:
        place = self.place
        pool, c = self.rows(work, 0, place.state), self.rows(work, place.state, 2)
        count, bad = 0, 0
        with np.errstate(all="ignore"):
            while count < limit and not bad:
                self.rows(work, place.saved, place.state)[:] = pool
                over = np.zeros(self.lanes, bool)
                for k in range(BLOCK):
                    if k == BLOCK - 1 and not self.formula.converges:
                        over = self.over(self.size(pool), safe)
                    pool[:] = self.stepped(work[place.constants :], pool, c)
                    if self.formula.converges:
                        over = over | self.over(self.size(pool), safe)
                bad = mask_of(over) & which
                count += 1
        return count, bad

    def begin(self, work: Any) -> None:
        place, constants = self.place, work[self.place.constants :]
        column, row = self.rows(work, place.scratch, 2)
        re0, im0, xx, xy, yx, yy, *julia = constants[VIEW : VIEW + 8]
        pixel = re0 + (xx * column + xy * row), im0 + (yx * column + yy * row)
        state = self.rows(work, place.new, place.state)
        state[:] = work[place.initial : place.initial + place.state, np.newaxis]
        moving = self.rows(work, place.new + place.state, 2)
        if constants[SEED] == 0.0:
            moving[:], state[:2] = np.array(julia)[:, np.newaxis], pixel
        else:
            moving[:] = pixel
        self.rows(work, place.new + place.counted, 1)[:] = 0.0

    def settle(self, work: Any, queue: int, which: int, max_iter: float) -> tuple[int, int]:
        place, constants = self.place, work[self.place.constants :]
        work = work[queue:]
        state, c = self.rows(work, 0, place.state), self.rows(work, place.state, 2)
        count = self.rows(work, place.counted, 1)[0]
        before = np.full(self.lanes, constants[LIMIT])
        chosen = np.array([(which >> lane) & 1 for lane in range(self.lanes)], bool)
        with np.errstate(all="ignore"):
            for _ in range(BLOCK):
                going = chosen & ~self.over(self.size(state), constants[LIMIT])
                before = np.where(going, self.size(state), before)
                state[:] = np.where(going, self.stepped(constants, state, c), state)
                count += going
            size = self.size(state)
            lost = chosen & self.formula.converges & np.isnan(size)
            over = chosen & ~lost & self.over(size, constants[LIMIT]) & (count <= max_iter)

            def log2_of(value: Any, elsewhere: float) -> Any:
                return np.nan_to_num(np.minimum(np.log2(np.where(over, value, elsewhere)), 1024.0), nan=1024.0)

            smooth = self.rows(work, place.smooth, 1)[0]
            if self.formula.converges:
                log_size = log2_of(before / constants[LIMIT], 1.0)
                smooth[:] = log_size / log2_of(before / size, 2.0)
            else:
                log_size = log2_of(size, 4.0)
                smooth[:] = 1.0 - np.log2(np.where(over, log_size * constants[SCALE], 1.0)) * constants[DEGREE_SCALE]
            if place.slopes:
                self.rows(work, place.far, 2)[:] = away(place, list(state), log_size, size)
        return mask_of(over), mask_of(lost | (chosen & ~over & (count >= max_iter)))

    def watch(self, work: Any, tick: float, near2: float) -> tuple[int, int]:
        place = self.place
        with np.errstate(all="ignore"):
            # Free lanes go on, out to infinity.
            apart = (self.rows(work, 0, place.words) - self.rows(work, place.check, place.words)) ** 2
            near = apart.sum(axis=0) <= near2
        return mask_of(near), mask_of(self.rows(work, place.due, 1)[0] <= tick)

    def move_checkpoints(self, work: Any, which: int, tick: float, least: float) -> None:
        place, pool = self.place, self.rows(work, 0, self.place.mark + 1)
        lanes = [lane for lane in range(self.lanes) if (which >> lane) & 1]
        pool[place.check : place.check + place.words, lanes] = pool[: place.words, lanes]
        pool[place.mark, lanes] = tick
        pool[place.due, lanes] = tick + np.maximum(tick + pool[place.base, lanes] / BLOCK - 1.0, least)

    def ended(self, work: Any, most: float) -> int:
        return mask_of(self.rows(work, self.place.base, 1)[0] > most)

    def next_base(self, work: Any, which: int, slack: float) -> float:
        lanes = [lane for lane in range(self.lanes) if (which >> lane) & 1]
        bases = self.rows(work, self.place.base, 1)[0][lanes]
        return float(bases[bases >= bases.max() - slack].min())

    def load_lanes(self, work: Any, places: Any, mask: int, base: float, due: float) -> None:
        place, pool = self.place, self.rows(work, 0, self.place.base + 1)
        taken = [lane for lane in range(self.lanes) if (mask >> lane) & 1]
        pool[: place.state + 2, taken] = self.rows(work, place.new, place.state + 2)[:, taken]
        pool[place.check, taken] = np.inf
        pool[place.due, taken], pool[place.base, taken] = due, base
        at, new_at = places[: 2 * MOST_LANES].reshape(2, MOST_LANES)
        at[taken] = new_at[taken]

    def line(self, work: Any, places: Any, first: int, column: float, row: float) -> None:
        places[: self.lanes] = first + np.arange(self.lanes)
        pixels = self.rows(work, self.place.scratch, 2)
        pixels[0], pixels[1] = column + np.arange(self.lanes), row

    def interior(self, work: Any) -> int:
        x, y = self.rows(work, self.place.new + self.place.state, 2)
        with np.errstate(all="ignore"):
            return self._interior(x, y)

    def _interior(self, x: Any, y: Any) -> int:
        q = (x - 0.25) ** 2 + y * y
        cardioid = q * (q + (x - 0.25)) + 1e-13 < y * y * 0.25
        return mask_of(cardioid | ((x + 1.0) ** 2 + y * y + 1e-13 < 0.0625))
