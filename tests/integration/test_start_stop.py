"""Start, work, stop, over and over, with and without a killed supervisor: nothing is left behind."""

from __future__ import annotations

import tempfile
from pathlib import Path

import psutil
import pytest

from rfm_runtime import Client, config
from rfm_runtime.app.daemon import start_daemon, stop
from rfm_runtime.testing.runtime import Runtime, runtime
from tests.whole import ENDLESS, KIND, QUICK, digest

pytestmark = [pytest.mark.integration, pytest.mark.fault]


def left_behind(running: Runtime) -> list[str]:
    """Processes, socket files, run files and frames of a runtime that does not run."""
    needle = str(running.folders.runtime)
    processes = [
        f"process {p.info['pid']}"
        for p in psutil.process_iter(["pid", "cmdline", "status"])
        if p.info["status"] != psutil.STATUS_ZOMBIE and any(needle in part for part in p.info["cmdline"] or ())
    ]
    files = [path.name for path in running.folders.runtime.iterdir() if path != running.folders.lock]
    frames = [path.name for path in running.folders.frames.iterdir()]
    return processes + files + frames


def work(running: Runtime) -> None:
    with Client(url=running.url, token=running.info.token) as client:
        operation = client.submit(KIND, QUICK)
        assert operation.wait(30) == "completed"
        assert digest(client, operation.id)


def cycles(folder: Path, count: int, patch: pytest.MonkeyPatch) -> None:
    """`count` times start, render, stop; then the same with kill −9 of the supervisor in between."""
    with tempfile.TemporaryDirectory(prefix="rfm-") as temporary:
        patch.setenv("TMPDIR", temporary)
        _cycles(folder, count)
        assert list(Path(temporary).iterdir()) == []


def _cycles(folder: Path, count: int) -> None:
    with runtime(folder, workers=2, drain_timeout_s=1.0) as running:
        running.stop()
        assert left_behind(running) == []
        for _ in range(count):
            running.start()
            work(running)
            running.stop()
            assert left_behind(running) == []
        for _ in range(count):
            running.start()
            with Client(url=running.url, token=running.info.token) as client:
                resumable = client.submit(KIND, ENDLESS)
                next(iter(u for u in resumable.progress() if u.iterations))
            running.kill_supervisor()
            # What a killed supervisor cannot remove is at most its run files, and the frame is the operation's.
            frame = f"op-{resumable.id}"
            left = left_behind(running)
            assert [entry for entry in left if entry.startswith("process")] == []
            assert {entry for entry in left if entry.startswith("op-")} <= {frame}
            running.start()
            with Client(url=running.url, token=running.info.token) as client:
                assert client.cancel(resumable.id) == "cancelling"
                assert client.handle(resumable.id).wait(20) == "canceled"
            work(running)
            running.stop()
            assert left_behind(running) == []


@pytest.mark.scenario("F5", "J8")
def test_a_few_starts_and_stops_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cycles(tmp_path, 2, monkeypatch)


@pytest.mark.slow
@pytest.mark.timeout(600)
@pytest.mark.scenario("F5", "J8")
def test_twenty_starts_and_stops_leave_nothing_behind(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    cycles(tmp_path, 20, monkeypatch)


@pytest.mark.scenario("J9")
def test_kernels_are_compiled_once_with_progress_before_any_worker_starts(tmp_path: Path) -> None:
    options = {"port": 0, "state_dir": str(tmp_path / "s"), "runtime_dir": str(tmp_path / "r")}
    settings = config.load({**options, "cache_dir": str(tmp_path / "c"), "workers": 2}).settings
    for expected in (["compiling kernels", *(f"compiling kernels {k}/3" for k in (1, 2, 3))], []):
        told: list[str] = []
        start_daemon(settings, on_status=lambda text, _, told=told: told.append(text.rpartition(": ")[2]))
        try:
            assert [text for text in told if text.startswith("compiling")] == expected
            assert told.index("starting workers") >= len(expected)
            with Client(settings=settings) as client:
                assert client.submit(KIND, QUICK).wait(30) == "completed"
        finally:
            stop(settings, timeout_s=30, now=True)
