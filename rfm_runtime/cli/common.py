"""What commands share: options, the client, tables, and JSON on standard output."""

from __future__ import annotations

import os
import queue
import select
import sys
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import msgspec
import typer

from rfm_runtime import config
from rfm_runtime.cli.completion import operations
from rfm_runtime.cli.text import GAP, Column, fitting
from rfm_runtime.client.connection_file import ConnectionInfo
from rfm_runtime.config import Settings
from rfm_runtime.errors import (
    BadRequestError,
    NoRuntimeError,
    OutputExistsError,
    RfmError,
    SetupError,
    UnknownOperationError,
)

if TYPE_CHECKING:
    from rich.console import Console
    from rich.text import Text

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
    "find",
    "interruptible",
    "output_file",
    "print_json",
    "print_table",
    "reader_gone",
    "settings",
    "state_text",
    "steer",
]

T = TypeVar("T")

IDLE_S = 0.2

FOUND_LIMIT = 20
"""Operations with the same end of their ids: more do not help anybody."""

JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
RuntimeDirOption = Annotated[
    str | None, typer.Option("--runtime-dir", metavar="FOLDER", help="Folder of sockets and secrets.")
]
StateDirOption = Annotated[
    str | None, typer.Option("--state-dir", metavar="FOLDER", help="Folder of journal, frames and files.")
]
ConfigOption = Annotated[Path | None, typer.Option("--config", metavar="FILE", help="Settings file, TOML.")]
OperationArgument = Annotated[
    str,
    typer.Argument(
        metavar="ID", help="An operation's id; the end of it is enough if it is unique.", autocompletion=operations
    ),
]

STATE_COLOURS = {
    "queued": "cyan",
    "running": "green",
    "paused": "yellow",
    "cancelling": "magenta",
    "completed": "bold green",
    "failed": "bold red",
    "canceled": "magenta",
}


def settings(*, file: Path | None = None, **options: Any) -> Settings:
    """Resolved settings; options that were not given are None."""
    return config.load(options, file=file).settings


@contextmanager
def client(runtime_dir: str | None = None, **options: Any) -> Iterator[Client]:
    """A client of the runtime in that folder, of the one that RFM_URL names, or of the local one.

    Raises NoRuntimeError, UnavailableError, UnauthorizedError, TokenExpiredError.
    """
    from rfm_runtime.client.sync_client import Client

    where = None if runtime_dir is None and config.destination() is not None else settings(runtime_dir=runtime_dir)
    with Client(settings=where, name="cli", **options) as connected:
        yield connected


def find(connected: Client, wanted: str) -> str:
    """The full id for an id or its unique end. Raises UnknownOperationError, BadRequestError if several end so."""
    if not wanted:
        raise BadRequestError("the id is empty", hint="list operations with `rfm-runtime ps --all`")
    try:
        return connected.operation(wanted).operation_id
    except (UnknownOperationError, BadRequestError):
        ends = (wanted, wanted.upper())
        ids = [o.operation_id for o in connected.operations() if o.operation_id.endswith(ends)]
    if not ids:
        # Longer ago.
        found = connected.history(text=wanted, limit=FOUND_LIMIT)
        ids = [o.operation_id for o in found if o.operation_id.endswith(ends)]
    if len(ids) == 1:
        return ids[0]
    if ids:
        raise BadRequestError(f"{len(ids)} operations end with {wanted!r}", hint=f"write more of it, e.g. {ids[0]}")
    raise UnknownOperationError(f"there is no operation {wanted!r}")


def steer(wanted: str, runtime_dir: str | None, action: Callable[[Client, str], Any]) -> tuple[str, Any]:
    """Find the operation and do something to it; its id and the answer."""
    with client(runtime_dir) as connected:
        found = find(connected, wanted)
        return found, action(connected, found)


def output_file(
    path: Path,
    *,
    force: bool,
    runtime_dir: str | None = None,
    where: config.Folders | None = None,
    option: str | None = "-o",
) -> Path:
    """The path, if a file may and can be written there: better said before an hour of work than after it.

    option: what the file is named with, None for an argument. What a runtime lives on is never replaced: the one that
    is meant, and the one of these folders. Raises OutputExistsError, SetupError.
    """
    from rfm_runtime.client.handle import check_target

    target = check_target(path, force=force)
    if target.exists():
        _never_its_own(target, runtime_dir, () if where is None else (where,))
    folder = target.absolute().parent
    if not os.access(folder, os.W_OK | os.X_OK):
        place = "name another place" if option is None else f"choose another place with {option}"
        raise SetupError(f"cannot write into the folder {folder}", hint=f"{place}, or make it writable")
    return target


