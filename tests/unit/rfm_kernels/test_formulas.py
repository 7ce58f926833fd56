"""Every formula: identity with the plain loop, with the oracle, at every tiling; symmetries; derivatives."""

from __future__ import annotations

import math
import re
import subprocess
import sys
import threading
import time
from typing import NamedTuple

import numpy as np
import pytest
from numba import config

from rfm_kernels.catalog import kernel, plain_loop
from rfm_kernels.formulas import formula
from rfm_kernels.layout import NOT_ESCAPED, PENDING
from rfm_kernels.oracle import escape

pytestmark = pytest.mark.scenario("J35")

compiled = pytest.mark.skipif(config.DISABLE_JIT, reason="NUMBA_DISABLE_JIT is set")
SIZE = 12 if config.DISABLE_JIT else 80
CUBE = (1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0)
"""R, then z³ − 1."""
QUARTIC = (0.9, 0.1, 1.0, 0.0, 0.0, 0.0, 0.5, -0.2, 0.0, 0.0, -1.0, 0.3)


class Case(NamedTuple):
    """A view of a formula: centre, width, what it takes."""

    name: str
    degree: int = 2
    re: float = -0.3
    im: float = 0.0
    width: float = 4.0
    julia: tuple[float, float] | None = None
    parameters: tuple[float, ...] = ()
    max_iter: int = 300
    limit: float = 1e6

    @property
    def spacing(self) -> float:
        return self.width / SIZE

    @property
    def view(self) -> np.ndarray:
        s = self.spacing
        re0, im0 = self.re - s * (SIZE + 4) / 2, self.im + s * (SIZE - 1) / 2
        return np.array([re0, im0, s, 0.0, 0.0, -s, *(self.julia or (0.0, 0.0)), *self.parameters])

    @property
    def in_plane(self) -> bool:
        return self.julia is not None or self.name == "newton"


CASES = {
    "mandelbrot": Case("mandelbrot"),
    "cubic": Case("multibrot", 3),
    "cubic julia": Case("multibrot", 3, 0.0, julia=(0.4, 0.3)),
    "seventh power": Case("multibrot", 7, max_iter=150),
    "burning ship": Case("burning_ship", re=-0.4, im=-0.5),
    "armada": Case("burning_ship", re=-1.762, im=-0.028, width=0.08),
    "burning ship julia": Case("burning_ship", re=0.0, julia=(-1.2, -0.3)),
    "perpendicular ship": Case("perpendicular_ship"),
    "celtic": Case("celtic"),
    "celtic julia": Case("celtic", re=0.0, julia=(-0.7, 0.3)),
    "buffalo": Case("buffalo"),
    "tricorn": Case("tricorn", re=0.0),
    "tricorn julia": Case("tricorn", re=0.0, julia=(-0.4, 0.2)),
    "phoenix": Case("phoenix", parameters=(-0.5, 0.0)),
    "phoenix julia": Case("phoenix", re=0.0, width=3.0, julia=(0.5667, 0.0), parameters=(-0.5, 0.1)),
    "newton": Case("newton", 3, 0.0, parameters=CUBE, limit=1e-12),
    "newton of a quartic": Case("newton", 4, 0.0, parameters=QUARTIC, limit=1e-14),
    "nova": Case("nova", 3, 0.0, width=3.0, parameters=CUBE, limit=1e-12),
    "nova julia": Case("nova", 3, 0.0, width=3.0, julia=(0.1, -0.2), parameters=CUBE, limit=1e-12),
}

cases = pytest.mark.parametrize("case", CASES.values(), ids=CASES)


class Frame:
    """Buffers of a view, computed by the kernel."""

    def __init__(self, case: Case, *, derivative: bool = False, tests: bool = True) -> None:
        self.case, self.derivative, self.tests = case, derivative, tests
        self.shape = SIZE, SIZE + 5
        self.n, self.nf = np.full(self.shape, PENDING, np.int32), np.zeros(self.shape, np.float32)
        self.z, self.far = np.zeros(self.shape, np.complex64), np.zeros(self.shape, np.complex64)
        self.counters = np.zeros(8, np.int64)

    def run(self, x: int = 0, y: int = 0, w: int = SIZE + 5, h: int = SIZE, step: int = 1) -> int:
        part = np.s_[y : y + h, x : x + w]
        case = self.case
        options = {"julia": case.in_plane, "interior_tests": self.tests, "derivative": self.derivative}
        compute = kernel(case.name, case.degree, **options)
        planes = self.n[part], self.nf[part], self.z[part], self.far[part]
        bounds = case.view, case.max_iter, case.limit, np.zeros(1, np.int64)
        return compute(*planes, x, y, step, *bounds, self.counters)

    def point(self, x: int, y: int) -> tuple[float, float]:
        view = self.case.view
        return float(view[0] + view[2] * x), float(view[1] + view[5] * y)


