"""Where a worker or a helper begins. Imports it, and with it the kernels, only there."""

from __future__ import annotations

import importlib
from multiprocessing.connection import Connection

__all__ = ["enter", "enter_job"]


def enter(connection: Connection, encoded: bytes) -> None:
    """Run a worker; the engine, which only names this function, never loads a kernel."""
    importlib.import_module("rfm_runtime.engine.worker").run(connection, encoded)


def enter_job(connection: Connection, encoded: bytes) -> None:
    """Run a helper, for one job."""
    importlib.import_module("rfm_runtime.engine.jobs").run(connection, encoded)
