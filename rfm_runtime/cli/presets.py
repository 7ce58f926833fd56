"""`rfm-runtime presets`."""

from __future__ import annotations

from rfm_runtime.cli.common import JsonOption, print_json, print_table
from rfm_runtime.cli.text import Column

__all__ = ["presets"]

COLUMNS = (Column("name"), Column("title", flexible=True), Column("iterations", rank=1))


def presets(as_json: JsonOption = False) -> None:
    """List the presets for `rfm-runtime render`."""
    from rfm_runtime.render.presets import PRESETS

    known = list(PRESETS.values())
    if as_json:
        print_json({"presets": known})
        return
    print_table(COLUMNS, [(preset.name, preset.title, str(preset.request.max_iter)) for preset in known])
