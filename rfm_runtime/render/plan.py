"""From a request to the numbers a kernel takes. Decimals stay exact until the last rounding to float64."""

from __future__ import annotations

import math
from fractions import Fraction

from msgspec import Struct

from rfm_runtime.render.request import RenderRequest

__all__ = ["TileSpec", "ViewPlan", "plan", "tiles"]


class ViewPlan(Struct, frozen=True, kw_only=True):
    """Arguments of the shallow kernel.

    re0, im0: centre of the top left pixel; spacing: between pixel centres. Each is the float64 nearest to the
    exact number. julia_re, julia_im: c of a Julia set, else 0.
    """

    formula: str
    is_julia: bool
    re0: float
    im0: float
    spacing: float
    julia_re: float
    julia_im: float
    max_iter: int
    bailout2: float
    interior_tests: bool


class TileSpec(Struct, frozen=True):
    """A rectangle of pixels; index counts row-major."""

    index: int
    x: int
    y: int
    w: int
    h: int


def plan(request: RenderRequest) -> ViewPlan:
    """The numbers of a validated request. Pixels are square, and the view's centre is the frame's centre.

    Only the results are rounded, so rows of a view about the real axis are conjugate to the last bit wherever
    im0 and spacing are float64 numbers.
    """
    spacing = Fraction(request.width) / request.width_px
    re0 = Fraction(request.re) - spacing * (request.width_px - 1) / 2
    im0 = Fraction(request.im) + spacing * (request.height_px - 1) / 2
    is_julia = request.julia_re is not None
    return ViewPlan(
        formula=request.formula,
        is_julia=is_julia,
        re0=float(re0),
        im0=float(im0),
        spacing=float(spacing),
        julia_re=float(Fraction(request.julia_re or "0")),
        julia_im=float(Fraction(request.julia_im or "0")),
        max_iter=request.max_iter,
        bailout2=request.bailout * request.bailout,
        interior_tests=request.interior_tests,
    )


def tiles(width_px: int, height_px: int, tile_px: int) -> list[TileSpec]:
    """The frame cut into squares of tile_px, the last column and row narrower; row-major."""
    columns, rows = math.ceil(width_px / tile_px), math.ceil(height_px / tile_px)
    return [
        TileSpec(
            row * columns + column,
            column * tile_px,
            row * tile_px,
            min(tile_px, width_px - column * tile_px),
            min(tile_px, height_px - row * tile_px),
        )
        for row in range(rows)
        for column in range(columns)
    ]
