"""The vector part of the escape-time kernels, for a formula: blocks of iterations over all lanes at once.

`Layout` says where in the workspace of doubles what stands. `vector_code` writes the functions for a formula as LLVM
IR; with NUMBA_DISABLE_JIT=1 they are plain NumPy, so that coverage can be taken.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, NamedTuple

import numpy as np
from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

from rfm_kernels.duals import Dual
from rfm_kernels.formulas import Formula
from rfm_kernels.vectors import (
    F64,
    I32,
    I64,
    IVEC,
    LANES,
    VEC,
    Register,
    bits,
    broadcast,
    chosen,
    constant,
    data_of,
    load,
    log2,
    store,
)

__all__ = [
    "BLOCK",
    "LANES",
    "NOT_ESCAPED",
    "PENDING",
    "Layout",
    "is_run",
    "layout",
    "offset",
    "ones",
    "pending",
    "pointer",
    "poll",
    "publish",
    "scalar_code",
    "trailing_zeros",
    "vector_code",
    "write_counts",
    "write_inside",
]

BLOCK = 8
"""Iterations between two looks at the lanes."""

PENDING = -2
"""Count of a pixel to compute."""
NOT_ESCAPED = -1
"""Count of a pixel that stayed within the bailout radius for max_iter iterations."""

MOST_PARAMETERS = 72

READY = 4 * LANES
"""A pixel is in a lane, in the queue or ready, and new ones are taken only when none is ready: 3 LANES."""

Emit = Callable[[Any, Any, Any, Any], Any]


class Layout(NamedTuple):
    """Rows of LANES doubles, then what is not one a lane.

    words: of z; state: words and their derivatives, `slopes` of each. The pool begins at row 0: state, c, the state at
    the start of the block, z at the checkpoint, the block of the next checkpoint (`due`), of the end (infinite of a
    free lane) and of the beginning (`born`), the count when the block was 0 (`base`). Then two queues, of pixels that come from the pool and of new ones: state, c, and `allowed`, `count`, `smooth` and `far`
    from their beginnings: iterations left, iterations done, smooth fraction, distance. scratch: x y of pixels. stack,
    initial, constants, doubles are offsets: of ready pixels, of a pixel's first state, of constants, of the end.
    """

    words: int
    state: int
    slopes: int
    saved: int
    check: int
    due: int
    end: int
    born: int
    base: int
    queue: int
    fresh: int
    allowed: int
    count: int
    smooth: int
    far: int
    scratch: int
    stack: int
    initial: int
    constants: int
    doubles: int


LIMIT, SCALE, DEGREE_SCALE, SEED, PER_PIXEL, ALLOWED, TWO = range(7)
"""Of CONSTANTS: when a pixel is done, 1/log2 of that, 1/log2 of the degree, 1 where c moves and 0 where z₀ does, pixels
to a unit of the plane, how much of the first block is left to a pixel."""
VIEW = 8
"""Of CONSTANTS: re0 im0, four of the matrix, c of a Julia set, the step's parameters."""
PARAMETERS = VIEW + 8


def layout(formula: Formula, *, derivative: bool) -> Layout:
    """Where what stands."""
    slopes = 0 if not derivative else 1 if formula.holomorphic else 2
    state = formula.words * (1 + slopes)
    saved = state + 2
    check = saved + state
    due = check + formula.words
    queue = due + 4
    allowed = state + 2
    fresh = queue + allowed + 5
    scratch = fresh + allowed + 5
    stack = (scratch + 2) * LANES
    initial = stack + (state + 2) * READY
    constants = initial + state
    doubles = constants + PARAMETERS + MOST_PARAMETERS
    return Layout(
        words=formula.words, state=state, slopes=slopes, saved=saved, check=check, due=due, end=due + 1, born=due + 2,
        base=due + 3, queue=queue, fresh=fresh, allowed=allowed, count=allowed + 1, smooth=allowed + 2, far=allowed + 3, scratch=scratch,
        stack=stack, initial=initial, constants=constants, doubles=doubles,
    )  # fmt: skip


# --- a step of the state, for whatever the numbers are ----------------------------------------------


