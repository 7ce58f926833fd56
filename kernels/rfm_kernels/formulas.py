"""The formulas: one short step each, written once for every use of it.

A step takes `z`, `c` and `p` as tuples of real numbers and gives the next `z`. Whatever adds, subtracts, multiplies,
divides and has an absolute value can be such a number: a register of lanes whose code is being written
(`rfm_kernels.vectors`), an array, a float, or any of them with its derivatives (`rfm_kernels.duals`). So the vector
code, the plain loop and distance estimates all come from the same few lines, and can't differ.

The order of operations is part of a formula: it decides about the last bits, and pictures are the same on every
machine.
"""

from __future__ import annotations

import contextlib
import hashlib
import inspect
import sys
from collections.abc import Callable
from functools import cache
from importlib.metadata import entry_points
from typing import Any, NamedTuple

import numpy as np

__all__ = [
    "FAR",
    "GROUP",
    "TRAPS",
    "Formula",
    "Step",
    "divided",
    "formula",
    "installed",
    "label",
    "powered",
    "product",
    "smaller",
    "trapped",
]

Real = Any
Point = tuple[Real, ...]
Step = Callable[[Point, Point, Point], Point]


FAR = 1e150
"""Where nothing comes from: the place before the first one."""


class Formula(NamedTuple):
    """step: (z, c, p) → z. words: real numbers in z; the first two are the point, others start at 0.

    degree: of the growth of |z|, for the smooth fraction. holomorphic: its derivative is one complex number.
    parameters: real numbers in p. converges: a pixel is done when a step moves it by less than a limit, and z has four
    words, the point and the one before; others are done when they are farther from 0 than the bailout radius. proves:
    it is z² + c, whose cycles are known well enough to tell them before an orbit repeats to the bit. start: z₀ where
    the pixel is c; words that it leaves out are 0. trapped: the last word is how near the orbit has come to a trap,
    squared.
    """

    step: Step
    words: int = 2
    degree: float = 2.0
    holomorphic: bool = True
    parameters: int = 0
    converges: bool = False
    proves: bool = False
    start: tuple[float, ...] = (0.0, 0.0)
    trapped: bool = False


# --- arithmetic of points -------------------------------------------------------------------------


def product(z: Point, w: Point) -> Point:
    """z·w."""
    return z[0] * w[0] - z[1] * w[1], z[0] * w[1] + z[1] * w[0]


def divided(z: Point, w: Point) -> Point:
    """z / w."""
    norm = w[0] * w[0] + w[1] * w[1]
    return (z[0] * w[0] + z[1] * w[1]) / norm, (z[1] * w[0] - z[0] * w[1]) / norm


def squared(z: Point) -> Point:
    """z²: as (x + x)·y, so that nothing is rounded twice."""
    x, y = z
    return x * x - y * y, (x + x) * y


def powered(z: Point, power: int) -> Point:
    """zⁿ for n ≥ 1, by squaring from the highest bit on."""
    result = z
    for bit in bin(power)[3:]:
        result = squared(result)
        if bit == "1":
            result = product(result, z)
    return result


def smaller(one: Real, other: Real) -> Real:
    """The smaller one of two numbers; `one` where either is NaN."""
    for number, rest in ((one, other), (other, one)):
        if (own := getattr(number, "smaller", None)) is not None:
            return own(rest)
    return np.where(other < one, other, one)


# --- orbit traps ----------------------------------------------------------------------------------


def _point(x: Real, y: Real, _radius: Real) -> Real:
    return x * x + y * y


def _cross(x: Real, y: Real, _radius: Real) -> Real:
    return smaller(x * x, y * y)


def _circle(x: Real, y: Real, radius: Real) -> Real:
    # Of (|z| - r)² without a root: (|z|² - r²)² / 4r² is that near the circle.
    beyond = x * x + y * y - radius * radius
    return beyond * beyond / (radius * radius * 4.0)


TRAPS: dict[str, Callable[[Real, Real, Real], Real]] = {"point": _point, "cross": _cross, "circle": _circle}
"""Squared distance of a place from the trap, which is at 0: the point, both axes, the circle of that radius."""


def trapped(formula: Formula, trap: str) -> Formula:
    """The formula with a trap beside it. Three parameters more: the trap's place and its radius."""
    words, count = formula.words, formula.parameters

    def step(z: Point, c: Point, p: Point) -> Point:
        after = formula.step(z[:words], c, p[:count])
        apart = TRAPS[trap](after[0] - p[count], after[1] - p[count + 1], p[count + 2])
        return *after, smaller(z[words], apart)

    start = (*formula.start, *[0.0] * (words - len(formula.start)), FAR)
    return formula._replace(step=step, words=words + 1, parameters=count + 3, proves=False, start=start, trapped=True)


# --- the families ---------------------------------------------------------------------------------


def _mandelbrot(z: Point, c: Point, _p: Point) -> Point:
    x, y = squared(z)
    return x + c[0], y + c[1]


def _burning_ship(z: Point, c: Point, _p: Point) -> Point:
    x, y = squared(z)
    return x + c[0], abs(y) + c[1]


