"""How many iterations a view needs, where nobody says: by a look at a few hundred of its points."""

from __future__ import annotations

import math

import msgspec
import numpy as np

from rfm_runtime.engine.frames import PENDING
from rfm_runtime.engine.renderer import Renderer
from rfm_runtime.render.plan import plan
from rfm_runtime.render.request import RenderRequest

__all__ = ["FEWEST", "MOST", "iterations_for"]

COLUMNS = 48
ROWS = range(4, 97)

FEWEST, MOST = 500, 10_000_000

QUIET = 2
"""Doublings in which no point escapes any more, after which that is taken to be all."""

MOST_UNSEEN = 2_000_000
"""While no point at all escapes. That costs little: most of what never does is told to be inside early."""

SPARE = 4
"""Times the longest escape that was seen: between the points some take longer."""


def iterations_for(request: RenderRequest) -> int:
    """A limit for the view, two significant digits. The same on every machine, as the counts are."""
    rows = min(max(round(COLUMNS * request.height_px / request.width_px), ROWS.start), ROWS.stop - 1)
    n, nf = np.full((rows, COLUMNS), PENDING, np.int32), np.zeros((rows, COLUMNS), np.float32)
    limit, quiet = FEWEST, 0
    while True:
        small = msgspec.structs.replace(request, width_px=COLUMNS, height_px=rows, max_iter=limit)
        n[n < 0] = PENDING
        Renderer(plan(small)).compute(n, nf, 0, 0)
        quiet = 0 if (n > limit // 2).any() else quiet + 1
        if limit * 2 > (MOST if n.max() > 0 else MOST_UNSEEN) or (quiet >= QUIET and n.max() > 0):
            break
        limit *= 2
    longest = SPARE * int(n.max(initial=0))
    unit: int = 10 ** max(0, int(math.log10(max(longest, 1))) - 1)
    return min(max(-(-longest // unit) * unit, FEWEST), MOST)