@cases
@pytest.mark.scenario("C1")
@pytest.mark.parametrize("tests", [True, False], ids=["interior tests", "plain"])
def test_counts_are_those_of_the_plain_loop(case: Case, tests: bool) -> None:
    frame = Frame(case, tests=tests)
    assert frame.run() == 0
    expected = np.empty_like(frame.n)
    plain_loop(case.name, case.degree)(expected, 0, 0, case.view, case.max_iter, case.limit, case.in_plane)
    np.testing.assert_array_equal(frame.n, expected)
    assert len(np.unique(frame.n)) > 3
    assert np.isfinite(frame.nf).all()
    assert not frame.nf[frame.n == NOT_ESCAPED].any()


@cases
@pytest.mark.scenario("C1")
def test_cycles_save_iterations_and_take_no_pixel_that_is_done_later(case: Case) -> None:
    many = case._replace(max_iter=6000)
    frame, plain = Frame(many), Frame(many, tests=False)
    assert frame.run() == plain.run() == 0
    np.testing.assert_array_equal(frame.n, plain.n)
    inside = (plain.n == NOT_ESCAPED).mean()
    if case in (CASES["burning ship julia"], CASES["celtic julia"]):
        # Their inside goes to no cycle, but wanders about in a bounded attractor.
        assert frame.counters[2] == plain.counters[2]
    elif inside > 0.01:
        assert frame.counters[2] < (1.0 - inside / 4) * plain.counters[2]


@cases
@pytest.mark.scenario("C1")
def test_counts_and_fractions_are_those_of_the_oracle(case: Case) -> None:
    frame = Frame(case)
    frame.run()
    pairs = list(zip(case.parameters[0::2], case.parameters[1::2], strict=True))
    extra = {"p": pairs[0]} if case.name == "phoenix" else {"relaxation": pairs[0]} if pairs else {}
    rng = np.random.default_rng(7)
    compared = 0
    for _ in range(150):
        x, y = int(rng.integers(SIZE + 5)), int(rng.integers(SIZE))
        truth = escape(
            case.name,
            *frame.point(x, y),
            case.julia,
            case.max_iter,
            math.sqrt(case.limit),
            300,
            power=case.degree,
            coefficients=pairs[1:],
            **extra,
        )
        if not -1 <= truth.n < 60 or frame.n[y, x] >= 60:
            # A double's rounding, doubled sixty times, may decide.
            continue
        compared += 1
        assert frame.n[y, x] == truth.n, (x, y)
        # Rounding errors grow by a step's derivative each time; and of what converges the last step is a difference.
        if 0 <= truth.n < 25:
            tolerance = 1e-3 if formula(case.name, case.degree).converges else 2e-6
            assert frame.n[y, x] + float(frame.nf[y, x]) == pytest.approx(truth.mu, abs=tolerance)
    assert compared > 60


@cases
@pytest.mark.scenario("C2")
def test_a_frame_is_the_same_bits_at_every_tiling_and_after_a_preview(case: Case) -> None:
    whole, tiled = Frame(case, derivative=True), Frame(case, derivative=True)
    whole.run()
    tiled.run(step=8)
    for y in range(0, SIZE, 33):
        for x in reversed(range(0, SIZE + 5, 19)):
            tiled.run(x, y, min(19, SIZE + 5 - x), min(33, SIZE - y))
    for name in ("n", "nf", "z", "far"):
        assert getattr(whole, name).tobytes() == getattr(tiled, name).tobytes(), name
    assert list(whole.counters[:2]) == list(tiled.counters[:2])


