"""A request as TOML: short, whole, and nothing taken on trust."""

from __future__ import annotations

import pytest

from rfm_runtime.errors import BadRequestError
from rfm_runtime.render.files.toml import non_defaults, read, request_of, write
from rfm_runtime.render.presets import PRESETS
from rfm_runtime.render.request import RenderRequest, validate

VIEW = 're = "0"\nim = "0"\nwidth = "4"\n'


@pytest.mark.parametrize("name", PRESETS)
def test_a_preset_comes_back(name: str) -> None:
    request = PRESETS[name].request
    assert request_of(write(request)) == request


def test_defaults_are_left_out() -> None:
    request = RenderRequest(re="-0.7", im="0.1", width="0.01", max_iter=1000, power=None)
    assert write(request).splitlines()[1:] == ['re = "-0.7"', 'im = "0.1"', 'width = "0.01"']
    assert list(non_defaults(request)) == ["re", "im", "width"]


def test_every_kind_of_value() -> None:
    request = validate(
        {
            "re": "0.1",
            "im": "-0.2",
            "width": "3e-5",
            "formula": "nova",
            "roots": ["1", "-0.5+0.8i", "i"],
            "tolerance": 1e-9,
            "rotation_deg": -12.5,
            "interior_tests": False,
            "julia_re": "0.5",
            "julia_im": "0",
        }
    )
    assert request_of(write(request)) == request


def test_numbers_without_quotes_keep_their_digits() -> None:
    text = 're = -0.743643887037158704752191506114774\nim = 0\nwidth = 1_0.5\ncoefficients = [1, 0, "i", -1.25]\n'
    assert read(text) == {
        "re": "-0.743643887037158704752191506114774",
        "im": "0",
        "width": "10.5",
        "coefficients": ["1", "0", "i", "-1.25"],
    }


def test_numbers_in_quotes_are_numbers() -> None:
    text = VIEW + 'formula = "multibrot"\npower = "3"\nmax_iter = "500"\nrotation_deg = "-30.5"\n'
    request = request_of(text)
    assert (request.power, request.max_iter, request.rotation_deg) == (3, 500, -30.5)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("re = = 1", "not valid TOML"),
        ('re = "0"\nre = "1"', "not valid TOML"),
        (VIEW + "palet = 1", "palet"),
        (VIEW + 'power = "three"', "int"),
        (VIEW + "max_iter = 1.5", "int"),
        (VIEW + "max_iter = -1", "max_iter"),
        (VIEW + "bailout = nan", "bailout"),
        (VIEW + "bailout = 1e400", "bailout"),
        (VIEW + "[view]\nre = 1", "view"),
        (VIEW + "tile_px = 1979-05-27", "int"),
        (VIEW + "max_iter = " + "9" * 5000, "TOML"),
        (VIEW + "max_iter = 0x" + "f" * 5000, "max_iter"),
        ("re = 0x" + "f" * 5000 + '\nim = "0"\nwidth = "4"', "re"),
        ("a = " + "[" * 100_000, "nested"),
        ('re = "' + "1" * 10_000_000 + '"', "10000007 bytes"),
        ("re = " + "1" * 10_000_000, "bytes"),
        ('re = "' + "1" * 1_000_000 + '"\nim = "0"\nwidth = "4"', "1000000 characters"),
        ("", "re"),
    ],
)
def test_refusals_say_what_is_wrong(text: str, said: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        request_of(text)
    assert said in caught.value.message
    assert len(caught.value.message) < 400
    assert caught.value.hint


def test_the_nearest_name_is_said() -> None:
    with pytest.raises(BadRequestError) as caught:
        request_of(VIEW + "max_iters = 5")
    assert "max_iter?" in str(caught.value.hint)
