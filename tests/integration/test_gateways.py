"""Several gateways on one port: who has which watcher is chance, and what becomes of one concerns its own alone."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psutil
import pytest
import zmq
from websockets.asyncio.client import connect

from rfm_runtime import Client
from rfm_runtime.config import Endpoints
from rfm_runtime.gateway.gateway import Gateway
from rfm_runtime.gateway.listener import Listener
from rfm_runtime.observe.alive import source
from rfm_runtime.protocol.operation import OperationEvent
from rfm_runtime.security.token import RuntimeToken
from rfm_runtime.testing.broker import BrokerProcess, hello, submit
from rfm_runtime.testing.crowd import metrics, total
from rfm_runtime.testing.runtime import Runtime, eventually, runtime
from rfm_runtime.transport import sockets
from tests.whole import KIND, QUICK, Recorder

pytestmark = pytest.mark.integration

GATEWAYS = ("gateway-0", "gateway-1")
WATCHERS = 12
HEARTBEAT_S = 0.5


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Runtime]:
    with runtime(tmp_path, workers=1, drain_timeout_s=1.0, gateways=2, heartbeat_s=HEARTBEAT_S) as started:
        yield started
        assert set(started.processes()) == {"broker", "engine-0", *GATEWAYS}, started.logs()


class Watchers:
    """Watchers with all their states, at least one at each gateway."""

    def __init__(self, running: Runtime) -> None:
        self._running = running
        self.states: list[list[str]] = []
        self.recorders: list[Recorder] = []
        while len(self.recorders) < WATCHERS or min(self.by_gateway().values()) == 0:
            assert len(self.recorders) < 10 * WATCHERS, self.by_gateway()
            states: list[str] = []
            note = lambda state, _, states=states: states.append(state)  # noqa: E731
            self.recorders.append(Recorder(running, on_state=note, initial_delay=0.05))
            self.states.append(states)
        assert min(self.settled().values()) > 0

    def settled(self) -> dict[str, int]:
        """Sessions of each when they are these watchers' alone: one that has just closed is counted a moment longer."""
        found: dict[str, int] = {}

        def alone() -> bool:
            found.update(self.by_gateway())
            return sum(found.values()) == len(self.recorders)

        eventually(alone, what=f"there are {len(self.recorders)} sessions")
        return found

    def by_gateway(self) -> dict[str, int]:
        """Sessions of each."""
        found = metrics(self._running.url)
        return {name: round(found.get(f'rfm_gateway_sessions{{gateway="{name}"}}', 0.0)) for name in GATEWAYS}

    def back(self, lost: int) -> bool:
        """Whether so many have lost their connection, and all have one."""
        return sum("reconnecting" in s for s in self.states) == lost and all(s[-1] == "live" for s in self.states)

    def check(self, ids: list[str]) -> None:
        """All have seen the same, once, in order."""
        for recorder in self.recorders:
            for operation_id in ids:
                recorder.await_end(operation_id)
                recorder.check_story(operation_id)
        stories = [[n for n in r.notices if isinstance(n, OperationEvent)] for r in self.recorders]
        wanted = [event for event in stories[0] if event.operation_id in ids]
        assert len(wanted) == 4 * len(ids)
        for story in stories:
            assert [event for event in story if event.operation_id in ids] == wanted

    def close(self) -> None:
        for recorder in self.recorders:
            recorder.close()


@pytest.fixture
def watchers(running: Runtime) -> Iterator[Watchers]:
    gathered = Watchers(running)
    yield gathered
    gathered.close()


def work(running: Runtime, count: int = 3) -> list[str]:
    with Client(url=running.url, token=running.info.token) as client:
        operations = [client.submit(KIND, QUICK) for _ in range(count)]
        assert [operation.wait(30) for operation in operations] == ["completed"] * count
        return [operation.id for operation in operations]


@contextlib.contextmanager
def frozen(process: psutil.Process) -> Iterator[None]:
    process.suspend()
    try:
        yield
    finally:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.resume()


@pytest.mark.scenario("J27", "J4")
def test_whoever_is_asked_answers_for_all(running: Runtime, watchers: Watchers) -> None:
    for _ in range(6):
        found = metrics(running.url)
        assert total(found, "rfm_gateway_sessions") == len(watchers.recorders)
        assert {f'rfm_gateway_up{{gateway="{name}"}}': 1.0 for name in GATEWAYS}.items() <= found.items()
    with urllib.request.urlopen(running.url.replace("ws://", "http://") + "/metrics", timeout=10) as answer:
        text = answer.read().decode()
    described = [line.split()[2] for line in text.splitlines() if line.startswith("# TYPE")]
    assert len(described) == len(set(described)), "a scraper refuses two descriptions of a family"
    with frozen(running.processes()["gateway-1"]):
        found = metrics(running.url)
        assert (found['rfm_gateway_up{gateway="gateway-0"}'], found['rfm_gateway_up{gateway="gateway-1"}']) == (1, 0)
        with urllib.request.urlopen(running.url.replace("ws://", "http://") + "/readyz", timeout=10) as answer:
            assert answer.status == 200


@pytest.mark.scenario("J27", "F3", "D6")
def test_a_killed_gateway_costs_its_own_watchers_a_moment_and_the_others_nothing(tmp_path: Path) -> None:
    # Its watchers are patient: heartbeats are long, so those of the frozen one stay, however long it takes.
    with runtime(tmp_path, workers=1, drain_timeout_s=1.0, gateways=2) as running:
        watchers = Watchers(running)
        ids = work(running)
        lost = watchers.settled()["gateway-0"]
        with frozen(running.processes()["gateway-1"]):
            # It cannot take them before it goes on: those of the dead one wait for its successor, and find it.
            running.kill("gateway-0")
            eventually(lambda: watchers.by_gateway()["gateway-0"] > 0, what="the successor has watchers")
        ids += work(running)
        eventually(lambda: watchers.back(lost), what="all have a connection, and only its own were cut")
        ids += work(running)
        watchers.check(ids)
        watchers.close()


