"""`rfm-runtime ps`."""

from __future__ import annotations

import time
from typing import Annotated

import typer

from rfm_runtime.cli.common import JsonOption, RuntimeDirOption, client, console, duration, print_json, state_text
from rfm_runtime.protocol.operation import TERMINAL_STATES, Operation

__all__ = ["ps"]


def ps(
    show_all: Annotated[bool, typer.Option("--all", "-a", help="Finished ones too.")] = False,
    limit: Annotated[int, typer.Option(min=1, help="At most so many.")] = 100,
    as_json: JsonOption = False,
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """List operations, newest first."""
    from rich.table import Table

    active = ["pending", "queued", "running", "paused", "cancelling"]
    with client(runtime_dir) as connected:
        found = connected.operations(states=None if show_all else active, limit=limit)
    if as_json:
        print_json({"operations": found})
        return
    if not found:
        typer.echo("nothing is running" if not show_all else "there are no operations yet")
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("id", "name", "state", "progress", "priority", "age", "left"):
        table.add_column(column, no_wrap=column != "name", overflow="fold")
    for operation in found:
        table.add_row(*_row(operation))
    console().print(table)


def _row(operation: Operation) -> tuple[str, ...]:
    latest = operation.latest
    percent = f"{latest.progress:.1f} %" if latest is not None else "–"
    eta = latest.eta_ms if latest is not None and operation.state not in TERMINAL_STATES else None
    end_ms = operation.ended_at_ms or time.time() * 1000
    age = duration(max(0.0, end_ms - operation.created_at_ms) / 1000)
    left = duration(eta.p50 / 1000) if eta is not None else ""
    return operation.operation_id, operation.name, state_text(operation), percent, str(operation.priority), age, left
