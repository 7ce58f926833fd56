"""`rfm-runtime explain`."""

from __future__ import annotations

import typer

from rfm_runtime.cli.common import JsonOption, OperationArgument, RuntimeDirOption, print_json, steer
from rfm_runtime.core.text import printable

__all__ = ["explain"]


def explain(operation: OperationArgument, as_json: JsonOption = False, runtime_dir: RuntimeDirOption = None) -> None:
    """Say why an operation is in its state, and what it waits for."""
    found, lines = steer(operation, runtime_dir, lambda client, found: client.explain(found))
    if as_json:
        print_json({"operation_id": found, "lines": lines})
    else:
        typer.echo("\n".join(printable(line) for line in lines))
