"""Progress of one operation: merging measures from its owner and workers.

Pure values and one mutable `Merge` per live operation, owned by the broker's hub.
"""

from __future__ import annotations

import math
from typing import Any

import msgspec

from rfm_runtime.core.operations.eta import PACE_SAMPLES, Expected, Pace
from rfm_runtime.core.operations.experience import Course
from rfm_runtime.protocol.internal import OperationMeasure, TileMeasure
from rfm_runtime.protocol.limits import DETAILS_LIMIT_BYTES, MESSAGE_LIMIT, NAME_LIMIT
from rfm_runtime.protocol.operation import ProgressUpdate, TileMap

__all__ = ["PACE_SAMPLES", "Merge", "Pace", "bounded", "is_committed"]

OVERTIME = 0.1
"""Of what the tail has taken, what it is expected to take yet when it should be over."""

SETTLES_S = 1.0
"""After a claim that goes on with earlier work: what was done while nobody listened, and what its workers have in hand,
is told within moments, and is no rate."""

SHOWN_AT_MOST = 99.0
"""Percent before the outcome is journalled: 100 % is a promise."""

SOURCES_LIMIT = 4096
"""Sources of one claim: more than any machine has workers. Whoever holds a handle cannot fill memory."""

COUNT_LIMIT = 2**63 - 1
"""Largest count that every encoding carries."""


def is_sound(measure: OperationMeasure | TileMeasure) -> bool:
    """Whether its numbers can be shown: a NaN or a negative count is nobody's progress."""
    if isinstance(measure, TileMeasure):
        return measure.tile >= 0 and measure.done >= 0 and measure.iterations >= 0 and measure.cpu_ns >= 0
    total = measure.total
    return (
        0.0 <= measure.done < math.inf
        and (total is None or 0.0 <= total < math.inf)
        and measure.iterations >= 0
        and measure.cpu_ns >= 0
        and (measure.left_ns is None or measure.left_ns >= 0)
        and measure.tail_ns >= 0
        and measure.slots >= 0
    )


def is_committed(bitmap: bytes, tile: int) -> bool:
    """Whether bit `tile` is set (tile i is bit i % 8 of byte i // 8)."""
    byte = tile >> 3
    return byte < len(bitmap) and bool(bitmap[byte] >> (tile & 7) & 1)