@cases
@pytest.mark.scenario("C1")
def test_with_a_derivative_the_counts_are_the_same(case: Case) -> None:
    plain, more = Frame(case), Frame(case, derivative=True)
    plain.run()
    more.run()
    assert plain.n.tobytes() == more.n.tobytes()
    assert plain.nf.tobytes() == more.nf.tobytes()
    if not formula(case.name, case.degree).converges:
        outside = more.n > 0
        assert (np.abs(more.z[outside]) > 0.999 * math.sqrt(case.limit)).all()
        assert not more.z[~outside & (more.n == NOT_ESCAPED)].any()


ESCAPING = {name: case for name, case in CASES.items() if case.limit > 1.0}


@pytest.mark.parametrize("case", ESCAPING.values(), ids=ESCAPING)
def test_the_distance_is_that_of_finite_differences(case: Case) -> None:
    frame = Frame(case, derivative=True)
    frame.run()
    start, degree = complex(*formula(case.name, case.degree).start[:2]), case.degree
    rng, compared = np.random.default_rng(3), 0

    def size(re: float, im: float, count: int) -> float:
        """|z| after so many applications, by NumPy's own arithmetic."""
        point, z = (re, im), [0.0] * formula(case.name, degree).words
        c = case.julia or point
        z[:2] = point if case.julia else (start.real, start.imag)
        for _ in range(count):
            z = list(formula(case.name, degree).step(tuple(z), c, case.parameters))
        return math.hypot(z[0], z[1])

    for _ in range(200):
        x, y = int(rng.integers(SIZE + 5)), int(rng.integers(SIZE))
        count = int(frame.n[y, x])
        if not 1 <= count < 12:
            continue
        re, im = frame.point(x, y)
        norm = size(re, im, count)
        ahead, back = (
            complex(
                (size(re + step, im, count) - norm) / step,
                (size(re, im + step, count) - norm) / step,
            )
            for step in (1e-8, -1e-8)
        )
        slope = (ahead + back) / 2
        if abs(ahead - back) > 1e-3 * abs(slope):
            # A fold of the formula lies here.
            continue
        expected = 2.0 * norm * math.log(norm) / abs(slope) / case.spacing
        assert abs(frame.far[y, x]) == pytest.approx(expected, rel=2e-3)
        assert np.angle(frame.far[y, x] / slope) == pytest.approx(0.0, abs=2e-3)
        compared += 1
    assert compared > 20


@pytest.mark.parametrize(
    ("case", "turns"),
    [(Case("multibrot", 4, 0.0), 3), (Case("multibrot", 3, 0.0), 2), (Case("tricorn", 2, 0.0), 3)],
    ids=["quartic", "cubic", "tricorn"],
)
def test_a_set_of_a_symmetry_of_rotation_has_it(case: Case, turns: int) -> None:
    for radius in (0.7, 0.9, 1.1, 1.3):
        counts = set()
        for turn in range(turns):
            angle = 2 * math.pi * turn / turns + 0.37
            point = (radius * math.cos(angle), radius * math.sin(angle))
            n, nf = np.full((1, 1), PENDING, np.int32), np.zeros((1, 1), np.float32)
            view = np.array([*point, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0])
            nothing, words = np.zeros((1, 1), np.complex64), np.zeros(8, np.int64)
            kernel(case.name, case.degree)(n, nf, nothing, nothing, 0, 0, 1, view, 300, 1e6, words[:1], words.copy())
            counts.add((int(n[0, 0]), round(float(nf[0, 0]), 4)))
        assert len(counts) == 1, counts


@pytest.mark.parametrize("name", ["celtic", "burning_ship", "tricorn", "perpendicular_ship", "buffalo"])
def test_a_conjugate_is_what_the_formula_makes_of_it(name: str) -> None:
    """Celtic and tricorn are their own mirror image about the real axis; of a ship only its mirror in x is not."""
    # Of a spacing that is exact, so that its rows are conjugate to the last bit.
    frame = Frame(Case(name, re=-0.3, im=0.0, width=SIZE / (8 if config.DISABLE_JIT else 32)))
    frame.run()
    own = np.array_equal(frame.n, frame.n[::-1])
    assert own == (name in ("celtic", "tricorn"))


