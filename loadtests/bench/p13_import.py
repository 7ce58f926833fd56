"""P13: `from rfm_runtime import Client` against importing the libraries it stands on, each in a fresh interpreter."""

from __future__ import annotations

import statistics
import subprocess
import sys
from typing import Any

TARGET = 1.5
TIMED = "import time; begin = time.perf_counter(); {}; print(time.perf_counter() - begin)"
OURS = "from rfm_runtime import Client"
PEER = "import websockets.asyncio.client, zmq"


def run(quick: bool = False) -> list[dict[str, Any]]:
    ours: list[float] = []
    peer: list[float] = []
    for _ in range(3 if quick else 25):
        ours.append(_import_s(OURS))
        peer.append(_import_s(PEER))
    # The first of each reads the files from disk.
    ratio = statistics.median(ours[1:]) / statistics.median(peer[1:])
    return [
        {
            "id": "P13",
            "what": f"`{OURS}` against `{PEER}`",
            "ours": statistics.median(ours[1:]) * 1000,
            "peer": statistics.median(peer[1:]) * 1000,
            "unit": "ms",
            "ratio": ratio,
            "target": f"≤ {TARGET:g}",
            "met": ratio <= TARGET,
        }
    ]


def _import_s(statement: str) -> float:
    command = [sys.executable, "-P", "-c", TIMED.format(statement)]
    return float(subprocess.run(command, capture_output=True, text=True, check=True).stdout)


if __name__ == "__main__":
    for row in run(quick="--quick" in sys.argv):
        print(row)
