"""`rfm-runtime presets`."""

from __future__ import annotations

from rfm_runtime.cli.common import JsonOption, console, print_json

__all__ = ["presets"]


def presets(as_json: JsonOption = False) -> None:
    """List the presets for `rfm-runtime render`."""
    from rich.table import Table

    from rfm_runtime.render.presets import PRESETS

    known = [PRESETS[name] for name in PRESETS]
    if as_json:
        print_json({"presets": known})
        return
    table = Table(box=None, pad_edge=False, header_style="dim")
    for column in ("name", "title", "formula", "max. iterations"):
        table.add_column(column)
    for preset in known:
        julia = " (Julia)" if preset.request.julia_re is not None else ""
        table.add_row(preset.name, preset.title, preset.request.formula + julia, str(preset.request.max_iter))
    console().print(table)
