"""Each fault of a process, done to a real one: it suffers, and it is as before when the fault is over."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import psutil
import pytest

from rfm_runtime.testing.chaos import processes
from rfm_runtime.testing.chaos.clock import WallClock
from rfm_runtime.testing.chaos.faults import Descriptors, Freeze, Kill, Memory, Starve
from rfm_runtime.testing.runtime import eventually

ANSWERS = """
import os, sys
for line in sys.stdin:
    try:
        print(eval(line), flush=True)
    except (MemoryError, OSError) as error:
        print(type(error).__name__, flush=True)
"""


class Victim:
    """Evaluates what it is told."""

    def __init__(self) -> None:
        self.popen = subprocess.Popen(
            [sys.executable, "-u", "-c", ANSWERS], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )
        self.process = psutil.Process(self.popen.pid)
        assert self.ask("1 + 1") == "2"

    def say(self, expression: str) -> None:
        assert self.popen.stdin is not None
        self.popen.stdin.write(expression + "\n")
        self.popen.stdin.flush()

    def answer(self) -> str:
        assert self.popen.stdout is not None
        return self.popen.stdout.readline().strip()

    def ask(self, expression: str) -> str:
        self.say(expression)
        return self.answer()


@pytest.fixture
def victim() -> Iterator[Victim]:
    made = Victim()
    yield made
    made.popen.kill()
    made.popen.communicate()


def test_a_killed_process_is_gone_and_what_would_end_the_fault_does_nothing(victim: Victim) -> None:
    end = processes.begin(Kill(), victim.process)
    assert victim.popen.wait(10) == -9
    end()
    with pytest.raises(psutil.NoSuchProcess):
        processes.begin(Kill(), victim.process)


def test_a_frozen_process_answers_when_it_is_over(victim: Victim) -> None:
    end = processes.begin(Freeze(), victim.process)
    victim.say("6 * 7")
    eventually(lambda: victim.process.status() == psutil.STATUS_STOPPED, what="it is stopped")
    end()
    assert victim.answer() == "42"


def test_the_end_of_a_fault_is_no_error_when_its_process_has_died(victim: Victim) -> None:
    ends = [processes.begin(fault, victim.process) for fault in (Freeze(), Memory(), Descriptors(), Starve(1))]
    victim.popen.kill()
    victim.popen.wait()
    for end in ends:
        end()


def test_a_process_without_memory_gets_no_more_than_what_is_spared(victim: Victim) -> None:
    end = processes.begin(Memory(spare_bytes=8 * 2**20), victim.process)
    assert victim.ask("len(bytearray(4 * 2**20))") == str(4 * 2**20)
    assert victim.ask("len(bytearray(64 * 2**20))") == "MemoryError"
    end()
    assert victim.ask("len(bytearray(64 * 2**20))") == str(64 * 2**20)


def test_a_process_without_descriptors_opens_nothing(victim: Victim) -> None:
    end = processes.begin(Descriptors(spare=0), victim.process)
    assert victim.ask("os.open('/dev/null', os.O_RDONLY)") == "OSError"
    end()
    assert victim.ask("os.open('/dev/null', os.O_RDONLY)").isdigit()


def test_a_starved_process_shares_one_core_with_rivals_that_go_when_it_is_over(victim: Victim) -> None:
    before = victim.process.cpu_affinity()
    end = processes.begin(Starve(rivals=3), victim.process)
    assert victim.ask("len(os.sched_getaffinity(0))") == "1"
    rivals = [child for child in psutil.Process().children() if "while True" in " ".join(child.cmdline())]
    assert len(rivals) == 3
    [core] = victim.process.cpu_affinity()
    assert all(rival.cpu_affinity() == [core] for rival in rivals)
    eventually(lambda: all(rival.cpu_times().user > 0.02 for rival in rivals), what="they compute")
    end()
    assert victim.process.cpu_affinity() == before
    assert not any(rival.is_running() for rival in rivals)


@pytest.mark.scenario("F10")
def test_a_clock_that_is_set_moves_the_wall_clock_of_its_processes_alone(tmp_path: Path) -> None:
    clock = WallClock(tmp_path / "clock")
    environment = dict(os.environ)
    with clock.environment():
        victim = Victim()
    assert dict(os.environ) == environment
    monotonic_s = time.monotonic()
    for offset_s in (7200.0, -3600.5, 0.0):
        clock.set(offset_s)
        for expression in ("__import__('time').time()", "__import__('time').time_ns() / 1e9"):
            assert float(victim.ask(expression)) - time.time() == pytest.approx(offset_s, abs=1.0)
        assert float(victim.ask("__import__('time').monotonic()")) == pytest.approx(time.monotonic(), abs=5.0)
    assert time.monotonic() >= monotonic_s
    victim.popen.communicate()


@pytest.mark.scenario("F7")
def test_a_small_disk_is_seen_by_its_process_alone_filled_and_emptied(tmp_path: Path) -> None:
    code = f"""
import errno, pathlib, sys
from rfm_runtime.testing.chaos import disk
folder = pathlib.Path({str(tmp_path)!r})
try:
    disk.mount_small_disk(folder, 4 * 2**20)
except OSError as error:
    sys.exit(0 if error.errno == errno.EPERM else repr(error))
(folder / "before").write_bytes(b"x" * 1000)
ballast = disk.fill(folder)
try:
    (folder / "more").write_bytes(b"x" * 100_000)
    sys.exit("there was room")
except OSError as error:
    assert error.errno == errno.ENOSPC, error
ballast.unlink()
(folder / "more").write_bytes(b"x" * 100_000)
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    assert list(tmp_path.iterdir()) == []
