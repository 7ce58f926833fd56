"""Complex numbers as people write them, exact, and what polynomials are made of."""

from __future__ import annotations

import re
from collections.abc import Sequence
from fractions import Fraction

__all__ = ["Complex", "complex_number", "parse", "polynomial"]

Complex = tuple[Fraction, Fraction]
"""Real and imaginary part."""

DIGITS = r"(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?"
REAL = re.compile(rf"([+-]?{DIGITS})")
IMAGINARY = re.compile(rf"([+-]?(?:{DIGITS})?)[ij]")
BOTH = re.compile(rf"([+-]?{DIGITS})([+-](?:{DIGITS})?)[ij]")


def parse(text: str) -> Complex | None:
    """The number that "2", "-1.5e-3", "i", "-0.5i" or "0.5-0.25i" stands for; None if it is none. No spaces."""
    if found := REAL.fullmatch(text):
        return Fraction(found[1]), Fraction(0)
    if found := IMAGINARY.fullmatch(text):
        return Fraction(0), _imaginary(found[1])
    if found := BOTH.fullmatch(text):
        return Fraction(found[1]), _imaginary(found[2])
    return None


def complex_number(text: str) -> Complex:
    """The number that a validated text stands for. Raises ValueError."""
    number = parse(text)
    if number is None:
        raise ValueError(f"not a complex number: {text!r}")
    return number


def _imaginary(digits: str) -> Fraction:
    return Fraction(f"{digits}1" if digits in ("", "+", "-") else digits)


def polynomial(roots: Sequence[Complex]) -> tuple[Complex, ...]:
    """Coefficients of the polynomial with these roots, from the highest power down; the first is 1."""
    coefficients: list[Complex] = [(Fraction(1), Fraction(0))]
    for root in roots:
        lower = [*coefficients, (Fraction(0), Fraction(0))]
        for place, (re_part, im_part) in enumerate(coefficients, 1):
            product = re_part * root[0] - im_part * root[1], re_part * root[1] + im_part * root[0]
            lower[place] = lower[place][0] - product[0], lower[place][1] - product[1]
        coefficients = lower
    return tuple(coefficients)
