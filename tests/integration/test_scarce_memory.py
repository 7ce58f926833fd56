"""Renders larger than memory, and machines without shared memory: everything goes on, through files."""

from __future__ import annotations

import os
import resource
import subprocess
import sys
import textwrap
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import pytest

from rfm_kernels.layout import PENDING
from rfm_runtime import Client
from rfm_runtime.engine.frames import folder_name
from rfm_runtime.engine.renderer import Renderer
from rfm_runtime.render.plan import plan
from rfm_runtime.render.request import validate
from rfm_runtime.testing.disk import CANNOT_MOUNT
from rfm_runtime.testing.runtime import Runtime, eventually, runtime
from tests.whole import KIND

pytestmark = [pytest.mark.integration, pytest.mark.fault, pytest.mark.slow]

LARGE = {"re": "-0.65", "im": "0", "width": "4.4", "width_px": 16_000, "height_px": 9_000, "max_iter": 60}
"""1.15 GB of planes, and little to compute."""

LIMIT_BYTES = 192 * 1024 * 1024
"""Of memory that is no file's, for each process: a sixth of the frame."""


def anonymous_bytes(process: psutil.Process) -> int:
    """Resident memory that the kernel cannot give back by writing it to a file."""
    text = Path(f"/proc/{process.pid}/status").read_text(encoding="ascii")
    return 1024 * int(next(line.split()[1] for line in text.splitlines() if line.startswith("RssAnon")))


@contextmanager
def most_memory(running: Runtime) -> Iterator[dict[str, int]]:
    """The most that each process of the runtime has had while the block lasts."""
    most: dict[str, int] = {}
    over = threading.Event()

    def look() -> None:
        while not over.wait(0.05):
            named = {**running.processes(), **{f"worker {w.pid}": w for w in running.workers()}}
            for name, process in named.items():
                try:
                    most[name] = max(most.get(name, 0), anonymous_bytes(process))
                except (OSError, StopIteration):
                    continue

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield most
    finally:
        over.set()
        thread.join()


@pytest.mark.timeout(600)
@pytest.mark.scenario("C8", "F8")
def test_a_render_larger_than_the_memory_of_any_process_is_rendered_recovered_and_served(tmp_path: Path) -> None:
    with runtime(tmp_path, workers=2) as running, Client(url=running.url, token=running.info.token) as client:
        workers = eventually(lambda: len(w := running.workers()) == 2 and w, what="two workers")
        limited = [*workers, workers[0].parent(), *running.processes().values()]
        for process in limited:
            resource.prlimit(process.pid, resource.RLIMIT_DATA, (LIMIT_BYTES, resource.RLIM_INFINITY))
        with most_memory(running) as most:
            operation = client.submit(KIND, LARGE)
            eventually(
                lambda: (latest := operation.info and operation.info.latest) and latest.progress > 50,
                what="half of it is there",
                timeout_s=200,
            )
            # Its tiles are verified, each by its digest, and go on from there.
            running.kill("engine-0")
            assert operation.wait(400) == "completed"
            assert operation.info is not None
            picture = next(a for a in operation.info.artifacts if a.name == "image.png")
            assert len(client.fetch_artifact(operation.id, "image.png")) == picture.size_bytes
        print({name: f"{used / 1e6:.0f} MB" for name, used in most.items()})
        frame_bytes = LARGE["width_px"] * LARGE["height_px"] * 8
        assert max(most.values()) < LIMIT_BYTES < frame_bytes / 5
        assert len([name for name in most if name.startswith("worker")]) >= 2
        n = np.load(running.folders.artifacts / folder_name(operation.id) / "n.npy", mmap_mode="r")
        for top in (0, 4499, 8990):
            assert (n[top : top + 10] == computed_here(top, 10)).all()


def computed_here(top: int, height: int) -> np.ndarray[Any, Any]:
    view = plan(validate(LARGE))
    n = np.full((height, 16_000), PENDING, np.int32)
    assert Renderer(view).compute(n, np.zeros(n.shape, np.float32), 0, top) == 0
    return n


WITHOUT_SHARED_MEMORY = """
    import os, sys
    from pathlib import Path
    from rfm_runtime import Client, progress
    from rfm_runtime.testing.runtime import runtime
    from tests.whole import KIND, QUICK

    def main():
        with open("/dev/shm/full", "wb", buffering=0) as file:
            try:
                while file.write(bytes(512)): pass
            except OSError as error:
                print("full:", error.strerror)
        with runtime(Path(sys.argv[1]), workers=2) as running:
            os.environ["RFM_RUNTIME_DIR"] = str(running.folders.runtime)
            with Client(url=running.url, token=running.info.token) as client:
                operation = client.submit(KIND, QUICK)
                print("render:", operation.wait(60))
                with progress(total=40, desc="shared") as bar:
                    bar.update(10)
                    pid = os.fork()
                    if pid == 0:
                        for _ in range(30): bar.update()
                        os._exit(0)
                    os.waitpid(pid, 0)
                    print("reported:", bar.value)
        print("left:", sorted(os.listdir("/dev/shm")))

    main()
"""


@pytest.mark.scenario("C7")
def test_without_room_in_shared_memory_renders_and_reports_work_through_files(tmp_path: Path) -> None:
    script = tmp_path / "script.py"
    script.write_text(textwrap.dedent(WITHOUT_SHARED_MEMORY))
    mount = "mount -t tmpfs -o size=4k tmpfs /dev/shm"
    if subprocess.run(["unshare", "-m", "sh", "-c", mount], capture_output=True, check=False).returncode:
        pytest.skip(CANNOT_MOUNT)
    root = Path(__file__).parents[2]
    done = subprocess.run(
        ["unshare", "-m", "sh", "-c", f'{mount} && exec "$@"', "sh", sys.executable, str(script), str(tmp_path)],
        cwd=root,
        env={**os.environ, "PYTHONPATH": str(root)},
        capture_output=True,
        text=True,
        timeout=100,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    said = dict(line.split(": ", 1) for line in done.stdout.splitlines() if ": " in line)
    assert said["full"] == "No space left on device"
    assert said["render"] == "completed"
    assert said["reported"] in ("40", "40.0")
    assert said["left"] == "['full']"
