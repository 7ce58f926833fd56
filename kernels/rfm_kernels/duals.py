"""Numbers with their derivatives: a step that is taken with them gives the derivative of the step.

Forward differentiation, one number for each direction. The value is computed exactly as without. A derivative that is
0 by construction is the integer 0, and costs nothing.
"""

from __future__ import annotations

from typing import Any

import numpy as np

__all__ = ["Dual"]


def _is_zero(value: Any) -> bool:
    return isinstance(value, int) and value == 0


def _plus(one: Any, other: Any) -> Any:
    if _is_zero(one):
        return other
    return one if _is_zero(other) else one + other


def _minus(one: Any, other: Any) -> Any:
    if _is_zero(other):
        return one
    return -other if _is_zero(one) else one - other


def _times(one: Any, other: Any) -> Any:
    return 0 if _is_zero(one) or _is_zero(other) else one * other


def _over(one: Any, other: Any) -> Any:
    return 0 if _is_zero(one) else one / other


def _sign(value: Any) -> Any:
    """-1 where a number, an array or a register is negative, else 1."""
    own = getattr(value, "sign", None)
    return np.copysign(1.0, value) if own is None else own()


def _chosen(value: Any, than: Any, this: Any, that: Any) -> Any:
    """`this` where the value is less than `than`, elsewhere `that`."""
    own = getattr(value, "chosen", None) or getattr(than, "chosen", None)
    return np.where(value < than, this, that) if own is None else own(value, than, this, that)


class Dual:
    """value, and its derivative in each direction."""

    __slots__ = ("slopes", "value")
    __array_ufunc__ = None

    def __init__(self, value: Any, slopes: tuple[Any, ...]) -> None:
        self.value = value
        self.slopes = slopes

    def __add__(self, other: Any) -> Dual:
        if not isinstance(other, Dual):
            return Dual(self.value + other, self.slopes)
        return Dual(self.value + other.value, tuple(map(_plus, self.slopes, other.slopes)))

    def __sub__(self, other: Any) -> Dual:
        if not isinstance(other, Dual):
            return Dual(self.value - other, self.slopes)
        return Dual(self.value - other.value, tuple(map(_minus, self.slopes, other.slopes)))

    def __mul__(self, other: Any) -> Dual:
        if not isinstance(other, Dual):
            return Dual(self.value * other, tuple(_times(slope, other) for slope in self.slopes))
        pairs = zip(self.slopes, other.slopes, strict=True)
        slopes = tuple(_plus(_times(mine, other.value), _times(self.value, theirs)) for mine, theirs in pairs)
        return Dual(self.value * other.value, slopes)

    def __truediv__(self, other: Any) -> Dual:
        if not isinstance(other, Dual):
            return Dual(self.value / other, tuple(_over(slope, other) for slope in self.slopes))
        quotient = self.value / other.value
        pairs = zip(self.slopes, other.slopes, strict=True)
        slopes = tuple(_over(_minus(mine, _times(quotient, theirs)), other.value) for mine, theirs in pairs)
        return Dual(quotient, slopes)

    def __radd__(self, other: Any) -> Dual:
        return Dual(other + self.value, self.slopes)

    def __rsub__(self, other: Any) -> Dual:
        return Dual(other - self.value, tuple(_minus(0, slope) for slope in self.slopes))

    def __rmul__(self, other: Any) -> Dual:
        return Dual(other * self.value, tuple(_times(other, slope) for slope in self.slopes))

    def __abs__(self) -> Dual:
        sign = _sign(self.value)
        return Dual(abs(self.value), tuple(_times(slope, sign) for slope in self.slopes))

    def __rtruediv__(self, other: Any) -> Dual:
        quotient = other / self.value
        return Dual(quotient, tuple(_minus(0, _times(_over(slope, self.value), quotient)) for slope in self.slopes))

    def smaller(self, other: Any) -> Dual:
        """The smaller one with its derivative; this one where either is NaN."""
        if not isinstance(other, Dual):
            other = Dual(other, (0,) * len(self.slopes))
        pairs = zip(other.slopes, self.slopes, strict=True)
        slopes = tuple(
            0 if _is_zero(theirs) and _is_zero(mine) else _chosen(other.value, self.value, theirs, mine)
            for theirs, mine in pairs
        )
        return Dual(_chosen(other.value, self.value, other.value, self.value), slopes)

    def __neg__(self) -> Dual:
        return Dual(-self.value, tuple(_minus(0, slope) for slope in self.slopes))
