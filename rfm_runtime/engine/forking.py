"""The forkserver, a process that has the kernels loaded and forks workers. Importing this loads next to nothing."""

from __future__ import annotations

import multiprocessing
import sys
from multiprocessing import forkserver
from multiprocessing.context import ForkServerContext

__all__ = ["begin_forkserver", "forkserver_context"]

PRELOAD = "rfm_runtime.engine.preload"


def begin_forkserver() -> None:
    """Have the forkserver load the kernels from now on. Once the environment is what workers are to have.

    Only in the engine's own process: workers do not load its main module, of which the place is forgotten.
    """
    _forget_main()
    forkserver_context()
    forkserver.ensure_running()


def forkserver_context() -> ForkServerContext:
    """Where workers and helpers come from; a forkserver that has died is started again by the next of them."""
    context = multiprocessing.get_context("forkserver")
    context.set_forkserver_preload([PRELOAD])
    return context


def _forget_main() -> None:
    """Keep multiprocessing from importing the engine's main module again in every worker."""
    main = sys.modules["__main__"]
    main.__spec__ = None
    if hasattr(main, "__file__"):
        del main.__file__
