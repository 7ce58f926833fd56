"""What this process's control group grants it: memory and CPU, v1 and v2, nested. Reads files, and never raises.

Every reader takes the folder that /proc and /sys are in, so that a folder of files stands in for a machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

__all__ = ["ROOT", "CgroupMemory", "cgroup_memory", "cpu_quota", "oom_kills"]

ROOT = Path("/")

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


def oom_kills(root: Path = ROOT) -> int:
    """Processes that the kernel has killed for want of memory: of this group, and of the machine. Only its rise counts.

    The machine's count has all groups in it, those below this one as well.
    """
    files = [_read(level / "memory.events") for level in _levels_v2(root)]
    files += [_read(level / "memory.oom_control") for level in _levels_v1(root, "memory")]
    files.append(_read(root / "proc/vmstat"))
    fields = (line.split() for file in files for line in file.splitlines())
    return sum(_number(line[1]) or 0 for line in fields if len(line) == 2 and line[0] == b"oom_kill")


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
