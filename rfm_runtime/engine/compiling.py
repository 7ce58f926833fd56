"""Compiles kernels into the cache, each in one process before any worker needs it.

`python -m rfm_runtime.engine.compiling` with NUMBA_CACHE_DIR set compiles what every render needs, one line on standard
output before each module; with FORMULA DEGREE plain|derivative|TRAP[+periods], the kernels of that formula.
"""

from __future__ import annotations

import importlib
import inspect
import os
import signal
import sys
import traceback
from pathlib import Path

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
        try:
            prepare(formula, int(degree), derivative=kind != "plain", trap=trap, by_period=bool(periods))
        except Exception as error:
            if (said := _said_of_step(error, formula)) is None:
                raise
            print(said, file=sys.stderr)
            return 1
        return 0
    # Numba is loaded once; then the first module is half of the work, and two processes share it.
    importlib.import_module("numba")
    parent = os.getpid()
    _tell(0)
    child = os.fork()
    if child == 0:
        die_with_parent(parent, signal.SIGKILL)
        for number in range(1, len(MODULES)):
            _tell(number)
            importlib.import_module(MODULES[number])
        return 0
    importlib.import_module(MODULES[0])
    _, status = os.waitpid(child, 0)
    return os.waitstatus_to_exitcode(status)


def _tell(number: int) -> None:
    # In one piece, since two processes write: print may write the end of a line by itself.
    os.write(sys.stdout.fileno(), f"compiling kernels {number + 1}/{len(MODULES)}\n".encode())


def _said_of_step(error: BaseException, name: str) -> str | None:
    """File, line and fault of a package's step, for whoever has to mend it; None if it was raised elsewhere."""
    from rfm_kernels.formulas import BY_DEGREE, SIMPLE, installed

    if name in SIMPLE or name in BY_DEGREE:
        return None
    file = inspect.getsourcefile(inspect.unwrap(installed(name).step))
    cause: BaseException | None = error
    while cause is not None:
        # Numba wraps what is raised while it writes code.
        for frame in reversed(traceback.extract_tb(cause.__traceback__)):
            if frame.filename == file:
                return f"{Path(file).name}, line {frame.lineno}: {type(cause).__name__}: {' '.join(str(cause).split())}"
        cause = cause.__cause__ or cause.__context__
    return None


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
