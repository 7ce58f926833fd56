"""P11: what handing a tile to a worker and taking it back costs, beside computing it.

A frame of many tiles of 16×16 pixels with one iteration each: the time from the frame being ready to the last commit,
less the CPU time that the workers spent in kernels and commits, a tile and worker. The peer is the same number of
tasks that do nothing through dask.distributed on as many processes.
"""

from __future__ import annotations

import statistics
import sys
import tempfile
import time
import urllib.request
from pathlib import Path
from typing import Any

from distributed import Client as Dask
from distributed import LocalCluster

from rfm_runtime import Client
from rfm_runtime.observe.process import available_cores
from rfm_runtime.testing.runtime import Runtime, eventually, runtime

TARGET_MS = 0.1
EDGE_TILES = 64
VIEW = {
    "re": "-0.75",
    "im": "0",
    "width": "3",
    "width_px": 16 * EDGE_TILES,
    "height_px": 16 * EDGE_TILES,
    "max_iter": 1,
    "tile_px": 16,
}


def run(quick: bool = False) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="rfm-") as folder, runtime(Path(folder)) as running:
        eventually(lambda: len(running.workers()) == available_cores(), what="all workers")
        with Client(url=running.url, token=running.info.token) as client:
            ours = [_a_tile_ms(running, client) for _ in range(2 if quick else 9)]
    peer = _dask_ms(quick)
    mine = statistics.median(ours)
    return [
        {
            "id": "P11",
            "what": f"dispatch of a tile, {EDGE_TILES**2} tiles, against a task of dask.distributed",
            "ours": mine,
            "peer": peer,
            "unit": "ms",
            "ratio": mine / peer,
            "target": f"≤ {TARGET_MS:g} ms",
            "met": mine <= TARGET_MS,
        }
    ]


def _a_tile_ms(running: Runtime, client: Client) -> float:
    before_s = _sum(running, "rfm_engine_compute_seconds_sum")
    operation = client.submit("render.escape_time", VIEW)
    if operation.wait(600) != "completed" or operation.info is None or operation.info.latest is None:
        raise RuntimeError(f"the render is {operation.state}")
    elapsed_s = _sum(running, "rfm_engine_compute_seconds_sum") - before_s
    in_kernels_s = operation.info.latest.cpu_s / available_cores()
    return 1000 * (elapsed_s - in_kernels_s) / EDGE_TILES**2


def _sum(running: Runtime, name: str) -> float:
    with urllib.request.urlopen(running.url.replace("ws://", "http://") + "/metrics", timeout=10) as answer:
        for line in answer.read().decode().splitlines():
            if line.startswith(f"{name} "):
                return float(line.split()[1])
    return 0.0


def _dask_ms(quick: bool) -> float:
    count = 500 if quick else EDGE_TILES**2
    with (
        LocalCluster(n_workers=available_cores(), threads_per_worker=1, dashboard_address=None) as cluster,
        Dask(cluster) as dask,
    ):
        dask.gather(dask.map(abs, range(100), pure=False))
        begin_s = time.perf_counter()
        dask.gather(dask.map(abs, range(count), pure=False))
        return 1000 * (time.perf_counter() - begin_s) / count


if __name__ == "__main__":
    for row in run(quick="--quick" in sys.argv):
        print(row)
