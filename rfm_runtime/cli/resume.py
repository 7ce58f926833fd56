"""`rfm-runtime resume`."""

from __future__ import annotations

import typer

from rfm_runtime.cli.common import OperationArgument, RuntimeDirOption, steer

__all__ = ["resume"]


def resume(operation: OperationArgument, runtime_dir: RuntimeDirOption = None) -> None:
    """Have a paused operation go on."""
    steer(operation, runtime_dir, lambda client, found: client.resume(found))
    typer.echo("going on")
