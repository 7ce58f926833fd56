"""The plan: exact until the last rounding."""

from __future__ import annotations

from fractions import Fraction

from rfm_runtime.render.plan import plan
from rfm_runtime.render.request import RenderRequest


def test_the_corner_is_the_exact_number_rounded_once() -> None:
    request = RenderRequest(re="-0.743643887037158704752", im="0.1", width="1e-9", width_px=1921, height_px=3)
    view = plan(request)
    spacing = Fraction("1e-9") / 1921
    assert view.spacing == float(spacing)
    assert view.re0 == float(Fraction(request.re) - 960 * spacing)
    assert view.im0 == float(Fraction("0.1") + spacing)


def test_row_0_is_the_largest_imaginary_part_and_pixels_lie_half_a_pixel_inside() -> None:
    view = plan(RenderRequest(re="0", im="0", width="4", width_px=4, height_px=2))
    assert (view.re0, view.im0, view.spacing) == (-1.5, 0.5, 1.0)


def test_a_julia_set_has_its_constant() -> None:
    view = plan(RenderRequest(re="0", im="0", width="4", julia_re="0", julia_im="1"))
    assert (view.is_julia, view.julia_re, view.julia_im) == (True, 0.0, 1.0)
    assert not plan(RenderRequest(re="0", im="0", width="4")).is_julia
