"""`rfm-runtime logs`."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path
from typing import Annotated, Any

import typer

from rfm_runtime.cli.common import JsonOption, RuntimeDirOption, StateDirOption, settings
from rfm_runtime.config import folders
from rfm_runtime.errors import BadRequestError

__all__ = ["logs"]

POLL_S = 0.2
TAIL_BYTES = 1024 * 1024


def logs(
    component: Annotated[str | None, typer.Argument(help="broker, engine, gateway, supervisor, worker.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as they are written.")] = False,
    lines: Annotated[int, typer.Option("--lines", "-n", min=1, help="At most so many, newest last.")] = 100,
    operation: Annotated[str | None, typer.Option(help="Only of this operation or correlation id.")] = None,
    as_json: JsonOption = False,
    state_dir: StateDirOption = None,
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """Show what the runtime's processes logged, in the order of time."""
    folder = folders(settings(state_dir=state_dir, runtime_dir=runtime_dir)).logs
    paths = sorted(path for path in folder.glob("*.log") if component is None or path.stem.startswith(component))
    if not paths:
        known = ", ".join(sorted({path.stem for path in folder.glob("*.log")})) or "none yet"
        raise BadRequestError(f"no logs of {component or 'a runtime'} in {folder}", hint=f"there are: {known}")
    offsets = {path: path.stat().st_size for path in paths}
    entries = [entry for path in paths for entry in _read(path, max(0, offsets[path] - TAIL_BYTES), offsets[path])]
    for entry in _wanted(entries, operation)[-lines:]:
        _show(entry, as_json)
    while follow:
        time.sleep(POLL_S)
        entries = []
        for path in paths:
            size = path.stat().st_size if path.exists() else 0
            start = offsets[path] if size >= offsets[path] else 0
            entries += _read(path, start, size)
            offsets[path] = size
        for entry in _wanted(entries, operation):
            _show(entry, as_json)


def _read(path: Path, start: int, end: int) -> list[dict[str, Any]]:
    entries = []
    with path.open("rb") as file:
        file.seek(start, os.SEEK_SET)
        for line in file.read(end - start).splitlines():
            try:
                entry = json.loads(line)
            except ValueError:
                # The first line of a tail is usually half of one.
                continue
            if isinstance(entry, dict):
                entries.append(entry)
    return entries


def _wanted(entries: list[dict[str, Any]], operation: str | None) -> list[dict[str, Any]]:
    chosen = [
        entry
        for entry in entries
        if operation is None
        or str(entry.get("operation_id", "")).endswith(operation)
        or entry.get("correlation_id") == operation
    ]
    return sorted(chosen, key=lambda entry: str(entry.get("timestamp", "")))


def _show(entry: dict[str, Any], as_json: bool) -> None:
    if as_json:
        print(json.dumps(entry), flush=True)
        return
    rest = {
        k: v for k, v in entry.items() if k not in {"timestamp", "level", "component", "event", "pid", "incarnation"}
    }
    details = " ".join(f"{key}={value}" for key, value in rest.items() if value is not None)
    when = str(entry.get("timestamp", ""))[11:23]
    level = str(entry.get("level", "")).upper()[:4]
    print(f"{when} {level:4} {entry.get('component', ''):11} {entry.get('event', '')} {details}".rstrip(), flush=True)
