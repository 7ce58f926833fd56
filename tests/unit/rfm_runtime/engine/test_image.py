"""The last phase of a render: what the request says of colours is what is in the picture."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from rfm_kernels.gradient import STEPS
from rfm_runtime.core.tiles.order import rect
from rfm_runtime.engine import image, painter
from rfm_runtime.engine.frames import HOLE, Frame, FrameInfo, Interrupted, create
from rfm_runtime.engine.png import PngWriter
from rfm_runtime.protocol.operation import TileGrid
from rfm_runtime.render.colouring import COLOURINGS, ENDS
from rfm_runtime.render.image_metadata import from_text
from rfm_runtime.render.request import RenderRequest, validate

pytestmark = pytest.mark.scenario("J6")

GRID = TileGrid(width_px=60, height_px=40, tile_px=20, columns=3, rows=2)
VIEW = {"re": "-0.75", "im": "0", "width": "3", "width_px": 60, "height_px": 40}


@pytest.fixture
def frame(tmp_path: Path):
    folder = tmp_path / "op-1"
    create(folder, FrameInfo(operation_id="op", params="digest", grid=GRID, derivative=True))
    made = Frame(folder, GRID, derivative=True)
    rng = np.random.default_rng(1)
    made.n[:] = rng.integers(-1, 900, made.n.shape)
    made.nf[:] = rng.random(made.nf.shape, np.float32)
    for name, size in (("z", 1e4), ("far", 1.0)):
        plane = size * rng.random(made.n.shape) * np.exp(2j * np.pi * rng.random(made.n.shape))
        made.planes[name][:] = plane.astype(np.complex64)
    for index in range(6):
        made.commit(index, attempt=1)
    yield made
    made.close()


def finished(frame: Frame, request: RenderRequest) -> np.ndarray:
    image.finish(frame, request, lambda: False)
    with Image.open(frame.folder / "image.png") as picture:
        picture.load()
        assert from_text(picture.text) == request
        return np.asarray(picture.convert("RGB"))


@pytest.mark.parametrize("colouring", COLOURINGS)
@pytest.mark.parametrize("slopes", [0.0, 1.0])
def test_all_colourings_in_any_strips(frame: Frame, colouring: str, slopes: float, monkeypatch) -> None:
    pictures = []
    for strip in (7 * 60, image.STRIP_PX):
        monkeypatch.setattr(image, "STRIP_PX", strip)
        for dither in (False, True):
            trap = {"trap": "cross"} if colouring == "orbit_trap" else {}
            request = validate({**VIEW, "colouring": colouring, "slopes": slopes, "dither": dither, **trap})
            pictures.append(finished(frame, request))
    plain, dithered, whole, whole_dithered = pictures
    np.testing.assert_array_equal(plain, whole)
    np.testing.assert_array_equal(dithered, whole_dithered)
    assert 0.0 < np.abs(plain.astype(int) - dithered).mean() < 1.5
    assert len(np.unique(plain.reshape(-1, 3), axis=0)) > 100


@pytest.mark.parametrize("threads", [2, 5])
def test_several_threads_write_the_same_file(frame: Frame, threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(image, "STRIP_PX", 3 * 60)
    request = validate({**VIEW, "slopes": 1.0})
    files = []
    for count in (1, threads):
        file = io.BytesIO()
        picture = PngWriter(file, 60, 40, {})
        image.paint(frame, request, picture, bool, threads=count)
        picture.end()
        files.append(file.getvalue())
    assert files[0] == files[1]
    with pytest.raises(Interrupted):
        image.paint(frame, request, PngWriter(io.BytesIO(), 60, 40, {}), lambda: True, threads=threads)


def test_every_choice_shows(frame: Frame) -> None:
    looks: list[dict[str, object]] = [{"colouring": colouring} for colouring in COLOURINGS if colouring != "orbit_trap"]
    looks += [{"cyclic": cyclic} for cyclic in ENDS[1:]] + [{"colouring": "orbit_trap", "trap": "point"}]
    looks += [{"slopes": 1.0}, {"slopes": 1.0, "light_azimuth_deg": 10.0}, {"slopes": 1.0, "light_elevation_deg": 20.0}]
    looks += [{"slopes": 1.0, "shine": 1.0}, {"palette": "#000000,#ff8000"}, {"palette": "#000000@0.5,#ff8000@0.6"}]
    looks += [{"interior": "#010203"}, {"slopes": 1.0, "rotation_deg": 30.0}]
    assert len({finished(frame, validate(VIEW | look)).tobytes() for look in looks}) == len(looks)


def test_16_bits_are_the_8_and_more(frame: Frame) -> None:
    coarse, fine = (finished(frame, validate({**VIEW, "bits": bits})).astype(int) for bits in (8, 16))
    # Pillow cuts where 8 bits are rounded.
    assert np.abs(coarse - fine).max() <= 1
    assert (
        painter.table_of(validate({**VIEW, "bits": 16})).shape[0] > painter.table_of(validate(VIEW)).shape[0] == STEPS
    )


@pytest.mark.parametrize("bits", [8, 16])
def test_holes_are_chequers(frame: Frame, bits: int) -> None:
    x, y, width, height = rect(GRID, 1)
    frame.n[y : y + height, x : x + width] = HOLE
    frame.commit(1, attempt=2, holes=True)
    picture = finished_with_holes(frame, validate({**VIEW, "bits": bits}))
    assert {tuple(rgb) for rgb in picture[y : y + height, x : x + width].reshape(-1, 3)} == set(image.HOLE_RGB)


def finished_with_holes(frame: Frame, request: RenderRequest) -> np.ndarray:
    files = [artifact.name for artifact in image.finish(frame, request, lambda: False)]
    assert files == ["image.png", "n.npy", "nf.npy", "z.npy", "far.npy", "holes.json"]
    return np.asarray(Image.open(frame.folder / "image.png").convert("RGB"))


@pytest.mark.parametrize("colouring", ["smooth", "histogram"])
def test_it_stops_between_strips_and_leaves_nothing(frame: Frame, colouring: str) -> None:
    with pytest.raises(Interrupted):
        image.finish(frame, validate({**VIEW, "colouring": colouring}), lambda: True)
    assert not list(frame.folder.glob("image.png*"))
