"""P3: computing a frame through the whole runtime against a bare loop over the same kernel in as many processes.

Ours: frame ready → last tile committed, by the engine's own clock (`rfm_engine_compute_seconds`), with progress at
20 Hz and a watcher that takes all of it. The bare loop: processes that take tiles of the same size from a shared
counter, into shared anonymous memory, from a common start to the last one's end. Encoding the picture is no part of
either. Both sides are measured in turn; the ratio is of the medians.
"""

from __future__ import annotations

import mmap
import multiprocessing
import os
import statistics
import sys
import tempfile
import threading
import time
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from rfm_kernels.cache_key import cache_key
from rfm_runtime import Client
from rfm_runtime.config import cache_home
from rfm_runtime.core.tiles.order import grid_of, rect
from rfm_runtime.errors import UnavailableError
from rfm_runtime.observe.process import available_cores
from rfm_runtime.render.plan import ViewPlan, plan
from rfm_runtime.render.request import RenderRequest, validate
from rfm_runtime.testing.runtime import Runtime, eventually, runtime

TARGET = 0.95
PENDING = -2
VIEW = {"re": "-0.7463", "im": "0.1102", "width": "0.005", "width_px": 3840, "height_px": 2160, "max_iter": 20_000}
# The same with every interior pixel iterated to its end: long enough for what costs a start only not to count.
PLAIN = {**VIEW, "interior_tests": False, "max_iter": 500_000}


def run(quick: bool = False) -> list[dict[str, Any]]:
    rounds = 2 if quick else 21
    with tempfile.TemporaryDirectory(prefix="rfm-") as folder, runtime(Path(folder)) as running, _watched(running):
        eventually(lambda: len(running.workers()) == available_cores(), what="all workers")
        return [
            _compare(running, VIEW, "view (b) at 3840×2160, 20,000 it", rounds),
            _compare(running, PLAIN, "the same without interior tests, 500,000 it", max(2, rounds // 7)),
        ]


def _compare(running: Runtime, params: dict[str, Any], what: str, rounds: int) -> dict[str, Any]:
    request = validate(params)
    ours: list[float] = []
    peer: list[float] = []
    iterations = 0
    with Client(url=running.url, token=running.info.token) as client:
        for _ in range(rounds):
            elapsed_s, iterations = _bare(request)
            peer.append(elapsed_s)
            ours.append(_through(running, client, params))
    ratio = statistics.median(peer) / statistics.median(ours)
    return {
        "id": "P3",
        "what": f"nominal iterations/s, whole runtime against a bare loop: {what}",
        "ours": iterations / statistics.median(ours) / 1e9,
        "peer": iterations / statistics.median(peer) / 1e9,
        "unit": "G/s",
        "ratio": ratio,
        "target": f"≥ {TARGET:g}",
        "met": ratio >= TARGET,
    }


@contextmanager
def _watched(running: Runtime) -> Iterator[None]:
    """One watcher that takes everything."""
    client = Client(url=running.url, token=running.info.token, detail="tiles")

    def watch() -> None:
        try:
            for _ in client.watch():
                continue
        except UnavailableError:
            return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield
    finally:
        client.close()
        thread.join()


def _through(running: Runtime, client: Client, params: dict[str, Any]) -> float:
    before_s = _computed_s(running)
    operation = client.submit("render.escape_time", params)
    if operation.wait(600) != "completed":
        raise RuntimeError(f"the render is {operation.state}")
    return _computed_s(running) - before_s


def _computed_s(running: Runtime) -> float:
    with urllib.request.urlopen(running.url.replace("ws://", "http://") + "/metrics", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith("rfm_engine_compute_seconds_sum "):
                return float(line.split()[1])
    return 0.0


def _bare(request: RenderRequest) -> tuple[float, int]:
    """Seconds and nominal iterations of the bare loop."""
    context = multiprocessing.get_context("fork")
    view, pixels = plan(request), request.width_px * request.height_px
    planes = mmap.mmap(-1, 8 * pixels)
    np.frombuffer(planes, np.int32, pixels)[:] = PENDING
    np.frombuffer(planes, np.float32, pixels, 4 * pixels)[:] = 0.0
    count, nominal = context.Value("q", 0), context.Value("q", 0)
    barrier = context.Barrier(available_cores() + 1)
    processes = [
        context.Process(target=_loop, args=(request, view, planes, count, nominal, barrier))
        for _ in range(available_cores())
    ]
    for process in processes:
        process.start()
    barrier.wait()
    begin_s = time.perf_counter()
    barrier.wait()
    elapsed_s = time.perf_counter() - begin_s
    for process in processes:
        process.join()
    return elapsed_s, int(nominal.value)


def _loop(request: RenderRequest, view: ViewPlan, planes: mmap.mmap, count: Any, nominal: Any, barrier: Any) -> None:
    os.environ["NUMBA_CACHE_DIR"] = str(cache_home() / "kernels" / cache_key())
    from rfm_runtime.engine.renderer import Renderer

    renderer = Renderer(view)
    shape = request.height_px, request.width_px
    n = np.frombuffer(planes, np.int32, shape[0] * shape[1]).reshape(shape)
    nf = np.frombuffer(planes, np.float32, shape[0] * shape[1], 4 * shape[0] * shape[1]).reshape(shape)
    grid = grid_of(request)
    control, counters = np.zeros(1, np.int64), np.zeros(8, np.int64)
    barrier.wait()
    while True:
        with count.get_lock():
            index = count.value
            count.value += 1
        if index >= grid.columns * grid.rows:
            break
        x, y, width, height = rect(grid, index)
        part = np.s_[y : y + height, x : x + width]
        renderer.compute(n[part], nf[part], x, y, control=control, counters=counters)
    with nominal.get_lock():
        nominal.value += int(counters[1])
    barrier.wait()


if __name__ == "__main__":
    for row in run(quick="--quick" in sys.argv):
        print(row)
