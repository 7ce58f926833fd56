"""Validation takes anything and answers with a request or a refusal; the plan is exact; tiles are a partition."""

from __future__ import annotations

from fractions import Fraction

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.errors import BadRequestError
from rfm_runtime.render.image_metadata import from_text, to_text
from rfm_runtime.render.plan import plan, tiles
from rfm_runtime.render.request import RenderRequest, validate

NAMES = st.sampled_from(RenderRequest.__struct_fields__)
SCALARS = st.none() | st.booleans() | st.integers() | st.floats() | st.text() | st.from_regex(r"-?\d+(\.\d+)?(e-?\d+)?")
VALUES = st.recursive(SCALARS, lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner), max_leaves=5)
DECIMALS = st.decimals(-2, 2, allow_nan=False, places=20).map(str)

requests = st.builds(
    RenderRequest,
    re=DECIMALS,
    im=DECIMALS,
    width=st.decimals("0.000001", 4, places=12).map(str),
    width_px=st.integers(1, 8000),
    height_px=st.integers(1, 8000),
    max_iter=st.integers(1, 2**31 - 1),
    julia_re=st.just("0.25"),
    julia_im=DECIMALS,
)


def answered(params) -> RenderRequest | BadRequestError:
    try:
        return validate(params)
    except BadRequestError as error:
        return error


@given(st.dictionaries(NAMES | st.text(), VALUES), st.booleans())
def test_anything_is_answered_with_a_request_or_a_refusal_of_one_line(changes, whole: bool) -> None:
    params = ({"re": "0", "im": "0", "width": "4"} if whole else {}) | changes
    answer = answered(params)
    if isinstance(answer, RenderRequest):
        assert validate(msgspec.json.encode(answer)) == answer
    else:
        assert answer.hint
        assert "\n" not in answer.message + answer.hint
        assert len(answer.message) < 400


@given(st.binary(max_size=200))
def test_any_bytes_are_answered(body: bytes) -> None:
    answer = answered(body)
    assert isinstance(answer, RenderRequest) or answer.hint


@given(requests)
def test_a_valid_request_survives_json_and_a_picture(request: RenderRequest) -> None:
    assert validate(msgspec.json.encode(request)) == request
    assert from_text(to_text(request)) == request


@given(requests)
def test_every_number_of_the_plan_is_within_half_a_unit_of_the_exact_one(request: RenderRequest) -> None:
    view = plan(request)
    spacing = Fraction(request.width) / request.width_px
    corner = Fraction(request.re) - spacing * Fraction(request.width_px - 1, 2)
    assert abs(Fraction(view.spacing) - spacing) <= spacing * Fraction(1, 2**53)
    assert abs(Fraction(view.re0) - corner) <= abs(corner) * Fraction(1, 2**53)


@given(st.integers(1, 700), st.integers(1, 700), st.integers(16, 512))
def test_tiles_cover_every_pixel_once(width_px: int, height_px: int, tile_px: int) -> None:
    found = tiles(width_px, height_px, tile_px)
    assert [tile.index for tile in found] == list(range(len(found)))
    assert sum(tile.w * tile.h for tile in found) == width_px * height_px
    assert all(0 < tile.w <= tile_px and 0 < tile.h <= tile_px for tile in found)
    assert all(tile.x % tile_px == 0 and tile.y % tile_px == 0 for tile in found)
    assert all(tile.x + tile.w <= width_px and tile.y + tile.h <= height_px for tile in found)
    assert len({(tile.x, tile.y) for tile in found}) == len(found)
