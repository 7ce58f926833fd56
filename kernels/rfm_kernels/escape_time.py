"""Escape-time fractals at float64 depth: a pool of vector lanes that is refilled as pixels die.

A pixel goes: scan → interior test → (its first block, counted) → lane → (uncounted blocks until it seems to have died)
→ queue → (its last block again, counted) → output. One that dies in its first block is done there, and one whose time
is up in its lane. So the fast loop counts nothing, every count is taken in the scalar kernel's order of operations,
and a lane never waits for its neighbours. The output buffers are the only state that outlives a call.

This file is written once for all formulas. `build` makes a kernel of it: the functions that are marked here, compiled
with the vector code and the layout of one formula (`rfm_kernels.lanes`) in place of the names below.

Numba's cache does not notice a change of `lanes.py`, so functions are cached on disk only where
NUMBA_CACHE_DIR names a folder; the caller makes its name from `rfm_kernels.cache_key.cache_key()`.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from types import FunctionType
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol, TypeVar

import numpy as np
from numba import config, njit

from rfm_kernels.formulas import Formula
from rfm_kernels.intrinsics import (
    offset,
    ones,
    pointer,
    poll,
    publish,
    trailing_zeros,
)
from rfm_kernels.lanes import vector_code
from rfm_kernels.layout import (
    BLOCK,
    DEGREE_SCALE,
    LIMIT,
    NOT_ESCAPED,
    PENDING,
    PER_PIXEL,
    READY,
    SCALE,
    SEED,
    TWO,
    VIEW,
    layout,
)
from rfm_kernels.vectors import LANES as PART
from rfm_kernels.vectors import MOST_LANES

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Counts = NDArray[np.int32]
    Fractions = NDArray[np.float32]
    Points = NDArray[np.complex64]
    Doubles = NDArray[np.float64]
    Words = NDArray[np.int64]

__all__ = [
    "Kernel",
    "build",
    "compiled",
    "names",
]


class Kernel(Protocol):
    """Compute the pending pixels of a tile.

    n, nf: int32 and float32 views [h, w] of the frame, any strides. Only pixels with n = PENDING are touched;
    they get n = the number of applications of the formula up to the first |z| > R, or NOT_ESCAPED, and
    nf = 1 - log_d(ln|z| / ln R) with d the formula's degree, so that mu = n + nf; 0 where not escaped. Of a formula
    that converges n is the number of applications up to the first step shorter than ε, and nf lies where ε does
    between that step and the one before, on a logarithmic scale; it is NOT_ESCAPED where a step divides by zero. All
    are the same bits whatever the tile, the step and the number of interruptions.
    z, far: complex64 views [h, w] for the kernels with a derivative, else of any shape and not looked at. They get
    the last z (with a trap how near the orbit has come to it, squared, and 0), and the distance estimate as a vector
    away from the set, 2|z| ln|z| over the gradient of |z|, in pixels (in units of the plane where pixels are no
    distance apart); 0 where not escaped.
    px0, py0: place of n[0, 0] in the frame. step: only pixels whose place in the frame is divisible by it in
    both directions.
    view: re0 im0 xx xy yx yy julia_re julia_im, then the formula's parameters. Pixel (ix, iy) of the frame is
    re0 + (xx·ix + xy·iy), im0 + (yx·ix + yy·iy): c, or z₀ of a Julia set. max_iter: 1 … 2³¹ - 1. limit: R²,
    with R ≥ 2 and so large that what is beyond it never returns; or ε².
    control: one word, polled every few microseconds; other than 0 means return. counters: 8 words, added
    to while it runs: pixels finished, nominal iterations (the plain loop's), iterations executed.
    Returns 0, or the control word it saw; then finished pixels stay and the same call continues.
    """

    def __call__(
        self,
        n: NDArray[np.int32],
        nf: NDArray[np.float32],
        z: NDArray[np.complex64],
        far: NDArray[np.complex64],
        px0: int,
        py0: int,
        step: int,
        view: NDArray[np.float64],
        max_iter: int,
        limit: float,
        control: NDArray[np.int64],
        counters: NDArray[np.int64],
    ) -> int:
        """See above."""
        ...


SIGNATURE = (
    "int64(int32[:, :], float32[:, :], complex64[:, :], complex64[:, :], int64, int64, int64, float64[::1],"
    " int64, float64, int64[::1], int64[::1], int64, int64, float64[::1], float64[::1], int64[::1])"
)
# _nrt=False: the workspace is allocated by the caller, nothing here owns an array, and the atomic reference
# counts that Numba would take at every call of a helper cost as much as the iterations.
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False}
INLINE = OPTIONS | {"forceinline": True}

PARTS = (1 << PART) - 1
"""Of a queue, as many are settled at once: that takes more registers than a block of iterations does."""
QUANTUM_BLOCKS = 256
"""Blocks between two polls: 2¹⁵ lane iterations at 16 lanes, 2¹⁷ at 64, 5–10 µs."""
LATEST = 2**62
"""Beyond the end of any lane, in blocks."""
PATIENCE = 8
MOST_PATIENT = 32
"""A lane goes on beyond its end until others end too, for an eighth of all iterations and at most for 32 blocks.
From there on they begin and end together: to end one alone costs as much as ten blocks of it.
"""
WATCH_BLOCKS = 15
"""Blocks between two looks for periods. A cycle is seen where its length divides the iterations between two looks:
120, 240, 360 … have many divisors."""
WORTH = 200
"""Iterations that a proof costs for each point of a cycle: one that saves fewer is not tried."""
WATCHED = 8 * WORTH
"""Iterations of a frame from which on cycles are looked for that have to be proved."""
PERIOD_LIMIT = 1024
"""Longest cycle that is looked for, and sum of the cycles that are confirmed between two polls: below 0.1 ms."""
# A point that left the disc by the last bit of rounding may seem inside again a block later. It never comes
# back by more than this: an error of 1e-15 grows by at most 2R a step of a block while |z| is near R = 2.
SAFE = 1.0 - 1e-8

# Names of the formula that is compiled; `build` puts its own in their place.
_PLACE = layout(Formula(lambda z, _c, _p: z), derivative=False)
LANES, WORDS, STATE, SLOPES = _PLACE.lanes, _PLACE.words, _PLACE.state, _PLACE.slopes
ALL = 0
"""All lanes, as a word with a sign."""
SAVED, CHECK, DUE = (row * LANES for row in (_PLACE.saved, _PLACE.check, _PLACE.due))
BASE, MARK = (row * LANES for row in (_PLACE.base, _PLACE.mark))
QUEUE, NEW, SCRATCH = _PLACE.queue * LANES, _PLACE.new * LANES, _PLACE.scratch * LANES
COUNT, SMOOTH, DISTANCE = (row * LANES for row in (_PLACE.counted, _PLACE.smooth, _PLACE.far))
STACK, INITIAL, CONSTANTS = _PLACE.stack, _PLACE.initial, _PLACE.constants
CONVERGES, DEGREE, TRAPPED = False, 2.0, False
PROVES = False
"""Whether cycles are those of z² + c, for which a near return is enough; else the orbit has to repeat to the bit."""
NEAR2 = 0.0
"""|z - checkpoint|² up to which a cycle is looked for."""
advance: Any = None
begin: Any = None
settle: Any = None
watch: Any = None
move_checkpoints: Any = None
ended: Any = None
next_base: Any = None
line: Any = None
load_lanes: Any = None
interior: Any = None
pending: Any = None
write_counts: Any = None
write_inside: Any = None
is_run: Any = None

# Words of the integers: scalars first, then one a lane or a place.
QUEUED, READIED, WAITING, ROW, COLUMN, PIXELS, NOMINAL, EXECUTED, ACTIVE, BLOCKS, NEXT_END = range(11)
PX0, PY0, STEP, MAX_ITER, IS_JULIA, TESTS, FIRST_COLUMN, IN_RUNS = range(11, 19)
AT, NEW_AT, QUEUE_AT = range(32, 32 + 3 * MOST_LANES, MOST_LANES)
"""The first two stand as `load_lanes` wants them."""
READY_N, READY_AT = range(32 + 3 * MOST_LANES, 32 + 3 * MOST_LANES + 2 * READY, READY)
INTEGERS = 32 + 3 * MOST_LANES + 2 * READY


class Planes(NamedTuple):
    """What is written for each pixel."""

    n: Counts
    nf: Fractions
    z: Points
    far: Points


F = TypeVar("F", bound=Callable[..., Any])
_MARKED: list[tuple[Any, list[list[str]], dict[str, Any]]] = []


def _template(*signature: str, **options: Any) -> Callable[[F], F]:
    """Have the function compiled for each formula, in the order in which they stand here."""

    def mark(function: F) -> F:
        _MARKED.append((function, [[*signature]] if signature else [], options))
        return function

    return mark


@_template(**INLINE)
def _row_column(at: int) -> tuple[np.uintp, np.uintp]:
    """Of a pixel. Unsigned, since Numba looks at signed ones for what is negative."""
    return np.uintp(at >> 32), np.uintp(at & 0xFFFFFFFF)


@_template(**INLINE)
def _finish(planes: Planes, word: Words, at: int) -> None:
    """Write a pixel that does not escape. Its count goes last: a pixel with a count is done."""
    y, x = _row_column(at)
    planes.nf[y, x] = 0.0
    if SLOPES > 0:
        planes.z[y, x] = 0.0
        planes.far[y, x] = 0.0
    planes.n[y, x] = NOT_ESCAPED
    word[PIXELS] += 1
    word[NOMINAL] += word[MAX_ITER]


@_template(**INLINE)
def _scan(planes: Planes, real: Doubles, word: Words) -> int:
    """Collect pending pixels, one a place at most: at which places. Where half of the next LANES in a row are pending,
    these are taken at the places they stand.
    """
    h, w = planes.n.shape
    found = 0
    y, x, x_first = word[ROW], word[COLUMN], word[FIRST_COLUMN]
    px0, py0, step = word[PX0], word[PY0], word[STEP]
    in_runs, which = word[IN_RUNS], 0
    while y < h and found < LANES and which == 0:
        row = float(py0 + y)
        while x < w and found < LANES:
            if in_runs and step == 1 and found == 0 and x + LANES <= w:
                which = pending(planes.n, planes.nf, y, x)
                if ones(which) >= LANES // 2:
                    line(real, offset(word, NEW_AT), (y << 32) | x, float(px0 + x), row)
                    x += LANES
                    break
                if which == 0:
                    x += LANES
                    continue
                which = 0
            if planes.n[np.uintp(y), np.uintp(x)] == PENDING:
                real[SCRATCH + found] = float(px0 + x)
                real[SCRATCH + LANES + found] = row
                word[NEW_AT + found] = (y << 32) | x
                found += 1
            x += step
        if x >= w:
            x = x_first
            y += step
    word[ROW], word[COLUMN] = y, x
    if found == LANES:
        # No word is shifted by all its bits.
        return ALL
    return which or (1 << found) - 1


@_template(**INLINE)
def _finish_all(planes: Planes, word: Words, places: int, which: int) -> None:
    """Write the pixels at some places, none of which escapes."""
    if word[IN_RUNS] and is_run(offset(word, places), which):
        k = trailing_zeros(which)
        at = word[places + k]
        write_inside(planes.n, planes.nf, at >> 32, (at & 0xFFFFFFFF) - k, which)
        word[PIXELS] += ones(which)
        word[NOMINAL] += ones(which) * word[MAX_ITER]
        return
    while which:
        _finish(planes, word, word[places + trailing_zeros(which)])
        which &= which - 1


@_template(**INLINE)
def _write(planes: Planes, real: Doubles, word: Words, queue: int, places: int, which: int) -> None:
    """Write pixels of a queue that are done."""
    word[PIXELS] += ones(which)
    if word[IN_RUNS] and is_run(offset(word, places), which):
        k = trailing_zeros(which)
        at = word[places + k]
        y, x = at >> 32, (at & 0xFFFFFFFF) - k
        word[NOMINAL] += write_counts(planes.n, planes.nf, y, x, real, queue + COUNT, queue + SMOOTH, which)
        return
    nominal = 0
    while which:
        k = trailing_zeros(which)
        which &= which - 1
        count = int(real[queue + COUNT + k])
        row, column = _row_column(word[places + k])
        planes.nf[row, column] = real[queue + SMOOTH + k]
        if SLOPES > 0:
            trap = queue + (WORDS - 1) * LANES
            planes.z[row, column] = (
                complex(real[trap + k], 0.0) if TRAPPED else complex(real[queue + k], real[queue + LANES + k])
            )
            scale = real[CONSTANTS + PER_PIXEL]
            far = complex(scale * real[queue + DISTANCE + k], scale * real[queue + DISTANCE + LANES + k])
            planes.far[row, column] = far
        planes.n[row, column] = count
        nominal += count
    word[NOMINAL] += nominal


@_template(**OPTIONS)
def _settle(planes: Planes, real: Doubles, word: Words, queue: int, places: int, which: int) -> int:
    """Run the counted block over some pixels of a queue, write those that are done: which are not."""
    escaped, spent = 0, 0
    for part in range(0, LANES, PART):
        some = (which >> part) & PARTS
        if some:
            over, end = settle(real, queue + part, some, float(word[MAX_ITER]))
            escaped, spent = escaped | (over << part), spent | (end << part)
    word[EXECUTED] += ones(which) * BLOCK
    if escaped:
        _write(planes, real, word, queue, places, escaped)
    if spent:
        _finish_all(planes, word, places, spent)
    rest: int = which & ~(escaped | spent)
    return rest


@_template(**OPTIONS)
def _settle_queue(planes: Planes, real: Doubles, word: Words, which: int) -> None:
    """Settle the queue; what goes on becomes ready."""
    word[QUEUED] = 0
    rest = _settle(planes, real, word, QUEUE, QUEUE_AT, which)
    while rest:
        k = trailing_zeros(rest)
        rest &= rest - 1
        r = word[READIED]
        for field in range(STATE + 2):
            real[STACK + (STATE + 2) * r + field] = real[QUEUE + field * LANES + k]
        word[READY_N + r] = int(real[QUEUE + COUNT + k])
        word[READY_AT + r] = word[QUEUE_AT + k]
        word[READIED] = r + 1


@_template(**OPTIONS)
def _begin_pixels(planes: Planes, real: Doubles, word: Words) -> bool:
    """Take the next pending pixels through their first block: what goes on waits. False if there is none."""
    which = _scan(planes, real, word)
    if which == 0:
        return False
    begin(real)
    inside = interior(real) & which if PROVES and word[TESTS] and not word[IS_JULIA] else 0
    which &= ~inside
    if inside:
        _finish_all(planes, word, NEW_AT, inside)
    if which:
        word[WAITING] = _settle(planes, real, word, NEW, NEW_AT, which)
    return True


@_template(**INLINE)
def _enqueue(
    planes: Planes, real: Doubles, word: Words, state: int, c: int, stride: int, count: float, at: int
) -> None:
    """Put a pixel into the queue. Its state and c are at these places, each word `stride` after the other."""
    k = word[QUEUED]
    for field in range(STATE):
        real[QUEUE + field * LANES + k] = real[state + field * stride]
    for field in range(2):
        real[QUEUE + (STATE + field) * LANES + k] = real[c + field * stride]
    real[QUEUE + COUNT + k] = count
    word[QUEUE_AT + k] = at
    word[QUEUED] = k + 1
    if k + 1 == LANES:
        _settle_queue(planes, real, word, ALL)


@_template(**INLINE)
def _end(word: Words, base: int) -> int:
    """The block when a pixel's time is up, and a step more, since nobody has looked at the last one. It may be more
    than one: who lives then has not escaped before.
    """
    end: int = (word[MAX_ITER] - base + BLOCK) // BLOCK
    return end


@_template(**INLINE)
def _load_lane(real: Doubles, word: Words, source: int, stride: int, count: int, at: int) -> None:
    """Put a pixel into a free lane."""
    lane = trailing_zeros(~word[ACTIVE])
    for field in range(STATE + 2):
        real[field * LANES + lane] = real[source + field * stride]
    base = count - word[BLOCKS] * BLOCK
    real[CHECK + lane] = np.inf
    real[DUE + lane] = float(word[BLOCKS] + WATCH_BLOCKS)
    real[BASE + lane] = float(base)
    word[AT + lane] = at
    word[NEXT_END] = min(word[NEXT_END], _end(word, base))
    word[ACTIVE] |= 1 << lane


@_template(**INLINE)
def _load_waiting(real: Doubles, word: Words) -> None:
    """Put new pixels into free lanes: all whose places are those of such lanes, where these are half of them."""
    same = word[WAITING] & ~word[ACTIVE]
    if ones(same) >= LANES // 2:
        base = BLOCK - word[BLOCKS] * BLOCK
        load_lanes(real, offset(word, AT), same, float(base), float(word[BLOCKS] + WATCH_BLOCKS))
        word[NEXT_END] = min(word[NEXT_END], _end(word, base))
        word[ACTIVE] |= same
        word[WAITING] &= ~same
    else:
        k = trailing_zeros(word[WAITING])
        word[WAITING] &= word[WAITING] - 1
        _load_lane(real, word, NEW + k, LANES, BLOCK, word[NEW_AT + k])


@_template(**INLINE)
def _refill(planes: Planes, real: Doubles, word: Words, control: Words) -> bool:
    """Occupy free lanes; True if there is nothing left to occupy them with."""
    while word[ACTIVE] != ALL and poll(control) == 0:
        if word[READIED] > 0:
            r = word[READIED] - 1
            word[READIED] = r
            _load_lane(real, word, STACK + (STATE + 2) * r, 1, word[READY_N + r], word[READY_AT + r])
        elif word[WAITING] != 0:
            _load_waiting(real, word)
        elif not _begin_pixels(planes, real, word):
            if word[QUEUED] == 0:
                return True
            _settle_queue(planes, real, word, (1 << word[QUEUED]) - 1)
    return False


@_template(**INLINE)
def _bury(planes: Planes, real: Doubles, word: Words, dead: int) -> None:
    """Queue lanes that seem dead with their state from the start of the block."""
    # What a free lane computes is nobody's.
    word[ACTIVE] &= ~dead
    before = float((word[BLOCKS] - 1) * BLOCK)
    while dead:
        lane = trailing_zeros(dead)
        dead &= dead - 1
        count = real[BASE + lane] + before
        _enqueue(planes, real, word, SAVED + lane, STATE * LANES + lane, LANES, count, word[AT + lane])


@_template(**OPTIONS)
def _retire(planes: Planes, real: Doubles, word: Words) -> None:
    """Finish lanes whose time is up, and find when to do so again: together with others that end soon after."""
    over = ended(real, float(word[MAX_ITER] - word[BLOCKS] * BLOCK)) & word[ACTIVE]
    if over:
        _finish_all(planes, word, AT, over)
        word[ACTIVE] &= ~over
    slack = float(min(word[MAX_ITER] // (PATIENCE * BLOCK), MOST_PATIENT) * BLOCK)
    word[NEXT_END] = _end(word, int(next_base(real, word[ACTIVE], slack))) if word[ACTIVE] else LATEST


@_template(**OPTIONS)
def _period(zr: float, zi: float, cr: float, ci: float, span: int) -> int:
    """Smallest number of steps of z² + c that brings z back to itself, nearly; 0: none within `span`."""
    x, y = zr, zi
    for k in range(1, min(span, PERIOD_LIMIT) + 1):
        x, y = x * x - y * y + cr, (x + x) * y + ci
        if (x - zr) * (x - zr) + (y - zi) * (y - zi) < 16.0 * NEAR2:
            return k
    return 0


@_template(**OPTIONS)
def _cycle_point(z: complex, c: complex, period: int) -> tuple[complex, bool]:
    """Newton's method for fᵖ(w) = w from z, f = z² + c: (w, whether it converged)."""
    w = z
    for _ in range(6):
        image, slope = w, 1.0 + 0.0j
        for _ in range(period):
            slope = 2.0 * image * slope
            image = image * image + c
        slope -= 1.0
        if slope == 0.0:
            # At the root of the cardioid; Numba's complex division would raise.
            return w, False
        correction = (image - w) / slope
        w -= correction
        if not abs(correction) < 1e-3:
            return w, False
        if abs(correction) < 1e-15:
            break
    return w, True


@_template(**OPTIONS)
def _is_captured(z: complex, c: complex, period: int, bailout2: float) -> bool:
    """Whether the *rounded* orbit of z under z² + c can be shown to stay bounded for ever.

    F = fᵖ maps the disc of radius r about w into itself if |λ| r + |F''(w)| r²/2 + e < r, with λ = F'(w)
    and e the rounding errors of p steps plus |F(w) - w|. The factor 8 below pays for the higher orders. An
    orbit in that disc never escapes, so the scalar kernel's count is -1 too.
    """
    w, converged = _cycle_point(z, c, period)
    if not converged:
        return False
    image, slope, bend, error = w, 1.0 + 0.0j, 0.0j, 0.0
    for _ in range(period):
        error = 2.0 * abs(image) * error + 4e-15
        bend = 2.0 * (slope * slope + image * bend)
        slope = 2.0 * image * slope
        image = image * image + c
    slack = 1.0 - abs(slope)
    if not slack > 1e-4:
        return False
    radius = max(2.0 * abs(z - w), 4.0 * (error + abs(image - w)) / slack)
    if not 8.0 * abs(bend) * radius < slack:
        return False
    image, slope = w, 1.0 + 0.0j
    for _ in range(period):
        reach = abs(image) + 4.0 * abs(slope) * radius
        if not reach * reach < bailout2:
            return False
        slope = 2.0 * image * slope
        image = image * image + c
    return True


@_template(**OPTIONS)
def _is_in_cycle(real: Doubles, lane: int, span: int, budget: int, left: int) -> tuple[bool, int]:
    """(whether a lane that came near its checkpoint never escapes, what looking at it has cost of the budget).

    left: iterations until its time is up.
    """
    if not PROVES:
        # It came back to the bit, and goes round for ever.
        return True, 0
    zr, zi = real[lane], real[LANES + lane]
    cr, ci = real[STATE * LANES + lane], real[(STATE + 1) * LANES + lane]
    period = _period(zr, zi, cr, ci, min(span, left // WORTH))
    if not 0 < period <= budget:
        return False, period
    return _is_captured(complex(zr, zi), complex(cr, ci), period, real[CONSTANTS + LIMIT]), period


@_template(**OPTIONS)
def _look_for_periods(planes: Planes, real: Doubles, word: Words) -> None:
    """Brent: compare each lane with its checkpoint, which moves on whenever the lane's age doubles."""
    blocks = word[BLOCKS]
    near, due = watch(real, float(blocks), NEAR2)
    near, due = near & word[ACTIVE], due & word[ACTIVE]
    budget = PERIOD_LIMIT
    while near:
        lane = trailing_zeros(near)
        near &= near - 1
        left = word[MAX_ITER] - int(real[BASE + lane]) - blocks * BLOCK
        captured, cost = _is_in_cycle(real, lane, (blocks - int(real[MARK + lane])) * BLOCK, budget, left)
        if cost <= budget:
            # Captured, not yet, or never: ask again at the next checkpoint only.
            real[CHECK + lane] = np.inf
            budget -= cost
        if captured:
            word[ACTIVE] &= ~(1 << lane)
            _finish(planes, word, word[AT + lane])
    if due:
        move_checkpoints(real, due, float(blocks), float(WATCH_BLOCKS))


@_template(**INLINE)
def _publish(word: Words, counters: Words, before: tuple[int, int, int]) -> None:
    publish(counters, 0, before[0] + word[PIXELS])
    publish(counters, 1, before[1] + word[NOMINAL])
    publish(counters, 2, before[2] + word[EXECUTED])


@_template(**OPTIONS)
def _begin(
    real: Doubles,
    word: Words,
    px0: int,
    py0: int,
    step: int,
    view: Doubles,
    max_iter: int,
    limit: float,
    is_julia: int,
    tests: int,
    start: Doubles,
    in_runs: int,
) -> None:
    """Lay out a workspace of zeros."""
    for k in range(len(view)):
        real[CONSTANTS + VIEW + k] = view[k]
    real[CONSTANTS + LIMIT] = limit
    real[CONSTANTS + SCALE] = 1.0 / abs(math.log2(limit))
    real[CONSTANTS + DEGREE_SCALE] = 1.0 / math.log2(DEGREE)
    real[CONSTANTS + SEED] = 0.0 if is_julia else 1.0
    real[CONSTANTS + TWO] = 2.0
    spacing = math.hypot(view[2], view[4])
    real[CONSTANTS + PER_PIXEL] = 1.0 / spacing if spacing > 0.0 else 1.0
    for k in range(WORDS):
        real[INITIAL + k] = start[k]
    if is_julia:
        for k in range(SLOPES):
            real[INITIAL + WORDS + k * SLOPES + k] = 1.0
    word[PX0], word[PY0], word[STEP], word[MAX_ITER] = px0, py0, step, max_iter
    word[IS_JULIA], word[TESTS] = is_julia, tests
    word[ROW], word[COLUMN], word[NEXT_END] = -py0 % step, -px0 % step, LATEST
    word[FIRST_COLUMN] = word[COLUMN]
    word[IN_RUNS] = in_runs


@_template(SIGNATURE, cache=bool(config.CACHE_DIR), **OPTIONS)
def _compute(
    n: Counts,
    nf: Fractions,
    z: Points,
    far: Points,
    px0: int,
    py0: int,
    step: int,
    view: Doubles,
    max_iter: int,
    limit: float,
    control: Words,
    counters: Words,
    is_julia: int,
    tests: int,
    start: Doubles,
    doubles: Doubles,
    integers: Words,
) -> int:
    planes, real, word = Planes(n, nf, z, far), pointer(doubles), pointer(integers)
    in_runs = int(SLOPES == 0 and n.strides[1] == n.itemsize and nf.strides[1] == nf.itemsize)
    _begin(real, word, px0, py0, step, view, max_iter, limit, is_julia, tests, start, in_runs)
    before = counters[0], counters[1], counters[2]
    watches = tests != 0 and (not PROVES or max_iter >= WATCHED)
    safe = limit / SAFE if CONVERGES else limit * SAFE
    next_watch = np.int64(WATCH_BLOCKS)
    told: int = poll(control)
    while told == 0:
        exhausted = _refill(planes, real, word, control)
        if word[ACTIVE] == 0:
            if exhausted:
                break
            told = poll(control)
            continue
        limit_blocks = min(word[NEXT_END] - word[BLOCKS], QUANTUM_BLOCKS)
        if watches:
            limit_blocks = min(limit_blocks, next_watch - word[BLOCKS])
        blocks, dead = advance(real, word[ACTIVE], limit_blocks, safe)
        word[BLOCKS] += blocks
        word[EXECUTED] += blocks * BLOCK * ones(word[ACTIVE])
        if dead:
            _bury(planes, real, word, dead)
        if word[BLOCKS] >= word[NEXT_END]:
            _retire(planes, real, word)
        if watches and word[BLOCKS] >= next_watch:
            next_watch = word[BLOCKS] + WATCH_BLOCKS
            _look_for_periods(planes, real, word)
        _publish(word, counters, before)
        told = poll(control)
    _publish(word, counters, before)
    return told


def _aligned(length: int, dtype: type[np.generic]) -> NDArray[Any]:
    """Zeros that begin on a cache line, so that no vector straddles two."""
    buffer = np.zeros(length + 8, dtype)
    skip = -(buffer.ctypes.data // 8) % 8
    return buffer[skip : skip + length]


def names(formula: Formula, *, derivative: bool = False) -> dict[str, Any]:
    """What the names of this file mean for a formula."""
    place = layout(formula, derivative=derivative)
    rows = {"COUNT": "counted", "DISTANCE": "far"}
    rows |= {row.upper(): row for row in ("saved", "check", "due", "base", "mark", "new", "queue", "smooth", "scratch")}
    meanings: dict[str, Any] = {name: getattr(place, row) * place.lanes for name, row in rows.items()}
    fields = "LANES", "WORDS", "STATE", "SLOPES", "STACK", "INITIAL", "CONSTANTS"
    meanings |= {name: getattr(place, name.lower()) for name in fields}
    meanings |= {"ALL": (1 << place.lanes) - 1 if place.lanes < 64 else -1}
    meanings |= {"CONVERGES": formula.converges, "DEGREE": formula.degree, "TRAPPED": formula.trapped}
    meanings |= {"PROVES": formula.proves, "NEAR2": 1e-14 if formula.proves else 0.0}
    return meanings | vector_code(formula, place) | {"DOUBLES": place.doubles}


def compiled(meanings: dict[str, Any], label: str) -> Any:
    """The marked functions with these names in place of the file's own; the last one of them."""
    scope = {**globals(), **meanings}
    last: Any = None
    for function, signature, options in _MARKED:
        own = FunctionType(function.__code__, scope, function.__name__)
        # Each kernel has files of its own in the cache, which go by this name.
        own.__qualname__ = f"{function.__name__}_{label}"
        last = njit(*signature, **options)(own) if signature else njit(**options)(own)
        scope[function.__name__] = last
    return last


def build(formula: Formula, label: str, *, derivative: bool = False) -> Callable[..., Kernel]:
    """The kernels of a formula, compiled, or loaded from the cache: `build(…)(julia=…, tests=…)` is one of them.

    label: names them in the cache, with all that the formula depends on. derivative: they write z and far too.
    """
    meanings = names(formula, derivative=derivative)
    function, doubles = compiled(meanings, label + "_d" * derivative), meanings["DOUBLES"]
    start = np.zeros(formula.words)
    start[: len(formula.start)] = formula.start

    def kernel(*, julia: bool, tests: bool) -> Kernel:
        def compute(
            n: NDArray[np.int32],
            nf: NDArray[np.float32],
            z: NDArray[np.complex64],
            far: NDArray[np.complex64],
            px0: int,
            py0: int,
            step: int,
            view: NDArray[np.float64],
            max_iter: int,
            limit: float,
            control: NDArray[np.int64],
            counters: NDArray[np.int64],
        ) -> int:
            where = n, nf, z, far, px0, py0, step, view, max_iter, limit, control, counters
            work = start, _aligned(doubles, np.float64), _aligned(INTEGERS, np.int64)
            return int(function(*where, int(julia), int(tests), *work))

        return compute

    return kernel
