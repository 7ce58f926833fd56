"""What each process below this one uses: a worker that is busy is told from one that waits."""

from __future__ import annotations

import subprocess
import sys

import pytest

from rfm_runtime.observe.resources import ResourceMonitor
from rfm_runtime.testing.runtime import eventually

pytestmark = pytest.mark.scenario("E14", "J105")


def test_each_has_its_own_figures() -> None:
    monitor = ResourceMonitor()
    command = [sys.executable, "-c"]
    with (
        subprocess.Popen([*command, "while True: pass"]) as busy,
        subprocess.Popen([*command, "input()"], stdin=subprocess.PIPE) as idle,
    ):
        try:

            def told() -> dict[int, float]:
                return {child.pid: child.cpu_percent for child in monitor.sample().process.children.each}

            eventually(lambda: told().get(busy.pid, 0.0) > 5.0, what="the busy one is seen")
            eventually(lambda: told().get(idle.pid, 100.0) < 5.0, what="the idle one is told from it")
            children = monitor.sample().process.children
            assert children.processes == len(children.each)
            assert children.memory_bytes == sum(child.memory_bytes for child in children.each)
        finally:
            busy.kill()
            idle.kill()
