"""From a request to the numbers a kernel takes. Decimals stay exact until the last rounding to float64."""

from __future__ import annotations

from fractions import Fraction

from msgspec import Struct

from rfm_runtime.render.request import RenderRequest

__all__ = ["ViewPlan", "plan"]


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
