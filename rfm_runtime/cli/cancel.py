"""`rfm-runtime cancel`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

import typer

from rfm_runtime.cli.common import JsonOption, OperationArgument, RuntimeDirOption, client, find, print_json
from rfm_runtime.core.text import printable
from rfm_runtime.errors import UnavailableError

if TYPE_CHECKING:
    from rfm_runtime.client.handle import Operation
    from rfm_runtime.client.sync_client import Client
    from rfm_runtime.protocol.operation import OperationState

__all__ = ["cancel"]

WAIT_S = 30.0

EXPLAIN_S = 4.0
"""What takes longer than this to stop is worth a word why."""


def cancel(
    operation: OperationArgument,
    hard: Annotated[bool, typer.Option("--hard", help="Kill its workers at once.")] = False,
    reason: Annotated[str | None, typer.Option(metavar="TEXT", help="Shown to watchers.")] = None,
    no_wait: Annotated[bool, typer.Option("--no-wait", help="Do not wait until it has stopped.")] = False,
    as_json: JsonOption = False,
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """Cancel an operation and wait until nothing of it runs."""
    with client(runtime_dir) as connected:
        handle = connected.handle(find(connected, operation))
        answer = handle.cancel(mode="hard" if hard else "soft", reason=reason)
        state = "cancelling" if no_wait and answer == "cancelling" else _wait(connected, handle)
        if as_json:
            print_json({"operation_id": handle.id, "answer": answer, "state": state})
        elif answer == "already_terminal":
            typer.echo(f"{handle.id} was {state} already")
        else:
            typer.echo(f"{handle.id} is {state}")


def _wait(connected: Client, handle: Operation) -> OperationState:
    try:
        return handle.wait(EXPLAIN_S)
    except UnavailableError:
        for line in connected.explain(handle.id)[1:]:
            typer.echo(printable(line), err=True)
    return handle.wait(WAIT_S)
