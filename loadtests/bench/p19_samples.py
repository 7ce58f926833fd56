"""P19: what more samples of the pixels at edges cost, against so many times one sample a pixel.

Frame ready → last tile committed, by the engine's own clock, in turn with one sample a pixel; the best of each counts.
As many samples of every pixel are as many frames, each moved by a part of a pixel: the peer is computed from the one.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path
from typing import Any

from rfm_runtime import Client
from rfm_runtime.testing.crowd import metrics
from rfm_runtime.testing.runtime import Runtime, runtime

__all__ = ["run"]

WIDTH, HEIGHT = 1920, 1080
PRESETS = ("seahorse", "julia_rabbit")
SAMPLES = (2, 4, 8)


def run(quick: bool = False) -> list[dict[str, Any]]:
    """A row for each preset and number of samples."""
    rows = []
    with (
        tempfile.TemporaryDirectory(prefix="rfm-") as folder,
        runtime(Path(folder)) as running,
        Client(url=running.url, token=running.info.token) as client,
    ):
        for preset in PRESETS:
            best_s: dict[int, float] = {}
            for _ in range(1 if quick else 5):
                for samples in (1, *SAMPLES):
                    elapsed_s = _computed_s(running, client, preset, samples)
                    best_s[samples] = min(elapsed_s, best_s.get(samples, elapsed_s))
            rows += [_row(preset, samples, best_s[samples], samples * best_s[1]) for samples in SAMPLES]
    return rows


def _computed_s(running: Runtime, client: Client, preset: str, samples: int) -> float:
    name = "rfm_engine_compute_seconds_sum"
    before_s = metrics(running.url).get(name, 0.0)
    client.render(preset, width_px=WIDTH, height_px=HEIGHT, samples=samples).outcome()
    return metrics(running.url)[name] - before_s


def _row(preset: str, samples: int, ours_s: float, all_s: float) -> dict[str, Any]:
    return {
        "id": "P19",
        "what": f"{preset} at {WIDTH}×{HEIGHT}, {samples} samples of pixels at edges; peer: {samples} × one a pixel",
        "ours": ours_s,
        "peer": all_s,
        "unit": "s",
        "ratio": all_s / ours_s,
        "target": "–",
        "met": True,
    }


if __name__ == "__main__":
    for row in run(quick="--quick" in sys.argv):
        print(row)
