"""`rfm-runtime cancel`."""

from __future__ import annotations

from typing import Annotated

import typer

from rfm_runtime.cli.common import JsonOption, OperationArgument, RuntimeDirOption, client, find, print_json

__all__ = ["cancel"]

WAIT_S = 30.0


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
        state = "cancelling" if no_wait and answer == "cancelling" else handle.wait(WAIT_S)
        if as_json:
            print_json({"operation_id": handle.id, "answer": answer, "state": state})
        elif answer == "already_terminal":
            typer.echo(f"{handle.id} was {state} already")
        else:
            typer.echo(f"{handle.id} is {state}")
