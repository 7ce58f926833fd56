"""Where what stands in the workspace of the escape-time kernels, and a step of a formula's state.

Both hold for whatever the numbers are: registers whose code is being written (`rfm_kernels.lanes`), or arrays
(`rfm_kernels.plain_lanes`).
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np

from rfm_kernels.duals import Dual
from rfm_kernels.formulas import Formula
from rfm_kernels.vectors import LANES, MOST_LANES

__all__ = [
    "BLOCK",
    "DEGREE_SCALE",
    "LIMIT",
    "NOT_ESCAPED",
    "PARAMETERS",
    "PENDING",
    "PER_PIXEL",
    "READY",
    "SCALE",
    "SEED",
    "TWO",
    "VIEW",
    "Layout",
    "away",
    "layout",
    "stepped",
]

BLOCK = 8
"""Iterations between two looks at the lanes."""

PENDING = -2
"""Count of a pixel to compute."""
NOT_ESCAPED = -1
"""Count of a pixel that stayed within the bailout radius for max_iter iterations."""

MOST_PARAMETERS = 72

READY = 4 * MOST_LANES
"""A pixel is in a lane, in the queue, ready or waiting, and new ones are taken only when none is ready or waiting."""


class Layout(NamedTuple):
    """Rows of `lanes` doubles, then what is not one a lane.

    words: of z; state: words and their derivatives, `slopes` of each. The pool begins at row 0: state, c, the state at
    the start of the block, z at the checkpoint, the block of the next checkpoint (`due`), the count that it would have
    had when the block was 0 (`base`), the block of the checkpoint (`mark`).
    Then two queues, of pixels from the pool and of new ones: state, c, and from the queue's first row on
    `counted`, `smooth` and `far`: iterations done, smooth fraction, distance. scratch: x y of pixels.
    stack, initial, constants, doubles are offsets: of ready pixels, of a pixel's first state, of constants, of the end.
    """

    lanes: int
    words: int
    state: int
    slopes: int
    saved: int
    check: int
    due: int
    base: int
    mark: int
    queue: int
    new: int
    counted: int
    smooth: int
    far: int
    scratch: int
    stack: int
    initial: int
    constants: int
    doubles: int


LIMIT, SCALE, DEGREE_SCALE, SEED, PER_PIXEL, TWO = range(6)
"""Of CONSTANTS: when a pixel is done, 1/log2 of that, 1/log2 of the degree, 1 where c moves and 0 where z₀ does, pixels
to a unit of the plane, 2."""
VIEW = 8
"""Of CONSTANTS: re0 im0, four of the matrix, c of a Julia set, the step's parameters."""
PARAMETERS = VIEW + 8


def layout(formula: Formula, *, derivative: bool) -> Layout:
    """Where what stands."""
    slopes = 0 if not derivative else 1 if formula.holomorphic else 2
    state = formula.words * (1 + slopes)
    # c may stay in memory; a longer state would go there and back in each step.
    lanes = MOST_LANES if state == 2 else LANES
    saved = state + 2
    check = saved + state
    due = check + formula.words
    queue = due + 3
    counted = state + 2
    new = queue + counted + 4
    scratch = new + counted + 4
    stack = (scratch + 2) * lanes
    initial = stack + (state + 2) * READY
    constants = initial + state
    doubles = constants + PARAMETERS + MOST_PARAMETERS
    return Layout(
        lanes=lanes, words=formula.words, state=state, slopes=slopes, saved=saved, check=check, due=due, base=due + 1,
        mark=due + 2, queue=queue, new=new, counted=counted, smooth=counted + 1, far=counted + 2, scratch=scratch,
        stack=stack, initial=initial, constants=constants, doubles=doubles,
    )  # fmt: skip


def stepped(
    formula: Formula, place: Layout, state: Sequence[Any], c: Sequence[Any], p: Sequence[Any], seed: Any
) -> list[Any]:
    """The next state. Derivatives of word k are state[words + k·slopes …]."""
    words, slopes = place.words, place.slopes
    if not slopes:
        return list(formula.step(tuple(state), tuple(c), tuple(p)))
    z = tuple(Dual(state[k], tuple(state[words + k * slopes : words + (k + 1) * slopes])) for k in range(words))
    moving = tuple(Dual(c[k], tuple(seed if direction == k else 0 for direction in range(slopes))) for k in range(2))
    after = formula.step(z, moving, tuple(p))
    if formula.trapped:
        # Nobody asks how a trap's distance changes, and following it would take registers.
        after = (*after[:-1], Dual(after[-1].value, (0,) * slopes))
    return [one.value for one in after] + [slope for one in after for slope in one.slopes]


def away(place: Layout, state: Sequence[Any], log2_norm: Any, norm: Any) -> tuple[Any, Any]:
    """2|z| ln|z| over the gradient of |z|, as a vector away from the set: the distance estimate and its direction."""
    words = place.words
    x, y = state[0], state[1]
    if place.slopes == 1:
        # Of a holomorphic step the other direction is a turn by a quarter.
        along, across = (state[words], state[words + 1]), (-state[words + 1], state[words])
    else:
        along, across = (state[words], state[words + 2]), (state[words + 1], state[words + 3])
    # The gradient times |z|.
    gx, gy = along[0] * x + along[1] * y, across[0] * x + across[1] * y
    factor = norm * log2_norm * float(np.log(2.0)) / (gx * gx + gy * gy)
    return gx * factor, gy * factor
