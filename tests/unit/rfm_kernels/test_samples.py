"""Antialiasing: samples are spread evenly, and pixels that need more of them are found whatever the tiles."""

from __future__ import annotations

import numpy as np
import pytest

from rfm_kernels.samples import edges, offsets

pytestmark = pytest.mark.scenario("J6")


def found(n, rgb, limit=16, **more):
    out = np.empty(n.shape, bool)
    edges(n, rgb, limit, out, **more)
    return out


def picture(seed=1, shape=(40, 50)):
    rng = np.random.default_rng(seed)
    n = rng.integers(-3, 9, shape).astype(np.int32)
    return n, rng.integers(0, 60, (*shape, 3)).astype(np.uint8)


def test_samples_begin_at_the_centre_and_fill_the_pixel() -> None:
    places = offsets(64)
    assert places[0].tolist() == [0.0, 0.0]
    assert places.min() >= -0.5
    assert places.max() < 0.5
    np.testing.assert_array_equal(places[:8], offsets(8))
    np.testing.assert_allclose(places[1], [1 / 1.32471795724 - 1.0, 1 / 1.32471795724**2 - 1.0], atol=1e-10)
    # Each sixteenth of the pixel has its share of four, or nearly, and no two are near each other.
    counts = np.histogram2d(*places.T, bins=4, range=[(-0.5, 0.5)] * 2)[0]
    assert counts.min() >= 2
    assert counts.max() <= 5
    apart = np.abs(places[:, None] - places[None])
    nearest = np.hypot(*np.minimum(apart, 1 - apart).transpose(2, 0, 1)) + np.eye(64)
    assert nearest.min() > 0.5 / np.sqrt(64)


def test_both_sides_of_an_edge_are_found_and_nothing_else() -> None:
    n, rgb = np.ones((5, 6), np.int32), np.full((5, 6, 3), 100, np.uint8)
    rgb[:, 3:, 1] = 117
    assert found(n, rgb).any(axis=0).tolist() == [False, False, True, True, False, False]
    assert not found(n, rgb, limit=17).any()


def test_it_is_what_looking_at_all_eight_neighbours_says() -> None:
    n, rgb = picture()
    expected = np.zeros(n.shape, bool)
    for y in range(40):
        for x in range(50):
            for v in range(max(y - 1, 0), min(y + 2, 40)):
                for u in range(max(x - 1, 0), min(x + 2, 50)):
                    if min(n[y, x], n[v, u]) >= -1:
                        expected[y, x] |= bool(np.abs(rgb[y, x].astype(int) - rgb[v, u]).max() > 45)
    assert 0.1 < expected.mean() < 0.9
    np.testing.assert_array_equal(found(n, rgb, limit=45), expected)


def test_tiles_with_a_border_say_what_the_frame_says() -> None:
    n, rgb = picture(2)
    whole = found(n, rgb, limit=45)
    for y in range(0, 40, 16):
        for x in range(0, 50, 16):
            top, left = max(y - 1, 0), max(x - 1, 0)
            part = np.s_[top : y + 17, left : x + 17]
            inner = np.s_[y - top :, x - left :]
            tile = found(n[part], rgb[part], limit=45)[inner][:16, :16]
            np.testing.assert_array_equal(tile, whole[y : y + 16, x : x + 16])


def test_what_is_not_computed_makes_no_edge() -> None:
    n, rgb = np.array([[-2, 5, -3, -1]], np.int32), np.zeros((1, 4, 3), np.uint8)
    rgb[0, ::2] = 255
    assert not found(n, rgb).any()


def test_where_the_set_may_lie_within_the_pixel_is_an_edge_too() -> None:
    n, rgb = np.array([[5, 5, -1, -2]], np.int32), np.zeros((1, 4, 3), np.uint8)
    far = np.array([[0.4e-9j, 0.6e-9, 0.0, 0.0]], np.complex64)
    assert found(n, rgb, far=far, spacing=1e-9).tolist() == [[True, False, False, False]]


def test_shapes_that_do_not_fit_are_refused() -> None:
    n, rgb = picture()
    with pytest.raises(ValueError, match="shapes do not fit"):
        edges(n, rgb[1:], 16, np.empty(n.shape, bool))
    with pytest.raises(ValueError, match="shapes do not fit"):
        edges(n, rgb, 16, np.empty(n.shape, bool), far=np.zeros((1, 1), np.complex64))
