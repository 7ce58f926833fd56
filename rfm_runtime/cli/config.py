"""`rfm-runtime config`."""

from __future__ import annotations

import os
from typing import Annotated

import msgspec
import typer

from rfm_runtime import config as settings_module
from rfm_runtime.cli.common import ConfigOption, JsonOption, print_json, print_table
from rfm_runtime.cli.text import Column

__all__ = ["app"]

app = typer.Typer(help="Look at the settings.", no_args_is_help=True)


@app.callback()
def options() -> None:
    """Look at the settings."""


@app.command()
def show(
    origin: Annotated[bool, typer.Option("--origin", help="Where each value comes from.")] = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
) -> None:
    """Show all settings, with --origin also where each comes from.

    Command line > environment (RFM_…) > settings file > default.
    """
    loaded = settings_module.load(file=config)
    for unknown in settings_module.unknown_variables(os.environ):
        # Those that are nearly one of ours every command tells.
        if not unknown.nearest:
            typer.echo(f"ignored: {unknown.said}", err=True)
    values = msgspec.structs.asdict(loaded.settings)
    if as_json:
        print_json({key: {"value": value, "origin": loaded.origin[key]} for key, value in values.items()})
        return
    columns = [Column(""), Column(""), *([Column("")] if origin else [])]
    print_table(columns, [[key, str(values[key]), loaded.origin[key]][: len(columns)] for key in values])
    if origin:
        typer.echo(f"settings file: {config or settings_module.config_file()}", err=True)
