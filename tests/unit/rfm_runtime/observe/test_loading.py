"""How processes of the runtime load their code."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROCESS = """
import gc, importlib, sys
importlib.import_module(sys.argv[1])
assert "structlog" in sys.modules
assert "rich" not in sys.modules, "structlog has loaded rich"
assert gc.isenabled()
assert gc.get_freeze_count() > 10_000, gc.get_freeze_count()
import rich.console
"""

WITHIN = """
import gc, sys
from rfm_runtime.observe.loading import loading
try:
    with loading():
        assert not gc.isenabled()
        with loading():
            pass
        assert not gc.isenabled(), "the inner one has switched it on"
        import rich.table
        raise ImportError("no such module")
except ImportError as error:
    assert str(error) == "no such module", error
assert gc.isenabled()
"""

EMBEDDING = """
import gc, sys
before = gc.get_freeze_count()
import rfm_runtime.app.embedded_run
assert "rich" in sys.modules
assert gc.get_freeze_count() == before
"""


def run(code: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments],
        # The kernels as Python: nothing is compiled, and all else is loaded.
        env={**os.environ, "NUMBA_DISABLE_JIT": "1"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "module",
    [
        *(f"rfm_runtime.{name}.__main__" for name in ("app", "broker", "engine", "gateway")),
        "rfm_runtime.engine.preload",
    ],
)
def test_a_process_loads_no_rich_and_its_modules_are_no_garbage(module: str) -> None:
    run(PROCESS, module)


def test_others_have_rich_and_the_collector_is_as_before_whatever_happens() -> None:
    run(WITHIN)


def test_a_program_that_embeds_a_server_keeps_what_it_has() -> None:
    run(EMBEDDING)