def _stepped(
    formula: Formula, place: Layout, state: Sequence[Any], c: Sequence[Any], p: Sequence[Any], seed: Any
) -> list[Any]:
    """The next state. Derivatives of word k are state[words + k·slopes …]."""
    words, slopes = place.words, place.slopes
    if not slopes:
        return list(formula.step(tuple(state), tuple(c), tuple(p)))
    z = tuple(Dual(state[k], tuple(state[words + k * slopes : words + (k + 1) * slopes])) for k in range(words))
    moving = tuple(Dual(c[k], tuple(seed if direction == k else 0 for direction in range(slopes))) for k in range(2))
    after = formula.step(z, moving, tuple(p))
    if formula.trapped:
        # Nobody asks how a trap's distance changes, and following it would take registers.
        after = (*after[:-1], Dual(after[-1].value, (0,) * slopes))
    return [one.value for one in after] + [slope for one in after for slope in one.slopes]


def _distance(place: Layout, state: Sequence[Any], log2_norm: Any, norm: Any) -> tuple[Any, Any]:
    """2|z| ln|z| over the gradient of |z|, as a vector away from the set: the distance estimate and its direction."""
    words = place.words
    x, y = state[0], state[1]
    if place.slopes == 1:
        # Of a holomorphic step the other direction is a turn by a quarter.
        along, across = (state[words], state[words + 1]), (-state[words + 1], state[words])
    else:
        along, across = (state[words], state[words + 2]), (state[words + 1], state[words + 3])
    # The gradient times |z|.
    gx, gy = along[0] * x + along[1] * y, across[0] * x + across[1] * y
    factor = norm * log2_norm * float(np.log(2.0)) / (gx * gx + gy * gy)
    return gx * factor, gy * factor


# --- as LLVM IR ---------------------------------------------------------------------------------------


class _Code:
    """What the functions of one formula have in common while they are written."""

    def __init__(self, formula: Formula, place: Layout, builder: Any, args: Any) -> None:
        self.formula, self.place, self.builder, self.args = formula, place, builder, args
        self.data = args[0]

    def rows(self, first: int, count: int) -> list[Register]:
        return [self.row(first + k) for k in range(count)]

    def row(self, number: int) -> Register:
        return Register(self.builder, load(self.builder, self.data, number))

    def constant(self, number: int) -> Register:
        at = self.builder.gep(self.data, [ir.Constant(I64, self.place.constants + number)])
        return Register(self.builder, broadcast(self.builder, self.builder.load(at, align=8)))

    def parameters(self) -> list[Register]:
        return [self.constant(PARAMETERS + k) for k in range(self.formula.parameters)]

    def seed(self) -> Any:
        return self.constant(SEED) if self.place.slopes else 0

    def stepped(self, state: Sequence[Any], c: Sequence[Any], p: Sequence[Any], seed: Any) -> list[Any]:
        new = _stepped(self.formula, self.place, state, c, p, seed)
        zero = Register(self.builder, constant(0.0))
        return [zero if isinstance(value, int) else value for value in new]

    def size(self, state: Sequence[Any]) -> Any:
        """|z|², or how far the last step has moved it, squared."""
        if self.formula.converges:
            dx, dy = state[0] - state[2], state[1] - state[3]
            return dx * dx + dy * dy
        return state[0] * state[0] + state[1] * state[1]

    def over(self, size: Any, limit: Any) -> Any:
        """Whether a pixel of this size is done: farther out than the limit, or moved by less. NaN is."""
        sign = "<" if self.formula.converges else ">"
        return self.builder.fcmp_unordered(sign, size.value, limit.value)


