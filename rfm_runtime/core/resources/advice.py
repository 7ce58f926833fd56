"""What would help, from what was measured: one rule a topic, each from `Facts` to an `Advice` or nothing.

No rule asks for what another, or itself, would then take back.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rfm_runtime.core.resources.health import DESCRIPTORS, disk_wanted_bytes
from rfm_runtime.core.resources.sizes import part, size
from rfm_runtime.protocol.resources import Advice, HostUsage, ProcessUsage

__all__ = [
    "MEMORY_SHARE",
    "RULES",
    "SLOW_SESSIONS",
    "SLOW_SHARE",
    "TILES_A_WORKER",
    "TILE_LONG_S",
    "TILE_PX",
    "TILE_SHORT_S",
    "Facts",
    "Rule",
    "advise",
    "descriptors",
    "disk",
    "memory",
    "tile_size",
    "watchers",
    "workers",
]

MEMORY_SHARE = 0.85
"""Of the memory there is: below where health begins to complain, with room for a frame."""

TILE_SHORT_S = 0.005
"""Handing a tile over takes up to 0.2 ms of a core, which is then 4 % of the work."""

TILE_LONG_S = 10.0
"""As long may the last tile keep one core busy alone; and it shows nothing of itself before."""

TILES_A_WORKER = 4
"""With fewer of unequal cost workers wait for the last one."""

TILE_PX = (16, 512)
"""What a render takes."""

SLOW_SHARE = 0.1
SLOW_SESSIONS = 2
"""One watcher behind a slow line is that line's affair; a tenth of them, and not only one, is the runtime's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Facts:
    """What rules look at. Of what is not known, or not there, no rule says anything.

    workers: those that take tasks; worker_memory_bytes: of all of them. tile_s: mean duration of the frame's tiles in
    hand, of edge tile_px. slow_sessions: those that are sent progress at less than max_hz because more than
    write_limit_bytes was still unsent.
    """

    host: HostUsage
    processes: tuple[ProcessUsage, ...] = ()
    workers: int = 0
    worker_memory_bytes: int = 0
    tiles: int = 0
    tile_px: int = 0
    tile_s: float | None = None
    sessions: int = 0
    slow_sessions: int = 0
    max_hz: float = 20.0
    write_limit_bytes: int = 32 * 1024


Rule = Callable[[Facts], Advice | None]


def workers(facts: Facts) -> Advice | None:
    """One worker a usable core, unless memory has room for fewer."""
    best = _best(facts)
    seen = f"{_count(facts.workers, 'worker')} on {_count(facts.host.cores, 'usable core')}"
    if facts.workers > facts.host.cores:
        text = f"{seen}: they take turns, and what watchers see waits for them. Run {best}."
    elif 0 < facts.workers < best:
        text = f"{seen}, and memory for more: the other cores compute nothing. Run {best}."
    else:
        return None
    return Advice(topic="workers", text=text, setting=f"workers = {best}")


def memory(facts: Facts) -> Advice | None:
    """As many workers as fit."""
    used, limit, whose = _memory(facts.host)
    fit = _fitting(facts)
    if fit is None or fit >= facts.workers or used <= MEMORY_SHARE * limit:
        return None
    each = size(facts.worker_memory_bytes / facts.workers)
    seen = f"{part(used, limit)} of {whose} are used, and {_count(facts.workers, 'worker')} hold {each} each"
    best = _best(facts)
    if fit > 0:
        text = f"{seen}: {fit} would fit. Run {best}, or give them more memory."
    else:
        text = f"{seen}: not even one fits beside the rest. Run one, and give it more memory or smaller frames."
    return Advice(topic="memory", text=text, setting=f"workers = {best}" if best < facts.workers else None)


def tile_size(facts: Facts) -> Advice | None:
    """Larger where handing tiles over takes its share, smaller where workers would wait for the last one."""
    if facts.tile_s is None or not facts.tiles or not facts.workers:
        return None
    smallest, largest = TILE_PX
    enough = TILES_A_WORKER * facts.workers
    seen = f"{facts.tiles:,} tiles of {facts.tile_px} pixels take {_duration(facts.tile_s)} each"
    # Half or twice the edge is a quarter or four times of each: what is asked for must not be wrong the other way.
    larger, smaller = 2 * facts.tile_px, facts.tile_px // 2
    if facts.tile_s < TILE_SHORT_S and facts.tiles >= 4 * enough and larger <= largest:
        text = f"{seen}, and handing one over up to 0.2 ms. Use tiles of {larger} pixels."
        return Advice(topic="tile_size", text=text, setting=f"tile_px = {larger}")
    if smaller < smallest:
        return None
    if facts.tile_s > TILE_LONG_S:
        text = f"{seen}: the last one keeps a core busy alone. Use tiles of {smaller} pixels."
        return Advice(topic="tile_size", text=text, setting=f"tile_px = {smaller}")
    if facts.tiles < enough and facts.tile_s >= 4 * TILE_SHORT_S:
        text = f"{seen}, for {_count(facts.workers, 'worker')}: some wait for the last. Use tiles of {smaller} pixels."
        return Advice(topic="tile_size", text=text, setting=f"tile_px = {smaller}")
    return None


