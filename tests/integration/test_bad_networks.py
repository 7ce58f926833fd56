"""A bad network between a gateway and its watchers: late, lossy, narrow, cut in mid-frame; nobody misses an event."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterator
from urllib.parse import urlsplit

import pytest

from rfm_runtime import Client
from rfm_runtime.testing.chaos.faults import BlackHole, Cut, HalfOpen, IdleCut, Latency, NetworkFault, Stalls, Throttle
from rfm_runtime.testing.chaos.proxy import FaultProxy
from rfm_runtime.testing.runtime import Runtime, eventually, runtime
from tests.loops import running_loop
from tests.whole import ENDLESS, KIND, QUICK, SECONDS, Recorder, reached

pytestmark = [pytest.mark.integration, pytest.mark.fault]

TILES = {**SECONDS, "tile_px": 64, "max_iter": 30_000}


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    with runtime(tmp_path_factory.mktemp("rt"), workers=1, drain_timeout_s=2.0, heartbeat_s=1.0) as started:
        yield started


class Network:
    """A proxy before the runtime, in a thread with a loop of its own."""

    def __init__(self, running: Runtime, loop: asyncio.AbstractEventLoop) -> None:
        address = urlsplit(running.url)
        assert address.port is not None
        self.proxy = FaultProxy("127.0.0.1", address.port, seed=1)
        self._loop = loop
        self._running = running
        self._port = asyncio.run_coroutine_threadsafe(self.proxy.start(), loop).result(10)

    def watcher(self, **options: object) -> Recorder:
        recorder = Recorder(self._running, initial_delay=0.05, max_delay=0.5, url=self.url, **options)
        eventually(lambda: recorder.client.state == "live", what="it is live")
        return recorder

    @property
    def url(self) -> str:
        return f"ws://127.0.0.1:{self._port}"

    def on(self, fault: NetworkFault) -> None:
        self._do(lambda: self.proxy.on(fault))

    def off(self) -> None:
        self._do(self.proxy.off)

    def close(self) -> None:
        asyncio.run_coroutine_threadsafe(self.proxy.close(), self._loop).result(10)

    def _do(self, change: Callable[[], None]) -> None:
        done = threading.Event()
        self._loop.call_soon_threadsafe(lambda: (change(), done.set()))
        assert done.wait(10)


@pytest.fixture
def network(running: Runtime) -> Iterator[Network]:
    with running_loop() as loop:
        made = Network(running, loop)
        yield made
        made.close()


def check_same(near: Recorder, far: Recorder, operation_id: str) -> None:
    """Both watchers have heard the same story of it, and each a proper one."""
    for watcher in (near, far):
        watcher.await_end(operation_id)
        watcher.check_story(operation_id)
    assert far.types(operation_id) == near.types(operation_id)


@pytest.mark.scenario("D3")
@pytest.mark.parametrize(
    ("fault", "encoding"),
    [(Latency(0.2, 0.1), "json"), (Stalls(0.2, 0.4), "msgpack"), (Throttle(10_000), "json"), (IdleCut(0.5), "msgpack")],
    ids=str,
)
def test_a_late_lossy_or_narrow_network_costs_progress_and_no_event(
    running: Runtime, client: Client, network: Network, fault: NetworkFault, encoding: str
) -> None:
    near, far = Recorder(running), network.watcher(encoding=encoding)
    network.on(fault)
    operations = [client.submit(KIND, TILES), *(client.submit(KIND, QUICK) for _ in range(5))]
    for operation in operations:
        assert operation.wait(60) == "completed"
    for operation in operations:
        check_same(near, far, operation.id)
    # Whoever is far steers as well.
    with Client(url=network.url, token=running.info.token) as distant:
        endless = distant.submit(KIND, ENDLESS)
        assert endless.cancel() == "cancelling"
        assert endless.wait(30) == "canceled"
    check_same(near, far, endless.id)
    near.close()
    far.close()


@pytest.mark.scenario("D3")
@pytest.mark.parametrize(("reset", "encoding"), [(False, "json"), (True, "msgpack")], ids=["truncated", "reset"])
def test_a_frame_that_ends_in_its_middle_costs_the_connection_and_no_event(
    running: Runtime, client: Client, network: Network, reset: bool, encoding: str
) -> None:
    near, far = Recorder(running), network.watcher(encoding=encoding)
    operation = client.submit(KIND, TILES)
    for times in range(1, 4):
        reached(operation, "more tiles")
        network.on(Cut(reset))
        eventually(lambda times=times: network.proxy.accepted > times, what="it has come back", timeout_s=30)
        eventually(lambda: far.client.state == "live", what="it is live again", timeout_s=30)
    assert operation.wait(60) == "completed"
    check_same(near, far, operation.id)
    near.close()
    far.close()


@pytest.mark.scenario("D3", "D9")
def test_what_is_asked_while_nothing_goes_through_is_done_once_when_it_does(
    running: Runtime, client: Client, network: Network
) -> None:
    with Client(url=network.url, token=running.info.token) as distant:
        network.on(BlackHole())
        submitted = []
        thread = threading.Thread(target=lambda: submitted.append(distant.submit(KIND, QUICK, request_key="hole")))
        thread.start()
        thread.join(1.0)
        assert thread.is_alive()
        network.off()
        thread.join(30)
        assert submitted[0].wait(30) == "completed"
        again = client.submit(KIND, QUICK, request_key="hole")
        assert again.id == submitted[0].id


@pytest.mark.scenario("D3")
def test_a_message_that_takes_many_heartbeats_is_no_silence(running: Runtime, client: Client, network: Network) -> None:
    operation = client.submit(KIND, QUICK)
    assert operation.wait(30) == "completed"
    states: list[str] = []
    with Client(url=network.url, token=running.info.token, on_state=lambda state, _: states.append(state)) as distant:
        # A chunk of 256 KB: six seconds, and heartbeats of one.
        network.on(Throttle(40_000))
        assert distant.fetch_artifact(operation.id, "n.npy") == client.fetch_artifact(operation.id, "n.npy")
        network.off()
    assert states == ["live", "closed"]


@pytest.mark.slow
@pytest.mark.scenario("D2")
def test_a_peer_that_vanished_is_noticed_on_both_sides_and_its_successor_misses_nothing(
    client: Client, network: Network
) -> None:
    far = network.watcher()
    operation = client.submit(KIND, {**TILES, "max_iter": 500_000})
    reached(operation, "tiles")
    network.on(HalfOpen())
    # Two heartbeats of a second; then the pings of either side.
    eventually(lambda: far.client.state == "stale", what="it is shown to be old", timeout_s=10)
    eventually(lambda: network.proxy.accepted == 2, what="it connects again", timeout_s=60)
    far.await_end(operation.id, timeout_s=60)
    far.check_story(operation.id)
    far.close()
