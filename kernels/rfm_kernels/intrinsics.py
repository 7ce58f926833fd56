"""What jitted code does that Numba has no word for: atomic words, pointers, bits, and pixels of a row, as many at
once as there are lanes.

With NUMBA_DISABLE_JIT=1 they are plain Python, so that coverage can be taken.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

from rfm_kernels.layout import NOT_ESCAPED, PENDING
from rfm_kernels.vectors import (
    F64,
    I32,
    I64,
    bits,
    broadcast,
    chosen,
    constant,
    data_of,
    load,
    vector,
)

__all__ = [
    "compiled",
    "mask_of",
    "offset",
    "ones",
    "over_row",
    "pointer",
    "poll",
    "publish",
    "trailing_zeros",
]

Emit = Callable[[Any, Any, Any, Any], Any]
F32 = ir.FloatType()


def compiled(emit: Emit, result: Any, arguments: str, plain: Callable[..., Any]) -> Any:
    """`emit` as a function that jitted code can call, or `plain` where nothing is jitted.

    Numba reads the number of parameters from the typing function itself, hence one for each count.
    """
    if config.DISABLE_JIT:
        return plain
    types_of = {"p": types.CPointer(types.float64), "w": types.Array(types.int64, 1, "C")}
    types_of |= {"i": types.int64, "f": types.float64, "q": types.CPointer(types.int64)}
    types_of |= {"n": types.Array(types.int32, 2, "A"), "s": types.Array(types.float32, 2, "A")}
    signature = result(*(types_of[letter] for letter in arguments))
    typing: dict[int, Callable[..., Any]] = {
        1: lambda _context, _a: (signature, emit),
        2: lambda _context, _a, _b: (signature, emit),
        3: lambda _context, _a, _b, _c: (signature, emit),
        4: lambda _context, _a, _b, _c, _d: (signature, emit),
        5: lambda _context, _a, _b, _c, _d, _e: (signature, emit),
        7: lambda _context, _a, _b, _c, _d, _e, _f, _g: (signature, emit),
        8: lambda _context, _a, _b, _c, _d, _e, _f, _g, _h: (signature, emit),
    }
    return intrinsic(typing[len(arguments)])


# --- as LLVM IR ---------------------------------------------------------------------------------------


def _emit_poll(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    return builder.load_atomic(data_of(context, builder, signature.args[0], args[0]), "monotonic", 8)


def _emit_publish(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    data = data_of(context, builder, signature.args[0], args[0])
    builder.store_atomic(args[2], builder.gep(data, [args[1]]), "monotonic", 8)
    return context.get_dummy_value()


def _emit_pointer(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    return data_of(context, builder, signature.args[0], args[0])


def _emit_offset(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
    return builder.gep(args[0], [args[1]])


def _emit_ones(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
    return builder.ctpop(args[0])


def _emit_trailing_zeros(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
    return builder.cttz(args[0], ir.Constant(ir.IntType(1), 1))


def _emit_is_run(lanes: int, _context: Any, builder: Any, _signature: Any, args: Any) -> Any:
    """Whether the pixels at some places are in a row of the frame, as far apart as these places."""
    places, which = args
    first = builder.cttz(which, ir.Constant(ir.IntType(1), 1))
    origin = builder.sub(builder.load(builder.gep(places, [first]), align=8), first)
    expected = builder.add(broadcast(builder, origin, lanes), ir.Constant(vector(I64, lanes), list(range(lanes))))
    other = builder.icmp_signed("!=", load(builder, places, lanes), expected)
    strangers = builder.and_(bits(builder, other), which)
    return builder.zext(builder.icmp_unsigned("==", strangers, ir.Constant(I64, 0)), I64)


def _emit_pending(lanes: int, context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Which of `lanes` counts in a row are of pixels to compute."""
    found = builder.load(_run(context, builder, signature, args, 0, vector(I32, lanes)), align=4)
    return bits(builder, builder.icmp_signed("==", found, ir.Constant(found.type, [PENDING] * lanes)))


