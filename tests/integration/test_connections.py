"""Connections that drop, come late or lose frames: every watcher ends in the same state, and misses no event."""

from __future__ import annotations

import asyncio
import http.client
import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq
from websockets.sync.client import connect

from rfm_runtime import Client
from rfm_runtime.client.async_client import AsyncClient
from rfm_runtime.client.connection_file import ConnectionInfo
from rfm_runtime.config import Endpoints
from rfm_runtime.errors import UnauthorizedError, UnknownOperationError
from rfm_runtime.gateway.gateway import Gateway
from rfm_runtime.gateway.listener import Listener
from rfm_runtime.observe.alive import source
from rfm_runtime.protocol.internal import Ack, Assign, OperationMeasure, Outcome, Started
from rfm_runtime.protocol.operation import TERMINAL_STATES, OperationEvent
from rfm_runtime.security.token import RuntimeToken
from rfm_runtime.testing.broker import BrokerProcess, Peer, hello, submit
from rfm_runtime.testing.crowd import metrics, total
from rfm_runtime.testing.runtime import Runtime, eventually, runtime
from rfm_runtime.transport import sockets
from tests.relay import relay
from tests.whole import ENDLESS, KIND, QUICK, Recorder

pytestmark = pytest.mark.integration


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def answers(port: int) -> bool:
    """Whether somebody answers there."""
    asked = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        asked.request("GET", "/healthz")
        return asked.getresponse().status == 200
    except OSError:
        return False
    finally:
        asked.close()


# --- the server restarts ------------------------------------------------------------------------


@pytest.mark.alone
@pytest.mark.scenario("D1")
def test_after_each_of_three_restarts_every_watcher_is_live_within_2_s_and_missed_nothing(tmp_path: Path) -> None:
    port = free_port()
    with runtime(tmp_path, port=port, workers=1, drain_timeout_s=0.5) as running:
        live_s: dict[int, list[float]] = {number: [] for number in range(5)}

        def note(number: int) -> Any:
            return lambda state, _: live_s[number].append(time.monotonic()) if state == "live" else None

        watchers = [Recorder(running, follow=True, on_state=note(number)) for number in live_s]
        ids = []
        for restarts in range(1, 4):
            ids.append(watchers[0].client.submit(KIND, QUICK).id)
            running.stop()
            returned_s: list[float] = []

            def watch_port(returned_s: list[float] = returned_s) -> None:
                eventually(lambda: answers(port), timeout_s=30, what="the port is back")
                returned_s.append(time.monotonic())

            waiting = threading.Thread(target=watch_port)
            waiting.start()
            running.start()
            waiting.join()
            for times_s in live_s.values():
                eventually(lambda t=times_s, n=restarts: len(t) > n, what="a watcher is live again")
                assert times_s[-1] - returned_s[0] <= 2.0
        ids.append(watchers[0].client.submit(KIND, QUICK).id)
        for watcher in watchers:
            for operation_id in ids:
                watcher.await_end(operation_id)
                watcher.check_story(operation_id)
        stories = [[n for n in w.notices if isinstance(n, OperationEvent)] for w in watchers]
        seqs = [event.seq for event in stories[0]]
        assert seqs == list(range(1, len(seqs) + 1)), "one log without gaps"
        assert all(story == stories[0] for story in stories)
        for watcher in watchers:
            watcher.close()


@pytest.mark.scenario("D1")
def test_what_is_asked_while_a_connection_breaks_is_answered_by_the_next_one_without_noise(
    running: Runtime, caplog: pytest.LogCaptureFixture
) -> None:
    async def ask() -> list[Any]:
        token = running.info.token
        async with AsyncClient(url=running.url, token=token, initial_delay=0.05) as client:
            asked = [asyncio.create_task(client.operation(f"nobody-{number}")) for number in range(20)]
            # As a reset is: noticed at once by who writes, and told to the library in the next turn of the loop.
            assert client._connection._socket is not None
            client._connection._socket.transport.abort()
            return await asyncio.gather(*asked, return_exceptions=True)

    answers = asyncio.run(ask())
    assert [type(answer) for answer in answers] == [UnknownOperationError] * 20
    assert "socket.send() raised" not in caplog.text


