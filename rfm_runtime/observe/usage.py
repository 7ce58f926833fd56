"""What this process, those below it and its machine use: counters since their start, as the system keeps them.

On Linux from /proc, where psutil would read a dozen files and every process for the same; elsewhere from psutil.
Functions raise what reading raises; `observe.resources` bears it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import NamedTuple

import psutil

__all__ = [
    "HAS_PROC",
    "Child",
    "Descendants",
    "Descriptors",
    "MachineTimes",
    "Memory",
    "descendants_of",
    "descriptors",
    "descriptors_by_psutil",
    "descriptors_limit",
    "machine_memory",
    "machine_times",
    "memory",
    "memory_by_psutil",
]

HAS_PROC = Path("/proc/self/status").exists()

FORGET_EVERY = 12
"""Searches after which all processes are looked at again, since numbers of processes are used again: a minute."""

_TICK_S = 1.0 / os.sysconf("SC_CLK_TCK")
_PAGE_BYTES = os.sysconf("SC_PAGE_SIZE")


class Memory(NamedTuple):
    """Resident bytes, the most there ever were, and threads."""

    resident_bytes: int
    peak_bytes: int
    threads: int


class Descriptors(NamedTuple):
    """Open descriptors, and how many of them are sockets."""

    opened: int
    sockets: int


class MachineTimes(NamedTuple):
    """Seconds of all cores since the start: busy, and in all."""

    busy_s: float
    total_s: float


class Child(NamedTuple):
    """started: with the pid, it names a process for good. cpu_s: since its start."""

    pid: int
    started: float
    cpu_s: float
    memory_bytes: int


def memory() -> Memory:
    """Of this process."""
    return _memory_by_proc() if HAS_PROC else memory_by_psutil()


def _memory_by_proc() -> Memory:
    fields = dict(line.split(b":", 1) for line in Path("/proc/self/status").read_bytes().splitlines() if b":" in line)
    # Sizes in kB.
    resident, peak = (int(fields[name].split()[0]) * 1024 for name in (b"VmRSS", b"VmHWM"))
    return Memory(resident, max(resident, peak), int(fields[b"Threads"]))


def memory_by_psutil() -> Memory:
    """The peak is the present use where the system keeps none."""
    process = psutil.Process()
    resident = int(process.memory_info().rss)
    return Memory(resident, resident, process.num_threads())


def descriptors() -> Descriptors:
    """Of this process."""
    return _descriptors_by_proc() if HAS_PROC else descriptors_by_psutil()


def _descriptors_by_proc() -> Descriptors:
    opened = sockets = 0
    with os.scandir("/proc/self/fd") as entries:
        for entry in entries:
            try:
                # A third of what reading the link costs.
                mode = os.fstat(int(entry.name)).st_mode
            except OSError:
                # Closed since.
                continue
            opened += 1
            sockets += stat.S_ISSOCK(mode)
    # One is that of this listing.
    return Descriptors(opened - 1, sockets)


def descriptors_by_psutil() -> Descriptors:
    """Sockets of the internet and local ones."""
    process = psutil.Process()
    return Descriptors(process.num_fds(), len(process.net_connections("all")))


def descriptors_limit() -> int | None:
    """How many this process may open; None if there is no limit."""
    try:
        import resource
    except ImportError:
        return None
    limit, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return None if limit == resource.RLIM_INFINITY else limit


def machine_times() -> MachineTimes:
    """Of all cores. Time that a virtual machine was not given is busy: others had it."""
    times = psutil.cpu_times()
    # The time of guests is in that of users, too.
    total_s = sum(times) - getattr(times, "guest", 0.0) - getattr(times, "guest_nice", 0.0)
    return MachineTimes(total_s - times.idle - getattr(times, "iowait", 0.0), total_s)


def machine_memory() -> tuple[int, int]:
    """Total and available bytes. Available: without swapping, file cache included."""
    memory = psutil.virtual_memory()
    return memory.total, memory.available


class Descendants:
    """Finds the processes below this one. Remembers which are not, so that only new ones are looked at."""

    def __init__(self) -> None:
        self._strangers: set[int] = set()
        self._searches = 0

    def find(self) -> list[Child]:
        """All that live now, those of children included."""
        return self._by_proc() if HAS_PROC else descendants_of(os.getpid())

    def _by_proc(self) -> list[Child]:
        if self._searches % FORGET_EVERY == 0:
            self._strangers.clear()
        self._searches += 1
        with os.scandir("/proc") as entries:
            pids = {int(entry.name) for entry in entries if entry.name.isdigit()}
        self._strangers &= pids
        parents: dict[int, int] = {}
        children: dict[int, Child] = {}
        for pid in pids - self._strangers:
            if (found := _stat(pid)) is not None:
                parents[pid], children[pid] = found
        ours = _below(os.getpid(), parents)
        self._strangers |= parents.keys() - ours
        return [children[pid] for pid in sorted(ours)]


def descendants_of(pid: int) -> list[Child]:
    """By psutil, which looks at every process."""
    found = []
    for process in psutil.Process(pid).children(recursive=True):
        try:
            with process.oneshot():
                times = process.cpu_times()
                used = process.memory_info().rss
                found.append(Child(process.pid, process.create_time(), times.user + times.system, used))
        except psutil.Error:
            continue
    return found


def _below(root: int, parents: dict[int, int]) -> set[int]:
    below: dict[int, list[int]] = {}
    for pid, parent in parents.items():
        below.setdefault(parent, []).append(pid)
    found: set[int] = set()
    to_see = [root]
    while to_see:
        more = [pid for pid in below.get(to_see.pop(), ()) if pid not in found]
        found.update(more)
        to_see += more
    return found


def _stat(pid: int) -> tuple[int, Child] | None:
    """Parent and figures of a process; None if it is gone, or waits to be reaped."""
    try:
        text = Path(f"/proc/{pid}/stat").read_bytes()
    except OSError:
        return None
    # The name, in parentheses, may contain anything: proc_pid_stat(5), fields 3, 4, 14, 15, 22 and 24.
    fields = text.rpartition(b")")[2].split()
    if fields[0] == b"Z":
        return None
    cpu_s = (int(fields[11]) + int(fields[12])) * _TICK_S
    return int(fields[1]), Child(pid, int(fields[19]) * _TICK_S, cpu_s, int(fields[21]) * _PAGE_BYTES)
