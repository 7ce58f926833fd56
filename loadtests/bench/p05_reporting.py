"""P5: one report, and one step of a tracked loop, against tqdm's, in a tight loop with the full path to a watcher live.

Ours and the peer's loops alternate in one process, which reports to a runtime that a watcher looks at all the while;
each figure is the median of the rounds. tqdm writes its bar to a file that nobody reads: a terminal would cost more.
"""

from __future__ import annotations

import os
import statistics
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from rfm_runtime import Client, ProgressReporter, progress, track
from rfm_runtime.errors import UnavailableError
from rfm_runtime.protocol.operation import ProgressUpdate
from rfm_runtime.testing.runtime import Runtime, runtime

LOOP_STEPS = 10_000
LOOP_STEP_S = 0.01


def run(quick: bool = False) -> list[dict[str, Any]]:
    rounds, steps = (3, 100_000) if quick else (15, 1_000_000)
    with tempfile.TemporaryDirectory(prefix="rfm-") as folder, runtime(Path(folder), workers=1) as running:
        os.environ["RFM_RUNTIME_DIR"] = str(running.folders.runtime)
        os.environ["RFM_STATE_DIR"] = str(running.folders.state)
        with _watched(running) as seen, Path(os.devnull).open("w", encoding="utf-8") as nowhere:
            rows = [
                _compare("report_progress(x)", rounds, steps, _report, lambda n: _tqdm_update(n, nowhere)),
                _compare("update() of a counter", rounds, steps, _update, lambda n: _tqdm_update(n, nowhere)),
                _compare("one step of track()", rounds, steps, _track, lambda n: _tqdm_steps(n, nowhere)),
            ]
            if not seen:
                raise RuntimeError("the watcher saw nothing of it: the path was not live")
            rows.append(_slow_loop(LOOP_STEPS // 20 if quick else LOOP_STEPS))
    return rows


@contextmanager
def _watched(running: Runtime) -> Iterator[list[ProgressUpdate]]:
    """A watcher that takes everything; the newest updates it saw."""
    client = Client(url=running.url, token=running.info.token)
    seen: list[ProgressUpdate] = []

    def watch() -> None:
        try:
            for notice in client.watch():
                if isinstance(notice, ProgressUpdate):
                    seen[:] = [notice]
        except UnavailableError:
            return

    thread = threading.Thread(target=watch)
    thread.start()
    try:
        yield seen
    finally:
        client.close()
        thread.join()


def _compare(
    what: str, rounds: int, steps: int, ours: Callable[[int], float], peer: Callable[[int], float]
) -> dict[str, Any]:
    of_ours, of_peer = [], []
    for _ in range(rounds):
        of_peer.append(peer(steps))
        of_ours.append(ours(steps))
    mine, theirs = (1e9 * statistics.median(times) / steps for times in (of_ours, of_peer))
    return {
        "id": "P5",
        "what": f"{what}, watched, against tqdm",
        "ours": mine,
        "peer": theirs,
        "unit": "ns",
        "ratio": mine / theirs,
        "target": "≤ 1×",
        "met": mine <= theirs,
    }


def _report(steps: int) -> float:
    with ProgressReporter("bench", "report") as reporter:
        _await_announcement()
        report = reporter.report_progress
        began_s = time.perf_counter()
        for step in range(steps):
            report(step)
        return time.perf_counter() - began_s


def _update(steps: int) -> float:
    with progress(total=steps, desc="update") as bar:
        _await_announcement()
        update = bar.update
        began_s = time.perf_counter()
        for _ in range(steps):
            update()
        return time.perf_counter() - began_s


def _track(steps: int) -> float:
    tracked = track(range(steps), "track")
    _await_announcement()
    began_s = time.perf_counter()
    for _ in tracked:
        pass
    return time.perf_counter() - began_s


def _await_announcement() -> None:
    """The operation is being reported, not about to be."""
    time.sleep(0.3)


def _tqdm_update(steps: int, nowhere: Any) -> float:
    with tqdm(total=steps, file=nowhere) as bar:
        update = bar.update
        began_s = time.perf_counter()
        for _ in range(steps):
            update()
        return time.perf_counter() - began_s


def _tqdm_steps(steps: int, nowhere: Any) -> float:
    bar = tqdm(range(steps), file=nowhere)
    began_s = time.perf_counter()
    for _ in bar:
        pass
    return time.perf_counter() - began_s


def _slow_loop(steps: int) -> dict[str, Any]:
    """A loop of steps of 10 ms, each measured to its end, tracked and bare."""

    def work() -> None:
        end_s = time.perf_counter() + LOOP_STEP_S
        while time.perf_counter() < end_s - 0.001:
            sum(range(200))
        time.sleep(max(0.0, end_s - time.perf_counter()))

    half = steps // 2
    began_s = time.perf_counter()
    for _ in range(half):
        work()
    bare_s = time.perf_counter() - began_s
    began_s = time.perf_counter()
    for _ in track(range(half), "slow loop"):
        work()
    tracked_s = time.perf_counter() - began_s
    return {
        "id": "P5",
        "what": f"a tracked loop of {half} steps of 10 ms against the bare loop",
        "ours": tracked_s,
        "peer": bare_s,
        "unit": "s",
        "ratio": tracked_s / bare_s,
        "target": "≤ 1.02×",
        "met": tracked_s <= 1.02 * bare_s,
    }


if __name__ == "__main__":
    for row in run(quick="--quick" in sys.argv):
        print(row)
