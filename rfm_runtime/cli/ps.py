"""`rfm-runtime ps`."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Annotated

import typer

from rfm_runtime.cli.common import JsonOption, RuntimeDirOption, client, print_json, print_table, state_text
from rfm_runtime.cli.text import Column
from rfm_runtime.core.text import duration, printable, short_ids
from rfm_runtime.protocol.operation import TERMINAL_STATES, Operation, OperationState

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["ps"]

ACTIVE: tuple[OperationState, ...] = ("pending", "queued", "running", "paused", "cancelling")

COLUMNS = (
    Column("id"),
    Column("name", flexible=True),
    Column("state"),
    Column("progress", rank=1),
    Column("left", rank=2),
    Column("priority", rank=4),
    Column("time", rank=3),
)


def ps(
    show_all: Annotated[bool, typer.Option("--all", "-a", help="Finished ones too.")] = False,
    limit: Annotated[int, typer.Option(metavar="NUMBER", min=1, help="At most so many.")] = 100,
    as_json: JsonOption = False,
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """List operations, newest first."""
    with client(runtime_dir) as connected:
        found = connected.operations(states=None if show_all else list(ACTIVE), limit=limit)
    if as_json:
        print_json({"operations": found})
        return
    if not found:
        typer.echo("there are no operations yet" if show_all else "nothing is running; --all lists finished ones too")
        return
    ids = short_ids([operation.operation_id for operation in found])
    now_ms = time.time() * 1000
    print_table(COLUMNS, [_row(operation, ids[operation.operation_id], now_ms) for operation in found])
    if len(found) == limit:
        typer.echo(f"the newest {limit}; --limit shows more", err=True)


def _row(operation: Operation, short_id: str, now_ms: float) -> list[str | Text]:
    """time: since it was submitted, or until its outcome."""
    latest = operation.latest
    percent = f"{latest.progress:.1f} %" if latest is not None else "–"
    eta = latest.eta_ms if latest is not None and operation.state not in TERMINAL_STATES else None
    took = duration(max(0.0, (operation.ended_at_ms or now_ms) - operation.created_at_ms) / 1000)
    left = duration(eta.p50 / 1000) if eta is not None else ""
    name = printable(operation.name)
    return [short_id, name, state_text(operation), percent, left, str(operation.priority), took]
