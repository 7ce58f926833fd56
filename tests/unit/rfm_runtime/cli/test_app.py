"""Errors as two lines."""

from __future__ import annotations

import py_compile
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from rfm_runtime.cli import presets
from rfm_runtime.cli.app import error_lines
from rfm_runtime.errors import NoRuntimeError, OperationCanceled, OperationFailedError, RateLimitedError, StartError


def test_what_what_was_kept_and_what_to_do() -> None:
    error = StartError("it broke", hint="mend it", kept="the rest is there")
    assert error_lines(error) == ["error[start_failed]: it broke (the rest is there)", "hint: mend it"]


def test_the_class_knows_what_to_do_where_nobody_says() -> None:
    assert error_lines(NoRuntimeError("nobody"))[1] == "hint: start one with `rfm-runtime start`"


@pytest.mark.scenario("J31")
def test_how_bad_it_is_and_which_it_is() -> None:
    assert error_lines(RateLimitedError("slowly"))[0] == "error[rate_limited]: slowly"
    assert error_lines(OperationCanceled("over", kept="some is there")) == ["over (some is there)"]
    lost = OperationFailedError("gone", cause_code="worker_lost", cause_severity="critical", hint="again")
    assert error_lines(lost) == ["critical[worker_lost]: gone", "hint: again"]
    hostile = OperationFailedError("gone", cause_code="\x1b[31m")
    assert "\x1b" not in error_lines(hostile)[0]


def test_a_compiled_module_that_was_cut_off_is_no_cancel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """A full disk leaves such a file; typer would take what Python says of it for Ctrl-C."""
    source = Path(presets.__file__)
    cut = tmp_path / source.name
    shutil.copy(source, cut)
    compiled = Path(py_compile.compile(str(cut), doraise=True) or "")
    compiled.write_bytes(compiled.read_bytes()[:-20])
    program = (
        "import importlib.util, sys; from rfm_runtime.cli import app, presets\n"
        f"spec = importlib.util.spec_from_file_location('cut', {str(cut)!r})\n"
        "load = lambda: spec.loader.exec_module(importlib.util.module_from_spec(spec))\n"
        "app.app.command('cut')(load)\n"
        "sys.exit(app.run(['cut']))"
    )
    monkeypatch.delenv("RFM_DEBUG", raising=False)
    done = subprocess.run([sys.executable, "-B", "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1, done
    assert "cut off" in done.stderr
    assert "__pycache__" in done.stderr