class Merge:
    """What is known of the progress of one live operation, and what was shown of it.

    shown: `done` as watchers know it; never decreases, survives re-claims. Nothing of a new claim is
    shown before its owner's first own measure; until then `latest`, the newest update, says what is known.
    cpu_before_s: what earlier claims have used. expected: what is left, if the owner knows. has_tiles: what a program
    reports has none, whatever it says. dirty: there is something new to publish. told: the newest update that left by
    itself; `latest` may be ahead, as part of what is not on disk yet.
    """

    __slots__ = (
        "_beside_tiles",
        "_counters",
        "_in_hand",
        "_reached",
        "_tail_ns",
        "_windows",
        "cpu_before_s",
        "dirty",
        "expected",
        "generation",
        "has_tiles",
        "latest",
        "owner",
        "pace",
        "revision",
        "shown",
        "stale",
        "told",
        "total_cpu_s",
        "total_iterations",
    )

    def __init__(
        self, latest: ProgressUpdate | None = None, cpu_before_s: float = 0.0, course: Course | None = None
    ) -> None:
        self.generation = 0
        self.has_tiles = True
        self.latest = latest
        self.owner: OperationMeasure | None = None
        self.expected: Expected | None = None
        self.pace = Pace(course)
        self.revision = 0
        self.shown = 0.0 if latest is None else latest.done
        self.stale = False
        self.told: ProgressUpdate | None = None
        self.total_iterations = 0 if latest is None else latest.iterations
        self.total_cpu_s = 0.0 if latest is None else latest.cpu_s
        # CPU time is spent for good; iterations of tiles that are kept are counted by their next owner.
        self.cpu_before_s = cpu_before_s
        self._beside_tiles = 0
        self._counters: dict[int, int] = {}
        self._in_hand: dict[int, TileMeasure] = {}
        # What is done as its owner and its workers say: after the loss of what was in hand it is less than was shown.
        self._reached = 0.0
        self._tail_ns = 0
        self._windows: dict[int, tuple[float, int]] = {}
        self.dirty = False

    def claimed(self, generation: int) -> None:
        """A new claim begins: what its predecessor had in hand does not count any more."""
        if generation != self.generation:
            self.cpu_before_s = self.total_cpu_s
        self.generation = generation
        self.owner = None
        self._counters.clear()
        self._in_hand.clear()
        self._windows.clear()
        self._reached = 0.0
        self._tail_ns = 0
        self.stale = False
        self.dirty = False
        self.pace.restart(SETTLES_S if self.shown > 0.0 else 0.0)

    def measured(self, source: int, measure: OperationMeasure | TileMeasure, now_s: float) -> bool:
        """Take a measure from `source`; whether it counted (right generation, newer than the last)."""
        newest = self._counters.get(source)
        if newest is None:
            if len(self._counters) >= SOURCES_LIMIT:
                return False
            newest = -1
        if measure.generation != self.generation or measure.counter <= newest or not is_sound(measure):
            return False
        self._counters[source] = measure.counter
        if isinstance(measure, OperationMeasure):
            if self.owner is not None and measure.counter <= self.owner.counter:
                return False
            self.owner = bounded(measure, has_tiles=self.has_tiles)
        elif not self.has_tiles:
            return False
        else:
            self._in_hand[source] = measure
            if self.owner is not None and 0 < self.owner.tiles_total == self.owner.tiles_done <= measure.tile:
                self._tail_ns = measure.cpu_ns
        self._advance(now_s)
        return True

    def reported(self, measure: OperationMeasure, now_s: float) -> None:
        """Take what the owner said on `command`: acknowledged and in order, so its counter is not asked."""
        if measure.generation == self.generation and is_sound(measure):
            self.owner = bounded(measure, has_tiles=self.has_tiles)
            self._advance(now_s)

    def too_fast(self, source: int, counter: int, limit_per_s: float, now_s: float) -> bool:
        """Whether `source` sends more than `limit_per_s` and is passed over now.

        A source numbers its messages, so the count costs nothing per message. Above the limit one message a
        second is still taken: dropping every one would hide the state that a flood ends in.
        """
        began_s, first = self._windows.get(source, (-math.inf, 0))
        if now_s - began_s >= 1.0:
            if len(self._windows) < SOURCES_LIMIT or source in self._windows:
                self._windows[source] = (now_s, counter)
            return False
        return counter - first > limit_per_s

    def _advance(self, now_s: float) -> None:
        owner = self.owner
        if owner is None:
            return
        best: dict[int, int] = {}
        iterations, cpu_ns = owner.iterations, owner.cpu_ns
        self._beside_tiles = 0
        ended = dict(owner.ended)
        for measure in self._in_hand.values():
            if measure.attempt <= ended.get(measure.tile, -1):
                continue
            if 0 < owner.tiles_total <= measure.tile:
                # Counted only until the owner counts it: its end is not told by a commit.
                self._beside_tiles += measure.iterations if owner.tiles_done == 0 else 0
            elif not is_committed(owner.committed, measure.tile):
                if measure.done > best.get(measure.tile, -1):
                    best[measure.tile] = measure.done
                iterations += measure.iterations
                cpu_ns += measure.cpu_ns
        done = owner.done + sum(best.values())
        if owner.total is not None:
            done = min(done, owner.total)
        self._reached = max(self._reached, done)
        self.shown = max(self.shown, done)
        self.total_iterations = min(max(self.total_iterations, iterations), COUNT_LIMIT)
        self.total_cpu_s = max(self.total_cpu_s, self.cpu_before_s + cpu_ns / 1e9)
        self.expected = self._expected(owner, cpu_ns - owner.cpu_ns)
        # What a render waits for before its first step says nothing of its rate.
        if owner.tiles_total == 0 or owner.steps is None or owner.steps[0] > 0:
            self.pace.measured(self._reached, now_s, self.total_cpu_s, self.expected)
        self.dirty = True

    def _expected(self, owner: OperationMeasure, in_hand_ns: int) -> Expected | None:
        """What the owner expects, less what is in hand."""
        if owner.left_ns is None:
            return None
        tail_ns = max(owner.tail_ns - self._tail_ns, OVERTIME * self._tail_ns)
        return Expected(max(0, owner.left_ns - in_hand_ns) / 1e9, tail_ns / 1e9, max(1, owner.slots))

    def touch(self) -> None:
        """Have the present state published again (a flag changed)."""
        self.dirty = True

    def take_dirty(self) -> bool:
        """Whether there is something new to publish; asking clears it."""
        dirty, self.dirty = self.dirty, False
        return dirty and (self.owner is not None or self.latest is not None)

    def update(
        self,
        operation_id: str,
        incarnation: int,
        at_seq: int,
        measured_at_ms: int,
        *,
        outcome: str | None = None,
    ) -> ProgressUpdate:
        """What watchers are told, with the next revision. outcome: the terminal state it is part of."""
        self.revision += 1
        owner, before = self.owner, self.latest
        total = owner.total if owner is not None else before.total if before is not None else None
        rates = None if outcome else self.pace.rates()
        # The bar is held where it was shown; the work that is left is what it is.
        remaining = None if total is None else total - (self.shown if owner is None else self._reached)
        fields: dict[str, Any] = {}
        if owner is not None:
            fields = {
                "unit": owner.unit,
                "step": owner.step,
                "steps": owner.steps,
                "message": owner.message,
                "details": owner.details,
                "tiles": _tiles(owner),
            }
        elif before is not None:
            fields = {name: getattr(before, name) for name in ("unit", "step", "steps", "message", "details", "tiles")}
        self.latest = ProgressUpdate(
            operation_id=operation_id,
            rev=(incarnation, self.revision),
            at_seq=at_seq,
            measured_at_ms=measured_at_ms,
            done=self.shown,
            total=total,
            progress=self._percent(total, outcome),
            rate=None if rates is None else max(0.0, rates[0]),
            eta_ms=None if outcome or remaining is None else self.pace.eta(remaining, total),
            iterations=min(self.total_iterations + (0 if outcome else self._beside_tiles), COUNT_LIMIT),
            cpu_s=round(self.total_cpu_s, 6),
            stale=self.stale and outcome is None,
            **fields,
        )
        return self.latest

    def tell(self, operation_id: str, incarnation: int, at_seq: int, measured_at_ms: int) -> ProgressUpdate:
        """An update that watchers get now, by itself."""
        self.told = self.update(operation_id, incarnation, at_seq, measured_at_ms)
        return self.told

    def as_told(self, journalled: ProgressUpdate | None) -> ProgressUpdate | None:
        """What watchers may be shown: the newer of what they were told and what is on disk.

        `latest` may belong to an outcome that is not, and a broker that is killed now comes back without it.
        """
        if self.told is None or (journalled is not None and journalled.rev > self.told.rev):
            return journalled
        return self.told

    def _percent(self, total: float | None, outcome: str | None) -> float:
        if outcome == "completed":
            return 100.0
        if not total:
            return 0.0
        return min(SHOWN_AT_MOST, 100.0 * self.shown / total)


def bounded(measure: OperationMeasure, *, has_tiles: bool) -> OperationMeasure:
    """Without what is too large to be kept and sent to everybody: long texts are cut, large details replaced."""
    changes: dict[str, Any] = {}
    for field, limit in (("unit", NAME_LIMIT), ("step", NAME_LIMIT), ("message", MESSAGE_LIMIT)):
        text = getattr(measure, field)
        if len(text) > limit:
            changes[field] = text[: limit - 1] + "…"
    if measure.details is not None:
        size = len(msgspec.msgpack.encode(measure.details))
        if size > DETAILS_LIMIT_BYTES:
            changes["details"] = {"details_left_out": f"{size} bytes, {DETAILS_LIMIT_BYTES} are allowed"}
    if not has_tiles:
        changes |= {"tiles_total": 0, "tiles_done": 0, "committed": b"", "previewed": 0, "ended": ()}
    return msgspec.structs.replace(measure, **changes) if changes else measure


def _tiles(owner: OperationMeasure) -> TileMap | None:
    if owner.tiles_total == 0:
        return None
    return TileMap(total=owner.tiles_total, done=owner.tiles_done, committed=owner.committed, previewed=owner.previewed)
