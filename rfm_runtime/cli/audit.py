"""`rfm-runtime audit`."""

from __future__ import annotations

import json
import time
from datetime import datetime
from pathlib import Path
from typing import Annotated, Any

import typer

from rfm_runtime.cli.common import JsonOption, RuntimeDirOption, StateDirOption, reader_gone
from rfm_runtime.cli.logs import new_entries, where_it_is
from rfm_runtime.cli.text import period
from rfm_runtime.core.auditing import EVENTS
from rfm_runtime.core.text import local_time, printable
from rfm_runtime.errors import BadRequestError

__all__ = ["audit", "line"]

POLL_S = 0.2
HEAD = frozenset({"at_ms", "event", "process", "component", "user", "count"})


def audit(
    since: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="From when on: 2d, 12h, 30min (so long ago), 2025-05-04T12:30."),
    ] = None,
    user: Annotated[str | None, typer.Option(metavar="USER", help="Only of this user.")] = None,
    event: Annotated[list[str] | None, typer.Option(metavar="EVENT", help=f"{', '.join(EVENTS)}; repeatable.")] = None,
    follow: Annotated[bool, typer.Option("--follow", "-f", help="Go on as they are written.")] = False,
    as_json: JsonOption = False,
    state_dir: StateDirOption = None,
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """Show who came in, was refused, hit a limit, or did what to another's operation: the last 24 hours, or --since.

    Needs no runtime, and shows what is kept on this machine.
    """
    unknown = sorted(set(event or ()) - EVENTS.keys())
    if unknown:
        raise BadRequestError(f"there is no event {printable(unknown[0])!r}", hint=f"choose of {', '.join(EVENTS)}")
    since_ms, _ = period(since, None, time.time_ns() // 1_000_000)
    folder = where_it_is(state_dir, runtime_dir).audit
    offsets: dict[Path, int] = {}
    _show(_wanted(_new(folder, offsets), since_ms, user, event), as_json)
    while follow:
        if reader_gone(POLL_S):
            raise BrokenPipeError
        _show(_wanted(_new(folder, offsets), since_ms, user, event), as_json)


def _new(folder: Path, offsets: dict[Path, int]) -> list[dict[str, Any]]:
    """What was written since the last time; what is rotated meanwhile was read under its name before."""
    first = not offsets
    for path in folder.glob("*.jsonl"):
        # A process that was started since. Of an older file that comes to be all has been read.
        if path not in offsets:
            offsets[path] = 0 if first or not _is_older(path) else path.stat().st_size
    return new_entries(offsets)


def _is_older(path: Path) -> bool:
    return path.stem.rpartition(".")[2].isdecimal()


def _wanted(
    entries: list[dict[str, Any]], since_ms: int, user: str | None, events: list[str] | None
) -> list[dict[str, Any]]:
    chosen = [
        entry
        for entry in entries
        if isinstance(entry.get("at_ms"), int)
        and entry["at_ms"] >= since_ms
        and (user is None or entry.get("user") == user)
        and (not events or entry.get("event") in events)
    ]
    return sorted(chosen, key=lambda entry: int(entry["at_ms"]))


def _show(entries: list[dict[str, Any]], as_json: bool) -> None:
    for entry in entries:
        entry.pop("component", None)
        print(json.dumps(entry) if as_json else line(entry), flush=True)


def line(entry: dict[str, Any]) -> str:
    """An entry for people: time, event, user, then everything else."""
    when = local_time(entry["at_ms"])
    count = entry.get("count", 1)
    times = f" ×{count}" if count != 1 else ""
    details = " ".join(
        f"{key.removesuffix('_ms')}={_told(key, value)}" for key, value in entry.items() if key not in HEAD
    )
    text = f"{when} {entry['event']}{times} {entry.get('user') or '-'} {details} process={entry.get('process', '')}"
    return printable(text.rstrip())


def _told(key: str, value: object) -> str:
    if key.endswith("_ms") and isinstance(value, int):
        return datetime.fromtimestamp(value / 1000).astimezone().isoformat(timespec="seconds")
    return ",".join(map(str, value)) if isinstance(value, list) else str(value)
