"""What all processes of a runtime use: the newest word of each, and what follows from all. Owned by the broker."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from rfm_runtime.core.resources.advice import Facts, advise
from rfm_runtime.protocol.resources import Advice, Health, HealthState, HostUsage, Resources, Usage

__all__ = ["Board"]

MISSED = 3
"""A process that has not spoken for so many intervals is not there any more, or is not heard."""

SILENCES = ((86_400.0, "a day"), (3600.0, "an hour"), (600.0, "ten minutes"), (60.0, "a minute"))

_RANK: dict[HealthState, int] = {"healthy": 0, "degraded": 1, "unhealthy": 2}


class Board:
    """By name. interval_s: between two words of one process. max_hz, write_limit_bytes: of the gateways."""

    def __init__(self, interval_s: float, max_hz: float, write_limit_bytes: int) -> None:
        self._interval_s = interval_s
        self._max_hz = max_hz
        self._write_limit_bytes = write_limit_bytes
        self._known: dict[str, tuple[float, Usage]] = {}
        self._told_s = 0.0
        self._changed = False

    def take(self, usage: Usage, now_s: float) -> None:
        """A process speaks."""
        self._known[usage.report.process.name] = now_s, _without_each(usage)
        self._changed = True

    def due(self, now_s: float, now_ms: int) -> Resources | None:
        """What is to be told now: at most once an interval, and only if something is new."""
        if not self._changed or now_s - self._told_s < self._interval_s / 2:
            return None
        self._told_s = now_s
        self._changed = False
        return self.overview(now_s, now_ms)

    def overview(self, now_s: float, now_ms: int) -> Resources:
        """All that is known now."""
        silent_s = MISSED * self._interval_s
        # A process that is gone for good is another's to say; one that nobody hears may be frozen, and is named.
        silent = {name: now_s - heard_s for name, (heard_s, _) in self._known.items() if now_s - heard_s > silent_s}
        usages = [usage for name, (_, usage) in sorted(self._known.items()) if name not in silent]
        return Resources(
            measured_at_ms=now_ms,
            health=_health(usages, silent if usages else {}),
            reports=tuple(usage.report for usage in usages),
            advice=self._advice(usages),
            crews=tuple(usage.crew for usage in usages if usage.crew is not None),
        )

    def _advice(self, usages: list[Usage]) -> tuple[Advice, ...]:
        if not usages:
            return ()
        engines = [usage for usage in usages if usage.workers]
        # Of several, the one that says most: they work on the same frame sizes.
        busiest = max(engines, key=lambda usage: usage.tiles, default=None)
        facts = Facts(
            host=_host(usages),
            processes=tuple(usage.report.process for usage in usages),
            workers=sum(usage.workers for usage in engines),
            worker_memory_bytes=sum(usage.report.process.children.memory_bytes for usage in engines),
            tiles=0 if busiest is None else busiest.tiles,
            tile_px=0 if busiest is None else busiest.tile_px,
            tile_s=None if busiest is None else busiest.tile_s,
            sessions=sum(usage.sessions for usage in usages),
            slow_sessions=sum(usage.slow_sessions for usage in usages),
            max_hz=self._max_hz,
            write_limit_bytes=self._write_limit_bytes,
        )
        return advise(facts)


def _without_each(usage: Usage) -> Usage:
    """What is asked of workers is in `crew`; of other processes' children their sum is told."""
    process = usage.report.process
    if not process.children.each:
        return usage
    children = msgspec.structs.replace(process.children, each=())
    process = msgspec.structs.replace(process, children=children)
    return msgspec.structs.replace(usage, report=msgspec.structs.replace(usage.report, process=process))


def _long(for_s: float) -> str:
    """Coarse: what changes with each look would be news each time."""
    return next((said for bound_s, said in SILENCES if for_s >= bound_s), f"{MISSED} intervals")


def _host(usages: list[Usage]) -> HostUsage:
    """Of the engine's host, where there is one: it needs most."""
    best = max(usages, key=lambda usage: (usage.workers, usage.report.measured_at_ms))
    return best.report.host


def _health(usages: list[Usage], silent: Mapping[str, float]) -> Health:
    """silent: for how long nobody has heard of a process, in s."""
    worst: HealthState = "unhealthy" if silent else "healthy"
    reasons = [f"{name}: no word for more than {_long(for_s)}" for name, for_s in sorted(silent.items())]
    for usage in sorted(usages, key=lambda usage: -_RANK[usage.report.health.state]):
        health = usage.report.health
        if _RANK[health.state] > _RANK[worst]:
            worst = health.state
        reasons += [f"{usage.report.process.name}: {reason}" for reason in health.reasons]
    return Health(worst, tuple(reasons))
