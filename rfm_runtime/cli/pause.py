"""`rfm-runtime pause`."""

from __future__ import annotations

import typer

from rfm_runtime.cli.common import JsonOption, OperationArgument, RuntimeDirOption, print_json, steer

__all__ = ["pause"]


def pause(operation: OperationArgument, as_json: JsonOption = False, runtime_dir: RuntimeDirOption = None) -> None:
    """Have an operation stop where it is and keep what it has."""
    found, _ = steer(operation, runtime_dir, lambda client, found: client.pause(found))
    if as_json:
        print_json({"operation_id": found, "asked": "pause"})
    else:
        typer.echo(f"{found} pauses; `rfm-runtime resume {operation}` lets it go on")
