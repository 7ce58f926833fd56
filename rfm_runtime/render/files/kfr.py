"""Kalles Fraktaler's files of locations, .kfr: text with the view, the formula and the colouring.

Read from the program's source, version 2.15 (fraktal_sft.cpp, Settings.cpp, matrix.cpp, formula.xml):

- The picture is 4/Zoom high, whatever its shape, so pixels are 4/(Zoom · height_px) apart. A file has no size of its
  own; ImageWidth and ImageHeight are taken where somebody has them in it, and written, since the program skips them.
- A pixel u to the right of the centre and v rows below it is at centre + spacing · S·R·(u, ±v) with + unless
  ImagPointsUp: 1, which files before 2.15.4 do not have. R turns by RotateAngle, counterclockwise, S stretches by
  2^StretchAmount along StretchAngle and shrinks by as much across. Any turned, leant and stretched view can be written
  so, and read.
- With the imaginary axis pointing down a view is mirrored.
- Its Perpendicular Burning Ship has −2x|y|, ours 2x|y|: the same picture, with c conjugate.
- Its centre is the pixel at width/2, height/2, half a pixel from ours.
- It has no Julia sets; Seed is where the orbit begins.
"""

from __future__ import annotations

import decimal
import math
from decimal import Decimal
from typing import Any

from msgspec import Struct

from rfm_runtime.errors import BadRequestError
from rfm_runtime.render.files.kfp import (
    colour_lines,
    colour_params,
    integer,
    joined,
    lines_of,
    real,
)
from rfm_runtime.render.refusals import shown
from rfm_runtime.render.request import SKEW_LIMIT_DEG, STRETCH_LIMIT, RenderRequest

__all__ = ["Location", "read", "write"]

DEFAULT = RenderRequest(re="0", im="0", width="4")

FORMULAS = {
    0: "mandelbrot",
    1: "burning_ship",
    2: "buffalo",
    3: "celtic",
    4: "tricorn",
    7: "perpendicular_ship",
}
"""By FractalType. Of 0 with a Power other than 2 it is `multibrot`."""

OTHERS = {
    5: "Mandelbar Celtic",
    6: "Perpendicular Mandelbrot",
    8: "Perpendicular Celtic",
    9: "Perpendicular Buffalo",
    52: "General Quadratic Minus",
    53: "General Quadratic Plus",
    92: "Exponential Mandelbrot",
    93: "Cosbrot",
    94: "Sinbrot",
    95: "Talis",
    96: "Newton Mandelbrot",
    97: "Nova",
}
"""What else the program calls by name, for the refusal; most of its 103 types are powers and mixtures of these."""

CONJUGATE = frozenset({"perpendicular_ship"})

POWER_LIMIT = 10
"""Of the program's Mandelbrot sets."""

BAILOUTS = {0: 10_000.0, 1: 2.0, 2: 2.0}
"""By BailoutRadiusPreset. 2 is the radius that a power needs, 2^(1/(power − 1)), and a request begins at 2."""

USUAL = {"BailoutNormPreset": 1.0, "real": 1.0, "imag": 1.0, "SmoothingMethod": 0.0}
"""The Euclidean norm, of both parts alike, and the logarithm for the fraction."""

VERSION = 2_150_400
"""Of the format: the first with ImagPointsUp."""

TRANSFORM_KEYS = frozenset({"RotateAngle", "StretchAngle", "StretchAmount", "ImagPointsUp"})
AMOUNT_LIMIT = 16.0
"""Powers of two; what a request can have ends long before."""

WIDTH_DIGITS = 40
FLOAT_DIGITS = 13
"""Of what went through sine, cosine and tangent: fewer than float64 has, so that round numbers come back round."""
ROUNDING = 1e-9
"""Of a stretch or an angle that went through them, relative: the steepest lean magnifies it."""
ANGLE_PLACES = 11
"""After the point, in degrees, likewise."""
ZOOM_DIGITS = 60
"""More than a width has: then it comes back as it was."""

Matrix = tuple[tuple[float, float], tuple[float, float]]


class Location(Struct, frozen=True, kw_only=True):
    """What a .kfr file says.

    params: of a request, not validated yet. notes: sentences about what will look different. ignored: keys that were
    not understood, in the file's order.
    """

    params: dict[str, Any]
    notes: tuple[str, ...] = ()
    ignored: tuple[str, ...] = ()


