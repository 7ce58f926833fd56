"""A watcher that stands still beside live ones: it costs bounded memory, nobody else notices, and it converges."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from rfm_runtime import Client
from rfm_runtime.client.async_client import Notice
from rfm_runtime.errors import UnavailableError
from rfm_runtime.protocol.messages import OperationList
from rfm_runtime.protocol.operation import OperationEvent, ProgressUpdate
from rfm_runtime.testing.crowd import metrics, percentile
from rfm_runtime.testing.runtime import Runtime, eventually, runtime
from tests.programs import Script, environment
from tests.whole import KIND, QUICK

pytestmark = [pytest.mark.integration, pytest.mark.alone]

REPORTERS = 60
FROZEN = 5
LIVE = 3

CLOSED_SLOW = 'rfm_gateway_decisions_total{gateway="gateway-0",what="closed_4008"}'

LOAD = f"""
import sys, threading, time
from rfm_runtime import ProgressReporter
over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), over.set()), daemon=True).start()
reporters = [ProgressReporter("load", f"load-{{number}}", bar=False) for number in range({REPORTERS})]
step = 0
print("ready", flush=True)
while not over.wait(0.1):
    step += 1
    for reporter in reporters:
        reporter.report_progress(min(99.0, step / 20), message=f"{{step}} " + "x" * 2000)
for reporter in reporters:
    reporter.report_completed()
print("over", flush=True)
"""
"""60 operations that say 2 KB ten times a second: 1.2 MB/s for each watcher, which fills a socket in seconds."""

WATCH = f"""
import json, sys, threading
from rfm_runtime import Client
from rfm_runtime.protocol.messages import OperationList
from rfm_runtime.protocol.operation import OperationEvent
lost = []
known = [{{}} for _ in range({FROZEN})]
def watch(number):
    client = Client(on_state=lambda state, details: state == "reconnecting" and lost.append(details["reason"]))
    ready.release()
    last = 0
    for notice in client.watch():
        if isinstance(notice, OperationEvent):
            assert notice.seq > last
            last = notice.seq
            known[number][notice.operation_id] = notice.state
        elif isinstance(notice, OperationList):
            known[number].update((o.operation_id, o.state) for o in notice.operations)
ready = threading.Semaphore(0)
for number in range({FROZEN}):
    threading.Thread(target=watch, args=(number,), daemon=True).start()
for _ in known:
    ready.acquire()
print("ready", flush=True)
while sys.stdin.readline():
    print(json.dumps([known, lost]), flush=True)
"""


class Live:
    """A watcher that reads. states: of operations; late_ms: how old progress was; cut: its lost connections."""

    def __init__(self, running: Runtime) -> None:
        self.states: dict[str, str] = {}
        self.late_ms: list[float] = []
        self.cut: list[str] = []
        self._client = Client(
            url=running.url,
            token=running.info.token,
            on_state=lambda state, _: self.cut.append(state) if state != "live" else None,
        )
        self._thread = threading.Thread(target=self._watch)
        self._thread.start()

    def _watch(self) -> None:
        try:
            for notice in self._client.watch():
                self._take(notice)
        except UnavailableError:
            return

    def _take(self, notice: Notice) -> None:
        if isinstance(notice, ProgressUpdate):
            self.late_ms.append(time.time() * 1000 - notice.measured_at_ms)
        elif isinstance(notice, OperationEvent):
            self.states[notice.operation_id] = notice.state
        elif isinstance(notice, OperationList):
            self.states.update((o.operation_id, o.state) for o in notice.operations)

    def close(self) -> None:
        self._client.close()
        self._thread.join()


@contextmanager
def live_watchers(running: Runtime) -> Iterator[list[Live]]:
    watchers = [Live(running) for _ in range(LIVE)]
    try:
        yield watchers
    finally:
        for watcher in watchers:
            watcher.close()


def observe(watchers: list[Live], gateway: psutil.Process, seconds: float) -> tuple[list[float], int]:
    """How late progress came to those who read, and the most memory that the gateway had, in MiB."""
    for watcher in watchers:
        watcher.late_ms.clear()
    most, end_s = 0, time.monotonic() + seconds
    while time.monotonic() < end_s:
        most = max(most, gateway.memory_info().rss)
        time.sleep(0.1)
    return [late for watcher in watchers for late in list(watcher.late_ms)], most // 2**20


def check_frozen(tmp_path: Path, frozen_s: float, write_stall_s: float) -> None:
    with runtime(
        tmp_path, workers=1, drain_timeout_s=1.0, write_stall_s=write_stall_s, connections_per_user=64
    ) as running:
        gateway = running.processes()["gateway-0"]
        load, asleep = Script(LOAD, environment(running)), Script(WATCH, environment(running))
        assert (load.line(), asleep.line()) == ("ready", "ready")
        with live_watchers(running) as watchers, Client(url=running.url, token=running.info.token) as client:
            eventually(lambda: all(len(w.late_ms) > 10 * REPORTERS for w in watchers), what="progress flows")
            before_ms, before_mib = observe(watchers, gateway, 3.0)
            process = psutil.Process(asleep.process.pid)
            process.suspend()
            ids = [client.submit(KIND, QUICK).id for _ in range(5)]
            during_ms, most_mib = observe(watchers, gateway, frozen_s)
            eventually(lambda: all(w.states.get(i) == "completed" for w in watchers for i in ids), what="events come")
            closed = metrics(running.url).get(
                'rfm_gateway_decisions_total{gateway="gateway-0",what="closed_4008"}', 0.0
            )
            process.resume()
            load.go_on()
            assert load.line() == "over"
            load.end()
            eventually(lambda: all(list(w.states.values()).count("completed") == REPORTERS + 5 for w in watchers))

            def converged() -> bool:
                asleep.go_on()
                known, lost = json.loads(asleep.line())
                return len(lost) >= FROZEN and all(one == watchers[0].states for one in known)

            eventually(converged, timeout_s=30, what="those that were frozen know what the others know")
            asleep.process.kill()
            asleep.process.wait()
            assert all(watcher.cut == [] for watcher in watchers), "a live watcher was cut"
        figures = (
            f"late before p50 {percentile(before_ms, 0.5):.0f} p99 {percentile(before_ms, 0.99):.0f} ms, "
            f"beside {FROZEN} frozen p50 {percentile(during_ms, 0.5):.0f} p99 {percentile(during_ms, 0.99):.0f} ms; "
            f"gateway {before_mib} → {most_mib} MiB at most; {closed:.0f} closed as slow"
        )
        print(figures)
        assert closed == FROZEN, figures
        assert most_mib - before_mib <= 16, figures
        assert len(during_ms) / frozen_s >= len(before_ms) / 3.0 / 2, f"they got less than half as often: {figures}"
        assert percentile(during_ms, 0.5) <= 2 * percentile(before_ms, 0.5) + 100, figures


@pytest.mark.scenario("D4", "J28")
def test_frozen_watchers_cost_bounded_memory_and_nobody_else_anything(tmp_path: Path) -> None:
    check_frozen(tmp_path, frozen_s=15.0, write_stall_s=1.0)


@pytest.mark.slow
@pytest.mark.fault
@pytest.mark.timeout(240)
@pytest.mark.scenario("D4")
def test_watchers_are_frozen_for_a_minute(tmp_path: Path) -> None:
    check_frozen(tmp_path, frozen_s=60.0, write_stall_s=5.0)
