"""Vector code of the escape-time kernels, written as LLVM IR over <LANES x double>.

LLVM does not vectorise a loop that ends when its data says so, and its vectoriser drops a loop for
reasons that change between releases; IR over explicit vectors leaves neither to chance. Two pipelines hide
the latency of one step behind four registers of four doubles, so 16 lanes suit AVX2 and 32 suit AVX-512;
results do not depend on the width. No fast-math flag anywhere: escaped lanes run to infinity and NaN and
must compare false, and a contracted multiply-add would change last bits between CPUs.

With NUMBA_DISABLE_JIT=1 the same functions are plain NumPy, so that coverage can be taken.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import binding, ir
from numba import config, types
from numba.extending import intrinsic

__all__ = [
    "BLOCK",
    "LANES",
    "POOL",
    "QUEUE",
    "ROWS",
    "SCRATCH",
    "advance",
    "interior",
    "poll",
    "publish",
    "settle",
    "trailing_zeros",
    "watch",
]

LANES = 32 if binding.get_host_cpu_features().get("avx512f", False) else 16
BLOCK = 8
"""Iterations between two looks at the lanes."""

# The workspace begins with rows of LANES doubles.
POOL = 0
"""zr zi cr ci, zr zi at the start of the block, zr zi at the checkpoint, block of the next checkpoint."""
QUEUE = 9
"""zr zi cr ci, iterations allowed, iterations done, smooth fraction."""
SCRATCH = 16
"""x y of pixels to test for the interior."""
ROWS = 18

F64 = ir.DoubleType()
I64 = ir.IntType(64)
VEC = ir.VectorType(F64, LANES)
IVEC = ir.VectorType(I64, LANES)
MASK = ir.IntType(LANES)

Emit = Callable[[Any, Any, Any, Any], Any]

# log2(m) = 2/ln 2 · artanh((m - 1)/(m + 1)) for m in [√½, √2): odd powers up to 17 leave 1e-15.
LOG2_TERMS = tuple(2.0 / (np.log(2.0) * k) for k in range(1, 18, 2))
SQRT_HALF_BITS = 0x3FE6A09E667F3BCD
EXPONENT_BITS = 0xFFF0000000000000 - (1 << 64)
TWO_52_BITS = 0x4330000000000000
NF_MAX = 1.0 - 2.0**-24
"""Largest float32 below 1."""


def _splat(value: float) -> Any:
    return ir.Constant(VEC, [ir.Constant(F64, value)] * LANES)


def _isplat(value: int) -> Any:
    return ir.Constant(IVEC, [ir.Constant(I64, value)] * LANES)


def _broadcast(builder: Any, scalar: Any) -> Any:
    one = builder.insert_element(ir.Constant(VEC, ir.Undefined), scalar, ir.Constant(ir.IntType(32), 0))
    zeros = ir.Constant(ir.VectorType(ir.IntType(32), LANES), [ir.Constant(ir.IntType(32), 0)] * LANES)
    return builder.shuffle_vector(one, ir.Constant(VEC, ir.Undefined), zeros)


def _data(context: Any, builder: Any, array_type: Any, array: Any) -> Any:
    return context.make_array(array_type)(context, builder, array).data


def _row(builder: Any, data: Any, row: int) -> Any:
    place = builder.gep(data, [ir.Constant(I64, row * LANES)])
    return builder.bitcast(place, VEC.as_pointer())


def _load(builder: Any, data: Any, row: int) -> Any:
    return builder.load(_row(builder, data, row), align=8)


def _store(builder: Any, data: Any, row: int, value: Any) -> None:
    builder.store(value, _row(builder, data, row), align=8)


def _bits(builder: Any, condition: Any) -> Any:
    return builder.zext(builder.bitcast(condition, MASK), I64)


def _norm(builder: Any, zr: Any, zi: Any) -> Any:
    return builder.fadd(builder.fmul(zr, zr), builder.fmul(zi, zi))


def _step(builder: Any, zr: Any, zi: Any, cr: Any, ci: Any) -> tuple[Any, Any]:
    """z² + c in the scalar kernel's order of operations."""
    real = builder.fsub(builder.fmul(zr, zr), builder.fmul(zi, zi))
    imag = builder.fmul(builder.fadd(zr, zr), zi)
    return builder.fadd(real, cr), builder.fadd(imag, ci)


def _log2(builder: Any, value: Any) -> Any:
    """log2 of doubles ≥ √½, the same bits on every machine (libm's differ)."""
    bits = builder.bitcast(value, IVEC)
    shifted = builder.sub(bits, _isplat(SQRT_HALF_BITS))
    exponent = builder.lshr(shifted, _isplat(52))
    mantissa = builder.bitcast(builder.sub(bits, builder.and_(shifted, _isplat(EXPONENT_BITS))), VEC)
    # AVX2 has no conversion of 64-bit integers: a small one becomes a double by its place behind 2⁵².
    whole = builder.bitcast(builder.or_(exponent, _isplat(TWO_52_BITS)), VEC)
    whole = builder.fsub(whole, _splat(2.0**52))
    s = builder.fdiv(builder.fsub(mantissa, _splat(1.0)), builder.fadd(mantissa, _splat(1.0)))
    square = builder.fmul(s, s)
    series = _splat(LOG2_TERMS[-1])
    for term in LOG2_TERMS[-2::-1]:
        series = builder.fadd(builder.fmul(series, square), _splat(term))
    return builder.fadd(whole, builder.fmul(s, series))


