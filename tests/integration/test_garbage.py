"""Garbage from a host that is allowed, which is the worst place for it: on every socket, counted and dropped."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import msgspec
import psutil
import pytest
import zmq

from rfm_runtime.config import Endpoints, away
from rfm_runtime.protocol.internal import Ack, Assign, OwnerWelcome, Started, Status, pack
from rfm_runtime.protocol.keys import Towards
from rfm_runtime.protocol.limits import INTERNAL_LIMIT_BYTES, PROGRESS_LIMIT_BYTES
from rfm_runtime.security import curve_keys
from rfm_runtime.testing.broker import BrokerProcess, Peer, hello, submit
from rfm_runtime.testing.hosts import free_ports
from rfm_runtime.testing.runtime import eventually
from rfm_runtime.transport import sockets

pytestmark = [pytest.mark.integration, pytest.mark.scenario("G9", "J69")]

GROWTH_LIMIT_BYTES = 64 * 1024 * 1024
"""Far below what is sent, far above what a process takes to work."""

DEEP = b"\x91" * 100_000
"""Lists in lists, MessagePack."""


class Away:
    """A broker that other hosts may connect to, and one such host, whose key is allowed."""

    def __init__(self, folder: Path) -> None:
        self.broker = BrokerProcess(folder, broker_address=f"127.0.0.1:{free_ports(4)}", lease_s=2.0)
        curve_keys.init(self.broker.folders.keys)
        public = curve_keys.init(folder / "other")
        curve_keys.allow(self.broker.folders.keys, "other", public.hex())
        server = curve_keys.own_pair(self.broker.folders.keys).public
        self.towards = Towards(curve_keys.own_pair(folder / "other"), server)
        found = away(self.broker.settings)
        assert found is not None
        self.endpoints: Endpoints = found
        self._made: list[zmq.Socket[bytes]] = []
        self.broker.start()

    def connect(self, kind: Callable[..., zmq.Socket[bytes]], endpoint: str) -> zmq.Socket[bytes]:
        made = kind(self.broker.context, endpoint, self.towards)
        # A network of one machine is as quick as this test.
        made.setsockopt(zmq.SNDTIMEO, 10_000)
        self._made.append(made)
        return made

    def peer(self) -> Peer:
        return Peer(self.connect(sockets.command_dealer, self.endpoints.command))

    def bare(self, kind: int, endpoint: str) -> zmq.Socket[bytes]:
        """A socket of a kind that nobody of ours connects there with."""
        made: zmq.Socket[bytes] = self.broker.context.socket(kind)
        self._made.append(made)
        made.setsockopt(zmq.LINGER, 0)
        made.setsockopt(zmq.SNDTIMEO, 10_000)
        made.setsockopt(zmq.CURVE_SECRETKEY, self.towards.own.secret)
        made.setsockopt(zmq.CURVE_PUBLICKEY, self.towards.own.public)
        made.setsockopt(zmq.CURVE_SERVERKEY, self.towards.peer)
        made.connect(endpoint)
        return made

    def metric(self, name: str) -> float:
        return self.broker.metrics(self.broker.peer()).get(name, 0.0)

    def memory(self) -> int:
        return int(psutil.Process(self.broker.running.pid).memory_info().rss)

    def close(self) -> None:
        for made in self._made:
            made.close(0)
        self.broker.close()


@contextlib.contextmanager
def process() -> Iterator[subprocess.Popen[bytes]]:
    """One that does nothing, for a minute at most."""
    with subprocess.Popen(["sleep", "60"]) as started:
        try:
            yield started
        finally:
            started.kill()


@pytest.fixture
def away_from(tmp_path: Path) -> Iterator[Away]:
    made = Away(tmp_path)
    try:
        yield made
    finally:
        made.close()


def works(at: Away, operation_id: str) -> None:
    """An operation of an engine on that host gets from submission to its start."""
    engine = at.peer()
    engine.ask_again(hello(f"engine-{operation_id}", local=False))
    submit(at.broker.peer(), operation_id)
    assign = engine.pushed(Assign, operation_id=operation_id)
    assert engine.ask(Started(operation_id=operation_id, generation=assign.generation)) == Ack()


def test_rubbish_is_counted_and_answered_by_nothing(away_from: Away) -> None:
    at = away_from
    command = at.connect(sockets.command_dealer, at.endpoints.command)
    ingest = at.connect(sockets.ingest_push, at.endpoints.ingest)
    control, feed = at.bare(zmq.XSUB, at.endpoints.control), at.bare(zmq.XSUB, at.endpoints.feed)
    count = 0
    for rubbish in (b"", b"x", os.urandom(18), os.urandom(500), DEEP):
        for frames in (
            [rubbish],
            [rubbish, rubbish],
            [rubbish] * 1000,
            [b"\x01Request", rubbish],
            [b"\x02Request", rubbish],
            [b"\x01NoSuchType", b"\x80"],
            [*pack(msgspec.structs.replace(hello()))[:1], DEEP],
        ):
            command.send_multipart(frames)
            count += 1
        ingest.send_multipart([rubbish[:1000]] * 10)
        for subscriber in (control, feed):
            subscriber.send(b"\x02" + rubbish[:1000])
            subscriber.send(b"\x01" + os.urandom(8))
    eventually(lambda: at.metric('rfm_broker_garbage_messages_total{socket="command"}') >= count, what="counted")
    eventually(lambda: at.metric('rfm_broker_garbage_messages_total{socket="control"}') >= 5, what="counted")
    eventually(lambda: at.metric('rfm_broker_progress_messages_total{fate="unknown"}') >= 1, what="counted")
    assert not command.poll(0)
    works(at, "op-1")
    assert at.broker.stop() == 0
    assert "Traceback" not in at.broker.errors()


def test_giant_frames_end_their_connection_and_take_no_memory(away_from: Away) -> None:
    at = away_from
    before = at.memory()
    ended = 'rfm_broker_connections_total{what="ended"}'
    for kind, endpoint, size in (
        (sockets.command_dealer, at.endpoints.command, INTERNAL_LIMIT_BYTES + 1),
        (sockets.ingest_push, at.endpoints.ingest, PROGRESS_LIMIT_BYTES + 1),
    ):
        count = at.metric(ended)
        giant = at.connect(kind, endpoint)
        giant.send(bytes(size))
        eventually(lambda count=count: at.metric(ended) > count, what="it is cut off")
    assert at.memory() - before < GROWTH_LIMIT_BYTES
    works(at, "op-1")


def test_a_host_cannot_have_a_process_of_the_brokers_host_killed(away_from: Away) -> None:
    """It says that it is here, and names a process that is; its successor by name fences it."""
    at = away_from
    with process() as victim:
        here = hello(process=victim)
        claimed = msgspec.structs.replace(here, source=msgspec.structs.replace(here.source, boot_id="elsewhere"))
        first, second = at.peer(), at.peer()
        first.ask_again(claimed)
        later = msgspec.structs.replace(claimed.source, start_time=claimed.source.start_time + 1, incarnation=2)
        assert isinstance(second.ask_again(msgspec.structs.replace(claimed, source=later)), OwnerWelcome)
        assert at.peer().ask_again(Status())
        assert victim.poll() is None


def test_on_the_brokers_own_host_a_predecessor_is_killed(away_from: Away) -> None:
    """What the host of the test above would have had."""
    at = away_from
    with process() as victim, process() as successor:
        at.peer().ask_again(hello(process=victim))
        at.peer().ask_again(hello(process=successor))
        assert victim.wait(10) == -signal.SIGKILL
        assert successor.poll() is None