def _perpendicular_ship(z: Point, c: Point, _p: Point) -> Point:
    x, y = z
    return x * x - y * y + c[0], (x + x) * abs(y) + c[1]


def _celtic(z: Point, c: Point, _p: Point) -> Point:
    x, y = squared(z)
    return abs(x) + c[0], y + c[1]


def _buffalo(z: Point, c: Point, _p: Point) -> Point:
    x, y = squared(z)
    return abs(x) + c[0], abs(y) + c[1]


def _tricorn(z: Point, c: Point, _p: Point) -> Point:
    x, y = squared(z)
    return x + c[0], c[1] - y


def _phoenix(z: Point, c: Point, p: Point) -> Point:
    now, before = z[:2], z[2:]
    square, memory = squared(now), product(p, before)
    return square[0] + c[0] + memory[0], square[1] + c[1] + memory[1], *now


def _multibrot(power: int) -> Step:
    def step(z: Point, c: Point, _p: Point) -> Point:
        x, y = powered(z, power)
        return x + c[0], y + c[1]

    return step


DISTANT = 5
"""Degree of a polynomial from which on |f'|² of the place where a step ends may be beyond float64 although the step
began farther from a zero of f' than 1e-13, the least distance of pixels. It costs a quarter of the speed."""


def _newton(degree: int, *, plus_c: bool) -> Step:
    """p: real and imaginary part of R, then of the coefficients from the highest power down.

    From DISTANT on f(z)/f'(z) is taken of w = s·z instead, with s such that |w| is at most 1: near a multiple zero of
    f' a step goes out to where the powers of z are no numbers any more, and comes back from there. Within |x| + |y| = 1
    s is 1.
    """

    def step(z: Point, c: Point, p: Point) -> Point:
        now = z[:2]
        far = -smaller(-abs(now[0]) - abs(now[1]), -1.0) if degree >= DISTANT else 1.0
        scale = 1.0 / far
        w = now[0] * scale, now[1] * scale
        value, slope, power = p[2:4], None, scale
        for place in range(4, 4 + 2 * degree, 2):
            # Horner's rule for the polynomial and its derivative at once.
            if slope is None:
                slope = value
            else:
                grown = product(slope, w)
                slope = grown[0] + value[0], grown[1] + value[1]
            grown = product(value, w)
            value = grown[0] + p[place] * power, grown[1] + p[place + 1] * power
            power = power * scale
        # These are sᵈ·f(z) and sᵈ⁻¹·f'(z).
        move = product(p[:2], divided(value, slope or value))
        x, y = now[0] - move[0] * far, now[1] - move[1] * far
        return (x + c[0], y + c[1], *now) if plus_c else (x, y, *now)

    return step


SIMPLE = {
    "mandelbrot": Formula(_mandelbrot, proves=True),
    "burning_ship": Formula(_burning_ship, holomorphic=False),
    "perpendicular_ship": Formula(_perpendicular_ship, holomorphic=False),
    "celtic": Formula(_celtic, holomorphic=False),
    "buffalo": Formula(_buffalo, holomorphic=False),
    "tricorn": Formula(_tricorn, holomorphic=False),
    "phoenix": Formula(_phoenix, words=4, parameters=2, start=(0.0, 0.0, 0.0, 0.0)),
}


GROUP = "rfm_runtime.formulas"
"""Of entry points: installed packages have formulas of their own. The name is the formula's, the object a `Formula`."""


@cache
def installed(name: str) -> Formula:
    """A formula of an installed package. Raises KeyError without one, TypeError for what is none, and its errors."""
    for point in entry_points(group=GROUP, name=name):
        found = point.load()
        if not isinstance(found, Formula):
            raise TypeError(f"{point.value} is no rfm_kernels.formulas.Formula")
        return found
    raise KeyError(name)


def label(name: str, degree: int = 2) -> str:
    """Names the kernels of a formula in the cache: of a package's they are others once its code is."""
    if name in SIMPLE or name in BY_DEGREE:
        return f"{name}_{degree}"
    found = installed(name)
    package = found.step.__module__.partition(".")[0]
    fields = repr((found.step.__qualname__, *found[1:]))
    digest = hashlib.blake2b(fields.encode(), digest_size=6)
    for module in sorted(sys.modules):
        # All that it has imported of its own: the step may use any of it.
        if module.partition(".")[0] == package:
            with contextlib.suppress(OSError, TypeError):
                digest.update(inspect.getsource(sys.modules[module]).encode())
    return f"{name}_{degree}_{digest.hexdigest()}"


BY_DEGREE = ("multibrot", "newton", "nova")


def formula(name: str, degree: int = 2) -> Formula:
    """The formula of that name; degree: of a Multibrot, or of the polynomial of `newton` and `nova`.

    Raises KeyError for a name that neither it nor an installed package knows.
    """
    if name == "multibrot":
        return Formula(_multibrot(degree), degree=float(degree))
    if name in ("newton", "nova"):
        step = _newton(degree, plus_c=name == "nova")
        return Formula(step, words=4, parameters=2 * degree + 4, converges=True, start=(1.0, 0.0, FAR, FAR))
    return SIMPLE[name] if name in SIMPLE else installed(name)
