"""Tasks whose workers die: alone in quarantine, then in four, then given up or left as a hole.

Owned by `Run`, one a render; every method is a pure change of this object. Nobody is blamed for a death that was asked
for: those never come here.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any, Literal

from msgspec import Struct

from rfm_runtime.core.tiles.messages import Phase, Rect

__all__ = ["DEATHS_LIMIT", "LEAST_PX", "Hole", "Key", "Part", "Poison", "Verdict", "deaths_limit", "quarters"]

Key = tuple[Phase, int]

Verdict = Literal["again", "alone", "skip", "split", "hole", "fail"]

ALONE_DEATHS = 2
"""Unexpected deaths with the same task before it runs alone: whatever dies then dies of it."""

SPLIT_DEATHS = 3
"""The third death was in quarantine."""

SEALED_DEATHS = 2
"""Of a tile whose parts are all settled: going over it once more computes nothing, and cannot be what kills."""

LEAST_PX = 8
"""Edge of the smallest part: six deaths find it in the largest tile, and a hole of it is no loss in a picture."""

LEAST_DEATHS = 2
"""Deaths of the smallest part before it is the cause: one might be somebody's kill, at the wrong moment."""

DEATHS_LIMIT = 200
"""Of one render: enough to find sixteen single pixels in the largest tiles, each of which takes up to twelve deaths."""

CPU_S_PER_DEATH = 10.0
"""Of work that was not lost, and allows one death more: a render of days on a machine where now and then a worker is
killed ends well. A death costs about a second, so deaths have a tenth of what goes into the render, and 200 s."""

CAUSE_CHARS = 300
LISTED = 16
"""Holes that are listed with the progress, which everybody is sent; the picture has all of them."""


class Part(Struct, frozen=True):
    """Of a tile, in pixels of the frame."""

    tile: int
    rect: Rect


class Hole(Struct, frozen=True):
    """Pixels that nobody could compute. cause: of the last death."""

    rect: Rect
    cause: str


class _Split:
    """A tile in parts. open: of which nothing is known yet. holes: those that were given up. deaths: since then."""

    __slots__ = ("deaths", "holes", "open")

    def __init__(self) -> None:
        self.open = 0
        self.deaths = 0
        self.holes: list[Rect] = []


class Poison:
    """deaths: unexpected ones, by task. total: their number. parts: a part's number is its place here.

    holes: of the whole render. last_cause: of the last death, "" before the first. holes_allowed: what still kills
    leaves a hole, and does not fail the render.
    """

    def __init__(self, *, holes_allowed: bool) -> None:
        self.holes_allowed = holes_allowed
        self.deaths: dict[Key, int] = {}
        self.total = 0
        self.parts: list[Part] = []
        self.holes: list[Hole] = []
        self.last_cause = ""
        self._alone: set[Key] = set()
        self._splits: dict[int, _Split] = {}

    def runs_alone(self, key: Key) -> bool:
        """Whether nothing else may be in the hands of the worker that has it."""
        return key in self._alone

    def is_sealed(self, key: Key) -> bool:
        """Whether it is a tile whose parts were computed one by one: what is there stays, whoever dies."""
        return key[0] == "tile" and key[1] in self._splits

    def holes_of(self, tile: int) -> tuple[Rect, ...]:
        """The holes of a tile that was split."""
        split = self._splits.get(tile)
        return () if split is None else tuple(split.holes)

    def died(self, key: Key, rect: Rect, cause: str) -> Verdict:
        """A worker died with it. What becomes of it, other than `again` and `alone`, is `split` or `give_up`'s."""
        self.last_cause = cause
        self.total += 1
        deaths = self.deaths[key] = self.deaths.get(key, 0) + 1
        if key[0] == "part":
            if quarters(rect):
                return "split"
            if deaths < LEAST_DEATHS:
                return "again"
            return "hole" if self.holes_allowed else "fail"
        if self.is_sealed(key):
            split = self._splits[key[1]]
            split.deaths += 1
            return "again" if split.deaths < SEALED_DEATHS else "fail"
        if deaths < ALONE_DEATHS:
            return "again"
        if deaths < SPLIT_DEATHS:
            self._alone.add(key)
            return "alone"
        if key[0] == "preview":
            return "skip"
        return "fail" if key[0] == "image" else "split"

    def split(self, key: Key, rect: Rect) -> list[Key]:
        """The tasks that stand for a tile or part from now on."""
        tile = key[1] if key[0] == "tile" else self.parts[key[1]].tile
        split = self._splits.setdefault(tile, _Split())
        pieces = quarters(rect) or [rect]
        split.open += len(pieces) - (key[0] == "part")
        first = len(self.parts)
        self.parts += [Part(tile, piece) for piece in pieces]
        made: list[Key] = [("part", number) for number in range(first, len(self.parts))]
        self._alone.update(made)
        return made

    def settled(self, part: int, cause: str | None = None) -> int | None:
        """A part is computed, or given up for `cause`; the tile if it was the last of it."""
        tile, rect = self.parts[part].tile, self.parts[part].rect
        split = self._splits[tile]
        split.open -= 1
        if cause is not None:
            split.holes.append(rect)
            self.holes.append(Hole(rect, cause))
        return None if split.open else tile

    def found(self, holes: Iterable[Rect]) -> None:
        """Holes of tiles that an earlier claim committed."""
        self.holes += [Hole(rect, "found by an earlier attempt") for rect in holes]

    def details(self) -> dict[str, Any] | None:
        """What watchers are told of deaths and holes; None while there are none."""
        if not self.deaths and not self.holes:
            return None
        told: dict[str, Any] = {"failed_attempts": self.total} if self.deaths else {}
        if self.last_cause:
            told["last_cause"] = self.last_cause[:CAUSE_CHARS]
        if self.holes:
            told["holes"] = [list(hole.rect) for hole in self.holes[:LISTED]]
            told["hole_count"] = len(self.holes)
            told["hole_px"] = sum(hole.rect[2] * hole.rect[3] for hole in self.holes)
        return told

    def holes_said(self) -> str:
        """The holes in one sentence; "" without any."""
        if not self.holes:
            return ""
        pixels = sum(hole.rect[2] * hole.rect[3] for hole in self.holes)
        x, y, width, height = self.holes[0].rect
        many = "1 hole" if len(self.holes) == 1 else f"{len(self.holes)} holes"
        return f"{many} of {pixels} pixels, the first {width}×{height} at {x},{y}: {self.holes[0].cause[:CAUSE_CHARS]}"


def deaths_limit(cpu_ns: int) -> int:
    """How many workers a render may cost that has done so much."""
    return DEATHS_LIMIT + int(cpu_ns / 1e9 / CPU_S_PER_DEATH)


def quarters(rect: Rect) -> list[Rect]:
    """A rectangle in four, or two where it is narrow; nothing if it is as small as a part may be."""
    x, y, width, height = rect
    columns, rows = _halves(width), _halves(height)
    if len(columns) == len(rows) == 1:
        return []
    return [(x + left, y + top, wide, high) for top, high in rows for left, wide in columns]


def _halves(length: int) -> list[tuple[int, int]]:
    if length <= LEAST_PX:
        return [(0, length)]
    first = -(-length // (2 * LEAST_PX)) * LEAST_PX
    return [(0, first), (first, length - first)]
