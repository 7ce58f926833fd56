"""Colouring: determinism, the palette's ends and seam, pixels without a count."""

from __future__ import annotations

import numpy as np
import pytest

from rfm_kernels.colour import PENDING_RGB, colour

pytestmark = pytest.mark.scenario("J6")

RAMP = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)


def coloured(n: list[int], nf: list[float] | None = None, density: float = 1.0, offset: float = 0.0, lut=RAMP):
    counts = np.array([n], np.int32)
    fractions = np.array([nf or [0.0] * len(n)], np.float32)
    out = np.empty((1, len(n), 3), np.uint8)
    colour(counts, fractions, lut, (1, 2, 3), density, offset, out)
    return out[0]


def test_points_inside_and_pending_ones_have_their_own_colours() -> None:
    assert coloured([-1, -2]).tolist() == [[1, 2, 3], [PENDING_RGB] * 3]


def test_a_run_goes_through_the_palette_and_back_without_a_seam() -> None:
    grey = coloured([0] * 101, offset=0.0)[:, 0]
    assert grey[0] == 0
    greys = np.array([coloured([0], offset=k / 200)[0, 0] for k in range(201)], int)
    assert greys[0] == greys[200] == 0
    assert greys[100] == 255
    assert np.abs(np.diff(greys)).max() <= 3


def test_doubling_the_count_is_one_run_at_density_one() -> None:
    assert coloured([1, 3, 7, 15], offset=0.25)[:, 0].tolist() == [128] * 4


def test_the_smooth_fraction_continues_into_the_next_count() -> None:
    left, right = coloured([10, 11], [1 - 2**-24, 0.0], density=0.5)[:, 0].astype(int)
    assert abs(left - right) <= 1


def test_two_colours_are_interpolated() -> None:
    lut = np.array([[0, 100, 200], [200, 100, 0]], np.float32)
    assert coloured([0], offset=0.25, lut=lut)[0].tolist() == [100, 100, 100]


def test_the_colour_of_a_tile_is_that_of_the_frame() -> None:
    rng = np.random.default_rng(1)
    n = rng.integers(-2, 5000, (40, 1100)).astype(np.int32)
    nf = rng.random((40, 1100), np.float32) * np.float32(0.999)
    whole = np.empty((40, 1100, 3), np.uint8)
    colour(n, nf, RAMP, (0, 0, 0), 0.4, 0.35, whole)
    tiled = np.empty_like(whole)
    for x in range(0, 1100, 77):
        part = np.s_[:, x : x + 77]
        colour(n[part], nf[part], RAMP, (0, 0, 0), 0.4, 0.35, tiled[part])
    np.testing.assert_array_equal(whole, tiled)


def test_shapes_that_do_not_fit_are_refused() -> None:
    with pytest.raises(ValueError, match="shapes do not fit"):
        colour(*np.zeros((2, 2, 2), np.int32), RAMP, (0, 0, 0), 1, 0, np.empty((2, 3, 3), np.uint8))
