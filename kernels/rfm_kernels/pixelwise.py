"""What is computed pixel by pixel, from the same step as the lanes: the plain loop, and the cycles of the inside."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from numba import config, njit
from numba.np.unsafe.ndarray import to_fixed_tuple

from rfm_kernels.escape_time import INLINE, OPTIONS
from rfm_kernels.formulas import Formula
from rfm_kernels.intrinsics import poll
from rfm_kernels.lanes import scalar_code
from rfm_kernels.layout import NOT_ESCAPED

if TYPE_CHECKING:
    from rfm_kernels.escape_time import Counts, Doubles, Fractions, Words

__all__ = ["VIEW_WORDS", "cycle_finder", "period_filler", "plain_loop"]

VIEW_WORDS = 8
"""Of a view, before the formula's parameters."""

CYCLE_LIMIT = 4096
"""Longest cycle that is looked for at a single point."""
SETTLE_LIMIT = 2000
"""Applications after which pixels of a frame are looked at: 10 µs each; what has not settled then gets no period."""
PERIODS_SIGNATURE = ["int64(int32[:, :], float32[:, :], int64, int64, float64[::1], int64, boolean, int64[::1])"]
RETURN2 = 1e-20
"""|difference|² to the beginning, relative to |z|², at which a cycle is closed."""
NUDGE = 1e-6
"""Off the cycle, to see whether it draws points in."""


def _period_at(formula: Formula, label: str) -> Any:
    """The length of the cycle that the orbit of a point goes to, and that attracts; 0: none was found."""
    step, words, parameters = scalar_code(formula), formula.words, formula.parameters
    (first_re, first_im), (second, third) = formula.start[:2], formula.start[-2:]
    fixed: Any = to_fixed_tuple if not config.DISABLE_JIT else lambda array, count: tuple(array[:count])

    def period_at(re: float, im: float, view: Doubles, applications: int, julia: bool) -> int:
        p: Any = fixed(view[VIEW_WORDS:], parameters)
        c = (view[6], view[7]) if julia else (re, im)
        first = (re, im) if julia else (first_re, first_im)
        z = first if words == 2 else (first[0], first[1], second, third)
        for _ in range(applications):
            z = step(z, c, p)
        w = z
        for period in range(1, CYCLE_LIMIT + 1):
            w = step(w, c, p)
            apart2 = (w[0] - z[0]) ** 2 + (w[1] - z[1]) ** 2
            if not apart2 <= RETURN2 * (1.0 + z[0] * z[0] + z[1] * z[1]):
                continue
            for direction in range(2):
                nudged = (z[0] + NUDGE * (1 - direction), z[1] + NUDGE * direction)
                v = nudged if words == 2 else (nudged[0], nudged[1], z[-2], z[-1])
                u = z
                for _ in range(period):
                    u, v = step(u, c, p), step(v, c, p)
                if not (v[0] - u[0]) ** 2 + (v[1] - u[1]) ** 2 < NUDGE * NUDGE:
                    return 0
            return period
        return 0

    period_at.__qualname__ = f"period_at_{label}"
    return njit(**OPTIONS)(period_at)


def cycle_finder(formula: Formula, label: str) -> Callable[..., Any]:
    """The length of the cycle that a point's orbit goes to and that attracts; 0: none was found.

    Called as `(view, max_iter, julia)` for the pixel at the view's origin; compiled at the first call. What it says is
    evidence, not proof: the orbit came back after max_iter applications, and neighbours of it came closer meanwhile.
    """
    at = _period_at(formula, label)

    def find(view: Doubles, max_iter: int, julia: bool) -> int:
        found: int = at(view[0], view[1], view, max_iter, julia)
        return found

    find.__qualname__ = f"cycle_{label}"
    return njit(cache=bool(config.CACHE_DIR), **OPTIONS)(find)


def period_filler(formula: Formula, label: str) -> Callable[..., Any]:
    """Writes the period of each pixel of a tile that did not escape into nf, as `cycle_finder` tells it.

    Called as `(n, nf, px0, py0, view, max_iter, julia, control)`, all as of a `Kernel`; returns 0 or the control word
    it saw. Compiled, or loaded from the cache. Pixels whose orbit has not settled after 2000 applications keep their 0.
    """
    at = _period_at(formula, label)

    def fill(
        n: Counts, nf: Fractions, px0: int, py0: int, view: Doubles, max_iter: int, julia: bool, control: Words
    ) -> int:
        for y in range(n.shape[0]):
            for x in range(n.shape[1]):
                if n[y, x] == NOT_ESCAPED and nf[y, x] == 0.0:
                    told: int = poll(control)
                    if told != 0:
                        return told
                    column, row = float(px0 + x), float(py0 + y)
                    re = view[0] + (view[2] * column + view[3] * row)
                    im = view[1] + (view[4] * column + view[5] * row)
                    nf[y, x] = at(re, im, view, min(max_iter, SETTLE_LIMIT), julia)
        return 0

    fill.__qualname__ = f"periods_{label}"
    return njit(PERIODS_SIGNATURE, cache=bool(config.CACHE_DIR), **OPTIONS)(fill)


def plain_loop(formula: Formula, label: str) -> Callable[..., Any]:
    """The counts of every pixel of a formula by the plain loop: what the kernels are compared with.

    Called as `(n, px0, py0, view, max_iter, limit, julia)`; compiled at the first call.
    """
    step, words, parameters = scalar_code(formula), formula.words, formula.parameters
    converges, (first_re, first_im) = formula.converges, formula.start[:2]
    second, third = formula.start[-2:]
    fixed: Any = to_fixed_tuple if not config.DISABLE_JIT else lambda array, count: tuple(array[:count])

    def size_of(z: Any) -> float:
        if converges:
            size: float = (z[0] - z[2]) * (z[0] - z[2]) + (z[1] - z[3]) * (z[1] - z[3])
            return size
        far: float = z[0] * z[0] + z[1] * z[1]
        return far

    def is_over(size: float, limit: float) -> bool:
        return not (size >= limit if converges else size <= limit)

    def is_lost(size: float) -> bool:
        # Its step divided by zero.
        return converges and math.isnan(size)

    size, over, lost = njit(**INLINE)(size_of), njit(**INLINE)(is_over), njit(**INLINE)(is_lost)

    def loop(n: Counts, px0: int, py0: int, view: Doubles, max_iter: int, limit: float, julia: bool) -> None:
        p: Any = fixed(view[VIEW_WORDS:], parameters)
        for y in range(n.shape[0]):
            for x in range(n.shape[1]):
                column, row = float(px0 + x), float(py0 + y)
                re = view[0] + (view[2] * column + view[3] * row)
                im = view[1] + (view[4] * column + view[5] * row)
                c = (view[6], view[7]) if julia else (re, im)
                first = (re, im) if julia else (first_re, first_im)
                z = first if words == 2 else (first[0], first[1], second, third)
                count = 0
                while count < max_iter and not over(size(z), limit):
                    z = step(z, c, p)
                    count += 1
                done = over(size(z), limit) and not lost(size(z))
                n[y, x] = count if done else NOT_ESCAPED

    loop.__qualname__ = f"plain_loop_{label}"
    return njit(**OPTIONS)(loop)