def read(text: str, *, width_px: int | None = None, height_px: int | None = None) -> Location:
    """The view in a file, for a picture of that size; without one, of the file's or of the default.

    Raises BadRequestError for what is no such file, for numbers that are none, and for what cannot be rendered here,
    by name.
    """
    lines = lines_of(text)
    missing = [key for key in ("Re", "Im", "Zoom") if not lines.get(key)]
    if missing:
        raise BadRequestError(
            f"the file has no {' and no '.join(missing)}", hint="a .kfr file has at least the lines Re, Im and Zoom"
        )
    params, used = colour_params(lines)
    used |= {"Re", "Im", "Zoom", "Version", "ImageWidth", "ImageHeight"}
    params |= _formula(lines, used)
    if lines.get("Iterations"):
        params["max_iter"] = integer(lines, "Iterations", 1)
        if not params["max_iter"]:
            raise BadRequestError("Iterations is 0", hint="correct that line, or give --max-iter")
        used.add("Iterations")
    size = _size(lines) if width_px is None or height_px is None else (width_px, height_px)
    if size != (DEFAULT.width_px, DEFAULT.height_px):
        params |= {"width_px": size[0], "height_px": size[1]}
    placed = _placed(lines, size, conjugate=params["formula"] in CONJUGATE)
    used |= TRANSFORM_KEYS
    notes: list[str] = []
    if any(real(lines, key, usual) != usual for key, usual in (("Rotate", 0.0), ("Ratio", 360.0))):
        notes.append("neither turned nor stretched: Rotate and Ratio are of versions before 2.15")
    used |= {"Rotate", "Ratio"}
    return Location(params=params | placed, notes=tuple(notes), ignored=tuple(key for key in lines if key not in used))


def _formula(lines: dict[str, str], used: set[str]) -> dict[str, Any]:
    """Formula, power and bailout radius. Raises BadRequestError for what is none of ours."""
    kind, power = integer(lines, "FractalType", 0), integer(lines, "Power", 2)
    used |= {"FractalType", "Power", "SeedR", "SeedI", "FactorAR", "FactorAI", "UseHybridFormula"}
    if integer(lines, "UseHybridFormula", 0):
        raise BadRequestError("the file has a hybrid formula", hint="see `rfm-runtime formulas` for those there are")
    if kind not in FORMULAS:
        name = f"the formula {OTHERS[kind]} (FractalType {kind})" if kind in OTHERS else f"FractalType {kind}"
        raise BadRequestError(
            f"{name} of Kalles Fraktaler is not one of ours", hint="see `rfm-runtime formulas` for those there are"
        )
    formula = FORMULAS[kind]
    if power != 2 and kind:
        raise BadRequestError(f"the file has a {formula} of power {power}", hint="here it has the power 2 only")
    if real(lines, "SeedR", 0.0) or real(lines, "SeedI", 0.0):
        raise BadRequestError(
            "the file begins its orbits at SeedR, SeedI", hint="here they begin at 0: set both to 0 if that will do"
        )
    params: dict[str, Any] = {"formula": formula} if power == 2 else {"formula": "multibrot", "power": power}
    preset = integer(lines, "BailoutRadiusPreset", integer(lines, "SmoothMethod", -1))
    if preset in BAILOUTS:
        params["bailout"] = BAILOUTS[preset]
    elif preset == 3:
        params["bailout"] = real(lines, "BailoutRadiusCustom", 2.0)
    used |= {"BailoutRadiusPreset", "BailoutRadiusCustom", "SmoothMethod"}
    # What is as usual needs no mention.
    used |= {key for key, usual in USUAL.items() if real(lines, key, usual) == usual}
    return params


def _size(lines: dict[str, str]) -> tuple[int, int]:
    width, height = (integer(lines, key, 0) for key in ("ImageWidth", "ImageHeight"))
    return (width, height) if width > 0 and height > 0 else (DEFAULT.width_px, DEFAULT.height_px)


