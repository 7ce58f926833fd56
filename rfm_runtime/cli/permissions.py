"""`rfm-runtime permissions`."""

from __future__ import annotations

from typing import Annotated

import typer

from rfm_runtime.cli.common import JsonOption, print_json, print_table
from rfm_runtime.cli.pages.rights import document, rows
from rfm_runtime.cli.text import Column
from rfm_runtime.core.permissions import ROLES

__all__ = ["permissions"]

COLUMNS = (
    Column("request"),
    Column("right", rank=2),
    *(Column(role) for role in ROLES),
    Column("looked at", flexible=True, rank=3),
)


def permissions(
    as_json: JsonOption = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print docs/permissions.md.")] = False,
) -> None:
    """Who may do what: of each request the right that it needs, and over whose operations each role has it.

    Needs no runtime.
    """
    if markdown:
        typer.echo(document(), nl=False)
        return
    found = list(rows())
    if as_json:
        print_json(found)
        return
    requests = [row for row in found if row.direction == "request"]
    print_table(
        COLUMNS, [[row.type, row.right, *(row.roles[role] or "-" for role in ROLES), row.about] for row in requests]
    )
    typer.echo("`all`: of everybody's operations, `own`: of one's own. More in docs/permissions.md.")
