"""Points of a view, computed beside any runtime: a process of its own has the kernels."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import msgspec

from rfm_runtime.errors import BadRequestError, StartError
from rfm_runtime.protocol.operation import ErrorInfo

__all__ = ["probe"]

LAST_LINES = 2


def probe(params: dict[str, Any], points: Sequence[tuple[str, str]], *, truth: bool = False) -> list[dict[str, Any]]:
    """What `rfm_runtime.engine.points.Answer` says of each point: dx, dy in widths of the view from its centre.

    Raises BadRequestError, StartError.
    """
    question = msgspec.json.encode({"params": params, "points": points, "truth": truth})
    command = (sys.executable, "-P", "-m", "rfm_runtime.engine.probing")
    done = subprocess.run(command, input=question, capture_output=True, check=False)
    if done.returncode == 2:
        error = msgspec.json.decode(done.stdout, type=ErrorInfo)
        raise BadRequestError(error.message, hint=error.hint)
    if done.returncode != 0:
        said = done.stderr.decode(errors="replace").strip().splitlines()[-LAST_LINES:]
        raise StartError(f"the kernels cannot be used: {' '.join(said) or f'exit code {done.returncode}'}")
    answers: list[dict[str, Any]] = msgspec.json.decode(done.stdout)["points"]
    return answers
