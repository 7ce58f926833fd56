"""Registers of many lanes whose code is being written: what a formula's step is called with to become LLVM IR.

LLVM does not vectorise a loop that ends when its data says so, and its vectoriser drops a loop for reasons that change
between releases; IR over explicit vectors leaves neither to chance. Results do not depend on the width. No fast-math
flag anywhere: escaped lanes run to infinity and NaN and must compare false, and a contracted multiply-add would change
last bits between CPUs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import config

__all__ = [
    "F64",
    "I32",
    "I64",
    "LANES",
    "MOST_LANES",
    "Register",
    "bits",
    "broadcast",
    "chosen",
    "constant",
    "data_of",
    "load",
    "log2",
    "ramp",
    "store",
    "vector",
    "widths",
]

FOUR_PIPELINES = frozenset({"znver5"})
"""Processors, by LLVM's names, that begin four operations of 512 bits in a cycle."""


def widths(cpu: str, *, avx512: bool, jitted: bool) -> tuple[int, int]:
    """Lanes of a formula, and of one whose state leaves registers free.

    Two pipelines hide the latency of one step behind four registers: of four doubles with AVX2, of eight with AVX-512.
    Four of AVX-512 need eight registers, which there are for two numbers. Plain Python has no word of 64 bits that it
    could take for lanes.
    """
    lanes = 32 if avx512 else 16
    return lanes, 64 if avx512 and jitted and cpu in FOUR_PIPELINES else lanes


LANES, MOST_LANES = widths(
    binding.get_host_cpu_name(),
    avx512=binding.get_host_cpu_features().get("avx512f", False),
    jitted=not config.DISABLE_JIT,
)

F64 = ir.DoubleType()
I32 = ir.IntType(32)
I64 = ir.IntType(64)

# log2(m) = 2/ln 2 · artanh((m - 1)/(m + 1)) for m in [√½, √2): odd powers up to 11 leave 3e-11, and what it is for is
# kept with 24 bits.
LOG2_TERMS = tuple(2.0 / (np.log(2.0) * k) for k in range(1, 12, 2))
SQRT_HALF_BITS = 0x3FE6A09E667F3BCD
EXPONENT_BITS = 0xFFF0000000000000 - (1 << 64)
TWO_52_BITS = 0x4330000000000000


def vector(kind: Any, width: int) -> Any:
    """The type of a number of every lane."""
    return ir.VectorType(kind, width)


def constant(value: float, width: int) -> Any:
    """The same number in every lane."""
    return ir.Constant(vector(F64, width), [ir.Constant(F64, value)] * width)


def ramp(width: int, kind: Any = F64) -> Any:
    """0, 1, 2 … in the lanes."""
    return ir.Constant(vector(kind, width), [ir.Constant(kind, lane) for lane in range(width)])


def _whole(value: int, width: int) -> Any:
    return ir.Constant(vector(I64, width), [ir.Constant(I64, value)] * width)


