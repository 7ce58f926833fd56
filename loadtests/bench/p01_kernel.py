"""P1: the shallow kernel on one core against hand-vectorised C, nominal iterations/s.

The peer is `simd()` of peers/escape_time.c, built here with the machine's compiler. Both run in turn, the best
of each counts: whatever else the machine does only makes a run slower. Each writes into the same memory in all its
runs, as a worker does: that the system finds pages for it is no part of a kernel's time.
"""

from __future__ import annotations

import ctypes
import importlib
import math
import os
import shutil
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from rfm_kernels.cache_key import cache_key
from rfm_kernels.layout import PENDING

__all__ = ["run"]

PEER = Path(__file__).parent / "peers" / "escape_time.c"
VIEWS = {
    "a": (-2.0, -1.25, 2.5, 1024, 500),
    "b": (-0.7488, 0.1077, 0.005, 512, 2000),
    "c": (-1.79, -0.035, 0.07, 1024, 20_000),
}
"""left, top, span, pixels a side, iterations. The peer counts rows upwards from `top`."""
GOALS = (
    ("a", False, 1.0),
    ("b", True, 1.5),
    ("a", True, 3.0),
    ("c", True, 3.0),
    ("b", False, None),
    ("c", False, None),
)
BAILOUT2 = 4.0


def run(quick: bool = False) -> list[dict[str, Any]]:
    """A row for each view, with and without interior tests, and one for the counts."""
    least_s = 0.2 if quick else 2.0
    with tempfile.TemporaryDirectory() as folder:
        peer = _peer(Path(folder))
        rows = []
        for name, tests, goal in GOALS:
            if quick and name == "c" and not tests:
                continue
            rows.append(_row(name, tests, goal, least_s, peer))
    rows.append(_identity(quick))
    return rows


def _row(name: str, tests: bool, goal: float | None, least_s: float, peer: Callable[..., float]) -> dict[str, Any]:
    """Runs for so long, and at least two: a short one is as often disturbed as a long one, and has more of them."""
    nominal, ours_s, peer_s, turns = 0, math.inf, math.inf, 0
    planes, counts = _planes(name), _planes(name)[0]
    begin_s = time.perf_counter()
    while turns < 2 or time.perf_counter() - begin_s < least_s:
        elapsed_s, nominal = _ours(name, tests, planes)
        ours_s = min(ours_s, elapsed_s)
        peer_s = min(peer_s, peer(*VIEWS[name], counts.ctypes.data))
        turns += 1
    ratio = peer_s / ours_s
    return {
        "id": "P1",
        "what": f"view ({name}), {'with' if tests else 'without'} interior tests",
        "ours": nominal / ours_s / 1e9,
        "peer": nominal / peer_s / 1e9,
        "unit": "G iterations/s",
        "ratio": ratio,
        "target": "–" if goal is None else f"≥ {goal:g}×",
        "met": goal is None or ratio >= goal,
    }


def _peer(folder: Path) -> Callable[..., float]:
    library = folder / "escape_time.so"
    wide = "avx512f" in Path("/proc/cpuinfo").read_text(encoding="utf-8")
    options = ["-O3", "-march=native", "-ffast-math", "-fno-finite-math-only", "-DU=4", "-shared", "-fPIC"]
    compiler = shutil.which("gcc") or "cc"
    subprocess.run([compiler, *options, f"-DW={8 if wide else 4}", str(PEER), "-o", str(library)], check=True)
    simd = ctypes.CDLL(str(library)).simd
    simd.argtypes = [*[ctypes.c_double] * 3, *[ctypes.c_int] * 3, ctypes.c_void_p]

    def measure(left: float, top: float, span: float, side: int, max_iter: int, out: int) -> float:
        begin_s = time.perf_counter()
        simd(left, top, span / side, side, side, max_iter, out)
        return time.perf_counter() - begin_s

    return measure


def _planes(name: str) -> tuple[Any, Any]:
    """Room for the counts and smooth fractions of a view."""
    side = VIEWS[name][3]
    return np.full((side, side), 0, np.int32), np.full((side, side), 0.0, np.float32)


def _ours(name: str, tests: bool, planes: tuple[Any, Any]) -> tuple[float, int]:
    """Seconds and nominal iterations of one run, smooth fractions included."""
    kernels = _kernels()
    max_iter, (n, nf) = VIEWS[name][4], planes
    n[:] = PENDING
    control, counters = np.zeros(1, np.int64), np.zeros(8, np.int64)
    nothing = np.zeros((1, 1), np.complex64)
    compute = kernels.kernel("mandelbrot", interior_tests=tests)
    begin_s = time.perf_counter()
    compute(n, nf, nothing, nothing, 0, 0, 1, _view(name), max_iter, BAILOUT2, control, counters)
    return time.perf_counter() - begin_s, int(counters[1])


def _view(name: str) -> Any:
    left, top, span, side, _ = VIEWS[name]
    spacing = span / side
    return np.array([left, top + spacing * (side - 1), spacing, 0.0, 0.0, -spacing, 0.0, 0.0])


def _kernels() -> Any:
    """The compiled kernels: imported late, since Numba reads the cache's folder when it is imported."""
    os.environ.setdefault("NUMBA_CACHE_DIR", str(Path(tempfile.gettempdir()) / f"rfm-kernels-{cache_key()}"))
    return importlib.import_module("rfm_kernels.catalog")


def _identity(quick: bool) -> dict[str, Any]:
    """Pixels whose count is not the scalar kernel's, over all views."""
    differing = pixels = 0
    for name in "b" if quick else VIEWS:
        max_iter, planes = VIEWS[name][4], _planes(name)
        expected = np.empty_like(planes[0])
        _kernels().plain_loop("mandelbrot")(expected, 0, 0, _view(name), max_iter, BAILOUT2, False)
        for tests in (False, True):
            _ours(name, tests, planes)
            differing += int((planes[0] != expected).sum())
            pixels += expected.size
    return {
        "id": "P1",
        "what": f"counts that differ from the scalar kernel's, {pixels} pixels",
        "ours": float(differing),
        "peer": None,
        "unit": "pixels",
        "ratio": None,
        "target": "0",
        "met": differing == 0,
    }


if __name__ == "__main__":
    for row in run():
        shown = {key: f"{value:.3f}" if isinstance(value, float) else value for key, value in row.items()}
        print("{what:55} {ours:>9} {peer!s:>9} {unit:15} {ratio!s:>7} {target:8} {met}".format(**shown))
