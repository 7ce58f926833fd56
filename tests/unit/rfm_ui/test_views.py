"""Views: what is under the pointer stays there, and pictures lie where they belong, at any depth."""

from __future__ import annotations

from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace

from rfm_runtime.render.request import RenderRequest, validate
from rfm_ui.model.views import Placement, fitted, framed, is_same_plane, moved, placement, turned, under, zoomed

WIDE = RenderRequest(re="-0.7436438870371587", im="0.1318259043091893", width="3.2", width_px=640, height_px=400)
PLACES = st.tuples(st.floats(0.0, 640.0), st.floats(0.0, 400.0))
VIEWS = st.builds(
    lambda exponent, turn, stretch, mirror: replace(
        WIDE, width=f"3.2e-{exponent}", rotation_deg=turn, stretch=stretch, mirror=mirror
    ),
    st.integers(0, 9),
    st.floats(-180.0, 180.0),
    st.sampled_from([1.0, 0.5, 2.0]),
    st.booleans(),
)


def apply(placed: Placement, x: float, y: float) -> tuple[float, float]:
    return placed.xx * x + placed.xy * y + placed.x0, placed.yx * x + placed.yy * y + placed.y0


@given(VIEWS, PLACES, st.floats(0.05, 20.0))
def test_what_is_under_the_pointer_stays_there(view: RenderRequest, place: tuple[float, float], factor: float) -> None:
    nearer = zoomed(view, factor, *place)

    validate({name: getattr(nearer, name) for name in ("re", "im", "width", "width_px", "height_px", "stretch")})
    spacing = Fraction(nearer.width) / nearer.width_px
    for before, after in zip(under(view, *place), under(nearer, *place), strict=True):
        assert abs(before - after) < spacing * 2
    x, y = apply(placement(view, nearer), *place)
    assert (x, y) == pytest.approx(place, abs=2.0)


@given(VIEWS, st.floats(-500.0, 500.0), st.floats(-500.0, 500.0))
def test_a_dragged_picture_lies_where_it_was_dragged_to(view: RenderRequest, dx: float, dy: float) -> None:
    placed = placement(view, moved(view, dx, dy))

    assert apply(placed, 100.0, 50.0) == pytest.approx((100.0 + dx, 50.0 + dy), abs=0.05)


@given(VIEWS, st.floats(-90.0, 90.0))
def test_a_turn_is_counterclockwise_about_the_centre(view: RenderRequest, degrees: float) -> None:
    view = replace(view, stretch=1.0, mirror=False)

    placed = placement(view, turned(view, degrees))

    assert apply(placed, 320.0, 200.0) == pytest.approx((320.0, 200.0), abs=1e-3)
    _x, y = apply(placed, 420.0, 200.0)
    assert (y - 200.0) * degrees <= 1e-6, "what was on the right goes up"


@given(VIEWS)
def test_a_frame_fills_the_picture(view: RenderRequest) -> None:
    nearer = framed(view, 160.0, 100.0, 320.0, 200.0)

    placed = placement(view, nearer)

    assert apply(placed, 160.0, 100.0) == pytest.approx((0.0, 0.0), abs=1.0)
    assert apply(placed, 480.0, 300.0) == pytest.approx((640.0, 400.0), abs=1.0)


def test_it_does_not_go_deeper_than_can_be_computed_nor_wider_than_there_is_something() -> None:
    view = WIDE
    for _ in range(200):
        view = zoomed(view, 0.5, 320.0, 200.0)
    validate({"re": view.re, "im": view.im, "width": view.width, "width_px": 640, "height_px": 400})
    assert len(view.re) < 30

    for _ in range(200):
        view = zoomed(view, 2.0, 320.0, 200.0)
    assert Fraction(view.width) == 64


@pytest.mark.parametrize("size", [(1280, 400), (300, 900), (640, 400)])
def test_all_of_a_view_fits_a_picture_of_another_size(size: tuple[int, int]) -> None:
    placed = placement(WIDE, fitted(WIDE, *size))

    corners = apply(placed, 0.0, 0.0), apply(placed, 640.0, 400.0)
    assert min(corners[0]) == pytest.approx(0.0, abs=0.01)
    assert corners[1] == pytest.approx((size[0] - corners[0][0], size[1] - corners[0][1]), abs=0.01)


def test_a_julia_set_is_of_another_plane_than_the_points_that_stand_for_them() -> None:
    julia = replace(WIDE, julia_re="-0.8", julia_im="0.156")
    assert is_same_plane(WIDE, zoomed(WIDE, 2.0, 10.0, 10.0))
    assert is_same_plane(julia, replace(julia, julia_re="-0.79"))
    assert not is_same_plane(WIDE, julia)
    assert not is_same_plane(WIDE, replace(WIDE, formula="burning_ship"))
    assert not is_same_plane(replace(WIDE, formula="multibrot", power=3), replace(WIDE, formula="multibrot", power=4))