class Register:
    """A number, or one of every lane, whose code is being written. Arithmetic appends to the code."""

    __slots__ = ("builder", "two", "value")

    def __init__(self, builder: Any, value: Any, two: Any = None) -> None:
        """two: 2 in every lane, where doubling shall be a multiplication."""
        self.builder = builder
        self.value = value
        self.two = two

    def constant(self, value: float) -> Any:
        """A constant of the same type."""
        kind = self.value.type
        return ir.Constant(F64, value) if kind == F64 else constant(value, kind.count)

    def _made(self, operation: Callable[[Any, Any], Any], other: Any) -> Any:
        if isinstance(other, Register):
            return Register(self.builder, operation(self.value, other.value))
        if isinstance(other, int | float):
            return Register(self.builder, operation(self.value, self.constant(float(other))))
        return NotImplemented

    def __add__(self, other: Any) -> Any:
        if other is self and self.two is not None:
            return Register(self.builder, self.builder.fmul(self.value, self.two))
        return self._made(self.builder.fadd, other)

    def __sub__(self, other: Any) -> Any:
        return self._made(self.builder.fsub, other)

    def __mul__(self, other: Any) -> Any:
        return self._made(self.builder.fmul, other)

    def __truediv__(self, other: Any) -> Any:
        return self._made(self.builder.fdiv, other)

    def __radd__(self, other: Any) -> Any:
        return self._made(lambda mine, theirs: self.builder.fadd(theirs, mine), other)

    def __rsub__(self, other: Any) -> Any:
        return self._made(lambda mine, theirs: self.builder.fsub(theirs, mine), other)

    def __rmul__(self, other: Any) -> Any:
        return self._made(lambda mine, theirs: self.builder.fmul(theirs, mine), other)

    def __rtruediv__(self, other: Any) -> Any:
        return self._made(lambda mine, theirs: self.builder.fdiv(theirs, mine), other)

    def __neg__(self) -> Register:
        return Register(self.builder, self.builder.fneg(self.value))

    def __abs__(self) -> Register:
        return self._called("llvm.fabs", self.value)

    def sign(self) -> Register:
        """-1 where it is negative, -0 included, else 1."""
        return self._called("llvm.copysign", self.constant(1.0), self.value)

    def smaller(self, other: Any) -> Register:
        """The smaller one; this one where either is NaN."""
        return self.chosen(other, self, other, self)

    def chosen(self, value: Any, than: Any, this: Any, that: Any) -> Register:
        """`this` where the value is less than `than`, elsewhere `that`. Each may be a register or a constant."""
        value, than, this, that = (self._register(number) for number in (value, than, this, that))
        less = self.builder.fcmp_ordered("<", value.value, than.value)
        return Register(self.builder, self.builder.select(less, this.value, that.value))

    def _register(self, value: Any) -> Register:
        return value if isinstance(value, Register) else Register(self.builder, self.constant(float(value)))

    def _called(self, name: str, *arguments: Any) -> Register:
        kind = self.value.type
        suffix = "f64" if kind == F64 else f"v{kind.count}f64"
        function = self.builder.module.declare_intrinsic(
            f"{name}.{suffix}", fnty=ir.FunctionType(kind, [kind] * len(arguments))
        )
        return Register(self.builder, self.builder.call(function, arguments))


def broadcast(builder: Any, scalar: Any, width: int) -> Any:
    """One number in every lane."""
    kind = vector(scalar.type, width)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, ir.Constant(I32, 0))
    zeros = ir.Constant(vector(I32, width), [ir.Constant(I32, 0)] * width)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros)


def data_of(context: Any, builder: Any, array_type: Any, array: Any) -> Any:
    """Where a Numba array has its items."""
    return context.make_array(array_type)(context, builder, array).data


def load(builder: Any, place: Any, width: int) -> Any:
    """Of doubles or words the one at a place and those that follow."""
    return builder.load(builder.bitcast(place, vector(place.type.pointee, width).as_pointer()), align=8)


def store(builder: Any, place: Any, value: Any) -> None:
    """Write them."""
    builder.store(value, builder.bitcast(place, value.type.as_pointer()), align=8)


def bits(builder: Any, condition: Any) -> Any:
    """A condition of every lane as bits of a word."""
    return builder.zext(builder.bitcast(condition, ir.IntType(condition.type.count)), I64)


def chosen(builder: Any, word: Any, width: int) -> Any:
    """Bits of a word as a condition of every lane."""
    return builder.bitcast(builder.trunc(word, ir.IntType(width)), vector(ir.IntType(1), width))


def log2(builder: Any, value: Any) -> Any:
    """log2 of doubles ≥ √½, the same bits on every machine (libm's differ)."""
    kind, width = value.type, value.type.count
    pattern = builder.bitcast(value, vector(I64, width))
    shifted = builder.sub(pattern, _whole(SQRT_HALF_BITS, width))
    exponent = builder.lshr(shifted, _whole(52, width))
    mantissa = builder.bitcast(builder.sub(pattern, builder.and_(shifted, _whole(EXPONENT_BITS, width))), kind)
    # AVX2 has no conversion of 64-bit integers: a small one becomes a double by its place behind 2⁵².
    whole = builder.bitcast(builder.or_(exponent, _whole(TWO_52_BITS, width)), kind)
    whole = builder.fsub(whole, constant(2.0**52, width))
    s = builder.fdiv(builder.fsub(mantissa, constant(1.0, width)), builder.fadd(mantissa, constant(1.0, width)))
    square = builder.fmul(s, s)
    series = constant(LOG2_TERMS[-1], width)
    for term in LOG2_TERMS[-2::-1]:
        series = builder.fadd(builder.fmul(series, square), constant(term, width))
    return builder.fadd(whole, builder.fmul(s, series))
