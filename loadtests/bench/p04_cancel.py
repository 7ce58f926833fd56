"""P4: cancel request → every core idle, in a 10⁹-iteration pixel; and a forced kill.

Measured at the client that asked, until `operation_canceled` arrives: that event is sent only after every
worker has returned, and includes the journal's commit: an upper bound. Afterwards the CPU
time is read twice, 100 ms apart, to see that they really are idle.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import psutil

from rfm_runtime import Client
from rfm_runtime.testing.runtime import Runtime, eventually, runtime

# Inside the main cardioid, with the interior tests off: every pixel takes all 10⁹ iterations.
PIXELS = {
    "re": "-0.1",
    "im": "0.1",
    "width": "0.01",
    "width_px": 256,
    "height_px": 256,
    "max_iter": 1_000_000_000,
    "interior_tests": False,
}
KILL_LIMIT_S = 1.0


def run(quick: bool = False) -> list[dict[str, Any]]:
    idle_cpu_ms = []
    with (
        tempfile.TemporaryDirectory(prefix="rfm-") as folder,
        runtime(Path(folder)) as running,
        Client(url=running.info.url, token=running.info.token) as client,
    ):
        times_ms = sorted(_cancel(client, running) * 1000 for _ in range(10 if quick else 200))
        for _ in range(2 if quick else 10):
            _cancel(client, running)
            idle_cpu_ms.append(_cpu_over(running, 0.1) * 1000)
        kills_s = [_kill(client, running) for _ in range(1 if quick else 5)]
    p50, p99 = statistics.median(times_ms), times_ms[max(0, round(0.99 * len(times_ms)) - 1)]
    return [
        _row("request → canceled at the client, p50", p50, "ms", 5.0),
        _row(f"request → canceled at the client, p99 of {len(times_ms)}", p99, "ms", 20.0),
        _row("CPU time of all workers in the next 100 ms, worst", max(idle_cpu_ms), "ms", 1.0),
        _row("a worker that does not answer (SIGSTOP), hard cancel → canceled, worst", max(kills_s), "s", 1.0),
    ]


def _row(what: str, ours: float, unit: str, limit: float) -> dict[str, Any]:
    return {
        "id": "P4",
        "what": what,
        "ours": ours,
        "peer": None,
        "unit": unit,
        "ratio": None,
        "target": f"≤ {limit:g} {unit}",
        "met": ours <= limit,
    }


def _cancel(client: Client, running: Runtime) -> float:
    operation = client.submit("render.escape_time", PIXELS)
    workers = running.workers()
    before = [worker.cpu_times().user for worker in workers]
    eventually(
        lambda: all(w.cpu_times().user > b + 0.03 for w, b in zip(workers, before, strict=True)),
        what="every worker iterates",
    )
    begin_s = time.perf_counter()
    operation.cancel()
    operation.wait(10)
    elapsed_s = time.perf_counter() - begin_s
    if operation.state != "canceled":
        raise RuntimeError(f"expected canceled, got {operation.state}")
    return elapsed_s


def _cpu_over(running: Runtime, seconds: float) -> float:
    workers = running.workers()
    before_s = _on_cpu_s(workers)
    time.sleep(seconds)
    return _on_cpu_s(workers) - before_s


def _on_cpu_s(workers: list[psutil.Process]) -> float:
    """Seconds on a core, with the scheduler's own nanosecond accounting (proc(5), schedstat)."""
    total_ns = 0
    for worker in workers:
        for thread in Path(f"/proc/{worker.pid}/task").iterdir():
            total_ns += int((thread / "schedstat").read_text().split()[0])
    return total_ns / 1e9


def _kill(client: Client, running: Runtime) -> float:
    operation = client.submit("render.escape_time", PIXELS)
    workers = running.workers()
    before = [worker.cpu_times().user for worker in workers]
    eventually(lambda: all(w.cpu_times().user > b for w, b in zip(workers, before, strict=True)), what="runs")
    workers[0].suspend()
    begin_s = time.perf_counter()
    operation.cancel(mode="hard")
    operation.wait(10)
    elapsed_s = time.perf_counter() - begin_s
    eventually(lambda: len(running.workers()) == len(workers), what="the killed worker is replaced")
    return elapsed_s


if __name__ == "__main__":
    for row in run(quick="--quick" in sys.argv):
        print(row)
