"""Options that have to do with colours, of every command that colours something."""

from __future__ import annotations

from typing import Annotated

import typer

from rfm_runtime.cli import completion

__all__ = [
    "BitsOption",
    "ColouringOption",
    "CyclicOption",
    "DensityOption",
    "DitherOption",
    "InteriorOption",
    "LightAzimuthOption",
    "LightElevationOption",
    "OffsetOption",
    "PaletteOption",
    "ShineOption",
    "SlopesOption",
]

PaletteOption = Annotated[
    str | None,
    typer.Option(
        metavar="NAME|COLOURS",
        help="viridis, turbo, ocean, gold … (--palette x lists all), or your own: #rrggbb,#rrggbb…",
        autocompletion=completion.palettes,
    ),
]
DensityOption = Annotated[
    float | None, typer.Option(metavar="NUMBER", help="Palette runs each time the count doubles.")
]
OffsetOption = Annotated[float | None, typer.Option(metavar="NUMBER", help="Where the palette begins, 0 to 1.")]
InteriorOption = Annotated[str | None, typer.Option(metavar="COLOUR", help="Colour of the inside, #rrggbb, or period.")]
ColouringOption = Annotated[
    str | None, typer.Option(metavar="NAME", help="smooth, distance, histogram, field_lines or orbit_trap.")
]
CyclicOption = Annotated[
    str | None, typer.Option(metavar="mirror|wrap|clamp", help="What comes after the palette's end.")
]
SlopesOption = Annotated[
    float | None, typer.Option(metavar="NUMBER", help="Height of the relief under a lamp; 1 is 45°, 0 is flat.")
]
LightAzimuthOption = Annotated[
    float | None, typer.Option(metavar="DEGREES", help="Where the light comes from, from the right on.")
]
LightElevationOption = Annotated[
    float | None, typer.Option(metavar="DEGREES", help="How high the lamp stands, 10 to 90.")
]
ShineOption = Annotated[float | None, typer.Option(metavar="NUMBER", help="How much it gleams, 0 to 1.")]
BitsOption = Annotated[int | None, typer.Option(metavar="8|16", help="Of a channel of the picture.")]
DitherOption = Annotated[
    bool | None, typer.Option("--dither/--no-dither", help="Against steps in large smooth areas, at 8 bits.")
]
