"""The vector part of the escape-time kernels, for a formula: blocks of iterations over all lanes at once.

`vector_code` writes the functions for a formula as LLVM IR; with NUMBA_DISABLE_JIT=1 they are plain NumPy
(`rfm_kernels.plain_lanes`), so that coverage can be taken. What stands where: `rfm_kernels.layout`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from llvmlite import ir
from numba import config, types
from numba.core import cgutils
from numba.extending import intrinsic

from rfm_kernels.formulas import Formula
from rfm_kernels.intrinsics import Emit, compiled, over_row
from rfm_kernels.layout import (
    BLOCK,
    DEGREE_SCALE,
    LIMIT,
    PARAMETERS,
    SCALE,
    SEED,
    TWO,
    VIEW,
    Layout,
    away,
    stepped,
)
from rfm_kernels.plain_lanes import PlainLanes
from rfm_kernels.vectors import (
    F64,
    I64,
    LANES,
    MOST_LANES,
    Register,
    bits,
    broadcast,
    chosen,
    constant,
    load,
    log2,
    ramp,
    store,
    vector,
)

__all__ = ["scalar_code", "vector_code"]


class _Code:
    """What the functions of one formula have in common while they are written."""

    def __init__(self, formula: Formula, place: Layout, builder: Any, args: Any) -> None:
        self.formula, self.place, self.builder, self.args = formula, place, builder, args
        self.data, self.width = args[0], place.lanes

    def rows(self, first: int, count: int) -> list[Register]:
        return [self.row(first + k) for k in range(count)]

    def row(self, number: int) -> Register:
        return Register(self.builder, load(self.builder, self.at(number), self.width))

    def put(self, number: int, value: Any) -> None:
        """Write a row."""
        store(self.builder, self.at(number), value)

    def at(self, number: int) -> Any:
        """Where a row begins."""
        return self.builder.gep(self.data, [ir.Constant(I64, number * self.place.lanes)])

    def chosen(self, word: Any) -> Any:
        """Bits of a word as a condition of every lane."""
        return chosen(self.builder, word, self.width)

    def constant(self, number: int) -> Register:
        at = self.builder.gep(self.data, [ir.Constant(I64, self.place.constants + number)])
        return self.all_of(self.builder.load(at, align=8))

    def all_of(self, scalar: Any) -> Register:
        """One number in every lane."""
        return Register(self.builder, broadcast(self.builder, scalar, self.width))

    def whole(self, value: float) -> Register:
        """The same number in every lane."""
        return Register(self.builder, constant(value, self.width))

    def align_stack(self) -> None:
        """Have what finds no register saved on whole cache lines.

        LLVM may align the stack only if it knows that it has to before it gives out registers: for a variable there.
        """
        slot = cgutils.alloca_once(self.builder, vector(F64, 8))
        slot.align = 64
        self.builder.asm(ir.FunctionType(ir.VoidType(), [slot.type]), "", "r", [slot], True)

    def none(self) -> Any:
        """A condition that holds in no lane."""
        return ir.Constant(vector(ir.IntType(1), self.width), None)

    def parameters(self) -> list[Register]:
        return [self.constant(PARAMETERS + k) for k in range(self.formula.parameters)]

    def seed(self) -> Any:
        return self.constant(SEED) if self.place.slopes else 0

    def stepped(self, state: Sequence[Any], c: Sequence[Any], p: Sequence[Any], seed: Any) -> list[Any]:
        new = stepped(self.formula, self.place, state, c, p, seed)
        zero = self.whole(0.0)
        return [zero if isinstance(value, int) else value for value in new]

    def size(self, state: Sequence[Any]) -> Any:
        """|z|², or how far the last step has moved it, squared."""
        if self.formula.converges:
            dx, dy = state[0] - state[2], state[1] - state[3]
            return dx * dx + dy * dy
        return state[0] * state[0] + state[1] * state[1]

    def over(self, size: Any, limit: Any) -> Any:
        """Whether a pixel of this size goes no further: farther out than the limit, or moved by less. NaN does not."""
        sign = "<" if self.formula.converges else ">"
        return self.builder.fcmp_unordered(sign, size.value, limit.value)

    def is_lost(self, size: Any) -> Any:
        """Whether a formula that converges has left the plane: its step divided by zero, and there is no way back."""
        if not self.formula.converges:
            return self.none()
        return self.builder.fcmp_unordered("uno", size.value, size.value)


def _emit_advance(code: _Code) -> Any:
    """Blocks until one of some lanes seems to be done, or `limit` of them: how many, and which lanes."""
    builder, place = code.builder, code.place
    code.align_stack()
    which, limit, safe = code.args[1], code.args[2], code.all_of(code.args[3])
    c, p, seed = code.rows(place.state, 2), code.parameters(), code.seed()
    state0 = code.rows(0, place.state)
    before = builder.block
    loop, done = builder.append_basic_block("blocks"), builder.append_basic_block("done")
    builder.branch(loop)
    builder.position_at_end(loop)
    phis, count = [builder.phi(one.value.type) for one in state0], builder.phi(I64)
    for k, phi in enumerate(phis):
        code.put(place.saved + k, phi)
    # Else LLVM keeps them in registers until the loop ends, and has none left.
    builder.asm(ir.FunctionType(ir.VoidType(), []), "", "~{memory}", [], True)
    state: list[Any] = [Register(builder, phi) for phi in phis]
    over = code.none()
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
    bad = builder.and_(bits(builder, over), which)
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
        code.put(k, value.value)
    return new_count, bad


def _emit_begin(code: _Code) -> None:
    """Fill the queue of new pixels: the first state and c of those whose x y in the frame are in scratch."""
    builder, place = code.builder, code.place
    column, row = code.rows(place.scratch, 2)
    re0, im0, xx, xy, yx, yy, julia_re, julia_im = (code.constant(VIEW + k) for k in range(8))
    pixel = re0 + (xx * column + xy * row), im0 + (yx * column + yy * row)
    is_julia = builder.fcmp_ordered("==", code.constant(SEED).value, code.whole(0.0).value)
    for k, of_julia in enumerate((julia_re, julia_im)):
        moving = builder.select(is_julia, of_julia.value, pixel[k].value)
        code.put(place.new + place.state + k, moving)
    for k in range(place.state):
        at = builder.gep(code.data, [ir.Constant(I64, place.initial + k)])
        first = code.all_of(builder.load(at)).value
        if k < 2:
            first = builder.select(is_julia, pixel[k].value, first)
        code.put(place.new + k, first)
    code.put(place.new + place.counted, code.whole(0.0).value)


def _emit_settle(code: _Code) -> Any:
    """The last block again of some of a queue, or their first, counted: lanes done, lanes that never end.

    The latter's time is up, or they are lost.
    """
    builder, place, code.width = code.builder, code.place, LANES
    code.align_stack()
    limit, scale, degree_scale = code.constant(LIMIT), code.constant(SCALE), code.constant(DEGREE_SCALE)
    p, seed = code.parameters(), code.seed()
    code.data = builder.gep(code.data, [code.args[1]])
    state, c = code.rows(0, place.state), code.rows(place.state, 2)
    count = code.row(place.counted)
    last, before = limit, limit
    going = which = code.chosen(code.args[2])

    def where(condition: Any, one: Register, other: Register) -> Register:
        return Register(builder, builder.select(condition, one.value, other.value))

    more, end = builder.append_basic_block("more"), builder.append_basic_block("end")
    early: list[Any] = []
    for k in range(BLOCK):
        size = code.size(state)
        last = where(going, size, last)
        going = builder.and_(going, builder.not_(code.over(size, limit)))
        if k == BLOCK // 2:
            # Far outside all are done by now.
            builder.cbranch(builder.icmp_unsigned("==", bits(builder, going), ir.Constant(I64, 0)), end, more)
            early = [builder.block, *state, last, before, count]
            builder.position_at_end(more)
        before = where(going, size, before)
        new = code.stepped(state, c, p, seed)
        # Without slopes nobody asks for the last z, and a state that goes on comes to the end of the block.
        state = [where(going, one, old) for one, old in zip(new, state, strict=True)] if place.slopes else new
        count += where(going, code.whole(1.0), code.whole(0.0))
    last = where(going, code.size(state), last)
    late = [builder.block, *state, last, before, count]
    builder.branch(end)
    builder.position_at_end(end)
    merged = [Register(builder, builder.phi(limit.value.type)) for _ in late[1:]]
    for block, *values in (early, late):
        for phi, value in zip(merged, values, strict=True):
            phi.value.add_incoming(value.value, block)
    *state, last, before, count = merged
    max_iter = code.all_of(code.args[3])
    size, lost = last, code.is_lost(last)
    over = builder.and_(code.over(last, limit), builder.not_(lost))
    # It may have run past its end, and escaped there.
    over = builder.and_(over, builder.fcmp_ordered("<=", count.value, max_iter.value))

    def log2_of(value: Register, elsewhere: float) -> Register:
        return Register(builder, log2(builder, builder.select(over, value.value, code.whole(elsewhere).value)))

    if code.formula.converges:
        # Between the last step that was too long and the first that was not, on a logarithmic scale: continuous
        # however it converges, and most maps of `nova` do so linearly.
        log_size = log2_of(before / limit, 1.0)
        smooth = log_size / log2_of(before / size, 2.0)
    else:
        log_size = log2_of(size, 4.0)
        ratio = builder.select(over, (log_size * scale).value, code.whole(1.0).value)
        smooth = 1.0 - Register(builder, log2(builder, ratio)) * degree_scale
    for k, value in enumerate(state):
        code.put(k, value.value)
    code.put(place.counted, count.value)
    code.put(place.smooth, smooth.value)
    if place.slopes:
        for k, part in enumerate(away(place, state, log_size, size)):
            code.put(place.far + k, part.value)
    spent = builder.or_(lost, builder.fcmp_ordered(">=", count.value, max_iter.value))
    spent = builder.and_(builder.and_(spent, builder.not_(over)), which)
    return bits(builder, over), bits(builder, spent)


def _emit_watch(code: _Code) -> Any:
    """Lanes near their checkpoint, lanes whose next checkpoint is due."""
    builder, place = code.builder, code.place
    tick, near2 = code.all_of(code.args[1]).value, code.all_of(code.args[2]).value
    apart = None
    for k in range(place.words):
        difference = code.row(k) - code.row(place.check + k)
        apart = difference * difference if apart is None else apart + difference * difference
    near = bits(builder, builder.fcmp_ordered("<=", (apart or code.row(0)).value, near2))
    due = bits(builder, builder.fcmp_ordered("<=", code.row(place.due).value, tick))
    return near, due


def _emit_move_checkpoints(code: _Code) -> None:
    """Some lanes' checkpoint is where they are; the next is due when they are twice as old, and not too soon."""
    builder, place, which = code.builder, code.place, code.chosen(code.args[1])
    tick, least = code.all_of(code.args[2]), code.all_of(code.args[3])
    # Since its first block, wherever it was.
    age = tick + code.row(place.base) * (1.0 / BLOCK) - 1.0
    is_old = builder.fcmp_ordered(">", age.value, least.value)
    due = tick + Register(builder, builder.select(is_old, age.value, least.value))
    rows = [(place.check + k, code.row(k)) for k in range(place.words)]
    for row, value in (*rows, (place.mark, tick), (place.due, due)):
        code.put(row, builder.select(which, value.value, code.row(row).value))


