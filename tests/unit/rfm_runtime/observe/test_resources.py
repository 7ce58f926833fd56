"""`ResourceMonitor`: what a program does is in its reports, and nothing that happens to the monitor is its affair."""

from __future__ import annotations

import asyncio
import logging
import math
import os
import socket
import subprocess
import sys
import threading
import time
from pathlib import Path
from typing import Any

import pytest

from rfm_runtime.errors import BadRequestError, MissingExtraError
from rfm_runtime.observe.resources import ResourceMonitor
from rfm_runtime.protocol.resources import Health, ResourceReport
from rfm_runtime.testing.runtime import eventually

pytestmark = pytest.mark.scenario("J18")

MIB = 1024**2


def threads() -> list[threading.Thread]:
    return [thread for thread in threading.enumerate() if thread.name == "rfm-resources"]


def test_a_report_names_the_process_and_says_what_it_and_its_host_use(tmp_path: Path) -> None:
    report = ResourceMonitor(name="broker", role="core", state_dir=tmp_path).sample()
    process, host = report.process, report.host
    assert (process.name, process.role, process.pid) == ("broker", "core", os.getpid())
    assert 5 * MIB < process.memory_bytes <= process.peak_memory_bytes
    assert process.threads >= 1
    assert process.descriptors is not None
    assert process.descriptors >= 3
    assert 1 <= host.cores <= (os.cpu_count() or 1)
    assert 0 < host.memory_available_bytes <= host.memory_total_bytes
    assert host.disk_free_bytes is not None
    assert host.disk_total_bytes is not None
    assert host.disk_free_bytes <= host.disk_total_bytes
    assert report.measured_at_ms == pytest.approx(time.time() * 1000, abs=10_000)


def test_without_a_state_folder_no_disk_is_watched() -> None:
    host = ResourceMonitor().sample().host
    assert (host.disk_free_bytes, host.disk_total_bytes) == (None, None)


def test_a_busy_thread_is_seen_as_cpu() -> None:
    monitor, done = ResourceMonitor(), threading.Event()

    def spin() -> None:
        while not done.is_set():
            pass

    thread = threading.Thread(target=spin)
    thread.start()
    try:
        eventually(lambda: monitor.sample().process.cpu_percent > 30.0, what="CPU of a busy thread")
        assert monitor.sample().host.cpu_percent > 0.0
    finally:
        done.set()
        thread.join()
    eventually(lambda: monitor.sample().process.cpu_percent < 30.0, what="an idle process")


