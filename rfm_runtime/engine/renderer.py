"""A view with the kernels that compute it: what workers, probes and benchmarks call."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from rfm_kernels.catalog import kernel, periods
from rfm_runtime.render.plan import ViewPlan

__all__ = ["Renderer"]


class Renderer:
    """Loads the kernels, or compiles them if nobody has.

    derivative: the last z, or how near the orbit came to its trap, and the distance are computed too. by_period: the
    length of the cycle that a pixel goes to is written as the fraction of those that did not escape, 0 where it is not
    known.
    """

    def __init__(self, view: ViewPlan, *, derivative: bool = False, by_period: bool = False) -> None:
        self.view = view
        self._numbers = np.array(view.numbers)
        self._nowhere = np.zeros((1, 1), np.complex64)
        self._kernel = kernel(
            view.formula,
            view.degree,
            julia=view.is_julia,
            interior_tests=view.interior_tests,
            derivative=derivative,
            trap=view.trap,
        )
        self._periods = periods(view.formula, view.degree) if by_period else None

    def compute(
        self,
        n: NDArray[np.int32],
        nf: NDArray[np.float32],
        x: int,
        y: int,
        step: int = 1,
        *,
        control: NDArray[Any] | None = None,
        counters: NDArray[Any] | None = None,
        z: NDArray[np.complex64] | None = None,
        far: NDArray[np.complex64] | None = None,
    ) -> int:
        """The pending pixels of a tile at x, y of the frame; see `rfm_kernels.escape_time.Kernel`."""
        control = np.zeros(1, np.int64) if control is None else control
        view = self.view
        told = self._kernel(
            n,
            nf,
            self._nowhere if z is None else z,
            self._nowhere if far is None else far,
            x,
            y,
            step,
            self._numbers,
            view.max_iter,
            view.limit,
            control,
            np.zeros(8, np.int64) if counters is None else counters,
        )
        if told or self._periods is None:
            return told
        return int(self._periods(n, nf, x, y, self._numbers, view.max_iter, view.is_julia, control))
