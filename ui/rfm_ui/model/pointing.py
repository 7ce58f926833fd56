"""The point under the pointer: what is said of it, its orbit over the picture, its Julia set. Pure."""

from __future__ import annotations

import math
from collections.abc import Sequence

from msgspec.structs import replace

from rfm_runtime.protocol.probing import ProbedPoint
from rfm_runtime.render.formulas import FORMULAS
from rfm_runtime.render.plan import axes
from rfm_runtime.render.request import RenderRequest
from rfm_ui.model.views import place_text, under

__all__ = ["Segment", "facts_of", "has_julia", "julia_of", "orbit_lines", "whole_of"]

Segment = tuple[float, float, float, float]
"""x, y of both ends, in pixels of the picture."""

JULIA_WIDTH = "3.6"
JULIA_DIGITS = 17
"""Of the constant: what the kernel works with."""

FAR_PX = 1e9
"""Where a line is still true to a millionth of a pixel."""

UNKNOWN = "–"


def facts_of(point: ProbedPoint | None, view: RenderRequest) -> list[tuple[str, str]]:
    """Names and values, always the same names: what is not known, or means nothing, is a dash."""
    converges = FORMULAS[view.formula].converges
    ends = "Converges after" if converges else "Escapes after"
    if point is None:
        return [(name, UNKNOWN) for name in (ends, "Smooth count", "Period", "Distance", "Real part", "Imaginary part")]
    if point.n is None:
        count = UNKNOWN
    elif point.n < 0:
        count = "never: inside" if point.interior else f"not within {view.max_iter:,}" if view.max_iter else "never"
    else:
        count = f"{point.n:,}"
    re, im = under(view, point.x + 0.5, point.y + 0.5)
    return [
        (ends, count.replace(",", "\u202f")),
        ("Smooth count", UNKNOWN if point.mu is None else f"{point.mu:.6g}" if point.mu < 1000 else f"{point.mu:.3f}"),
        ("Period", UNKNOWN if point.period is None else str(point.period)),
        ("Distance", UNKNOWN if point.distance is None else f"{point.distance:.4g}"),
        ("Real part", place_text(view, re)),
        ("Imaginary part", place_text(view, im)),
    ]


def orbit_lines(view: RenderRequest, orbit: Sequence[float]) -> list[Segment]:
    """The orbit as lines from place to place, as far as they are in the picture."""
    (a, c), (b, d) = (tuple(map(float, axis)) for axis in axes(view))
    determinant = a * d - b * c
    centre = float(view.re), float(view.im)
    width, height = float(view.width_px), float(view.height_px)
    places = []
    for re, im in zip(orbit[::2], orbit[1::2], strict=True):
        dx, dy = re - centre[0], im - centre[1]
        x, y = (dx * d - dy * b) / determinant + width / 2.0, (dy * a - dx * c) / determinant + height / 2.0
        places.append((x, y))
    lines = (_clipped(*places[k], *places[k + 1], width, height) for k in range(len(places) - 1))
    return [line for line in lines if line is not None]


def _clipped(x0: float, y0: float, x1: float, y1: float, width: float, height: float) -> Segment | None:
    """The part of a line in the picture (Liang and Barsky): of what is far away a painter would lose the direction."""
    if max(abs(x0), abs(y0)) > FAR_PX:
        x0, y0, x1, y1 = x1, y1, x0, y0
    length = max(abs(x1 - x0), abs(y1 - y0))
    if not (max(abs(x0), abs(y0)) <= FAR_PX and math.isfinite(length)):
        return None
    near = min(1.0, FAR_PX / length) if length else 1.0
    first, last = 0.0, 1.0
    dx, dy = (x1 - x0) * near, (y1 - y0) * near
    for step, room in ((-dx, x0), (dx, width - x0), (-dy, y0), (dy, height - y0)):
        if step == 0.0:
            if room < 0.0:
                return None
            continue
        at = room / step
        if step < 0.0:
            first = max(first, at)
        else:
            last = min(last, at)
        if first > last:
            return None
    return x0 + first * dx, y0 + first * dy, x0 + last * dx, y0 + last * dy


def has_julia(view: RenderRequest) -> bool:
    """Whether each point of the view has a Julia set of its own."""
    return FORMULAS[view.formula].julia and view.julia_re is None


def julia_of(view: RenderRequest, x_px: float, y_px: float, width_px: int, height_px: int) -> RenderRequest | None:
    """The whole Julia set of the point under a place, in a picture of that size; None where there is none."""
    if not has_julia(view):
        return None
    re, im = under(view, x_px, y_px)
    width = JULIA_WIDTH if width_px <= height_px else str(round(float(JULIA_WIDTH) * width_px / height_px, 6))
    return replace(
        view, re="0", im="0", width=width, rotation_deg=0.0, skew_deg=0.0, stretch=1.0, mirror=False,
        width_px=width_px, height_px=height_px, julia_re=place_text(view, re), julia_im=place_text(view, im),
        focus_x=0.5, focus_y=0.5,
    )  # fmt: skip


def whole_of(view: RenderRequest) -> RenderRequest | None:
    """Back from a Julia set: the view with all of its constants in it, about that one; None if it is none."""
    if view.julia_re is None or view.julia_im is None:
        return None
    return replace(view, re=view.julia_re, im=view.julia_im, julia_re=None, julia_im=None, rotation_deg=0.0)