def test_what_children_use_is_theirs() -> None:
    monitor = ResourceMonitor()
    busy = "print(flush=True)\nwhile True: pass"
    with subprocess.Popen([sys.executable, "-c", busy], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        process.stdout.readline()
        try:
            report = eventually(
                lambda: found if (found := monitor.sample()).process.children.cpu_percent > 30.0 else None,
                what="CPU of a busy child",
            )
            assert report.process.children.processes >= 1
            assert report.process.children.memory_bytes > MIB
            assert report.process.cpu_percent < report.process.children.cpu_percent
        finally:
            process.kill()


def test_opened_files_and_sockets_are_counted(tmp_path: Path) -> None:
    monitor = ResourceMonitor()
    before = monitor.sample().process
    with (tmp_path / "file").open("w"), socket.socket(), socket.socket():
        after = monitor.sample().process
    assert after.descriptors == (before.descriptors or 0) + 3
    assert after.sockets == (before.sockets or 0) + 2


def test_a_blocked_loop_shows_its_lag_and_is_not_healthy() -> None:
    release = threading.Event()

    async def block(monitor: ResourceMonitor) -> None:
        monitor.watch_loop(asyncio.get_running_loop())
        await asyncio.to_thread(eventually, lambda: monitor.latest and monitor.latest.process.loop_lag_ms is not None)
        # On purpose: this is what a program must not do.
        release.wait(timeout=20)

    with ResourceMonitor(0.05) as monitor:
        assert monitor.sample().process.loop_lag_ms is None
        thread = threading.Thread(target=asyncio.run, args=(block(monitor),))
        thread.start()
        try:
            # On a busy machine it is not the only reason, nor the first.
            eventually(
                lambda: any("event loop: it came up to" in reason for reason in monitor.health.reasons),
                what="a degraded process",
            )
            assert monitor.health.state != "healthy"
        finally:
            release.set()
            thread.join()
        eventually(lambda: not any("event loop" in reason for reason in monitor.health.reasons), what="recovery")


def test_a_loop_is_watched_until_the_monitor_stops_and_one_that_is_closed_not_at_all() -> None:
    monitor = ResourceMonitor()

    async def lags_ms() -> list[float | None]:
        for _ in range(2):
            monitor.watch_loop(asyncio.get_running_loop())
        await asyncio.sleep(0)
        watched = monitor.sample().process.loop_lag_ms
        monitor.stop()
        return [watched, monitor.sample().process.loop_lag_ms]

    watched, stopped = asyncio.run(lags_ms())
    assert watched is not None
    assert stopped is None
    loop = asyncio.new_event_loop()
    loop.close()
    monitor.watch_loop(loop)
    assert monitor.sample().process.loop_lag_ms is None


def test_it_reports_every_interval_from_the_start_on_until_it_is_stopped() -> None:
    reports: list[ResourceReport] = []
    monitor = ResourceMonitor(0.02, on_report=reports.append)
    assert (monitor.latest, monitor.health) == (None, Health())
    with monitor:
        eventually(lambda: len(reports) >= 3, what="three reports")
    count = len(reports)
    assert not threads()
    assert monitor.latest == reports[-1]
    assert monitor.health == reports[-1].health
    monitor.stop()
    assert len(reports) == count


def test_starts_and_stops_may_be_repeated_and_it_begins_anew() -> None:
    reports: list[ResourceReport] = []
    monitor = ResourceMonitor(60.0, on_report=reports.append)
    monitor.stop()
    for round_no in (1, 2):
        monitor.start()
        monitor.start()
        assert len(threads()) == 1
        eventually(lambda expected=round_no: len(reports) == expected, what="a report at the start")
        monitor.stop()
        monitor.stop()
        assert not threads()


def test_it_may_be_stopped_from_its_own_report() -> None:
    monitor = ResourceMonitor(0.02, on_report=lambda _: monitor.stop())
    monitor.start()
    eventually(lambda: not threads(), what="the end of the thread")


def test_a_callback_that_fails_is_logged_once_and_ends_nothing(caplog: pytest.LogCaptureFixture) -> None:
    calls: list[ResourceReport] = []

    def fail(report: ResourceReport) -> None:
        calls.append(report)
        raise ZeroDivisionError

    with caplog.at_level(logging.WARNING, "rfm_runtime"), ResourceMonitor(0.02, on_report=fail):
        eventually(lambda: len(calls) >= 3, what="further reports")
    assert len(caplog.records) == 1
    assert "ZeroDivisionError" in caplog.text


def test_what_cannot_be_read_is_left_out_and_logged_once(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    monitor = ResourceMonitor(state_dir=tmp_path / "missing")
    with caplog.at_level(logging.WARNING, "rfm_runtime"):
        reports = [monitor.sample() for _ in range(3)]
    assert all(report.host.disk_free_bytes is None for report in reports)
    assert all(report.process.memory_bytes > 0 for report in reports)
    assert [record.args for record in caplog.records] == [("disk",)]


@pytest.mark.parametrize("interval", [0, -1, 0.001, math.nan, math.inf, 1e9, "5", None])
def test_an_interval_that_is_none_is_refused_with_a_hint(interval: Any) -> None:
    with pytest.raises(BadRequestError, match="interval is") as refused:
        ResourceMonitor(interval)
    assert refused.value.hint == "give seconds, 0.01 to 86400"


def test_without_psutil_it_says_what_to_install() -> None:
    code = (
        "import sys; sys.modules['psutil'] = None\n"
        "from rfm_runtime import ResourceMonitor\n"
        "from rfm_runtime.errors import MissingExtraError\n"
        "try: ResourceMonitor()\n"
        "except MissingExtraError as error: print(error.hint)"
    )
    run = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert run.stdout.strip() == MissingExtraError("", "server").hint


def test_a_forked_child_measures_itself() -> None:
    # The lock is held, as by a thread that samples at the moment of the fork.
    code = """
import os, time
from rfm_runtime import ResourceMonitor
monitor = ResourceMonitor(0.02)
monitor.start()
while monitor.latest is None: time.sleep(0.01)
monitor._lock.acquire()
pid = os.fork()
if pid == 0:
    assert monitor.latest is None
    monitor.start()
    while monitor.latest is None: time.sleep(0.01)
    assert monitor.latest.process.pid == os.getpid()
    assert monitor.sample().process.children.processes == 0
    monitor.stop()
    os._exit(0)
assert os.waitpid(pid, 0)[1] == 0
monitor._lock.release()
monitor.stop()
"""
    subprocess.run([sys.executable, "-c", code], check=True, timeout=60)


def test_a_sample_costs_next_to_nothing() -> None:
    monitor = ResourceMonitor()
    children = [subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) for _ in range(4)]
    try:
        monitor.sample()
        began_s = time.thread_time()
        for _ in range(50):
            monitor.sample()
        # Measured is a fifth of that; a slow hour of a shared machine is no fault.
        assert (time.thread_time() - began_s) / 50 < 0.005
        assert monitor.sample().process.children.processes >= 4
    finally:
        for child in children:
            child.communicate(b"\n")
