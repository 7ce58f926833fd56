"""Which kernel computes which formula: a dictionary look-up. Importing it compiles or loads them."""

from __future__ import annotations

from rfm_kernels import escape_time

__all__ = ["kernel"]

KERNELS: dict[tuple[str, bool, bool], escape_time.Kernel] = {
    ("mandelbrot", False, True): escape_time.mandelbrot,
    ("mandelbrot", False, False): escape_time.mandelbrot_plain,
    ("mandelbrot", True, True): escape_time.julia,
    ("mandelbrot", True, False): escape_time.julia_plain,
}


def kernel(formula: str, *, julia: bool = False, interior_tests: bool = True) -> escape_time.Kernel:
    """The kernel of a formula, or of its Julia set. Raises KeyError for a formula without one."""
    return KERNELS[formula, julia, interior_tests]
