"""One runtime, or server that signs tokens, for all tests of a file; everything it logged is shown if it dies."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from rfm_runtime import Client, JWTAuthenticator, ProgressReportingServer
from rfm_runtime.client.reporting.session import begin_anew
from rfm_runtime.testing.runtime import Runtime, runtime
from tests.commands import environment
from tests.tokens import SECRET
from tests.whole import Recorder
from tests.xscreens import screen


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


@pytest.fixture(autouse=True)
def _program(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test is a program of its own: what it could not tell its server is not told to the next one's."""
    # Its folders are there for as long.
    request.getfixturevalue("monkeypatch")
    yield
    begin_anew()


@pytest.fixture
def display() -> Iterator[str]:
    """A screen of its own."""
    with screen() as name:
        yield name


@pytest.fixture
def watcher(running: Runtime) -> Iterator[Recorder]:
    recorder = Recorder(running, initial_delay=0.05)
    yield recorder
    recorder.close()


@pytest.fixture(scope="module")
def signing_state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Of `signing_server`."""
    return tmp_path_factory.mktemp("signing") / "state"


@pytest.fixture(scope="module")
def signing_server(signing_state: Path) -> Iterator[ProgressReportingServer]:
    """One whose tokens are signed with SECRET."""
    authenticator = JWTAuthenticator(SECRET)
    with ProgressReportingServer(port=0, state_dir=signing_state, authenticator=authenticator) as started:
        yield started


@pytest.fixture
def signing_admin(signing_server: ProgressReportingServer, tmp_path: Path) -> dict[str, str]:
    """The environment of whoever looks after it."""
    token = tmp_path / "own.token"
    token.write_text(signing_server.token)
    return environment(tmp_path, RFM_URL=signing_server.url, RFM_TOKEN_FILE=str(token))


@pytest.fixture(autouse=True)
def no_watcher_is_left() -> Iterator[None]:
    yield
    Recorder.close_all()
