"""`rfm-runtime presets`."""

from __future__ import annotations

from typing import Annotated

import typer

from rfm_runtime.cli import completion
from rfm_runtime.cli.common import JsonOption, print_json, print_table
from rfm_runtime.cli.text import Column

__all__ = ["presets"]

COLUMNS = (Column("name"), Column("title", flexible=True), Column("iterations", rank=1))


def presets(
    toml: Annotated[
        str | None,
        typer.Option(
            metavar="PRESET",
            help="Print one as TOML, to change and to render with --like.",
            autocompletion=completion.presets,
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """List the presets for `rfm-runtime render`."""
    from rfm_runtime.render.files.toml import write
    from rfm_runtime.render.presets import PRESETS, preset

    if toml is not None:
        chosen = preset(toml)
        print_json(chosen) if as_json else typer.echo(write(chosen.request), nl=False)
        return

    known = list(PRESETS.values())
    if as_json:
        print_json({"presets": known})
        return
    print_table(COLUMNS, [(one.name, one.title, str(one.request.max_iter)) for one in known])