# --- positions ----------------------------------------------------------------------------------


class Raw:
    """A watcher that knows nothing but JSON over a WebSocket."""

    def __init__(self, running: Runtime, resume: dict[str, Any] | None = None) -> None:
        self.socket = connect(running.url, legacy=True)
        self._waiting: list[dict[str, Any]] = []
        data = {"token": running.info.token, **({"resume": resume} if resume else {})}
        self.socket.send(json.dumps({"type": "hello", "id": 1, "data": data}))
        self.welcome = self.until("welcome")["data"]
        self.socket.send(json.dumps({"type": "subscribe", "id": 2, "data": {"operations": "all"}}))
        self.recovered = self.until("subscribed")["data"]["recovered"]
        self.events: list[dict[str, Any]] = []
        self.position = self.until("live")["data"]

    def until(self, wanted: str) -> dict[str, Any]:
        while True:
            while self._waiting:
                envelope = self._waiting.pop(0)
                if "seq" in envelope:
                    self.events.append(envelope)
                if envelope["type"] == wanted:
                    return envelope
            message = json.loads(self.socket.recv(timeout=10))
            self._waiting += message if isinstance(message, list) else [message]


@pytest.mark.scenario("D8")
def test_recovery_works_twice_in_a_row_and_with_nothing_ever_sent(tmp_path: Path) -> None:
    with runtime(tmp_path, workers=1, drain_timeout_s=0.5) as running:
        first = Raw(running)
        position = {"epoch": first.welcome["epoch"], "seq": first.welcome["seq"]}
        assert position["seq"] == 0
        for _ in range(2):
            first.socket.close()
            first = Raw(running, position)
            assert first.recovered
            assert first.position == position
        with Client(url=running.url, token=running.info.token) as client:
            assert client.submit(KIND, QUICK).wait(30) == "completed"
        first.until("operation_completed")
        first.socket.close()
        half = first.events[1]["seq"]
        for _ in range(2):
            again = Raw(running, {"epoch": position["epoch"], "seq": half})
            assert again.recovered
            assert [e["type"] for e in again.events] == ["operation_started", "operation_completed"]
            again.socket.close()
        elsewhere = Raw(running, {"epoch": "another log", "seq": half})
        assert not elsewhere.recovered
        assert elsewhere.position["seq"] == first.events[-1]["seq"]
        elsewhere.socket.close()


# --- requests without a connection --------------------------------------------------------------


@pytest.mark.scenario("D9")
def test_requests_queued_while_offline_arrive_once_and_cancels_first(tmp_path: Path) -> None:
    with runtime(tmp_path, workers=1, drain_timeout_s=0.0) as running:
        watcher = Recorder(running, follow=True)
        with Client(settings=running.settings) as client:
            doomed = client.submit(KIND, ENDLESS)
            eventually(lambda: doomed.state == "running", what="it runs")
            running.stop()
            eventually(lambda: client.state in ("reconnecting", "draining"), what="the client noticed")
            submitted: list[str] = []
            threads = [
                threading.Thread(target=lambda: submitted.append(client.submit(KIND, QUICK).id)) for _ in range(5)
            ]
            for thread in threads:
                thread.start()
            eventually(lambda: len(client.waiting) == 5, what="the submissions wait")
            cancelling = threading.Thread(target=lambda: client.cancel(doomed.id))
            cancelling.start()
            eventually(lambda: len(client.waiting) == 6, what="the cancel waits")
            assert client.waiting[0] == "cancel_operation"
            running.start()
            for thread in (*threads, cancelling):
                thread.join(30)
            assert client.waiting == []
            assert len(set(submitted)) == 5
            for operation_id in submitted:
                watcher.await_end(operation_id)
                assert watcher.types(operation_id).count("accepted") == 1
            watcher.await_end(doomed.id)
        asked = next(
            e.seq for e in watcher.events(doomed.id) if e.type in ("operation_cancelling", "operation_canceled")
        )
        assert all(watcher.events(operation_id)[0].seq > asked for operation_id in submitted)
        watcher.close()


