"""What processes have used lately: the last minutes finely, the last day coarsely, in bounded memory. Pure."""

from __future__ import annotations

from collections import deque

from rfm_runtime.protocol.resources import ResourceReport, Resources, UsageCourse, UsagePoint, UsageReply

__all__ = ["POINTS", "SPACINGS_MS", "Past"]

SPACINGS_MS = (5_000, 60_000, 720_000)
"""Of three courses: ten minutes, two hours, a day."""
POINTS = 120
PROCESSES = 32
"""That are remembered: those that were heard last."""


class Past:
    """By name of the process. A bucket has the most of what was told in it: a peak must not be averaged away."""

    def __init__(self) -> None:
        self._roles: dict[str, str] = {}
        self._courses: dict[str, tuple[deque[UsagePoint], ...]] = {}

    def take(self, resources: Resources) -> None:
        """What all processes use now. What is not newer than what is known changes nothing."""
        for report in resources.reports:
            name = report.process.name
            # Those that were heard last come last.
            courses = self._courses.pop(name, None) or tuple(deque(maxlen=POINTS) for _ in SPACINGS_MS)
            self._courses[name], self._roles[name] = courses, report.process.role
            for spacing_ms, points in zip(SPACINGS_MS, courses, strict=True):
                _add(points, _point(report, spacing_ms))
        for name in list(self._courses)[: max(0, len(self._courses) - PROCESSES)]:
            del self._courses[name], self._roles[name]

    def within(self, span_ms: int, now_ms: int) -> UsageReply:
        """Of the last `span_ms`: the finest course that goes so far back. Without processes that say nothing of it."""
        reaches = (k for k, spacing_ms in enumerate(SPACINGS_MS) if spacing_ms * POINTS >= span_ms)
        level = next(reaches, len(SPACINGS_MS) - 1)
        since_ms = now_ms - span_ms
        found = []
        for name in sorted(self._courses):
            points = tuple(point for point in self._courses[name][level] if point.t_ms >= since_ms)
            if points:
                found.append(UsageCourse(name=name, role=self._roles[name], points=points))
        return UsageReply(spacing_ms=SPACINGS_MS[level], courses=tuple(found))


def _point(report: ResourceReport, spacing_ms: int) -> UsagePoint:
    process = report.process
    return UsagePoint(
        t_ms=report.measured_at_ms // spacing_ms * spacing_ms,
        cpu_percent=process.cpu_percent + process.children.cpu_percent,
        memory_bytes=process.memory_bytes + process.children.memory_bytes,
        loop_lag_ms=process.loop_lag_ms or 0.0,
    )


def _add(points: deque[UsagePoint], new: UsagePoint) -> None:
    if points and new.t_ms < points[-1].t_ms:
        # A clock that was set back, or a word that was overtaken.
        return
    if points and new.t_ms == points[-1].t_ms:
        last = points.pop()
        new = UsagePoint(
            t_ms=new.t_ms,
            cpu_percent=max(last.cpu_percent, new.cpu_percent),
            memory_bytes=max(last.memory_bytes, new.memory_bytes),
            loop_lag_ms=max(last.loop_lag_ms, new.loop_lag_ms),
        )
    points.append(new)
