"""Mandelbrot and Julia sets at float64 depth: a pool of vector lanes that is refilled as pixels die.

A pixel goes: scan → interior test → queue → (one counted block) → ready → lane → (uncounted blocks until it
seems to have died, or its time is up) → queue → (its last block again, counted) → output. So the fast loop
counts nothing, every count is taken in the scalar kernel's order of operations, and a lane never waits for
its neighbours. The output buffers are the only state that outlives a call.

Numba's cache does not notice a change of `lanes.py`, so functions are cached on disk only where
NUMBA_CACHE_DIR names a folder; the caller makes its name from `rfm_kernels.cache_key.cache_key()`.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numba import config, njit

from rfm_kernels import lanes
from rfm_kernels.lanes import BLOCK, LANES, advance, interior, poll, publish, settle, trailing_zeros, watch

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Counts = NDArray[np.int32]
    Fractions = NDArray[np.float32]
    Doubles = NDArray[np.float64]
    Words = NDArray[np.int64]

__all__ = [
    "NOT_ESCAPED",
    "PENDING",
    "Kernel",
    "julia",
    "julia_plain",
    "mandelbrot",
    "mandelbrot_plain",
    "scalar",
]

PENDING = -2
"""Count of a pixel to compute."""
NOT_ESCAPED = -1
"""Count of a pixel that stayed within the bailout radius for max_iter iterations."""


class Kernel(Protocol):
    """Compute the pending pixels of a tile.

    n, nf: int32 and float32 views [h, w] of the frame, any strides. Only pixels with n = PENDING are touched;
    they get n = the number of applications of z² + c up to the first |z| > R, or NOT_ESCAPED, and
    nf = clip(1 - log2(ln|z| / ln R), 0, 1 - 2⁻²⁴), so that mu = n + nf. Both are the same bits whatever
    the tile, the step and the number of interruptions.
    px0, py0: place of n[0, 0] in the frame. step: only pixels whose place in the frame is divisible by it in
    both directions. Pixel (ix, iy) is re0 + spacing·ix, im0 - spacing·iy: c, or z₀ of a Julia set.
    julia_re, julia_im: c of a Julia set. max_iter: 1 … 2³¹ - 1. bailout2: R², with R ≥ 2 and |c| ≤ R² - R.
    control: one word, polled every few microseconds; other than 0 means return. counters: 8 words, added
    to while it runs: pixels finished, nominal iterations (the plain loop's), iterations executed.
    Returns 0, or the control word it saw; then finished pixels stay and the same call continues.
    """

    def __call__(
        self,
        n: NDArray[np.int32],
        nf: NDArray[np.float32],
        px0: int,
        py0: int,
        step: int,
        re0: float,
        im0: float,
        spacing: float,
        julia_re: float,
        julia_im: float,
        max_iter: int,
        bailout2: float,
        control: NDArray[np.int64],
        counters: NDArray[np.int64],
    ) -> int:
        """See above."""
        ...


SIGNATURE = (
    "int64(int32[:, :], float32[:, :], int64, int64, int64, float64, float64, float64, float64, float64,"
    " int64, float64, int64[::1], int64[::1], int64, int64, float64[::1], int64[::1])"
)
# _nrt=False: the workspace is allocated by the caller, nothing here owns an array, and the atomic reference
# counts that Numba would take at every call of a helper cost as much as the iterations.
OPTIONS: dict[str, Any] = {"nogil": True, "error_model": "numpy", "_nrt": False}
INLINE = OPTIONS | {"forceinline": True}

ALL = (1 << LANES) - 1
READY = 4 * LANES
"""A pixel is in a lane, in the queue or ready, and new ones are taken only when none is ready: 3 LANES."""
QUANTUM_BLOCKS = 256
"""Blocks between two polls: 2¹⁵ lane iterations at 16 lanes, 5–10 µs."""
EARLY_ENOUGH = 8
"""New pixels pass a counted block first only where more than a quarter of them dies in it: each escape within a
block raises the score by 3, each later one lowers it by 1. It decides about the order of work alone."""
WATCH_BLOCKS = 16
"""Blocks between two looks for periods."""
NEAR2 = 1e-14
"""|z - checkpoint|² below which a cycle is looked for."""
PERIOD_LIMIT = 1024
"""Longest cycle that is looked for, and sum of the cycles that are confirmed between two polls: below 0.1 ms."""
# A point that left the disc by the last bit of rounding may seem inside again a block later. It never comes
# back by more than this: an error of 1e-15 grows by at most 2R a step of a block while |z| is near R = 2.
SAFE = 1.0 - 1e-8

# One workspace of doubles and one of integers hold everything; arrays in a tuple would cost an atomic
# reference count an access. Offsets into the doubles, in rows of LANES:
QUEUE, SCRATCH, STACK = lanes.QUEUE * LANES, lanes.SCRATCH * LANES, lanes.ROWS * LANES
CONSTANTS = STACK + 4 * READY
RE0, IM0, SPACING, JULIA_RE, JULIA_IM, BAILOUT2, SCALE = range(CONSTANTS, CONSTANTS + 7)
DOUBLES = CONSTANTS + 8
# Words of the integers: scalars first, then one a lane or a place.
QUEUED, READIED, FRESH, ROW, COLUMN, PIXELS, NOMINAL, EXECUTED, ACTIVE, LIVE, BLOCKS, NEXT_END = range(12)
PX0, PY0, STEP, MAX_ITER, IS_JULIA, TESTS, EARLY, FIRST_COLUMN = range(12, 20)
QUEUE_N, QUEUE_AT, FRESH_AT, BASE, END, AT, BORN, MARK = range(32, 32 + 8 * LANES, LANES)
READY_N, READY_AT = range(32 + 8 * LANES, 32 + 8 * LANES + 2 * READY, READY)
INTEGERS = 32 + 8 * LANES + 2 * READY


@njit(**INLINE)
def _finish(n: Counts, nf: Fractions, word: Words, at: int, count: int, smooth: float) -> None:
    """Write a pixel. Its count goes last: a pixel with a count is done."""
    y, x = at >> 32, at & 0xFFFFFFFF
    nf[y, x] = smooth
    n[y, x] = count
    word[PIXELS] += 1
    word[NOMINAL] += count if count >= 0 else word[MAX_ITER]


@njit(**OPTIONS)
def _scan(n: Counts, nf: Fractions, real: Doubles, word: Words) -> bool:
    """Collect up to LANES pending pixels, finish those known to be inside, leave the rest in `fresh`."""
    h, w = n.shape
    found = 0
    y, x, x_first = word[ROW], word[COLUMN], word[FIRST_COLUMN]
    px0, py0, step = word[PX0], word[PY0], word[STEP]
    re0, im0, spacing = real[RE0], real[IM0], real[SPACING]
    while y < h and found < LANES:
        imag = im0 - spacing * float(py0 + y)
        while x < w and found < LANES:
            if n[y, x] == PENDING:
                real[SCRATCH + found] = re0 + spacing * float(px0 + x)
                real[SCRATCH + LANES + found] = imag
                word[FRESH_AT + found] = (y << 32) | x
                found += 1
            x += step
        if x >= w:
            x = x_first
            y += step
    word[ROW], word[COLUMN] = y, x
    inside = interior(real) if word[TESTS] and not word[IS_JULIA] else 0
    kept = 0
    for k in range(found):
        if (inside >> k) & 1:
            _finish(n, nf, word, word[FRESH_AT + k], NOT_ESCAPED, 0.0)
        else:
            real[SCRATCH + kept] = real[SCRATCH + k]
            real[SCRATCH + LANES + kept] = real[SCRATCH + LANES + k]
            word[FRESH_AT + kept] = word[FRESH_AT + k]
            kept += 1
    word[FRESH] = kept
    return found > 0


@njit(**INLINE)
def _enqueue(
    n: Counts,
    nf: Fractions,
    real: Doubles,
    word: Words,
    zr: float,
    zi: float,
    cr: float,
    ci: float,
    count: int,
    at: int,
) -> None:
    k = word[QUEUED]
    real[QUEUE + k] = zr
    real[QUEUE + LANES + k] = zi
    real[QUEUE + 2 * LANES + k] = cr
    real[QUEUE + 3 * LANES + k] = ci
    real[QUEUE + 4 * LANES + k] = float(min(BLOCK, word[MAX_ITER] - count))
    word[QUEUE_N + k] = count
    word[QUEUE_AT + k] = at
    word[QUEUED] = k + 1
    if k + 1 == LANES:
        _settle_queue(n, nf, real, word)


@njit(**OPTIONS)
def _settle_queue(n: Counts, nf: Fractions, real: Doubles, word: Words) -> None:
    """Run the counted block over the queue; what is neither escaped nor out of time becomes ready."""
    escaped = settle(real, real[BAILOUT2], real[SCALE])
    executed, pixels, nominal = 0, 0, 0
    early, max_iter = word[EARLY], word[MAX_ITER]
    for k in range(word[QUEUED]):
        done = int(real[QUEUE + 5 * LANES + k])
        executed += done
        count = word[QUEUE_N + k] + done
        if (escaped >> k) & 1:
            early = min(early + 3, 2 * EARLY_ENOUGH) if count <= BLOCK else max(early - 1, 0)
            at = word[QUEUE_AT + k]
            nf[at >> 32, at & 0xFFFFFFFF] = real[QUEUE + 6 * LANES + k]
            n[at >> 32, at & 0xFFFFFFFF] = count
            pixels += 1
            nominal += count
        elif count >= max_iter:
            _finish(n, nf, word, word[QUEUE_AT + k], NOT_ESCAPED, 0.0)
        else:
            r = word[READIED]
            for field in range(4):
                real[STACK + 4 * r + field] = real[QUEUE + field * LANES + k]
            word[READY_N + r] = count
            word[READY_AT + r] = word[QUEUE_AT + k]
            word[READIED] = r + 1
    word[EARLY] = early
    word[PIXELS] += pixels
    word[NOMINAL] += nominal
    word[EXECUTED] += executed
    word[QUEUED] = 0


@njit(**OPTIONS)
def _enqueue_rarely(
    n: Counts,
    nf: Fractions,
    real: Doubles,
    word: Words,
    zr: float,
    zi: float,
    cr: float,
    ci: float,
    count: int,
    at: int,
) -> None:
    """The same, called instead of inlined: half of the time to compile went into copies of it."""
    _enqueue(n, nf, real, word, zr, zi, cr, ci, count, at)


@njit(**INLINE)
def _enqueue_fresh(n: Counts, nf: Fractions, real: Doubles, word: Words, control: Words) -> bool:
    """Fill the queue with pixels not begun yet, at most until it has been settled once; True if none is left."""
    while word[READIED] == 0 and poll(control) == 0:
        if word[FRESH] == 0 and not _scan(n, nf, real, word):
            return True
        while word[FRESH] > 0 and word[READIED] == 0:
            k = word[FRESH] - 1
            word[FRESH] = k
            re, im, at = real[SCRATCH + k], real[SCRATCH + LANES + k], word[FRESH_AT + k]
            zr, zi, cr, ci = 0.0, 0.0, re, im
            if word[IS_JULIA]:
                zr, zi, cr, ci = re, im, real[JULIA_RE], real[JULIA_IM]
            _enqueue(n, nf, real, word, zr, zi, cr, ci, 0, at)
    return False


@njit(**INLINE)
def _load_lane(
    n: Counts,
    nf: Fractions,
    real: Doubles,
    word: Words,
    zr: float,
    zi: float,
    cr: float,
    ci: float,
    count: int,
    at: int,
) -> None:
    """Put a pixel into a free lane, or into the queue if less than a block is left of it."""
    blocks_left = (word[MAX_ITER] - count) // BLOCK
    if blocks_left == 0:
        _enqueue_rarely(n, nf, real, word, zr, zi, cr, ci, count, at)
        return
    lane = trailing_zeros(~word[ACTIVE])
    real[lane], real[LANES + lane] = zr, zi
    real[2 * LANES + lane], real[3 * LANES + lane] = cr, ci
    blocks = word[BLOCKS]
    real[6 * LANES + lane] = np.inf
    real[8 * LANES + lane] = float(blocks + WATCH_BLOCKS)
    word[BASE + lane] = count - blocks * BLOCK
    word[END + lane] = blocks + blocks_left
    word[AT + lane] = at
    word[BORN + lane] = blocks
    word[NEXT_END] = min(word[NEXT_END], word[END + lane])
    word[ACTIVE] |= 1 << lane
    word[LIVE] += 1


@njit(**INLINE)
def _load_ready(n: Counts, nf: Fractions, real: Doubles, word: Words) -> None:
    r = word[READIED] - 1
    word[READIED] = r
    zr, zi = real[STACK + 4 * r], real[STACK + 4 * r + 1]
    cr, ci = real[STACK + 4 * r + 2], real[STACK + 4 * r + 3]
    _load_lane(n, nf, real, word, zr, zi, cr, ci, word[READY_N + r], word[READY_AT + r])


@njit(**INLINE)
def _load_fresh(n: Counts, nf: Fractions, real: Doubles, word: Words) -> None:
    k = word[FRESH] - 1
    word[FRESH] = k
    re, im, at = real[SCRATCH + k], real[SCRATCH + LANES + k], word[FRESH_AT + k]
    zr, zi, cr, ci = 0.0, 0.0, re, im
    if word[IS_JULIA]:
        zr, zi, cr, ci = re, im, real[JULIA_RE], real[JULIA_IM]
    _load_lane(n, nf, real, word, zr, zi, cr, ci, 0, at)


@njit(**INLINE)
def _free_lane(real: Doubles, word: Words, lane: int) -> None:
    """A free lane iterates 0² + 0: it never seems to die."""
    for field in range(4):
        real[field * LANES + lane] = 0.0
    word[ACTIVE] &= ~(1 << lane)
    word[LIVE] -= 1


@njit(**INLINE)
def _refill(n: Counts, nf: Fractions, real: Doubles, word: Words, control: Words) -> bool:
    """Occupy free lanes; True if there is nothing left to occupy them with."""
    while word[ACTIVE] != ALL and poll(control) == 0:
        if word[READIED] > 0:
            _load_ready(n, nf, real, word)
        elif word[EARLY] >= EARLY_ENOUGH:
            scanned = _enqueue_fresh(n, nf, real, word, control)
            if word[READIED] == 0:
                if word[QUEUED] > 0:
                    _settle_queue(n, nf, real, word)
                elif scanned:
                    return True
        elif word[FRESH] > 0 or _scan(n, nf, real, word):
            if word[FRESH] > 0:
                _load_fresh(n, nf, real, word)
        elif word[QUEUED] > 0:
            _settle_queue(n, nf, real, word)
        else:
            return True
    return False


@njit(**INLINE)
def _bury(n: Counts, nf: Fractions, real: Doubles, word: Words, dead: int) -> None:
    """Queue lanes that seem dead with their state from the start of the block."""
    while dead:
        lane = trailing_zeros(dead)
        dead &= dead - 1
        count = word[BASE + lane] + (word[BLOCKS] - 1) * BLOCK
        zr, zi = real[4 * LANES + lane], real[5 * LANES + lane]
        cr, ci = real[2 * LANES + lane], real[3 * LANES + lane]
        _free_lane(real, word, lane)
        _enqueue(n, nf, real, word, zr, zi, cr, ci, count, word[AT + lane])


@njit(**OPTIONS)
def _retire(n: Counts, nf: Fractions, real: Doubles, word: Words) -> None:
    """Queue lanes with less than a block left, and find when the next one will be."""
    next_end = np.int64(1 << 62)
    for lane in range(LANES):
        if not (word[ACTIVE] >> lane) & 1:
            continue
        if word[END + lane] > word[BLOCKS]:
            next_end = min(next_end, word[END + lane])
            continue
        count = word[BASE + lane] + word[BLOCKS] * BLOCK
        zr, zi = real[lane], real[LANES + lane]
        cr, ci = real[2 * LANES + lane], real[3 * LANES + lane]
        _free_lane(real, word, lane)
        if count >= word[MAX_ITER]:
            _finish(n, nf, word, word[AT + lane], NOT_ESCAPED, 0.0)
        else:
            _enqueue_rarely(n, nf, real, word, zr, zi, cr, ci, count, word[AT + lane])
    word[NEXT_END] = next_end


@njit(**OPTIONS)
def _period(zr: float, zi: float, cr: float, ci: float, span: int) -> int:
    """Smallest number of steps that brings z back to itself, nearly; 0: none within `span`."""
    x, y = zr, zi
    for k in range(1, min(span, PERIOD_LIMIT) + 1):
        x, y = x * x - y * y + cr, (x + x) * y + ci
        if (x - zr) * (x - zr) + (y - zi) * (y - zi) < 16.0 * NEAR2:
            return k
    return 0


@njit(**OPTIONS)
def _cycle_point(z: complex, c: complex, period: int) -> tuple[complex, bool]:
    """Newton's method for fᵖ(w) = w from z: (w, whether it converged)."""
    w = z
    for _ in range(6):
        image, slope = w, 1.0 + 0.0j
        for _ in range(period):
            slope = 2.0 * image * slope
            image = image * image + c
        correction = (image - w) / (slope - 1.0)
        w -= correction
        if not abs(correction) < 1e-3:
            return w, False
        if abs(correction) < 1e-15:
            break
    return w, True


@njit(**OPTIONS)
def _is_captured(z: complex, c: complex, period: int, bailout2: float) -> bool:
    """Whether the *rounded* orbit of z can be shown to stay bounded for ever.

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


@njit(**OPTIONS)
def _look_for_periods(n: Counts, nf: Fractions, real: Doubles, word: Words) -> None:
    """Brent: compare each lane with its checkpoint, which moves on whenever the lane's age doubles."""
    blocks = word[BLOCKS]
    both = watch(real, float(blocks), NEAR2)
    near, due = (both >> 32) & word[ACTIVE], both & ALL & word[ACTIVE]
    budget = PERIOD_LIMIT
    while near | due:
        lane = trailing_zeros(near | due)
        bit = 1 << lane
        if near & bit:
            zr, zi = real[lane], real[LANES + lane]
            cr, ci = real[2 * LANES + lane], real[3 * LANES + lane]
            period = _period(zr, zi, cr, ci, (blocks - word[MARK + lane]) * BLOCK)
            if 0 < period <= budget:
                budget -= period
                if _is_captured(complex(zr, zi), complex(cr, ci), period, real[BAILOUT2]):
                    _free_lane(real, word, lane)
                    _finish(n, nf, word, word[AT + lane], NOT_ESCAPED, 0.0)
                    due &= ~bit
            if period <= budget:
                # Captured, not yet, or never: ask again at the next checkpoint only.
                real[6 * LANES + lane] = np.inf
        if due & bit:
            real[6 * LANES + lane] = real[lane]
            real[7 * LANES + lane] = real[LANES + lane]
            word[MARK + lane] = blocks
            real[8 * LANES + lane] = float(blocks + max(WATCH_BLOCKS, blocks - word[BORN + lane]))
        near &= ~bit
        due &= ~bit


@njit(**INLINE)
def _publish(word: Words, counters: Words, before: tuple[int, int, int]) -> None:
    publish(counters, 0, before[0] + word[PIXELS])
    publish(counters, 1, before[1] + word[NOMINAL])
    publish(counters, 2, before[2] + word[EXECUTED])


@njit([SIGNATURE], cache=bool(config.CACHE_DIR), **OPTIONS)
def _compute(
    n: Counts,
    nf: Fractions,
    px0: int,
    py0: int,
    step: int,
    re0: float,
    im0: float,
    spacing: float,
    julia_re: float,
    julia_im: float,
    max_iter: int,
    bailout2: float,
    control: Words,
    counters: Words,
    is_julia: int,
    tests: int,
    real: Doubles,
    word: Words,
) -> int:
    real[RE0], real[IM0], real[SPACING] = re0, im0, spacing
    real[JULIA_RE], real[JULIA_IM] = julia_re, julia_im
    real[BAILOUT2], real[SCALE] = bailout2, 1.0 / math.log2(bailout2)
    word[PX0], word[PY0], word[STEP], word[MAX_ITER] = px0, py0, step, max_iter
    word[IS_JULIA], word[TESTS] = is_julia, tests
    word[ROW], word[COLUMN], word[NEXT_END] = -py0 % step, -px0 % step, 1 << 62
    word[FIRST_COLUMN] = word[COLUMN]
    before = counters[0], counters[1], counters[2]
    next_watch = np.int64(WATCH_BLOCKS)
    told: int = poll(control)
    while told == 0:
        exhausted = _refill(n, nf, real, word, control)
        if word[LIVE] == 0:
            if exhausted:
                break
            told = poll(control)
            continue
        limit = min(word[NEXT_END] - word[BLOCKS], QUANTUM_BLOCKS)
        if tests != 0:
            limit = min(limit, next_watch - word[BLOCKS])
        result = advance(real, limit, bailout2 * SAFE)
        word[BLOCKS] += result >> 32
        word[EXECUTED] += (result >> 32) * BLOCK * word[LIVE]
        dead = result & ALL
        if dead:
            _bury(n, nf, real, word, dead)
        if word[BLOCKS] >= word[NEXT_END]:
            _retire(n, nf, real, word)
        if tests != 0 and word[BLOCKS] >= next_watch:
            next_watch = word[BLOCKS] + WATCH_BLOCKS
            _look_for_periods(n, nf, real, word)
        _publish(word, counters, before)
        told = poll(control)
    _publish(word, counters, before)
    return told


def _aligned(length: int, dtype: type[np.generic]) -> NDArray[Any]:
    """Zeros that begin on a cache line, so that no vector straddles two."""
    buffer = np.zeros(length + 8, dtype)
    skip = -(buffer.ctypes.data // 8) % 8
    return buffer[skip : skip + length]


def _kernel(name: str, *, is_julia: bool, tests: bool) -> Kernel:
    flags = int(is_julia), int(tests)

    def compute(
        n: NDArray[np.int32],
        nf: NDArray[np.float32],
        px0: int,
        py0: int,
        step: int,
        re0: float,
        im0: float,
        spacing: float,
        julia_re: float,
        julia_im: float,
        max_iter: int,
        bailout2: float,
        control: NDArray[np.int64],
        counters: NDArray[np.int64],
    ) -> int:
        where = n, nf, px0, py0, step, re0, im0, spacing, julia_re, julia_im
        work = _aligned(DOUBLES, np.float64), _aligned(INTEGERS, np.int64)
        return int(_compute(*where, max_iter, bailout2, control, counters, *flags, *work))

    compute.__name__ = compute.__qualname__ = name
    compute.__doc__ = f"{name}: see `Kernel`."
    return compute


mandelbrot = _kernel("mandelbrot", is_julia=False, tests=True)
mandelbrot_plain = _kernel("mandelbrot_plain", is_julia=False, tests=False)
julia = _kernel("julia", is_julia=True, tests=True)
julia_plain = _kernel("julia_plain", is_julia=True, tests=False)


# Compiled at its first call: only tests and benchmarks need it.
@njit(cache=bool(config.CACHE_DIR), **OPTIONS)
def _scalar(
    n: Counts,
    px0: int,
    py0: int,
    re0: float,
    im0: float,
    spacing: float,
    julia_re: float,
    julia_im: float,
    max_iter: int,
    bailout2: float,
    is_julia: int,
) -> None:
    for y in range(n.shape[0]):
        for x in range(n.shape[1]):
            zr, zi = re0 + spacing * float(px0 + x), im0 - spacing * float(py0 + y)
            cr, ci = julia_re, julia_im
            if not is_julia:
                cr, ci, zr, zi = zr, zi, 0.0, 0.0
            count = 0
            while count < max_iter and zr * zr + zi * zi <= bailout2:
                zr, zi = zr * zr - zi * zi + cr, (zr + zr) * zi + ci
                count += 1
            n[y, x] = NOT_ESCAPED if zr * zr + zi * zi <= bailout2 else count


def scalar(
    n: NDArray[np.int32],
    px0: int,
    py0: int,
    re0: float,
    im0: float,
    spacing: float,
    julia_re: float,
    julia_im: float,
    max_iter: int,
    bailout2: float,
    *,
    is_julia: bool,
) -> None:
    """The counts of every pixel by the plain loop: what the kernels are compared with."""
    _scalar(n, px0, py0, re0, im0, spacing, julia_re, julia_im, max_iter, bailout2, int(is_julia))
