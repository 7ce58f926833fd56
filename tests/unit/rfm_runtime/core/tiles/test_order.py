"""The order of tiles: each once, focus outwards, the longest first at the tail; geometry covers the picture once."""

from __future__ import annotations

import math
from collections import Counter
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rfm_runtime.core.operations.progress import is_committed
from rfm_runtime.core.tiles.order import (
    PREVIEW_BLOCKS,
    PREVIEW_TILES,
    TAIL,
    bitmap,
    grid_of,
    preview_blocks,
    preview_order,
    rect,
    tile_order,
    tiles_under,
)
from rfm_runtime.render.request import RenderRequest

requests = st.builds(
    lambda width_px, height_px, tile_px: RenderRequest(
        re="0", im="0", width="3", width_px=width_px, height_px=height_px, tile_px=tile_px
    ),
    st.integers(1, 300),
    st.integers(1, 300),
    st.integers(16, 64),
)
grids = requests.map(grid_of)


def grid(width_px, height_px, tile_px=10):
    return grid_of(RenderRequest(re="0", im="0", width="3", width_px=width_px, height_px=height_px, tile_px=tile_px))


def tiles(grid):
    return range(grid.columns * grid.rows)


def covered(rectangles):
    return Counter((x + i, y + j) for x, y, width, height in rectangles for i in range(width) for j in range(height))


@pytest.mark.parametrize("of", [lambda grid: [rect(grid, index) for index in tiles(grid)], preview_blocks])
@pytest.mark.parametrize("size", [(1, 1), (10, 10), (11, 9), (95, 41), (400, 300)])
def test_every_pixel_is_in_exactly_one(of, size):
    pixels = covered(of(grid(*size)))
    assert set(pixels) == {(x, y) for x in range(size[0]) for y in range(size[1])}
    assert set(pixels.values()) == {1}


@given(grids)
def test_tiles_are_no_larger_than_asked_for_and_fill_the_picture(grid):
    sizes = [rect(grid, index)[2:] for index in tiles(grid)]
    assert all(0 < width <= grid.tile_px and 0 < height <= grid.tile_px for width, height in sizes)
    assert sum(width * height for width, height in sizes) == grid.width_px * grid.height_px


@given(grids)
def test_preview_blocks_consist_of_whole_tiles_and_are_never_too_large(grid):
    for x, y, width, height in preview_blocks(grid):
        assert x % grid.tile_px == 0
        assert y % grid.tile_px == 0
        assert max(width, height) <= PREVIEW_TILES * grid.tile_px
        assert width % grid.tile_px == 0 or x + width == grid.width_px
        assert height % grid.tile_px == 0 or y + height == grid.height_px


@given(grids)
def test_every_tile_is_under_exactly_one_preview_block_and_inside_it(grid):
    under = []
    for block in preview_blocks(grid):
        x, y, width, height = block
        for index in tiles_under(grid, block):
            tile_x, tile_y, tile_width, tile_height = rect(grid, index)
            assert x <= tile_x
            assert y <= tile_y
            assert tile_x + tile_width <= x + width
            assert tile_y + tile_height <= y + height
            under.append(index)
    assert sorted(under) == list(tiles(grid))


def test_a_large_picture_has_the_largest_blocks():
    blocks = preview_blocks(grid(3200, 3200))
    assert blocks[0] == (0, 0, 10 * PREVIEW_TILES, 10 * PREVIEW_TILES)


def test_a_small_picture_has_blocks_for_all_workers():
    assert len(preview_blocks(grid(80, 80))) == PREVIEW_BLOCKS
    assert len(preview_blocks(grid(30, 10))) == 3


def test_tiles_are_numbered_row_by_row():
    assert [rect(grid(25, 15), index) for index in range(6)] == [
        (0, 0, 10, 10),
        (10, 0, 10, 10),
        (20, 0, 5, 10),
        (0, 10, 10, 5),
        (10, 10, 10, 5),
        (20, 10, 5, 5),
    ]


weights = st.dictionaries(st.integers(0, 400), st.floats(0, 1e12), max_size=30)


pools = st.integers(1, 200)


@given(grids, weights, pools, st.data())
def test_each_open_tile_is_in_the_order_once_and_no_other(grid, weights, workers, data):
    some = data.draw(st.sets(st.sampled_from(tiles(grid))))
    assert Counter(tile_order(grid, some, weights, workers)) == Counter(some)


@given(grids, weights, pools, st.randoms(use_true_random=False))
def test_the_order_does_not_depend_on_how_the_tiles_are_listed(grid, weights, workers, random):
    shuffled = list(tiles(grid))
    random.shuffle(shuffled)
    assert tile_order(grid, shuffled, weights, workers) == tile_order(grid, tiles(grid), weights, workers)