def _emit_write_counts(lanes: int, context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Counts and fractions of some of `lanes` pixels in a row; the sum of these counts."""
    count, smooth = (load(builder, builder.gep(args[4], [args[k]]), lanes) for k in (5, 6))
    mask = chosen(builder, args[7], lanes)
    counts = builder.fptosi(count, vector(I32, lanes))
    fractions = builder.fptrunc(smooth, vector(F32, lanes))
    _masked_store(builder, fractions, _run(context, builder, signature, args, 1, fractions.type), mask)
    _masked_store(builder, counts, _run(context, builder, signature, args, 0, counts.type), mask)
    # The sum is exact: 64 counts below 2³¹.
    counted = builder.select(mask, count, constant(0.0, lanes))
    total = builder.module.declare_intrinsic(
        f"llvm.vector.reduce.fadd.v{lanes}f64", fnty=ir.FunctionType(F64, [F64, count.type])
    )
    return builder.fptosi(builder.call(total, [ir.Constant(F64, 0.0), counted], fastmath=("reassoc",)), I64)


def _emit_write_inside(lanes: int, context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Some of `lanes` pixels in a row do not escape."""
    mask = chosen(builder, args[4], lanes)
    nothing = ir.Constant(vector(F32, lanes), [0.0] * lanes)
    _masked_store(builder, nothing, _run(context, builder, signature, args, 1, nothing.type), mask)
    inside = ir.Constant(vector(I32, lanes), [NOT_ESCAPED] * lanes)
    _masked_store(builder, inside, _run(context, builder, signature, args, 0, inside.type), mask)
    return context.get_dummy_value()


def _run(context: Any, builder: Any, signature: Any, args: Any, which: int, kind: Any) -> Any:
    """Where items of array `which` begin; the arguments 2 and 3 are the row and the first column."""
    array_type = signature.args[which]
    array = context.make_array(array_type)(context, builder, args[which])
    item = cgutils.get_item_pointer(context, builder, array_type, array, [args[2], args[3]])
    return builder.bitcast(item, kind.as_pointer())


def _masked_store(builder: Any, value: Any, pointer: Any, mask: Any) -> None:
    kind, letter = value.type, "i32" if value.type.element == I32 else "f32"
    name = f"llvm.masked.store.v{kind.count}{letter}.p0v{kind.count}{letter}"
    arguments = [kind, pointer.type, I32, mask.type]
    function = builder.module.declare_intrinsic(name, fnty=ir.FunctionType(ir.VoidType(), arguments))
    builder.call(function, [value, pointer, ir.Constant(I32, 4), mask])


# --- in Python ------------------------------------------------------------------------------------------


def mask_of(condition: Any) -> int:
    return sum(1 << int(lane) for lane in np.flatnonzero(condition))


def _plain_poll(control: Any) -> int:
    return int(control[0])


def _plain_publish(counters: Any, index: int, value: int) -> None:
    counters[index] = value


def _plain_pending(lanes: int, n: Any, _nf: Any, y: int, x: int) -> int:
    return mask_of(n[y, x : x + lanes] == PENDING)


def _plain_write_counts(
    lanes: int, n: Any, nf: Any, y: int, x: int, work: Any, count: int, smooth: int, mask: int
) -> int:
    total = 0
    for lane in range(lanes):
        if (mask >> lane) & 1:
            nf[y, x + lane], n[y, x + lane] = work[smooth + lane], int(work[count + lane])
            total += int(work[count + lane])
    return total


def _plain_write_inside(lanes: int, n: Any, nf: Any, y: int, x: int, mask: int) -> None:
    for lane in range(lanes):
        if (mask >> lane) & 1:
            nf[y, x + lane], n[y, x + lane] = 0.0, NOT_ESCAPED


def _plain_is_run(lanes: int, places: Any, which: int) -> int:
    return int(len({int(places[lane]) - lane for lane in range(lanes) if (which >> lane) & 1}) == 1)


def _plain_pointer(array: Any) -> Any:
    return array


def _plain_offset(array: Any, count: int) -> Any:
    return array[count:]


def _plain_ones(word: int) -> int:
    return int(word).bit_count()


def _plain_trailing_zeros(word: int) -> int:
    return (int(word) & -int(word)).bit_length() - 1


# --- for jitted code --------------------------------------------------------------------------------------


poll = compiled(_emit_poll, types.int64, "w", _plain_poll)
offset = compiled(_emit_offset, types.CPointer(types.int64), "qi", _plain_offset)
ones = compiled(_emit_ones, types.int64, "i", _plain_ones)
trailing_zeros = compiled(_emit_trailing_zeros, types.int64, "i", _plain_trailing_zeros)
publish = compiled(_emit_publish, types.void, "wii", _plain_publish)


def over_row(lanes: int) -> dict[str, Any]:
    """The functions over as many pixels of a row as there are lanes, by name."""

    def of_lanes(emit: Callable[..., Any], result: Any, arguments: str, plain: Callable[..., Any]) -> Any:
        def emit_row(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            return emit(lanes, context, builder, signature, args)

        return compiled(emit_row, result, arguments, partial(plain, lanes))

    return {
        "pending": of_lanes(_emit_pending, types.int64, "nsii", _plain_pending),
        "write_counts": of_lanes(_emit_write_counts, types.int64, "nsiipiii", _plain_write_counts),
        "write_inside": of_lanes(_emit_write_inside, types.void, "nsiii", _plain_write_inside),
        "is_run": of_lanes(_emit_is_run, types.int64, "qi", _plain_is_run),
    }


def _pointers() -> Any:
    """`pointer(array)`: where its items are, for jitted code. Numba looks at each index of an array for a negative one,
    and hands an array on in seven words; in code that moves words about that was a third of all instructions.
    """
    if config.DISABLE_JIT:
        return _plain_pointer

    def typing(_context: Any, array: Any) -> Any:
        return types.CPointer(array.dtype)(array), _emit_pointer

    return intrinsic(typing)


pointer = _pointers()
