"""What a runtime's processes use, as its clients, its commands and its metrics tell it."""

from __future__ import annotations

import json
import signal
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from rfm_runtime import Client
from rfm_runtime.observe.process import available_cores
from rfm_runtime.protocol.resources import Resources
from rfm_runtime.testing.runtime import Runtime, eventually, runtime
from tests.commands import document, environment, output
from tests.whole import ENDLESS, KIND

pytestmark = [pytest.mark.integration, pytest.mark.scenario("J18")]

INTERVAL_S = 0.2
NAMES = ["broker", "engine-0", "gateway-0"]


@pytest.fixture(scope="module")
def watched(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    """More workers than cores, and a word of each process five times a second."""
    folder = tmp_path_factory.mktemp("rt")
    with runtime(
        folder, workers=available_cores() + 1, resources_interval_s=INTERVAL_S, drain_timeout_s=2.0
    ) as started:
        yield started


@pytest.fixture
def asker(watched: Runtime) -> Iterator[Client]:
    with Client(url=watched.url, token=watched.info.token) as connected:
        yield connected


def names(resources: Resources | None) -> list[str]:
    return [] if resources is None else [report.process.name for report in resources.reports]


def all_of_them(asker: Client) -> Resources:
    """What all have said, each at least once after the first interval: before that nobody has a lag."""

    def whole() -> Resources | None:
        resources = asker.resources()
        if resources is None or names(resources) != NAMES:
            return None
        return resources if all(r.process.loop_lag_ms is not None for r in resources.reports) else None

    return eventually(whole, timeout_s=20, what="all processes are heard")


def test_every_process_says_what_it_uses(watched: Runtime, asker: Client) -> None:
    processes = watched.processes()
    for report in all_of_them(asker).reports:
        assert report.process.pid == processes[report.process.name].pid
        assert report.process.role == report.process.name.partition("-")[0]
        assert report.process.memory_bytes > 10_000_000
        assert report.process.loop_lag_ms is not None
        assert report.process.sockets
        assert report.host.cores == available_cores()
        assert report.host.disk_free_bytes


def test_workers_at_work_are_seen(watched: Runtime, asker: Client) -> None:
    operation = asker.submit(KIND, ENDLESS)

    def busy() -> bool:
        resources = asker.resources()
        below = [r.process.children for r in resources.reports if r.process.role == "engine"] if resources else []
        return any(children.cpu_percent > 50.0 and children.processes > available_cores() for children in below)

    try:
        eventually(busy, timeout_s=30, what="the workers' CPU time")
    finally:
        operation.cancel()
    assert operation.wait(30) == "canceled"
    assert watched.workers()


def test_what_would_help_is_said(asker: Client) -> None:
    eventually(lambda: all_of_them(asker).advice, what="advice")
    (advice,) = [one for one in all_of_them(asker).advice if one.topic == "workers"]
    assert advice.setting == f"workers = {available_cores()}"


@pytest.mark.fault
@pytest.mark.scenario("F6")
def test_a_frozen_process_is_not_shown_as_it_was(watched: Runtime, asker: Client) -> None:
    all_of_them(asker)
    engine = watched.processes()["engine-0"]
    engine.send_signal(signal.SIGSTOP)
    try:
        eventually(lambda: names(asker.resources()) == ["broker", "gateway-0"], what="it is not heard")
    finally:
        engine.send_signal(signal.SIGCONT)
    all_of_them(asker)


def test_metrics_have_all_processes(watched: Runtime, asker: Client) -> None:
    all_of_them(asker)
    request = urllib.request.Request(watched.url.replace("ws://", "http://") + "/metrics")
    request.add_header("Authorization", f"Bearer {watched.info.token}")
    with urllib.request.urlopen(request, timeout=10) as answer:
        text = answer.read().decode()
    for name in NAMES:
        assert f'rfm_process_memory_bytes{{process="{name}",role="{name.partition("-")[0]}"}}' in text
    assert "\nrfm_health " in text
    # One description of each family, or a scraper refuses all of it.
    described = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(described) == len(set(described))


@pytest.mark.scenario("I9")
def test_status_and_watch_show_it(watched: Runtime, asker: Client, tmp_path: Path) -> None:
    all_of_them(asker)
    where = {"RFM_STATE_DIR": watched.settings.state_dir, "RFM_RUNTIME_DIR": watched.settings.runtime_dir}
    env = environment(tmp_path, **where)
    told = output("status", env=env)
    assert "health: " in told
    assert all(f"\n{name} " in told for name in NAMES)
    assert f"(workers = {available_cores()})" in told
    resources = document("status", env=env)["resources"]
    assert [report["process"]["name"] for report in resources["reports"]] == NAMES
    with Client(url=watched.url, token=watched.info.token, metrics=True) as watcher:
        shown = next(notice for notice in watcher.watch() if isinstance(notice, Resources))
    assert shown.reports
    json.dumps(resources)
