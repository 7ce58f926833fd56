"""Escape counts at arbitrary precision with gmpy2: slow, and independent of every fast path."""

from __future__ import annotations

import math
from fractions import Fraction

import gmpy2

__all__ = ["escape", "precision_bits_for"]


def precision_bits_for(width: str, width_px: int, max_iter: int) -> int:
    """Bits that leave 64 beyond the pixel spacing and the growth of rounding errors."""
    spacing = Fraction(width) / width_px
    pixel_bits = max(0, spacing.denominator.bit_length() - spacing.numerator.bit_length() + 1)
    return pixel_bits + 64 + max_iter.bit_length()


def escape(
    formula: str,
    re: str | float | Fraction,
    im: str | float | Fraction,
    julia: tuple[str | float | Fraction, str | float | Fraction] | None,
    max_iter: int,
    bailout: float,
    precision_bits: int,
) -> tuple[int, float]:
    """(n, mu) of a point: the number of applications up to the first |z| > bailout, and its smooth value.

    re, im: c, or z₀ of the Julia set of c = `julia`; decimal strings and fractions are exact, floats are
    taken as the exact numbers they are. (-1, 0.0): not escaped within max_iter.
    mu = n + 1 - log2(ln|z| / ln bailout).
    Raises ValueError for a formula it does not know.
    """
    if formula != "mandelbrot":
        raise ValueError(f"no oracle for the formula {formula!r}")
    with gmpy2.context(gmpy2.get_context(), precision=precision_bits):
        x, y = _exact(re), _exact(im)
        if julia is None:
            a, b, x, y = x, y, gmpy2.mpfr(0), gmpy2.mpfr(0)
        else:
            a, b = _exact(julia[0]), _exact(julia[1])
        bailout2 = gmpy2.mpfr(bailout) * gmpy2.mpfr(bailout)
        for count in range(max_iter + 1):
            norm = x * x + y * y
            if norm > bailout2:
                return count, count + 1 - math.log2(float(gmpy2.log(norm) / gmpy2.log(bailout2)))
            x, y = (x + y) * (x - y) + a, 2 * x * y + b
    return -1, 0.0


def _exact(value: str | float | Fraction) -> gmpy2.mpfr:
    return gmpy2.mpfr(gmpy2.mpq(Fraction(value)))