def test_the_middle_comes_first():
    assert tile_order(grid(50, 50), range(25), {}, 1)[0] == 12
    assert set(tile_order(grid(50, 50), range(25), {}, 1)[1:5]) == {7, 11, 13, 17}


@given(grids, st.floats(0, 1), st.floats(0, 1))
def test_the_focus_comes_first_in_the_preview_and_in_the_tiles(grid, x, y):
    focus = x, y

    def away(place):
        left, top, width, height = place
        return math.hypot(left + width / 2 - x * grid.width_px, top + height / 2 - y * grid.height_px)

    blocks = preview_blocks(grid)
    order = preview_order(grid, blocks, focus)
    assert sorted(order) == list(range(len(blocks)))
    previews = [away(blocks[index]) for index in order]
    assert all(a <= b + 1e-6 for a, b in pairwise(previews))
    # One worker is never short of work, and of equal tiles none is longest.
    first = tile_order(grid, tiles(grid), {}, 1, focus)
    head = [away(rect(grid, index)) for index in first[: int(0.7 * len(first))]]
    assert all(a <= b + 1e-6 for a, b in pairwise(head))


def test_the_focus_may_be_a_corner():
    assert tile_order(grid(50, 50), range(25), {}, 1, (0.0, 0.0))[:3] == [0, 1, 5]
    assert tile_order(grid(50, 50), range(25), {}, 1, (1.0, 1.0))[0] == 24


def test_the_head_goes_outwards_whatever_the_tiles_cost():
    order = tile_order(grid(90, 10), range(9), dict.fromkeys(range(9), 1.0) | {0: 2.0}, 1)
    assert order[:3] == [4, 3, 5]


def test_the_last_quarter_of_the_work_is_longest_first():
    costs = {3: 30.0, 4: 30.0, 2: 1.0, 5: 4.0, 1: 2.0, 6: 3.0, 0: 5.0, 7: 5.0}
    assert tile_order(grid(80, 10), range(8), costs, 1) == [3, 4, 0, 7, 5, 6, 1, 2]
    assert TAIL * sum(costs.values()) == 20.0


def longest_of_all(order, costs):
    return max(order, key=lambda index: (costs[index], -order.index(index)))


@given(st.lists(st.integers(0, 1_000), min_size=1, max_size=80), st.integers(2, 70))
def test_the_longest_tile_is_first_or_begins_while_the_others_can_last_as_long(costs, workers):
    order = tile_order(grid(10 * len(costs), 10), range(len(costs)), dict(enumerate(costs)), workers)
    longest = longest_of_all(order, costs)
    left = sum(costs[index] for index in order[order.index(longest) :])
    assert order[0] == longest or left >= workers * costs[longest]


@pytest.mark.parametrize("dear", [0, 99, 40])
@pytest.mark.parametrize("workers", [2, 4, 16])
def test_no_core_waits_for_a_straggler_at_the_edge(dear, workers):
    costs = dict.fromkeys(range(100), 1.0) | {dear: 60.0}
    free_at = [0.0] * workers
    for index in tile_order(grid(1000, 10), range(100), costs, workers):
        free_at[free_at.index(min(free_at))] += costs[index]
    assert max(free_at) <= max(60.0, sum(costs.values()) / workers) + 1.0


def test_before_it_has_to_begin_the_longest_waits_and_after_it_the_order_goes_on_outwards():
    costs = dict.fromkeys(range(9), 1.0) | {0: 2.0}
    assert tile_order(grid(90, 10), range(9), costs, 3) == [4, 0, 3, 5, 2, 6, 1, 7, 8]


def test_of_equal_costs_at_the_tail_the_nearer_comes_first():
    assert tile_order(grid(80, 10), range(8), {}, 1) == [3, 4, 2, 5, 1, 6, 0, 7]


def test_a_tile_of_unknown_cost_counts_as_average():
    # 4.0 each for tiles 3 and 4: the tail begins after tile 3, and tile 4 is the longest of it.
    assert tile_order(grid(50, 10), range(5), {2: 12.0, 1: 0.0, 0: 0.0}, 1) == [2, 1, 3, 4, 0]


@given(st.integers(1, 200), st.data())
def test_the_bitmap_is_read_as_it_was_written(count, data):
    some = data.draw(st.sets(st.integers(0, count - 1)))
    bits = bitmap(some, count)
    assert len(bits) == (count + 7) // 8
    assert {index for index in range(8 * len(bits)) if is_committed(bits, index)} == some
