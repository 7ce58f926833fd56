"""One runtime for all tests of a file; everything it logged is shown if it dies."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rfm_runtime import Client
from rfm_runtime.testing.runtime import Runtime, runtime
from tests.whole import Recorder


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    with runtime(tmp_path_factory.mktemp("rt"), drain_timeout_s=2.0) as started:
        yield started
        names = set(started.processes())
        assert names == {"broker", "engine-0", "gateway-0"}, f"died unnoticed: {names}\n{started.logs()}"
        assert "Traceback" not in started.logs(), started.logs()


@pytest.fixture
def client(running: Runtime) -> Iterator[Client]:
    with Client(url=running.url, token=running.info.token, initial_delay=0.05) as connected:
        yield connected


@pytest.fixture
def watcher(running: Runtime) -> Iterator[Recorder]:
    recorder = Recorder(running, initial_delay=0.05)
    yield recorder
    recorder.close()


@pytest.fixture(autouse=True)
def no_watcher_is_left() -> Iterator[None]:
    yield
    Recorder.close_all()
