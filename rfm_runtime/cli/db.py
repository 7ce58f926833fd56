"""`rfm-runtime db`: the journal's file. Everything but `migrate` and `restore` works while a runtime uses it."""

from __future__ import annotations

import sys
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, BinaryIO

import msgspec
import typer

from rfm_runtime.cli.common import (
    JsonOption,
    RuntimeDirOption,
    StateDirOption,
    console,
    output_file,
    print_json,
    settings,
)
from rfm_runtime.cli.history import labels_of, states_of
from rfm_runtime.cli.text import period
from rfm_runtime.client.connection_file import ConnectionInfo
from rfm_runtime.config import Folders, Settings, folders
from rfm_runtime.core.counts import counted
from rfm_runtime.core.text import printable
from rfm_runtime.errors import BadRequestError, JournalError, NoRuntimeError, SetupError

if TYPE_CHECKING:
    from rfm_runtime.protocol.operation import Operation, OperationEvent

__all__ = ["app", "journal_of"]

SHOWN_FINDINGS = 20
EVENT_COLUMNS = (
    *("seq", "at", "type", "operation_id", "state", "generation"),
    *("by", "reason", "error_code", "error_message"),
)

app = typer.Typer(help="Look at the journal, copy it, check it, give it out.", no_args_is_help=True)


@app.callback()
def options() -> None:
    """Look at the journal, copy it, check it, give it out."""


def journal_of(state_dir: str | None, runtime_dir: str | None) -> tuple[Settings, Folders, int | None]:
    """Settings, folders, and the pid of the runtime that runs. One that does knows best where its files are.

    Raises SetupError if there is no such state folder: a name that was mistyped is no runtime that never started.
    """
    resolved = settings(state_dir=state_dir, runtime_dir=runtime_dir)
    running: ConnectionInfo | None = None
    with suppress(NoRuntimeError, SetupError):
        running = ConnectionInfo.read(folders(resolved).connection)
    if running is not None and state_dir is None:
        resolved = msgspec.structs.replace(resolved, state_dir=running.state_dir)
    if not Path(resolved.state_dir).is_dir():
        named = "--state-dir" if state_dir is not None else "the settings"
        raise SetupError(
            f"there is no folder {resolved.state_dir}, which {named} name{'s' if state_dir is not None else ''}",
            hint="correct the name; `rfm-runtime status` says where a runtime has its state, its first start makes it",
        )
    uses_it = running is not None and running.state_dir == resolved.state_dir
    return resolved, folders(resolved), running.pid if running is not None and uses_it else None


@app.command()
def status(as_json: JsonOption = False, state_dir: StateDirOption = None, runtime_dir: RuntimeDirOption = None) -> None:
    """Say what the journal has, how large it is, and how long it keeps what has ended."""
    from rfm_runtime.store.look import looked_at
    from rfm_runtime.store.reserve import Reserve
    from rfm_runtime.store.schema import SCHEMA_VERSION

    resolved, where, pid = journal_of(state_dir, runtime_dir)
    with looked_at(where.journal) as look:
        figures = look.figures()
    reserve = Reserve(where.reserve, resolved.reserve_bytes)
    if as_json:
        kept = {"retention_s": resolved.retention_s, "retention_operations": resolved.retention_operations}
        more = {"reserve_held": reserve.held, "reserve_bytes": resolved.reserve_bytes, "pid": pid, **kept}
        print_json({**msgspec.to_builtins(figures), "current_schema": SCHEMA_VERSION, **more})
        return
    older = "" if figures.schema == SCHEMA_VERSION else f" (the next start makes {SCHEMA_VERSION} of it)"
    free = f", of which {_size(figures.free_bytes)} are free" if figures.free_bytes else ""
    states = ", ".join(f"{count} {state}" for state, count in figures.operations.items()) or "none yet"
    days = resolved.retention_s / 86_400
    typer.echo(f"journal     {figures.path}, schema {figures.schema}{older}")
    typer.echo(f"used by     {'nobody' if pid is None else f'the runtime with pid {pid}'}")
    typer.echo(f"size        {_size(figures.bytes)}{free}; {_size(figures.wal_bytes)} beside it")
    typer.echo(f"operations  {states}")
    if figures.oldest_at_ms is not None and figures.newest_at_ms is not None:
        typer.echo(f"submitted   {_moment(figures.oldest_at_ms)} to {_moment(figures.newest_at_ms)}")
    typer.echo(f"log         {figures.epoch}, {counted(figures.events, 'event')} up to {figures.head}")
    typer.echo(
        f"keeps       what ended within {days:g} d, and of it the newest {resolved.retention_operations}; "
        f"{figures.forgotten} {'was' if figures.forgotten == 1 else 'were'} forgotten so far"
    )
    state = "is kept free" if reserve.held else "is not there: there was no room for it, or no runtime was started yet"
    typer.echo(f"reserve     {_size(resolved.reserve_bytes)} for outcomes on a full disk {state}")


