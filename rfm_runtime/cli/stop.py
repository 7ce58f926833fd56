"""`rfm-runtime stop`."""

from __future__ import annotations

from typing import Annotated

import typer

from rfm_runtime.cli.common import JsonOption, RuntimeDirOption, console, print_json, settings
from rfm_runtime.errors import NoRuntimeError

__all__ = ["stop"]


def stop(
    now: Annotated[bool, typer.Option("--now", help="Do not wait for running tiles.")] = False,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=0.0, help="How long to wait for its end.")] = 60.0,
    as_json: JsonOption = False,
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """Stop the runtime.

    Unfinished renders are kept and go on at the next start.
    """
    from rfm_runtime.app.daemon import stop as stop_runtime

    resolved = settings(runtime_dir=runtime_dir)
    # Shown in a terminal alone, and gone afterwards.
    with console(stderr=True).status("stopping: tiles in hand are finished" if not now else "stopping"):
        stopped = stop_runtime(resolved, timeout_s=timeout, now=now)
    if not stopped:
        raise NoRuntimeError(f"no runtime is running in {resolved.runtime_dir}", hint="there is nothing to stop")
    if as_json:
        print_json({"stopped": True})
    else:
        typer.echo("stopped")
