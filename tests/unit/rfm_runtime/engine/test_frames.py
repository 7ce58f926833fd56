"""Frames on disk: whole or not there, what is finished is found again, and nothing is thrown away by mistake."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from rfm_runtime.core.tiles.order import PREVIEW_STEP, rect
from rfm_runtime.engine.frames import (
    COSTS,
    PENDING,
    WRITE_BYTES,
    Frame,
    FrameInfo,
    Interrupted,
    Recovered,
    create,
    flush,
    recover,
    rectangles,
)
from rfm_runtime.protocol.operation import TileGrid

MAX_ITER = 1000
GRID = TileGrid(width_px=50, height_px=30, tile_px=16, columns=4, rows=2)
INFO = FrameInfo(operation_id="op", params="digest", grid=GRID)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "op-1"
    create(folder, INFO)
    return folder


def compute(folder: Path, *tiles: int) -> int:
    """Fill and commit tiles; their nominal iterations."""
    frame = Frame(folder, GRID)
    iterations = 0
    for index in tiles:
        n, nf = frame.tile(*rect(GRID, index))
        n[:] = np.arange(n.size).reshape(n.shape) % 900
        n[0, 0] = -1
        nf[:] = 0.5
        iterations += int(n[n >= 0].sum()) + MAX_ITER
        frame.commit(index, attempt=1)
    frame.close()
    return iterations


def test_a_new_frame_is_pending_everywhere_and_nothing_else_is_there(folder: Path) -> None:
    frame = Frame(folder, GRID)
    assert (frame.n == PENDING).all()
    assert frame.n.shape == frame.nf.shape == (30, 50)
    frame.close()
    assert sorted(path.name for path in folder.iterdir()) == ["commits.bin", "frame.json", "n.npy", "nf.npy"]
    assert [path.name for path in folder.parent.iterdir()] == ["op-1"]


@pytest.mark.parametrize("height_px", [511, 512, 513, 1300])
def test_a_plane_of_many_writes_is_whole(tmp_path: Path, height_px: int) -> None:
    width_px = WRITE_BYTES // 4 // 512
    grid = TileGrid(width_px=width_px, height_px=height_px, tile_px=512, columns=2, rows=-(-height_px // 512))
    create(tmp_path / "op-1", FrameInfo(operation_id="op", params="digest", grid=grid))
    frame = Frame(tmp_path / "op-1", grid)
    assert frame.n.shape == (height_px, width_px)
    assert (frame.n == PENDING).all()
    assert (frame.nf == 0.0).all()
    frame.close()
    size = (tmp_path / "op-1" / "n.npy").stat().st_size
    assert size == 128 + 4 * width_px * height_px


def test_committed_tiles_are_found_again_with_the_iterations_in_them(folder: Path) -> None:
    iterations = compute(folder, 0, 5, 7)
    flush(folder)
    assert recover(folder, INFO, MAX_ITER) == Recovered((0, 5, 7), iterations)


def test_what_the_preview_said_of_each_tile_is_known_however_often_it_is_interrupted(folder: Path) -> None:
    """The first look at what is left resets the pixels that said it."""
    frame = Frame(folder, GRID)
    assert frame.costs(500) == ()
    frame.n[::PREVIEW_STEP, ::PREVIEW_STEP] = 40
    frame.n[0, 0] = -1
    said = frame.costs(500)
    (folder / COSTS).unlink()
    frame.close()
    _, _, width, height = rect(GRID, 7)
    assert said[7] == 40 * width * height
    assert said[0] > said[1]
    compute(folder, 5)
    for _ in range(3):
        found = recover(folder, INFO, MAX_ITER, inside=500)
        assert found is not None
        assert found.tiles == (5,)
        assert [cost for index, cost in enumerate(found.costs) if index != 5] == [
            cost for index, cost in enumerate(said) if index != 5
        ]
    (folder / COSTS).write_bytes(b"[1.0")
    found = recover(folder, INFO, MAX_ITER, inside=500)
    assert found is not None
    assert (found.tiles, found.costs) == ((5,), ())


def test_a_tile_that_does_not_fit_its_record_is_reset(folder: Path) -> None:
    compute(folder, 2, 3)
    frame = Frame(folder, GRID)
    x, y, _, _ = rect(GRID, 3)
    frame.n[y, x + 1] += 1
    frame.close()
    recovered = recover(folder, INFO, MAX_ITER)
    assert recovered is not None
    assert recovered.tiles == (2,)
    frame = Frame(folder, GRID)
    assert (frame.tile(*rect(GRID, 3))[0] == PENDING).all()
    frame.close()


def test_another_picture_and_no_frame_at_all_are_none(folder: Path, tmp_path: Path) -> None:
    other = FrameInfo(operation_id="op", params="other", grid=GRID)
    assert recover(folder, other, MAX_ITER) is None
    assert recover(tmp_path / "nowhere", INFO, MAX_ITER) is None


@pytest.mark.parametrize("name", ["frame.json", "n.npy", "nf.npy", "commits.bin"])
@pytest.mark.parametrize("damage", ["empty", "garbage", "missing"])
def test_a_damaged_frame_is_none_or_has_no_tiles(folder: Path, name: str, damage: str) -> None:
    compute(folder, 1)
    if damage == "missing":
        (folder / name).unlink()
    else:
        (folder / name).write_bytes(b"" if damage == "empty" else b"no such thing" * 5)
    recovered = recover(folder, INFO, MAX_ITER)
    assert recovered is None or recovered.tiles == ()


def test_a_frame_that_cannot_be_opened_now_is_no_missing_frame(folder: Path) -> None:
    compute(folder, 1)
    (folder / "n.npy").rename(folder / "kept")
    (folder / "n.npy").symlink_to("n.npy")
    with pytest.raises(OSError, match="symbolic links"):
        recover(folder, INFO, MAX_ITER)


def test_making_and_checking_a_frame_can_be_stopped_and_leaves_nothing_half_made(tmp_path: Path) -> None:
    folder = tmp_path / "op-1"
    for calls in (0, 1):
        counted = itertools.count()
        with pytest.raises(Interrupted):
            create(folder, INFO, lambda counted=counted, calls=calls: next(counted) >= calls)
        assert list(tmp_path.iterdir()) == []
    create(folder, INFO)
    compute(folder, 0, 1)
    with pytest.raises(Interrupted):
        recover(folder, INFO, MAX_ITER, lambda: True)
    recovered = recover(folder, INFO, MAX_ITER)
    assert recovered is not None
    assert recovered.tiles == (0, 1)


@pytest.mark.scenario("C5")
def test_a_mask_is_taken_apart_into_rectangles_that_cover_it_once():
    random = np.random.default_rng(2)
    for share in (0.0, 0.1, 0.5, 0.9, 1.0):
        mask = random.random((17, 23)) < share
        covered = np.zeros(mask.shape, int)
        for x, y, width, height in rectangles(mask):
            covered[y : y + height, x : x + width] += 1
        assert (covered == mask).all()
    assert rectangles(np.ones((4, 9), bool)) == [(0, 0, 9, 4)]


@pytest.mark.scenario("C5")
def test_holes_are_found_again_by_the_next_claim_and_no_iterations_are_counted_in_them(tmp_path):
    folder = tmp_path / "op-x"
    grid = TileGrid(width_px=40, height_px=20, tile_px=20, columns=2, rows=1)
    info = FrameInfo(operation_id="x", params="p", grid=grid)
    create(folder, info)
    frame = Frame(folder, grid)
    frame.n[:] = 5
    frame.leave_out([(24, 8, 8, 8)])
    frame.commit(0, 1)
    frame.commit(1, 1, holes=True)
    assert frame.holes() == ((24, 8, 8, 8),)
    frame.close()
    found = recover(folder, info, 1000)
    assert (found.tiles, found.holes, found.damaged) == ((0, 1), ((24, 8, 8, 8),), ())
    assert found.iterations == 5 * (40 * 20 - 64)


@pytest.mark.scenario("C11")
def test_a_tile_whose_pixels_changed_while_nobody_looked_is_computed_again(tmp_path):
    folder = tmp_path / "op-x"
    grid = TileGrid(width_px=40, height_px=20, tile_px=20, columns=2, rows=1)
    info = FrameInfo(operation_id="x", params="p", grid=grid)
    create(folder, info)
    frame = Frame(folder, grid)
    frame.n[:] = 5
    frame.commit(0, 1)
    frame.commit(1, 1)
    frame.nf[19, 39] = 0.5
    frame.close()
    found = recover(folder, info, 1000)
    assert (found.tiles, found.damaged) == ((0,), (1,))


def mapped_kb(folder: Path) -> dict[str, int]:
    """Pages of a folder's files that are mapped in this process, in KiB by file."""
    found: dict[str, int] = {}
    name = ""
    for line in Path("/proc/self/smaps").read_text(encoding="utf-8").splitlines():
        if str(folder) in line:
            name = line.rpartition("/")[2]
        elif name and line.startswith("Rss:"):
            found[name] = int(line.split()[1])
            name = ""
    return found


def test_touching_maps_all_planes_and_closing_unmaps_them(tmp_path: Path) -> None:
    grid = TileGrid(width_px=512, height_px=512, tile_px=256, columns=2, rows=2)
    folder = tmp_path / "op-large"
    create(folder, FrameInfo(operation_id="op", params="digest", grid=grid, derivative=True, samples=2))
    frame = Frame(folder, grid, derivative=True, samples=2)
    assert len(mapped_kb(folder)) == 8
    frame.touch()
    sizes_kb = {path.name: path.stat().st_size // 1024 for path in folder.glob("*.npy")}
    assert len(sizes_kb) == 8
    assert all(mapped_kb(folder)[name] >= size_kb for name, size_kb in sizes_kb.items())
    frame.close()
    assert not mapped_kb(folder)
    frame.close()