def _emit_ended(code: _Code) -> Any:
    """Lanes whose `base` is greater: their time is up."""
    ended = code.builder.fcmp_ordered(">", code.row(code.place.base).value, code.all_of(code.args[1]).value)
    return bits(code.builder, ended)


def _emit_next_base(code: _Code) -> Any:
    """The least `base` of some lanes that is at most `slack` below the greatest; that one belongs to who ends first."""
    builder, which = code.builder, code.chosen(code.args[1])
    bases = builder.select(which, code.row(code.place.base).value, code.whole(-float("inf")).value)

    def extreme(kind: str, values: Any) -> Any:
        name = f"llvm.vector.reduce.{kind}.v{code.width}f64"
        function = builder.module.declare_intrinsic(name, fnty=ir.FunctionType(F64, [values.type]))
        return builder.call(function, [values], fastmath=("nnan",))

    least = code.all_of(builder.fsub(extreme("fmax", bases), code.args[2])).value
    soon = builder.fcmp_ordered(">=", bases, least)
    return extreme("fmin", builder.select(soon, bases, code.whole(float("inf")).value))


def _emit_load_lanes(code: _Code) -> None:
    """Lanes take the new pixels at the same places."""
    builder, place = code.builder, code.place
    _, places, mask, base, due = code.args
    mask = code.chosen(mask)
    rows = [(k, code.row(place.new + k)) for k in range(place.state + 2)]
    rows += [(place.check, code.whole(float("inf")))]
    numbers = (place.due, due), (place.base, base)
    rows += [(row, code.all_of(number)) for row, number in numbers]
    for row, value in rows:
        code.put(row, builder.select(mask, value.value, code.row(row).value))
    new_places = builder.gep(places, [ir.Constant(I64, MOST_LANES)])
    at, new_at = (load(builder, words, code.width) for words in (places, new_places))
    store(builder, places, builder.select(mask, new_at, at))


