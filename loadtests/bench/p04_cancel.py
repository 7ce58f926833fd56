"""P4: cancel request → every core idle, in a 10⁹-iteration pixel; and a forced kill.

From the client's request to the moment when every worker's compute thread sleeps, as the kernel of the system says
(proc(5), stat); and until `operation_canceled` arrives at the client, which is told only after that and after
two commits of the journal. Afterwards the CPU time is read twice, 100 ms apart, to see that they really are idle.
"""

from __future__ import annotations

import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterable
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
        Sampler() as sampler,
    ):
        both_ms = [_cancel(client, running, sampler) for _ in range(10 if quick else 200)]
        for _ in range(2 if quick else 10):
            _cancel(client, running, sampler)
            idle_cpu_ms.append(_cpu_over(running, 0.1) * 1000)
        kills_s = [_kill(client, running) for _ in range(1 if quick else 5)]
    idle, told = (sorted(times) for times in zip(*both_ms, strict=True))
    last = max(0, round(0.99 * len(idle)) - 1)
    return [
        _row("request → every core idle, p50", statistics.median(idle), "ms", 5.0),
        _row(f"request → every core idle, p99 of {len(idle)}", idle[last], "ms", 20.0),
        _row("request → operation_canceled at the client, p50", statistics.median(told), "ms", None),
        _row(f"request → operation_canceled at the client, p99 of {len(told)}", told[last], "ms", None),
        _row("CPU time of all workers in the next 100 ms, worst", max(idle_cpu_ms), "ms", 1.0),
        _row("a worker that does not answer (SIGSTOP), hard cancel → canceled, worst", max(kills_s), "s", 1.0),
    ]


def _row(what: str, ours: float, unit: str, limit: float | None) -> dict[str, Any]:
    return {
        "id": "P4",
        "what": what,
        "ours": ours,
        "peer": None,
        "unit": unit,
        "ratio": None,
        "target": "–" if limit is None else f"≤ {limit:g} {unit}",
        "met": limit is None or ours <= limit,
    }


def _cancel(client: Client, running: Runtime, sampler: Sampler) -> tuple[float, float]:
    """Milliseconds from the request until every core is idle, and until the client is told."""
    operation = client.submit("render.escape_time", PIXELS)
    workers = running.workers()
    before = [worker.cpu_times().user for worker in workers]
    eventually(
        lambda: all(w.cpu_times().user > b + 0.03 for w, b in zip(workers, before, strict=True)),
        what="every worker iterates",
    )
    sampler.ask(_computing(worker) for worker in workers)
    begin_s = time.perf_counter()
    operation.cancel()
    operation.wait(10)
    told_s = time.perf_counter()
    if operation.state != "canceled":
        raise RuntimeError(f"expected canceled, got {operation.state}")
    return (sampler.idle_s() - begin_s) * 1000, (told_s - begin_s) * 1000


class Sampler:
    """Says when threads sleep. A process of its own: it must not share a lock with the client that asks."""

    CODE = """
import sys, time
for line in sys.stdin:
    stats = [open(path, "rb", buffering=0) for path in line.split()]
    print("watching", flush=True)
    while stats:
        stats[0].seek(0)
        if stats[0].read().rpartition(b")")[2].split()[0] == b"R":
            time.sleep(0.0002)
        else:
            stats.pop(0).close()
    print(time.perf_counter(), flush=True)
"""

    def __init__(self) -> None:
        pipe = subprocess.PIPE
        self._process = subprocess.Popen([sys.executable, "-c", self.CODE], stdin=pipe, stdout=pipe, text=True)

    def __enter__(self) -> Sampler:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def ask(self, stats: Iterable[Path]) -> None:
        """Begin to watch these threads."""
        if self._process.stdin is None or self._process.stdout is None:
            raise RuntimeError("no pipes")
        print(*stats, file=self._process.stdin, flush=True)
        self._process.stdout.readline()

    def idle_s(self) -> float:
        """When the last of them fell asleep, by `time.perf_counter` (one clock for all processes)."""
        if self._process.stdout is None:
            raise RuntimeError("no pipes")
        return float(self._process.stdout.readline())


def _computing(worker: psutil.Process) -> Path:
    """The status file of the thread that iterates: the one with most CPU time."""
    busiest = max(worker.threads(), key=lambda thread: thread.user_time)
    return Path(f"/proc/{worker.pid}/task/{busiest.id}/stat")


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
