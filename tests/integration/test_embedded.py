"""A server within somebody's program: the reference's example, a running event loop, several at once, nothing left."""

from __future__ import annotations

import asyncio
import multiprocessing
import os
import socket
import threading
import time
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from rfm_runtime import (
    AsyncClient,
    Client,
    JWTAuthenticator,
    ProgressReporter,
    ProgressReportingServer,
    RateLimiter,
    ResourceMonitor,
    track,
)
from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.errors import (
    AlreadyRunningError,
    BadRequestError,
    ForbiddenError,
    InsecureBindError,
    JournalError,
    PortTakenError,
    StartError,
    UnauthorizedError,
)
from rfm_runtime.protocol.operation import TERMINAL_EVENTS, Operation, OperationEvent
from rfm_runtime.testing.runtime import eventually
from tests.programs import Script

pytestmark = [pytest.mark.integration, pytest.mark.scenario("A2")]


@pytest.fixture(autouse=True)
def no_script_is_left() -> Iterator[None]:
    yield
    Script.kill_all()


@pytest.fixture(autouse=True)
def own_home(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The user's folders: nothing of this machine's user is touched, or found."""
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state-home"))
    monkeypatch.setenv("RFM_RUNTIME_DIR", str(tmp_path / "none"))
    return tmp_path


@pytest.fixture
def server() -> Iterator[ProgressReportingServer]:
    with ProgressReportingServer(port=0, memory=True) as running:
        yield running


def connected(server: ProgressReportingServer, **options: str) -> Client:
    return Client(url=server.url, token=server.token, **options)


def only(client: Client, name: str) -> Operation:
    return eventually(lambda: next((o for o in client.operations() if o.name == name), None), what=name)


def test_the_example_of_the_reference() -> None:
    auth = JWTAuthenticator(secret_key="0123456789abcdef0123456789abcdef")
    rate_limiter = RateLimiter(global_rate=1000, client_rate=100)
    monitor = ResourceMonitor(interval=5.0)
    server = ProgressReportingServer(
        host="127.0.0.1", port=0, authenticator=auth, rate_limiter=rate_limiter, resource_monitor=monitor
    )
    began_s = time.monotonic()
    server.start()
    try:
        assert time.monotonic() - began_s < 5.0
        for _ in track(range(10), desc="in the program itself"):
            pass
        with Client(url=server.url, token=auth.issue("ann", ["operator"])) as client:
            assert only(client, "in the program itself").kind == "loop"
            assert client.server.token_expires_at is not None
        # The first may come before the loop was looked at.
        eventually(lambda: monitor.sample().process.loop_lag_ms is not None, what="the lag of its loop")
    finally:
        server.stop()
    assert not server.is_running


def test_as_it_is_printed_it_says_what_to_do() -> None:
    with pytest.warns(UserWarning, match="15 bytes"):
        auth = JWTAuthenticator(secret_key="your-secret-key")
    with pytest.raises(InsecureBindError, match=r"0\.0\.0\.0.*plain text.*secret.*too short") as refused:
        ProgressReportingServer(host="0.0.0.0", port=8765, authenticator=auth)  # on purpose: as printed
    assert "secrets.token_hex(32)" in (refused.value.hint or "")
    assert "127.0.0.1" in (refused.value.hint or "")


@pytest.mark.scenario("G1", "G3")
def test_tokens_say_who_may_do_what() -> None:
    auth = JWTAuthenticator("s" * 32)
    with ProgressReportingServer(port=0, memory=True, authenticator=auth) as server:
        with pytest.raises(UnauthorizedError):
            Client(url=server.url, token=JWTAuthenticator("t" * 32).issue("ann", ["admin"]))
        with ProgressReporter("job", "guarded") as reporter, Client(url=server.url, token=auth.issue("eve")) as viewer:
            operation = only(viewer, "guarded")
            with pytest.raises(ForbiddenError):
                viewer.cancel(operation.operation_id)
            with connected(server) as owner:
                assert owner.cancel(operation.operation_id) == "cancelling"
            eventually(reporter.should_cancel, what="it is asked to stop")


def test_who_may_only_look_is_told_so_when_he_reports() -> None:
    auth = JWTAuthenticator("s" * 32)
    code = """
    import logging, sys
    from rfm_runtime import track

    logging.basicConfig(stream=sys.stdout, format="%(message)s")
    for _ in track(range(10), desc="may not"):
        pass
    input()
    """
    with ProgressReportingServer(port=0, memory=True, authenticator=auth) as guarded:
        env = {"RFM_URL": guarded.url, "RFM_TOKEN": auth.issue("eve"), "RFM_RUNTIME_DIR": os.environ["RFM_RUNTIME_DIR"]}
        script = Script(code, os.environ | env)
        assert "may not report" in script.line()
        script.go_on()
        assert script.end() == (0, "", "")
        with connected(guarded) as client:
            assert client.operations() == []


def test_an_authenticator_that_fails_lets_nobody_in(caplog: pytest.LogCaptureFixture) -> None:
    class Broken:
        def authenticate(self, token: str) -> Grant | None:
            raise RuntimeError(token)

    with ProgressReportingServer(port=0, memory=True, authenticator=Broken()) as server:
        with pytest.raises(UnauthorizedError):
            Client(url=server.url, token="x")
        with connected(server):
            pass
    assert "nobody was let in" in caplog.text


def test_within_a_running_event_loop() -> None:
    """As in a notebook: cells run in a loop, and what blocks it blocks everything."""

    async def notebook() -> str:
        with ProgressReportingServer(port=0, memory=True) as server:
            async with AsyncClient(server.url, server.token) as client:
                async for _ in track(_items(20), desc="in a loop"):
                    await asyncio.sleep(0.001)
                async for notice in client.watch():
                    if isinstance(notice, OperationEvent) and notice.type in TERMINAL_EVENTS:
                        return notice.state
                raise AssertionError("watching ended")

    assert asyncio.run(notebook()) == "completed"


async def _items(count: int) -> AsyncIterator[int]:
    for number in range(count):
        yield number


def test_several_in_one_process() -> None:
    with (
        ProgressReportingServer(port=0) as first,
        ProgressReportingServer(port=0) as second,
        connected(first) as one,
        connected(second) as other,
    ):
        assert first.url != second.url
        with ProgressReporter("job", "to the first"):
            pass
        assert only(one, "to the first").name == "to the first"
        assert other.operations() == []


def _in_a_child(name: str) -> None:
    for _ in track(range(5), desc=name):
        pass


@pytest.mark.scenario("B7")
def test_forked_children_report_over_ipc(server: ProgressReportingServer) -> None:
    child = multiprocessing.get_context("fork").Process(target=_in_a_child, args=("of a child",))
    child.start()
    child.join(20)
    assert child.exitcode == 0
    with connected(server) as client:
        operation = only(client, "of a child")
        eventually(lambda: client.operation(operation.operation_id).state == "completed", what="its outcome")
    assert server.is_running


def _after(release: Callable[[], object], code: Callable[[], object], said: Any) -> None:
    release()
    said.send(code())


def _own_server() -> int:
    with ProgressReportingServer(port=0, memory=True) as server, connected(server) as client:
        with ProgressReporter("job", "of the child"):
            pass
        return len(eventually(client.operations, what="it reports to its own"))


def test_a_child_whose_parents_server_is_gone_reports_to_its_own() -> None:
    context = multiprocessing.get_context("fork")
    release, go_on = context.Pipe(duplex=False)
    said, tell = context.Pipe(duplex=False)
    with ProgressReportingServer(port=0, memory=True):
        child = context.Process(target=_after, args=(release.recv, _own_server, tell))
        child.start()
    go_on.send(None)
    try:
        assert said.poll(30)
        assert said.recv() == 1
    finally:
        child.join(20)
        for end in (release, go_on, said, tell):
            end.close()


def test_two_servers_share_a_monitor_and_leave_one_that_was_started_alone() -> None:
    monitor = ResourceMonitor(interval=0.05)
    first = ProgressReportingServer(port=0, memory=True, resource_monitor=monitor)
    with ProgressReportingServer(port=0, memory=True, resource_monitor=monitor) as second:
        first.start()
        first.stop()
        with connected(second) as client:
            eventually(client.resources, what="the other still tells")
    before = monitor.latest
    with monitor:
        eventually(lambda: monitor.latest is not before, what="it was stopped, and begins again")
        with ProgressReportingServer(port=0, memory=True, resource_monitor=monitor):
            pass
        seen = monitor.latest
        eventually(lambda: monitor.latest is not seen, what="it is still going")


def _hold(release: Callable[[], object]) -> None:
    release()


def test_a_child_that_outlives_it_holds_neither_port_nor_folder(own_home: Path) -> None:
    server = ProgressReportingServer(port=0, state_dir=own_home / "kept")
    server.start()
    port = int(server.url.rpartition(":")[2])
    reader, writer = multiprocessing.Pipe(duplex=False)
    child = multiprocessing.get_context("fork").Process(target=_hold, args=(reader.recv,))
    child.start()
    try:
        server.stop()
        with ProgressReportingServer(port=port, state_dir=own_home / "kept"):
            pass
    finally:
        writer.send(None)
        child.join(20)
        reader.close()
        writer.close()


DESCRIPTORS = Path("/proc/self/fd")


def test_a_child_that_has_not_come_to_close_them_keeps_neither_port_nor_folder(own_home: Path) -> None:
    """Between a fork and the child's own first step its descriptors are open; held open here by copies."""
    server = ProgressReportingServer(port=0, state_dir=own_home / "kept")
    server.start()
    port = int(server.url.rpartition(":")[2])
    copies = [os.dup(int(name)) for name in _open() if _is_of(port, int(name))]
    try:
        assert len(copies) >= 2
        server.stop()
        with ProgressReportingServer(port=port, state_dir=own_home / "kept"):
            pass
    finally:
        for copy in copies:
            os.close(copy)


def _open() -> list[str]:
    return [path.name for path in DESCRIPTORS.iterdir()]


def _is_of(port: int, descriptor: int) -> bool:
    """Whether it is a server's lock, or the socket that listens there."""
    try:
        if (DESCRIPTORS / str(descriptor)).readlink().name.endswith("lock"):
            return True
        with socket.socket(fileno=os.dup(descriptor)) as listener:
            return bool(listener.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN)) and (
                listener.getsockname()[1:2] == (port,)
            )
    except OSError:
        return False