def _emit_advance(code: _Code) -> Any:
    """Blocks until a lane seems to be done, or `limit` of them: (blocks << 32) | lanes."""
    builder, place = code.builder, code.place
    limit, safe = code.args[1], Register(builder, broadcast(builder, code.args[2]))
    c, p, seed = code.rows(place.state, 2), code.parameters(), code.seed()
    state0 = code.rows(0, place.state)
    # What free lanes compute is nobody's.
    taken = builder.fcmp_ordered("<", code.row(place.end).value, constant(float("inf")))
    before = builder.block
    loop, done = builder.append_basic_block("blocks"), builder.append_basic_block("done")
    builder.branch(loop)
    builder.position_at_end(loop)
    phis, count = [builder.phi(VEC) for _ in state0], builder.phi(I64)
    for k, phi in enumerate(phis):
        store(builder, code.data, place.saved + k, phi)
    state: list[Any] = [Register(builder, phi) for phi in phis]
    over = ir.Constant(ir.VectorType(ir.IntType(1), LANES), None)
    # A step of z² + c adds more than it multiplies, and most CPUs have as many units for the one as for the other.
    # LLVM would make an addition of 2·x again if it knew the 2.
    two = code.constant(TWO).value
    for k in range(BLOCK):
        if not code.formula.converges and k == BLOCK - 1:
            # Before the last step, whose squares these are. What dies in it is seen a block later, and is counted
            # right: it is done before that block begins.
            over = code.over(code.size(state), safe)
        state = code.stepped([Register(builder, one.value, two if k % 2 == 0 else None) for one in state], c, p, seed)
        if code.formula.converges:
            # What has come to rest may be moved on: each step is looked at.
            over = builder.or_(over, code.over(code.size(state), safe))
    bad = bits(builder, builder.and_(over, taken))
    new_count = builder.add(count, ir.Constant(I64, 1))
    quiet = builder.icmp_unsigned("==", bad, ir.Constant(I64, 0))
    more = builder.and_(quiet, builder.icmp_signed("<", new_count, limit))
    for phi, start, value in zip(phis, state0, state, strict=True):
        phi.add_incoming(start.value, before)
        phi.add_incoming(value.value, loop)
    count.add_incoming(ir.Constant(I64, 0), before)
    count.add_incoming(new_count, loop)
    builder.cbranch(more, loop, done)
    builder.position_at_end(done)
    for k, value in enumerate(state):
        store(builder, code.data, k, value.value)
    return builder.or_(builder.shl(new_count, ir.Constant(I64, 32)), bad)


def _emit_begin(code: _Code) -> Any:
    """Fill the queue of new pixels: the first state and c of those whose x y in the frame are in scratch."""
    builder, place = code.builder, code.place
    column, row = code.rows(place.scratch, 2)
    re0, im0, xx, xy, yx, yy, julia_re, julia_im = (code.constant(VIEW + k) for k in range(8))
    pixel = re0 + (xx * column + xy * row), im0 + (yx * column + yy * row)
    is_julia = builder.fcmp_ordered("==", code.constant(SEED).value, constant(0.0))
    for k, of_julia in enumerate((julia_re, julia_im)):
        moving = builder.select(is_julia, of_julia.value, pixel[k].value)
        store(builder, code.data, place.fresh + place.state + k, moving)
    for k in range(place.state):
        first = broadcast(builder, builder.load(builder.gep(code.data, [ir.Constant(I64, place.initial + k)])))
        if k < 2:
            first = builder.select(is_julia, pixel[k].value, first)
        store(builder, code.data, place.fresh + k, first)
    store(builder, code.data, place.fresh + place.count, constant(0.0))
    store(builder, code.data, place.fresh + place.allowed, code.constant(ALLOWED).value)
    return ir.Constant(I64, 0)


