"""How a picture is coloured: every refusal says what is wrong and what to do, and a request has it all in one level."""

from __future__ import annotations

import msgspec
import pytest

from rfm_runtime.errors import BadRequestError
from rfm_runtime.render.colouring import COLOURINGS, ENDS, Colouring, check
from rfm_runtime.render.image_metadata import from_text, to_text
from rfm_runtime.render.request import RenderRequest, validate

VIEW = {"re": "-0.75", "im": "0.1", "width": "0.01"}


@pytest.mark.scenario("C9")
@pytest.mark.parametrize(
    ("changes", "says", "hint"),
    [
        ({"colouring": "smoth"}, "there is no colouring 'smoth'", "did you mean smooth?"),
        ({"colouring": "q"}, "there is no colouring 'q'", "there are smooth, distance"),
        ({"cyclic": "warp"}, "there is no value of cyclic 'warp'", "did you mean wrap?"),
        ({"palette": "tubro"}, "there is no palette 'tubro'", "did you mean turbo?; or colours of your own"),
        ({"palette": "#12"}, "the palette has one colour", "2 to 1024"),
        ({"interior": "#00000"}, "interior is '#00000', not a colour", "#rrggbb"),
        ({"density": float("nan")}, "density is nan", "give a number"),
        ({"offset": 1e9}, "offset is 1000000000.0", "is 1000.0"),
        ({"slopes": -11.0}, "slopes is -11.0", "is -10.0"),
        ({"slopes": float("nan")}, "slopes is nan", "give a number"),
        ({"light_azimuth_deg": 361.0}, "light_azimuth_deg is 361.0", "is 360.0"),
        ({"light_elevation_deg": 0.0}, "light_elevation_deg is 0.0, it has to be from 10.0 to 90.0", "is 10.0"),
        ({"shine": 1.5}, "shine is 1.5", "is 1.0"),
        ({"bits": 12}, "bits is 12, it has to be 8 or 16", "8 are enough"),
        ({"bits": 16, "dither": True}, "dither means nothing to 16 bits", "leave it out"),
    ],
)
def test_bad_colourings_are_refused_with_the_reason(changes, says: str, hint: str) -> None:
    for judge in (lambda: check(Colouring(**changes)), lambda: validate(VIEW | changes)):
        with pytest.raises(BadRequestError) as caught:
            judge()
        assert says in caught.value.message
        assert hint in caught.value.hint


@pytest.mark.parametrize("colouring", COLOURINGS)
@pytest.mark.parametrize("cyclic", ENDS)
def test_a_colouring_is_part_of_a_request_and_goes_into_the_picture(colouring: str, cyclic: str) -> None:
    look = Colouring(
        colouring=colouring, cyclic=cyclic, palette="#000000@0,#ff8000@0.5,#ffffff@1", slopes=1.5,
        light_azimuth_deg=-20.0, light_elevation_deg=30.0, shine=0.5, bits=16, interior="#010aff",
    )  # fmt: skip
    check(look)
    view = VIEW | ({"trap": "cross"} if colouring == "orbit_trap" else {})
    request = validate(view | msgspec.structs.asdict(look))
    assert request == RenderRequest(**view, **msgspec.structs.asdict(look))
    assert from_text(to_text(request)) == request
    assert request.light == (1.5, -20.0, 30.0, 0.5)
    assert request.interior_rgb == (1, 10, 255)


@pytest.mark.parametrize(
    ("look", "needs"),
    [
        (Colouring(), False),
        (Colouring(colouring="histogram"), False),
        (Colouring(colouring="distance"), True),
        (Colouring(colouring="field_lines"), True),
        (Colouring(slopes=-0.5), True),
    ],
)
def test_what_takes_a_derivative(look: Colouring, needs: bool) -> None:
    assert look.needs_derivative is needs
    assert (look.light is None) is (look.slopes == 0.0)