def _placed(lines: dict[str, str], size: tuple[int, int], *, conjugate: bool) -> dict[str, Any]:
    """Centre, extent and transformation."""
    params: dict[str, Any] = {"re": lines["Re"], "im": _negated(lines["Im"]) if conjugate else lines["Im"]}
    turn, along, amount = (real(lines, key, 0.0) for key in ("RotateAngle", "StretchAngle", "StretchAmount"))
    if abs(amount) > AMOUNT_LIMIT:
        raise BadRequestError(f"StretchAmount is {amount:g} powers of two", hint=f"use one of at most {AMOUNT_LIMIT:g}")
    # The same part of the plane with the imaginary axis the other way: both angles change their sign.
    sign = -1.0 if conjugate else 1.0
    turn, along = sign * (turn if abs(turn) <= 360.0 else math.fmod(turn, 360.0)), sign * along
    longer = 1.0
    if amount:
        turn, skew, stretch, longer = _leant(_product(_stretching(2.0**amount, along), _rotation(turn)))
        skew = _not_beyond(skew, -SKEW_LIMIT_DEG, SKEW_LIMIT_DEG)
        params |= {"skew_deg": skew, "stretch": _not_beyond(stretch, 1.0 / STRETCH_LIMIT, STRETCH_LIMIT)}
    if turn:
        params["rotation_deg"] = turn
    params["width"] = _width(lines["Zoom"], size, longer)
    if bool(integer(lines, "ImagPointsUp", 0)) == conjugate:
        params["mirror"] = True
    return params


def _not_beyond(value: float, low: float, high: float) -> float:
    """The limit, for what only rounding has put beyond it; what is farther out is refused where the request is."""
    nearest = min(max(value, low), high)
    return nearest if math.isclose(value, nearest, rel_tol=ROUNDING) else value


def _negated(number: str) -> str:
    return number[1:] if number.startswith("-") else f"-{number.removeprefix('+')}"


def _width(zoom: str, size: tuple[int, int], longer: float) -> str:
    """Horizontal extent of a picture that is 4/Zoom high, times a stretch, as a decimal."""
    value = _decimal("Zoom", zoom)
    if value <= 0:
        raise BadRequestError(f"Zoom is {shown(zoom, 40)}, it has to be positive", hint="1 shows a height of 4")
    with decimal.localcontext(_context(ZOOM_DIGITS)):
        # Rounded before anything else: whoever writes a million digits waits for none of them.
        width = Decimal(4 * size[0]) * Decimal(longer) / (+value * size[1])
    # A stretch is a float64, and so are the digits that it has.
    with decimal.localcontext(_context(WIDTH_DIGITS if longer == 1.0 else FLOAT_DIGITS)):
        return _written(width)


def _decimal(name: str, text: str) -> Decimal:
    try:
        value = Decimal(text) if text.isascii() and "_" not in text else Decimal("nan")
    except decimal.InvalidOperation:
        value = Decimal("nan")
    if not value.is_finite():
        raise BadRequestError(f"{name} is {shown(text, 40)!r}, not a decimal number", hint='write it like "1.5E10"')
    return value


def _context(digits: int) -> decimal.Context:
    # Exponents are judged where the request is.
    return decimal.Context(prec=digits, Emax=decimal.MAX_EMAX, Emin=decimal.MIN_EMIN, traps=[])


def _written(value: Decimal) -> str:
    """Without trailing zeros, and with an exponent where there would be many leading ones."""
    short = value.normalize()
    return format(short, "f") if -10 < short.adjusted() < WIDTH_DIGITS else format(short, "E")