def _emit_settle(code: _Code) -> Any:
    """The last block again of some of a queue, or their first, counted: (lanes whose time is up << 32) | lanes done."""
    builder, place = code.builder, code.place
    limit, scale, degree_scale = code.constant(LIMIT), code.constant(SCALE), code.constant(DEGREE_SCALE)
    p, seed = code.parameters(), code.seed()
    code.data = builder.gep(code.data, [code.args[1]])
    state, c = code.rows(0, place.state), code.rows(place.state, 2)
    allowed, count = code.row(place.allowed), code.row(place.count)
    last, before = limit, limit
    going = chosen(builder, code.args[2])

    def where(condition: Any, one: Register, other: Register) -> Register:
        return Register(builder, builder.select(condition, one.value, other.value))

    early = []
    for k in range(BLOCK):
        size = code.size(state)
        last = where(going, size, last)
        going = builder.and_(going, builder.not_(code.over(size, limit)))
        going = builder.and_(going, builder.fcmp_ordered("<", constant(float(k)), allowed.value))
        if k == BLOCK // 2:
            # Far outside all are done by now, and at the end of the iterations.
            more, end = builder.append_basic_block("more"), builder.append_basic_block("end")
            builder.cbranch(builder.icmp_unsigned("==", bits(builder, going), ir.Constant(I64, 0)), end, more)
            early = [builder.block, *state, last, before, count]
            builder.position_at_end(more)
        before = where(going, size, before)
        new = code.stepped(state, c, p, seed)
        # Without slopes nobody asks for the last z, and a state that goes on comes to the end of the block.
        state = [where(going, one, old) for one, old in zip(new, state, strict=True)] if place.slopes else new
        count += where(going, Register(builder, constant(1.0)), Register(builder, constant(0.0)))
    last = where(going, code.size(state), last)
    late = [builder.block, *state, last, before, count]
    builder.branch(end)
    builder.position_at_end(end)
    merged = [Register(builder, builder.phi(VEC)) for _ in late[1:]]
    for block, *values in (early, late):
        for phi, value in zip(merged, values, strict=True):
            phi.value.add_incoming(value.value, block)
    *state, last, before, count = merged
    max_iter = broadcast(builder, code.args[3])
    # A lane may have run past its end, and escaped there.
    size, over = last, builder.and_(code.over(last, limit), builder.fcmp_ordered("<=", count.value, max_iter))

    def log2_of(value: Register, elsewhere: float) -> Register:
        return Register(builder, log2(builder, builder.select(over, value.value, constant(elsewhere))))

    if code.formula.converges:
        # Between the last step that was too long and the first that was not, on a logarithmic scale: continuous
        # however it converges, and most maps of `nova` do so linearly.
        log_size = log2_of(before / limit, 1.0)
        smooth = log_size / log2_of(before / size, 2.0)
    else:
        log_size = log2_of(size, 4.0)
        ratio = builder.select(over, (log_size * scale).value, constant(1.0))
        smooth = 1.0 - Register(builder, log2(builder, ratio)) * degree_scale
    for k, value in enumerate(state):
        store(builder, code.data, k, value.value)
    store(builder, code.data, place.count, count.value)
    store(builder, code.data, place.smooth, smooth.value)
    if place.slopes:
        away = _distance(place, state, log_size, size)
        for k, part in enumerate(away):
            store(builder, code.data, place.far + k, part.value)
    spent = builder.fcmp_ordered(">=", count.value, max_iter)
    spent = builder.and_(builder.and_(spent, builder.not_(over)), chosen(builder, code.args[2]))
    return builder.or_(builder.shl(bits(builder, spent), ir.Constant(I64, 32)), bits(builder, over))


def _emit_watch(code: _Code) -> Any:
    """(lanes near their checkpoint << 32) | lanes whose next checkpoint is due."""
    builder, place = code.builder, code.place
    tick, near2 = broadcast(builder, code.args[1]), broadcast(builder, code.args[2])
    apart = None
    for k in range(place.words):
        difference = code.row(k) - code.row(place.check + k)
        apart = difference * difference if apart is None else apart + difference * difference
    near = bits(builder, builder.fcmp_ordered("<=", (apart or code.row(0)).value, near2))
    due = bits(builder, builder.fcmp_ordered("<=", code.row(place.due).value, tick))
    return builder.or_(builder.shl(near, ir.Constant(I64, 32)), due)


def _emit_ended(code: _Code) -> Any:
    """Lanes whose last block was before."""
    ended = code.builder.fcmp_ordered("<=", code.row(code.place.end).value, broadcast(code.builder, code.args[1]))
    return bits(code.builder, ended)


def _emit_next_end(code: _Code) -> Any:
    """The last end of a lane that is at most `slack` after the first."""
    builder, ends = code.builder, code.row(code.place.end)

    def extreme(kind: str, values: Any) -> Any:
        name = f"llvm.vector.reduce.{kind}.v{LANES}f64"
        function = builder.module.declare_intrinsic(name, fnty=ir.FunctionType(F64, [VEC]))
        return builder.call(function, [values], fastmath=("nnan",))

    latest = broadcast(builder, builder.fadd(extreme("fmin", ends.value), code.args[1]))
    soon = builder.fcmp_ordered("<=", ends.value, latest)
    return extreme("fmax", builder.select(soon, ends.value, constant(0.0)))


