"""Registers of LANES doubles whose code is being written: what a formula's step is called with to become LLVM IR.

LLVM does not vectorise a loop that ends when its data says so, and its vectoriser drops a loop for reasons that change
between releases; IR over explicit vectors leaves neither to chance. Two pipelines hide the latency of one step behind
four registers of four doubles, so 16 lanes suit AVX2 and 32 suit AVX-512; results do not depend on the width. No
fast-math flag anywhere: escaped lanes run to infinity and NaN and must compare false, and a contracted multiply-add
would change last bits between CPUs.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import binding, ir

__all__ = [
    "F64",
    "I32",
    "I64",
    "IVEC",
    "LANES",
    "VEC",
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
    "whole_row",
]

LANES = 32 if binding.get_host_cpu_features().get("avx512f", False) else 16

F64 = ir.DoubleType()
I32 = ir.IntType(32)
I64 = ir.IntType(64)
VEC = ir.VectorType(F64, LANES)
IVEC = ir.VectorType(I64, LANES)
MASK = ir.IntType(LANES)

# log2(m) = 2/ln 2 · artanh((m - 1)/(m + 1)) for m in [√½, √2): odd powers up to 11 leave 3e-11, and what it is for is
# kept with 24 bits.
LOG2_TERMS = tuple(2.0 / (np.log(2.0) * k) for k in range(1, 12, 2))
SQRT_HALF_BITS = 0x3FE6A09E667F3BCD
EXPONENT_BITS = 0xFFF0000000000000 - (1 << 64)
TWO_52_BITS = 0x4330000000000000


def constant(value: float) -> Any:
    """The same number in every lane."""
    return ir.Constant(VEC, [ir.Constant(F64, value)] * LANES)


def ramp() -> Any:
    """0, 1, 2 … in the lanes."""
    return ir.Constant(VEC, [ir.Constant(F64, float(lane)) for lane in range(LANES)])


def _whole(value: int) -> Any:
    return ir.Constant(IVEC, [ir.Constant(I64, value)] * LANES)


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
        return constant(value) if self.value.type == VEC else ir.Constant(F64, value)

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
        suffix = f"v{LANES}f64" if kind == VEC else "f64"
        function = self.builder.module.declare_intrinsic(
            f"{name}.{suffix}", fnty=ir.FunctionType(kind, [kind] * len(arguments))
        )
        return Register(self.builder, self.builder.call(function, arguments))


def broadcast(builder: Any, scalar: Any) -> Any:
    """One number in every lane."""
    kind = ir.VectorType(scalar.type, LANES)
    one = builder.insert_element(ir.Constant(kind, ir.Undefined), scalar, ir.Constant(I32, 0))
    zeros = ir.Constant(ir.VectorType(I32, LANES), [ir.Constant(I32, 0)] * LANES)
    return builder.shuffle_vector(one, ir.Constant(kind, ir.Undefined), zeros)


def data_of(context: Any, builder: Any, array_type: Any, array: Any) -> Any:
    """Where a Numba array has its items."""
    return context.make_array(array_type)(context, builder, array).data


def _row(builder: Any, data: Any, row: int) -> Any:
    place = builder.gep(data, [ir.Constant(I64, row * LANES)])
    return builder.bitcast(place, VEC.as_pointer())


def load(builder: Any, data: Any, row: int) -> Any:
    """A row of LANES doubles."""
    return builder.load(_row(builder, data, row), align=8)


def store(builder: Any, data: Any, row: int, value: Any) -> None:
    """Write a row."""
    builder.store(value, _row(builder, data, row), align=8)


def whole_row(builder: Any, place: Any) -> Any:
    """A pointer to LANES words from one to the first of them."""
    return builder.bitcast(place, IVEC.as_pointer())


def bits(builder: Any, condition: Any) -> Any:
    """A condition of every lane as bits of a word."""
    return builder.zext(builder.bitcast(condition, MASK), I64)


def chosen(builder: Any, word: Any) -> Any:
    """Bits of a word as a condition of every lane."""
    return builder.bitcast(builder.trunc(word, MASK), ir.VectorType(ir.IntType(1), LANES))


def log2(builder: Any, value: Any) -> Any:
    """log2 of doubles ≥ √½, the same bits on every machine (libm's differ)."""
    pattern = builder.bitcast(value, IVEC)
    shifted = builder.sub(pattern, _whole(SQRT_HALF_BITS))
    exponent = builder.lshr(shifted, _whole(52))
    mantissa = builder.bitcast(builder.sub(pattern, builder.and_(shifted, _whole(EXPONENT_BITS))), VEC)
    # AVX2 has no conversion of 64-bit integers: a small one becomes a double by its place behind 2⁵².
    whole = builder.bitcast(builder.or_(exponent, _whole(TWO_52_BITS)), VEC)
    whole = builder.fsub(whole, constant(2.0**52))
    s = builder.fdiv(builder.fsub(mantissa, constant(1.0)), builder.fadd(mantissa, constant(1.0)))
    square = builder.fmul(s, s)
    series = constant(LOG2_TERMS[-1])
    for term in LOG2_TERMS[-2::-1]:
        series = builder.fadd(builder.fmul(series, square), constant(term))
    return builder.fadd(whole, builder.fmul(s, series))
