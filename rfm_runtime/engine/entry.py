"""Where a worker process begins. Imports the worker, and with it the kernels, only there."""

from __future__ import annotations

import importlib
from multiprocessing.connection import Connection

__all__ = ["enter"]


def enter(connection: Connection, encoded: bytes) -> None:
    """Run a worker; the engine, which only names this function, never loads a kernel."""
    importlib.import_module("rfm_runtime.engine.worker").run(connection, encoded)
