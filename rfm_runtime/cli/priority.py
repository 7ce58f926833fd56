"""`rfm-runtime priority`."""

from __future__ import annotations

from typing import Annotated

import typer

from rfm_runtime.cli.common import JsonOption, OperationArgument, RuntimeDirOption, print_json, steer

__all__ = ["priority"]


def priority(
    operation: OperationArgument,
    value: Annotated[int, typer.Argument(metavar="NUMBER", min=-100, max=100, help="-100 to 100; higher runs first.")],
    as_json: JsonOption = False,
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """Change an operation's priority."""
    found, _ = steer(operation, runtime_dir, lambda client, found: client.set_priority(found, value))
    if as_json:
        print_json({"operation_id": found, "priority": value})
    else:
        typer.echo(f"{found} has priority {value}")
