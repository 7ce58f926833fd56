"""The escape-time kernels: identity with the plain loop, resumption, cancellation, vector code."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from numba import config

from rfm_kernels.catalog import kernel, plain_loop
from rfm_kernels.layout import BLOCK, NOT_ESCAPED, PENDING
from rfm_kernels.vectors import LANES

compiled = pytest.mark.skipif(config.DISABLE_JIT, reason="NUMBA_DISABLE_JIT is set")
SIZE = 12 if config.DISABLE_JIT else 96
EXAMPLES = 5 if config.DISABLE_JIT else 60
GO_ON = 0
NOTHING = np.zeros((1, 1), np.complex64)
FAR_POINT = (-0.75, 1e-9)  # escapes after 3·10⁹ iterations: |π / im|


def words(count: int = 8) -> np.ndarray:
    return np.zeros(count, np.int64)


class Frame:
    """A frame of its own buffers, centred on (re, im)."""

    def __init__(self, re: float, im: float, width: float, size: int = SIZE, max_iter: int = 300, **kwargs):
        self.h, self.w = size, size + 5
        self.spacing = width / self.w
        self.re0, self.im0 = re - self.spacing * (self.w - 1) / 2, im + self.spacing * (self.h - 1) / 2
        self.max_iter = max_iter
        self.bailout2 = kwargs.pop("bailout2", 1e6)
        self.julia = kwargs.pop("julia", None)
        self.tests = kwargs.pop("tests", True)
        self.n = np.full((self.h, self.w), PENDING, np.int32)
        self.nf = np.zeros((self.h, self.w), np.float32)
        self.counters = words()

    def run(self, x=0, y=0, w=None, h=None, step=1, control=None) -> int:
        """Compute a tile on views of the frame's buffers."""
        part = np.s_[y : y + (h or self.h), x : x + (w or self.w)]
        compute = kernel("mandelbrot", julia=self.julia is not None, interior_tests=self.tests)
        bounds = self.max_iter, self.bailout2, words(1) if control is None else control
        return compute(self.n[part], self.nf[part], NOTHING, NOTHING, x, y, step, self.view, *bounds, self.counters)

    @property
    def view(self) -> np.ndarray:
        """As the kernel takes it."""
        return np.array([self.re0, self.im0, self.spacing, 0, 0, -self.spacing, *(self.julia or (0.0, 0.0))])

    def plain(self) -> np.ndarray:
        """The counts of the scalar kernel."""
        n = np.empty_like(self.n)
        plain_loop("mandelbrot")(n, 0, 0, self.view, self.max_iter, self.bailout2, self.julia is not None)
        return n


VIEWS = {
    "a": {"re": -0.75, "im": 0.0, "width": 2.5, "max_iter": 500},
    "b": {"re": -0.7463, "im": 0.1102, "width": 0.005, "max_iter": 2000},
    "c": {"re": -1.755, "im": 0.0, "width": 0.07, "max_iter": 3000},
    "elephants": {"re": 0.2925755, "im": -0.0149977, "width": 0.0115, "max_iter": 3000},
    "one iteration": {"re": -0.75, "im": 0.0, "width": 2.5, "max_iter": 1},
    "less than a block": {"re": -0.75, "im": 0.0, "width": 2.5, "max_iter": 7},
    "a block": {"re": -0.75, "im": 0.0, "width": 2.5, "max_iter": 8},
    "a block and one": {"re": -0.75, "im": 0.0, "width": 2.5, "max_iter": 9},
    "small bailout": {"re": -0.75, "im": 0.0, "width": 5.0, "max_iter": 301, "bailout2": 4.0},
    "antenna": {"re": -2.0, "im": 0.0, "width": 1e-9, "max_iter": 400, "bailout2": 4.0},
    "cusp in view": {"re": 0.0, "im": 0.0, "width": 4.0, "julia": (0.25, 0.0), "max_iter": 2000, "size": 101},
    "rabbit": {"re": 0.0, "im": 0.0, "width": 4.0, "julia": (-0.122561166876654, 0.744861766619744)},
    "dendrite": {"re": 0.0, "im": 0.0, "width": 4.0, "julia": (0.0, 1.0)},
}


@pytest.mark.parametrize("tests", [True, False], ids=["interior tests", "plain"])
@pytest.mark.parametrize("view", VIEWS)
def test_counts_are_those_of_the_scalar_kernel(view: str, tests: bool) -> None:
    frame = Frame(**VIEWS[view], tests=tests)
    assert frame.run() == 0
    np.testing.assert_array_equal(frame.n, frame.plain())
    # Below 0 where the last step has taken it farther than R².
    assert ((frame.nf > -1) & (frame.nf <= 1)).all()
    assert not frame.nf[frame.n == NOT_ESCAPED].any()


