"""Whether a process is healthy, from what it and its host use. Whoever samples keeps the answer for the next call.

Each condition is one figure that is worse the larger it is, and a bound. A condition that was reported holds until
its figure is below the bound by the bound's margin, so that one that hovers there does not flap.
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from rfm_runtime.core.resources.sizes import part
from rfm_runtime.protocol.resources import Health, HealthState, HostUsage, ProcessUsage

__all__ = [
    "CGROUP",
    "DESCRIPTORS",
    "DISK",
    "DISK_SHARE",
    "DISK_WANTED_BYTES",
    "LOOP_LAG_MS",
    "MACHINE",
    "STARVATION",
    "STARVED_LAG_MS",
    "STARVED_LOAD",
    "Bound",
    "disk_wanted_bytes",
    "health",
]


@dataclass(frozen=True, slots=True)
class Bound:
    """Figures from which on a process is degraded, or unhealthy. margin: share of a bound to stay below it by."""

    degraded: float
    unhealthy: float
    margin: float

    def state(self, figure: float, before: HealthState) -> HealthState:
        """before: what this condition was reported as last."""
        eased = 1.0 - self.margin
        if figure >= self.unhealthy * (eased if before == "unhealthy" else 1.0):
            return "unhealthy"
        if figure >= self.degraded * (eased if before != "healthy" else 1.0):
            return "degraded"
        return "healthy"


LOOP_LAG_MS = Bound(degraded=250.0, unhealthy=2000.0, margin=0.5)
"""A feed frame comes at least every 250 ms, and after 2 s without one gateways stop to trust the feed. The wide margin
is for a figure that is the largest of an interval, and jumps."""

CGROUP = Bound(degraded=0.90, unhealthy=0.97, margin=0.05)
"""Share of the limit. At the limit the kernel kills: one frame of 3840×2160 takes 3 % of 2 GiB."""

MACHINE = Bound(degraded=0.95, unhealthy=0.98, margin=0.02)
"""Share of the machine's memory that is not available. Later than a cgroup: file cache counts as available, and large
machines have gigabytes left at 95 %."""

DESCRIPTORS = Bound(degraded=0.80, unhealthy=0.95, margin=0.05)
"""Share of the limit. At the limit connections are refused; after another gateway's death its watchers come at once."""

DISK_WANTED_BYTES = 1024**3
"""Free space for a few frames and their pictures."""

DISK_SHARE = 0.1
"""Of a small file system that much is enough, or it would never be well."""

DISK = Bound(degraded=1.0, unhealthy=8.0, margin=0.2)
"""Wanted space by free space. An eighth of it still takes the journal, but no frame."""

STARVED_LOAD = 2.0
"""Load a core: with a worker on each it is 1 and a little more."""

STARVED_LAG_MS = 100.0
"""Two ticks. Load alone is no fault: work that others wait for is what a machine is there for."""

STARVATION = Bound(degraded=1.0, unhealthy=math.inf, margin=0.25)
"""Load and lag by their bounds, the smaller one. It says why the loop is late; how bad that is, the lag says itself."""

_RANKS: Mapping[HealthState, int] = {"healthy": 0, "degraded": 1, "unhealthy": 2}


def health(usage: ProcessUsage, host: HostUsage, previous: Health | None = None) -> Health:
    """The state of the worst condition, with a reason for each that is not well.

    previous: the last answer. Of an unhealthy process all its reasons count as unhealthy before.
    """
    told = {} if previous is None else {reason.partition(":")[0]: previous.state for reason in previous.reasons}
    conditions = [
        _loop(usage),
        _cgroup(host),
        _machine(host),
        _descriptors(usage),
        _disk(host),
        _starvation(usage, host),
    ]
    found: list[tuple[HealthState, str]] = []
    for one in conditions:
        state = one.bound.state(one.figure, told.get(one.topic, "healthy"))
        if state != "healthy":
            found.append((state, f"{one.topic}: {one.text}"))
    found.sort(key=lambda pair: -_RANKS[pair[0]])
    return Health(found[0][0] if found else "healthy", tuple(reason for _, reason in found))


def disk_wanted_bytes(total_bytes: int) -> float:
    """Free space below which a file system of that size is short of it."""
    return min(DISK_WANTED_BYTES, DISK_SHARE * total_bytes)


@dataclass(frozen=True, slots=True)
class _Condition:
    """text: the figures, for whoever reads the reason. No two have the same topic."""

    topic: str
    bound: Bound
    figure: float
    text: str


def _loop(usage: ProcessUsage) -> _Condition:
    lag_ms = usage.loop_lag_ms or 0.0
    return _Condition("event loop", LOOP_LAG_MS, lag_ms, f"it came up to {lag_ms:.0f} ms late")


def _cgroup(host: HostUsage) -> _Condition:
    used, limit = host.cgroup_memory_used_bytes, host.cgroup_memory_limit_bytes
    text = f"{part(used or 0, limit or 0)} of the cgroup's limit are used"
    return _Condition("memory", CGROUP, used / limit if used and limit else 0.0, text)


def _machine(host: HostUsage) -> _Condition:
    available, total = host.memory_available_bytes, host.memory_total_bytes
    text = f"{part(available, total)} are available"
    return _Condition("machine's memory", MACHINE, 1.0 - available / total if total else 0.0, text)


def _descriptors(usage: ProcessUsage) -> _Condition:
    opened, limit = usage.descriptors or 0, usage.descriptors_limit or 0
    return _Condition("descriptors", DESCRIPTORS, opened / limit if limit else 0.0, f"{opened:,} of {limit:,} are open")


def _disk(host: HostUsage) -> _Condition:
    free, total = host.disk_free_bytes, host.disk_total_bytes
    if free is None or not total:
        return _Condition("disk", DISK, 0.0, "")
    figure = disk_wanted_bytes(total) / free if free > 0 else math.inf
    return _Condition("disk", DISK, figure, f"{part(free, total)} are free where the state is")


def _starvation(usage: ProcessUsage, host: HostUsage) -> _Condition:
    lag_ms, load = usage.loop_lag_ms or 0.0, host.load_1m or 0.0
    figure = min(lag_ms / STARVED_LAG_MS, load / max(1, host.cores) / STARVED_LOAD)
    text = f"a load of {load:.1f} on {host.cores} usable cores, and the event loop came {lag_ms:.0f} ms late"
    return _Condition("cpu", STARVATION, figure, text)