@pytest.mark.scenario("J27", "F3", "D6")
def test_watchers_of_a_killed_gateway_resume_on_the_other_at_once(running: Runtime, watchers: Watchers) -> None:
    ids = work(running)
    lost = watchers.settled()["gateway-0"]
    running.kill("gateway-0")
    ids += work(running)
    eventually(lambda: watchers.back(lost), what="those of the killed one are live again, and nobody else was cut")
    assert sum(len(states) == 1 for states in watchers.states) == len(watchers.recorders) - lost
    ids += work(running)
    watchers.check(ids)
    resumed = 'rfm_gateway_decisions_total{gateway="gateway-1",what="resumed"}'
    eventually(lambda: metrics(running.url)['rfm_gateway_up{gateway="gateway-0"}'], what="it is back")
    assert metrics(running.url).get(resumed, 0.0) > 0, "some resumed where they had not been"


@pytest.mark.scenario("J27", "F6", "D6")
def test_watchers_of_a_frozen_gateway_go_to_the_other_and_nobody_who_comes_hangs_behind_it(
    running: Runtime, watchers: Watchers
) -> None:
    ids = work(running)
    lost = watchers.settled()["gateway-1"]
    with frozen(running.processes()["gateway-1"]):
        for _ in range(8):
            ids += work(running, 1)
        eventually(lambda: watchers.back(lost), timeout_s=20, what="its watchers have gone to the other one")
        ids += work(running)
        watchers.check(ids)
    eventually(
        lambda: total(metrics(running.url), "rfm_gateway_sessions") == len(watchers.recorders),
        what="what the frozen one had is gone",
    )


@pytest.mark.scenario("D14", "D15", "F6")
def test_a_gateway_that_was_frozen_catches_up(tmp_path: Path) -> None:
    # Its watchers are patient: heartbeats are long, so they stay.
    with runtime(tmp_path, workers=1, drain_timeout_s=1.0, gateways=2) as running:
        watchers = Watchers(running)
        ids = work(running)
        with frozen(running.processes()["gateway-1"]):
            ids += work(running, 10)
        ids += work(running)
        watchers.check(ids)
        assert all(states == ["live"] for states in watchers.states)
        watchers.close()


# --- a gateway that has lost the feed ---------------------------------------------------------------


@contextlib.asynccontextmanager
async def gateway(broker: BrokerProcess, name: str, feed: str) -> Any:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    listener = Listener(socket.create_server(("127.0.0.1", 0)))
    port = listener.getsockname()[1]
    endpoint = broker.folders.endpoint
    started = Gateway(
        broker.settings,
        source=source(name, 1),
        authenticate=RuntimeToken("t").authenticate,
        endpoints=Endpoints(
            command=endpoint("command"), control=endpoint("control"), feed=feed, ingest=endpoint("ingest")
        ),
        context=context,
    )
    await started.start(listener)
    try:
        await asyncio.wait_for(started.ready.wait(), 10)
        yield started, f"ws://127.0.0.1:{port}"
    finally:
        await started.stop()
        context.term()


async def told_until(url: str, wanted: str, resume: dict[str, Any] | None = None) -> list[dict[str, Any]]:
    """All that a watcher is told there until a message of this type."""
    async with connect(url) as connection:
        first = {"token": "t", **({"resume": resume} if resume else {})}
        for kind, data in (("hello", first), ("subscribe", {"operations": "all"})):
            await connection.send(json.dumps({"type": kind, "data": data}))
        told: list[dict[str, Any]] = []
        async with asyncio.timeout(20):
            while not any(envelope["type"] == wanted for envelope in told):
                message = json.loads(await connection.recv())
                told += message if isinstance(message, list) else [message]
        return told


@pytest.mark.scenario("D15")
@pytest.mark.parametrize("speaks", [False, True], ids=["silent feed", "feed that only beats"])
def test_a_resume_on_a_gateway_that_lost_the_feed_shows_no_less_than_is_known(tmp_path: Path, speaks: bool) -> None:
    broker = BrokerProcess(tmp_path)
    broker.start()

    async def go() -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        deaf = f"ipc://{tmp_path}/r/deaf.sock"
        publisher = sockets.feed_publisher(context, deaf)
        try:
            async with (
                gateway(broker, "gateway-0", broker.folders.endpoint("feed")) as (current, good),
                gateway(broker, "gateway-1", deaf) as (lagging, bad),
            ):
                if speaks:
                    # No clock of its own notices that anything is missing.
                    lagging.core.last_frame_s = float("inf")
                for number in range(5):
                    await asyncio.to_thread(submit, peer, f"op-{number}")
                # An answer may overtake the frame of the feed that says the same.
                await asyncio.to_thread(eventually, lambda: current.core.replica.position == 10, what="it knows all")
                known = (await told_until(good, "live"))[-1]["data"]
                assert known["seq"] == 10
                assert lagging.core.replica.position == 0 or not speaks
                told = await told_until(bad, "live", {"epoch": known["epoch"], "seq": known["seq"]})
                assert [e["data"]["recovered"] for e in told if e["type"] == "subscribed"] == [True]
                assert told[-1]["data"] == known
                assert not [e for e in told if e["type"] == "operation_list"]
        finally:
            publisher.close(0)
            context.term()

    try:
        peer, engine = broker.peer(), broker.peer()
        engine.ask_again(hello(slots=1))
        asyncio.run(go())
    finally:
        broker.close()
