"""Pixels that really kill real workers, and workers that really run out of memory: isolated, told, and survived."""

from __future__ import annotations

import io
import json
import os
import resource
import signal
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest
from PIL import Image

from rfm_kernels.layout import PENDING
from rfm_runtime import Client
from rfm_runtime.client.handle import Operation
from rfm_runtime.engine.frames import HOLE
from rfm_runtime.engine.image import HOLE_RGB
from rfm_runtime.engine.renderer import Renderer
from rfm_runtime.render.image_metadata import HOLES_KEY, from_text
from rfm_runtime.render.plan import plan
from rfm_runtime.render.request import validate
from rfm_runtime.testing.runtime import Runtime, eventually, runtime
from tests.whole import KIND, QUICK, SECONDS, Recorder

pytestmark = [pytest.mark.integration, pytest.mark.fault]

LONG = {
    "re": "-4",
    "im": "4",
    "width": "63",
    "width_px": 63,
    "height_px": 63,
    "max_iter": 2**31 - 1,
    "interior_tests": False,
    "tile_px": 16,
}
"""Pixels are 1 apart, and five of them do not escape: 0, -1, -2 and ±i, at 33…35, 34…36. They take seconds each, are
not in the preview, and in the part of 8×8 pixels at 32, 32."""


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Runtime]:
    with runtime(tmp_path, workers=2, drain_timeout_s=0.0) as started:
        yield started


def details(operation: Operation) -> dict[str, Any]:
    latest = None if operation.info is None else operation.info.latest
    return {} if latest is None else latest.details or {}


def done(operation: Operation) -> float:
    latest = None if operation.info is None else operation.info.latest
    return 0.0 if latest is None else latest.done


def forkserver(running: Runtime) -> psutil.Process:
    return eventually(running.workers, what="workers")[0].parent()


def computed_here(params: dict[str, Any], left_out: np.ndarray[Any, Any]) -> np.ndarray[Any, Any]:
    """The counts of one call of the kernel over the whole frame, but where they are left out."""
    view = plan(validate(params))
    n = np.where(left_out, HOLE, PENDING).astype(np.int32)
    nf = np.zeros(n.shape, np.float32)
    assert Renderer(view).compute(n, nf, 0, 0) == 0
    return n


@contextmanager
def whoever_computes_for_long_is_killed(running: Runtime, number: signal.Signals) -> Iterator[None]:
    """For as long as the block lasts: all pixels but the five take no time, so it is those that kill."""
    over = threading.Event()

    def kill() -> None:
        while not over.wait(0.02):
            for worker in running.workers():
                with suppress(psutil.NoSuchProcess):
                    if worker.cpu_times().user > 0.5:
                        worker.send_signal(number)

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


@pytest.mark.scenario("C5", "F1")
def test_a_tile_that_kills_fails_its_render_with_the_cause_and_costs_others_nothing(
    running: Runtime, client: Client
) -> None:
    watcher = Recorder(running)
    with whoever_computes_for_long_is_killed(running, signal.SIGBUS):
        victim = client.submit(KIND, LONG)
        others = [client.submit(KIND, {**QUICK, "tile_px": 16}) for _ in range(3)]
        assert victim.wait(120) == "failed"
        assert all(other.wait(60) == "completed" for other in others)
    assert victim.info is not None
    error = victim.info.error
    assert error is not None
    assert error.code == "poison_tile"
    assert "8×8 pixels at 32,32 (tile 10)" in error.message
    assert "SIGBUS (Fatal Python error: Bus error; " in error.message
    assert any(error.message in line for line in client.explain(victim.id))
    deaths = {line for line in running.logs().splitlines() if '"worker_died"' in line}
    assert all("Bus error" in line and victim.id in line and '"wanted": false' in line for line in deaths)
    # Three deaths of the tile, of which the third was alone, and two of the part; nothing else was suspected.
    assert details(victim)["failed_attempts"] == len(deaths) == 5
    assert all(details(other) == {} for other in others)
    # All that could be computed was, each tile once.
    assert victim.info.latest is not None
    assert victim.info.latest.done == 63 * 63 - 5
    watcher.await_end(victim.id)
    watcher.check_story(victim.id)
    watcher.close()
    eventually(lambda: len(running.workers()) == 2, what="the pool is whole")
    assert not list(running.folders.frames.iterdir())


