"""However many lanes a processor gets, it computes the same bits."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from numba import config

from rfm_kernels.catalog import kernel, plain_loop
from rfm_kernels.layout import NOT_ESCAPED, PENDING
from rfm_kernels.vectors import widths

ON_ANOTHER_CPU = """
import os, sys
os.environ.pop("NUMBA_CACHE_DIR", None)
from llvmlite import binding
cpu, avx512 = sys.argv[1], sys.argv[2] == "True"
own = binding.get_host_cpu_name, binding.get_host_cpu_features
binding.get_host_cpu_name = lambda: cpu
binding.get_host_cpu_features = lambda: {"avx512f": avx512}
from rfm_kernels import vectors
# The width is of another processor, the instructions are this one's.
binding.get_host_cpu_name, binding.get_host_cpu_features = own
print(vectors.LANES, vectors.MOST_LANES)
from tests.unit.rfm_kernels import test_widths
for name in test_widths.FORMULAS:
    for digest in test_widths.digests(name):
        print(digest)
"""
SIDE = 30 if config.DISABLE_JIT else 150
PARAMETERS = {"mandelbrot": (), "phoenix": (-0.5, 0.0)}
FORMULAS = list(PARAMETERS)
MAX_ITER = 300 if config.DISABLE_JIT else 3000
RADIUS2 = 1e6


def frame(name: str, *, tests: bool = False, sparse: bool = False, apart: bool = False) -> tuple[np.ndarray, ...]:
    """Counts and fractions of a view; its rows are of some lanes' widths and a rest."""
    n, nf = np.full((SIDE, SIDE), PENDING, np.int32), np.zeros((SIDE, SIDE), np.float32)
    if apart:
        # No row of pixels is one in memory.
        n, nf = (np.repeat(plane, 2, axis=1)[:, ::2] for plane in (n, nf))
    if sparse:
        n[:, ::3] = 7
    nothing, control, counters = np.zeros((1, 1), np.complex64), np.zeros(1, np.int64), np.zeros(8, np.int64)
    compute = kernel(name, interior_tests=tests)
    bounds = 1, view(name), MAX_ITER, RADIUS2
    assert compute(n, nf, nothing, nothing, 0, 0, *bounds, control, counters) == 0
    assert counters[0] == (SIDE * SIDE * 2 // 3 if sparse else SIDE * SIDE)
    return n, nf


def view(name: str) -> np.ndarray:
    spacing = 2.6 / SIDE
    return np.array([-2.0, 1.25, spacing, 0.0, 0.0, -spacing, 0.0, 0.0, *PARAMETERS[name]])


def digests(name: str) -> list[str]:
    """Of each way through the kernel: lanes, interior tests, pixels one by one, planes without runs."""
    frames = [frame(name), frame(name, tests=True), frame(name, sparse=True), frame(name, apart=True)]
    return [hashlib.sha256(n.tobytes() + nf.tobytes()).hexdigest() for n, nf in frames]


def test_the_width_follows_from_the_processor() -> None:
    assert widths("haswell", avx512=False, jitted=True) == (16, 16)
    assert widths("znver4", avx512=True, jitted=True) == (32, 32)
    assert widths("sapphirerapids", avx512=True, jitted=True) == (32, 32)
    assert widths("znver5", avx512=True, jitted=True) == (32, 64)
    # Where a hypervisor hides the wide registers, or nothing is compiled.
    assert widths("znver5", avx512=False, jitted=True) == (16, 16)
    assert widths("znver5", avx512=True, jitted=False) == (32, 32)


@pytest.mark.parametrize("name", FORMULAS)
def test_counts_of_this_width_are_those_of_the_plain_loop(name: str) -> None:
    n, _ = frame(name)
    expected = np.empty_like(n)
    plain_loop(name)(expected, 0, 0, view(name), MAX_ITER, RADIUS2, False)
    np.testing.assert_array_equal(n, expected)
    assert 0 < (n == NOT_ESCAPED).mean() < 1


@pytest.mark.skipif(config.DISABLE_JIT, reason="NUMBA_DISABLE_JIT is set")
@pytest.mark.scenario("C2")
@pytest.mark.timeout(400)  # Two kernels are compiled.
@pytest.mark.parametrize(
    ("cpu", "avx512", "lanes"),
    [("haswell", False, (16, 16)), ("znver4", True, (32, 32)), ("znver5", True, (32, 64))],
    ids=["16", "32", "64"],
)
def test_every_width_computes_the_same_bits(cpu: str, avx512: bool, lanes: tuple[int, int]) -> None:
    program = [sys.executable, "-c", ON_ANOTHER_CPU, cpu, str(avx512)]
    root = Path(__file__).parents[3]
    run = subprocess.run(program, cwd=root, capture_output=True, text=True, check=True, timeout=390)
    widths_line, *found = run.stdout.split("\n")[:-1]
    assert widths_line == f"{lanes[0]} {lanes[1]}"
    assert found == [digest for name in FORMULAS for digest in digests(name)]
