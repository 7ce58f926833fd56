"""A render request and its validation: the first and only judge of parameters, at submit.

Coordinates are decimal strings and never go through float64; everything here takes time linear in the size of
the input, whatever the input is.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from decimal import ROUND_CEILING, Context, Decimal
from fractions import Fraction
from typing import Any

import msgspec

from rfm_runtime.errors import BadRequestError
from rfm_runtime.render import colouring
from rfm_runtime.render.complex_text import Complex, parse, polynomial
from rfm_runtime.render.formulas import FORMULAS
from rfm_runtime.render.refusals import in_range as _in_range
from rfm_runtime.render.refusals import nearest as _nearest
from rfm_runtime.render.refusals import one_of as _one_of
from rfm_runtime.render.refusals import shown as _shown

__all__ = [
    "FRAME_LIMIT_PX",
    "ON_POISON",
    "SKEW_LIMIT_DEG",
    "STRETCH_LIMIT",
    "RenderRequest",
    "coefficients_of",
    "p_of",
    "validate",
]

DEFAULT_PHOENIX = "-0.5"
DEFAULT_COEFFICIENTS = ("1", "0", "0", "-1")
DEFAULT_TOLERANCE = 1e-6

SPECIAL = ("power", "p", "coefficients", "roots", "relaxation", "tolerance")
"""Parameters that mean something to some formulas alone."""

TRAPS = ("point", "cross", "circle")
"""Of `rfm_kernels.formulas`, which clients do not import."""

ON_POISON = ("fail", "hole")
"""What becomes of a render some of whose pixels kill whoever computes them."""

DIGITS_LIMIT = 64
"""Characters of a coordinate: float64 has 17 digits, so a shallow view needs no more than half of them."""
EXPONENT_LIMIT = 400
SIDE_LIMIT_PX = 65_536
FRAME_LIMIT_PX = 400_000_000
"""16 bytes a pixel on disk, with image and raw data: 6.4 GB."""
SAMPLES_LIMIT = 8
MAX_ITER_LIMIT = 2**31 - 1
AUTO_MAX_ITER = 10_000_000
"""The most that a render finds out to need, where nobody says: `max_iter` 0."""

BAILOUT_LIMIT = 1e10
GROWTH_LIMIT = 300.0
"""Decimal exponent that |z|² may reach in the step that escapes: float64 has numbers up to 1e308."""
DEGREE_LIMIT = 16
SKEW_LIMIT_DEG = 80.0
STRETCH_LIMIT = 100.0
TRAP_LIMIT = 1000.0
SPACING_LIMIT = Fraction(1, 10**13)
"""Below this, neighbouring pixels of a view about |c| ≈ 1 share float64 coordinates or rounding shows."""
UPWARDS = Context(prec=3, rounding=ROUND_CEILING)
"""For a least that is enough when it is written down."""
TILE_PX = 128
TILE_MAX_PX = 512
TILES_ENOUGH = 400
EXTENT_LIMIT = 1000
"""Coordinates and width beyond this show nothing but the outside."""
BODY_LIMIT_BYTES = 16_384

DECIMAL = re.compile(r"[+-]?(?:[0-9]+(?:\.[0-9]*)?|\.[0-9]+)(?:[eE][+-]?[0-9]{1,4})?")


class RenderRequest(colouring.Colouring, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What to render.

    formula: see `rfm_runtime.render.formulas`. re, im: centre of the view, decimal strings. width: full horizontal
    extent, decimal string. rotation_deg: the view is turned about its centre, counterclockwise. skew_deg, stretch: and
    before that its upright axis is leant over, and lengthened; mirror: and, first of all, points down, as it does in
    programs in which Burning Ships float. julia_re, julia_im: c of a Julia set; without them the
    pixel is c. power: of a Multibrot set. p: of `phoenix`. coefficients (from the highest power down), or roots: of the
    polynomial of `newton` and `nova`, z³ − 1 without; relaxation: their R. All of these are complex numbers as text,
    such as "0.5-0.25i". tolerance: a step that is shorter ends an iteration that converges. bailout: escape radius R of
    the others. trap: "point", "cross" or "circle" at trap_re, trap_im, the circle with trap_radius: how near to it an
    orbit comes is kept, and can be coloured by. max_iter: a point that takes longer counts as inside; 0: as many as the
    view needs, found out when it begins. samples: of a pixel where colours change from one to the next, 1 to 8; all
    others have one. distances: the last z and the distance estimate are kept whatever the colours need, for EXR files
    and for other colours later. tile_px: edge of a tile, 16 to 512; without it chosen by the size. focus_x, focus_y:
    where whoever watches looks, as parts of the picture's width and height from its upper left corner: tiles are
    computed from there outwards. on_poison: where
    pixels kill whoever computes them, "fail" fails the render, "hole" leaves them out, as chequers of magenta and
    black. All that has to do with colours: see `rfm_runtime.render.colouring.Colouring`.
    """

    formula: str = "mandelbrot"
    re: str
    im: str
    width: str
    rotation_deg: float = 0.0
    skew_deg: float = 0.0
    stretch: float = 1.0
    mirror: bool = False
    width_px: int = 1920
    height_px: int = 1080
    max_iter: int = 1000
    # Large enough for the smooth fraction to show no steps, and the convention of the truth samples.
    bailout: float = 1000.0
    julia_re: str | None = None
    julia_im: str | None = None
    power: int | None = None
    p: str | None = None
    coefficients: tuple[str, ...] | None = None
    roots: tuple[str, ...] | None = None
    relaxation: str | None = None
    tolerance: float | None = None
    trap: str | None = None
    trap_re: float = 0.0
    trap_im: float = 0.0
    trap_radius: float = 1.0
    samples: int = 1
    distances: bool = False
    tile_px: int | None = None
    focus_x: float = 0.5
    focus_y: float = 0.5
    interior_tests: bool = True
    on_poison: str = "fail"

    @property
    def needs_derivative(self) -> bool:
        """Whether the kernel with all planes computes it: for its colours, for its trap, or to be kept."""
        return super().needs_derivative or self.trap is not None or self.distances

    @property
    def tile_edge_px(self) -> int:
        """Edge of a tile: `tile_px`, or chosen so that a large frame has a hundred to four hundred tiles.

        That is enough for the cores to share, for a picture to fill in evenly and for little to be lost with a worker;
        more only cost: a tile of 128×128 pixels may take less than a millisecond, handing it over a tenth of one.
        """
        if self.tile_px is not None:
            return self.tile_px
        edge_px = TILE_PX
        while edge_px < TILE_MAX_PX and -(-self.width_px // edge_px) * -(-self.height_px // edge_px) > TILES_ENOUGH:
            edge_px *= 2
        return edge_px


def validate(params: Mapping[str, Any] | bytes) -> RenderRequest:
    """The request these parameters stand for. Raises BadRequestError: what is wrong, and what to do."""
    fields = _fields(params)
    if fields.get("max_iter") == "auto":
        fields = {**fields, "max_iter": 0}
    _check_names(fields)
    for name, value in fields.items():
        # Python refuses to print integers of thousands of digits, and no parameter needs 64 bits.
        if isinstance(value, int) and value.bit_length() > 63:
            raise BadRequestError(f"{name} is too large a number", hint="no parameter goes beyond 2⁶³")
    for name in ("re", "im", "width", "julia_re", "julia_im", "p", "relaxation"):
        _check_is_text(name, fields.get(name))
    for name in ("coefficients", "roots"):
        if isinstance(numbers := fields.get(name), list | tuple):
            for place, number in enumerate(numbers[: DEGREE_LIMIT + 2]):
                _check_is_text(f"{name}[{place}]", number)
    try:
        request = msgspec.convert(fields, RenderRequest)
    except msgspec.ValidationError as error:
        raise BadRequestError(
            f"parameters do not fit: {_shown(str(error), 200)}", hint=f"see the schema of a render; {EXAMPLE}"
        ) from None
    _check_choices(request)
    _check_numbers(request)
    _check_view(request)
    _check_formula(request)
    return request


def _check_is_text(name: str, value: object) -> None:
    if isinstance(value, int | float) and not isinstance(value, bool):
        raise BadRequestError(
            f"{name} has to be a decimal string, not a number",
            hint='write it in quotes, e.g. "-0.75": a number would lose digits',
        )


EXAMPLE = 'for example {"re": "-0.75", "im": "0.1", "width": "0.01"}'


def _fields(params: Mapping[str, Any] | bytes) -> Mapping[str, Any]:
    if not isinstance(params, bytes):
        return params
    if len(params) > BODY_LIMIT_BYTES:
        raise BadRequestError(
            f"the parameters have {len(params)} bytes, the limit is {BODY_LIMIT_BYTES}",
            hint="a render at this depth needs no more than 64 characters a coordinate",
        )
    try:
        fields = msgspec.json.decode(params)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        raise BadRequestError("the parameters are not valid JSON", hint=EXAMPLE) from None
    if not isinstance(fields, dict):
        raise BadRequestError("the parameters have to be a JSON object", hint=EXAMPLE)
    return fields


def _check_names(fields: Mapping[str, Any]) -> None:
    known = RenderRequest.__struct_fields__
    for name in fields:
        if name not in known:
            shown = _shown(str(name), 40)
            raise BadRequestError(f"there is no parameter {shown!r}", hint=_nearest(str(name), known))


def _check_choices(request: RenderRequest) -> None:
    if request.formula not in FORMULAS:
        _one_of("formula", request.formula, tuple(FORMULAS))
    colouring.check(request)
    if request.trap is not None:
        _one_of("trap", request.trap, TRAPS)
    elif (request.trap_re, request.trap_im, request.trap_radius) != (0.0, 0.0, 1.0):
        raise BadRequestError("a place or a radius of a trap means nothing without one", hint="name it with `trap`")
    if request.trap_radius != 1.0 and request.trap != "circle":
        raise BadRequestError(f"trap_radius means nothing to a {request.trap}", hint="leave it out; a circle takes it")
    if request.colouring == "orbit_trap" and request.trap is None:
        raise BadRequestError("colouring by an orbit trap needs one", hint=f"name a trap: {', '.join(TRAPS)}")
    if request.colouring == "field_lines" and request.trap is not None:
        raise BadRequestError(
            "field lines follow from the last z, in whose place the trap's distance is kept",
            hint="leave out the trap, or colour by it",
        )
    if request.on_poison not in ON_POISON:
        message = f"on_poison is {_shown(request.on_poison, 40)!r}"
        raise BadRequestError(message, hint='"fail" fails the render, "hole" leaves out what cannot be computed')


def _check_numbers(request: RenderRequest) -> None:
    _in_range("width_px", request.width_px, 1, SIDE_LIMIT_PX)
    _in_range("height_px", request.height_px, 1, SIDE_LIMIT_PX)
    _in_range("max_iter", request.max_iter, 0, MAX_ITER_LIMIT)
    if request.tile_px is not None:
        _in_range("tile_px", request.tile_px, 16, TILE_MAX_PX)
    _in_range("samples", request.samples, 1, SAMPLES_LIMIT)
    _in_range("bailout", request.bailout, 2.0, BAILOUT_LIMIT)
    for name, value, low, high in (
        ("rotation_deg", request.rotation_deg, -360.0, 360.0),
        ("skew_deg", request.skew_deg, -SKEW_LIMIT_DEG, SKEW_LIMIT_DEG),
        ("stretch", request.stretch, 1.0 / STRETCH_LIMIT, STRETCH_LIMIT),
        ("focus_x", request.focus_x, 0.0, 1.0),
        ("focus_y", request.focus_y, 0.0, 1.0),
    ):
        _in_range(name, value, low, high)
    for name, value, low, high in (
        ("trap_re", request.trap_re, -TRAP_LIMIT, TRAP_LIMIT),
        ("trap_im", request.trap_im, -TRAP_LIMIT, TRAP_LIMIT),
        ("trap_radius", request.trap_radius, 1e-6, TRAP_LIMIT),
    ):
        _in_range(name, value, low, high)
    pixels = request.width_px * request.height_px
    if pixels > FRAME_LIMIT_PX:
        raise BadRequestError(
            f"{request.width_px}×{request.height_px} are {pixels} pixels, the limit is {FRAME_LIMIT_PX}",
            hint="render a smaller picture, or the view in parts",
        )
    if pixels * request.samples > FRAME_LIMIT_PX:
        raise BadRequestError(
            f"{request.samples} samples of {request.width_px}×{request.height_px} pixels are "
            f"{pixels * request.samples}, the limit is {FRAME_LIMIT_PX}",
            hint=f"use {FRAME_LIMIT_PX // pixels} samples, or render a smaller picture",
        )


def _check_view(request: RenderRequest) -> None:
    for name, text in (("re", request.re), ("im", request.im)):
        _coordinate(name, text)
    width = _coordinate("width", request.width)
    if width <= 0:
        raise BadRequestError(
            f"width is {request.width}, it has to be positive", hint="it is the horizontal extent of the view"
        )
    # Rows lie as much nearer to each other as the view is pressed together.
    spacing = width / request.width_px * min(Fraction(1), Fraction(request.stretch))
    if spacing < SPACING_LIMIT:
        # As a decimal: it may lie far below all floats.
        apart = Decimal(spacing.numerator) / Decimal(spacing.denominator)
        enough = SPACING_LIMIT * request.width_px / min(Fraction(1), Fraction(request.stretch))
        least = UPWARDS.divide(Decimal(enough.numerator), Decimal(enough.denominator))
        raise BadRequestError(
            f"too deep: pixels are {apart:.2e} apart, this kernel resolves {float(SPACING_LIMIT):.0e}",
            hint=f"use a width of at least {least:e} at this size",
        )
    if (request.julia_re is None) != (request.julia_im is None):
        raise BadRequestError("julia_re and julia_im belong together", hint="give both, or neither")
    for name, part in (("julia_re", request.julia_re), ("julia_im", request.julia_im)):
        if part is not None:
            _coordinate(name, part)


def _check_formula(request: RenderRequest) -> None:
    """What belongs to the formula alone."""
    formula = FORMULAS[request.formula]
    for name in sorted(set(SPECIAL) - set(formula.takes)):
        if getattr(request, name) is not None:
            whose = [info.name for info in FORMULAS.values() if name in info.takes]
            takes = f"{' and '.join(whose)} {'takes' if len(whose) == 1 else 'take'} it"
            raise BadRequestError(f"{name} means nothing to {request.formula}", hint=f"leave it out; {takes}")
    if request.julia_re is not None and not formula.julia:
        raise BadRequestError(
            f"{request.formula} has no Julia sets", hint="leave out julia_re and julia_im: the pixel is z already"
        )
    if request.power is not None:
        _in_range("power", request.power, 2, DEGREE_LIMIT)
    if request.tolerance is not None:
        _in_range("tolerance", request.tolerance, 1e-12, 0.1)
    for name, text in (("p", request.p), ("relaxation", request.relaxation)):
        if text is not None:
            _number(name, text)
    if request.relaxation is not None and _number("relaxation", request.relaxation) == 0:
        raise BadRequestError("relaxation is 0, with which nothing moves", hint="leave it out, or give another one")
    if formula.converges:
        coefficients_of(request)
        # Distances are estimated from how fast a point escapes.
        for name, value, taken in (
            ("colouring", request.colouring, request.colouring in ("distance", "field_lines")),
            ("slopes", request.slopes, request.slopes != 0.0),
            ("distances", str(request.distances).lower(), request.distances),
        ):
            if taken:
                raise BadRequestError(
                    f"{name} is {value}, which means nothing to {request.formula}",
                    hint="its points do not escape: colour it by count (smooth or histogram), without slopes",
                )
    else:
        _check_bailout(request)


def _check_bailout(request: RenderRequest) -> None:
    """What is beyond the bailout radius must not return: a block of iterations is looked at once."""
    power = request.power or FORMULAS[request.formula].degree
    if 2.0 * power * math.log10(request.bailout) > GROWTH_LIMIT:
        most = 10.0 ** (GROWTH_LIMIT / (2.0 * power))
        raise BadRequestError(
            f"bailout is {request.bailout:g}: to the power {power:g} that leaves the range of float64",
            hint=f"use a bailout of at most {most:.3g}",
        )
    memory = abs(_number("p", p_of(request))) if request.formula == "phoenix" else 0.0
    c = math.hypot(float(Fraction(request.julia_re or "0")), float(Fraction(request.julia_im or "0")))
    least = (1.0 + memory + math.sqrt((1.0 + memory) ** 2 + 4.0 * c)) / 2.0
    if request.julia_re is None:
        # Where the pixel is c, it may be as large as |z|.
        least = 2.0 + memory
    if request.bailout < least:
        raise BadRequestError(
            f"bailout is {request.bailout:g}, but points within {least:.4g} may still return",
            hint=f"use a bailout of at least {math.ceil(least)}",
        )


def p_of(request: RenderRequest) -> str:
    """p, where the formula takes one."""
    return request.p or (DEFAULT_PHOENIX if request.formula == "phoenix" else "0")


def coefficients_of(request: RenderRequest) -> tuple[Complex, ...]:
    """Of the polynomial of `newton` and `nova`, from the highest power down, exact. Raises BadRequestError."""
    if request.coefficients is not None and request.roots is not None:
        raise BadRequestError("coefficients and roots say the same", hint="give one of them")
    name = "roots" if request.roots is not None else "coefficients"
    given = request.roots if request.roots is not None else request.coefficients or DEFAULT_COEFFICIENTS
    degree = len(given) if request.roots is not None else len(given) - 1
    if not 2 <= degree <= DEGREE_LIMIT:
        raise BadRequestError(
            f"{name} stand for a polynomial of degree {degree}, it has to be from 2 to {DEGREE_LIMIT}",
            hint='z³ − 1 is ["1", "0", "0", "-1"]',
        )
    numbers = [_exact(f"{name}[{place}]", text) for place, text in enumerate(given)]
    if request.roots is not None:
        return polynomial(numbers)
    if not any(numbers[0]):
        raise BadRequestError(
            "the first coefficient is 0", hint="coefficients begin with that of the highest power: leave out zeros"
        )
    return tuple(numbers)


def _exact(name: str, text: str) -> Complex:
    if len(text) > 2 * DIGITS_LIMIT:
        raise BadRequestError(
            f"{name} has {len(text)} characters, the limit is {2 * DIGITS_LIMIT}",
            hint="this kernel works with 17 significant digits; round the number",
        )
    number = parse(text)
    if number is None:
        raise BadRequestError(f"{name} is {_shown(text, 40)!r}, not a complex number", hint='write it like "0.5-0.25i"')
    if max(abs(number[0]), abs(number[1])) > EXTENT_LIMIT:
        raise BadRequestError(f"{name} is {_shown(text, 40)}, the limit is ±{EXTENT_LIMIT}", hint="use a smaller one")
    return number


def _number(name: str, text: str) -> complex:
    re_part, im_part = _exact(name, text)
    return complex(float(re_part), float(im_part))


def _coordinate(name: str, text: str) -> Fraction:
    """The exact value. Length is looked at first: everything after it is quick."""
    if len(text) > DIGITS_LIMIT:
        raise BadRequestError(
            f"{name} has {len(text)} characters, the limit is {DIGITS_LIMIT}",
            hint="this kernel works with 17 significant digits; round the number",
        )
    if not DECIMAL.fullmatch(text):
        raise BadRequestError(
            f"{name} is {_shown(text, 40)!r}, not a decimal number",
            hint='use ASCII digits with a point, e.g. "-0.7436" or "5e-3"',
        )
    exponent = int(text.lower().partition("e")[2] or 0)
    if abs(exponent) > EXPONENT_LIMIT:
        raise BadRequestError(
            f"the exponent of {name} is {exponent}, the limit is ±{EXPONENT_LIMIT}",
            hint="coordinates lie within ±2, and this kernel resolves 1e-13",
        )
    value = Fraction(text)
    if abs(value) > EXTENT_LIMIT:
        raise BadRequestError(
            f"{name} is {text}, the limit is ±{EXTENT_LIMIT}", hint="the sets lie within a distance of 2 of 0"
        )
    return value
