"""P10: `rfm-runtime start` → first tile computing, with a warm and with an empty cache of compiled kernels.

Measured from starting the command to the first progress of a render that a client submits as soon as the
connection file is there: more than the target asks for, since it includes the client's way.
"""

from __future__ import annotations

import os
import signal
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from rfm_runtime import Client
from rfm_runtime.client.connection_file import ConnectionInfo
from rfm_runtime.config import cache_home
from rfm_runtime.errors import NoRuntimeError
from rfm_runtime.testing.runtime import eventually

VIEW = {
    "re": "-0.7463",
    "im": "0.1102",
    "width": "0.005",
    "width_px": 3840,
    "height_px": 2160,
    "max_iter": 20_000,
}


def run(quick: bool = False) -> list[dict[str, Any]]:
    with tempfile.TemporaryDirectory(prefix="rfm-") as folder:
        _first_tile_s(Path(folder) / "warm-up", cache_home())
        warm = [_first_tile_s(Path(folder) / f"warm{i}", cache_home()) for i in range(2 if quick else 10)]
        cold = [_first_tile_s(Path(folder) / f"cold{i}", Path(folder) / f"cache{i}") for i in range(1 if quick else 3)]
    return [
        _row("warm caches", statistics.median(warm), 1.5),
        _row("no compiled kernels", statistics.median(cold), 15.0),
    ]


def _row(what: str, ours: float, limit_s: float) -> dict[str, Any]:
    return {
        "id": "P10",
        "what": f"start → first tile computing, {what}",
        "ours": ours,
        "peer": None,
        "unit": "s",
        "ratio": None,
        "target": f"≤ {limit_s:g} s",
        "met": ours <= limit_s,
    }


def _first_tile_s(folder: Path, cache: Path) -> float:
    run_dir = folder / "run"
    environment = {
        **os.environ,
        "RFM_STATE_DIR": str(folder / "state"),
        "RFM_RUNTIME_DIR": str(run_dir),
        "RFM_CACHE_DIR": str(cache),
    }
    begin_s = time.perf_counter()
    with subprocess.Popen(
        [sys.executable, "-P", "-m", "rfm_runtime.cli", "start", "--port", "0"],
        env=environment,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    ) as process:
        try:
            info = eventually(lambda: _read(run_dir / "connection.json"), timeout_s=60, what="the runtime is up")
            with Client(url=info.url, token=info.token) as client:
                operation = client.submit("render.escape_time", VIEW)
                for update in operation.progress():
                    if update.iterations or update.done:
                        break
                elapsed_s = time.perf_counter() - begin_s
                operation.cancel()
        finally:
            process.send_signal(signal.SIGINT)
            process.wait(timeout=60)
    return elapsed_s


def _read(path: Path) -> ConnectionInfo | None:
    try:
        return ConnectionInfo.read(path)
    except NoRuntimeError:
        return None


if __name__ == "__main__":
    for row in run(quick="--quick" in sys.argv):
        print(row)
