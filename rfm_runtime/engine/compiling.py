"""Compiles kernels into the cache, each in one process before any worker needs it.

`python -m rfm_runtime.engine.compiling` with NUMBA_CACHE_DIR set compiles what every render needs, one line on standard
output before each module; with FORMULA DEGREE plain|derivative|TRAP[+periods], the kernels of that formula.
"""

from __future__ import annotations

import importlib
import os
import signal
import sys

from rfm_runtime.observe.process import die_with_parent

__all__ = ["MODULES", "main"]

MODULES = ("rfm_kernels.catalog", "rfm_kernels.colour", "rfm_kernels.samples")

NICE = 5


def main(arguments: list[str]) -> int:
    """Import every module with jitted functions: their eager signatures compile and are saved."""
    if arguments:
        # On behalf of an engine that goes on rendering, and only as long as it lives.
        die_with_parent(os.getppid(), signal.SIGKILL)
        os.setpriority(os.PRIO_PROCESS, 0, NICE)
        from rfm_kernels.catalog import prepare

        formula, degree, kind = arguments
        kind, _, periods = kind.partition("+")
        trap = None if kind in ("plain", "derivative") else kind
        prepare(formula, int(degree), derivative=kind != "plain", trap=trap, by_period=bool(periods))
        return 0
    for number, module in enumerate(MODULES, 1):
        print(f"compiling kernels {number}/{len(MODULES)}", flush=True)
        importlib.import_module(module)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
