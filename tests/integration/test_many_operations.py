"""Ten thousand operations alive at once, queued and running: everything is listed, and nobody waits."""

from __future__ import annotations

import time
from pathlib import Path

import pytest

from rfm_runtime import Client
from rfm_runtime.client.ids import ulid
from rfm_runtime.protocol.messages import Live, OperationList, SubmitRequest
from rfm_runtime.protocol.operation import OperationEvent
from rfm_runtime.testing.crowd import metrics, percentile
from rfm_runtime.testing.runtime import eventually, runtime
from tests.programs import Script, environment
from tests.whole import ENDLESS, KIND, Recorder

pytestmark = [pytest.mark.integration, pytest.mark.alone]

BATCH = 256

PROGRAM = """
import sys, threading
from rfm_runtime import ProgressReporter
count = int(sys.stdin.readline())
over = threading.Event()
reporters = [ProgressReporter("many", f"many-{number}", bar=False) for number in range(count)]
print("begun", flush=True)
threading.Thread(target=lambda: (sys.stdin.readline(), over.set()), daemon=True).start()
step = 0
while not over.wait(0.1):
    step += 1
    for reporter in reporters[:100]:
        reporter.report_progress(min(99.0, step / 20))
for reporter in reporters:
    reporter.report_completed()
reporters[0].flush(120.0)
print("over", flush=True)
"""


def gauge(url: str, state: str) -> float:
    """Asked a few times a second: each answer goes through all operations."""
    time.sleep(0.25)
    return metrics(url).get(f'rfm_operations{{state="{state}"}}', 0.0)


def check_many(tmp_path: Path, running_count: int, queued_count: int, timeout_s: float) -> None:
    count = running_count + queued_count
    with runtime(tmp_path, workers=1, slots=1, drain_timeout_s=0.0) as started:
        engine = started.processes()["engine-0"]
        # It takes nothing, so that what is queued stays there without computing anything.
        engine.suspend()
        program = Script(PROGRAM, environment(started))
        assert program.process.stdin is not None
        begin_s = time.monotonic()
        program.process.stdin.write(f"{running_count}\n")
        program.process.stdin.flush()
        assert program.line() == "begun"
        with Client(url=started.url, token=started.info.token) as client:
            for _ in range(queued_count // BATCH):
                client.submit_many([_render() for _ in range(BATCH)])
            eventually(lambda: gauge(started.url, "running") >= running_count, timeout_s=timeout_s, what="all run")
            accepted_s = time.monotonic() - begin_s

            begin_s = time.monotonic()
            listed = {operation.operation_id for operation in client.operations()}
            listed_s = time.monotonic() - begin_s
            assert len(listed) == count
            begin_s = time.monotonic()
            watcher = Recorder(started)
            eventually(lambda: any(isinstance(n, Live) for n in list(watcher.notices)), timeout_s=60, what="it is live")
            live_s = time.monotonic() - begin_s
            known = {o.operation_id for n in watcher.notices if isinstance(n, OperationList) for o in n.operations}
            assert known == listed
            one = client.operations(states=["queued"], limit=1)[0].operation_id
            times_ms = []
            for number in range(100):
                begin_s = time.perf_counter()
                client.set_priority(one, number % 50)
                times_ms.append(1000 * (time.perf_counter() - begin_s))
            eventually(lambda: len(watcher.events(one)) >= 99, what="the watcher has seen it")
            lags = {name: 1000 * value for name, value in metrics(started.url).items() if "loop_lag_seconds" in name}
            memory = {name: p.memory_info().rss // 2**20 for name, p in started.processes().items()}
            begin_s = time.monotonic()
            program.go_on()
            assert program.line() == "over"
            eventually(lambda: gauge(started.url, "completed") >= running_count, timeout_s=timeout_s, what="all ended")
            ended_s = time.monotonic() - begin_s
            program.end()

            def outcomes() -> list[str]:
                events = [n for n in list(watcher.notices) if isinstance(n, OperationEvent)]
                return [event.operation_id for event in events if event.type == "operation_completed"]

            eventually(lambda: len(outcomes()) >= running_count, timeout_s=60, what="the watcher has seen all end")
            assert len(set(outcomes())) == len(outcomes()) == running_count
            watcher.close()
        engine.resume()
        p50, p99 = (percentile(times_ms, share) for share in (0.5, 0.99))
        print(
            f"{count} alive after {accepted_s:.1f} s; listed by pages in {listed_s:.1f} s, a watcher live after "
            f"{live_s:.1f} s; a request p50 {p50:.0f} ms, p99 {p99:.0f} ms; {running_count} ended in {ended_s:.1f} s; "
            f"loops late (ms) {lags}; MiB {memory}"
        )
        assert p50 < 500


def _render() -> SubmitRequest:
    return SubmitRequest(operation_id=ulid(), kind=KIND, request_key=ulid(), params=dict(ENDLESS))


@pytest.mark.scenario("H5")
def test_a_thousand_operations_are_alive(tmp_path: Path) -> None:
    check_many(tmp_path, 500, 2 * BATCH, timeout_s=60)


@pytest.mark.slow
@pytest.mark.fault
@pytest.mark.timeout(300)
@pytest.mark.scenario("H5")
def test_ten_thousand_operations_are_alive(tmp_path: Path) -> None:
    check_many(tmp_path, 8000, 8 * BATCH, timeout_s=120)
