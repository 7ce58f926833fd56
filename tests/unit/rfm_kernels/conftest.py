"""One cache of compiled kernels for all test runs, named like the engine names its own."""

from __future__ import annotations

import fcntl
import importlib
import os
import tempfile
from pathlib import Path

from rfm_kernels.cache_key import cache_key

CACHE = Path(tempfile.gettempdir()) / f"rfm-kernels-{os.getuid()}-{cache_key()}"


def pytest_configure() -> None:
    # Before any kernel is imported, and by one process at a time: the first one compiles, the rest load.
    os.environ.setdefault("NUMBA_CACHE_DIR", str(CACHE))
    CACHE.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (CACHE / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in ("rfm_kernels.catalog", "rfm_kernels.colour"):
            importlib.import_module(name)
