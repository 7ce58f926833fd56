"""Validation takes anything and answers with a request or a refusal; the plan is exact; tiles are a partition."""

from __future__ import annotations

from fractions import Fraction

import msgspec
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.errors import BadRequestError
from rfm_runtime.render.image_metadata import from_text, to_text
from rfm_runtime.render.plan import plan
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
    assert abs(Fraction(view.right[0]) - spacing) <= spacing * Fraction(1, 2**53)
    assert abs(Fraction(view.origin[0]) - corner) <= abs(corner) * Fraction(1, 2**53)


@given(requests)
def test_tiles_have_the_edge_that_was_asked_for_or_are_neither_tiny_nor_thousands(request: RenderRequest) -> None:
    edge_px = request.tile_edge_px
    if request.tile_px is not None:
        assert edge_px == request.tile_px
    else:
        assert edge_px in (128, 256, 512)
        tiles = -(-request.width_px // edge_px) * -(-request.height_px // edge_px)
        assert tiles <= 400 or edge_px == 512
        assert edge_px == 128 or tiles >= 64
