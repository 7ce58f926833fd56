"""How many iterations a view needs, where nobody says: by a look at a few hundred of its points."""

from __future__ import annotations

import math

import msgspec
import numpy as np

from rfm_runtime.engine.frames import PENDING
from rfm_runtime.engine.renderer import Renderer
from rfm_runtime.render.plan import plan
from rfm_runtime.render.request import AUTO_MAX_ITER, RenderRequest

__all__ = ["FEWEST", "MOST", "iterations_for"]

COLUMNS = 48
ROWS = range(4, 97)

FEWEST, MOST = 500, AUTO_MAX_ITER
FEWEST_BY_PERIOD = 5000

QUIET = 2
"""Doublings in which no point escapes any more, after which that is taken to be all."""

MOST_UNSEEN = 2_000_000
"""While no point at all escapes. That costs little: most of what never does is told to be inside early."""

EXECUTED = 2
"""Of a kernel's counters: iterations that it has done."""
BUDGET = 5_000_000_000
"""Of them, a second or a few: where some points never settle, the limit is what the others need."""

SPARE = 4
"""Times the longest escape that was seen: between the points some take longer."""


def iterations_for(request: RenderRequest) -> int:
    """A limit for the view, two significant digits. The same on every machine, as the counts are."""
    height = COLUMNS * request.height_px / request.width_px
    rows = min(max(round(height), ROWS.start), ROWS.stop - 1)
    shape = rows, COLUMNS
    n, nf = np.full(shape, PENDING, np.int32), np.zeros(shape, np.float32)
    # The kernel that the render itself takes, whose counts are the same and which is compiled already.
    z, far = (np.zeros(shape, np.complex64) if request.needs_derivative else None for _ in range(2))
    counters = np.zeros(8, np.int64)
    limit, quiet = FEWEST, 0
    while True:
        # Rows as far apart as it takes to see all of the height.
        small = msgspec.structs.replace(
            request, width_px=COLUMNS, height_px=rows, stretch=request.stretch * height / rows, max_iter=limit
        )
        n[n < 0] = PENDING
        renderer = Renderer(plan(small), derivative=request.needs_derivative)
        renderer.compute(n, nf, 0, 0, counters=counters, z=z, far=far)
        quiet = 0 if (n > limit // 2).any() else quiet + 1
        most = MOST if n.max() > 0 else MOST_UNSEEN
        if limit * 2 > most or (quiet >= QUIET and n.max() > 0) or counters[EXECUTED] > BUDGET:
            break
        limit *= 2
    longest = SPARE * int(n.max(initial=0))
    unit: int = 10 ** max(0, int(math.log10(max(longest, 1))) - 1)
    # Periods of the inside are told after so many, and later than that near its edges.
    fewest = FEWEST_BY_PERIOD if request.by_period else FEWEST
    return min(max(-(-longest // unit) * unit, fewest), MOST)
