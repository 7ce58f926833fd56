"""`rfm-runtime formulas`."""

from __future__ import annotations

from rfm_runtime.cli.common import JsonOption, console, print_json, print_table
from rfm_runtime.cli.text import Column

__all__ = ["formulas"]

COLUMNS = (Column("name"), Column("formula", flexible=True), Column("takes", rank=1), Column("julia", rank=2))


def formulas(as_json: JsonOption = False) -> None:
    """List the formulas for `rfm-runtime render --formula`."""
    from rfm_runtime.render.catalogue import formulas as known
    from rfm_runtime.render.formulas import unusable

    found = known()
    for why in unusable():
        console(stderr=True).print(why, style="yellow", markup=False)
    if as_json:
        print_json({"formulas": found})
        return
    rows = [(one.name, one.description, ", ".join(one.takes) or "–", "yes" if one.julia else "no") for one in found]
    print_table(COLUMNS, rows)