def _emit_line(code: _Code) -> None:
    """New pixels: as many in a row as there are lanes, from a place in the frame on."""
    builder, place = code.builder, code.place
    _, places, first, column, row = code.args
    store(builder, places, builder.add(broadcast(builder, first, code.width), ramp(code.width, I64)))
    code.put(place.scratch, builder.fadd(code.all_of(column).value, ramp(code.width)))
    code.put(place.scratch + 1, code.all_of(row).value)


def _emit_interior(code: _Code) -> Any:
    """Which of the pixels among the new ones lie in the cardioid or the disc of period 2 of the Mandelbrot set."""
    builder = code.builder
    x, y = code.rows(code.place.new + code.place.state, 2)
    y2 = y * y
    shifted = x - 0.25
    q = shifted * shifted + y2
    cardioid = q * (q + shifted) + 1e-13
    in_cardioid = builder.fcmp_ordered("<", cardioid.value, (y2 * 0.25).value)
    right = x + 1.0
    disc = right * right + y2 + 1e-13
    in_disc = builder.fcmp_ordered("<", disc.value, code.whole(0.0625).value)
    return bits(builder, builder.or_(in_cardioid, in_disc))


# --- for jitted code --------------------------------------------------------------------------------------


def vector_code(formula: Formula, place: Layout) -> dict[str, Any]:
    """The functions of a formula by name. The first argument of each is a `pointer` to the workspace."""

    def coded(write: Callable[[_Code], Any]) -> Emit:
        def emit(context: Any, builder: Any, signature: Any, args: Any) -> Any:
            result = write(_Code(formula, place, builder, args))
            if isinstance(result, tuple):
                return context.make_tuple(builder, signature.return_type, result)
            return context.get_dummy_value() if result is None else result

        return emit

    plain, two_words = PlainLanes(formula, place), types.UniTuple(types.int64, 2)
    return over_row(place.lanes) | {
        "advance": compiled(coded(_emit_advance), two_words, "piif", plain.advance),
        "begin": compiled(coded(_emit_begin), types.void, "p", plain.begin),
        "settle": compiled(coded(_emit_settle), two_words, "piif", plain.settle),
        "watch": compiled(coded(_emit_watch), two_words, "pff", plain.watch),
        "move_checkpoints": compiled(coded(_emit_move_checkpoints), types.void, "piff", plain.move_checkpoints),
        "ended": compiled(coded(_emit_ended), types.int64, "pf", plain.ended),
        "next_base": compiled(coded(_emit_next_base), types.float64, "pif", plain.next_base),
        "load_lanes": compiled(coded(_emit_load_lanes), types.void, "pqiff", plain.load_lanes),
        "line": compiled(coded(_emit_line), types.void, "pqiff", plain.line),
        "interior": compiled(coded(_emit_interior), types.int64, "p", plain.interior),
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
