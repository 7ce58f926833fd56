"""Kernels are compiled once into the user's cache, in the folder that the engine uses for the same sources."""

from __future__ import annotations

import fcntl
import importlib
import os

from rfm_kernels.cache_key import cache_key
from rfm_runtime.config import cache_home


def load_kernels() -> None:
    # Before any kernel is imported, and by one process at a time: the first one compiles, the rest load.
    folder = cache_home() / "kernels" / cache_key()
    os.environ.setdefault("NUMBA_CACHE_DIR", str(folder))
    folder.mkdir(mode=0o700, parents=True, exist_ok=True)
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        for name in ("rfm_kernels.catalog", "rfm_kernels.colour", "rfm_kernels.samples"):
            importlib.import_module(name)
