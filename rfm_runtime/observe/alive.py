"""Which process this is, and whether another is the one that was meant: numbers of processes are used again.

Needs no extra, since every program that reports names itself.
"""

from __future__ import annotations

import os
import socket
from pathlib import Path

from rfm_runtime.protocol.internal import Source

__all__ = ["boot_id", "is_alive", "source", "start_time_s"]

SAME_START_S = 0.005
"""Half a step of the clock of processes."""

_HAS_PROC = Path("/proc/self/stat").exists()


def boot_id() -> str:
    """Changes with every start of the machine: a pid of before means nothing."""
    path = Path("/proc/sys/kernel/random/boot_id")
    if path.exists():
        return path.read_text(encoding="ascii").strip()
    import psutil

    return f"{psutil.boot_time():.0f}"


def source(name: str, incarnation: int) -> Source:
    """This process, as it names itself to others."""
    pid = os.getpid()
    return Source(name, socket.gethostname(), boot_id(), pid, start_time_s(pid) or 0.0, incarnation)


def start_time_s(pid: int) -> float | None:
    """When process `pid` started, on a clock that nobody sets (10 ms steps); None if there is none.

    On Linux since the boot: seconds since 1970 are computed from the clock, and move when it is corrected.
    """
    found = _look(pid)
    return None if found is None else found[0]


def is_alive(pid: int, start_time: float) -> bool:
    """Whether the process that started at `start_time` still is, and is no zombie."""
    found = _look(pid)
    return found is not None and abs(found[0] - start_time) < SAME_START_S and not found[1]


def _look(pid: int) -> tuple[float, bool] | None:
    """(start time, whether it is a zombie) of a process."""
    if _HAS_PROC:
        try:
            stat = Path(f"/proc/{pid}/stat").read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None
        # The name, in parentheses, may contain anything: proc_pid_stat(5), fields 3 and 22.
        fields = stat.rpartition(")")[2].split()
        return int(fields[19]) / os.sysconf("SC_CLK_TCK"), fields[0] in "ZX"
    import psutil

    try:
        process = psutil.Process(pid)
        return process.create_time(), process.status() == psutil.STATUS_ZOMBIE
    except psutil.Error:
        return None
