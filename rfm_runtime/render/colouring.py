"""How raw data becomes colours: the part of a request that can be changed without computing anything again."""

from __future__ import annotations

import re

from msgspec import Struct

from rfm_runtime.errors import BadRequestError
from rfm_runtime.render.palettes import gradient
from rfm_runtime.render.refusals import in_range, one_of, shown

__all__ = ["COLOURINGS", "ENDS", "Colouring", "check"]

COLOURINGS = ("smooth", "distance", "histogram", "field_lines", "orbit_trap")
"""What a point's place along the palette follows from: see `rfm_kernels.colour`."""

ENDS = ("mirror", "wrap", "clamp")
"""What comes after a palette's end: see `rfm_kernels.gradient`."""

BY_PERIOD = "period"
"""In place of the colour of the inside: each period has one of the palette."""

SLOPE_LIMIT = 10.0
LOWEST_DEG = 10.0
"""Of a lamp: lower ones leave what is turned to them white, and all else black."""

RGB = re.compile(r"#[0-9a-fA-F]{6}")


class Colouring(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How a picture is coloured.

    colouring: "smooth", by the iterations until escape; "distance", by the distance from the set; "histogram", by the
    share of the picture that escapes sooner; "field_lines", as smooth, with lines of equal angle; "orbit_trap", by how
    near the orbit came to the trap of the render. palette: a name, or
    colours of your own, see `rfm_runtime.render.palettes`. cyclic: after its end the palette runs back ("mirror"),
    begins again ("wrap"), or keeps its last colour ("clamp"). density: runs of the palette each time the count doubles,
    or the distance, or in all of a histogram; with "mirror" a run is the way to the end and back. offset: where along
    the palette it begins, in runs. interior: of points that do not escape, #rrggbb, or "period", by
    the length of the cycle that they go to.

    slopes: by how much the ground falls away from the set, -10 to 10: 0 is flat, 1 is 45°, less than 0 rises.
    light_azimuth_deg: where the light comes from, counterclockwise from the right; light_elevation_deg: 10 to 90, its
    height; shine: how much of it gleams, 0 to 1. bits: a channel of the picture, 8 or 16. dither: of 8 bits, against
    steps in large smooth areas; the file becomes larger.
    """

    colouring: str = "smooth"
    palette: str = "viridis"
    cyclic: str = "mirror"
    density: float = 0.5
    offset: float = 0.0
    interior: str = "#000000"
    slopes: float = 0.0
    light_azimuth_deg: float = 135.0
    light_elevation_deg: float = 45.0
    shine: float = 0.2
    bits: int = 8
    dither: bool = False

    @property
    def needs_derivative(self) -> bool:
        """Whether it takes the last z and the distance estimate of each point."""
        return self.colouring in ("distance", "field_lines", "orbit_trap") or self.slopes != 0.0

    @property
    def by_period(self) -> bool:
        """Whether the inside has its colours by period."""
        return self.interior == BY_PERIOD

    @property
    def interior_rgb(self) -> tuple[int, int, int]:
        """Red, green, blue, 0 to 255; black for periods that are not known."""
        if self.by_period:
            return 0, 0, 0
        red, green, blue = bytes.fromhex(self.interior[1:])
        return red, green, blue

    @property
    def light(self) -> tuple[float, float, float, float] | None:
        """Slope, azimuth, elevation and shine, as `rfm_kernels.colour` takes them; None where all is flat."""
        if self.slopes == 0.0:
            return None
        return self.slopes, self.light_azimuth_deg, self.light_elevation_deg, self.shine


def check(look: Colouring) -> None:
    """Raises BadRequestError: what is wrong, and what to do."""
    one_of("colouring", look.colouring, COLOURINGS)
    one_of("value of cyclic", look.cyclic, ENDS)
    gradient(look.palette)
    if not look.by_period and not RGB.fullmatch(look.interior):
        raise BadRequestError(
            f"interior is {shown(look.interior, 20)!r}, not a colour",
            hint='write it as "#rrggbb", e.g. "#000000", or "period"',
        )
    for name, value, low, high in (
        ("density", look.density, -1000.0, 1000.0),
        ("offset", look.offset, -1000.0, 1000.0),
        ("slopes", look.slopes, -SLOPE_LIMIT, SLOPE_LIMIT),
        ("light_azimuth_deg", look.light_azimuth_deg, -360.0, 360.0),
        ("light_elevation_deg", look.light_elevation_deg, LOWEST_DEG, 90.0),
        ("shine", look.shine, 0.0, 1.0),
    ):
        in_range(name, value, low, high)
    if look.bits not in (8, 16):
        raise BadRequestError(f"bits is {look.bits}, it has to be 8 or 16", hint="8 are enough for any screen")
    if look.dither and look.bits == 16:
        raise BadRequestError("dither means nothing to 16 bits", hint="leave it out: 16 bits show no steps")
