"""The point under the pointer: what is said of it, its orbit in the picture, its Julia set and the way back."""

from __future__ import annotations

import math
from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

from rfm_runtime.protocol.probing import ProbedPoint
from rfm_runtime.render.formulas import FORMULAS
from rfm_runtime.render.presets import PRESETS
from rfm_runtime.render.request import RenderRequest, validate
from rfm_ui.model.pointing import facts_of, has_julia, julia_of, orbit_lines, whole_of
from rfm_ui.model.views import under

VIEW = RenderRequest(re="-0.65", im="0.1", width="3.3", width_px=660, height_px=400, max_iter=2000)

widths = st.sampled_from(["4", "0.001", "3.7e-9"])
views = st.builds(
    lambda width, turn: replace(VIEW, width=width, rotation_deg=turn), widths, st.sampled_from([0.0, 30.0, -120.0])
)


@pytest.mark.parametrize(
    ("point", "says"),
    [
        (None, ("–", "–", "–", "–")),
        (ProbedPoint(x=1, y=1, re=0.0, im=0.0), ("–", "–", "–", "–")),
        (ProbedPoint(x=1, y=1, re=0.0, im=0.0, n=-1, interior=True, period=3), ("never: inside", "–", "3", "–")),
        (ProbedPoint(x=1, y=1, re=0.0, im=0.0, n=-1), ("not within 2\u202f000", "–", "–", "–")),
        (
            ProbedPoint(x=1, y=1, re=0.0, im=0.0, n=1234, mu=1234.5678, interior=False, distance=1.23456e-9),
            ("1\u202f234", "1234.568", "–", "1.235e-09"),
        ),
    ],
)
def test_what_is_not_known_is_a_dash(point: ProbedPoint | None, says: tuple[str, ...]) -> None:
    assert tuple(value for _name, value in facts_of(point, VIEW))[:4] == says


@given(views, st.lists(st.tuples(st.floats(0, 660), st.floats(0, 400)), min_size=2, max_size=8))
def test_an_orbit_in_the_picture_goes_through_its_places(
    view: RenderRequest, places: list[tuple[float, float]]
) -> None:
    orbit: list[float] = []
    for place in places:
        orbit += map(float, under(view, *place))

    lines = orbit_lines(view, orbit)

    for line in lines:
        assert all(-1e-6 <= x <= 660 + 1e-6 for x in line[::2])
        assert all(-1e-6 <= y <= 400 + 1e-6 for y in line[1::2])
    if view.width != "3.7e-9":
        # Deeper than that float64 has no more than a pixel of them.
        inner = [place for place in places if 1 < place[0] < 659 and 1 < place[1] < 399]
        ends = [line[:2] for line in lines] + [line[2:] for line in lines]
        for place in inner:
            assert any(math.dist(place, end) < 0.01 for end in ends)


@given(views, st.lists(st.floats(allow_nan=False, allow_infinity=False), min_size=4, max_size=4))
def test_an_orbit_that_goes_far_out_ends_at_the_pictures_edge(view: RenderRequest, orbit: list[float]) -> None:
    for line in orbit_lines(view, orbit):
        assert all(math.isfinite(number) for number in line)
        assert all(-1e-3 <= x <= 660 + 1e-3 for x in line[::2])
        assert all(-1e-3 <= y <= 400 + 1e-3 for y in line[1::2])


@pytest.mark.parametrize("name", list(PRESETS))
def test_the_julia_set_of_a_preset_can_be_rendered_and_one_finds_back(name: str) -> None:
    view = replace(PRESETS[name].request, width_px=640, height_px=400)
    found = julia_of(view, 320.0, 200.0, 250, 190)
    assert (found is not None) == has_julia(view) == (FORMULAS[view.formula].julia and view.julia_re is None)
    if found is None:
        return
    assert validate({key: value for key, value in asdict(found).items() if value is not None}) == found
    assert (found.width_px, found.height_px) == (250, 190)
    # The middle of the picture, to a thousandth of a pixel.
    spacing = Fraction(view.width) / view.width_px
    assert abs(Fraction(found.julia_re or "0") - Fraction(view.re)) <= spacing / 1000
    assert abs(Fraction(found.julia_im or "0") - Fraction(view.im)) <= spacing / 1000
    assert whole_of(view) is None
    back = whole_of(found)
    assert back is not None
    assert (back.re, back.im, back.julia_re) == (found.julia_re, found.julia_im, None)


def test_what_is_a_julia_set_has_none() -> None:
    julia = replace(VIEW, julia_re="-0.8", julia_im="0.156")
    assert julia_of(julia, 1.0, 1.0, 100, 100) is None
    assert julia_of(replace(VIEW, formula="newton"), 1.0, 1.0, 100, 100) is None
