"""Validation of render parameters: every refusal says what is wrong and what to do."""

from __future__ import annotations

import time

import msgspec
import pytest

from rfm_runtime.errors import BadRequestError
from rfm_runtime.render.request import DIGITS_LIMIT, FRAME_LIMIT_PX, RenderRequest, validate

GOOD = {"re": "-0.75", "im": "0.1", "width": "0.01"}


def refused(**changes) -> BadRequestError:
    with pytest.raises(BadRequestError) as caught:
        validate(GOOD | changes)
    error = caught.value
    assert error.hint
    for line in (error.message, error.hint):
        assert "\n" not in line
        assert len(line) < 300
    return error


def test_defaults_are_a_full_hd_mandelbrot() -> None:
    assert validate(GOOD) == RenderRequest(re="-0.75", im="0.1", width="0.01")
    assert validate(msgspec.json.encode(GOOD)) == validate(GOOD)


@pytest.mark.scenario("C9")
@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"re": "NaN"}, "re is 'NaN', not a decimal number"),
        ({"width": "inf"}, "not a decimal number"),
        ({"re": "1_0"}, "not a decimal number"),
        ({"re": " 1"}, "not a decimal number"),
        ({"re": "0x1p3"}, "not a decimal number"),
        ({"re": "1/3"}, "not a decimal number"),
        ({"re": ""}, "not a decimal number"),
        ({"re": "٣"}, "not a decimal number"),
        ({"im": "−0.5"}, "not a decimal number"),
        ({"re": -0.75}, "re has to be a decimal string"),
        ({"re": None}, "parameters do not fit"),
        ({"re": "1e9999"}, "exponent of re is 9999"),
        ({"re": "5000"}, "the limit is ±1000"),
        ({"width": "0"}, "it has to be positive"),
        ({"width": "-1"}, "it has to be positive"),
        ({"width": "1e-12"}, "too deep"),
        ({"width": "1.92e-390"}, "pixels are 1.00e-393 apart"),
        ({"width_px": -5}, "width_px is -5, it has to be from 1"),
        ({"height_px": 0}, "height_px is 0"),
        ({"width_px": 10**30}, "too large a number"),
        ({"width_px": 65536, "height_px": 65536}, f"the limit is {FRAME_LIMIT_PX}"),
        ({"width_px": True}, "parameters do not fit"),
        ({"max_iter": -1}, "max_iter is -1"),
        ({"max_iter": 2**31}, "max_iter is 2147483648"),
        ({"max_iter": "many"}, "parameters do not fit"),
        ({"tile_px": 8}, "tile_px is 8"),
        ({"bailout": float("nan")}, "bailout is nan"),
        ({"bailout": 1.5}, "bailout is 1.5"),
        ({"density": float("inf")}, "density is inf"),
        ({"offset": float("nan")}, "offset is nan"),
        ({"interior": "black"}, "not a colour"),
        ({"formula": "newton", "colouring": "distance"}, "colouring is distance, which means nothing to newton"),
        ({"formula": "nova", "slopes": 1.0}, "slopes is 1.0, which means nothing to nova"),
        ({"formula": "nova", "distances": True}, "distances is true, which means nothing to nova"),
        ({"julia_re": "0.1"}, "belong together"),
        ({"julia_re": "30", "julia_im": "0", "bailout": 3.0}, "may still return"),
        ({"formula": "phoenix", "p": "3", "bailout": 4.0}, "may still return"),
        ({"power": 3}, "power means nothing to mandelbrot"),
        ({"formula": "multibrot", "power": 1}, "power is 1"),
        ({"formula": "multibrot", "power": 16, "bailout": 1e10}, "leaves the range of float64"),
        ({"formula": "phoenix", "p": "1+"}, "p is '1+', not a complex number"),
        ({"formula": "phoenix", "p": "1 + i"}, "not a complex number"),
        ({"formula": "phoenix", "p": "9" * 500}, "p has 500 characters"),
        ({"formula": "newton", "coefficients": ["1"]}, "a polynomial of degree 0"),
        ({"formula": "newton", "coefficients": ["1", 0.5, "1"]}, "coefficients[1] has to be a decimal string"),
        ({"formula": "newton", "roots": [1, 2] * 50_000}, "roots[0] has to be a decimal string"),
        ({"formula": "newton", "relaxation": 1}, "relaxation has to be a decimal string"),
        ({"formula": "newton", "roots": ["1"] * 17}, "a polynomial of degree 17"),
        ({"formula": "newton", "coefficients": ["0", "1", "1"]}, "the first coefficient is 0"),
        ({"formula": "newton", "coefficients": ["1", "0", "1"], "roots": ["1", "2"]}, "say the same"),
        ({"formula": "newton", "julia_re": "0", "julia_im": "0"}, "newton has no Julia sets"),
        ({"formula": "nova", "tolerance": 0.5}, "tolerance is 0.5"),
        ({"rotation_deg": float("nan")}, "rotation_deg is nan"),
        ({"rotation_deg": 1e9}, "rotation_deg is 1000000000.0"),
        ({"skew_deg": 89.9}, "skew_deg is 89.9"),
        ({"stretch": 0.0}, "stretch is 0.0"),
        ({"focus_x": 1.01}, "focus_x is 1.01"),
        ({"focus_y": -0.1}, "focus_y is -0.1"),
        ({"formula": "ми́лый"}, "there is no formula"),
        ({"palette": "x" * 10_000}, "there is no palette"),
        ({"x\n" * 500: 1}, "there is no parameter"),
        ({"re": "1", "\ud800": 1}, "there is no parameter"),
    ],
)
def test_bad_parameters_are_refused_with_the_reason(changes, says: str) -> None:
    assert says in refused(**changes).message


@pytest.mark.scenario("C9")
@pytest.mark.parametrize(
    ("changes", "hint"),
    [
        ({"formula": "Mandelbort"}, "did you mean mandelbrot?"),
        ({"palette": "virdis"}, "did you mean viridis?"),
        ({"max_iterations": 5}, "did you mean max_iter?"),
        ({"heigth_px": 5}, "did you mean height_px?"),
        ({"formula": "q"}, "there are mandelbrot"),
        ({"palette": "tundra"}, "there are viridis"),
        ({"power": 3}, "multibrot takes it"),
        ({"tolerance": 1e-3}, "newton and nova take it"),
        ({"width": "1e-10", "width_px": 1924}, "at least 1.93e-10"),
        ({"width": "1e-10", "width_px": 1920, "stretch": 0.5}, "at least 3.84e-10"),
        ({"samples": 9}, "the nearest that can be is 8"),
        ({"density": float("nan")}, "give a number"),
        ({"julia_re": "30", "julia_im": "0", "bailout": 3.0}, "at least 6"),
    ],
)
def test_a_refusal_names_the_nearest_that_would_do(changes, hint: str) -> None:
    assert hint in refused(**changes).hint


@pytest.mark.scenario("C9")
def test_a_centre_of_ten_million_digits_is_refused_at_once() -> None:
    digits = "1." + "7" * 10_000_000
    begin_s = time.process_time()
    assert refused(re=digits).message == f"re has 10000002 characters, the limit is {DIGITS_LIMIT}"
    assert time.process_time() - begin_s < 1.0


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"3", b"\xff", b'{"re": NaN}', b"[" * 16_000, b" " * 20_000])
def test_a_body_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(BadRequestError):
        validate(body)


def test_coordinates_keep_all_their_digits() -> None:
    digits = "-0.743643887037158704752191506114774"
    assert validate(GOOD | {"re": digits}).re == digits
