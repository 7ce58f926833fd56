"""`rfm-runtime show`."""

from __future__ import annotations

import time

import typer

from rfm_runtime.cli.common import JsonOption, OperationArgument, RuntimeDirOption, print_json, print_table, steer
from rfm_runtime.cli.text import Column
from rfm_runtime.core.reports.telling import facts, happening
from rfm_runtime.core.text import printable
from rfm_runtime.protocol.operation import OperationEvent

__all__ = ["show"]

EVENTS = (Column("time"), Column("event"), Column("remark", flexible=True))


def show(operation: OperationArgument, as_json: JsonOption = False, runtime_dir: RuntimeDirOption = None) -> None:
    """Show all that is known of an operation: what it says, how it went, what happened to it."""
    _, went = steer(operation, runtime_dir, lambda client, found: client.performance(found))
    if as_json:
        print_json(went)
        return
    rows = list(facts(went, time.time() * 1000))
    width = max(len(name) for name, _ in rows)
    for name, value in rows:
        typer.echo(f"{name.ljust(width)}  {printable(value)}")
    typer.echo()
    print_table(EVENTS, [_event(event) for event in went.events])


def _event(event: OperationEvent) -> list[str]:
    when, what, remark = happening(event)
    return [when, what, printable(remark)]
