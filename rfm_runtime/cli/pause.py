"""`rfm-runtime pause`."""

from __future__ import annotations

import typer

from rfm_runtime.cli.common import OperationArgument, RuntimeDirOption, steer

__all__ = ["pause"]


def pause(operation: OperationArgument, runtime_dir: RuntimeDirOption = None) -> None:
    """Have an operation stop where it is and keep what it has."""
    steer(operation, runtime_dir, lambda client, found: client.pause(found))
    typer.echo("pausing: `rfm-runtime resume` lets it go on")
