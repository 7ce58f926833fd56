"""P18: every formula on one core, nominal iterations/s against its plain loop, which Numba compiles from the same step.

Without interior tests, so that both iterate everything. Both run in turn, the best of each counts.
"""

from __future__ import annotations

import importlib
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import numpy as np

from rfm_kernels.cache_key import cache_key
from rfm_runtime.config import cache_home

__all__ = ["run"]

SIDE = 320
BAILOUT2 = 1e6
EPSILON2 = 1e-12
CUBE = (1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0)
"""R, then z³ − 1."""

Case = tuple[str, str, int, tuple[float, float, float], tuple[float, float] | None, tuple[float, ...], int]
CASES: tuple[Case, ...] = (
    ("mandelbrot", "mandelbrot", 2, (-0.65, 0.0, 3.2), None, (), 2000),
    ("mandelbrot, Julia set", "mandelbrot", 2, (0.0, 0.0, 3.2), (-0.7436, 0.1318), (), 2000),
    ("multibrot, power 3", "multibrot", 3, (0.0, 0.0, 2.6), None, (), 2000),
    ("multibrot, power 8", "multibrot", 8, (0.0, 0.0, 2.6), None, (), 2000),
    ("burning_ship", "burning_ship", 2, (-1.762, -0.028, 0.08), None, (), 2000),
    ("burning_ship, Julia set", "burning_ship", 2, (0.0, 0.0, 3.2), (-1.2, -0.3), (), 2000),
    ("perpendicular_ship", "perpendicular_ship", 2, (-0.6, -0.1, 3.6), None, (), 2000),
    ("celtic", "celtic", 2, (-0.6, 0.0, 3.6), None, (), 2000),
    ("buffalo", "buffalo", 2, (-0.4, -0.4, 3.6), None, (), 2000),
    ("tricorn", "tricorn", 2, (-0.2, 0.0, 3.6), None, (), 2000),
    ("phoenix", "phoenix", 2, (0.0, 0.0, 3.0), None, (-0.5, 0.0), 2000),
    ("newton, z³ − 1", "newton", 3, (0.0, 0.0, 4.0), None, CUBE, 500),
    ("nova, z³ − 1", "nova", 3, (-0.35, 0.0, 1.6), None, CUBE, 500),
)


def run(quick: bool = False) -> list[dict[str, Any]]:
    """A row for each formula."""
    os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_home() / "kernels" / cache_key()))
    # It looks at NUMBA_CACHE_DIR as it is imported.
    catalog = importlib.import_module("rfm_kernels.catalog")
    return [_row(catalog, *case, rounds=1 if quick else 5) for case in CASES]


def _row(
    catalog: Any,
    what: str,
    name: str,
    degree: int,
    place: tuple[float, float, float],
    julia: tuple[float, float] | None,
    parameters: tuple[float, ...],
    max_iter: int,
    *,
    rounds: int,
) -> dict[str, Any]:
    re, im, width = place
    spacing = width / SIDE
    view = np.array([re - width / 2, im + width / 2, spacing, 0.0, 0.0, -spacing, *(julia or (0.0, 0.0)), *parameters])
    limit = EPSILON2 if name in ("newton", "nova") else BAILOUT2
    in_plane = julia is not None or name == "newton"
    compute = catalog.kernel(name, degree, julia=in_plane, interior_tests=False)
    loop = catalog.plain_loop(name, degree)
    counters = np.zeros(8, np.int64)

    def ours() -> Any:
        n, nf = np.full((SIDE, SIDE), -2, np.int32), np.zeros((SIDE, SIDE), np.float32)
        nothing, word = np.zeros((1, 1), np.complex64), np.zeros(1, np.int64)
        counters[:] = 0
        compute(n, nf, nothing, nothing, 0, 0, 1, view, max_iter, limit, word, counters)
        return n

    def peer() -> Any:
        n = np.empty((SIDE, SIDE), np.int32)
        loop(n, 0, 0, view, max_iter, limit, in_plane)
        return n

    # Both compiled, and the same.
    same = bool((ours() == peer()).all())
    nominal = int(counters[1])
    ours_s = peer_s = float("inf")
    for _ in range(rounds):
        ours_s, peer_s = min(ours_s, _timed(ours)), min(peer_s, _timed(peer))
    return {
        "id": "P18",
        "what": what if same else f"{what}: counts differ",
        "ours": nominal / ours_s / 1e9,
        "peer": nominal / peer_s / 1e9,
        "unit": "G iterations/s",
        "ratio": peer_s / ours_s,
        "target": "same counts",
        "met": same,
    }


def _timed(function: Callable[[], Any]) -> float:
    begin_s = time.perf_counter()
    function()
    return time.perf_counter() - begin_s


if __name__ == "__main__":
    for row in run(quick="--quick" in sys.argv):
        print("{what:28} {ours:7.3f} {peer:7.3f} {ratio:6.2f} {met}".format(**row))
