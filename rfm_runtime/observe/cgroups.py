"""What this process's control group grants it: memory and CPU, v1 and v2, nested. Reads files, and never raises.

Every reader takes the folder that /proc and /sys are in, so that a folder of files stands in for a machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["OOM_LOOK_S", "ROOT", "CgroupMemory", "OomKills", "cgroup_memory", "cpu_quota"]

ROOT = Path("/")

OOM_LOOK_S = 5.0
OOM_RECENT_S = 10.0
"""A death is noticed within milliseconds of its kill, and the kill by the next look."""

NO_LIMIT_BYTES = 2**60
"""v1 says *no limit* with the largest multiple of a page that 63 bits hold."""

_DIGITS = 19
"""Of the largest number that a kernel writes."""


class CgroupMemory(NamedTuple):
    """The smallest limit on the way to the root, and what its group uses, without file cache that nobody maps lately.

    used_bytes: None where the limit can be read and the use cannot.
    """

    limit_bytes: int
    used_bytes: int | None


def cgroup_memory(root: Path = ROOT) -> CgroupMemory | None:
    """Limit and use of memory; None without a limit."""
    found = [
        *_memory(_levels_v2(root), "memory.max", "memory.current", b"inactive_file"),
        *_memory(_levels_v1(root, "memory"), "memory.limit_in_bytes", "memory.usage_in_bytes", b"total_inactive_file"),
    ]
    return min(found, key=lambda one: one.limit_bytes, default=None)


def cpu_quota(root: Path = ROOT) -> float | None:
    """Cores' worth of CPU time, the smallest on the way to the root; None without a limit."""
    pairs = [_read(level / "cpu.max").split() for level in _levels_v2(root)]
    pairs += [
        [_read(level / "cpu.cfs_quota_us"), _read(level / "cpu.cfs_period_us")] for level in _levels_v1(root, "cpu")
    ]
    numbers = [[_number(text) for text in pair] for pair in pairs if len(pair) == 2]
    return min((quota / period for quota, period in numbers if quota and period), default=None)


class OomKills:
    """Which SIGKILL was the kernel's, for want of memory: it counts those it sends, and does not say to whom.

    now_s: monotonic seconds. A kill that is counted is some death's within `OOM_RECENT_S`, and of one death alone.
    """

    def __init__(self, root: Path = ROOT) -> None:
        self._root = root
        self._counts = _oom_counts(root)
        self._unclaimed: list[float] = []

    def look(self, now_s: float) -> None:
        """Call it every few seconds: what has happened by now is no explanation of a death much later."""
        counts = _oom_counts(self._root)
        # Of this group, of those above it, of the machine: one kill is counted by several of them.
        rises = [counts[file] - before for file, before in self._counts.items() if file in counts]
        self._counts = counts
        self._unclaimed = [at_s for at_s in self._unclaimed if now_s - at_s < OOM_RECENT_S]
        self._unclaimed += [now_s] * max([0, *rises])

    def claim(self, now_s: float) -> bool:
        """Whether a SIGKILL that was just noticed, and that nobody here sent, was one of them."""
        self.look(now_s)
        if not self._unclaimed:
            return False
        self._unclaimed.pop(0)
        return True


def _oom_counts(root: Path) -> dict[Path, int]:
    files = [level / "memory.events" for level in _levels_v2(root)]
    files += [level / "memory.oom_control" for level in _levels_v1(root, "memory")]
    return {file: _oom_count(_read(file)) for file in [*files, root / "proc/vmstat"]}


def _oom_count(text: bytes) -> int:
    fields = (line.split() for line in text.splitlines())
    return next((_number(line[1]) or 0 for line in fields if len(line) == 2 and line[0] == b"oom_kill"), 0)


def _memory(levels: Iterator[Path], limit: str, use: str, cache: bytes) -> Iterator[CgroupMemory]:
    for level in levels:
        limit_bytes = _number(_read(level / limit))
        if limit_bytes is not None and 0 < limit_bytes < NO_LIMIT_BYTES:
            yield CgroupMemory(limit_bytes, _used(level, use, cache))


def _used(level: Path, use: str, cache: bytes) -> int | None:
    used = _number(_read(level / use))
    if used is None:
        return None
    # The kernel counts every page that was read from a file, and drops those before it refuses anything: a group that
    # writes frames would look full for ever.
    lines = (line.split() for line in _read(level / "memory.stat").splitlines())
    idle = next((_number(line[1]) for line in lines if len(line) == 2 and line[0] == cache), None)
    return max(0, used - (idle or 0))


def _levels_v2(root: Path) -> Iterator[Path]:
    """The group's folder and those above it."""
    for line in _read(root / "proc/self/cgroup").splitlines():
        if line.startswith(b"0::"):
            yield from _levels(root / "sys/fs/cgroup", line[3:])


def _levels_v1(root: Path, controller: str) -> Iterator[Path]:
    for line in _read(root / "proc/self/cgroup").splitlines():
        fields = line.split(b":", 2)
        if len(fields) == 3 and controller.encode() in fields[1].split(b","):
            yield from _levels(root / "sys/fs/cgroup" / controller, fields[2])


def _levels(mount: Path, group: bytes) -> Iterator[Path]:
    names = [name for name in group.decode("utf-8", "surrogateescape").split("/") if name not in ("", ".")]
    # Seen from a namespace that the process is outside of, only the mount itself can be read. In a container of v1 the
    # names are those of the host, and all but the mount are missing.
    if ".." in names:
        names = []
    folder = mount.joinpath(*names)
    yield folder
    yield from folder.parents[: len(names)]


def _read(path: Path) -> bytes:
    """The content, stripped; nothing if it cannot be read."""
    try:
        return path.read_bytes().strip()
    except (OSError, ValueError):
        # A name with a null byte is a ValueError.
        return b""


def _number(text: bytes) -> int | None:
    """A number as a kernel writes it; None for `max`, for -1, and for what is none."""
    return int(text) if text.isdigit() and len(text) <= _DIGITS else None
