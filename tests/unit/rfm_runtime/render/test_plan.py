"""The plan: exact until the last rounding."""

from __future__ import annotations

import cmath
import math
from fractions import Fraction

import pytest

from rfm_runtime.render.plan import plan, point
from rfm_runtime.render.request import RenderRequest, validate


def test_the_corner_is_the_exact_number_rounded_once() -> None:
    request = RenderRequest(re="-0.743643887037158704752", im="0.1", width="1e-9", width_px=1921, height_px=3)
    view = plan(request)
    spacing = Fraction("1e-9") / 1921
    assert view.right == (float(spacing), 0.0)
    assert view.down == (0.0, -float(spacing))
    assert view.origin == (float(Fraction(request.re) - 960 * spacing), float(Fraction("0.1") + spacing))


def test_row_0_is_the_largest_imaginary_part_and_pixels_lie_half_a_pixel_inside() -> None:
    view = plan(RenderRequest(re="0", im="0", width="4", width_px=4, height_px=2))
    assert (view.origin, view.right, view.down) == ((-1.5, 0.5), (1.0, 0.0), (0.0, -1.0))


def test_a_julia_set_has_its_constant() -> None:
    view = plan(RenderRequest(re="0", im="0", width="4", julia_re="0", julia_im="1"))
    assert (view.is_julia, view.julia) == (True, (0.0, 1.0))
    assert not plan(RenderRequest(re="0", im="0", width="4")).is_julia


@pytest.mark.parametrize("degrees", [0.0, 12.5, 90.0, -90.0, 180.0, 271.25, -360.0])
def test_a_turned_view_keeps_its_centre_and_the_length_of_its_axes(degrees: float) -> None:
    size = {"width_px": 640, "height_px": 360}
    request = validate({"re": "-0.7", "im": "0.2", "width": "0.5", "rotation_deg": degrees, **size})
    view = plan(request)
    turn = cmath.exp(1j * math.radians(degrees))
    right, down, corner = complex(*view.right), complex(*view.down), complex(*view.origin)
    assert right == pytest.approx(0.5 / 640 * turn, rel=1e-14)
    assert down == pytest.approx(-1j * right, rel=1e-14)
    assert corner + right * 639 / 2 + down * 359 / 2 == pytest.approx(-0.7 + 0.2j, rel=1e-14)


def test_quarter_turns_are_exact() -> None:
    view = plan(validate({"re": "0", "im": "0", "width": "4", "width_px": 4, "height_px": 2, "rotation_deg": 90}))
    assert (view.right, view.down, view.origin) == ((0.0, 1.0), (1.0, 0.0), (-0.5, -1.5))


def test_the_upright_axis_is_leant_over_and_lengthened() -> None:
    size = {"width_px": 4, "height_px": 2}
    view = plan(validate({"re": "0", "im": "0", "width": "4", "skew_deg": 45, "stretch": 3, **size}))
    assert view.right == (1.0, 0.0)
    assert view.down == (-1.0, -3.0)


@pytest.mark.scenario("J47")
@pytest.mark.parametrize("look", [{}, {"rotation_deg": 30.0}, {"rotation_deg": -200.0, "skew_deg": 20, "stretch": 0.5}])
def test_a_mirrored_view_has_the_same_rows_from_the_bottom_up(look: dict[str, float]) -> None:
    common = {"re": "-1.76", "im": "-0.03", "width": "0.1", "width_px": 64, "height_px": 48, **look}
    upright, mirrored = (plan(validate(common | {"mirror": mirror})) for mirror in (False, True))
    assert mirrored.right == upright.right
    assert mirrored.down == (-upright.down[0], -upright.down[1])
    bottom_left = complex(*upright.origin) + 47 * complex(*upright.down)
    assert complex(*mirrored.origin) == pytest.approx(bottom_left, rel=1e-14)


def test_a_polynomial_is_given_by_coefficients_or_roots() -> None:
    common = {"formula": "newton", "re": "0", "im": "0", "width": "4"}
    default = plan(validate(common))
    assert (default.degree, default.parameters) == (3, (1.0, 0.0, 1.0, 0.0, 0.0, 0.0, 0.0, 0.0, -1.0, 0.0))
    roots = plan(validate(common | {"roots": ["1", "-1", "2i", "-2i"], "relaxation": "0.5+0.25i"}))
    assert roots.degree == 4
    # (z² − 1)(z² + 4) = z⁴ + 3z² − 4
    assert roots.parameters == (0.5, 0.25, 1.0, 0.0, 0.0, 0.0, 3.0, 0.0, 0.0, 0.0, -4.0, 0.0)
    assert roots.limit == 1e-12
    assert roots.is_julia


def test_a_point_is_given_in_widths_from_the_centre() -> None:
    request = validate({"re": "-0.7", "im": "0.2", "width": "0.5"})
    assert point(request, Fraction(1, 4), Fraction(-1, 2)) == (Fraction("-0.575"), Fraction("-0.05"))
