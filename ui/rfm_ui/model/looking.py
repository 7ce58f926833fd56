"""Colours and light of a view, and the parameters of its formula: what can be set, and what that takes. Pure."""

from __future__ import annotations

import math
from typing import Literal, NamedTuple

from msgspec.structs import asdict, replace

from rfm_runtime.errors import BadRequestError
from rfm_runtime.render.colouring import SLOPE_LIMIT, Colouring
from rfm_runtime.render.formulas import FORMULAS
from rfm_runtime.render.palettes import Gradient
from rfm_runtime.render.request import RenderRequest, validate

__all__ = [
    "LOOK",
    "SLIDERS",
    "STEPS",
    "Parameter",
    "Slider",
    "colourings_for",
    "look_of",
    "needed",
    "parameters_for",
    "swatch",
    "with_look",
    "with_parameter",
]

LOOK = tuple(Colouring.__struct_fields__)
"""What `recolour` changes."""

STEPS = 400
"""Of a slider."""

Needed = Literal["nothing", "recolour", "render"]


class Slider(NamedTuple):
    """A number of a look. is_relative: steps are parts of the value, as of what is doubled and halved."""

    field: str
    name: str
    low: float
    high: float
    is_relative: bool = False
    unit: str = ""
    says: str = ""

    def at(self, value: float) -> int:
        """The place of a value."""
        value = min(max(value, self.low), self.high)
        if self.is_relative:
            return round(STEPS * math.log(value / self.low) / math.log(self.high / self.low))
        return round(STEPS * (value - self.low) / (self.high - self.low))

    @property
    def typed(self) -> tuple[float, float]:
        """What may be typed: more than the slider has, where that means something."""
        return RANGES.get(self.field, (self.low, self.high))

    @property
    def decimals(self) -> int:
        """Of the number."""
        return 0 if self.high > 10.0 and not self.is_relative else 2

    @property
    def step(self) -> float:
        """For a key."""
        return 5.0 if self.decimals == 0 else 0.05

    def value(self, place: int) -> float:
        """The value of a place, in the digits that are shown."""
        part = place / STEPS
        if self.is_relative:
            return round(self.low * math.pow(self.high / self.low, part), self.decimals)
        return round(self.low + (self.high - self.low) * part, self.decimals)


RANGES = {"density": (-1000.0, 1000.0), "offset": (-1000.0, 1000.0), "slopes": (-SLOPE_LIMIT, SLOPE_LIMIT)}

SLIDERS = (
    Slider("density", "Density", 0.02, 20.0, is_relative=True, says="Runs of the palette each time the count doubles"),
    Slider("offset", "Offset", 0.0, 1.0, says="Where along the palette it begins"),
    Slider("slopes", "Relief", -4.0, 4.0, says="How steep the ground falls away from the set; 0 is flat"),
    Slider("light_azimuth_deg", "Light from", 0.0, 360.0, unit="°", says="Counterclockwise from the right"),
    Slider("light_elevation_deg", "Its height", 10.0, 90.0, unit="°", says="Above the ground"),
    Slider("shine", "Shine", 0.0, 1.0, says="How much of the ground gleams"),
)


def swatch(found: Gradient, width_px: int) -> bytes:
    """A line of a palette, red green blue a pixel: enough to know it by."""
    colours = [found.colours[k : k + 3] for k in range(0, len(found.colours), 3)]
    places = found.positions or [k / (len(colours) - 1) for k in range(len(colours))]
    line, k = bytearray(), 0
    for x in range(width_px):
        at = x / max(1, width_px - 1)
        while k < len(places) - 2 and places[k + 1] < at:
            k += 1
        room = places[k + 1] - places[k]
        part = min(1.0, max(0.0, (at - places[k]) / room)) if room else 1.0
        line += bytes(round(a + (b - a) * part) for a, b in zip(colours[k], colours[k + 1], strict=True))
    return bytes(line)


def look_of(view: RenderRequest) -> Colouring:
    """Its colours alone."""
    return Colouring(**{name: getattr(view, name) for name in LOOK})