SQUARE = (1.0, 0.0, 0.0, 0.0, 0.0, 0.0)
"""z², after R."""
UNDEFINED = {
    "at once": ("newton", (1.0, 0.0, *CUBE[2:]), 0.0, 0.0),
    "at the second step": ("newton", (1.0, 0.0, 1.0, 0.0, 0.0, 0.0, -1.0, 0.0), 0.0, 1.0),
    # With R = 0 nova's map is z + c, as long as f' is not 0: from 1 down to 0 at the pace of c.
    "in the first block": ("nova", (0.0, 0.0, *SQUARE), -0.25, 0.0),
    "in a lane": ("nova", (0.0, 0.0, *SQUARE), -(2.0**-5), 0.0),
    "long after": ("nova", (0.0, 0.0, *SQUARE), -(2.0**-9), 0.0),
}


@pytest.mark.scenario("J46")
@pytest.mark.parametrize(("name", "parameters", "re", "im"), UNDEFINED.values(), ids=UNDEFINED)
@pytest.mark.parametrize("tests", [True, False], ids=["interior tests", "plain"])
def test_a_point_whose_step_divides_by_zero_never_ends(name, parameters, re, im, tests) -> None:
    """Beside neighbours that do end, at every place of a vector; the same with a derivative, and for whoever asks."""
    degree, columns, max_iter, limit = len(parameters) // 2 - 2, 40, 600, 1e-12
    for at in (0, 3, columns - 1):
        view = np.array([re - 0.25 * at, im, 0.25, 0.0, 0.0, 0.25, 0.0, 0.0, *parameters])
        found = []
        for derivative in (False, True):
            n, nf = np.full((1, columns), PENDING, np.int32), np.zeros((1, columns), np.float32)
            z, far = np.zeros((1, columns), np.complex64), np.zeros((1, columns), np.complex64)
            counters = np.zeros(8, np.int64)
            compute = kernel(name, degree, julia=name == "newton", interior_tests=tests, derivative=derivative)
            bounds = view, max_iter, limit, np.zeros(1, np.int64)
            assert compute(n, nf, z, far, 0, 0, 1, *bounds, counters) == 0
            assert (n[0, at], nf[0, at], z[0, at], far[0, at]) == (NOT_ESCAPED, 0.0, 0.0, 0.0)
            assert counters[0] == columns
            found.append(n)
        expected = np.empty_like(n)
        plain_loop(name, degree)(expected, 0, 0, view, max_iter, limit, name == "newton")
        for counts in found:
            np.testing.assert_array_equal(counts, expected)
    pairs = list(zip(parameters[0::2], parameters[1::2], strict=True))
    truth = escape(name, re, im, None, max_iter, math.sqrt(limit), 200, coefficients=pairs[1:], relaxation=pairs[0])
    assert (truth.n, truth.mu) == (-1, 0.0)


@pytest.mark.scenario("J46")
@pytest.mark.parametrize("degree", [3, 8, 16])
def test_where_a_step_goes_very_far_out_a_point_comes_back_as_the_oracle_says(degree: int) -> None:
    """Near 0, where all derivatives of zᵈ − 1 but the last are 0: powers of z after a step have hundreds of digits."""
    coefficients = (1.0, 0.0, *[0.0, 0.0] * (degree - 1), -1.0, 0.0)
    points = ((1e-4, 0.0), (0.003, 0.0), (0.01, 0.005), (0.03, 0.0), (0.1, 0.05), (0.15, 0.01))
    for x, y in points:
        n, nf = np.full((1, 1), PENDING, np.int32), np.zeros((1, 1), np.float32)
        nothing, words = np.zeros((1, 1), np.complex64), np.zeros(8, np.int64)
        view = np.array([x, y, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 1.0, 0.0, *coefficients])
        compute = kernel("newton", degree, julia=True)
        compute(n, nf, nothing, nothing, 0, 0, 1, view, 3000, 1e-12, words[:1], words.copy())
        pairs = list(zip(coefficients[0::2], coefficients[1::2], strict=True))
        truth = escape("newton", x, y, None, 3000, 1e-6, 400, coefficients=pairs)
        assert n[0, 0] == truth.n, (x, y)
        if truth.n > 0:
            assert n[0, 0] + float(nf[0, 0]) == pytest.approx(truth.mu, abs=1e-3)


