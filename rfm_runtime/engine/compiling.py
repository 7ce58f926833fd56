"""Compiles the kernels into the cache, in one process before any worker needs them.

Concurrent compilation would corrupt the cache. `python -m rfm_runtime.engine.compiling` with NUMBA_CACHE_DIR
set; one line on standard output before each module.
"""

from __future__ import annotations

import importlib
import sys

__all__ = ["MODULES", "main"]

MODULES = ("rfm_kernels.catalog", "rfm_kernels.colour")


def main() -> int:
    """Import every module with jitted functions: their eager signatures compile and are saved."""
    for number, module in enumerate(MODULES, 1):
        print(f"compiling kernels {number}/{len(MODULES)}", flush=True)
        importlib.import_module(module)
    return 0


if __name__ == "__main__":
    sys.exit(main())
