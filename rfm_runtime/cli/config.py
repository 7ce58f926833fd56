"""`rfm-runtime config`."""

from __future__ import annotations

from typing import Annotated

import msgspec
import typer

from rfm_runtime import config as settings_module
from rfm_runtime.cli.common import ConfigOption, JsonOption, console, print_json

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
    """Show all settings: command line > environment (RFM_…) > file > default."""
    from rich.table import Table

    loaded = settings_module.load(file=config)
    values = msgspec.structs.asdict(loaded.settings)
    if as_json:
        print_json({key: {"value": value, "origin": loaded.origin[key]} for key, value in values.items()})
        return
    table = Table(box=None, pad_edge=False, show_header=False)
    for key, value in values.items():
        row = [key, str(value)] + ([f"[dim]{loaded.origin[key]}[/dim]"] if origin else [])
        table.add_row(*row)
    console().print(table)
    if origin:
        console().print(f"[dim]settings file: {config or settings_module.config_file()}[/dim]")
