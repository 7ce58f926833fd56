"""P5: one report, and one step of a tracked loop, against tqdm's, in a tight loop with the full path to a watcher live.

Ours and the peer's loops alternate in one process, which reports to a runtime that a watcher looks at all the while;
each figure is the median of the rounds. tqdm writes its bar to a file that nobody reads: a terminal would cost more.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tqdm import tqdm

from rfm_runtime import Client, ProgressReporter, progress, track
from rfm_runtime.client.connection_file import ConnectionInfo
from rfm_runtime.errors import UnavailableError
from rfm_runtime.protocol.operation import ProgressUpdate
from rfm_runtime.testing.runtime import Runtime, runtime
from rfm_runtime.testing.secured import secured

LOOP_STEPS = 2_000
LOOP_STEP_S = 0.01
FLOOD_S = 60.0
FLOODERS = 4


def run(quick: bool = False, loop_steps: int = LOOP_STEPS) -> list[dict[str, Any]]:
    rounds, steps = (3, 100_000) if quick else (15, 1_000_000)
    with tempfile.TemporaryDirectory(prefix="rfm-") as folder, runtime(Path(folder), workers=1) as running:
        os.environ["RFM_RUNTIME_DIR"] = str(running.folders.runtime)
        os.environ["RFM_STATE_DIR"] = str(running.folders.state)
        with _watched(running.url, running.info.token) as seen, Path(os.devnull).open("w", encoding="utf-8") as nowhere:
            rows = [
                _compare("report_progress(x)", rounds, steps, _report, lambda n: _tqdm_update(n, nowhere)),
                _compare("update() of a counter", rounds, steps, _update, lambda n: _tqdm_update(n, nowhere)),
                _compare("one step of track()", rounds, steps, _track, lambda n: _tqdm_steps(n, nowhere)),
            ]
            if not seen:
                raise RuntimeError("the watcher saw nothing of it: the path was not live")
            rows += _flood(running, 3.0 if quick else FLOOD_S)
            rows += _slow_loops(running, 100 if quick else loop_steps)
    with tempfile.TemporaryDirectory(prefix="rfm-") as folder, secured(Path(folder), workers=1) as (running, authority):
        token = authority.issue("watcher", ["viewer"])
        rows.append(_over_tls(running, token, rounds, steps))
    return rows


def _over_tls(running: Runtime, token: str, rounds: int, steps: int) -> dict[str, Any]:
    """The first row again, in a process of its own: this one reports to the runtime of before."""
    command = [sys.executable, "-P", __file__, "--over-tls", str(rounds), str(steps)]
    env = {
        "RFM_RUNTIME_DIR": str(running.folders.runtime),
        "RFM_STATE_DIR": str(running.folders.state),
        "RFM_TOKEN": token,
    }
    done = subprocess.run(command, env=os.environ | env, stdout=subprocess.PIPE, text=True, check=True, timeout=600)
    row: dict[str, Any] = json.loads(done.stdout)
    return row


def _be_watched(rounds: int, steps: int) -> dict[str, Any]:
    info = ConnectionInfo.read(Path(os.environ["RFM_RUNTIME_DIR"]) / "connection.json")
    with (
        _watched(info.url, os.environ.pop("RFM_TOKEN"), info.ca_file) as seen,
        Path(os.devnull).open("w", encoding="utf-8") as nowhere,
    ):
        what = "report_progress(x), with TLS, tokens and limits"
        row = _compare(what, rounds, steps, _report, lambda n: _tqdm_update(n, nowhere))
        if not seen:
            raise RuntimeError("the watcher saw nothing of it: the path was not live")
    return row


@contextmanager
def _watched(url: str, token: str, ca_file: str = "") -> Iterator[list[ProgressUpdate]]:
    """A watcher that takes everything; the newest updates it saw."""
    client = Client(url=url, token=token, ca_file=ca_file or None)
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


def _slow_loops(running: Runtime, steps: int) -> list[dict[str, Any]]:
    """A loop of steps of 10 ms: bare, then tracked with a broker, with one that is killed twice, and with none."""

    def loop(items: Iterable[int]) -> float:
        began_s = time.perf_counter()
        for _ in items:
            end_s = time.perf_counter() + LOOP_STEP_S
            # Work for most of it, so that a background thread could slow it down.
            while time.perf_counter() < end_s - 0.001:
                sum(range(200))
            time.sleep(max(0.0, end_s - time.perf_counter()))
        return time.perf_counter() - began_s

    bare_s = loop(range(steps))
    times = {"with a broker": loop(track(range(steps), "slow loop"))}
    killers = [threading.Timer(share * steps * LOOP_STEP_S, running.kill, ("broker",)) for share in (0.25, 0.6)]
    for killer in killers:
        killer.start()
    times["with a broker that is killed twice"] = loop(track(range(steps), "slow loop, killed broker"))
    for killer in killers:
        killer.join()
    running.stop(now=True)
    times["with no broker"] = loop(track(range(steps), "slow loop, no broker"))
    return [
        {
            "id": "P5",
            "what": f"a tracked loop of {steps} steps of 10 ms against the bare loop, {how}",
            "ours": tracked_s,
            "peer": bare_s,
            "unit": "s",
            "ratio": tracked_s / bare_s,
            "target": "≤ 1.02×",
            "met": tracked_s <= 1.02 * bare_s,
        }
        for how, tracked_s in times.items()
    ]


FLOOD = """
import sys, time
from rfm_runtime import ProgressReporter
seconds, reports = float(sys.argv[1]), sys.argv[2] == "reports"
def spin(report):
    count, end_s = 0, time.perf_counter() + seconds
    while time.perf_counter() < end_s:
        for step in range(10_000):
            report(step / 100)
        count += 10_000
    return count / seconds
