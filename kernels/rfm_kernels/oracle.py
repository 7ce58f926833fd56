"""Escape counts at arbitrary precision with gmpy2: slow, and independent of every fast path.

The formulas stand here once more, on purpose: nothing of what the kernels are made of is used.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from typing import NamedTuple

import gmpy2

from rfm_kernels.formulas import FAR

__all__ = ["FORMULAS", "Truth", "escape", "precision_bits_for"]

FORMULAS = (
    "mandelbrot", "multibrot", "burning_ship", "perpendicular_ship", "celtic", "buffalo", "tricorn", "phoenix",
    "newton", "nova",
)  # fmt: skip
"""That it knows."""

Number = str | float | Fraction
Pair = tuple[Number, Number]
Orbit = Callable[[gmpy2.mpc, gmpy2.mpc, gmpy2.mpc], gmpy2.mpc]


class Truth(NamedTuple):
    """n: applications up to the end, -1 if there was none. mu: its smooth value, 0 then. z: the last one."""

    n: int
    mu: float
    z: complex


def precision_bits_for(width: str, width_px: int, max_iter: int) -> int:
    """Bits that leave 64 beyond the pixel spacing and the growth of rounding errors."""
    spacing = Fraction(width) / width_px
    pixel_bits = max(0, spacing.denominator.bit_length() - spacing.numerator.bit_length() + 1)
    return pixel_bits + 64 + max_iter.bit_length()


def escape(
    formula: str,
    re: Number,
    im: Number,
    julia: Pair | None,
    max_iter: int,
    bailout: float,
    precision_bits: int,
    *,
    power: int = 2,
    p: Pair = ("-0.5", "0"),
    coefficients: Sequence[Pair] = (),
    relaxation: Pair = ("1", "0"),
) -> Truth:
    """What becomes of a point: the number of applications up to the first |z| > bailout, and its smooth value.

    re, im: c, or z₀ of the Julia set of c = `julia`; decimal strings and fractions are exact, floats are
    taken as the exact numbers they are. mu = n + 1 - log_d(ln|z| / ln bailout), d the power. Of `newton` and `nova`
    `bailout` is the length of a step that ends it, and mu has the length of the last one in place of |z|; a point whose
    step is undefined, as where f' = 0, does not end.
    Raises ValueError for a formula it does not know.
    """
    with gmpy2.context(gmpy2.get_context(), precision=precision_bits):
        memory, factor = _exact(p), _exact(relaxation)
        polynomial = [_exact(number) for number in coefficients]
        step = _step(formula, power, memory, polynomial, factor)
        pixel = _exact((re, im))
        if formula == "newton":
            z, c = pixel, gmpy2.mpc(0)
        elif julia is not None:
            z, c = pixel, _exact(julia)
        else:
            z, c = gmpy2.mpc(1 if formula == "nova" else 0), pixel
        if formula in ("newton", "nova"):
            return _converge(step, z, c, max_iter, gmpy2.mpfr(bailout))
        limit = gmpy2.mpfr(bailout)
        before = gmpy2.mpc(0)
        for count in range(max_iter + 1):
            if gmpy2.norm(z) > limit * limit:
                ratio = gmpy2.log(gmpy2.norm(z)) / gmpy2.log(limit * limit)
                return Truth(count, count + 1 - math.log(float(ratio)) / math.log(power), complex(z))
            z, before = step(z, before, c), z
    return Truth(-1, 0.0, complex(z))


def _converge(step: Orbit, z: gmpy2.mpc, c: gmpy2.mpc, max_iter: int, shortest: gmpy2.mpfr) -> Truth:
    # As the kernels have it: from the corner of a square of that size to the point.
    earlier = gmpy2.mpfr(math.sqrt(2.0) * FAR)
    for count in range(1, max_iter + 1):
        z, before = step(z, z, c), z
        moved = abs(z - before)
        if not gmpy2.is_finite(moved):
            # Divided by zero: at infinity Newton's map stays.
            break
        if moved < shortest:
            # Between the two steps, on a logarithmic scale.
            part = 0.0 if moved == 0 else float(gmpy2.log(earlier / shortest) / gmpy2.log(earlier / moved))
            return Truth(count, count + part, complex(z))
        earlier = moved
    return Truth(-1, 0.0, complex(z))


def _step(formula: str, power: int, memory: gmpy2.mpc, polynomial: Sequence[gmpy2.mpc], factor: gmpy2.mpc) -> Orbit:
    match formula:
        case "mandelbrot":
            return lambda z, _before, c: z * z + c
        case "multibrot":
            return lambda z, _before, c: z**power + c
        case "burning_ship":
            return lambda z, _before, c: gmpy2.mpc(abs(z.real), abs(z.imag)) ** 2 + c
        case "perpendicular_ship":
            return lambda z, _before, c: gmpy2.mpc(z.real, abs(z.imag)) ** 2 + c
        case "celtic":
            return lambda z, _before, c: _folded(z * z, left=True, below=False) + c
        case "buffalo":
            return lambda z, _before, c: _folded(z * z, left=True, below=True) + c
        case "tricorn":
            return lambda z, _before, c: z.conjugate() ** 2 + c
        case "phoenix":
            return lambda z, before, c: z * z + c + memory * before
        case "newton" | "nova":
            slopes = [number * (len(polynomial) - 1 - k) for k, number in enumerate(polynomial[:-1])]
            return lambda z, _before, c: z - factor * _value(polynomial, z) / _value(slopes, z) + c
    raise ValueError(f"no oracle for the formula {formula!r}")


def _folded(z: gmpy2.mpc, *, left: bool, below: bool) -> gmpy2.mpc:
    return gmpy2.mpc(abs(z.real) if left else z.real, abs(z.imag) if below else z.imag)


def _value(coefficients: Sequence[gmpy2.mpc], z: gmpy2.mpc) -> gmpy2.mpc:
    return sum((number * z ** (len(coefficients) - 1 - k) for k, number in enumerate(coefficients)), gmpy2.mpc(0))


def _exact(pair: Pair) -> gmpy2.mpc:
    re_part, im_part = (gmpy2.mpfr(gmpy2.mpq(Fraction(value))) for value in pair)
    return gmpy2.mpc(re_part, im_part)