def watchers(facts: Facts) -> Advice | None:
    """What makes sessions slow, where it is not only one."""
    if facts.slow_sessions < SLOW_SESSIONS or facts.slow_sessions < SLOW_SHARE * facts.sessions:
        return None
    limit = f"{facts.write_limit_bytes / 1024:g} KiB"
    text = (
        f"{facts.slow_sessions} of {facts.sessions} sessions get progress at less than {facts.max_hz:g} Hz, since more"
        f" than {limit} (write_limit_bytes) was unsent when more was due. Let them subscribe to fewer operations, or"
        f" all of them get it at {facts.max_hz / 2:g} Hz (max_hz)."
    )
    return Advice(topic="watchers", text=text, setting=f"max_hz = {facts.max_hz / 2:g}")


def disk(facts: Facts) -> Advice | None:
    """Room for frames."""
    free, total = facts.host.disk_free_bytes, facts.host.disk_total_bytes
    if free is None or not total or free > disk_wanted_bytes(total):
        return None
    text = (
        f"{part(free, total)} are free where the state is. Remove old renders with"
        " `rfm-runtime clean --older-than-days 7`, or keep the state on another disk (state_dir)."
    )
    return Advice(topic="disk", text=text, setting="state_dir")


def descriptors(facts: Facts) -> Advice | None:
    """Of the process that is nearest to its limit."""
    shares = [(_share(process), process) for process in facts.processes]
    share, process = max(shares, key=lambda pair: pair[0], default=(0.0, None))
    if process is None or share < DESCRIPTORS.degraded:
        return None
    opened, limit = process.descriptors or 0, process.descriptors_limit or 0
    sockets = "" if process.sockets is None else f", {process.sockets:,} of them sockets"
    text = (
        f"{process.name} has {opened:,} of {limit:,} descriptors open{sockets}. Start the runtime with a limit of"
        f" {2 * limit:,} (`ulimit -n`, or LimitNOFILE= of its unit)."
    )
    return Advice(topic="descriptors", text=text)


RULES: tuple[Rule, ...] = (memory, disk, descriptors, workers, tile_size, watchers)
"""What may end something first, then what makes it slow."""


def advise(facts: Facts) -> tuple[Advice, ...]:
    """What every rule has to say, in their order."""
    return tuple(advice for rule in RULES if (advice := rule(facts)) is not None)


def _memory(host: HostUsage) -> tuple[int, int, str]:
    """Used and limit in bytes, and whose: the cgroup's where that is less than the machine has."""
    total = host.memory_total_bytes
    limit, used = host.cgroup_memory_limit_bytes, host.cgroup_memory_used_bytes
    if limit and used is not None and (not total or limit < total):
        return used, limit, "the cgroup's limit"
    return total - host.memory_available_bytes, total, "the machine's memory"


def _fitting(facts: Facts) -> int | None:
    """Workers that have room within `MEMORY_SHARE`; None if that cannot be said."""
    used, limit, _ = _memory(facts.host)
    if not facts.workers or not facts.worker_memory_bytes or not limit:
        return None
    # What they share counts for each of them, and once in what is used: the rest cannot be less than nothing.
    rest = max(0, used - facts.worker_memory_bytes)
    return max(0, int((MEMORY_SHARE * limit - rest) / (facts.worker_memory_bytes / facts.workers)))


def _best(facts: Facts) -> int:
    """One worker a core as far as they fit, and one at least: 0 as a setting means one a core."""
    fit = _fitting(facts)
    return max(1, facts.host.cores if fit is None else min(facts.host.cores, fit))


def _share(process: ProcessUsage) -> float:
    return (process.descriptors or 0) / process.descriptors_limit if process.descriptors_limit else 0.0


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def _duration(seconds: float) -> str:
    return f"{seconds:.1f} s" if seconds >= 1.0 else f"{seconds * 1000:.1f} ms"
