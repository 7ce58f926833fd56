"""`rfm-runtime stop`."""

from __future__ import annotations

from typing import Annotated

import typer

from rfm_runtime.cli.common import RuntimeDirOption, settings
from rfm_runtime.errors import NoRuntimeError

__all__ = ["stop"]


def stop(
    now: Annotated[bool, typer.Option("--now", help="Do not wait for running tiles.")] = False,
    timeout: Annotated[float, typer.Option(help="Seconds to wait for its end.")] = 60.0,
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """Stop the runtime. Unfinished renders are kept and go on at the next start."""
    from rfm_runtime.app.daemon import stop as stop_runtime

    resolved = settings(runtime_dir=runtime_dir)
    if not stop_runtime(resolved, timeout_s=timeout, now=now):
        raise NoRuntimeError(f"no runtime is running in {resolved.runtime_dir}", hint="there is nothing to stop")
    typer.echo("stopped")
