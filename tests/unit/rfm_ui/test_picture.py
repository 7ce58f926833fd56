"""A picture that fills in: every tile is asked for once, in answers that are not too large, and nothing twice."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.protocol.operation import TileGrid, TileMap
from rfm_ui.model.picture import PIXELS_LIMIT, PREVIEW_STEP, Part, Picture


def taken(picture: Picture) -> list[Part]:
    parts = []
    while (part := picture.next()) is not None:
        parts.append(part)
    return parts


def grid_of(width_px: int, height_px: int, tile_px: int) -> TileGrid:
    columns, rows = -(-width_px // tile_px), -(-height_px // tile_px)
    return TileGrid(width_px=width_px, height_px=height_px, tile_px=tile_px, columns=columns, rows=rows)


def told(grid: TileGrid, done: set[int], previewed: int = 0) -> TileMap:
    total = grid.columns * grid.rows
    bits = sum(1 << tile for tile in done)
    return TileMap(total=total, done=len(done), committed=bits.to_bytes(-(-total // 8), "little"), previewed=previewed)


@given(st.integers(1, 900), st.integers(1, 700), st.sampled_from([16, 64, 128, 512]), st.data())
def test_every_pixel_is_asked_for_once(width_px: int, height_px: int, tile_px: int, data: st.DataObject) -> None:
    grid, picture = grid_of(width_px, height_px, tile_px), Picture(width_px, height_px)
    total = grid.columns * grid.rows
    order = data.draw(st.permutations(range(total))) if total < 300 else range(total)
    steps = data.draw(st.lists(st.integers(0, total), max_size=4))
    parts: list[Part] = []

    for many in sorted(steps):
        picture.told(grid, told(grid, set(order[:many])))
        parts += taken(picture)
    picture.finished(grid)
    parts += taken(picture)

    area = 0
    for part in parts:
        assert part.step == 1
        assert part.width * part.height <= PIXELS_LIMIT
        assert 0 <= part.x < part.x + part.width <= width_px
        assert 0 <= part.y < part.y + part.height <= height_px
        area += part.width * part.height
    assert area == width_px * height_px
    corners = {(x, y) for part in parts for x in (part.x, part.x + part.width) for y in (part.y, part.y + part.height)}
    assert {(0, 0), (width_px, height_px)} <= corners
    assert len({(part.x, part.y) for part in parts}) == len(parts)


def test_the_preview_comes_first_and_only_its_newest() -> None:
    grid, picture = grid_of(1920, 1080, 128), Picture(1920, 1080)
    picture.told(grid, told(grid, {3}, previewed=1))
    picture.told(grid, told(grid, {3}, previewed=40))

    parts = taken(picture)

    assert parts[0] == Part(0, 0, 1920, 1080, PREVIEW_STEP)
    assert [part.step for part in parts] == [PREVIEW_STEP, 1]


def test_tiles_beside_each_other_are_one_answer() -> None:
    grid, picture = grid_of(1024, 128, 128), Picture(1024, 128)

    picture.finished(grid)

    assert taken(picture) == [Part(0, 0, 512, 128, 1), Part(512, 0, 512, 128, 1)]
