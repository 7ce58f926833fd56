"""Life of processes on this host, and what they may use. Linux; elsewhere what can be said without /proc."""

from __future__ import annotations

import ctypes
import os
import signal
import sys

from rfm_runtime.observe.cgroups import cpu_quota

__all__ = ["available_cores", "die_with_parent"]

_PR_SET_PDEATHSIG = 1  # prctl(2)


def die_with_parent(parent_pid: int, signal_number: int = signal.SIGKILL) -> None:
    """Have the kernel send `signal_number` when the parent's thread ends; exit if it has already.

    A pipe's end-of-file is not enough: a stopped child never reads it.
    """
    if sys.platform == "linux":
        libc = ctypes.CDLL(None, use_errno=True)
        if libc.prctl(_PR_SET_PDEATHSIG, signal_number, 0, 0, 0) != 0:
            raise OSError(ctypes.get_errno(), "prctl(PR_SET_PDEATHSIG)")
    if os.getppid() != parent_pid:
        os._exit(1)


def available_cores() -> int:
    """Cores this process may use: affinity, and the CPU quota of its cgroup (v2, then v1), at least 1."""
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    quota = cpu_quota()
    return max(1, cores if quota is None else min(cores, int(quota + 0.5)))