def with_look(view: RenderRequest, look: Colouring) -> RenderRequest:
    """The view in other colours."""
    return replace(view, **asdict(look))


def needed(rendered: RenderRequest, wanted: RenderRequest) -> Needed:
    """What it takes to show a view, given a render: nothing, other colours of what is there, or another render.

    Relief and some colourings follow from distances, and colours by period from periods: a frame that was rendered
    without them has none.
    """
    if with_look(rendered, look_of(wanted)) != wanted:
        return "render"
    if rendered == wanted:
        return "nothing"
    lacks_distances = look_of(wanted).needs_derivative and not rendered.needs_derivative
    lacks_periods = wanted.by_period and not rendered.by_period
    return "render" if lacks_distances or lacks_periods else "recolour"


def colourings_for(view: RenderRequest) -> tuple[str, ...]:
    """Ways to colour that mean something to the view."""
    if FORMULAS[view.formula].converges:
        ways: tuple[str, ...] = ("smooth", "histogram")
    else:
        ways = ("smooth", "histogram", "distance", *(() if view.trap else ("field_lines",)))
    return (*ways, "orbit_trap") if view.trap else ways


Kind = Literal["count", "number", "complex", "list"]


class Parameter(NamedTuple):
    """Of a formula. value: as it is written; "" is the formula's own."""

    field: str
    name: str
    kind: Kind
    value: str
    says: str


_TAKEN: tuple[tuple[str, str, Kind, str], ...] = (
    ("power", "Power", "count", "Of zᵈ, 2 to 16"),
    ("p", "p", "complex", "What the point before is taken with, such as -0.5+0.1i"),
    ("roots", "Roots", "list", "Of the polynomial, with commas between them, such as 1, -1, i, -i"),
    (
        "coefficients",
        "Coefficients",
        "list",
        "From the highest power down, with commas between them, in place of roots",
    ),
    ("relaxation", "Relaxation", "complex", "Of a step, such as 1 or 0.7+0.2i"),
    ("tolerance", "Tolerance", "number", "A step that is shorter ends it"),
)


def parameters_for(view: RenderRequest) -> list[Parameter]:
    """What can be set that has to be computed anew, with what is set now."""
    taken = FORMULAS[view.formula].takes
    most = str(view.max_iter) if view.max_iter else ""
    found = [Parameter("max_iter", "Iterations", "count", most, "At most; empty: as many as the view needs")]
    for field, name, kind, says in _TAKEN:
        if field in taken:
            value = getattr(view, field)
            shown = ", ".join(value) if isinstance(value, tuple) else "" if value is None else str(value)
            found.append(Parameter(field, name, kind, shown, says))
    if view.julia_re is not None:
        says = "Of the constant of the Julia set"
        found.append(Parameter("julia_re", "Real part", "complex", view.julia_re, says))
        found.append(Parameter("julia_im", "Imaginary part", "complex", view.julia_im or "0", says))
    return found


def with_parameter(view: RenderRequest, parameter: Parameter, text: str) -> RenderRequest:
    """The view with what somebody has typed. Raises BadRequestError: what is wrong, and what to do."""
    text = text.strip()
    fields = {name: value for name, value in asdict(view).items() if value is not None}
    if not text:
        fields.pop(parameter.field, None)
        if parameter.field == "max_iter":
            fields["max_iter"] = 0
        elif parameter.field in ("julia_re", "julia_im"):
            fields[parameter.field] = "0"
    elif parameter.kind == "complex":
        fields[parameter.field] = text
    elif parameter.kind == "list":
        # Both say the same; the newest word counts.
        fields.pop("roots" if parameter.field == "coefficients" else "coefficients", None)
        fields[parameter.field] = [part.strip() for part in text.split(",")]
    else:
        try:
            fields[parameter.field] = int(text) if parameter.kind == "count" else float(text)
        except ValueError:
            wanted = "a whole number" if parameter.kind == "count" else "a number"
            raise BadRequestError(f"{parameter.name} is {text[:40]!r}, not {wanted}", hint=parameter.says) from None
    return validate(fields)