def _never_its_own(target: Path, runtime_dir: str | None, others: Sequence[config.Folders]) -> None:
    """Raise OutputExistsError for the journal of the runtime that is meant, and what it has beside it."""
    resolved = settings(runtime_dir=runtime_dir)
    places = [config.folders(resolved), *others]
    with suppress(NoRuntimeError, SetupError):
        # One that runs knows best where its files are.
        running = ConnectionInfo.read(places[0].connection)
        places.append(config.folders(msgspec.structs.replace(resolved, state_dir=running.state_dir)))
    for where in places:
        if any(own.exists() and own.samefile(target) for own in where.vital):
            raise OutputExistsError(
                f"{target} is a file that the runtime of {where.state} lives on", hint="name another file"
            )


def console(*, stderr: bool = False) -> Console:
    """A rich console on stdout or stderr; colour only in a terminal, and not with NO_COLOR.

    Lines are not broken: whoever copies a path or reads from a pipe wants all of it.
    """
    from rich.console import Console

    class Lines(Console):
        def on_broken_pipe(self) -> None:
            # What the caller does with every other stream that nobody reads any more.
            raise BrokenPipeError

    return Lines(stderr=stderr, highlight=False, soft_wrap=True)


def reader_gone(timeout_s: float = 0.0) -> bool:
    """Whether nobody reads standard output any more; it is waited for that long.

    A command that may be silent for hours asks, as `tail -f` does: it would notice at its next write only.
    """
    poll = select.poll()
    # No event is asked for: the loss of the other end is always reported.
    poll.register(sys.stdout.fileno(), 0)
    return bool(poll.poll(timeout_s * 1000))


def interruptible(items: Iterator[T], on_idle: Callable[[], None] | None = None) -> Iterator[T]:
    """The same items, taken in another thread: Ctrl-C then never hits the middle of a conversation with the client.

    on_idle: called every `IDLE_S` without an item. Raises the errors of ours that the iterator raises.
    """
    # One item only: of what the display is too slow for, the client keeps the newest.
    waiting: queue.Queue[tuple[T] | RfmError | None] = queue.Queue(maxsize=1)

    def take() -> None:
        end: RfmError | None = None
        try:
            for item in items:
                waiting.put((item,))
        except RfmError as error:
            end = error
        finally:
            waiting.put(end)

    threading.Thread(target=take, name="rfm-notices", daemon=True).start()
    while True:
        try:
            got = waiting.get(timeout=IDLE_S)
        except queue.Empty:
            if on_idle is not None:
                on_idle()
            continue
        if got is None:
            return
        if isinstance(got, RfmError):
            raise got
        yield got[0]


def print_json(data: Any) -> None:
    """One JSON document, or one line of a stream."""
    sys.stdout.write(msgspec.json.encode(data).decode() + "\n")
    sys.stdout.flush()


def print_table(columns: Sequence[Column], rows: Sequence[Sequence[str | Text]]) -> None:
    """A table on stdout: as wide as the terminal at most, in a pipe as wide as it is. Text is not parsed as markup."""
    from rich.table import Table
    from rich.text import Text

    out = console()
    cells = [[Text(cell) if isinstance(cell, str) else cell for cell in row] for row in rows]
    widths = [max([len(column.title), *(row[i].cell_len for row in cells)]) for i, column in enumerate(columns)]
    # A pipe is as wide as it has to be, unless somebody says otherwise.
    if not out.is_terminal and "COLUMNS" not in os.environ:
        out.width = sum(widths) + GAP * len(widths)
    shown = fitting(columns, widths, out.width)
    table = Table(
        box=None,
        padding=(0, GAP, 0, 0),
        pad_edge=False,
        header_style="dim",
        show_header=any(column.title for column in columns),
    )
    for i, width in shown:
        table.add_column(columns[i].title, width=width, no_wrap=True, overflow="ellipsis")
    for row in cells:
        table.add_row(*(row[i] for i, _ in shown))
    out.print(table, soft_wrap=False)


def state_text(operation: Operation) -> Text:
    """The state with its colour and, where it has one, its flag."""
    from rich.text import Text

    text = Text(operation.state, style=STATE_COLOURS.get(operation.state, ""))
    if operation.stale:
        text.append(" (silent)", style="yellow")
    return text
