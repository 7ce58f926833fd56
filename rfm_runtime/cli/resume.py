"""`rfm-runtime resume`."""

from __future__ import annotations

import typer

from rfm_runtime.cli.common import JsonOption, OperationArgument, RuntimeDirOption, print_json, steer

__all__ = ["resume"]


def resume(operation: OperationArgument, as_json: JsonOption = False, runtime_dir: RuntimeDirOption = None) -> None:
    """Have a paused operation go on."""
    found, _ = steer(operation, runtime_dir, lambda client, found: client.resume(found))
    if as_json:
        print_json({"operation_id": found, "asked": "resume"})
    else:
        typer.echo(f"{found} goes on")
