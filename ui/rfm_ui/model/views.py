"""Views of the plane, and where one lies in another: exact, as deep as a view may be. Pure."""

from __future__ import annotations

from decimal import Context, Decimal
from fractions import Fraction
from typing import NamedTuple

from msgspec.structs import replace

from rfm_runtime.render.plan import axes, point
from rfm_runtime.render.request import RenderRequest

__all__ = [
    "Placement",
    "fitted",
    "framed",
    "is_same_plane",
    "moved",
    "place_text",
    "placement",
    "turned",
    "under",
    "zoomed",
]

SPARE_DIGITS = 3
"""Of a coordinate beyond what tells one pixel from the next."""

LEAST_WIDTH = Fraction(1, 10**13)
WIDEST = Fraction(64)
FULL_TURN_DEG = 360.0

PLANE = ("formula", "power", "p", "coefficients", "roots", "relaxation")
"""What the points of a picture depend on besides where they are."""


class Placement(NamedTuple):
    """What becomes of a pixel x, y of one view in another: (xx·x + xy·y + x0, yx·x + yy·y + y0)."""

    xx: float
    xy: float
    yx: float
    yy: float
    x0: float
    y0: float


def under(view: RenderRequest, x_px: float, y_px: float) -> tuple[Fraction, Fraction]:
    """The point under a place of the picture, in pixels from its upper left corner."""
    dx = Fraction(x_px - view.width_px / 2.0) / view.width_px
    dy = Fraction(view.height_px / 2.0 - y_px) / view.width_px
    return point(view, dx, dy)


def zoomed(view: RenderRequest, factor: float, x_px: float, y_px: float) -> RenderRequest:
    """The view is `factor` times as wide (below 1: nearer), and what is under the place stays there.

    It ends where neighbouring pixels can no longer be told apart, and where there is nothing but the outside.
    """
    before = Fraction(view.width)
    narrowest = LEAST_WIDTH * view.width_px / min(Fraction(1), Fraction(view.stretch))
    width = min(max(before * Fraction(factor), narrowest), max(WIDEST, before))
    kept = under(view, x_px, y_px)
    ratio = width / before
    centre = [p + (Fraction(c) - p) * ratio for p, c in zip(kept, (view.re, view.im), strict=True)]
    return _at(view, centre[0], centre[1], width)


def moved(view: RenderRequest, dx_px: float, dy_px: float) -> RenderRequest:
    """The picture is dragged to the right and down by so many pixels."""
    centre = under(view, view.width_px / 2.0 - dx_px, view.height_px / 2.0 - dy_px)
    return _at(view, *centre, Fraction(view.width))


def framed(view: RenderRequest, left_px: float, top_px: float, width_px: float, height_px: float) -> RenderRequest:
    """A part of the picture fills it. What is less than a pixel wide is taken for one."""
    part = max(width_px / view.width_px, height_px / view.height_px, 1.0 / view.width_px)
    centre = under(view, left_px + width_px / 2.0, top_px + height_px / 2.0)
    there = _at(view, *centre, Fraction(view.width))
    return zoomed(there, part, view.width_px / 2.0, view.height_px / 2.0)


def turned(view: RenderRequest, degrees: float) -> RenderRequest:
    """What is shown turns counterclockwise about the centre."""
    angle = (view.rotation_deg - degrees) % FULL_TURN_DEG
    return replace(view, rotation_deg=angle - FULL_TURN_DEG if angle > FULL_TURN_DEG / 2.0 else angle)


def fitted(view: RenderRequest, width_px: int, height_px: int) -> RenderRequest:
    """All of the view in a picture of another size, about the same centre, as large as it can be."""
    height = Fraction(view.width) * view.height_px / view.width_px
    width = max(Fraction(view.width), height * width_px / height_px)
    there = replace(view, width_px=width_px, height_px=height_px)
    return _at(there, Fraction(view.re), Fraction(view.im), width)


def is_same_plane(one: RenderRequest, other: RenderRequest) -> bool:
    """Whether one view's picture says something of the other's. Julia sets of one formula are near to each other."""
    return all(getattr(one, name) == getattr(other, name) for name in PLANE) and (
        (one.julia_re is None) == (other.julia_re is None)
    )


def placement(old: RenderRequest, new: RenderRequest) -> Placement:
    """Where the picture of a view lies in another's."""
    (a, c), (b, d) = axes(new)
    determinant = a * d - b * c
    dx, dy = Fraction(old.re) - Fraction(new.re), Fraction(old.im) - Fraction(new.im)
    (e, g), (f, h) = axes(old)

    def solved(re: Fraction, im: Fraction) -> tuple[Fraction, Fraction]:
        return (re * d - im * b) / determinant, (im * a - re * c) / determinant

    (xx, yx), (xy, yy), (x0, y0) = solved(e, g), solved(f, h), solved(dx, dy)
    # About the centres of both pictures.
    old_x, old_y = Fraction(old.width_px, 2), Fraction(old.height_px, 2)
    x0 += Fraction(new.width_px, 2) - xx * old_x - xy * old_y
    y0 += Fraction(new.height_px, 2) - yx * old_x - yy * old_y
    return Placement(float(xx), float(xy), float(yx), float(yy), float(x0), float(y0))


def _at(view: RenderRequest, re: Fraction, im: Fraction, width: Fraction) -> RenderRequest:
    """With as many digits as the view needs: one that is zoomed for hours does not get longer and longer."""
    spacing = float(width / view.width_px) * min(1.0, view.stretch)
    places = SPARE_DIGITS - Decimal(spacing).adjusted()
    return replace(view, re=_text(re, places), im=_text(im, places), width=_rounded(width))


def place_text(view: RenderRequest, value: Fraction) -> str:
    """A coordinate of a point of the view, with as many digits as tell it from its neighbours."""
    spacing = float(Fraction(view.width) / view.width_px) * min(1.0, view.stretch)
    return _text(value, SPARE_DIGITS - Decimal(spacing).adjusted())


def _text(value: Fraction, places: int) -> str:
    scaled = round(value * Fraction(10) ** places)
    return format(Decimal(scaled).scaleb(-places).normalize(), "f") if scaled else "0"


def _rounded(width: Fraction) -> str:
    digits = Context(prec=12)
    return str(digits.divide(Decimal(width.numerator), Decimal(width.denominator)).normalize(digits))