@pytest.mark.slow
@pytest.mark.scenario("C5")
def test_where_holes_are_allowed_all_but_the_part_that_kills_is_rendered_and_told(
    running: Runtime, client: Client
) -> None:
    watcher = Recorder(running)
    fork = forkserver(running)
    used = fork.cpu_times()
    seconds = int(used.user + used.system) + 2
    for process in (fork, *running.workers()):
        resource.prlimit(process.pid, resource.RLIMIT_CORE, (0, 0))
        # Whoever computes for longer is killed by SIGXCPU; workers inherit it from the forkserver.
        resource.prlimit(process.pid, resource.RLIMIT_CPU, (seconds, resource.RLIM_INFINITY))
    operation = client.submit(KIND, {**LONG, "on_poison": "hole"})
    eventually(lambda: details(operation).get("failed_attempts"), what="a death is told while it runs", timeout_s=60)
    assert any("SIGXCPU" in line for line in client.explain(operation.id))
    assert operation.wait(120) == "completed"

    told = details(operation)
    assert (told["holes"], told["hole_px"], told["failed_attempts"]) == ([[32, 32, 8, 8]], 64, 5)
    assert operation.info is not None
    assert operation.info.latest is not None
    assert operation.info.latest.progress == 100.0
    assert "64 pixels could not be computed" in "\n".join(client.explain(operation.id))
    watcher.await_end(operation.id)
    watcher.check_story(operation.id)
    assert "1 hole of 64 pixels, the first 8×8 at 32,32: SIGXCPU" in (watcher.events(operation.id)[-1].reason or "")
    watcher.close()
    n = np.load(io.BytesIO(client.fetch_artifact(operation.id, "n.npy")))
    hole = np.zeros(n.shape, bool)
    hole[32:40, 32:40] = True
    assert (n == computed_here(LONG, hole)).all()
    assert json.loads(client.fetch_artifact(operation.id, "holes.json")) == [[32, 32, 8, 8]]
    picture = Image.open(io.BytesIO(client.fetch_artifact(operation.id, "image.png")))
    colours = {tuple(rgb) for rgb in np.asarray(picture)[32:40, 32:40].reshape(-1, 3).tolist()}
    assert colours == set(HOLE_RGB)
    assert json.loads(picture.text[HOLES_KEY]) == [[32, 32, 8, 8]]  # type: ignore[attr-defined]
    assert from_text(picture.text).on_poison == "hole"  # type: ignore[attr-defined]


@pytest.mark.slow
@pytest.mark.scenario("C5", "J38")
def test_beside_a_pixel_that_kills_all_is_rendered_where_pixels_have_several_samples(
    running: Runtime, client: Client
) -> None:
    # A pixel to the left: those that kill touch the tile beside theirs, which looks at them for its edges.
    params = {**LONG, "re": "-3", "samples": 3, "on_poison": "hole"}
    with whoever_computes_for_long_is_killed(running, signal.SIGBUS):
        operation = client.submit(KIND, params)
        assert operation.wait(180) == "completed"
    n = np.load(io.BytesIO(client.fetch_artifact(operation.id, "n.npy")))
    hole = np.zeros(n.shape, bool)
    hole[32:40, 32:40] = True
    assert details(operation)["holes"] == [[32, 32, 8, 8]]
    assert (n == computed_here(params, hole)).all()


def frames_in(worker: psutil.Process) -> list[str]:
    """Planes of renders that it has mapped."""
    return [mapped.path for mapped in worker.memory_maps() if mapped.path.endswith(".npy")]


@pytest.mark.scenario("C6")
def test_workers_that_are_refused_memory_say_so_and_live(running: Runtime, client: Client) -> None:
    # Without a frame of an earlier render, whose place a new one could take.
    workers = eventually(
        lambda: len(w := running.workers()) == 2 and not any(frames_in(worker) for worker in w) and w,
        what="two workers that hold no frame",
    )
    for worker in workers:
        resource.prlimit(worker.pid, resource.RLIMIT_AS, (worker.memory_info().vms, resource.RLIM_INFINITY))
    operation = client.submit(KIND, {**SECONDS, "max_iter": 1000})
    assert operation.wait(60) == "failed"
    assert operation.info is not None
    assert operation.info.error is not None
    assert "refused memory" in operation.info.error.message
    for worker in workers:
        resource.prlimit(worker.pid, resource.RLIMIT_AS, (resource.RLIM_INFINITY, resource.RLIM_INFINITY))
    again = client.submit(KIND, {**SECONDS, "max_iter": 1000})
    assert again.wait(60) == "completed"
    assert [w.pid for w in running.workers()] == [w.pid for w in workers]


@contextmanager
def memory_group(limit_bytes: int) -> Iterator[Path]:
    """A control group for processes that are to run out of memory."""
    v2 = Path("/sys/fs/cgroup/cgroup.controllers").exists()
    folder = Path("/sys/fs/cgroup" if v2 else "/sys/fs/cgroup/memory") / f"rfm-test-{os.getpid()}"
    limit = folder / ("memory.max" if v2 else "memory.limit_in_bytes")
    try:
        folder.mkdir()
        limit.write_text(str(limit_bytes))
    except OSError as error:
        pytest.skip(f"control groups cannot be made here: {error.strerror}")
    try:
        yield folder
    finally:
        eventually(lambda: not (folder / "cgroup.procs").read_text().strip(), what="the group is empty")
        folder.rmdir()


@pytest.mark.scenario("C6", "F8")
def test_a_worker_that_the_kernel_kills_for_want_of_memory_is_replaced_and_the_cause_is_told(
    running: Runtime, client: Client
) -> None:
    workers = eventually(lambda: len(w := running.workers()) == 2 and w, what="two workers")
    with memory_group(256 * 1024) as group:
        operation = client.submit(KIND, SECONDS)
        # What an idle one touches is none of this operation's; and tiles need nothing that they do not have already.
        # Whoever makes the picture needs more than is allowed.
        eventually(lambda: done(operation) > 0, timeout_s=30, what="tiles are done")
        for worker in workers:
            (group / "cgroup.procs").write_text(str(worker.pid))
        assert operation.wait(90) == "completed"
    assert not all(worker.is_running() for worker in workers)
    assert "out-of-memory kill" in details(operation)["last_cause"]
    assert details(operation)["failed_attempts"] in (1, 2)
    assert any("out-of-memory kill" in line for line in client.explain(operation.id))
    assert '"cause": "out-of-memory kill' in running.logs()
