"""`rfm-runtime errors`."""

from __future__ import annotations

from typing import Annotated

import typer

from rfm_runtime.cli.common import JsonOption, print_json, print_table
from rfm_runtime.cli.pages.catalogue import document, lines_of
from rfm_runtime.cli.text import Column
from rfm_runtime.core.text import printable
from rfm_runtime.errors import BadRequestError
from rfm_runtime.protocol.catalogue import Closing, Entry, closings, entries

__all__ = ["errors"]

COLUMNS = (
    Column("code"),
    Column("severity", rank=2),
    Column("exit", rank=3),
    Column("meaning", flexible=True),
)


def errors(
    code: Annotated[
        str | None, typer.Argument(metavar="CODE", help="One of them, as in `error[CODE]`, or a close code.")
    ] = None,
    as_json: JsonOption = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="Print docs/errors.md.")] = False,
) -> None:
    """Explain an error code: what it means, what a program can do by itself, and what people do. Without one, list all.

    Needs no runtime.
    """
    if markdown:
        typer.echo(document(), nl=False)
        return
    found = _wanted(code)
    if as_json:
        print_json(found)
    elif code is not None:
        for line in lines_of(found):
            typer.echo(line)
    else:
        rows = [
            [one.code, one.severity, "" if one.exit_code is None else str(one.exit_code), one.meaning]
            for one in found
            if isinstance(one, Entry)
        ]
        print_table(COLUMNS, rows)
        typer.echo("One of them: `rfm-runtime errors CODE`. Programs that report give codes of their own as well.")


def _wanted(code: str | None) -> list[Entry | Closing]:
    every: list[Entry | Closing] = [*entries(), *closings()]
    if code is None:
        return every
    # As it is copied: error[no_runtime], 4008.
    wanted = code.rpartition("[")[2].rstrip("]:").lower()
    found = [one for one in every if str(one.code) == wanted]
    if not found:
        raise BadRequestError(
            f"there is no code {printable(code)!r}",
            hint="`rfm-runtime errors` lists all; a program that reports may also give the name of an exception",
        )
    return found