def _emit_advance(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    data = _data(context, builder, signature.args[0], args[0])
    limit, safe = args[1], _broadcast(builder, args[2])
    cr, ci = _load(builder, data, 2), _load(builder, data, 3)
    zr0, zi0 = _load(builder, data, 0), _load(builder, data, 1)
    before = builder.block
    loop, done = builder.append_basic_block("blocks"), builder.append_basic_block("done")
    builder.branch(loop)
    builder.position_at_end(loop)
    zr, zi, count = builder.phi(VEC), builder.phi(VEC), builder.phi(I64)
    _store(builder, data, 4, zr)
    _store(builder, data, 5, zi)
    new_zr, new_zi = zr, zi
    for _ in range(BLOCK):
        new_zr, new_zi = _step(builder, new_zr, new_zi, cr, ci)
    bad = _bits(builder, builder.fcmp_unordered(">", _norm(builder, new_zr, new_zi), safe))
    new_count = builder.add(count, ir.Constant(I64, 1))
    quiet = builder.icmp_unsigned("==", bad, ir.Constant(I64, 0))
    more = builder.and_(quiet, builder.icmp_signed("<", new_count, limit))
    for phi, start, value in ((zr, zr0, new_zr), (zi, zi0, new_zi), (count, ir.Constant(I64, 0), new_count)):
        phi.add_incoming(start, before)
        phi.add_incoming(value, loop)
    builder.cbranch(more, loop, done)
    builder.position_at_end(done)
    _store(builder, data, 0, new_zr)
    _store(builder, data, 1, new_zi)
    return builder.or_(builder.shl(new_count, ir.Constant(I64, 32)), bad)


def _emit_settle(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    data = _data(context, builder, signature.args[0], args[0])
    bailout2, scale = _broadcast(builder, args[1]), _broadcast(builder, args[2])
    zr, zi, cr, ci, allowed = (_load(builder, data, QUEUE + row) for row in range(5))
    done = _splat(0.0)
    for k in range(BLOCK):
        inside = builder.fcmp_ordered("<=", _norm(builder, zr, zi), bailout2)
        going = builder.and_(inside, builder.fcmp_ordered("<", _splat(float(k)), allowed))
        new_zr, new_zi = _step(builder, zr, zi, cr, ci)
        zr, zi = builder.select(going, new_zr, zr), builder.select(going, new_zi, zi)
        done = builder.fadd(done, builder.select(going, _splat(1.0), _splat(0.0)))
    norm = _norm(builder, zr, zi)
    escaped = builder.fcmp_unordered(">", norm, bailout2)
    ratio = builder.fmul(_log2(builder, builder.select(escaped, norm, _splat(4.0))), scale)
    smooth = builder.fsub(_splat(1.0), _log2(builder, builder.select(escaped, ratio, _splat(1.0))))
    smooth = builder.select(builder.fcmp_ordered(">", smooth, _splat(0.0)), smooth, _splat(0.0))
    smooth = builder.select(builder.fcmp_ordered("<", smooth, _splat(NF_MAX)), smooth, _splat(NF_MAX))
    for row, value in ((0, zr), (1, zi), (5, done), (6, smooth)):
        _store(builder, data, QUEUE + row, value)
    return _bits(builder, escaped)


def _emit_watch(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    data = _data(context, builder, signature.args[0], args[0])
    tick, near2 = _broadcast(builder, args[1]), _broadcast(builder, args[2])
    zr, zi = _load(builder, data, 0), _load(builder, data, 1)
    dr = builder.fsub(zr, _load(builder, data, 6))
    di = builder.fsub(zi, _load(builder, data, 7))
    near = _bits(builder, builder.fcmp_ordered("<", _norm(builder, dr, di), near2))
    due = _bits(builder, builder.fcmp_ordered("<=", _load(builder, data, 8), tick))
    return builder.or_(builder.shl(near, ir.Constant(I64, 32)), due)


def _emit_interior(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    data = _data(context, builder, signature.args[0], args[0])
    margin = _splat(1e-13)
    x, y = _load(builder, data, SCRATCH), _load(builder, data, SCRATCH + 1)
    y2 = builder.fmul(y, y)
    shifted = builder.fsub(x, _splat(0.25))
    q = builder.fadd(builder.fmul(shifted, shifted), y2)
    cardioid = builder.fmul(q, builder.fadd(q, shifted))
    in_cardioid = builder.fcmp_ordered("<", builder.fadd(cardioid, margin), builder.fmul(y2, _splat(0.25)))
    right = builder.fadd(x, _splat(1.0))
    disc = builder.fadd(builder.fmul(right, right), y2)
    in_disc = builder.fcmp_ordered("<", builder.fadd(disc, margin), _splat(0.0625))
    return _bits(builder, builder.or_(in_cardioid, in_disc))


def _emit_poll(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    return builder.load_atomic(_data(context, builder, signature.args[0], args[0]), "monotonic", 8)


def _emit_publish(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    data = _data(context, builder, signature.args[0], args[0])
    builder.store_atomic(args[2], builder.gep(data, [args[1]]), "monotonic", 8)
    return context.get_dummy_value()


def _emit_trailing_zeros(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
    return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))


def _rows(work: Any, first: int, end: int) -> Any:
    return work[first * LANES : end * LANES].reshape(end - first, LANES)


def _norm_of(rows: Any) -> Any:
    return rows[0] * rows[0] + rows[1] * rows[1]


def _mask_of(condition: Any) -> int:
    return sum(1 << int(lane) for lane in np.flatnonzero(condition))


def _step_of(rows: Any) -> Any:
    zr, zi, cr, ci = rows[:4]
    return np.stack([zr * zr - zi * zi + cr, (zr + zr) * zi + ci])


def _plain_advance(work: Any, limit: int, safe: float) -> int:
    rows, count, bad = _rows(work, POOL, QUEUE), 0, 0
    with np.errstate(all="ignore"):
        while count < limit and not bad:
            rows[4:6] = rows[:2]
            for _ in range(BLOCK):
                rows[:2] = _step_of(rows)
            bad = _mask_of(~(_norm_of(rows) <= safe))
            count += 1
    return (count << 32) | bad


def _plain_settle(work: Any, bailout2: float, scale: float) -> int:
    rows = _rows(work, QUEUE, SCRATCH)
    rows[5] = 0.0
    with np.errstate(all="ignore"):
        for k in range(BLOCK):
            going = (_norm_of(rows) <= bailout2) & (k < rows[4])
            rows[:2] = np.where(going, _step_of(rows), rows[:2])
            rows[5] += going
        norm = _norm_of(rows)
        escaped = ~(norm <= bailout2)
        ratio = np.where(escaped, np.log2(np.where(escaped, norm, 4.0)) * scale, 1.0)
        rows[6] = np.clip(1.0 - np.log2(ratio), 0.0, NF_MAX)
    return _mask_of(escaped)


def _plain_watch(work: Any, tick: float, near2: float) -> int:
    rows = _rows(work, POOL, QUEUE)
    near = (rows[0] - rows[6]) ** 2 + (rows[1] - rows[7]) ** 2 < near2
    return (_mask_of(near) << 32) | _mask_of(rows[8] <= tick)


def _plain_interior(work: Any) -> int:
    x, y = _rows(work, SCRATCH, ROWS)
    q = (x - 0.25) ** 2 + y * y
    cardioid = q * (q + (x - 0.25)) + 1e-13 < y * y * 0.25
    return _mask_of(cardioid | ((x + 1.0) ** 2 + y * y + 1e-13 < 0.0625))


def _plain_poll(control: Any) -> int:
    return int(control[0])


def _plain_publish(counters: Any, index: int, value: int) -> None:
    counters[index] = value


def _plain_trailing_zeros(word: int) -> int:
    return (int(word) & -int(word)).bit_length() - 1


def _compiled(emit: Emit, result: Any, arguments: str, plain: Callable[..., Any]) -> Any:
    """`emit` as a function that jitted code can call, or `plain` where nothing is jitted.

    Numba reads the number of parameters from the typing function itself, hence one for each count.
    """
    if config.DISABLE_JIT:
        return plain
    types_of = {"p": types.Array(types.float64, 1, "C"), "w": types.Array(types.int64, 1, "C")}
    types_of |= {"i": types.int64, "f": types.float64}
    signature = result(*(types_of[letter] for letter in arguments))
    typing: dict[int, Callable[..., Any]] = {
        1: lambda _context, _a: (signature, emit),
        3: lambda _context, _a, _b, _c: (signature, emit),
    }
    return intrinsic(typing[len(arguments)])


advance = _compiled(_emit_advance, types.int64, "pif", _plain_advance)
settle = _compiled(_emit_settle, types.int64, "pff", _plain_settle)
watch = _compiled(_emit_watch, types.int64, "pff", _plain_watch)
interior = _compiled(_emit_interior, types.int64, "p", _plain_interior)
poll = _compiled(_emit_poll, types.int64, "w", _plain_poll)
trailing_zeros = _compiled(_emit_trailing_zeros, types.int64, "i", _plain_trailing_zeros)
publish = _compiled(_emit_publish, types.void, "wii", _plain_publish)
