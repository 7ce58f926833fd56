"""How an operation goes over its time: few points, however long it lasts. Pure; one a live operation, in its record."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

from rfm_runtime.protocol.history import SERIES_POINTS, Performance, Point
from rfm_runtime.protocol.internal import OperationMeasure

__all__ = ["SPACING_MS", "Series"]

SPACING_MS = 100
"""Between two points at first: an operation of 13 seconds fills them. Shorter ones are learned from as well."""


class _Owner(NamedTuple):
    """What the owner says of the machine, of its present claim."""

    memory_bytes: int = 0
    workers: int = 0
    slots: int = 0
    deaths: int = 0


class Series:
    """Points of one operation, oldest first. before: what an earlier broker has kept of it."""

    __slots__ = (
        "_deaths_before",
        "_owner",
        "_paused_at_ms",
        "_paused_ms",
        "_peak_bytes",
        "_points",
        "_slots",
        "_spacing_ms",
    )

    def __init__(self, before: Performance | None = None) -> None:
        before = before or Performance()
        self._points: list[Point] = list(before.points)
        self._spacing_ms = _spacing(self._points)
        self._peak_bytes = before.peak_memory_bytes
        self._paused_ms = before.paused_ms
        self._paused_at_ms: int | None = None
        self._slots = before.slots
        self._deaths_before = before.deaths
        self._owner = _Owner()

    def claimed(self) -> None:
        """Another owner begins to count."""
        self._deaths_before += self._owner.deaths
        self._owner = _Owner()

    def owner(self, measure: OperationMeasure) -> None:
        """What its owner says."""
        self._owner = _Owner(
            max(0, measure.memory_bytes),
            max(0, measure.workers),
            max(0, measure.slots),
            # A measure that overtook another must not bring the dead back.
            max(self._owner.deaths, measure.deaths),
        )
        self._peak_bytes = max(self._peak_bytes, self._owner.memory_bytes)
        self._slots = max(self._slots, self._owner.slots)

    def stands(self, t_ms: int) -> bool:
        """It is paused from now on; False if it was."""
        was, self._paused_at_ms = self._paused_at_ms, t_ms if self._paused_at_ms is None else self._paused_at_ms
        return was is None

    def goes_on(self, t_ms: int) -> None:
        """It is not paused any more."""
        if self._paused_at_ms is not None:
            self._paused_ms += max(0, t_ms - self._paused_at_ms)
            self._paused_at_ms = None

    def measured(self, t_ms: int, done: float, cpu_s: float, iterations: int) -> None:
        """Where it stands. Points that come faster than the spacing replace the newest."""
        points = self._points
        owner = self._owner
        t_ms = max(t_ms, points[-1].t_ms if points else 0)
        point = Point(t_ms, done, round(cpu_s, 3), iterations, owner.memory_bytes, owner.workers)
        if len(points) >= 2 and t_ms - points[-2].t_ms < self._spacing_ms:
            points[-1] = point
            return
        points.append(point)
        if len(points) > SERIES_POINTS:
            last = points[-1]
            self._points = points[:-1:2]
            self._points.append(last)
            self._spacing_ms *= 2

    def performance(self, total: float | None, unit: str, losses: int, t_ms: int) -> Performance:
        """All of it, at `t_ms` after its start."""
        standing_ms = 0 if self._paused_at_ms is None else max(0, t_ms - self._paused_at_ms)
        return Performance(
            points=tuple(self._points),
            total=total,
            unit=unit,
            peak_memory_bytes=self._peak_bytes,
            paused_ms=self._paused_ms + standing_ms,
            deaths=self._deaths_before + self._owner.deaths,
            losses=losses,
            slots=self._slots,
        )


def _spacing(points: Sequence[Point]) -> int:
    """How far apart the points of an earlier broker are, in steps of what is doubled."""
    spacing_ms = SPACING_MS
    if len(points) > 1:
        mean_ms = (points[-1].t_ms - points[0].t_ms) / (len(points) - 1)
        while 2 * spacing_ms <= mean_ms:
            spacing_ms *= 2
    return spacing_ms
