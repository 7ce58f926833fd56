"""What commands share: options, the client, tables, numbers and JSON on standard output."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import msgspec
import typer

from rfm_runtime import config
from rfm_runtime.config import Settings
from rfm_runtime.errors import BadRequestError

if TYPE_CHECKING:
    from rich.console import Console

    from rfm_runtime.client.sync_client import Client
    from rfm_runtime.protocol.operation import Operation

__all__ = [
    "ConfigOption",
    "JsonOption",
    "OperationArgument",
    "RuntimeDirOption",
    "StateDirOption",
    "client",
    "console",
    "duration",
    "find",
    "number",
    "print_json",
    "settings",
]

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RuntimeDirOption = Annotated[str | None, typer.Option("--runtime-dir", help="Folder of sockets and secrets.")]
StateDirOption = Annotated[str | None, typer.Option("--state-dir", help="Folder of journal, frames and files.")]
ConfigOption = Annotated[Path | None, typer.Option("--config", help="Settings file, TOML.")]
OperationArgument = Annotated[str, typer.Argument(help="An operation's id; the end of it is enough if it is unique.")]


def settings(*, file: Path | None = None, **options: Any) -> Settings:
    """Resolved settings; options that were not given are None. An interrupted command leaves nothing behind."""
    return config.load(options, file=file).settings


@contextmanager
def client(runtime_dir: str | None = None, **options: Any) -> Iterator[Client]:
    """A client of the local runtime. Raises NoRuntimeError."""
    from rfm_runtime.client.sync_client import Client

    with Client(settings=settings(runtime_dir=runtime_dir), name="cli", **options) as connected:
        yield connected


def find(connected: Client, wanted: str) -> str:
    """The full id for an id or its unique end."""
    from rfm_runtime.errors import UnknownOperationError

    try:
        return connected.operation(wanted).operation_id
    except UnknownOperationError:
        ids = [o.operation_id for o in connected.operations() if o.operation_id.endswith(wanted.upper())]
    if len(ids) == 1:
        return ids[0]
    if ids:
        raise BadRequestError(f"{wanted} is the end of {len(ids)} ids", hint=f"write more of it, e.g. {ids[0]}")
    raise UnknownOperationError(f"no operation {wanted}")


def console(*, stderr: bool = False) -> Console:
    """A rich console on stdout or stderr; colour only in a terminal, and not with NO_COLOR."""
    from rich.console import Console

    return Console(stderr=stderr, highlight=False)


def print_json(data: Any) -> None:
    """One JSON document, or one line of a stream."""
    sys.stdout.write(msgspec.json.encode(data).decode() + "\n")
    sys.stdout.flush()


def steer(wanted: str, runtime_dir: str | None, action: Callable[[Client, str], Any]) -> Any:
    """Find the operation and do something to it."""
    with client(runtime_dir) as connected:
        return action(connected, find(connected, wanted))


def duration(seconds: float) -> str:
    """Short: 0.42 s, 12.3 s, 4 m 05 s, 3 h 12 m, 2 d 03 h."""
    if seconds < 60:
        return f"{seconds:.2f} s" if seconds < 10 else f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    if minutes < 60:
        return f"{minutes} m {rest:02d} s"
    hours, minutes = divmod(minutes, 60)
    if hours < 48:
        return f"{hours} h {minutes:02d} m"
    return f"{hours // 24} d {hours % 24:02d} h"


def number(value: float) -> str:
    """Short, with SI prefix: 950, 12.3 k, 4.05 G."""
    for factor, prefix in ((1e12, " T"), (1e9, " G"), (1e6, " M"), (1e3, " k")):
        if abs(value) >= factor:
            return f"{value / factor:.3g}{prefix}"
    return f"{value:.3g}"


def state_text(operation: Operation) -> str:
    """The state with its colour and, where it has one, its flag."""
    colours = {
        "queued": "cyan",
        "running": "green",
        "paused": "yellow",
        "cancelling": "magenta",
        "completed": "bold green",
        "failed": "bold red",
        "canceled": "magenta",
    }
    colour = colours.get(operation.state, "white")
    flag = " (silent)" if operation.stale else ""
    return f"[{colour}]{operation.state}[/{colour}]{flag}"
