"""How a process of the runtime loads its code: sooner, and so that what it has loaded costs it nothing afterwards."""

from __future__ import annotations

import gc
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, cast

__all__ = ["loading"]


@contextmanager
def loading() -> Iterator[None]:
    """Around the imports that a process of ours lives on, at its start. Never in somebody else's process.

    Modules are no garbage: the collector rests meanwhile, and never looks at them again. That saves a twelfth of the
    time of loading, tens of milliseconds of each full collection later, and leaves the pages that forked workers share
    with their forkserver as they are. structlog would load rich, for tracebacks that these processes do not draw: it
    takes as long as the rest of our own code.
    """
    modules = cast(dict[str, Any], sys.modules)
    unwanted = "rich" not in modules
    gc.disable()
    if unwanted:
        modules["rich"] = None
    try:
        yield
    finally:
        if unwanted:
            del modules["rich"]
        gc.freeze()
        gc.enable()