@pytest.mark.scenario("B9")
def test_what_was_reported_is_there_after_the_next_start(own_home: Path) -> None:
    for number in range(3):
        with ProgressReportingServer(port=0, state_dir=own_home / "kept") as server, connected(server) as client:
            with ProgressReporter("job", f"run {number}"):
                pass
            _await_runs(client, number + 1)


def _await_runs(client: Client, count: int) -> None:
    runs = [(f"run {number}", "completed") for number in range(count)]
    eventually(lambda: sorted((o.name, o.state) for o in client.operations()) == runs, what="all runs")


def test_memory_keeps_nothing(own_home: Path) -> None:
    before = sorted(own_home.rglob("*"))
    with ProgressReportingServer(port=0, memory=True) as server, connected(server) as client:
        assert client.server.durable is False
        folder = server.runtime_dir
        assert folder.stat().st_mode & 0o077 == 0
    assert not folder.exists()
    assert sorted(own_home.rglob("*")) == before


@pytest.mark.scenario("J8")
def test_stop_leaves_nothing(own_home: Path) -> None:
    def descriptors() -> int:
        return len(list(Path("/proc/self/fd").iterdir()))

    def cycle() -> None:
        with ProgressReportingServer(port=0, state_dir=own_home / "kept") as server, connected(server):
            pass

    cycle()
    before = descriptors(), sorted(thread.name for thread in threading.enumerate())
    for _ in range(5):
        cycle()
    after = descriptors(), sorted(thread.name for thread in threading.enumerate())
    assert after == before