# What a proof of a cycle costs is worth it where there are many.
MANY = st.sampled_from([4000] if config.DISABLE_JIT else [4000, 20_000, 100_000])
near_the_set = st.tuples(st.floats(-2.1, 0.6), st.floats(-1.2, 1.2), st.floats(-12, 0.5))


@settings(max_examples=EXAMPLES)
@given(near_the_set, st.integers(1, 3000) | MANY, st.sampled_from([4.0, 100.0, 1e6, 1e20]))
@example((0.25, 0.0, -6.0), 3000, 4.0)
@example((-0.75, 0.0, -4.0), 3000, 1e6)
@example((-1.25, 0.0, -8.0), 2999, 1e6)
@example((-1.76, 0.0, -2.0), 3000, 4.0)
def test_no_interior_test_ever_takes_an_escaping_pixel(view, max_iter, bailout2) -> None:
    re, im, width_log10 = view
    frame = Frame(re, im, 10.0**width_log10, 12, max_iter, bailout2=bailout2)
    frame.run()
    np.testing.assert_array_equal(frame.n, frame.plain())


@settings(max_examples=EXAMPLES)
@given(st.floats(-1.5, 1.5), st.floats(-1.5, 1.5), st.integers(1, 2000) | MANY)
@example(-0.5, 0.5, 100_000)
@example(-1.7549, 0.0, 20_000)
def test_no_interior_test_ever_takes_an_escaping_pixel_of_a_julia_set(c_re, c_im, max_iter) -> None:
    frame = Frame(0.0, 0.0, 3.0, 12, max_iter, julia=(c_re, c_im))
    frame.run()
    np.testing.assert_array_equal(frame.n, frame.plain())


@pytest.mark.scenario("C2")
@pytest.mark.parametrize("tile", [5, 16, 33, 64])
@pytest.mark.parametrize("julia", [None, (-0.7436, 0.1318)])
def test_a_frame_is_bit_identical_at_every_tile_size_and_order(tile: int, julia) -> None:
    view = (-0.7463, 0.1102, 0.02) if julia is None else (0.0, 0.0, 3.0)
    whole, tiled = Frame(*view, julia=julia), Frame(*view, julia=julia)
    whole.run()
    places = [(x, y) for y in range(0, tiled.h, tile) for x in range(0, tiled.w, tile)]
    for x, y in reversed(places):
        tiled.run(x, y, min(tile, tiled.w - x), min(tile, tiled.h - y))
    assert whole.n.tobytes() == tiled.n.tobytes()
    assert whole.nf.tobytes() == tiled.nf.tobytes()
    assert list(whole.counters[:2]) == list(tiled.counters[:2])


@pytest.mark.scenario("C2")
def test_the_preview_pass_computes_every_eighth_pixel_of_the_frame_and_the_full_pass_the_rest() -> None:
    whole, twice = Frame(-0.7463, 0.1102, 0.02), Frame(-0.7463, 0.1102, 0.02)
    whole.run()
    x, y, w, h = 3, 5, 7, 6
    twice.run(x, y, w, h, step=8)
    done = np.argwhere(twice.n != PENDING)
    assert [tuple(place) for place in done] == [(8, 8)]
    twice.run(step=8)
    np.testing.assert_array_equal(twice.n[::8, ::8], whole.n[::8, ::8])
    assert (twice.n != PENDING).sum() == twice.n[::8, ::8].size
    twice.run()
    assert whole.n.tobytes() == twice.n.tobytes()
    assert whole.nf.tobytes() == twice.nf.tobytes()
    assert twice.counters[0] == whole.counters[0] == whole.n.size


@compiled
@pytest.mark.scenario("C2")
def test_a_frame_is_bit_identical_however_often_it_was_stopped() -> None:
    # 3·10⁹ iterations in a mini-set: long enough for the other thread to get its turn on any machine.
    view = {"re": -1.7548776662, "im": 0.0, "width": 0.07, "size": 300, "max_iter": 200_000, "tests": False}
    whole, stopped = Frame(**view), Frame(**view)
    whole.run()
    control, told, stops = words(1), threading.Event(), 0
    over = threading.Event()

    def interrupt() -> None:
        while not over.is_set():
            if told.wait(0.01):
                told.clear()
                seen = int(stopped.counters[0])
                while stopped.counters[0] < seen + 2000 and not over.is_set():
                    pass
                control[0] = 2

    thread = threading.Thread(target=interrupt)
    thread.start()
    try:
        told.set()
        while stopped.run(control=control) == 2:
            stops += 1
            control[0] = GO_ON
            told.set()
    finally:
        over.set()
        thread.join()
    assert stops > 0
    assert whole.n.tobytes() == stopped.n.tobytes()
    assert whole.nf.tobytes() == stopped.nf.tobytes()
    assert stopped.counters[0] == whole.n.size
    assert stopped.counters[1] == whole.counters[1]