@pytest.mark.scenario("D12")
def test_a_client_that_starts_before_the_network_is_there_goes_live_when_it_comes(tmp_path: Path) -> None:
    port = free_port()
    token = tmp_path / "run" / "token"
    states: list[tuple[str, dict[str, Any]]] = []

    async def watch(told: threading.Event) -> str:
        refused_twice = asyncio.Event()

        def changed(state: str, details: dict[str, Any]) -> None:
            states.append((state, details))
            if len(states) == 2:
                refused_twice.set()

        client = AsyncClient(
            url=f"ws://127.0.0.1:{port}",
            get_token=lambda: token.read_text().strip(),
            on_state=changed,
        )
        waiting = asyncio.create_task(client.connect(timeout_s=None))
        await refused_twice.wait()
        told.set()
        await asyncio.wait_for(waiting, 30)
        operation = await client.submit(KIND, QUICK)
        outcome = await operation.wait(30)
        await client.close()
        return outcome

    refused, outcomes = threading.Event(), []
    early = threading.Thread(target=lambda: outcomes.append(asyncio.run(watch(refused))))
    early.start()
    assert refused.wait(10)
    assert all(state == "reconnecting" and details["reason"] for state, details in states[:2])
    with runtime(tmp_path, port=port, workers=1, drain_timeout_s=0.0):
        early.join(40)
    assert outcomes == ["completed"]


# --- the feed -----------------------------------------------------------------------------------


@contextmanager
def bad_feed(broker: BrokerProcess, folder: Path, *, lost: float, held: float, seed: int) -> Iterator[str]:
    """A feed on which frames are lost (a share of `lost`) or come after the next one (`held`).

    Unrealistic: PUB and SUB keep the order. What a gateway makes of it covers frames of two brokers, too.
    """
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    endpoint = f"ipc://{folder}/bad.sock"
    rng, over = random.Random(seed), threading.Event()
    incoming = sockets.feed_subscriber(context, broker.folders.endpoint("feed"))
    outgoing = sockets.feed_publisher(context, endpoint)

    def relay() -> None:
        kept: list[list[bytes]] = []
        while not over.is_set():
            if not incoming.poll(20):
                continue
            frame = incoming.recv_multipart()
            if rng.random() < lost:
                continue
            if not kept and rng.random() < held:
                kept.append(frame)
                continue
            for one in (frame, *kept):
                outgoing.send_multipart(one)
            kept.clear()

    thread = threading.Thread(target=relay)
    thread.start()
    try:
        yield endpoint
    finally:
        over.set()
        thread.join()
        incoming.close(0)
        outgoing.close(0)
        context.term()


def work_off(engine: Peer, count: int, over: threading.Event) -> None:
    """Be an engine: take, start and finish `count` operations."""
    for _ in range(count):
        assign = eventually(lambda: _next(engine), timeout_s=20, what="an assignment")
        started = Started(operation_id=assign.operation_id, generation=assign.generation, total=1.0)
        final = OperationMeasure(generation=assign.generation, counter=1, measured_at_ms=0, done=1.0, total=1.0)
        outcome = Outcome(
            operation_id=assign.operation_id, generation=assign.generation, state="completed", final=final
        )
        assert engine.ask(started) == Ack()
        assert engine.ask(outcome) == Ack()
    over.set()


def _next(engine: Peer) -> Assign | None:
    engine.drain()
    while engine.pushes:
        message = engine.pushes.pop(0)
        if isinstance(message, Assign):
            return message
    return None


