"""A long render survives everything: engine, worker, broker, supervisor killed, and the whole machine "rebooted".

Two minutes of CPU time a core in `make faults`; `make endurance MINUTES=60` for an hour. What is asked of it: exactly
one outcome, the same picture, a bar that never moves back for a watcher, and no committed tile computed twice.
"""

from __future__ import annotations

import io
import itertools
import json
import os
import urllib.request
from pathlib import Path
from urllib.parse import urlsplit

import numpy as np
import pytest

from rfm_runtime import Client
from rfm_runtime.client.handle import Operation
from rfm_runtime.engine.frames import RECORD, folder_name
from rfm_runtime.observe.process import available_cores
from rfm_runtime.testing.runtime import Runtime, eventually, runtime
from tests.whole import KIND, Recorder

pytestmark = [pytest.mark.integration, pytest.mark.fault, pytest.mark.slow]

MINUTES = float(os.environ.get("ENDURANCE_MINUTES", "2"))
"""Of wall time on an idle machine, all cores computing; longer where others use them too."""

SMALL = {
    "re": "-1.7548776662",
    "im": "0",
    "width": "0.07",
    "width_px": 480,
    "height_px": 270,
    "tile_px": 16,
    "interior_tests": False,
}
"""A fifth of it is a mini-set, which is iterated to the end; 510 tiles."""

CALIBRATION = 100_000
"""max_iter of the undisturbed render: a second or two, and what escapes until then is the same in the long one."""


def committed(running: Runtime, operation: Operation) -> set[int]:
    """The tiles with a commit record; ask only while no worker lives."""
    records = (running.folders.frames / folder_name(operation.id) / "commits.bin").read_bytes()
    return {index for index, record in enumerate(RECORD.iter_unpack(records)) if record[1]}


def counts(client: Client, operation: Operation) -> np.ndarray[tuple[int, int], np.dtype[np.int32]]:
    found: np.ndarray[tuple[int, int], np.dtype[np.int32]] = np.load(
        io.BytesIO(client.fetch_artifact(operation.id, "n.npy"))
    )
    return found


def engine_counter(running: Runtime, line: str) -> float:
    """A counter of the living engine, from /metrics."""
    with urllib.request.urlopen(f"http://{urlsplit(running.url).netloc}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    return float(next(row.split()[-1] for row in text.splitlines() if row.startswith(line)))


def recovered(running: Runtime, operation: Operation) -> list[int]:
    """How many tiles each claim has found, in order, as the engines' log says."""
    lines = (running.folders.logs / "engine-0.log").read_text(encoding="utf-8").splitlines()
    entries = [json.loads(line) for line in lines if '"frame_ready"' in line]
    return [entry["recovered_tiles"] for entry in entries if entry.get("operation_id") == operation.id]


@pytest.mark.timeout(int(MINUTES * 60 * 8) + 300)
@pytest.mark.scenario("C11", "F1", "F2", "F4", "F5", "J25")
def test_a_long_render_survives_the_death_of_everything_and_computes_no_tile_twice(tmp_path: Path) -> None:
    cores = available_cores()
    with runtime(tmp_path, workers=cores, drain_timeout_s=2.0) as running:
        client = Client(settings=running.settings, initial_delay=0.05)
        short = client.submit(KIND, {**SMALL, "max_iter": CALIBRATION})
        assert short.wait(120) == "completed"
        truth = counts(client, short)
        assert short.info is not None
        assert short.info.latest is not None
        inside = int(np.count_nonzero(truth < 0))
        rate = short.info.latest.iterations / short.info.latest.cpu_s
        max_iter = int(min(2**31 - 1, MINUTES * 60 * cores * rate / inside))
        expected = inside * max_iter
        print(
            f"\n{rate / 1e9:.2f}e9 iterations/s a core: max_iter {max_iter}, {expected / rate:.0f} s of CPU time "
            f"on {cores} cores"
        )
        watcher = Recorder(running, follow=True, initial_delay=0.05)
        operation = client.submit(KIND, {**SMALL, "max_iter": max_iter})

        def reached(share: float) -> None:
            def there() -> bool:
                latest = operation.info.latest if operation.info is not None else None
                return latest is not None and latest.iterations >= share * expected

            eventually(there, what=f"{share:.0%} of the iterations", timeout_s=MINUTES * 60 * 6 + 120)

        found: list[set[int]] = []
        for share, victim in (
            (0.1, "worker"),
            (0.2, "engine-0"),
            (0.35, "broker"),
            (0.5, "supervisor"),
            (0.7, "everything"),
            (0.9, "worker"),
        ):
            reached(share)
            print(f"{share:.0%}: {victim} is killed")
            if victim == "worker":
                eventually(running.workers, what="a worker")[0].kill()
            elif victim == "engine-0":
                helpers = running.processes()["engine-0"].children(recursive=True)
                # Nobody takes a step between the last look at the disk and the end of all of them.
                for process in (*running.processes().values(), *helpers):
                    process.suspend()
                for process in helpers:
                    process.kill()
                running.kill("engine-0")
                found.append(committed(running, operation))
                for process in running.processes().values():
                    process.resume()
            elif victim in ("supervisor", "everything"):
                if victim == "supervisor":
                    running.kill_supervisor()
                else:
                    running.kill_everything()
                found.append(committed(running, operation))
                running.start()
            else:
                running.kill(victim)
        assert operation.wait(MINUTES * 60 * 6 + 120) == "completed"

        assert operation.info is not None
        assert operation.info.latest is not None
        # Each claim began with exactly what was committed when the one before was killed …
        assert recovered(running, operation) == [0, *(len(tiles) for tiles in found)]
        assert all(before <= after for before, after in itertools.pairwise(found))
        # … and the last one computed exactly the others.
        tiles = 30 * 17
        done = engine_counter(running, 'rfm_engine_tasks_total{end="done",phase="tile"')
        assert done == tiles - len(found[-1])
        n = counts(client, operation)
        nominal = int(np.where(n < 0, max_iter, n).sum(dtype=np.int64))
        told = operation.info.latest
        print(f"{told.iterations / nominal:.4f} of the picture's iterations told, {told.cpu_s:.0f} s of CPU time")
        assert nominal <= told.iterations <= 1.03 * nominal
        # Where the short render knows the count it is the same; elsewhere it is none that it could have known.
        assert (n[truth >= 0] == truth[truth >= 0]).all()
        rest = n[truth < 0]
        assert ((rest == -1) | (rest > CALIBRATION)).all()
        watcher.await_end(operation.id)
        watcher.check_story(operation.id)
        assert watcher.types(operation.id).count("completed") == 1
        watcher.close()
        client.close()
