"""Faults of processes, carried out with what the system gives to their owner: signals, limits, affinities.

`begin` returns what ends the fault. Whoever has died by then is left alone: a pid is checked with its start time.
"""

from __future__ import annotations

import contextlib
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil

from rfm_runtime.testing.chaos.faults import Descriptors, Freeze, Kill, Memory, Starve

__all__ = ["Undo", "begin"]

Undo = Callable[[], None]

RIVAL = "import ctypes; ctypes.CDLL(None).prctl(1, 9)\nwhile True: pass"
"""Computes until it is killed, or until its parent is gone: PR_SET_PDEATHSIG, SIGKILL."""


def begin(fault: Kill | Freeze | Starve | Memory | Descriptors, process: psutil.Process) -> Undo:
    """Do it to a process that runs; what puts an end to it. Raises psutil.Error if it does not run any more."""
    match fault:
        case Kill():
            process.kill()
            return _nothing
        case Freeze():
            process.suspend()
            return _surviving(process.resume)
        case Starve(rivals):
            return _starve(process, rivals)
        case Memory(spare_bytes):
            return _limit(process, psutil.RLIMIT_AS, process.memory_info().vms + spare_bytes)
        case Descriptors(spare):
            return _limit(process, psutil.RLIMIT_NOFILE, process.num_fds() + spare)


def _nothing() -> None:
    """A kill has no end."""


def _surviving(undo: Undo) -> Undo:
    def end() -> None:
        with contextlib.suppress(psutil.NoSuchProcess):
            undo()

    return end


def _limit(process: psutil.Process, resource: int, soft: int) -> Undo:
    # The hard limit stays: without privileges it could not be raised again.
    before = process.rlimit(resource)
    if before is None:
        raise psutil.AccessDenied(process.pid)
    hard = before[1]
    process.rlimit(resource, (soft if hard == psutil.RLIM_INFINITY else min(soft, hard), hard))

    def end() -> None:
        process.rlimit(resource, before)

    return _surviving(end)


def _starve(process: psutil.Process, rivals: int) -> Undo:
    cores = process.cpu_affinity()
    core = cores[-1]
    _pin(process, [core])
    others = [_rival(core) for _ in range(rivals)]

    def end() -> None:
        for other in others:
            other.kill()
            other.wait()
        with contextlib.suppress(psutil.NoSuchProcess):
            _pin(process, cores)

    return end


def _rival(core: int) -> subprocess.Popen[bytes]:
    started = subprocess.Popen([sys.executable, "-I", "-S", "-c", RIVAL], stdin=subprocess.DEVNULL)
    os.sched_setaffinity(started.pid, [core])
    return started


def _pin(process: psutil.Process, cores: list[int]) -> None:
    """All its threads: an affinity is a thread's, and only new ones inherit it."""
    if not process.is_running():
        raise psutil.NoSuchProcess(process.pid)
    for task in Path(f"/proc/{process.pid}/task").iterdir():
        with contextlib.suppress(ProcessLookupError):
            os.sched_setaffinity(int(task.name), cores)