@compiled
@pytest.mark.scenario("C3")
@pytest.mark.parametrize("name", ["multibrot", "burning_ship", "phoenix"])
def test_a_flag_stops_a_pixel_that_never_escapes(name: str) -> None:
    parameters = (-0.5, 0.0) if name == "phoenix" else ()
    case = Case(name, parameters=parameters)
    n, nf = np.full((1, 1), PENDING, np.int32), np.zeros((1, 1), np.float32)
    nothing, control, counters = np.zeros((1, 1), np.complex64), np.zeros(1, np.int64), np.zeros(8, np.int64)
    view = np.array([0.01, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, 0.0, *parameters])
    compute = kernel(name, case.degree, interior_tests=False)
    seen: list[float] = []

    def stop() -> None:
        deadline_s = time.monotonic() + 20
        while counters[2] < 1_000_000 and time.monotonic() < deadline_s:
            time.sleep(0)
        control[0] = 1
        seen.append(time.perf_counter())

    thread = threading.Thread(target=stop)
    thread.start()
    answer = compute(n, nf, nothing, nothing, 0, 0, 1, view, 2**31 - 1, 1e6, control, counters)
    returned_s = time.perf_counter()
    thread.join()
    assert answer == 1
    assert n[0, 0] == PENDING
    assert returned_s - seen[0] < 0.05


FOR_ANOTHER_CPU = """
import os, sys
os.environ.pop("NUMBA_CACHE_DIR", None)
from llvmlite import binding
lanes, cpu = int(sys.argv[1]), sys.argv[2]
own = binding.get_host_cpu_features
def claimed():
    features = own()
    features["avx512f"] = lanes >= 32
    return features
binding.get_host_cpu_features = claimed
binding.get_host_cpu_name = lambda: cpu
from rfm_kernels import escape_time, formulas
names = escape_time.names(formulas.formula("burning_ship"))
assert names["LANES"] == lanes
made = escape_time.compiled(names, "elsewhere")
binding.initialize_all_targets()
binding.initialize_all_asmprinters()
module = binding.parse_assembly(next(iter(made.inspect_llvm().values())))
target = binding.Target.from_triple("x86_64-unknown-linux-gnu").create_target_machine(cpu=cpu, opt=3)
print(target.emit_assembly(module))
"""


@compiled
@pytest.mark.parametrize(
    ("lanes", "cpu", "register"), [(64, "znver5", "z"), (32, "x86-64-v4", "z"), (16, "x86-64-v3", "y")]
)
def test_on_any_processor_a_step_is_code_of_its_widest_registers_without_contraction(lanes, cpu, register) -> None:
    """Compiled for each, whichever of them this machine is."""
    program = [sys.executable, "-c", FOR_ANOTHER_CPU, str(lanes), cpu]
    assembly = subprocess.run(program, capture_output=True, text=True, check=True).stdout
    packed = re.findall(r"\bvmulpd\s+[^\n]*%([xyz])mm", assembly)
    assert set(packed) == {register}
    assert len(packed) >= 3 * 8
    assert not re.search(r"\bvfn?m(add|sub)", assembly)


@pytest.mark.parametrize("name", ["nova", "newton"])
def test_the_fraction_of_what_converges_is_continuous_however_fast_it_does(name: str) -> None:
    """Across the pixels of a line, much nearer to each other than its bands: a step of the count is none of the sum."""
    columns = 400 if config.DISABLE_JIT else 4000
    view = np.array([0.05, 0.02, 2e-5 * 4000 / columns, 0.0, 0.0, -1.0, 0.0, 0.0, *CUBE])
    n, nf = np.full((1, columns), PENDING, np.int32), np.zeros((1, columns), np.float32)
    nothing, words = np.zeros((1, 1), np.complex64), np.zeros(8, np.int64)
    compute = kernel(name, 3, julia=name == "newton")
    compute(n, nf, nothing, nothing, 0, 0, 1, view, 3000, 1e-12, words[:1], words.copy())
    assert len(np.unique(n)) > 2
    mu = n[0] + nf[0].astype(np.float64)
    jumps = np.abs(np.diff(mu))
    crossings = np.diff(n[0]) != 0
    assert jumps[crossings].max() < 10 * max(np.median(jumps), 1e-3)