def _emit_load_lanes(code: _Code) -> Any:
    """Lanes take the new pixels at the same places."""
    builder, place = code.builder, code.place
    _, places, mask, block, base, end, due = code.args
    mask = chosen(builder, mask)
    rows = [(k, load(builder, code.data, place.fresh + k)) for k in range(place.state + 2)]
    rows += [(place.check, constant(float("inf")))]
    numbers = ((place.due, due), (place.end, end), (place.born, block), (place.base, base))
    rows += [(row, broadcast(builder, number)) for row, number in numbers]
    for row, value in rows:
        store(builder, code.data, row, builder.select(mask, value, load(builder, code.data, row)))
    at, new_at = (_whole_row(builder, builder.gep(places, [ir.Constant(I64, k * LANES)])) for k in range(2))
    builder.store(builder.select(mask, builder.load(new_at, align=8), builder.load(at, align=8)), at, align=8)
    return ir.Constant(I64, 0)


def _whole_row(builder: Any, place: Any) -> Any:
    return builder.bitcast(place, IVEC.as_pointer())


def _emit_is_run(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
    """Whether pixels at some places are as far apart as these."""
    places, which = args
    first = builder.cttz(which, ir.Constant(ir.IntType(1), 1))
    origin = builder.sub(builder.load(builder.gep(places, [first]), align=8), first)
    start = builder.insert_element(ir.Constant(IVEC, ir.Undefined), origin, ir.Constant(I32, 0))
    zeros = ir.Constant(ir.VectorType(I32, LANES), [0] * LANES)
    ramp = ir.Constant(IVEC, list(range(LANES)))
    expected = builder.add(builder.shuffle_vector(start, ir.Constant(IVEC, ir.Undefined), zeros), ramp)
    other = builder.icmp_signed("!=", builder.load(_whole_row(builder, places), align=8), expected)
    return builder.zext(builder.icmp_unsigned("==", builder.and_(bits(builder, other), which), ir.Constant(I64, 0)), I64)


def _emit_line(code: _Code) -> Any:
    """New pixels: LANES in a row from a place in the frame on."""
    builder, place = code.builder, code.place
    ramp = ir.Constant(VEC, [ir.Constant(F64, float(k)) for k in range(LANES)])
    store(builder, code.data, place.scratch, builder.fadd(broadcast(builder, code.args[1]), ramp))
    store(builder, code.data, place.scratch + 1, broadcast(builder, code.args[2]))
    return ir.Constant(I64, 0)


def _emit_interior(code: _Code) -> Any:
    """Which of the pixels among the new ones lie in the cardioid or the disc of period 2 of the Mandelbrot set."""
    builder = code.builder
    x, y = code.rows(code.place.fresh + code.place.state, 2)
    y2 = y * y
    shifted = x - 0.25
    q = shifted * shifted + y2
    cardioid = q * (q + shifted) + 1e-13
    in_cardioid = builder.fcmp_ordered("<", cardioid.value, (y2 * 0.25).value)
    right = x + 1.0
    disc = right * right + y2 + 1e-13
    in_disc = builder.fcmp_ordered("<", disc.value, constant(0.0625))
    return bits(builder, builder.or_(in_cardioid, in_disc))


def _emit_pending(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Which of LANES counts in a row are of pixels to compute."""
    found = builder.load(_run(context, builder, signature, args, 0, I32), align=4)
    return bits(builder, builder.icmp_signed("==", found, ir.Constant(found.type, [PENDING] * LANES)))


def _emit_write_counts(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Counts and fractions of some of LANES pixels in a row; the sum of these counts."""
    count, smooth = (load(builder, builder.gep(args[4], [args[k]]), 0) for k in (5, 6))
    mask = chosen(builder, args[7])
    counts = builder.fptosi(count, ir.VectorType(I32, LANES))
    fractions = builder.fptrunc(smooth, ir.VectorType(ir.FloatType(), LANES))
    _masked_store(builder, fractions, _run(context, builder, signature, args, 1, ir.FloatType()), mask)
    _masked_store(builder, counts, _run(context, builder, signature, args, 0, I32), mask)
    # The sum is exact: 32 counts below 2³¹.
    counted = builder.select(mask, count, constant(0.0))
    total = builder.module.declare_intrinsic(
        f"llvm.vector.reduce.fadd.v{LANES}f64", fnty=ir.FunctionType(F64, [F64, VEC])
    )
    return builder.fptosi(builder.call(total, [ir.Constant(F64, 0.0), counted], fastmath=("reassoc",)), I64)


def _emit_write_inside(context: Any, builder: Any, signature: Any, args: Any) -> Any:
    """Some of LANES pixels in a row do not escape."""
    mask = chosen(builder, args[4])
    nothing = ir.Constant(ir.VectorType(ir.FloatType(), LANES), [0.0] * LANES)
    _masked_store(builder, nothing, _run(context, builder, signature, args, 1, ir.FloatType()), mask)
    inside = ir.Constant(ir.VectorType(I32, LANES), [NOT_ESCAPED] * LANES)
    _masked_store(builder, inside, _run(context, builder, signature, args, 0, I32), mask)
    return context.get_dummy_value()


def _run(context: Any, builder: Any, signature: Any, args: Any, which: int, kind: Any) -> Any:
    """Where LANES items of array `which` begin; the arguments 2 and 3 are the row and the first column."""
    array_type = signature.args[which]
    array = context.make_array(array_type)(context, builder, args[which])
    item = cgutils.get_item_pointer(context, builder, array_type, array, [args[2], args[3]])
    return builder.bitcast(item, ir.VectorType(kind, LANES).as_pointer())


def _masked_store(builder: Any, value: Any, pointer: Any, mask: Any) -> None:
    kind, letter = value.type, "i32" if value.type.element == I32 else "f32"
    name = f"llvm.masked.store.v{LANES}{letter}.p0v{LANES}{letter}"
    arguments = [kind, pointer.type, I32, mask.type]
    function = builder.module.declare_intrinsic(name, fnty=ir.FunctionType(ir.VoidType(), arguments))
    builder.call(function, [value, pointer, ir.Constant(I32, 4), mask])


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


# --- as NumPy -------------------------------------------------------------------------------------------


class _Plain:
    """The same in NumPy."""

    def __init__(self, formula: Formula, place: Layout) -> None:
        self.formula, self.place = formula, place

    def rows(self, work: Any, first: int, count: int) -> Any:
        return work[first * LANES : (first + count) * LANES].reshape(count, LANES)

    def stepped(self, constants: Any, state: Any, c: Any) -> Any:
        p = constants[PARAMETERS : PARAMETERS + self.formula.parameters]
        new = _stepped(self.formula, self.place, list(state), list(c), list(p), constants[SEED])
        return np.stack([np.broadcast_to(value, state[0].shape) for value in new])

    def size(self, state: Any) -> Any:
        if self.formula.converges:
            return (state[0] - state[2]) ** 2 + (state[1] - state[3]) ** 2
        return state[0] * state[0] + state[1] * state[1]

    def over(self, size: Any, limit: float) -> Any:
        return ~(size >= limit) if self.formula.converges else ~(size <= limit)

    def advance(self, work: Any, limit: int, safe: float) -> int:
        place = self.place
        pool, c = self.rows(work, 0, place.state), self.rows(work, place.state, 2)
        count, bad = 0, 0
        with np.errstate(all="ignore"):
            while count < limit and not bad:
                self.rows(work, place.saved, place.state)[:] = pool
                over = np.zeros(LANES, bool)
                for k in range(BLOCK):
                    if k == BLOCK - 1 and not self.formula.converges:
                        over = self.over(self.size(pool), safe)
                    pool[:] = self.stepped(work[place.constants :], pool, c)
                    if self.formula.converges:
                        over = over | self.over(self.size(pool), safe)
                bad = _mask_of(over & np.isfinite(self.rows(work, place.end, 1)[0]))
                count += 1
        return (count << 32) | bad

    def begin(self, work: Any) -> int:
        place, constants = self.place, work[self.place.constants :]
        column, row = self.rows(work, place.scratch, 2)
        re0, im0, xx, xy, yx, yy, *julia = constants[VIEW : VIEW + 8]
        pixel = re0 + (xx * column + xy * row), im0 + (yx * column + yy * row)
        state = self.rows(work, place.fresh, place.state)
        state[:] = work[place.initial : place.initial + place.state, np.newaxis]
        moving = self.rows(work, place.fresh + place.state, 2)
        if constants[SEED] == 0.0:
            moving[:], state[:2] = np.array(julia)[:, np.newaxis], pixel
        else:
            moving[:] = pixel
        self.rows(work, place.fresh + place.count, 1)[:] = 0.0
        self.rows(work, place.fresh + place.allowed, 1)[:] = constants[ALLOWED]
        return 0

    def settle(self, work: Any, queue: int, which: int, max_iter: float) -> int:
        place, constants = self.place, work[self.place.constants :]
        work = work[queue:]
        state, c = self.rows(work, 0, place.state), self.rows(work, place.state, 2)
        allowed, count = self.rows(work, place.allowed, 2)
        before = np.full(LANES, constants[LIMIT])
        chosen = np.array([(which >> lane) & 1 for lane in range(LANES)], bool)
        with np.errstate(all="ignore"):
            for k in range(BLOCK):
                going = chosen & ~self.over(self.size(state), constants[LIMIT]) & (k < allowed)
                before = np.where(going, self.size(state), before)
                state[:] = np.where(going, self.stepped(constants, state, c), state)
                count += going
            size = self.size(state)
            over = chosen & self.over(size, constants[LIMIT]) & (count <= max_iter)

            def log2_of(value: Any, elsewhere: float) -> Any:
                return np.nan_to_num(np.minimum(np.log2(np.where(over, value, elsewhere)), 1024.0), nan=1024.0)

            smooth = self.rows(work, place.smooth, 1)[0]
            if self.formula.converges:
                log_size = log2_of(before / constants[LIMIT], 1.0)
                smooth[:] = log_size / log2_of(before / size, 2.0)
            else:
                log_size = log2_of(size, 4.0)
                smooth[:] = 1.0 - np.log2(np.where(over, log_size * constants[SCALE], 1.0)) * constants[DEGREE_SCALE]
            if place.slopes:
                self.rows(work, place.far, 2)[:] = _distance(place, list(state), log_size, size)
        return (_mask_of(chosen & ~over & (count >= max_iter)) << 32) | _mask_of(over)

    def watch(self, work: Any, tick: float, near2: float) -> int:
        place = self.place
        apart = (self.rows(work, 0, place.words) - self.rows(work, place.check, place.words)) ** 2
        near = apart.sum(axis=0) <= near2
        return (_mask_of(near) << 32) | _mask_of(self.rows(work, place.due, 1)[0] <= tick)

    def ended(self, work: Any, tick: float) -> int:
        return _mask_of(self.rows(work, self.place.end, 1)[0] <= tick)

    def next_end(self, work: Any, slack: float) -> float:
        ends = self.rows(work, self.place.end, 1)
        return float(ends[ends <= ends.min() + slack].max())

    def load_lanes(
        self, work: Any, places: Any, mask: int, block: float, base: float, end: float, due: float
    ) -> int:
        place, pool = self.place, self.rows(work, 0, self.place.base + 1)
        taken = [lane for lane in range(LANES) if (mask >> lane) & 1]
        pool[: place.state + 2, taken] = self.rows(work, place.fresh, place.state + 2)[:, taken]
        pool[place.check, taken] = np.inf
        numbers = ((place.due, due), (place.end, end), (place.born, block), (place.base, base))
        for row, number in numbers:
            pool[row, taken] = number
        at, new_at = places[: 2 * LANES].reshape(2, LANES)
        at[taken] = new_at[taken]
        return 0

    def line(self, work: Any, column: float, row: float) -> int:
        places = self.rows(work, self.place.scratch, 2)
        places[0], places[1] = column + np.arange(LANES), row
        return 0

    def interior(self, work: Any) -> int:
        x, y = self.rows(work, self.place.fresh + self.place.state, 2)
        q = (x - 0.25) ** 2 + y * y
        cardioid = q * (q + (x - 0.25)) + 1e-13 < y * y * 0.25
        return _mask_of(cardioid | ((x + 1.0) ** 2 + y * y + 1e-13 < 0.0625))


def _mask_of(condition: Any) -> int:
    return sum(1 << int(lane) for lane in np.flatnonzero(condition))


def _plain_poll(control: Any) -> int:
    return int(control[0])


def _plain_publish(counters: Any, index: int, value: int) -> None:
    counters[index] = value


def _plain_pending(n: Any, _nf: Any, y: int, x: int) -> int:
    return _mask_of(n[y, x : x + LANES] == PENDING)


def _plain_write_counts(n: Any, nf: Any, y: int, x: int, work: Any, count: int, smooth: int, mask: int) -> int:
    total = 0
    for lane in range(LANES):
        if (mask >> lane) & 1:
            nf[y, x + lane], n[y, x + lane] = work[smooth + lane], int(work[count + lane])
            total += int(work[count + lane])
    return total


def _plain_write_inside(n: Any, nf: Any, y: int, x: int, mask: int) -> None:
    for lane in range(LANES):
        if (mask >> lane) & 1:
            nf[y, x + lane], n[y, x + lane] = 0.0, NOT_ESCAPED


def _plain_is_run(places: Any, which: int) -> int:
    lanes = [lane for lane in range(LANES) if (which >> lane) & 1]
    return int(len({int(places[lane]) - lane for lane in lanes}) == 1)


def _plain_pointer(array: Any) -> Any:
    return array


def _plain_offset(array: Any, count: int) -> Any:
    return array[count:]


def _plain_ones(word: int) -> int:
    return int(word).bit_count()


def _plain_trailing_zeros(word: int) -> int:
    return (int(word) & -int(word)).bit_length() - 1


# --- for jitted code --------------------------------------------------------------------------------------


def _compiled(emit: Emit, result: Any, arguments: str, plain: Callable[..., Any]) -> Any:
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


def vector_code(formula: Formula, place: Layout) -> dict[str, Any]:
    """The functions of a formula by name. The first argument of each is a `pointer` to the workspace."""

    def coded(write: Callable[[_Code], Any]) -> Emit:
        def emit(_context: Any, builder: Any, _signature: Any, args: Any) -> Any:
            return write(_Code(formula, place, builder, args))

        return emit

    plain = _Plain(formula, place)
    return {
        "advance": _compiled(coded(_emit_advance), types.int64, "pif", plain.advance),
        "begin": _compiled(coded(_emit_begin), types.int64, "p", plain.begin),
        "settle": _compiled(coded(_emit_settle), types.int64, "piif", plain.settle),
        "watch": _compiled(coded(_emit_watch), types.int64, "pff", plain.watch),
        "ended": _compiled(coded(_emit_ended), types.int64, "pf", plain.ended),
        "next_end": _compiled(coded(_emit_next_end), types.float64, "pf", plain.next_end),
        "load_lanes": _compiled(coded(_emit_load_lanes), types.int64, "pqiffff", plain.load_lanes),
        "line": _compiled(coded(_emit_line), types.int64, "pff", plain.line),
        "interior": _compiled(coded(_emit_interior), types.int64, "p", plain.interior),
    }


def scalar_code(formula: Formula) -> Any:
    """`step(z, c, p)` of a formula on tuples of doubles, for jitted code that goes pixel by pixel."""

    def stepped(z: Any, c: Any, p: Any) -> Any:
        return formula.step(tuple(z), tuple(c), tuple(p))

    if config.DISABLE_JIT:
        return stepped
    tuples = [types.UniTuple(types.float64, count) for count in (formula.words, 2, formula.parameters)]
    signature = tuples[0](*tuples)

    def emit(context: Any, builder: Any, _signature: Any, args: Any) -> Any:
        unpacked = (cgutils.unpack_tuple(builder, argument) for argument in args)
        after = stepped(*([Register(builder, value) for value in values] for values in unpacked))
        return context.make_tuple(builder, tuples[0], [one.value for one in after])

    return intrinsic(lambda _context, _z, _c, _p: (signature, emit))


poll = _compiled(_emit_poll, types.int64, "w", _plain_poll)
pending = _compiled(_emit_pending, types.int64, "nsii", _plain_pending)
write_counts = _compiled(_emit_write_counts, types.int64, "nsiipiii", _plain_write_counts)
write_inside = _compiled(_emit_write_inside, types.void, "nsiii", _plain_write_inside)
is_run = _compiled(_emit_is_run, types.int64, "qi", _plain_is_run)
offset = _compiled(_emit_offset, types.CPointer(types.int64), "qi", _plain_offset)
ones = _compiled(_emit_ones, types.int64, "i", _plain_ones)
trailing_zeros = _compiled(_emit_trailing_zeros, types.int64, "i", _plain_trailing_zeros)
publish = _compiled(_emit_publish, types.void, "wii", _plain_publish)


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
