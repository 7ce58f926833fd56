"""How a process of the runtime loads its code: sooner, and so that what it has loaded costs it nothing afterwards."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from importlib import import_module
from typing import Any, cast

__all__ = ["loading"]


@contextmanager
def loading() -> Iterator[None]:
    """Around the imports that a process of ours lives on, at its start. Never in somebody else's process.

    Modules are no garbage: the collector rests meanwhile, and never looks at them again. That makes loading quicker and
    full collections later short, and leaves the pages that forked workers share with their forkserver as they are.
    """
    collects = gc.isenabled()
    gc.disable()
    try:
        _load_structlog()
        yield
    finally:
        gc.freeze()
        if collects:
            gc.enable()


def _load_structlog() -> None:
    """It loads rich where that is installed, for tracebacks that these processes do not draw: 50 ms for each."""
    modules = cast(dict[str, Any], sys.modules)
    if "structlog" in modules or "rich" in modules:
        return
    modules["rich"] = None
    try:
        import_module("structlog")
    finally:
        del modules["rich"]
