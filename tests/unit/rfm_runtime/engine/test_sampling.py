"""Samples of pixels at edges: where they are taken, that they are the moved frame's, and that tiles do not matter."""

from __future__ import annotations

from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

from rfm_kernels.samples import offsets
from rfm_runtime.core.tiles.order import grid_of, rect
from rfm_runtime.engine import image
from rfm_runtime.engine.frames import NOT_SAMPLED, PENDING, Frame, FrameInfo, create, recover
from rfm_runtime.engine.renderer import Renderer
from rfm_runtime.engine.sampling import BASE, EXPECTED, PIXELS, Sampler, share_done
from rfm_runtime.render.plan import plan
from rfm_runtime.render.request import RenderRequest, validate

pytestmark = pytest.mark.scenario("J38")

SEAHORSE = {"re": "-0.7452", "im": "0.113", "width": "0.0075", "max_iter": 300, "width_px": 150, "height_px": 90}
LOOKS = ({}, {"slopes": 1.0}, {"colouring": "distance"}, {"colouring": "histogram"}, {"colouring": "field_lines"})


def rendered(folder: Path, request: RenderRequest) -> Frame:
    """As a worker does it, tile by tile, in an order of its own."""
    grid, derivative = grid_of(request), request.needs_derivative
    info = FrameInfo(operation_id="op", params="", grid=grid, derivative=derivative, samples=request.samples)
    create(folder, info)
    frame = Frame(folder, grid, derivative=derivative, samples=request.samples)
    first = Renderer(plan(request), derivative=derivative)
    sampler = Sampler(request, first)
    control, counters = np.zeros(1, np.int64), np.zeros(8, np.int64)
    for index in reversed(range(grid.columns * grid.rows)):
        x, y, width, height = place = rect(grid, index)
        n, nf = frame.tile(*place)
        counters[:] = 0
        assert first.compute(n, nf, x, y, control=control, counters=counters, **frame.more(*place)) == 0
        assert sampler.compute(frame, place, control, counters) == 0
        assert share_done(counters, width * height, request.samples) == width * height
        frame.commit(index, 1)
    return frame


def plain(folder: Path, request: RenderRequest) -> Frame:
    """One sample of every pixel."""
    grid = grid_of(request)
    create(folder, FrameInfo(operation_id="op", params="", grid=grid))
    frame = Frame(folder, grid)
    Renderer(plan(request)).compute(frame.n, frame.nf, 0, 0)
    return frame


def pixels_of(path: Path) -> np.ndarray:
    with Image.open(path) as picture:
        return np.asarray(picture.convert("RGB"), np.float64)


@pytest.mark.parametrize("look", LOOKS, ids=lambda look: next(iter(look), "smooth"))
def test_samples_are_those_of_the_moved_frame_whatever_the_tiles(tmp_path: Path, look: dict[str, object]) -> None:
    request = validate({**SEAHORSE, **look, "samples": 4, "tile_px": 32})
    frame = rendered(tmp_path / "a", request)
    other = rendered(tmp_path / "b", validate({**SEAHORSE, **look, "samples": 4, "tile_px": 128}))
    for planes, others in ((frame.planes, other.planes), (frame.more_planes, other.more_planes)):
        assert planes.keys() == others.keys()
        for name, plane in planes.items():
            np.testing.assert_array_equal(plane, others[name], err_msg=name)
    more = frame.more_planes["n"]
    taken = more != NOT_SAMPLED
    assert not (more == PENDING).any()
    # All samples of a pixel or none, of some pixels and not of others.
    assert (taken == taken[0]).all()
    assert 0.02 < taken[0].mean() < 0.98
    for number, (right, down) in enumerate(offsets(4)[1:]):
        moved = Renderer(plan(request, (Fraction(float(right)), Fraction(float(down)))))
        n, nf = np.full(frame.n.shape, PENDING, np.int32), np.zeros(frame.n.shape, np.float32)
        moved.compute(n, nf, 0, 0)
        np.testing.assert_array_equal(more[number][taken[0]], n[taken[0]])
    frame.close()
    other.close()


