"""Refusals of a render's parameters name the options that were given."""

from __future__ import annotations

from typing import Any

import pytest

from rfm_runtime.cli.refusals import by_options
from rfm_runtime.errors import BadRequestError
from rfm_runtime.render.request import validate

pytestmark = pytest.mark.scenario("J49")

VIEW = {"re": "0", "im": "0", "width": "4"}


@pytest.mark.parametrize(
    ("given", "elsewhere", "message", "hint"),
    [
        ({"tile_px": 8}, {}, "--tile is 8, it has to be from 16 to 512", "the nearest that can be is 16"),
        ({"max_iter": -3}, {}, "--max-iter is -3,", "is 0"),
        ({"samples": 9}, {}, "--samples is 9,", "is 8"),
        ({"width_px": 0, "height_px": 10}, {}, "--size is 0,", "is 1"),
        ({"re": "x"}, {}, "--re is 'x', not a decimal number", ""),
        ({"trap_re": 1.0, "trap_im": 0.0}, {}, "a place or a radius of a trap", "name it with `trap`"),
        ({"trap_radius": 2.0}, {"trap": "point"}, "--trap-radius means nothing to a point", "a circle takes it"),
        ({"julia_re": "1"}, {}, "--julia-re and julia_im belong together", "give both"),
        ({"re": "max_iter", "max_iter": 5}, {}, "--re is 'max_iter', not a decimal number", ""),
        # In a file it is called as it is there.
        ({}, {"tile_px": 8}, "tile_px is 8,", "is 16"),
        ({"samples": 2}, {"max_iter": -3}, "max_iter is -3,", "is 0"),
    ],
)
def test_a_refusal_names_the_option(given: dict[str, Any], elsewhere: dict[str, Any], message: str, hint: str) -> None:
    with pytest.raises(BadRequestError) as caught, by_options(given):
        validate(VIEW | elsewhere | given)
    assert caught.value.message.startswith(message)
    assert hint in caught.value.hint
