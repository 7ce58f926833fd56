"""Which kernel computes which formula. Importing this compiles or loads the one that is needed most."""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache
from pathlib import Path
from typing import Any

from numba import config

from rfm_kernels import escape_time, pixelwise
from rfm_kernels.formulas import formula, label, trapped

__all__ = ["cycle", "kernel", "periods", "plain_loop", "prepare"]


@contextmanager
def _alone(name: str) -> Iterator[None]:
    """One process compiles a kernel, the others wait for it and load what it has saved."""
    if not config.CACHE_DIR:
        yield
        return
    folder = Path(config.CACHE_DIR)
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / f"{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@cache
def _kernels(name: str, degree: int, derivative: bool, trap: str | None) -> Any:
    made, known_as = formula(name, degree), label(name, degree)
    if trap is not None:
        made, known_as = trapped(made, trap), f"{known_as}_{trap}"
    with _alone(f"{known_as}{'_d' * derivative}"):
        return escape_time.build(made, known_as, derivative=derivative)


def prepare(
    name: str, degree: int = 2, *, derivative: bool = False, trap: str | None = None, by_period: bool = False
) -> None:
    """Have the kernels of a formula compiled, or loaded. Raises KeyError for a formula without one."""
    _kernels(name, degree, derivative, trap)
    if by_period:
        periods(name, degree)


def kernel(
    name: str,
    degree: int = 2,
    *,
    julia: bool = False,
    interior_tests: bool = True,
    derivative: bool = False,
    trap: str | None = None,
) -> escape_time.Kernel:
    """The kernel of a formula, or of its Julia set.

    degree: of a Multibrot, or of the polynomial of `newton` and `nova`; 2 for others. derivative: it writes the last z
    and the distance estimate too. trap: a name in `rfm_kernels.formulas.TRAPS`; with a derivative how near the orbit
    has come to it is written in place of the last z. Raises KeyError for a formula without one.
    """
    made: escape_time.Kernel = _kernels(name, degree, derivative, trap)(julia=julia, tests=interior_tests)
    return made


@cache
def cycle(name: str, degree: int = 2) -> Any:
    """The cycle that a point's orbit goes to, see `pixelwise.cycle_finder`."""
    return pixelwise.cycle_finder(formula(name, degree), label(name, degree))


@cache
def periods(name: str, degree: int = 2) -> Any:
    """Writes the periods of a tile's pixels, see `pixelwise.period_filler`."""
    known_as = label(name, degree)
    with _alone(f"{known_as}_p"):
        return pixelwise.period_filler(formula(name, degree), known_as)


@cache
def plain_loop(name: str, degree: int = 2) -> Any:
    """The counts of a formula pixel by pixel, see `pixelwise.plain_loop`."""
    return pixelwise.plain_loop(formula(name, degree), label(name, degree))


prepare("mandelbrot")