def write(request: RenderRequest) -> str:
    """A file from which the program shows the same view. Raises BadRequestError for what it does not have."""
    kinds = {name: kind for kind, name in FORMULAS.items()} | {"multibrot": 0}
    if request.formula not in kinds:
        raise BadRequestError(
            f"Kalles Fraktaler has no {request.formula} with these parameters", hint="save the view as .toml"
        )
    if request.julia_re is not None:
        raise BadRequestError("Kalles Fraktaler has no Julia sets", hint="save the view as .toml")
    if not request.max_iter:
        raise BadRequestError(
            "a .kfr file has a number of iterations, and this view has none yet",
            hint="give --max-iter a number, or save it from the rendered picture",
        )
    power = request.power or 2
    if power > POWER_LIMIT:
        raise BadRequestError(f"Kalles Fraktaler has no power {power}, only up to {POWER_LIMIT}", hint="save as .toml")
    conjugate = request.formula in CONJUGATE
    im = _negated(request.im) if conjugate else request.im
    with decimal.localcontext(_context(ZOOM_DIGITS)):
        spacing = Decimal(request.width) / request.width_px * Decimal(request.stretch).sqrt()
        zoom = _written(Decimal(4) / (spacing * request.height_px))
    return joined(
        {"Re": request.re, "Im": im, "Zoom": zoom, "Iterations": str(request.max_iter)}
        # SmoothMethod is what versions before 2.13 know: a large radius, and the logarithm.
        | {"SmoothMethod": "0", "SmoothingMethod": "0"}
        | {"BailoutRadiusPreset": "3", "BailoutRadiusCustom": repr(request.bailout), "BailoutNormPreset": "1"}
        | colour_lines(request)
        | {"Power": str(power), "FractalType": str(kinds[request.formula])}
        | _transform_lines(request, conjugate=conjugate)
        | {"ImageWidth": str(request.width_px), "ImageHeight": str(request.height_px), "Version": str(VERSION)}
    )


def _transform_lines(request: RenderRequest, *, conjugate: bool) -> dict[str, str]:
    turn, along, amount = request.rotation_deg, 0.0, 0.0
    if request.skew_deg or request.stretch != 1.0:
        lean = math.tan(math.radians(request.skew_deg))
        turn, along, amount = _polar(_product(_rotation(turn), ((1.0, lean), (0.0, request.stretch))))
    sign = -1.0 if conjugate else 1.0
    # Adding 0 leaves no negative zero.
    return {
        "RotateAngle": repr(sign * turn + 0.0),
        "StretchAngle": repr(sign * along + 0.0),
        "StretchAmount": repr(amount + 0.0),
        "ImagPointsUp": "1" if request.mirror == conjugate else "0",
    }


# --- matrices of two by two -----------------------------------------------------------------------


def _product(a: Matrix, b: Matrix) -> Matrix:
    (a00, a01), (a10, a11) = a
    (b00, b01), (b10, b11) = b
    return (
        (a00 * b00 + a01 * b10, a00 * b01 + a01 * b11),
        (a10 * b00 + a11 * b10, a10 * b01 + a11 * b11),
    )


def _rotation(degrees: float) -> Matrix:
    cosine, sine = math.cos(math.radians(degrees)), math.sin(math.radians(degrees))
    return (cosine, -sine), (sine, cosine)


def _stretching(factor: float, degrees: float) -> Matrix:
    """Longer by the factor along that direction, and shorter by it across."""
    diagonal: Matrix = ((factor, 0.0), (0.0, 1.0 / factor))
    return _product(_product(_rotation(degrees), diagonal), _rotation(-degrees))


def _leant(matrix: Matrix) -> tuple[float, float, float, float]:
    """A matrix with positive determinant as scale · rotation · ((1, tan skew), (0, stretch)).

    Returns rotation and skew in degrees, stretch, scale. That is its QR decomposition.
    """
    (m00, m01), (m10, m11) = matrix
    scale = math.hypot(m00, m10)
    across, upright = (m00 * m01 + m10 * m11) / scale, (m00 * m11 - m01 * m10) / scale
    return (
        round(math.degrees(math.atan2(m10, m00)), ANGLE_PLACES),
        round(math.degrees(math.atan2(across, scale)), ANGLE_PLACES),
        float(f"{upright / scale:.{FLOAT_DIGITS}g}"),
        scale,
    )


def _polar(matrix: Matrix) -> tuple[float, float, float]:
    """A matrix with positive determinant as scale · stretching · rotation, its polar decomposition.

    Returns the rotation in degrees, the direction of the stretching in degrees and its amount in powers of two.
    """
    (m00, m01), (m10, m11) = matrix
    area = m00 * m11 - m01 * m10
    # Half the difference of the squares along and across, of the matrix without its scale: sinh of 2 ln(factor).
    half = (m00 * m00 + m01 * m01 - m10 * m10 - m11 * m11) / (2.0 * area)
    mixed = (m00 * m10 + m01 * m11) / area
    amount = math.asinh(math.hypot(half, mixed)) / 2.0 / math.log(2.0)
    return (
        math.degrees(math.atan2(m10 - m01, m00 + m11)),
        math.degrees(math.atan2(mixed, half)) / 2.0,
        amount,
    )
