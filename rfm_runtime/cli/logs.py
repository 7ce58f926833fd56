"""`rfm-runtime logs`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Any

import typer

from rfm_runtime.cli.common import JsonOption, RuntimeDirOption, StateDirOption, reader_gone, settings
from rfm_runtime.client.connection_file import ConnectionInfo
from rfm_runtime.config import Folders, folders
from rfm_runtime.core.text import printable
from rfm_runtime.errors import BadRequestError, NoRuntimeError

__all__ = ["line", "logs", "new_entries", "where_it_is"]

POLL_S = 0.2
TAIL_BYTES = 1024 * 1024
HEAD = frozenset({"timestamp", "level", "component", "event", "pid", "incarnation"})


def logs(
    component: Annotated[
        str | None,
        typer.Argument(metavar="COMPONENT", help="broker, engine, gateway, supervisor, worker."),
    ] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as they are written.")] = False,
    lines: Annotated[
        int, typer.Option("--lines", "-n", metavar="NUMBER", min=1, help="At most so many, newest last.")
    ] = 100,
    operation: Annotated[
        str | None, typer.Option(metavar="ID", help="Only of this operation or correlation id.")
    ] = None,
    as_json: JsonOption = False,
    state_dir: StateDirOption = None,
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """Show what the runtime's processes logged, in order."""
    folder = where_it_is(state_dir, runtime_dir).logs
    there = sorted(folder.glob("*.log"))
    paths = [path for path in there if component is None or path.stem.startswith(component)]
    if not there:
        raise BadRequestError(f"nothing was logged in {folder} yet", hint="start a runtime with `rfm-runtime start`")
    if not paths:
        known = ", ".join(path.stem for path in there)
        raise BadRequestError(f"there is no component {component!r}", hint=f"choose one of: {known}")
    offsets = {path: max(0, path.stat().st_size - TAIL_BYTES) for path in paths}
    _show(_wanted(new_entries(offsets), operation)[-lines:], as_json)
    while follow:
        if reader_gone(POLL_S):
            raise BrokenPipeError
        _show(_wanted(new_entries(offsets), operation), as_json)


def where_it_is(state_dir: str | None, runtime_dir: str | None) -> Folders:
    """The folders of the running runtime, wherever its state is; else of the settings."""
    where = folders(settings(state_dir=state_dir, runtime_dir=runtime_dir))
    if state_dir is None:
        try:
            state = ConnectionInfo.read(where.connection).state_dir
        except NoRuntimeError:
            return where
        return folders(settings(state_dir=state, runtime_dir=runtime_dir))
    return where


def new_entries(offsets: dict[Path, int]) -> list[dict[str, Any]]:
    """What was logged since; the offsets move on."""
    entries = []
    for path, start in offsets.items():
        try:
            size = path.stat().st_size
            # Smaller than before: it was rotated, and begins anew.
            found, offsets[path] = _read(path, start if size >= start else 0)
        except FileNotFoundError:
            continue
        entries += found
    return entries


def _read(path: Path, start: int) -> tuple[list[dict[str, Any]], int]:
    """Complete lines from `start` on, and where the first incomplete one begins."""
    with path.open("rb") as file:
        file.seek(start)
        content = file.read()
    complete = content[: content.rfind(b"\n") + 1]
    entries = []
    for line in complete.splitlines():
        try:
            entry = json.loads(line)
        except ValueError:
            # The first line of a tail is usually half of one.
            continue
        if isinstance(entry, dict):
            # What a process's other threads log does not say where it comes from.
            entries.append({"component": path.stem, **entry})
    return entries, start + len(complete)


def _wanted(entries: list[dict[str, Any]], operation: str | None) -> list[dict[str, Any]]:
    chosen = [
        entry
        for entry in entries
        if operation is None
        or str(entry.get("operation_id", "")).endswith(operation)
        or entry.get("correlation_id") == operation
    ]
    return sorted(chosen, key=lambda entry: str(entry.get("timestamp", "")))


def _show(entries: list[dict[str, Any]], as_json: bool) -> None:
    for entry in entries:
        print(json.dumps(entry) if as_json else line(entry), flush=True)


def line(entry: dict[str, Any]) -> str:
    """An entry for people: time, level, component, event, then everything else."""
    details = " ".join(f"{key}={value}" for key, value in entry.items() if key not in HEAD and value is not None)
    when = str(entry.get("timestamp", ""))[11:23]
    level = str(entry.get("level", "")).upper()[:4]
    text = f"{when} {level:4} {entry.get('component', ''):11} {entry.get('event', '')} {details}"
    return printable(text.rstrip())
