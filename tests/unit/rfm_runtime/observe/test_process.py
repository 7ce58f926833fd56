"""Process identity: a pid alone is not a process; dying with the parent really happens."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time

import psutil
import pytest

from rfm_runtime.observe.alive import is_alive, source, start_time_s
from rfm_runtime.observe.process import available_cores
from rfm_runtime.testing.runtime import eventually


def test_this_process_is_alive_and_its_pid_at_another_time_is_not() -> None:
    started = start_time_s(os.getpid())
    assert started is not None
    assert is_alive(os.getpid(), started)
    assert not is_alive(os.getpid(), started - 100.0)


@pytest.mark.scenario("F10")
def test_a_process_is_the_same_whatever_happens_to_the_clock() -> None:
    # What psutil and ps show is computed from the time of day; this must not be.
    started = start_time_s(os.getpid())
    assert started is not None
    assert 0.0 < started <= time.clock_gettime(time.CLOCK_BOOTTIME)
    code = "import os; from rfm_runtime.observe.alive import start_time_s; print(start_time_s(os.getppid()))"
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert float(run.stdout) == started


def test_an_ended_process_is_not_alive() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as process:
        started = start_time_s(process.pid)
        assert started is not None
        assert is_alive(process.pid, started)
        process.communicate(b"\n")
        assert not is_alive(process.pid, started)


def test_a_zombie_is_not_alive() -> None:
    process = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    started = start_time_s(process.pid)
    assert started is not None
    process.kill()
    eventually(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE, what="zombie")
    assert not is_alive(process.pid, started)
    process.communicate()


def test_source_names_this_process() -> None:
    ours = source("engine-0", 3)
    assert (ours.name, ours.pid, ours.incarnation) == ("engine-0", os.getpid(), 3)
    assert ours.boot_id


def test_cores_are_those_of_the_affinity() -> None:
    code = (
        "import os; os.sched_setaffinity(0, {min(os.sched_getaffinity(0))});"
        "from rfm_runtime.observe.process import available_cores; print(available_cores())"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "1"
    assert 1 <= available_cores() <= len(os.sched_getaffinity(0))


@pytest.mark.skipif(sys.platform != "linux", reason="PR_SET_PDEATHSIG is Linux")
def test_even_a_stopped_child_dies_with_its_parent() -> None:
    child = (
        "import os, signal; from rfm_runtime.observe.process import die_with_parent;"
        "die_with_parent(os.getppid()); print(os.getpid(), flush=True); os.kill(os.getpid(), signal.SIGSTOP)"
    )
    parent = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {child!r}])"
    with subprocess.Popen([sys.executable, "-c", parent], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        grandchild = psutil.Process(int(process.stdout.readline()))
        eventually(lambda: grandchild.status() == psutil.STATUS_STOPPED, what="stopped")
        process.send_signal(signal.SIGKILL)
        process.wait()
        eventually(lambda: not grandchild.is_running() or grandchild.status() == psutil.STATUS_ZOMBIE, what="died")