def test_a_control_word_that_is_set_already_computes_nothing() -> None:
    frame = Frame(-0.75, 0.0, 2.5)
    assert frame.run(control=np.array([7], np.int64)) == 7
    assert (frame.n == PENDING).all()


@compiled
@pytest.mark.scenario("C3")
@pytest.mark.parametrize("julia", [False, True], ids=["mandelbrot", "julia"])
@pytest.mark.parametrize("tests", [False, True], ids=["plain", "interior tests"])
def test_a_flag_set_by_another_thread_stops_a_pixel_of_a_billion_iterations(julia: bool, tests: bool) -> None:
    compute = kernel("mandelbrot", julia=julia, interior_tests=tests)
    n, nf = np.full((1, 1), PENDING, np.int32), np.zeros((1, 1), np.float32)
    control, counters = words(1), words()
    point = (0.0, 0.0, 1.0, 0, 0, -1.0, *FAR_POINT) if julia else (*FAR_POINT, 1.0, 0, 0, -1.0, 0.0, 0.0)
    told: list[float] = []

    def stop() -> None:
        deadline_s = time.monotonic() + 20
        while counters[2] < 1_000_000 and time.monotonic() < deadline_s:
            time.sleep(0)
        told.append(float(counters[2]))
        control[0] = 1

    thread = threading.Thread(target=stop)
    thread.start()
    answer = compute(n, nf, NOTHING, NOTHING, 0, 0, 1, np.array(point), 1_000_000_000, 1e6, control, counters)
    thread.join()
    assert answer == 1
    assert n[0, 0] == PENDING
    assert 1_000_000 <= told[0] <= counters[2] < 1_000_000_000
    assert counters[0] == 0


@compiled
def test_the_block_is_vector_code_without_contraction() -> None:
    program = (
        "import os; os.environ.pop('NUMBA_CACHE_DIR', None)\n"
        "from rfm_kernels import escape_time, formulas\n"
        "names = escape_time.names(formulas.formula('mandelbrot'))\n"
        "print(next(iter(escape_time.compiled(names, 'mandelbrot').inspect_asm().values())))"
    )
    run = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True)
    packed = re.findall(r"\bv?mulpd\s+[^\n]*%([xyz])mm", run.stdout)
    widest = 2 if LANES == 32 else 1
    if "avx" in _cpu_flags():
        assert sum("xyz".index(letter) >= widest for letter in packed) >= 3 * BLOCK
    assert not re.search(r"\bvfn?m(add|sub)", run.stdout)


def _cpu_flags() -> set[str]:
    with Path("/proc/cpuinfo").open(encoding="utf-8") as lines:
        return next((set(line.split()) for line in lines if line.startswith("flags")), set())


@pytest.mark.parametrize("rows", [12, 13])
def test_a_view_about_the_real_axis_is_its_own_conjugate(rows: int) -> None:
    frame = Frame(-0.75, 0.0, 3.0, size=rows)
    frame.spacing = 0.25
    frame.re0, frame.im0 = -2.0, 0.25 * (rows - 1) / 2
    frame.run()
    np.testing.assert_array_equal(frame.n, frame.n[::-1])
    np.testing.assert_array_equal(frame.nf, frame.nf[::-1])


def test_the_smooth_fraction_is_the_convention_of_the_truth_samples() -> None:
    frame = Frame(-0.75, 0.3, 2.5, size=9)
    frame.run()
    for y, x in np.argwhere(frame.n > 0):
        z, c = 0j, complex(frame.re0 + frame.spacing * x, frame.im0 - frame.spacing * y)
        for _ in range(frame.n[y, x]):
            z = z * z + c
        expected = 1.0 - math.log2(math.log(abs(z)) / math.log(1000.0))
        assert frame.nf[y, x] == pytest.approx(expected, abs=1e-6)


def test_counters_add_up() -> None:
    frame = Frame(-0.75, 0.0, 2.5)
    frame.counters[:3] = 10, 20, 30
    frame.run()
    nominal = np.where(frame.n < 0, frame.max_iter, frame.n).sum()
    assert list(frame.counters[:2]) == [10 + frame.n.size, 20 + nominal]
    assert frame.counters[2] > 30
    assert not frame.counters[3:].any()


