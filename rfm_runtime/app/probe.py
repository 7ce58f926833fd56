"""Points of a view, computed beside any runtime: a process of its own has the kernels."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from rfm_runtime.errors import BadRequestError, StartError
from rfm_runtime.protocol.operation import ErrorInfo

__all__ = ["probe"]

LAST_LINES = 2
MOMENT_S = 2.0
"""Which compiled kernels and a handful of points need less than."""


def probe(
    params: dict[str, Any],
    points: Sequence[tuple[str, str]],
    *,
    truth: bool = False,
    on_wait: Callable[[], None] | None = None,
) -> list[dict[str, Any]]:
    """What `rfm_runtime.engine.points.Answer` says of each point: dx, dy in widths of the view from its centre.

    on_wait: called if it takes longer than a moment. Raises BadRequestError, StartError.
    """
    question = msgspec.json.encode({"params": params, "points": points, "truth": truth})
    command = (sys.executable, "-P", "-m", "rfm_runtime.engine.probing")
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=pipe) as process:
        try:
            answered, said = _communicated(process, question, on_wait)
        except BaseException:
            process.kill()
            raise
    if process.returncode == 2:
        error = msgspec.json.decode(answered, type=ErrorInfo)
        raise BadRequestError(error.message, hint=error.hint)
    if process.returncode != 0:
        lines = said.decode(errors="replace").strip().splitlines()[-LAST_LINES:]
        raise StartError(f"the kernels cannot be used: {' '.join(lines) or f'exit code {process.returncode}'}")
    answers: list[dict[str, Any]] = msgspec.json.decode(answered)["points"]
    return answers


def _communicated(
    process: subprocess.Popen[bytes], question: bytes, on_wait: Callable[[], None] | None
) -> tuple[bytes, bytes]:
    try:
        return process.communicate(question, MOMENT_S)
    except subprocess.TimeoutExpired:
        if on_wait is not None:
            on_wait()
        return process.communicate()
