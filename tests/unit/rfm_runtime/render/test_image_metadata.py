"""Parameters inside a picture: there and back, and nothing taken on trust."""

from __future__ import annotations

import pytest

from rfm_runtime.errors import BadRequestError
from rfm_runtime.render.image_metadata import REQUEST_KEY, from_text, to_text
from rfm_runtime.render.presets import PRESETS


@pytest.mark.scenario("C10")
@pytest.mark.parametrize("name", PRESETS)
def test_a_request_survives_its_picture(name: str) -> None:
    request = PRESETS[name].request
    text = to_text(request)
    assert from_text(text) == request
    assert all(value.isascii() for value in text.values())


@pytest.mark.parametrize("text", [{}, {"Software": "x"}, {REQUEST_KEY: "{"}, {REQUEST_KEY: '{"re": "1"}'}])
def test_pictures_without_valid_parameters_are_refused(text) -> None:
    with pytest.raises(BadRequestError):
        from_text(text)
