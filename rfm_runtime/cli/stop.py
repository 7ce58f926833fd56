"""`rfm-runtime stop`."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Annotated

import typer

from rfm_runtime.cli.common import JsonOption, RuntimeDirOption, console, print_json, settings
from rfm_runtime.errors import NoRuntimeError

__all__ = ["stop"]

LONG_S = 2.0
"""After which it is said where no terminal shows it."""


def stop(
    now: Annotated[bool, typer.Option("--now", help="Do not wait for running tiles.")] = False,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=0.0, help="How long to wait for its end.")] = 60.0,
    as_json: JsonOption = False,
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """Stop the runtime.

    Tiles in hand are finished first, and what is waited for is said. Unfinished renders are kept and go on at the next
    start.
    """
    from rfm_runtime.app.daemon import stop as stop_runtime

    resolved = settings(runtime_dir=runtime_dir)
    with _waiting() as tell:
        stopped = stop_runtime(resolved, timeout_s=timeout, now=now, on_wait=tell)
    if not stopped:
        raise NoRuntimeError(f"no runtime is running in {resolved.runtime_dir}", hint="there is nothing to stop")
    if as_json:
        print_json({"stopped": True})
    else:
        typer.echo("stopped")


@contextmanager
def _waiting() -> Iterator[Callable[[str], None]]:
    """Shows what is waited for: in a terminal in one line that is gone afterwards, elsewhere only what takes long."""
    began_s, said = time.monotonic(), ""
    status = console(stderr=True).status("stopping")

    def tell(what: str) -> None:
        nonlocal said
        status.update(f"stopping: {what}")
        if not sys.stderr.isatty() and what != said and time.monotonic() - began_s >= LONG_S:
            said = what
            print(f"stopping: {what}", file=sys.stderr, flush=True)

    with status:
        yield tell
