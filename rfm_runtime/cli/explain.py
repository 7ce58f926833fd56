"""`rfm-runtime explain`."""

from __future__ import annotations

import typer

from rfm_runtime.cli.common import JsonOption, OperationArgument, RuntimeDirOption, print_json, steer

__all__ = ["explain"]


def explain(operation: OperationArgument, as_json: JsonOption = False, runtime_dir: RuntimeDirOption = None) -> None:
    """Why is an operation in its state, and what does it wait for?"""
    lines = steer(operation, runtime_dir, lambda client, found: client.explain(found))
    if as_json:
        print_json({"lines": lines})
    else:
        typer.echo("\n".join(lines))