@pytest.mark.scenario("D14")
@pytest.mark.parametrize(("lost", "held"), [(0.0, 0.0), (0.3, 0.0), (0.0, 0.3), (0.4, 0.2), (1.0, 0.0)])
def test_a_gateway_whose_feed_loses_frames_or_that_joins_late_misses_no_event(
    tmp_path: Path, lost: float, held: float
) -> None:
    count = 40
    broker = BrokerProcess(tmp_path)
    broker.start()
    try:
        gateway_peer, engine, over = broker.peer(), broker.peer(), threading.Event()
        engine.ask_again(hello(slots=4))
        worker = threading.Thread(target=work_off, args=(engine, count, over))
        worker.start()
        with bad_feed(broker, tmp_path / "r", lost=lost, held=held, seed=7) as feed:
            # Before and after the gateway joins.
            for number in range(count // 2):
                submit(gateway_peer, f"op-{number}")
            seen = asyncio.run(_watch_through(broker, feed, lambda: _submit_rest(gateway_peer, count), count))
        worker.join(30)
        assert over.is_set()
        for watcher in seen:
            assert len(watcher) == count
            assert set(watcher.values()) == {"completed"}
    finally:
        broker.close()


def _submit_rest(peer: Peer, count: int) -> None:
    for number in range(count // 2, count):
        submit(peer, f"op-{number}")


async def _watch_through(broker: BrokerProcess, feed: str, act: Any, count: int) -> list[dict[str, str]]:
    context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
    listener = socket.create_server(("127.0.0.1", 0))
    port = listener.getsockname()[1]
    endpoint = broker.folders.endpoint
    gateway = Gateway(
        broker.settings,
        source=source("gateway-0", 1),
        authenticate=RuntimeToken("t").authenticate,
        endpoints=Endpoints(
            command=endpoint("command"), control=endpoint("control"), feed=feed, ingest=endpoint("ingest")
        ),
        context=context,
    )
    await gateway.start(Listener(listener))
    watchers = [AsyncClient(url=f"ws://127.0.0.1:{port}", token="t", encoding=e) for e in ("json", "msgpack")]
    try:
        for watcher in watchers:
            await watcher.connect()
        stories = [asyncio.create_task(_story(watcher, count)) for watcher in watchers]
        await asyncio.to_thread(act)
        seen = list(await asyncio.wait_for(asyncio.gather(*stories), 30))
        gateway.core.sanity_check()
    finally:
        for watcher in watchers:
            await watcher.close()
        await gateway.stop()
        context.term()
    return seen


async def _story(client: AsyncClient, count: int) -> dict[str, str]:
    """The outcome of each operation as this watcher was told, by list or event; events in order."""
    outcomes: dict[str, str] = {}
    last = 0
    async for notice in client.watch():
        if isinstance(notice, OperationEvent):
            assert notice.seq > last
            last = notice.seq
            if notice.state in TERMINAL_STATES:
                assert notice.operation_id not in outcomes, "told twice"
                outcomes[notice.operation_id] = notice.state
        elif hasattr(notice, "operations"):
            outcomes |= {o.operation_id: o.state for o in notice.operations if o.state in TERMINAL_STATES}
        if len(outcomes) == count:
            break
    return outcomes


@pytest.mark.scenario("D10")
def test_a_token_that_the_runtime_refuses_is_not_tried_for_ever(tmp_path: Path) -> None:
    with runtime(tmp_path, workers=1, drain_timeout_s=0.0) as running:
        path = running.folders.connection
        right = ConnectionInfo.read(path)
        msgspec.structs.replace(right, token="guessed").write(path)
        with pytest.raises(UnauthorizedError):
            Client(settings=running.settings)
        right.write(path)
        with Client(settings=running.settings) as client:
            assert client.submit(KIND, QUICK).wait(30) == "completed"
        with pytest.raises(UnauthorizedError):
            Client(url=running.url, token="guessed")
        asked: list[str] = []

        def fresh() -> str:
            asked.append("")
            return running.info.token

        with Client(url=running.url, token="expired", get_token=fresh) as client:
            assert client.operations()
        assert len(asked) == 1


def test_the_connection_file_is_private_and_gone_after_a_stop(tmp_path: Path) -> None:
    with runtime(tmp_path, workers=1, drain_timeout_s=0.0) as running:
        path = running.folders.connection
        assert path.stat().st_mode & 0o777 == 0o600
        assert path.parent.stat().st_mode & 0o777 == 0o700
        assert ConnectionInfo.read(path).url == running.url
        running.stop()
        assert not path.exists()


@pytest.mark.scenario("D2")
def test_a_server_that_says_nothing_for_two_heartbeats_is_shown_as_stale_until_it_speaks(tmp_path: Path) -> None:
    with runtime(tmp_path, workers=1, drain_timeout_s=0.0, heartbeat_s=0.3) as running:
        states: list[str] = []
        with Client(
            url=running.url, token=running.info.token, on_state=lambda state, _: states.append(state)
        ) as client:
            gateway = running.processes()["gateway-0"]
            gateway.suspend()
            eventually(lambda: client.state == "stale", what="the client notices the silence")
            gateway.resume()
            eventually(lambda: client.state == "live", what="the client hears it again")
            assert client.submit(KIND, QUICK).wait(30) == "completed"
        assert states == ["live", "stale", "live", "closed"]


# --- what lies between --------------------------------------------------------------------------


def port_of(running: Runtime) -> int:
    return int(running.url.rpartition(":")[2])


def sessions(running: Runtime) -> float:
    return total(metrics(running.url), "rfm_gateway_sessions")


@pytest.mark.scenario("D11")
@pytest.mark.parametrize(("heartbeat_s", "cut"), [(0.5, False), (30.0, True)])
def test_a_proxy_that_cuts_idle_connections_does_not_cut_one_with_heartbeats(
    tmp_path: Path, heartbeat_s: float, cut: bool
) -> None:
    # A proxy's 60 s to a heartbeat of 20 s, scaled; and that it cuts what does not beat.
    with (
        runtime(tmp_path, workers=1, drain_timeout_s=0.0, heartbeat_s=heartbeat_s) as running,
        relay(port_of(running), idle_s=3 * 0.5) as proxy,
    ):
        states: list[str] = []
        with Client(url=proxy.url, token=running.info.token, on_state=lambda state, _: states.append(state)) as client:
            if cut:
                eventually(lambda: states.count("live") == 2, what="it was cut, and is live again")
            else:
                time.sleep(4 * 1.5)
            assert bool(proxy.cut) == cut
            assert client.submit(KIND, QUICK).wait(30) == "completed"
        assert ("reconnecting" in states) == cut


@pytest.mark.scenario("D2")
def test_both_ends_of_a_connection_that_is_dead_without_a_word_notice_within_their_time_outs(tmp_path: Path) -> None:
    with (
        runtime(tmp_path, workers=1, drain_timeout_s=0.0, heartbeat_s=0.4) as running,
        relay(port_of(running)) as proxy,
    ):
        states: list[tuple[str, str]] = []

        def note(state: str, details: dict[str, Any]) -> None:
            states.append((state, details.get("reason", "")))

        with Client(url=proxy.url, token=running.info.token, on_state=note) as client:
            with Client(url=running.url, token=running.info.token) as other:
                eventually(lambda: sessions(running) == 2, what="both are there")
                proxy.swallow()
                eventually(lambda: states.count(("live", "")) == 2, what="the client gave it up and came back")
                # It gives 10 s for the answer to a ping, however short its heartbeats are.
                eventually(lambda: sessions(running) == 2, what="the gateway gave it up, too", timeout_s=30)
                operation = other.submit(KIND, QUICK)
                assert operation.wait(30) == "completed"
            eventually(lambda: client.operation(operation.id).state == "completed", what="it is told")
        assert [state for state, _ in states] == ["live", "stale", "reconnecting", "live", "closed"]
        assert "said nothing" in states[2][1]
