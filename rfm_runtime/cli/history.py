"""`rfm-runtime history`."""

from __future__ import annotations

import time
from collections import Counter
from typing import TYPE_CHECKING, Annotated, Any, get_args

import typer

from rfm_runtime.cli.common import JsonOption, RuntimeDirOption, client, print_json, print_table, state_text
from rfm_runtime.cli.text import Column, period
from rfm_runtime.core.text import duration, local_time, printable, short_ids
from rfm_runtime.errors import BadRequestError
from rfm_runtime.protocol.operation import Operation, OperationState

if TYPE_CHECKING:
    from rich.text import Text

__all__ = ["history", "labels_of", "states_of"]

COLUMNS = (
    Column("id"),
    Column("submitted", rank=1),
    Column("kind", rank=2),
    Column("name", flexible=True),
    Column("owner", rank=4),
    Column("state"),
    Column("time", rank=3),
)

STATES: tuple[OperationState, ...] = get_args(OperationState)


def history(
    since: Annotated[
        str | None,
        typer.Option(metavar="WHEN", help="From when on: 2d, 12h, 30min (so long ago), 2025-05-04T12:30."),
    ] = None,
    until: Annotated[str | None, typer.Option(metavar="WHEN", help="Until when; now without it.")] = None,
    kind: Annotated[list[str] | None, typer.Option(metavar="KIND", help="Only of this kind; repeatable.")] = None,
    state: Annotated[list[str] | None, typer.Option(metavar="STATE", help="Only in this state; repeatable.")] = None,
    owner: Annotated[str | None, typer.Option(metavar="USER", help="Only of this user.")] = None,
    label: Annotated[
        list[str] | None, typer.Option(metavar="NAME=VALUE", help="Only with this label; repeatable.")
    ] = None,
    text: Annotated[str | None, typer.Option(metavar="TEXT", help="Only with this in its name or id.")] = None,
    limit: Annotated[int, typer.Option(metavar="NUMBER", min=1, help="At most so many.")] = 100,
    as_json: JsonOption = False,
    runtime_dir: RuntimeDirOption = None,
) -> None:
    """List what was submitted in a period, the last 24 hours without one: newest first, from all that was kept."""
    wanted: dict[str, Any] = {
        "kinds": kind or None,
        "states": states_of(state),
        "owner": owner,
        "labels": labels_of(label),
        "text": text,
    }
    since_ms, until_ms = period(since, until, time.time_ns() // 1_000_000)
    with client(runtime_dir) as connected:
        # One more, to know whether there is more.
        found = connected.history(since_ms=since_ms, until_ms=until_ms, limit=limit + 1, **wanted)
    more, found = len(found) > limit, found[:limit]
    if as_json:
        print_json({"operations": found, "more": more})
        return
    if not found:
        typer.echo("nothing was submitted in that period, or it does not match; --since 30d looks further back")
        return
    ids = short_ids([operation.operation_id for operation in found])
    print_table(COLUMNS, [_row(operation, ids[operation.operation_id]) for operation in found])
    counts = Counter(operation.state for operation in found)
    told = ", ".join(f"{counts[one]} {one}" for one in STATES if counts[one])
    typer.echo(f"{told}{f'; there are more, --limit {10 * limit} shows them' if more else ''}", err=True)


def states_of(given: list[str] | None) -> list[OperationState] | None:
    """States by name. Raises BadRequestError."""
    known: dict[str, OperationState] = {**{one: one for one in STATES}, "cancelled": "canceled"}
    unknown = [name for name in given or () if name not in known]
    if unknown:
        raise BadRequestError(f"{printable(unknown[0])!r} is no state", hint=f"choose from {', '.join(STATES)}")
    return [known[name] for name in given] if given else None


def labels_of(given: list[str] | None) -> dict[str, str] | None:
    """Labels from NAME=VALUE. Raises BadRequestError."""
    pairs = [text.partition("=") for text in given or ()]
    for name, sign, value in pairs:
        if not name or not sign:
            raise BadRequestError(f"{printable(name + sign + value)!r} is no label", hint="write it as NAME=VALUE")
    return {name: value for name, _, value in pairs} or None


def _row(operation: Operation, short_id: str) -> list[str | Text]:
    """time: that it took, or that it has taken."""
    submitted = local_time(operation.created_at_ms)
    took = ""
    if operation.started_at_ms is not None:
        until_ms = operation.ended_at_ms or time.time() * 1000
        took = duration(max(0.0, until_ms - operation.started_at_ms) / 1000)
    kind, name, owner = printable(operation.kind), printable(operation.name), printable(operation.owner)
    return [short_id, submitted, kind, name, owner, state_text(operation), took]
