"""Palettes: by name, or as text that people and files of other programs write."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_kernels.gradient import CLAMP, table
from rfm_runtime.errors import BadRequestError
from rfm_runtime.render.palettes import COLOURS_LIMIT, PUBLISHED, blended, gradient, palette, palette_text

BYTE = st.integers(0, 255)
COLOURS = st.lists(st.tuples(BYTE, BYTE, BYTE), min_size=2, max_size=40)


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_name_is_its_256_published_colours(name: str) -> None:
    found = gradient(name)
    assert found.published
    assert found.colours == palette(name)
    assert len(found.colours) == 3 * 256
    assert found.positions == ()


def test_colours_of_ones_own() -> None:
    assert gradient("#000000,#FF8000").colours == b"\0\0\0\xff\x80\0"
    assert gradient(" #000000@0 , #102030@.25, #ffffff@1.0 ").positions == (0.0, 0.25, 1.0)
    assert gradient("#000000@0.5,#102030@0.5").positions == (0.5, 0.5)
    assert not gradient("#000000,#FF8000").published
    assert len(gradient(",".join(["#000000"] * COLOURS_LIMIT)).colours) == 3 * COLOURS_LIMIT


@given(COLOURS)
def test_text_is_read_back(colours) -> None:
    assert gradient(palette_text(colours)).colours == bytes(part for colour in colours for part in colour)


@given(COLOURS, st.data())
def test_text_with_places_is_read_back(colours, data) -> None:
    places = sorted(data.draw(st.lists(st.floats(0, 1), min_size=len(colours), max_size=len(colours))))
    assert gradient(palette_text(colours, places)).positions == pytest.approx(places, abs=1e-9)


@pytest.mark.scenario("C9")
@pytest.mark.parametrize(
    ("text", "says", "hint"),
    [
        ("#000000", "the palette has one colour", "give 2 to 1024"),
        ("#000000," * COLOURS_LIMIT + "#000000", "more than 1024 colours", "give 2 to 1024"),
        ("#000000,", "has '', not a colour", "#rrggbb"),
        ("#000000,red", "has 'red', not a colour", "#rrggbb"),
        ("#000000,#ff800", "has '#ff800', not a colour", "#rrggbb"),
        ("#000000@,#ff8000@1", "has '#000000@', not a colour", "place from 0 to 1"),
        ("#000000@-1,#ff8000@1", "has '#000000@-1', not a colour", "place from 0 to 1"),
        ("#000000@nan,#ff8000@1", "not a colour", "place from 0 to 1"),
        ("#000000@.,#ff8000@1", "not a colour", "place from 0 to 1"),
        ("#000000@0,#ff8000", "1 of the palette's 2 colours have a place", "all of them one, or none"),
        ("#000000@0.5,#ff8000@0.25", "goes from 0.5 to 0.25", "never back"),
        ("#000000@0.5,#ff8000@2", "goes from 2 to 1", "from 0 to 1"),
        ("#000000,#\n" + "x" * 1000, "not a colour", "#rrggbb"),
        ("grey", "there is no palette 'grey'", "or colours of your own"),
    ],
)
def test_what_is_no_palette_is_refused_with_the_reason(text: str, says: str, hint: str) -> None:
    with pytest.raises(BadRequestError) as caught:
        gradient(text)
    for line in (caught.value.message, caught.value.hint):
        assert "\n" not in line
        assert len(line) < 300
    assert says in caught.value.message
    assert hint in caught.value.hint


def test_a_very_long_text_is_refused_at_once() -> None:
    begin_s = time.process_time()
    with pytest.raises(BadRequestError):
        gradient("#000000," * 1_000_000)
    assert time.process_time() - begin_s < 1.0


@given(one=st.tuples(BYTE, BYTE, BYTE), other=st.tuples(BYTE, BYTE, BYTE), place=st.integers(0, 64))
def test_a_blend_is_the_one_of_the_tables(one: tuple[int, int, int], other: tuple[int, int, int], place: int) -> None:
    steps = table(np.array([one, other], np.uint8), None, end=CLAMP, perceptual=True, steps=4096)
    expected = steps[place * 63].astype(float) / 257
    assert np.abs(np.array(blended(one, other, place * 63 / 4095)) - expected).max() <= 0.6