def _size(size_bytes: int) -> str:
    return f"{size_bytes / 1e6:.1f} MB"


def _moment(at_ms: int) -> str:
    return time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at_ms / 1000))


@app.command()
def check(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="A backup; the runtime's own journal without it.")
    ] = None,
    as_json: JsonOption = False,
    state_dir: StateDirOption = None,
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """Read all of a journal and say what does not fit together.

    Its pages, its rows, and whether each operation has exactly one outcome in a log without gaps. Exit code 1 if
    something was found; nothing is changed.
    """
    from rfm_runtime.store.files import check_header
    from rfm_runtime.store.look import looked_at

    if file is not None and not check_header(file):
        raise JournalError(f"there is no file {file}", hint="name a backup that `rfm-runtime db backup` has written")
    with looked_at(journal_of(state_dir, runtime_dir)[1].journal if file is None else file) as look:
        checked = look.check()
    if as_json:
        print_json({"fine": checked.fine, **msgspec.to_builtins(checked)})
    else:
        found = [*checked.pages, *checked.rows, *checked.log]
        for one in found[:SHOWN_FINDINGS]:
            typer.echo(printable(one))
        if checked.count > SHOWN_FINDINGS:
            typer.echo(f"and {checked.count - SHOWN_FINDINGS} more")
        style = "green" if checked.fine else "red"
        told = "fine" if checked.fine else counted(checked.count, "finding")
        console().print(
            f"{told}: {counted(checked.operations, 'operation')}, {counted(checked.events, 'event')}",
            style=style,
            markup=False,
        )
        if not checked.fine:
            typer.echo("hint: keep a copy of the folder, then `rfm-runtime db restore` a backup", err=True)
    if not checked.fine:
        raise typer.Exit(1)


