"""In which order the tiles of a render run: focus outwards, the longest first at the tail. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping, Sequence

from rfm_runtime.core.tiles.messages import Rect, Task
from rfm_runtime.protocol.operation import TileGrid
from rfm_runtime.render.request import RenderRequest

__all__ = [
    "MIDDLE",
    "PREVIEW_STEP",
    "bitmap",
    "grid_of",
    "measured_as",
    "preview_blocks",
    "preview_order",
    "rect",
    "tile_order",
    "tiles_under",
]

MIDDLE = 0.5, 0.5
"""Where whoever watches looks unless they say so: as parts of the picture's width and height."""

PREVIEW_STEP = 8
"""A preview computes every 8th pixel each way."""

PREVIEW_TILES = PREVIEW_STEP
"""Tiles along the edge of the largest preview block, which then costs what a tile does."""

PREVIEW_BLOCKS = 16
"""Small pictures get smaller blocks, so that there are at least about this many for the workers to share."""

TAIL = 0.25
"""Share of the expected work that is ordered longest first, so that no core waits for a straggler."""

HASTE = 1.5
"""A tile begins early if all that is left, shared among the workers, is not this many times as much: 1 would do if
costs were known exactly."""


def grid_of(request: RenderRequest) -> TileGrid:
    """The tiles of a render."""
    edge_px = request.tile_edge_px
    return TileGrid(
        width_px=request.width_px,
        height_px=request.height_px,
        tile_px=edge_px,
        columns=-(-request.width_px // edge_px),
        rows=-(-request.height_px // edge_px),
    )


def rect(grid: TileGrid, index: int) -> tuple[int, int, int, int]:
    """x, y, width, height of a tile in pixels; those at the right and lower edge may be smaller."""
    row, column = divmod(index, grid.columns)
    x, y = column * grid.tile_px, row * grid.tile_px
    return x, y, min(grid.tile_px, grid.width_px - x), min(grid.tile_px, grid.height_px - y)


def preview_blocks(grid: TileGrid) -> list[tuple[int, int, int, int]]:
    """x, y, width, height of the preview blocks, row by row."""
    tiles = grid.columns * grid.rows
    edge = grid.tile_px * max(1, min(PREVIEW_TILES, math.isqrt(tiles // PREVIEW_BLOCKS)))
    return [
        (x, y, min(edge, grid.width_px - x), min(edge, grid.height_px - y))
        for y in range(0, grid.height_px, edge)
        for x in range(0, grid.width_px, edge)
    ]


def tiles_under(grid: TileGrid, block: tuple[int, int, int, int]) -> Iterator[int]:
    """The tiles that a preview block consists of."""
    x, y, width, height = block
    for row in range(y // grid.tile_px, -(-(y + height) // grid.tile_px)):
        for column in range(x // grid.tile_px, -(-(x + width) // grid.tile_px)):
            yield row * grid.columns + column


def measured_as(grid: TileGrid, task: Task) -> int:
    """The number of a task in what workers measure: tiles, then preview blocks, then parts of tiles.

    There are fewer preview blocks than tiles, or as many.
    """
    tiles = grid.columns * grid.rows
    return task.index + {"tile": 0, "preview": tiles, "image": tiles, "part": 2 * tiles}[task.phase]


def _away2(grid: TileGrid, place: Rect, focus: tuple[float, float]) -> float:
    """Squared distance of the middle of a part from the focus, in pixels."""
    x, y, width, height = place
    dx = x + width / 2 - grid.width_px * focus[0]
    dy = y + height / 2 - grid.height_px * focus[1]
    return dx * dx + dy * dy


def preview_order(grid: TileGrid, blocks: Sequence[Rect], focus: tuple[float, float] = MIDDLE) -> list[int]:
    """Numbers of the preview blocks from the focus outwards."""
    return sorted(range(len(blocks)), key=lambda index: (_away2(grid, blocks[index], focus), index))


def tile_order(
    grid: TileGrid,
    open_tiles: Iterable[int],
    weights: Mapping[int, float],
    workers: int,
    focus: tuple[float, float] = MIDDLE,
) -> list[int]:
    """Open tiles in the order to run them: outwards, but the longest in time for the others to last as long.

    weights: expected cost; tiles without one count as average. workers: how many share them. focus: from where, as
    parts of the picture's width and height.
    """
    average = sum(weights.values()) / len(weights) if weights else 1.0
    outwards = sorted((_away2(grid, rect(grid, index), focus), index) for index in open_tiles)
    costs = {index: weights.get(index, average) for _, index in outwards}
    longest = [index for _, _, index in sorted((-costs[index], away, index) for away, index in outwards)]
    nearest = [index for _, index in outwards]
    left = total = sum(costs.values())
    # Both are gone through once; a tile that the other one has given is passed over.
    order: dict[int, None] = {}
    near = far = 0
    while left > TAIL * total and len(order) < len(nearest):
        while longest[far] in order:
            far += 1
        while nearest[near] in order:
            near += 1
        index = longest[far] if left <= HASTE * workers * costs[longest[far]] else nearest[near]
        order[index] = None
        left -= costs[index]
    return [*order, *(index for index in longest if index not in order)]


def bitmap(tiles: Iterable[int], count: int) -> bytes:
    """Tile i is bit i % 8 of byte i // 8."""
    bits = bytearray((count + 7) // 8)
    for tile in tiles:
        bits[tile >> 3] |= 1 << (tile & 7)
    return bytes(bits)
