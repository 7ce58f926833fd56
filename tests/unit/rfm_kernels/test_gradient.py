"""Tables of palettes: published ones as they are, others blended evenly for the eye, and their three ends."""

from __future__ import annotations

import numpy as np
import pytest

from rfm_kernels.colour import LEVELS, LIGHTS, _level
from rfm_kernels.gradient import CLAMP, CURVE, FINE_STEPS, MIRROR, STEPS, WRAP, _to_lab, light_of, table
from rfm_runtime.render.palettes import PUBLISHED, palette

pytestmark = pytest.mark.scenario("J6")


@pytest.mark.parametrize("name", PUBLISHED)
def test_a_published_palette_is_shown_as_it_was_published(name: str) -> None:
    published = np.frombuffer(palette(name), np.uint8).reshape(-1, 3)
    there = table(published, end=CLAMP, steps=255 * 16 + 1)
    np.testing.assert_array_equal(there[::16], published.astype(np.uint16) * 257)


@pytest.mark.parametrize("perceptual", [False, True])
@pytest.mark.parametrize("steps", [STEPS, FINE_STEPS])
def test_the_three_ends(perceptual: bool, steps: int) -> None:
    lut = np.array([[0, 0, 0], [255, 128, 0], [255, 255, 255]], np.uint8)
    levels = lut.astype(int) * 257
    there = {end: table(lut, end=end, perceptual=perceptual, steps=steps).astype(int) for end in (MIRROR, WRAP, CLAMP)}
    for end, places in ((MIRROR, (0, steps // 4, steps // 2)), (CLAMP, (0, None, steps - 1)), (WRAP, (0, None, None))):
        for place, expected in zip(places, levels, strict=True):
            if place is not None:
                assert np.abs(there[end][place] - expected).max() <= 1
    assert (there[MIRROR][1:] == there[MIRROR][:0:-1]).all()
    assert np.abs(there[WRAP][steps // 3] - levels[1]).max() <= 40_000 * 4 / steps * 16
    # Around: no seam between the last entry and the first.
    assert np.abs(there[WRAP][-1] - there[WRAP][0]).max() < 65_535 * 64 / steps


def test_colours_with_places_are_where_they_say_and_twice_the_same_place_is_an_edge() -> None:
    lut = np.array([[0, 0, 0], [255, 0, 0], [0, 0, 255], [255, 255, 255]], np.uint8)
    there = table(lut, np.array([0.25, 0.5, 0.5, 0.75]), end=CLAMP, perceptual=True, steps=4097)
    assert there[[0, 1024, 3072, 4096]].tolist() == [[0] * 3, [0] * 3, [65535] * 3, [65535] * 3]
    before, after = there[2047].astype(int), there[2049].astype(int)
    assert before[0] > 65_000
    assert after[2] > 65_000
    around = table(lut, np.array([0.25, 0.5, 0.5, 0.75]), end=WRAP, steps=4096)
    np.testing.assert_allclose(around[0], 65535 / 2, atol=1)


def test_colours_of_ones_own_are_blended_evenly_for_the_eye() -> None:
    # Ottosson's values of red and white.
    red, white = _to_lab(np.array([[255.0, 0, 0], [255, 255, 255]]))
    np.testing.assert_allclose(red, [0.627955, 0.224863, 0.125846], atol=1e-5)
    np.testing.assert_allclose(white, [1, 0, 0], atol=1e-5)
    night_to_sand = np.array([[20, 40, 120], [240, 220, 120]], np.uint8)
    middle = table(night_to_sand, end=CLAMP, perceptual=True, steps=4097)[2048] / 257
    np.testing.assert_allclose(_to_lab(middle), _to_lab(night_to_sand.astype(np.float64)).mean(axis=0), atol=1e-4)
    greys = table(np.array([[0] * 3, [255] * 3], np.uint8), end=CLAMP, perceptual=True, steps=4097)
    assert (np.diff(greys.astype(int), axis=0) >= 0).all()
    assert np.abs(greys - greys[:, :1].astype(int)).max() <= 1


def test_levels_to_light_and_back_is_every_level_itself() -> None:
    levels = np.arange(0, 65_536, 17)
    assert [_level(LIGHTS[level], LEVELS) for level in levels] == levels.tolist()
    assert light_of(np.array([0.0, 0.5, 1.0])) == pytest.approx([0.0, 0.214041, 1.0], abs=1e-6)
    assert len(LEVELS) == CURVE + 2
