"""`rfm-runtime probe`."""

from __future__ import annotations

import re
from typing import Annotated, Any

import typer

from rfm_runtime.cli import completion
from rfm_runtime.cli.common import JsonOption, console, print_json, print_table
from rfm_runtime.cli.refusals import by_options
from rfm_runtime.cli.sizes import IterationsOption
from rfm_runtime.cli.text import Column
from rfm_runtime.errors import BadRequestError

__all__ = ["probe"]

COLUMNS = (
    Column("dx"), Column("dy"), Column("n"), Column("mu"), Column("interior"), Column("period"), Column("distance"),
)  # fmt: skip

OFFSET = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,3})?")
POINTS_LIMIT = 10_000


def probe(
    location: Annotated[
        str,
        typer.Argument(help="A preset, or a PNG, TOML or .kfr file.", autocompletion=completion.presets),
    ],
    points: Annotated[
        str,
        typer.Option(
            metavar='"DX,DY …"', help="Places in widths of the view, to the right of its centre and above it."
        ),
    ] = "0,0",
    bailout: Annotated[float | None, typer.Option(metavar="NUMBER", help="Escape radius.")] = None,
    max_iter: IterationsOption = None,
    truth: Annotated[
        bool, typer.Option("--truth", help="Ask arithmetic of many digits instead of the kernels; slow.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Say what becomes of single points of a view: iterations, smooth value, interior, period, distance to the set.

    n counts applications of the formula up to the first |z| > R, and is -1 where there is none within the iterations.
    """
    from rfm_runtime.app.probe import probe as asked
    from rfm_runtime.cli.locations import params_of

    params: dict[str, Any] = params_of(location)
    given = {name: value for name, value in (("bailout", bailout), ("max_iter", max_iter)) if value is not None}
    params |= given
    places = _places(points)

    def say() -> None:
        what = "computing with many digits" if truth else "computing; the first point of a formula has it compiled"
        console(stderr=True).print(what, style="dim")

    with by_options(given):
        answers = asked(params, places, truth=truth, on_wait=say)
    if as_json:
        print_json({"points": answers})
        return
    rows = [
        (dx, dy, *("–" if answer[key] is None else _shown(answer[key]) for key in ANSWERS))
        for (dx, dy), answer in zip(places, answers, strict=True)
    ]
    print_table(COLUMNS, rows)


ANSWERS = ("n", "mu", "interior", "period", "distance")


def _shown(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:.9g}" if isinstance(value, float) else str(value)


def _places(text: str) -> list[tuple[str, str]]:
    found: list[tuple[str, str]] = []
    for pair in text.split():
        dx, comma, dy = pair.partition(",")
        if not comma or not OFFSET.fullmatch(dx) or not OFFSET.fullmatch(dy):
            raise BadRequestError(
                f"--points has {pair[:40]!r}, which is not a pair of numbers", hint='write it like "0,0 0.25,-0.125"'
            )
        found.append((dx, dy))
    if not 0 < len(found) <= POINTS_LIMIT:
        raise BadRequestError(
            f"--points has {len(found)} points, it can have 1 to {POINTS_LIMIT}", hint='write it like "0,0 0.25,-0.125"'
        )
    return found
