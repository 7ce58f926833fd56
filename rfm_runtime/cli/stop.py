"""`rfm-runtime stop`."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

import typer
from msgspec.structs import replace

from rfm_runtime.cli.common import JsonOption, RuntimeDirOption, console, print_json, settings
from rfm_runtime.client.connection_file import ConnectionInfo
from rfm_runtime.config import Settings, folders, is_loopback
from rfm_runtime.core.counts import counted
from rfm_runtime.core.text import printable
from rfm_runtime.errors import JournalError, NoRuntimeError, UsageError
from rfm_runtime.protocol.operation import TERMINAL_STATES

__all__ = ["stop"]

LONG_S = 2.0
"""After which it is said where no terminal shows it."""


def stop(
    now: Annotated[bool, typer.Option("--now", help="Do not wait for running tiles.")] = False,
    timeout: Annotated[float, typer.Option(metavar="SECONDS", min=0.0, help="How long to wait for its end.")] = 60.0,
    as_json: JsonOption = False,
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """Stop the runtime of this machine: never the one that RFM_URL names, which is stopped on its own host.

    Tiles in hand are finished first, and what is waited for is said. Unfinished renders are kept and go on at the next
    start.
    """
    from rfm_runtime.app.daemon import stop as stop_runtime

    resolved = settings(runtime_dir=runtime_dir)
    running = _running(resolved)
    if runtime_dir is None:
        _check_meant(os.environ.get("RFM_URL", ""), running)
    with _waiting() as tell:
        stopped = stop_runtime(resolved, timeout_s=timeout, now=now, on_wait=tell)
    if not stopped:
        raise NoRuntimeError(f"no runtime is running in {resolved.runtime_dir}", hint="there is nothing to stop")
    left = 0 if running is None else _unfinished(folders(replace(resolved, state_dir=running.state_dir)).journal)
    if as_json:
        print_json({"stopped": True, "unfinished": left})
    elif left:
        # What becomes of them is the next start's choice (--interrupted), and of the paused ones their owner's.
        typer.echo(f"stopped; {counted(left, 'unfinished operation')} kept")
    else:
        typer.echo("stopped")


def _check_meant(url: str, running: ConnectionInfo | None) -> None:
    """Raise UsageError where RFM_URL names another runtime than this machine's: every other command asks that one."""
    with suppress(ValueError):
        named, local = urlsplit(url), urlsplit("" if running is None else running.url)
        is_same = (named.hostname, named.port) == (local.hostname, local.port)
        if (
            not url
            or is_same
            or (local.port is not None and named.port == local.port and is_loopback(named.hostname or ""))
        ):
            return
    raise UsageError(
        f"stop is for the runtime of this machine, and RFM_URL names {printable(url.rpartition('@')[2])}",
        hint="stop that one on its own host; this machine's: unset RFM_URL, or name its folder with --runtime-dir",
    )


def _running(resolved: Settings) -> ConnectionInfo | None:
    try:
        return ConnectionInfo.read(folders(resolved).connection)
    except NoRuntimeError:
        return None


def _unfinished(journal: Path) -> int:
    """Operations without an outcome in the journal of a runtime that has ended."""
    from rfm_runtime.store.look import looked_at

    with suppress(JournalError), looked_at(journal) as look:
        return sum(count for state, count in look.figures().operations.items() if state not in TERMINAL_STATES)
    return 0


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