def test_interior_tests_save_iterations() -> None:
    quick, slow = Frame(**VIEWS["c"]), Frame(**VIEWS["c"], tests=False)
    quick.run()
    slow.run()
    assert quick.counters[1] == slow.counters[1]
    assert quick.counters[2] < slow.counters[2] / 2


def test_an_unknown_formula_has_no_kernel() -> None:
    with pytest.raises(KeyError):
        kernel("mandelbort")


def test_only_pending_pixels_are_touched() -> None:
    frame = Frame(-0.75, 0.0, 2.5)
    frame.n[::2] = 123
    frame.run()
    assert (frame.n[::2] == 123).all()
    assert PENDING not in frame.n


@settings(max_examples=EXAMPLES)
@given(
    st.floats(0, 1),
    st.one_of(st.integers(1, 40), st.sampled_from([499, 500, 2000])),
    st.integers(0, 2**32 - 1),
    st.sampled_from(["whole", "rows turned", "columns apart", "planes unlike"]),
    st.booleans(),
)
@example(1.0, 500, 0, "whole", True)
@example(0.4, 16, 1, "columns apart", False)
@example(0.1, 17, 2, "planes unlike", True)
def test_whichever_pixels_are_pending_and_however_planes_lie_the_result_is_the_same(
    density: float, max_iter: int, seed: int, lie: str, tests: bool
) -> None:
    """Rows of pending pixels are taken whole, others one by one; planes whose columns are apart never are."""
    frame = Frame(-0.7, 0.05, 2.6, max_iter=max_iter, tests=tests, bailout2=4.0)
    whole = Frame(-0.7, 0.05, 2.6, max_iter=max_iter, tests=tests, bailout2=4.0)
    assert whole.run() == 0
    rng = np.random.default_rng(seed)
    # Stretches of a row as a stopped tile leaves them, and single pixels.
    pending = rng.random(frame.n.shape) < density
    pending |= np.repeat(rng.random((frame.h, -(-frame.w // 40))) < 0.5, 40, axis=1)[:, : frame.w]
    before = rng.integers(0, 1000, frame.n.shape)
    if lie == "rows turned":
        frame.n, frame.nf = frame.n[::-1], frame.nf[::-1]
    if lie == "columns apart":
        frame.n, frame.nf = np.repeat(frame.n, 2, axis=1)[:, ::2], np.repeat(frame.nf, 2, axis=1)[:, ::2]
    if lie == "planes unlike":
        frame.nf = np.asfortranarray(frame.nf)
    frame.n[:] = np.where(pending, PENDING, before)
    frame.nf[:] = 7.0
    assert frame.run() == 0
    np.testing.assert_array_equal(whole.n, whole.plain())
    np.testing.assert_array_equal(frame.n, np.where(pending, whole.n, before))
    np.testing.assert_array_equal(frame.nf, np.where(pending, whole.nf, np.float32(7.0)))
    assert frame.counters[0] == pending.sum()
    assert frame.counters[1] == np.where(whole.n == NOT_ESCAPED, max_iter, whole.n)[pending].sum()


@pytest.mark.parametrize("max_iter", [*range(1, 41), 64, 72, 100, 128])
def test_what_escapes_in_its_last_iterations_is_counted(max_iter: int) -> None:
    """The end of a pixel's time lies somewhere in a block, and lanes run past it."""
    frame = Frame(-0.75, 0.0, 2.5, max_iter=max_iter, tests=False, bailout2=4.0)
    assert frame.run() == 0
    np.testing.assert_array_equal(frame.n, frame.plain())
    assert max_iter > 40 or (frame.n == max_iter).any()


@pytest.mark.parametrize(("w", "h"), [(1, 100), (64, 64)])
def test_many_pixels_that_seem_to_have_died_and_have_not(w: int, h: int) -> None:
    """z² - 2 from 2 stays at 2, the bailout radius: all go from their lanes to the queue and back again and again."""
    n, nf = np.full((h, w), PENDING, np.int32), np.zeros((h, w), np.float32)
    view = np.array([2.0, 0.0, 0.0, 0.0, 0.0, 0.0, -2.0, 0.0])
    compute = kernel("mandelbrot", julia=True, interior_tests=False)
    assert compute(n, nf, NOTHING, NOTHING, 0, 0, 1, view, 100, 4.0, words(1), words()) == 0
    assert (n == NOT_ESCAPED).all()
