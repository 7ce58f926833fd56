"""Presets, catalogue and palettes: complete, valid, published values."""

from __future__ import annotations

import msgspec
import pytest

from rfm_runtime.errors import BadRequestError
from rfm_runtime.render.catalogue import KIND, formulas, kinds
from rfm_runtime.render.formulas import FORMULAS
from rfm_runtime.render.palettes import PUBLISHED, palette
from rfm_runtime.render.presets import PRESETS, preset
from rfm_runtime.render.request import validate


@pytest.mark.parametrize("name", PRESETS)
def test_every_preset_is_a_valid_request(name: str) -> None:
    found = preset(name)
    assert found.name == name
    assert found.title
    assert validate(msgspec.json.encode(found.request)) == found.request


def test_a_misspelt_preset_gets_the_nearest() -> None:
    with pytest.raises(BadRequestError) as caught:
        preset("seehorse")
    assert caught.value.hint == "did you mean seahorse?"


def test_the_catalogue_describes_every_formula() -> None:
    assert tuple(formula.name for formula in formulas()) == tuple(FORMULAS)
    assert all(formula.description for formula in formulas())


def test_the_schema_of_the_kind_is_json_and_names_every_parameter() -> None:
    schema = msgspec.json.decode(msgspec.json.encode(kinds()[KIND]))
    properties = schema["$defs"]["RenderRequest"]["properties"]
    assert {"re", "im", "width", "max_iter", "palette"} <= properties.keys()


# First, middle and last entries as published, rounded to bytes.
ENTRIES = {
    "viridis": ((68, 1, 84), (33, 145, 140), (253, 231, 37)),
    "plasma": ((13, 8, 135), (204, 71, 120), (240, 249, 33)),
    "inferno": ((0, 0, 4), (188, 55, 84), (252, 255, 164)),
    "magma": ((0, 0, 4), (183, 55, 121), (252, 253, 191)),
    "cividis": ((0, 34, 78), (125, 124, 120), (254, 232, 56)),
    "turbo": ((48, 18, 59), (164, 252, 60), (122, 4, 3)),
}


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_palette_has_its_published_colours(name: str) -> None:
    table = palette(name)
    assert len(table) == 768
    for place, expected in zip((0, 128, 255), ENTRIES[name], strict=True):
        found = table[3 * place : 3 * place + 3]
        assert max(abs(a - b) for a, b in zip(found, expected, strict=True)) <= 2