@app.command()
def backup(
    file: Annotated[
        Path | None, typer.Argument(metavar="[FILE]", help="Where to; by default into `backups` of the state folder.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")] = False,
    as_json: JsonOption = False,
    state_dir: StateDirOption = None,
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """Copy the journal into one file, while it is used as well, and verify the copy.

    Pictures and data of renders are not in it: they are in `artifacts` of the state folder.
    """
    from rfm_runtime.store.backup import backup as copied

    _, where, _ = journal_of(state_dir, runtime_dir)
    if file is None:
        _needs_journal(where)
        where.backups.mkdir(mode=0o700, exist_ok=True)
        file = where.backups / time.strftime("journal-%Y%m%d-%H%M%S.db")
    target = output_file(file, force=force, option=None, where=where)
    size_bytes = copied(where.journal, target, force=force)
    if as_json:
        print_json({"file": str(target.absolute()), "bytes": size_bytes})
    else:
        typer.echo(f"{target}, {_size(size_bytes)}, verified; use it with `rfm-runtime db restore`")


@app.command()
def migrate(
    as_json: JsonOption = False, state_dir: StateDirOption = None, runtime_dir: RuntimeDirOption = None
) -> None:
    """Bring a journal of an older release to this one's schema, as the next start would.

    It works on a copy: if it fails, the old one is as it was. If it succeeds, the old one is kept beside it.
    """
    from rfm_runtime.store.look import looked_at
    from rfm_runtime.store.schema import SCHEMA_VERSION

    _, where, _ = journal_of(state_dir, runtime_dir)
    with looked_at(where.journal) as look:
        before = look.figures().schema
    kept: Path | None = None
    if before != SCHEMA_VERSION:
        from rfm_runtime.store.migrate import migrate as migrated

        with _alone(where):
            kept = migrated(where.journal)
    if as_json:
        print_json({"from": before, "to": SCHEMA_VERSION, "kept": None if kept is None else str(kept)})
    elif kept is None:
        typer.echo(f"schema {before} is this release's: nothing to do")
    else:
        typer.echo(f"migrated from schema {before} to {SCHEMA_VERSION}; the old one is kept: {kept}")


@app.command()
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `rfm-runtime db backup` has written.")],
    as_json: JsonOption = False,
    state_dir: StateDirOption = None,
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """Put a backup in the journal's place; the one before is kept.

    What happened after the backup is not in it: it goes on as another log, and watchers begin anew.
    """
    from rfm_runtime.store.backup import restore as restored

    _, where, _ = journal_of(state_dir, runtime_dir)
    with _alone(where):
        kept = restored(file, where.journal, where.shown)
    if as_json:
        print_json({"journal": str(where.journal), "kept": None if kept is None else str(kept)})
    else:
        before = "" if kept is None else f"; the one before is {kept}"
        typer.echo(f"{where.journal} is {file} now{before}")


def _needs_journal(where: Folders) -> None:
    from rfm_runtime.store.files import check_header, missing

    if not check_header(where.journal):
        raise missing(where.journal)


@contextmanager
def _alone(where: Folders) -> Iterator[None]:
    """No runtime uses the state folder, and none begins to. Raises AlreadyRunningError, SetupError."""
    from rfm_runtime.app.folders import claim_state

    lock = claim_state(where)
    try:
        yield
    finally:
        lock.close()


@app.command()
def export(
    what: Annotated[str, typer.Argument(metavar="[operations|events]", help="What to give out.")] = "operations",
    form: Annotated[
        str | None, typer.Option("--format", metavar="FORMAT", help="jsonl (all there is; the default) or csv.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", metavar="FILE", help="Where to; standard output without it.")
    ] = None,
    force: Annotated[bool, typer.Option("--force", help="Replace FILE if it exists.")] = False,
    since: Annotated[str | None, typer.Option(metavar="WHEN", help="From when on: 2d, 2025-05-04T12:30.")] = None,
    until: Annotated[str | None, typer.Option(metavar="WHEN", help="Until when.")] = None,
    kind: Annotated[list[str] | None, typer.Option(metavar="KIND", help="Only of this kind; repeatable.")] = None,
    state: Annotated[list[str] | None, typer.Option(metavar="STATE", help="Only in this state; repeatable.")] = None,
    owner: Annotated[str | None, typer.Option(metavar="USER", help="Only of this user.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Only with this label; repeatable.")
    ] = None,
    text: Annotated[str | None, typer.Option(metavar="TEXT", help="Only with this in its name or id.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The same as --format jsonl.")] = False,
    state_dir: StateDirOption = None,
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """Give out operations or events: a JSON document a line, or CSV for spreadsheets.

    Operations are selected by their submission, events by their time.
    """
    from rfm_runtime.protocol.operation import OperationFilter
    from rfm_runtime.store.files import never_itself
    from rfm_runtime.store.look import looked_at

    if as_json and form not in (None, "jsonl"):
        raise BadRequestError(
            f"--json and --format {printable(form or '')} exclude each other", hint="leave out one of them"
        )
    form = form or "jsonl"
    if what not in ("operations", "events"):
        raise BadRequestError(f"{printable(what)!r} cannot be given out", hint="choose operations or events")
    if form not in ("jsonl", "csv"):
        raise BadRequestError(f"{printable(form)!r} is no format here", hint="choose jsonl or csv")
    wanted = OperationFilter(
        kinds=kind or None, states=states_of(state), owner=owner, labels=labels_of(label), text=text
    )
    now_ms = time.time_ns() // 1_000_000
    since_ms, until_ms = (0, None) if since is None and until is None else period(since, until, now_ms)
    since_ms = 0 if since is None else since_ms
    _, where, _ = journal_of(state_dir, runtime_dir)
    target = None if output is None else output_file(output, force=force, where=where)
    if target is not None:
        never_itself(where.journal, target)
    with looked_at(where.journal) as look:
        if what == "operations":
            lines = _operations(look.operations(wanted, since_ms, until_ms), form, now_ms)
        else:
            lines = _events(look.events(wanted, since_ms, until_ms), form)
        if target is None:
            _written(lines, sys.stdout.buffer)
            return
        fresh = target.with_name(f".{target.name}.partial")
        try:
            with fresh.open("wb") as file:
                count = _written(lines, file)
            fresh.replace(target)
        finally:
            fresh.unlink(missing_ok=True)
    typer.echo(f"{target}, {counted(count - (form == 'csv'), what.removesuffix('s'))}", err=True)


def _written(lines: Iterable[bytes], out: BinaryIO) -> int:
    count = 0
    for line in lines:
        out.write(line)
        count += 1
    out.flush()
    return count


def _operations(found: Iterable[tuple[Operation, dict[str, Any], Any]], form: str, now_ms: int) -> Iterator[bytes]:
    if form == "csv":
        from rfm_runtime.core.pages.formats import COLUMNS, cells, csv_lines
        from rfm_runtime.core.reports.facts import line

        yield from csv_lines(COLUMNS, (cells(line(operation, now_ms)) for operation, _, _ in found))
        return
    for operation, params, performance in found:
        whole = {**msgspec.to_builtins(operation), "params": params, "performance": performance}
        yield msgspec.json.encode(whole) + b"\n"


def _events(found: Iterable[OperationEvent], form: str) -> Iterator[bytes]:
    if form == "csv":
        from rfm_runtime.core.pages.formats import csv_lines, utc

        rows = (
            (
                *(e.seq, utc(e.ts_ms), e.type, e.operation_id, e.state, e.generation, e.by, e.reason),
                *(None if e.error is None else e.error.code, None if e.error is None else e.error.message),
            )
            for e in found
        )
        yield from csv_lines(EVENT_COLUMNS, rows)
        return
    for event in found:
        yield msgspec.json.encode(event) + b"\n"
