"""P17: colouring a finished frame of 3840×2160 anew.

On one core, from raw data in memory to levels of 8 or 16 bits: the data are noise over all counts, so that no look-up
is foreseen; a picture is no slower. And as a client's request `recolour` to a runtime: a process that does it, the
frame from its files, a PNG on disk, and all of it at the client.
"""

from __future__ import annotations

import importlib
import os
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np

from rfm_kernels.cache_key import cache_key
from rfm_runtime import Client
from rfm_runtime.config import cache_home
from rfm_runtime.testing.runtime import runtime

__all__ = ["run"]

WIDTH, HEIGHT = 3840, 2160
LIMIT_S = 0.5
LAMP = (1.0, 135.0, 45.0, 0.2)


def run(quick: bool = False) -> list[dict[str, Any]]:
    """A row for each look."""
    os.environ.setdefault("NUMBA_CACHE_DIR", str(cache_home() / "kernels" / cache_key()))
    # Both look at NUMBA_CACHE_DIR as they are imported.
    pixels, gradient = (importlib.import_module(f"rfm_kernels.{name}") for name in ("colour", "gradient"))
    rng = np.random.default_rng(1)
    shape = HEIGHT, WIDTH
    n, nf = rng.integers(-1, 5000, shape).astype(np.int32), rng.random(shape, np.float32)
    turns = np.exp(2j * np.pi * rng.random(shape, np.float32)).astype(np.complex64)
    z, far = np.complex64(1e4) * turns, np.complex64(1e-6) * turns
    palette = rng.integers(0, 256, (256, 3)).astype(np.uint8)
    bins = np.zeros(pixels.TALLY_BINS, np.int64)
    pixels.tally(n, nf, bins)
    share = pixels.ranks(bins)
    looks: list[tuple[str, dict[str, Any]]] = [
        ("smooth", {}),
        ("smooth, slopes", {"light": LAMP}),
        ("distance, slopes", {"mode": pixels.DISTANCE, "light": LAMP}),
        ("histogram, ranks known", {"mode": pixels.HISTOGRAM}),
        ("field lines, slopes", {"mode": pixels.FIELD_LINES, "light": LAMP}),
    ]
    rows = []
    for bits in (8, 16):
        table = gradient.table(palette, steps=gradient.STEPS if bits == 8 else gradient.FINE_STEPS)
        out = np.empty((*shape, 3), np.uint8 if bits == 8 else np.uint16)
        for what, look in looks:
            best_s = float("inf")
            for _ in range(2 if quick else 5):
                begin_s = time.perf_counter()
                pixels.colour(n, nf, table, (0, 0, 0), 0.4, 0.1, out, z=z, far=far, share=share, **look)
                best_s = min(best_s, time.perf_counter() - begin_s)
            rows.append(_row(f"{WIDTH}×{HEIGHT} coloured anew, {what}, {bits} bits", best_s))
    return rows + _requests(quick)


def _requests(quick: bool) -> list[dict[str, Any]]:
    """By a runtime: until the client has the picture."""
    rows = []
    with (
        tempfile.TemporaryDirectory(prefix="rfm-") as folder,
        runtime(Path(folder)) as running,
        Client(url=running.url, token=running.info.token) as client,
    ):
        for what, slopes in (("smooth", 0.0), ("slopes", 1.0)):
            operation = client.render("seahorse", width_px=WIDTH, height_px=HEIGHT, slopes=slopes)
            operation.outcome()
            best_s = float("inf")
            for number in range(2 if quick else 5):
                begin_s = time.perf_counter()
                operation.recolour(palette="turbo", offset=number / 10)
                best_s = min(best_s, time.perf_counter() - begin_s)
            rows.append(_row(f"recolour request, the seahorse valley at {WIDTH}×{HEIGHT}, {what}", best_s))
    return rows


def _row(what: str, ours_s: float) -> dict[str, Any]:
    return {
        "id": "P17",
        "what": what,
        "ours": ours_s,
        "peer": None,
        "unit": "s",
        "ratio": None,
        "target": f"≤ {LIMIT_S:g} s",
        "met": ours_s <= LIMIT_S,
    }


if __name__ == "__main__":
    for row in run(quick="--quick" in sys.argv):
        print(row)
