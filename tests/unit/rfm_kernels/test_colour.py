"""Colouring: determinism, the palette's ends and seam, light, samples, pixels without a count."""

from __future__ import annotations

import cmath
import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rfm_kernels.colour import (
    DISTANCE,
    FIELD_LINES,
    HISTOGRAM,
    NOT_SAMPLED,
    PENDING_RGB,
    SMOOTH,
    TALLY_BINS,
    colour,
    ranks,
    tally,
)
from rfm_kernels.gradient import CLAMP, FINE_STEPS, STEPS, light_of, table
from rfm_runtime.render.palettes import palette

pytestmark = pytest.mark.scenario("J6")

RAMP = np.repeat(np.arange(256, dtype=np.uint8)[:, None], 3, axis=1)
GREY = np.full((2, 3), 100, np.uint8)
MODES = (SMOOTH, DISTANCE, HISTOGRAM, FIELD_LINES)
FLAT = (1.0, 135.0, 45.0, 0.0)


def coloured(n, nf=None, density=1.0, offset=0.0, lut=RAMP, bits=8, **more):
    """A row of pixels; z and far as lists too."""
    counts = np.array([n], np.int32)
    fractions = np.zeros(counts.shape, np.float32) if nf is None else np.array([nf], np.float32)
    more |= {name: np.array([more[name]], np.complex64) for name in ("z", "far") if name in more}
    steps = table(lut, end=CLAMP, steps=STEPS) if more.get("clamp") else table(lut, steps=more.pop("steps", STEPS))
    out = np.empty((1, len(n), 3), np.uint8 if bits == 8 else np.uint16)
    colour(counts, fractions, steps, (1, 2, 3), density, offset, out, **more)
    return out[0]


class Raw:
    """A frame of every kind of pixel; all that any look takes."""

    def __init__(self, seed: int, h: int = 3, w: int = 600, samples: int = 1) -> None:
        rng = np.random.default_rng(seed)
        shape = (samples, h, w)
        self.n = rng.integers(-3, 5000, shape).astype(np.int32)
        self.n[:, 0, :40] = rng.integers(-3, 3, (samples, 40))
        self.n[1:][rng.random((samples - 1, h, w)) < 0.7] = NOT_SAMPLED
        self.nf = rng.random(shape, np.float32)
        angles = np.exp(2j * np.pi * rng.random(shape))
        self.z = (angles * 1000.0 ** (1 + rng.random(shape))).astype(np.complex64)
        self.far = (angles * 10.0 ** rng.uniform(-30, 3, shape)).astype(np.complex64)
        self.far[0, 0, :4] = [0.0, np.inf, np.nan, 1e-44]
        bins = np.zeros(TALLY_BINS, np.int64)
        tally(self.n[0], self.nf[0], bins)
        self.share = ranks(bins)

    def coloured(self, where=np.s_[:], bits: int = 8, **more):
        part = (slice(None), slice(None), where)
        n, dither = self.n[part], more.get("dither", False)
        out = np.empty((*n.shape[1:], 3), np.uint8 if bits == 8 else np.uint16)
        steps = table(RAMP, steps=FINE_STEPS if dither or bits == 16 else STEPS)
        colour(
            n, self.nf[part], steps, (9, 8, 7), 0.4, 0.35, out,
            z=self.z[part], far=self.far[part], share=self.share, px0=where.start or 0, **more,
        )  # fmt: skip
        return out


def test_points_inside_and_pending_ones_have_their_own_colours() -> None:
    assert coloured([-1, -2, -3]).tolist() == [[1, 2, 3], [PENDING_RGB] * 3, [PENDING_RGB] * 3]
    assert coloured([-1, -2], bits=16).tolist() == [[257, 514, 771], [PENDING_RGB * 257] * 3]


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


@pytest.mark.parametrize(
    ("name", "expected"),
    [
        ("viridis", "43be713c508b481769bedf26471164470f62c7e020450559070809262626"),
        ("turbo", "fea6322cb7f03f3f9ec224033c32863a2e7bba1f02341c53070809262626"),
    ],
)
def test_pictures_of_before_keep_their_bytes(name: str, expected: str) -> None:
    n, nf = [0, 1, 2, 5, 17, 100, 1234, 99999, -1, -2], [0, 0.5, 0.25, 0.75, 0.125, 0.9, 0.3, 0.6, 0, 0]
    out = np.empty((1, 10, 3), np.uint8)
    steps = table(np.frombuffer(palette(name), np.uint8).reshape(-1, 3))
    colour(np.array([n], np.int32), np.array([nf], np.float32), steps, (7, 8, 9), 0.4, 0.35, out)
    assert out.tobytes().hex() == expected


