"""What processes have used lately: the last minutes finely, the last day coarsely, in bounded memory. Pure."""

from __future__ import annotations

from collections import deque

from msgspec.structs import astuple

from rfm_runtime.protocol.resources import Flow, ResourceReport, Resources, UsageCourse, UsagePoint, UsageReply

__all__ = ["POINTS", "SPACINGS_MS", "Past"]

SPACINGS_MS = (5_000, 60_000, 720_000)
"""Of three courses: ten minutes, two hours, a day."""
POINTS = 120
_UNKNOWN = -1.0
PROCESSES = 32
"""That are remembered: those that were heard last."""


class Past:
    """By name of the process. A bucket has the most of what was told in it: a peak must not be averaged away."""

    def __init__(self) -> None:
        self._roles: dict[str, str] = {}
        self._flowing: set[str] = set()
        self._courses: dict[str, tuple[deque[UsagePoint], ...]] = {}

    def take(self, resources: Resources) -> None:
        """What all processes use now. What is not newer than what is known changes nothing."""
        for report in resources.reports:
            name = report.process.name
            # Those that were heard last come last.
            courses = self._courses.pop(name, None) or tuple(deque(maxlen=POINTS) for _ in SPACINGS_MS)
            self._courses[name], self._roles[name] = courses, report.process.role
            if report.flow is not None:
                self._flowing.add(name)
            for spacing_ms, points in zip(SPACINGS_MS, courses, strict=True):
                _add(points, _point(report, spacing_ms))
        for name in list(self._courses)[: max(0, len(self._courses) - PROCESSES)]:
            del self._courses[name], self._roles[name]
            self._flowing.discard(name)

    def within(self, span_ms: int, now_ms: int) -> UsageReply:
        """Of the last `span_ms`: the finest course that goes so far back. Without processes that say nothing of it."""
        reaches = (k for k, spacing_ms in enumerate(SPACINGS_MS) if spacing_ms * POINTS >= span_ms)
        level = next(reaches, len(SPACINGS_MS) - 1)
        since_ms = now_ms - span_ms
        found = []
        for name in sorted(self._courses):
            points = tuple(point for point in self._courses[name][level] if point.t_ms >= since_ms)
            if points:
                flows = name in self._flowing
                found.append(UsageCourse(name=name, role=self._roles[name], points=points, flows=flows))
        return UsageReply(spacing_ms=SPACINGS_MS[level], courses=tuple(found))


def _point(report: ResourceReport, spacing_ms: int) -> UsagePoint:
    process, flow = report.process, report.flow or Flow()
    return UsagePoint(
        t_ms=report.measured_at_ms // spacing_ms * spacing_ms,
        cpu_percent=process.cpu_percent + process.children.cpu_percent,
        memory_bytes=process.memory_bytes + process.children.memory_bytes,
        loop_lag_ms=process.loop_lag_ms or 0.0,
        messages_per_s=flow.messages_per_s,
        coalesced_per_s=flow.coalesced_per_s,
        latency_p50_ms=_UNKNOWN if flow.latency_p50_ms is None else flow.latency_p50_ms,
        latency_p99_ms=_UNKNOWN if flow.latency_p99_ms is None else flow.latency_p99_ms,
        connections_per_s=flow.connections_per_s,
        waiting=flow.waiting,
    )


def _add(points: deque[UsagePoint], new: UsagePoint) -> None:
    if points and new.t_ms < points[-1].t_ms:
        # A clock that was set back, or a word that was overtaken.
        return
    if points and new.t_ms == points[-1].t_ms:
        new = UsagePoint(*map(max, astuple(points.pop()), astuple(new)))
    points.append(new)
