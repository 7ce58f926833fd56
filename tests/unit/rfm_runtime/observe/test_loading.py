"""How processes of the runtime load their code."""

from __future__ import annotations

import subprocess
import sys

import pytest

SHOW = """
import gc, importlib, sys
importlib.import_module(sys.argv[1])
assert "structlog" in sys.modules
assert "rich" not in sys.modules, "structlog has loaded rich"
assert gc.isenabled()
assert gc.get_freeze_count() > 10_000, gc.get_freeze_count()
import rich.console
"""


EMBEDDING = """
import gc, sys
import rfm_runtime.app.embedded_run
assert "rich" in sys.modules
assert gc.get_freeze_count() == 0
"""


def run(code: str, *arguments: str) -> None:
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, *arguments], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "module",
    ["rfm_runtime.app.__main__", *(f"rfm_runtime.{name}.__main__" for name in ("broker", "engine", "gateway"))],
)
def test_a_process_loads_no_rich_and_its_modules_are_no_garbage(module: str) -> None:
    run(SHOW, module)


def test_a_program_that_embeds_a_server_keeps_what_it_has() -> None:
    run(EMBEDDING)