def test_without_mirror_the_ends_hold() -> None:
    greys = [coloured([0], offset=at, clamp=True)[0, 0] for at in (-5, 0, 0.5, 1, 40)]
    assert greys == [0, 0, 128, 255, 255]


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("more", [{}, {"light": FLAT}, {"dither": True}, {"bits": 16, "light": FLAT}])
@pytest.mark.parametrize("samples", [1, 3])
def test_the_colour_of_a_tile_is_that_of_the_frame(mode: int, more, samples: int) -> None:
    raw = Raw(1, samples=samples)
    whole = raw.coloured(mode=mode, **more)
    tiled = [raw.coloured(np.s_[x : min(x + 77, 600)], mode=mode, **more) for x in range(0, 600, 77)]
    np.testing.assert_array_equal(whole, np.concatenate(tiled, axis=1))


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 2**32), st.sampled_from(MODES), st.floats(-10, 10), st.floats(10, 90), st.floats(0, 1))
def test_whatever_the_light_pixels_without_a_count_stay_what_they_are(seed, mode, slope, elevation, shine) -> None:
    raw = Raw(seed, h=1, w=80)
    plain, lit = raw.coloured(mode=mode), raw.coloured(mode=mode, light=(slope, 30.0, elevation, shine))
    without = raw.n[0] < 0
    np.testing.assert_array_equal(lit[without], plain[without])
    flat = raw.coloured(mode=mode, light=(0.0, 30.0, elevation, 0.0))
    assert np.abs(flat.astype(int) - plain).max() <= 1


@pytest.mark.parametrize("slope", [0.3, 1.0, -1.0])
def test_light_depends_on_the_angle_to_the_lamp_alone(slope: float) -> None:
    angles = np.linspace(0, 2 * np.pi, 16, endpoint=False)
    greys = []
    for turn in range(0, 360, 45):
        far = np.exp(1j * (angles + math.radians(turn))) * 10.0**-20
        greys.append(coloured([5] * 16, lut=GREY, far=far.tolist(), light=(slope, turn, 40.0, 0.4)).astype(int))
        # The same on both sides of the lamp.
        assert np.abs(greys[-1][1:] - greys[-1][:0:-1]).max() <= 1
    assert np.abs(np.array(greys) - greys[0]).max() <= 1
    towards, away = greys[0][0, 0], greys[0][8, 0]
    assert (towards > away) == (slope > 0)


def test_a_turned_and_stretched_view_has_its_light_where_the_picture_has_it() -> None:
    # Ground that falls to the right in the picture, whatever the view: a gradient goes over by the inverse transpose.
    for right, down in ((1 + 0j, -1j), (1j, 1 + 0j), (cmath.exp(0.7j), -3j * cmath.exp(0.7j)), (1e-300, -1e-300j)):
        matrix = np.array([[right.real, down.real], [right.imag, down.imag]])
        gradient = np.linalg.solve(matrix.T / np.abs(matrix).max(), [1.0, 0.0])
        axes = tuple(matrix.ravel().tolist())
        far = [complex(*gradient)]
        lit = coloured([5], lut=GREY, far=far, axes=axes, light=(1.0, 0.0, 45.0, 0.0))
        assert lit.tolist() == coloured([5], lut=GREY, far=[1.0], light=(1.0, 0.0, 45.0, 0.0)).tolist()


def test_light_is_lamberts_in_linear_light() -> None:
    # Upright to the lamp, and level: √2 of what falls on level ground, less what comes from everywhere.
    facing, level = coloured([5, 5], lut=GREY, far=[1.0, 0.0], light=(1.0, 0.0, 45.0, 0.0))[:, 0]
    assert level == 100
    light = light_of(np.array([facing, 100]) / 255)
    assert light[0] / light[1] == pytest.approx(0.2 + 0.8 * math.sqrt(2), rel=0.02)


def test_distance_and_its_limits() -> None:
    far = [3e-5, 7e-5j, 15e-5, 0.0, math.inf, math.nan]
    greys = coloured([9] * 6, offset=0.25, far=far, mode=DISTANCE, unit=1e-5)[:, 0].astype(int)
    assert np.abs(greys[:4] - 128).max() <= 1
    assert greys[4] == greys[5]


def test_a_histogram_shares_the_palette_out() -> None:
    rng = np.random.default_rng(1)
    n = (10.0 ** rng.uniform(0, 6, (50, 60))).astype(np.int32)
    n[0] = -1
    nf = rng.random((50, 60), np.float32)
    bins = np.zeros(TALLY_BINS, np.int64)
    for part in (np.s_[:7], np.s_[7:]):
        tally(n[part], nf[part], bins)
    assert bins.sum() == 49 * 60
    out = np.empty((50, 60, 3), np.uint8)
    colour(n, nf, table(RAMP), (0, 0, 0), 0.5, 0.0, out, mode=HISTOGRAM, share=ranks(bins))
    shares = np.histogram(out[1:, :, 0], bins=8, range=(0, 256))[0] / (49 * 60)
    assert np.abs(shares - 1 / 8).max() < 0.01
    assert ranks(np.zeros(TALLY_BINS, np.int64)).max() == 0.0


