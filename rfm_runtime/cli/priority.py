"""`rfm-runtime priority`."""

from __future__ import annotations

from typing import Annotated

import typer

from rfm_runtime.cli.common import OperationArgument, RuntimeDirOption, steer

__all__ = ["priority"]


def priority(
    operation: OperationArgument,
    value: Annotated[int, typer.Argument(min=-100, max=100, help="-100 to 100; higher runs first.")],
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """Change an operation's priority."""
    steer(operation, runtime_dir, lambda client, found: client.set_priority(found, value))
    typer.echo(f"priority {value}")