def test_it_can_be_started_again_and_twice(server: ProgressReportingServer) -> None:
    url = server.url
    server.start()
    assert server.url == url
    server.stop()
    server.stop()
    with pytest.raises(StartError, match="does not run"):
        _ = server.url
    server.start()
    with connected(server):
        pass


def test_a_taken_port_is_named(server: ProgressReportingServer) -> None:
    port = int(server.url.rpartition(":")[2])
    with pytest.raises(PortTakenError, match=str(port)):
        ProgressReportingServer(port=port, memory=True).start()


def test_a_folder_in_use_is_named(own_home: Path) -> None:
    other = ProgressReportingServer(port=0, state_dir=own_home / "kept")
    with ProgressReportingServer(port=0, state_dir=own_home / "kept"), pytest.raises(AlreadyRunningError, match="kept"):
        other.start()


@pytest.mark.scenario("F11")
def test_a_damaged_journal_is_said_and_left(own_home: Path) -> None:
    folder = own_home / "kept"
    folder.mkdir()
    (folder / "journal.db").write_bytes(b"no journal" * 100)
    server = ProgressReportingServer(port=0, state_dir=folder)
    with pytest.raises(JournalError):
        server.start()
    assert not server.is_running
    assert (folder / "journal.db").read_bytes() == b"no journal" * 100
    (folder / "journal.db").unlink()
    with server:
        pass


def test_what_excludes_each_other_is_refused(own_home: Path) -> None:
    with pytest.raises(BadRequestError):
        ProgressReportingServer(state_dir=own_home, memory=True)


@pytest.mark.scenario("I1")
def test_a_plain_script_that_forgets_to_stop(own_home: Path) -> None:
    code = """
    from rfm_runtime import Client, ProgressReportingServer, track

    server = ProgressReportingServer(port=0)
    server.start()
    for _ in track(range(5), desc="plain"):
        pass
    with Client(url=server.url, token=server.token) as client:
        while not any(o.state == "completed" for o in client.operations()):
            pass
    print(server.runtime_dir)
    """
    env = {"PATH": "/usr/bin:/bin", "HOME": str(own_home), "XDG_STATE_HOME": str(own_home / "s")}
    status, out, err = Script(code, env | {"PYTHONPATH": os.environ.get("PYTHONPATH", "")}).end()
    assert (status, err) == (0, "")
    assert not Path(out.strip()).exists()
    assert [path.name for path in (own_home / "s/rfm-runtime/embedded").iterdir()] == ["any-0"]
