"""Which parts of a picture are to be fetched as it fills in. Pure."""

from __future__ import annotations

from collections import deque
from typing import NamedTuple

from rfm_runtime.protocol.operation import TileGrid, TileMap

__all__ = ["PREVIEW_STEP", "Part", "Picture"]

PREVIEW_STEP = 8
"""Of what a render computes first: every so many-th pixel."""

PIXELS_LIMIT = 65_536
"""In one answer."""


class Part(NamedTuple):
    """Pixels x … x + width, y … y + height of the frame; of these every `step`-th."""

    x: int
    y: int
    width: int
    height: int
    step: int


class Picture:
    """What of a render has been asked for. Tiles in a row that are done together are one part."""

    def __init__(self, width_px: int, height_px: int) -> None:
        self.width_px, self.height_px = width_px, height_px
        self._asked = 0
        self._previewed = 0
        self._parts: deque[Part] = deque()

    def told(self, grid: TileGrid, tiles: TileMap) -> None:
        """Progress says so."""
        if tiles.previewed > self._previewed:
            self._previewed = tiles.previewed
            if tiles.done < tiles.total:
                self._preview()
        done = int.from_bytes(tiles.committed, "little") & ~self._asked
        self._asked |= done
        for row in range(grid.rows):
            self._add_row(grid, row, (done >> (row * grid.columns)) & ((1 << grid.columns) - 1))

    def finished(self, grid: TileGrid) -> None:
        """All of it is there."""
        everything = (1 << (grid.columns * grid.rows)) - 1
        whole = everything.to_bytes(-(-grid.columns * grid.rows // 8), "little")
        self.told(grid, TileMap(total=grid.columns * grid.rows, done=grid.columns * grid.rows, committed=whole))

    @property
    def is_exhausted(self) -> bool:
        """Whether all that is known to be computed has been asked for."""
        return not self._parts

    def next(self) -> Part | None:
        """The next part to ask for."""
        return self._parts.popleft() if self._parts else None

    def put_back(self, part: Part) -> None:
        """It could not be had now."""
        self._parts.appendleft(part)

    def _preview(self) -> None:
        """The whole picture, coarse, ahead of everything; an older wish for it is this one."""
        self._parts = deque(part for part in self._parts if part.step == 1)
        rows = max(1, PIXELS_LIMIT // -(-self.width_px // PREVIEW_STEP)) * PREVIEW_STEP
        for y in reversed(range(0, self.height_px, rows)):
            self._parts.appendleft(Part(0, y, self.width_px, min(rows, self.height_px - y), PREVIEW_STEP))

    def _add_row(self, grid: TileGrid, row: int, done: int) -> None:
        most = max(1, PIXELS_LIMIT // (grid.tile_px * grid.tile_px))
        column = 0
        while done >> column:
            if not (done >> column) & 1:
                column += 1
                continue
            count = 1
            while count < most and (done >> (column + count)) & 1:
                count += 1
            self._add(grid, column, row, count)
            column += count

    def _add(self, grid: TileGrid, column: int, row: int, count: int) -> None:
        x, y = column * grid.tile_px, row * grid.tile_px
        width, height = min(count * grid.tile_px, grid.width_px - x), min(grid.tile_px, grid.height_px - y)
        rows = PIXELS_LIMIT // width
        for top in range(0, height, rows):
            self._parts.append(Part(x, y + top, width, min(rows, height - top), 1))
