"""Usage: what is read from /proc is what psutil says, and what a program does is seen in it."""

from __future__ import annotations

import os
import socket
import subprocess
import sys
from collections.abc import Callable
from contextlib import ExitStack
from pathlib import Path

import psutil
import pytest

from rfm_runtime.observe.usage import (
    Descendants,
    Descriptors,
    descendants_of,
    descriptors,
    descriptors_by_psutil,
    descriptors_limit,
    machine_times,
    memory,
    memory_by_psutil,
)
from rfm_runtime.testing.runtime import eventually

pytestmark = pytest.mark.scenario("J18")

MIB = 1024**2
PARENT = (
    "import subprocess, sys, time\n"
    # The system counts CPU time in hundredths of a second, and a quick machine starts Python in less.
    "while time.process_time() < 0.05: pass\n"
    "child = subprocess.Popen([sys.executable, '-c', 'input()'], stdin=subprocess.PIPE)\n"
    "print(child.pid, flush=True); input(); child.communicate(b'\\n')"
)


def test_memory_is_what_psutil_says_and_shows_what_was_written() -> None:
    before, theirs = memory(), memory_by_psutil()
    assert before.resident_bytes == pytest.approx(theirs.resident_bytes, rel=0.1)
    assert before.threads == theirs.threads
    held = bytearray(os.urandom(64 * MIB))
    assert memory().resident_bytes >= before.resident_bytes + 48 * MIB
    del held
    assert memory().peak_bytes >= before.resident_bytes + 48 * MIB


@pytest.mark.parametrize("read", [descriptors, descriptors_by_psutil])
def test_opened_files_and_sockets_are_counted(read: Callable[[], Descriptors], tmp_path: Path) -> None:
    before = read()
    with ExitStack() as opened:
        for number in range(5):
            opened.enter_context((tmp_path / str(number)).open("w"))
        for _ in range(3):
            ours = opened.enter_context(socket.socket())
            # Others are in no list of connections.
            ours.listen()
        assert read().opened - before.opened == 8
        assert read().sockets - before.sockets == 3
    assert read() == before


def test_a_limit_of_descriptors_is_the_one_that_holds() -> None:
    code = (
        "import resource; resource.setrlimit(resource.RLIMIT_NOFILE, (123, 123));"
        "from rfm_runtime.observe.usage import descriptors_limit; print(descriptors_limit())"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == "123"
    limit = descriptors_limit()
    assert limit is None or limit > 0


def test_children_and_theirs_are_found_until_they_end() -> None:
    descendants = Descendants()
    before = {child.pid for child in descendants.find()}
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        grandchild = int(process.stdout.readline())
        found = {child.pid: child for child in descendants.find()}
        assert found.keys() - before == {process.pid, grandchild}
        theirs = {child.pid: child for child in descendants_of(os.getpid())}
        assert theirs.keys() == found.keys()
        assert found[process.pid].memory_bytes == pytest.approx(theirs[process.pid].memory_bytes, rel=0.5)
        assert found[process.pid].cpu_s > 0.0
        process.communicate(b"\n")
    eventually(lambda: {child.pid for child in descendants.find()} <= before, what="the end of the children")


def test_a_child_that_was_not_waited_for_is_none_any_more() -> None:
    descendants = Descendants()
    process = subprocess.Popen([sys.executable, "-c", ""])
    eventually(lambda: psutil.Process(process.pid).status() == psutil.STATUS_ZOMBIE, what="zombie")
    assert process.pid not in {child.pid for child in descendants.find()}
    process.wait()


def test_the_machine_has_been_busy_for_a_part_of_the_time() -> None:
    first = machine_times()
    assert 0.0 < first.busy_s < first.total_s
    eventually(lambda: machine_times().total_s > first.total_s, what="time passes")
