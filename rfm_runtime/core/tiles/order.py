"""In which order the tiles of a render run: focus outwards, the longest first at the tail. Pure functions."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

from rfm_runtime.protocol.operation import TileGrid
from rfm_runtime.render.request import RenderRequest

__all__ = ["bitmap", "grid_of", "preview_blocks", "rect", "tile_order"]

PREVIEW_TILES = 8
"""Tiles along the edge of the largest preview block: at every 8th pixel each way it costs what a tile does."""

PREVIEW_BLOCKS = 16
"""Small pictures get smaller blocks, so that there are at least about this many for the workers to share."""

TAIL = 0.25
"""Share of the expected work that is ordered longest first, so that no core waits for a straggler."""


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


def tile_order(grid: TileGrid, open_tiles: Iterable[int], weights: Mapping[int, float]) -> list[int]:
    """Open tiles in the order to run them. weights: expected cost; tiles without one count as average."""

    def distance(index: int) -> float:
        x, y, width, height = rect(grid, index)
        dx = x + width / 2 - grid.width_px / 2
        dy = y + height / 2 - grid.height_px / 2
        return dx * dx + dy * dy

    outwards: Sequence[int] = sorted(open_tiles, key=lambda index: (distance(index), index))
    average = sum(weights.values()) / len(weights) if weights else 1.0
    left = total = sum(weights.get(index, average) for index in outwards)
    head: list[int] = []
    for index in outwards:
        if left <= TAIL * total:
            break
        head.append(index)
        left -= weights.get(index, average)
    tail = sorted(outwards[len(head) :], key=lambda index: (-weights.get(index, average), distance(index), index))
    return head + tail


def bitmap(tiles: Iterable[int], count: int) -> bytes:
    """Tile i is bit i % 8 of byte i // 8."""
    bits = bytearray((count + 7) // 8)
    for tile in tiles:
        bits[tile >> 3] |= 1 << (tile & 7)
    return bytes(bits)
