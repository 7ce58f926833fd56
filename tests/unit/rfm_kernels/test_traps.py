"""Orbit traps and periods: against plain loops, at every tiling, beside the counts that are there without."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numba import config

from rfm_kernels.catalog import kernel, periods
from rfm_kernels.colour import ORBIT_TRAP, colour
from rfm_kernels.duals import Dual
from rfm_kernels.formulas import TRAPS, formula, smaller
from rfm_kernels.gradient import CLAMP, table
from rfm_kernels.layout import NOT_ESCAPED, PENDING

pytestmark = pytest.mark.scenario("J41")

SIZE = 10 if config.DISABLE_JIT else 64
VIEWS = {
    "mandelbrot": ("mandelbrot", 2, (-2.2, 1.4, 2.8 / SIZE), None, ()),
    "julia of a ship": ("burning_ship", 2, (-1.6, 1.6, 3.2 / SIZE), (-1.2, -0.3), ()),
    "phoenix": ("phoenix", 2, (-1.6, 1.4, 3.0 / SIZE), None, (-0.5, 0.1)),
}
TRAP = (0.25, -0.5, 0.75)


def view_of(place, julia, parameters):
    re, im, spacing = place
    return np.array([re, im, spacing, 0.0, 0.0, -spacing, *(julia or (0.0, 0.0)), *parameters])


class Planes:
    def __init__(self):
        self.n, self.nf = np.full((SIZE, SIZE), PENDING, np.int32), np.zeros((SIZE, SIZE), np.float32)
        self.z, self.far = np.zeros((SIZE, SIZE), np.complex64), np.zeros((SIZE, SIZE), np.complex64)

    def run(self, compute, view, rect=(0, 0, SIZE, SIZE), step=1, max_iter=150):
        x, y, w, h = rect
        part = np.s_[y : y + h, x : x + w]
        planes = self.n[part], self.nf[part], self.z[part], self.far[part]
        return compute(*planes, x, y, step, view, max_iter, 1e6, np.zeros(1, np.int64), np.zeros(8, np.int64))


def nearest(trap, x, y):
    """The true distance of a point from the trap."""
    x, y = x - TRAP[0], y - TRAP[1]
    if trap == "point":
        return np.hypot(x, y)
    if trap == "cross":
        return min(abs(x), abs(y))
    return abs(x * x + y * y - TRAP[2] ** 2) / (2 * TRAP[2])


@pytest.mark.parametrize("trap", TRAPS)
@pytest.mark.parametrize("name", VIEWS)
def test_the_nearest_that_an_orbit_comes_is_that_of_a_plain_loop(name, trap):
    which, degree, place, julia, parameters = VIEWS[name]
    view = view_of(place, julia, (*parameters, *TRAP))
    options = {"julia": julia is not None, "derivative": True}
    planes, without = Planes(), Planes()
    assert planes.run(kernel(which, degree, trap=trap, **options), view) == 0
    without.run(kernel(which, degree, **options), view_of(place, julia, parameters))
    # The trap changes nothing else.
    for plane in ("n", "nf", "far"):
        np.testing.assert_array_equal(getattr(planes, plane), getattr(without, plane))
    step = formula(which, degree).step
    compared = 0
    for y in range(0, SIZE, 3 if config.DISABLE_JIT else 5):
        for x in range(0, SIZE, 2 if config.DISABLE_JIT else 3):
            if planes.n[y, x] < 0:
                assert planes.z[y, x] == 0
                continue
            point = (place[0] + place[2] * x, place[1] - place[2] * y)
            z = [0.0] * formula(which, degree).words
            z[:2] = point if julia else (0.0, 0.0)
            best = np.inf
            for _ in range(planes.n[y, x]):
                z = [float(part) for part in step(tuple(z), julia or point, parameters)]
                best = min(best, nearest(trap, z[0], z[1]))
            assert np.sqrt(planes.z[y, x].real) == pytest.approx(best, rel=1e-4, abs=1e-6)
            assert planes.z[y, x].imag == 0.0
            compared += 1
    assert compared > 5


@pytest.mark.scenario("C2")
def test_it_is_the_same_at_every_tiling_and_after_a_preview():
    which, degree, place, julia, _ = VIEWS["mandelbrot"]
    view = view_of(place, julia, TRAP)
    compute = kernel(which, degree, trap="cross", derivative=True)
    whole, tiled = Planes(), Planes()
    whole.run(compute, view)
    tiled.run(compute, view, step=8)
    for y in range(0, SIZE, 17):
        for x in reversed(range(0, SIZE, 23)):
            tiled.run(compute, view, (x, y, min(23, SIZE - x), min(17, SIZE - y)))
    for plane in ("n", "nf", "z", "far"):
        assert getattr(whole, plane).tobytes() == getattr(tiled, plane).tobytes(), plane


def filled(name, degree, view, max_iter, planes, rect=(0, 0, SIZE, SIZE), *, julia=False, control=0):
    x, y, w, h = rect
    part = np.s_[y : y + h, x : x + w]
    word = np.full(1, control, np.int64)
    return periods(name, degree)(planes.n[part], planes.nf[part], x, y, view, max_iter, julia, word)


def test_the_inside_has_its_periods_and_the_outside_keeps_its_fractions():
    view = view_of((-1.45, 0.8, 1.9 / SIZE), None, ())
    planes = Planes()
    planes.run(kernel("mandelbrot"), view, max_iter=2000)
    before = planes.nf.copy()
    assert filled("mandelbrot", 2, view, 2000, planes, control=3) == 3
    np.testing.assert_array_equal(planes.nf, before)
    assert filled("mandelbrot", 2, view, 2000, planes) == 0
    inside = planes.n == NOT_ESCAPED
    np.testing.assert_array_equal(planes.nf[~inside], before[~inside])
    # c = 0, -1 and the two bulbs of period 3: by what is known of the set.
    columns, rows = np.meshgrid(view[0] + view[2] * np.arange(SIZE), view[1] + view[5] * np.arange(SIZE))
    c = columns + 1j * rows
    cardioid = np.abs(1 - np.sqrt(1 - 4 * c)) < 0.97
    disc = np.abs(c + 1) < 0.24
    bulb = np.abs(c - complex(-0.122561, 0.744862)) < 0.07
    for where, period in ((cardioid, 1), (disc, 2), (bulb, 3)):
        assert where.any()
        assert (planes.nf[where] == period).all()
    tiled = Planes()
    tiled.run(kernel("mandelbrot"), view, max_iter=2000)
    for y in range(0, SIZE, 7):
        filled("mandelbrot", 2, view, 2000, tiled, (0, y, SIZE, min(7, SIZE - y)))
    np.testing.assert_array_equal(planes.nf, tiled.nf)


def test_what_is_out_before_the_first_step_came_nowhere_near_a_trap():
    n, nf = np.array([[0, 3]], np.int32), np.zeros((1, 2), np.float32)
    z = np.array([[np.inf, 0.0]], np.complex64)
    rgb = np.zeros((1, 2, 3), np.uint8)
    black_to_white = table(np.array([[0, 0, 0], [255, 255, 255]], np.uint8), None, end=CLAMP)
    colour(n, nf, black_to_white, (0, 0, 0), 0.1, 0.0, rgb, mode=ORBIT_TRAP, clamp=True, z=z)
    assert rgb[0, 0].tolist() == [255, 255, 255]
    assert rgb[0, 1].tolist() == [0, 0, 0]


@given(one=st.floats(-5, 5), other=st.floats(-5, 5), slopes=st.tuples(*[st.floats(-5, 5)] * 4))
def test_the_smaller_of_two_has_its_own_derivative(one, other, slopes):
    mine, theirs = Dual(one, slopes[:2]), Dual(other, slopes[2:])
    least = smaller(mine, theirs)
    assert least.value == min(one, other)
    assert tuple(map(float, least.slopes)) == (slopes[2:] if other < one else slopes[:2])
    assert smaller(mine, other).value == smaller(one, theirs).value == min(one, other)
    assert smaller(mine, 1e9).slopes == pytest.approx(slopes[:2])


def test_a_constant_over_a_number_has_its_derivative():
    over = 3.0 / Dual(2.0, (5.0, 0))
    assert (over.value, over.slopes) == (1.5, (-3.75, 0))
