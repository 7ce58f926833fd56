"""Colours, light and parameters: what has to be computed anew, and what of it can be typed and slid."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import asdict, replace

from rfm_runtime.errors import BadRequestError
from rfm_runtime.render.colouring import Colouring
from rfm_runtime.render.formulas import FORMULAS
from rfm_runtime.render.palettes import PALETTES, gradient
from rfm_runtime.render.request import RenderRequest, validate
from rfm_ui.model.looking import (
    SLIDERS,
    STEPS,
    Slider,
    colourings_for,
    look_of,
    needed,
    parameters_for,
    swatch,
    with_look,
    with_parameter,
)

VIEW = RenderRequest(re="-0.65", im="0.1", width="3.3", width_px=660, height_px=400, max_iter=2000)


@pytest.mark.parametrize(
    ("rendered", "wanted", "takes"),
    [
        ({}, {}, "nothing"),
        ({}, {"palette": "magma", "density": 2.0, "interior": "#ffffff"}, "recolour"),
        ({}, {"colouring": "histogram"}, "recolour"),
        ({}, {"re": "-0.7"}, "render"),
        ({}, {"max_iter": 100, "palette": "magma"}, "render"),
        ({}, {"slopes": 1.0}, "render"),
        ({"slopes": 0.5}, {"slopes": 1.0, "colouring": "distance"}, "recolour"),
        ({"slopes": 0.5}, {"slopes": 0.0}, "recolour"),
        ({"distances": True}, {"distances": True, "slopes": 1.0}, "recolour"),
        ({}, {"interior": "period"}, "render"),
        ({"interior": "period"}, {"interior": "#000000"}, "recolour"),
    ],
)
def test_what_is_computed_anew(rendered: dict[str, object], wanted: dict[str, object], takes: str) -> None:
    assert needed(replace(VIEW, **rendered), replace(VIEW, **wanted)) == takes


@given(st.builds(Colouring, palette=st.sampled_from(PALETTES), density=st.floats(0.1, 9), slopes=st.floats(-3, 3)))
def test_a_view_with_a_look_has_it_and_nothing_else_changes(look: Colouring) -> None:
    there = with_look(VIEW, look)
    assert look_of(there) == look
    assert with_look(there, look_of(VIEW)) == VIEW


@pytest.mark.parametrize("slider", SLIDERS, ids=[one.field for one in SLIDERS])
def test_every_place_of_a_slider_is_a_value_that_can_be_rendered(slider: Slider) -> None:
    before = float("-inf")
    for place in range(STEPS + 1):
        value = slider.value(place)
        assert slider.low <= value <= slider.high
        assert value >= before
        before = value
        validate({key: known for key, known in asdict(replace(VIEW, **{slider.field: value})).items() if known})
        assert slider.value(slider.at(value)) == pytest.approx(value, abs=2 * (slider.high - slider.low) / STEPS)
    assert (slider.value(0), slider.value(STEPS)) == (slider.low, slider.high)
    # What is typed may be beyond, and the slider stays at its end.
    assert (slider.at(slider.low - 1e3), slider.at(slider.high + 1e3)) == (0, STEPS)


@pytest.mark.parametrize("formula", list(FORMULAS))
def test_all_ways_to_colour_that_are_offered_are_taken(formula: str) -> None:
    plain = replace(VIEW, formula=formula)
    for view in (plain, replace(plain, trap="point")):
        for way in colourings_for(view):
            fields = {key: value for key, value in asdict(replace(view, colouring=way)).items() if value is not None}
            assert validate(fields).colouring == way


@pytest.mark.parametrize(
    ("formula", "field", "text", "becomes"),
    [
        ("mandelbrot", "max_iter", "5000", 5000),
        ("mandelbrot", "max_iter", " ", 0),
        ("multibrot", "power", "5", 5),
        ("phoenix", "p", "-0.4+0.1i", "-0.4+0.1i"),
        ("phoenix", "p", "", None),
        ("newton", "relaxation", "0.7", "0.7"),
        ("newton", "roots", "1, -1, i, -i", ("1", "-1", "i", "-i")),
        ("nova", "coefficients", "1, 0, 0, -1", ("1", "0", "0", "-1")),
        ("newton", "tolerance", "0.0001", 1e-4),
    ],
)
def test_a_parameter_is_what_was_typed(formula: str, field: str, text: str, becomes: object) -> None:
    view = replace(VIEW, formula=formula)
    parameter = next(one for one in parameters_for(view) if one.field == field)
    changed = with_parameter(view, parameter, text)
    assert getattr(changed, field) == becomes
    assert next(one for one in parameters_for(changed) if one.field == field).value == text.strip()


def test_roots_and_coefficients_take_each_others_place() -> None:
    view = replace(VIEW, formula="newton", roots=("1", "-1", "0.5i"))
    known = {one.field: one for one in parameters_for(view)}
    changed = with_parameter(view, known["coefficients"], "1,0,-1")
    assert (changed.roots, changed.coefficients) == (None, ("1", "0", "-1"))
    back = with_parameter(changed, known["roots"], "2,3")
    assert (back.roots, back.coefficients) == (("2", "3"), None)


def test_a_constant_is_typed_part_by_part() -> None:
    julia = replace(VIEW, julia_re="-0.8", julia_im="0.156")
    real, imaginary = parameters_for(julia)[1:]
    assert (real.value, imaginary.value) == ("-0.8", "0.156")
    assert with_parameter(julia, imaginary, "0.2").julia_im == "0.2"
    assert with_parameter(julia, real, "").julia_re == "0"


@pytest.mark.parametrize(
    ("formula", "field", "text", "says"),
    [
        ("mandelbrot", "max_iter", "many", "Iterations is 'many', not a whole number"),
        ("multibrot", "power", "99", "power is 99"),
        ("newton", "tolerance", "x", "Tolerance is 'x', not a number"),
        ("newton", "roots", "1, 2, x", "roots[2] is 'x', not a complex number"),
        ("phoenix", "p", "one", "p is 'one', not a complex number"),
    ],
)
def test_what_cannot_be_is_said(formula: str, field: str, text: str, says: str) -> None:
    view = replace(VIEW, formula=formula)
    parameter = next(one for one in parameters_for(view) if one.field == field)
    with pytest.raises(BadRequestError) as told:
        with_parameter(view, parameter, text)
    assert told.value.message.startswith(says)
    assert told.value.hint


@pytest.mark.parametrize("palette", [*PALETTES, "#000000,#ffffff", "#ff0000@0,#00ff00@0.5,#00ff00@0.5,#0000ff@1"])
def test_a_swatch_begins_and_ends_as_its_palette(palette: str) -> None:
    found = gradient(palette)
    line = swatch(found, 72)
    assert len(line) == 3 * 72
    assert line[:3] == found.colours[:3]
    assert line[-3:] == found.colours[-3:]