def test_a_stopped_tile_goes_on_where_it_was_and_is_the_same(tmp_path: Path) -> None:
    request = validate({**SEAHORSE, "samples": 3, "tile_px": 256, "max_iter": 3000})
    whole = rendered(tmp_path / "a", request)
    info = FrameInfo(operation_id="op", params="", grid=grid_of(request), samples=3)
    create(tmp_path / "b", info)
    frame = Frame(tmp_path / "b", info.grid, samples=3)
    first = Renderer(plan(request))
    sampler = Sampler(request, first)
    place = rect(info.grid, 0)
    n, nf = frame.tile(*place)
    control, counters = np.zeros(1, np.int64), np.zeros(8, np.int64)
    first.compute(n, nf, 0, 0)
    control[0] = 1
    assert sampler.compute(frame, place, control, counters) == 1
    # Some samples are there, as after a stop in the midst of them.
    frame.more_planes["n"][0, :40] = whole.more_planes["n"][0, :40]
    frame.more_planes["nf"][0, :40] = whole.more_planes["nf"][0, :40]
    control[0] = 0
    assert sampler.compute(frame, place, control, counters) == 0
    for name, plane in whole.more_planes.items():
        np.testing.assert_array_equal(frame.more_planes[name], plane, err_msg=name)
    whole.close()
    frame.close()


def test_what_is_recovered_counts_all_samples_and_a_changed_one_is_damage(tmp_path: Path) -> None:
    request = validate({**SEAHORSE, "samples": 3, "tile_px": 32})
    frame = rendered(tmp_path / "a", request)
    n, more = frame.n.astype(np.int64), frame.more_planes["n"].astype(np.int64)
    nominal = np.where(n < 0, 300, n).sum() + np.where(more == -1, 300, np.maximum(more, 0)).sum()
    tiles = frame.grid.columns * frame.grid.rows
    frame.close()
    info = FrameInfo(operation_id="op", params="", grid=grid_of(request), samples=3)
    recovered = recover(tmp_path / "a", info, 300)
    assert recovered is not None
    assert (len(recovered.tiles), recovered.iterations, recovered.damaged) == (tiles, nominal, ())
    plane = np.load(tmp_path / "a" / "more_n.npy", mmap_mode="r+")
    plane[1, 5, 5] += 7
    plane.flush()
    recovered = recover(tmp_path / "a", info, 300)
    assert recovered is not None
    assert (len(recovered.tiles), recovered.damaged) == (tiles - 1, (0,))


def test_edges_become_what_many_samples_of_every_pixel_make_of_them(tmp_path: Path) -> None:
    small = {**SEAHORSE, "palette": "#000000,#ffffff", "density": 1.0}
    pictures = {}
    for samples in (1, 8):
        request = validate({**small, "samples": samples})
        frame = rendered(tmp_path / str(samples), request) if samples > 1 else plain(tmp_path / "1", request)
        image.finish(frame, request, bool)
        pictures[samples] = pixels_of(frame.folder / "image.png")
        frame.close()
    # The truth: 9 × 9 samples of every pixel, averaged in linear light.
    request = validate({**small, "width_px": 9 * 150, "height_px": 9 * 90})
    frame = plain(tmp_path / "fine", request)
    image.finish(frame, request, bool)
    fine = pixels_of(frame.folder / "image.png") / 255
    light = np.where(fine <= 0.04045, fine / 12.92, ((fine + 0.055) / 1.055) ** 2.4)
    frame.close()
    mean = light.reshape(90, 9, 150, 9, 3).mean(axis=(1, 3))
    truth = 255 * np.where(mean <= 0.0031308, 12.92 * mean, 1.055 * mean ** (1 / 2.4) - 0.055)
    errors = {samples: np.sqrt(((picture - truth) ** 2).mean()) for samples, picture in pictures.items()}
    assert errors[8] < 0.45 * errors[1]


@given(area=st.integers(1, 512 * 512), samples=st.integers(2, 8), data=st.data())
def test_a_tiles_share_grows_from_nothing_to_all_of_it(area: int, samples: int, data: st.DataObject) -> None:
    counters = np.zeros(8, np.int64)
    base = data.draw(st.integers(0, area))
    needed = data.draw(st.integers(0, area * (samples - 1)))
    seen = []
    for pixels in [*sorted(data.draw(st.lists(st.integers(0, base), max_size=5))), base]:
        counters[PIXELS] = pixels
        seen.append(share_done(counters, area, samples))
    counters[BASE], counters[EXPECTED] = base, 1 + needed
    for pixels in [*sorted(data.draw(st.lists(st.integers(0, needed), max_size=5))), needed]:
        counters[PIXELS] = base + pixels
        seen.append(share_done(counters, area, samples))
    assert seen == sorted(seen)
    assert seen[0] >= 0
    assert seen[-1] == area