@pytest.mark.parametrize("degree", [2, 3, 5])
def test_field_lines_go_on_from_a_band_into_the_next(degree: int) -> None:
    # Just outside a point escapes with R at count 10, just inside with Rᵈ at count 11, its angle multiplied.
    for turn in np.linspace(0, 1, 13):
        z = cmath.exp(2j * math.pi * turn)
        left, right = coloured(
            [10, 11], [1.0, 0.0], density=0.3, z=[1e3 * z, 1e6 * z**degree], mode=FIELD_LINES, degree=degree
        )[:, 0].astype(int)
        assert abs(left - right) <= 1


def test_a_pixel_is_the_mean_of_its_samples_in_linear_light() -> None:
    lut = np.array([[0, 0, 0], [255, 255, 255]], np.uint8)
    # At counts 0 and 1: black, and half a run further white.
    n = np.array([[[0, 0, 1, -1, -2, -1]], [[1, NOT_SAMPLED, -2, -1, 1, NOT_SAMPLED]]], np.int32)
    out = np.empty((1, 6, 3), np.uint8)
    colour(n, np.zeros(n.shape, np.float32), table(lut), (10, 20, 30), 0.5, 0.0, out)
    half = 188  # of the light, as sRGB
    assert out[0].tolist() == [[half] * 3, [0] * 3, [255] * 3, [10, 20, 30], [PENDING_RGB] * 3, [10, 20, 30]]


@pytest.mark.parametrize("light", [None, FLAT])
def test_samples_that_are_not_there_change_nothing(light) -> None:
    raw, single = Raw(2, samples=4), Raw(2, samples=4)
    single.n, single.nf, single.z, single.far = (plane[:1] for plane in (raw.n, raw.nf, raw.z, raw.far))
    raw.n[1:] = NOT_SAMPLED
    np.testing.assert_array_equal(raw.coloured(light=light), single.coloured(light=light))


def test_the_order_of_samples_is_no_matter_but_to_the_last_bit() -> None:
    raw = Raw(3, samples=5)
    raw.n[:] = np.abs(raw.n)
    once = raw.coloured()
    for name in ("n", "nf", "z", "far"):
        setattr(raw, name, getattr(raw, name)[::-1])
    assert np.abs(once.astype(int) - raw.coloured()).max() <= 1


def test_16_bits_are_the_8_and_what_is_between() -> None:
    raw = Raw(4)
    fine = raw.coloured(bits=16)
    assert np.abs(fine / 257 - raw.coloured()).max() < 1.0
    assert len(np.unique(fine)) > 1000


def test_dither_keeps_the_mean_and_leaves_even_areas_alone() -> None:
    lut = np.array([[100, 50, 0], [101, 50, 255]], np.uint8)
    n = [0] * 4000
    for at, mean in ((0.125, 100.25), (0.25, 100.5), (0.4, 100.8)):
        row = coloured(n, offset=at, lut=lut, steps=FINE_STEPS, dither=True)
        assert row[:, 0].mean() == pytest.approx(mean, abs=0.02)
        assert set(row[:, 0].tolist()) == {100, 101}
        assert set(row[:, 1].tolist()) == {50}
    assert set(coloured([-1] * 4000, dither=True)[:, 0].tolist()) == {1}


def test_planes_that_may_only_be_read_do() -> None:
    raw, once = Raw(5, samples=2), Raw(5, samples=2).coloured(light=FLAT)
    for plane in (raw.n, raw.nf, raw.z, raw.far):
        plane.flags.writeable = False
    np.testing.assert_array_equal(raw.coloured(light=FLAT), once)
    tally(raw.n[0], raw.nf[0], np.zeros(TALLY_BINS, np.int64))


def test_what_does_not_fit_is_refused() -> None:
    n, nf, out = np.zeros((2, 2), np.int32), np.zeros((2, 2), np.float32), np.empty((2, 2, 3), np.uint8)
    with pytest.raises(ValueError, match="shapes do not fit"):
        colour(n, nf, table(RAMP), (0, 0, 0), 1, 0, np.empty((2, 3, 3), np.uint8))
    for more in ({"mode": DISTANCE}, {"mode": FIELD_LINES}, {"light": FLAT}):
        with pytest.raises(ValueError, match="shapes do not fit"):
            colour(n, nf, table(RAMP), (0, 0, 0), 1, 0, out, **more)
    with pytest.raises(ValueError, match="ranks of the whole frame"):
        colour(n, nf, table(RAMP), (0, 0, 0), 1, 0, out, mode=HISTOGRAM)
