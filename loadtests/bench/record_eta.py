"""Record how renders go: what the broker's merge knows at each tick, and when they end, for `p16_eta.py` and the tests.

    python loadtests/bench/record_eta.py tests/data/eta [name …]

A private runtime renders the presets so that each takes some seconds. Between its engine and its broker stands a tap on
`ingest`, so that measures are recorded as they arrive; start and end are the broker's. One file a render:
`{kind, name, params, workers, total, end_ms, rows}`, each row `[t_ms, done, cpu_ms, left_ms, tail_ms]`: the CPU time
that was spent, and what is expected yet and after that, if it is known.
"""

from __future__ import annotations

import contextlib
import json
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import msgspec
import zmq

from rfm_runtime import Client
from rfm_runtime.core.operations.progress import Merge
from rfm_runtime.observe.process import available_cores
from rfm_runtime.protocol.internal import PROGRESS_HEADER, unpack_progress
from rfm_runtime.render.presets import PRESETS
from rfm_runtime.testing.runtime import Runtime, eventually, runtime
from rfm_runtime.transport import sockets

KIND = "render.escape_time"
TICK_S = 0.05

LARGE = {"width_px": 7680, "height_px": 4320}
LARGER = {"width_px": 9600, "height_px": 5400}
WIDE = {"width_px": 2560, "height_px": 1440, "interior_tests": False}
PLAIN = {"width_px": 1920, "height_px": 1080, "interior_tests": False}
RENDERS: dict[str, tuple[str, dict[str, Any]]] = {
    "seahorse-large": ("seahorse", {**LARGE, "max_iter": 300_000}),
    "home-large": ("home", {**LARGE, "max_iter": 2_000_000}),
    "mini-large": ("mini", {**LARGE, "max_iter": 300_000}),
    "star-large": ("star", {**LARGE, "max_iter": 300_000}),
    "elephant-large": ("elephant", {**LARGE, "max_iter": 300_000}),
    "spiral-large": ("spiral", {**LARGE, "max_iter": 300_000}),
    "triple_spiral-large": ("triple_spiral", {**LARGE, "max_iter": 20_000}),
    "julia_dendrite-large": ("julia_dendrite", {**LARGE, "max_iter": 500}),
    "julia_rabbit-large": ("julia_rabbit", {**LARGE, "max_iter": 2_000_000}),
    "julia_spirals-large": ("julia_spirals", {**LARGE, "max_iter": 300_000}),
    "spiral-larger": ("spiral", {**LARGER, "max_iter": 1_000_000}),
    "julia_dendrite-larger": ("julia_dendrite", {**LARGER, "max_iter": 2_000}),
    "julia_spirals-larger": ("julia_spirals", {**LARGER, "max_iter": 3_000}),
    "seahorse-plain": ("seahorse", {**PLAIN, "max_iter": 2_000_000}),
    "home-plain": ("home", {**PLAIN, "max_iter": 200_000}),
    "mini-plain": ("mini", {**PLAIN, "max_iter": 250_000}),
    "star-plain": ("star", {**PLAIN, "max_iter": 8_000_000}),
    "elephant-plain": ("elephant", {**PLAIN, "max_iter": 200_000}),
    "seahorse-wide": ("seahorse", {**WIDE, "max_iter": 1_000_000}),
    "home-wide": ("home", {**WIDE, "max_iter": 100_000}),
    "mini-wide": ("mini", {**WIDE, "max_iter": 125_000}),
    "star-wide": ("star", {**WIDE, "max_iter": 4_000_000}),
    "elephant-wide": ("elephant", {**WIDE, "max_iter": 100_000}),
    "triple_spiral-wide": ("triple_spiral", {**WIDE, "max_iter": 50_000}),
    "julia_rabbit-wide": ("julia_rabbit", {**WIDE, "max_iter": 125_000}),
    "triple_spiral-plain": ("triple_spiral", {**PLAIN, "max_iter": 100_000}),
    "julia_rabbit-plain": ("julia_rabbit", {**PLAIN, "max_iter": 250_000}),
}
"""`plain`, `wide`: iterated to their limit, where time goes into few tiles. `large`, `larger`: long in encoding the
picture; three presets have no inside to iterate, and are long only so."""