if reports:
    with ProgressReporter("bench", "flood") as reporter:
        print(spin(reporter.report_progress))
else:
    print(spin(lambda progress: None))
"""


def _flood(running: Runtime, seconds: float) -> list[dict[str, Any]]:
    """Four programs that do nothing but report, against four that do nothing: the broker's memory, and how long
    another user's request takes beside them.
    """
    broker = running.processes()["broker"]
    quiet = _flooded(running, seconds / 4, "nothing")
    before = broker.memory_info().rss
    flooded = _flooded(running, seconds, "reports")
    grown = (broker.memory_info().rss - before) / 2**20
    with Client(url=running.url, token=running.info.token) as client:
        outcomes = [operation.state for operation in client.operations() if operation.name == "flood"]
    if outcomes != ["completed"] * FLOODERS:
        raise RuntimeError(f"the outcomes of the flood are {outcomes}")
    what = f"{FLOODERS} programs report {flooded[0] / 1e6:.2g} million times a second in all, for {seconds:g} s"
    return [
        {
            "id": "P5",
            "what": f"{what}: growth of the broker's memory",
            "ours": grown,
            "peer": None,
            "unit": "MiB",
            "ratio": None,
            "target": "≤ 1 MiB",
            "met": grown <= 1.0,
        },
        {
            "id": "P5",
            "what": "the same: a request of another client, p99, against programs as busy that report nothing",
            "ours": flooded[1],
            "peer": quiet[1],
            "unit": "ms",
            "ratio": flooded[1] / quiet[1],
            "target": "≤ 1.25×",
            "met": flooded[1] <= 1.25 * quiet[1],
        },
    ]


def _flooded(running: Runtime, seconds: float, what: str) -> tuple[float, float]:
    """Reports a second in all, and the 99th percentile of a request's time in ms."""
    command = [sys.executable, "-P", "-c", FLOOD, str(seconds), what]
    programs = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(FLOODERS)]
    times_ms: list[float] = []
    with Client(url=running.url, token=running.info.token) as client:
        while any(program.poll() is None for program in programs):
            began_s = time.perf_counter()
            client.operations(limit=10)
            times_ms.append(1000 * (time.perf_counter() - began_s))
            time.sleep(0.01)
    rates = [float(program.communicate()[0]) for program in programs]
    return sum(rates), statistics.quantiles(times_ms, n=100)[98]


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--over-tls", rounds, steps]:
            print(json.dumps(_be_watched(int(rounds), int(steps))))
        case arguments:
            for row in run("--quick" in arguments, loop_steps=10_000 if "--long" in arguments else LOOP_STEPS):
                print(row)