class Tap:
    """log: (seconds since 1970, message) of what went from the engine to the broker since `clear`."""

    def __init__(self, running: Runtime) -> None:
        self.log: list[tuple[float, bytes]] = []
        path = Path(running.folders.endpoint("ingest").removeprefix("ipc://"))
        behind = path.with_name("behind")
        path.rename(behind)
        self._context = zmq.Context()
        self._front = sockets.ingest_pull(self._context, f"ipc://{path}")
        self._back = sockets.ingest_push(self._context, f"ipc://{behind}")
        # The one that is there is connected past the tap.
        running.kill("engine-0")
        threading.Thread(target=self._pass_on, daemon=True).start()

    def _pass_on(self) -> None:
        while True:
            message = self._front.recv()
            self.log.append((time.time(), message))
            with contextlib.suppress(zmq.Again):
                self._back.send(message, zmq.NOBLOCK)


def main(folder: Path, names: Sequence[str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="rfm-") as state, runtime(Path(state)) as running:
        tap = Tap(running)
        eventually(lambda: len(running.workers()) == available_cores(), what="all workers")
        with Client(url=running.url, token=running.info.token, detail="tiles") as client:
            for name in names:
                view, changes = RENDERS[name]
                trace = _record(client, tap, name, {**_params(view), **changes})
                (folder / f"{name}.json").write_text(json.dumps(trace, separators=(",", ":")) + "\n", encoding="utf-8")
                print(f"{name:24} {trace['end_ms'] / 1000:6.2f} s {len(trace['rows']):4} ticks", flush=True)


def _params(view: str) -> dict[str, Any]:
    return {key: value for key, value in msgspec.to_builtins(PRESETS[view].request).items() if value is not None}


def _record(client: Client, tap: Tap, name: str, params: dict[str, Any]) -> dict[str, Any]:
    tap.log.clear()
    operation = client.submit(KIND, params)
    if operation.wait(600) != "completed":
        raise RuntimeError(f"the render is {operation.state}")
    began_s, ended_s = operation.info.started_at_ms / 1000, operation.info.ended_at_ms / 1000
    rows = [
        [round(1000 * (t_s - began_s)), round(done), round(1000 * cpu_s), *(round(1000 * s) for s in expected)]
        for t_s, done, cpu_s, *expected in _merged(list(tap.log))
        if t_s <= ended_s
    ]
    total = params["width_px"] * params["height_px"]
    end_ms = round(1000 * (ended_s - began_s))
    head = {"kind": KIND, "name": name, "params": params, "workers": available_cores()}
    return {**head, "total": total, "end_ms": end_ms, "rows": rows}


def _merged(log: list[tuple[float, bytes]]) -> Iterator[tuple[float, ...]]:
    """Time, done, CPU time spent, perhaps left and tail at each tick: of each source its newest message counts."""
    merge, newest, tick_s = Merge(), dict[bytes, bytes](), None
    merge.claimed(unpack_progress(log[0][1]).generation)
    for t_s, message in [*log, (float("inf"), b"")]:
        tick_s = t_s + TICK_S if tick_s is None else tick_s
        if t_s >= tick_s:
            for waiting in newest.values():
                measure = unpack_progress(waiting)
                source = int.from_bytes(waiting[10:PROGRESS_HEADER], "big")
                merge.measured(source, measure, tick_s)
            if merge.take_dirty():
                expected = () if merge.expected is None else (merge.expected.left_s, merge.expected.tail_s)
                yield tick_s, merge.shown, merge.total_cpu_s, *expected
            newest.clear()
            tick_s = t_s + TICK_S
        newest[message[:PROGRESS_HEADER]] = message


if __name__ == "__main__":
    main(Path(sys.argv[1]), sys.argv[2:] or list(RENDERS))
