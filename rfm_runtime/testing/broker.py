"""A real broker process and raw sockets to it: what a gateway and an engine see, without either, for tests."""

from __future__ import annotations

import contextlib
import itertools
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import zmq
from msgspec import Struct

from rfm_runtime import config
from rfm_runtime.observe.alive import source, start_time_s
from rfm_runtime.protocol.internal import (
    ControlFrame,
    DoSubmit,
    FeedFrame,
    Metrics,
    MetricsText,
    OperationMeasure,
    OwnerHello,
    Principal,
    Reply,
    Submitted,
    TileMeasure,
    pack,
    pack_progress,
    pack_request,
    unpack,
    unpack_body,
)
from rfm_runtime.protocol.messages import Kind, SubmitReply, SubmitRequest
from rfm_runtime.protocol.operation import OperationEvent, ProgressUpdate
from rfm_runtime.testing.runtime import eventually
from rfm_runtime.transport import sockets

T = TypeVar("T", bound=Struct)
Context = zmq.Context[zmq.Socket[bytes]]
Socket = zmq.Socket[bytes]

KIND = "test.count"
ADMIN = Principal("local", ("admin",))
TIMEOUT_S = 10.0

__all__ = ["ADMIN", "KIND", "BrokerProcess", "Feed", "Peer", "Subscriber", "hello", "push", "submit"]


class Peer:
    """A DEALER to the broker: asks, and keeps what is pushed."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self.numbers = itertools.count(1)
        self.replies: dict[int, Struct] = {}
        self.pushes: list[Struct] = []

    def send(self, message: Struct) -> int:
        """Send a request; its number."""
        number = next(self.numbers)
        self.socket.send_multipart(pack_request(number, message))
        return number

    def tell(self, message: Struct) -> None:
        """Send a one-way message."""
        self.socket.send_multipart(pack(message))

    def drain(self, wait_s: float = 0.0) -> None:
        """Take what has arrived."""
        if self.socket.poll(int(wait_s * 1000)):
            with contextlib.suppress(zmq.Again):
                while True:
                    message = unpack(self.socket.recv_multipart(zmq.NOBLOCK))
                    if isinstance(message, Reply):
                        self.replies[message.id] = message.error or unpack_body(message)
                    else:
                        self.pushes.append(message)

    def answer(self, number: int, timeout_s: float = TIMEOUT_S) -> Struct:
        """What the request was answered with."""
        deadline_s = time.monotonic() + timeout_s
        while number not in self.replies:
            if time.monotonic() > deadline_s:
                raise TimeoutError(f"no answer to request {number}")
            self.drain(0.05)
        return self.replies[number]

    def ask(self, message: Struct, timeout_s: float = TIMEOUT_S) -> Struct:
        """Send a request; its answer, or ErrorInfo."""
        return self.answer(self.send(message), timeout_s)

    def ask_again(self, message: Struct, timeout_s: float = TIMEOUT_S) -> Struct:
        """As owners and gateways do over a restart: repeat until it is answered."""
        deadline_s = time.monotonic() + timeout_s
        while True:
            try:
                return self.ask(message, 0.5)
            except TimeoutError:
                if time.monotonic() > deadline_s:
                    raise

    def pushed(self, kind: type[T], timeout_s: float = TIMEOUT_S, **fields: object) -> T:
        """The first pushed message of this type with these fields."""

        def found() -> T | None:
            self.drain()
            for message in self.pushes:
                if isinstance(message, kind) and all(getattr(message, k) == v for k, v in fields.items()):
                    return message
            return None

        message: T = eventually(found, timeout_s=timeout_s, what=f"{kind.__name__} {fields} is pushed")
        return message


class Subscriber:
    """Everything that was published on one socket."""

    def __init__(self, socket: Socket) -> None:
        self.socket = socket
        self.frames: list[Any] = []

    def drain(self) -> list[Any]:
        """Every frame so far."""
        with contextlib.suppress(zmq.Again):
            while True:
                self.frames.append(unpack(self.socket.recv_multipart(zmq.NOBLOCK)))
        return self.frames

    def until(self, condition: Callable[[Any], bool], what: str, timeout_s: float = TIMEOUT_S) -> Any:
        """The first frame that meets the condition."""

        def found() -> Any:
            return next((frame for frame in self.drain() if condition(frame)), None)

        return eventually(found, timeout_s=timeout_s, what=what)


class Feed(Subscriber):
    """What a gateway hears."""

    def events(self, operation_id: str | None = None) -> list[OperationEvent]:
        """Every event so far, of one operation or of all."""
        return [
            event
            for frame in self.drain()
            if isinstance(frame, FeedFrame)
            for event in frame.events
            if operation_id in (None, event.operation_id)
        ]

    def types(self, operation_id: str) -> list[str]:
        """The events of an operation by name."""
        return [event.type for event in self.events(operation_id)]

    def progress(self, operation_id: str) -> list[ProgressUpdate]:
        """The progress of an operation so far."""
        return [p for frame in self.drain() for p in frame.progress if p.operation_id == operation_id]

    def event(self, event_type: str, operation_id: str, timeout_s: float = TIMEOUT_S) -> OperationEvent:
        """Wait for an event."""

        def found() -> OperationEvent | None:
            return next((e for e in self.events(operation_id) if e.type == event_type), None)

        event: OperationEvent = eventually(found, timeout_s=timeout_s, what=f"{event_type} of {operation_id}")
        return event


class BrokerProcess:
    """`python -m rfm_runtime.broker` with a folder of its own."""

    def __init__(self, folder: Path, **overrides: Any) -> None:
        runtime_dir = folder / "r"
        options = {"state_dir": str(folder / "s"), "runtime_dir": str(runtime_dir), "cache_dir": str(folder / "c")}
        self.settings = config.load(options | overrides, environ={}).settings
        self.folders = config.folders(self.settings)
        for path in (self.folders.state, self.folders.runtime, self.folders.logs):
            path.mkdir(parents=True, exist_ok=True)
        self.folders.settings.write_bytes(msgspec.json.encode(self.settings))
        self.context: Context = zmq.Context()
        self._sockets: list[Socket] = []
        self.starts = 0
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> float:
        """Start it and wait until it says that it is ready; seconds that took."""
        self.starts += 1
        begin_s = time.monotonic()
        reader, writer = os.pipe()
        command = [sys.executable, "-P", "-m", "rfm_runtime.broker", "--settings", str(self.folders.settings)]
        command += ["--name", "broker", "--incarnation", str(self.starts), "--parent", str(os.getpid())]
        command += ["--ready-fd", str(writer)]
        with (self.folders.logs / "stderr").open("ab") as stderr:
            self.process = subprocess.Popen(command, pass_fds=[writer], stderr=stderr, start_new_session=True)
        os.close(writer)
        try:
            told = b""
            while b'"ready": true' not in told:
                if not select.select([reader], [], [], 30)[0]:
                    raise TimeoutError(f"the broker did not become ready: {self.errors()}")
                part = os.read(reader, 4096)
                if not part:
                    raise RuntimeError(f"the broker ended: {self.errors()}")
                told += part
        finally:
            os.close(reader)
        return time.monotonic() - begin_s

    def errors(self) -> str:
        """What it wrote to stderr."""
        return (self.folders.logs / "stderr").read_text()

    @property
    def running(self) -> subprocess.Popen[bytes]:
        """The process."""
        if self.process is None:
            raise RuntimeError("the broker was not started")
        return self.process

    def kill(self) -> None:
        """SIGKILL."""
        self.running.kill()
        self.running.wait(10)

    def stop(self) -> int:
        """SIGTERM; the exit code."""
        self.running.send_signal(signal.SIGTERM)
        return self.running.wait(10)

    def close(self) -> None:
        """Leave nothing behind."""
        if self.process is not None and self.process.poll() is None:
            self.kill()
        for socket in self._sockets:
            socket.close(0)
        self.context.term()

    def _kept(self, socket: Socket) -> Socket:
        self._sockets.append(socket)
        return socket

    def peer(self) -> Peer:
        """A new peer on `command`."""
        return Peer(self._kept(sockets.command_dealer(self.context, self.folders.endpoint("command"))))

    def feed(self) -> Feed:
        """A subscriber that has seen its first frame: nothing after that is missed unnoticed."""
        feed = Feed(self._kept(sockets.feed_subscriber(self.context, self.folders.endpoint("feed"))))
        feed.until(lambda _: True, "the feed's first frame")
        return feed

    def control(self) -> Subscriber:
        """A subscriber that has seen the first control frame."""
        control = Subscriber(self._kept(sockets.control_subscriber(self.context, self.folders.endpoint("control"))))
        control.until(lambda frame: isinstance(frame, ControlFrame), "the first control frame")
        return control

    def ingest(self) -> Socket:
        """A connected source of progress."""
        socket = self._kept(sockets.ingest_push(self.context, self.folders.endpoint("ingest")))
        if not socket.poll(int(TIMEOUT_S * 1000), zmq.POLLOUT):
            raise TimeoutError("ingest did not connect")
        return socket

    def metrics(self, peer: Peer) -> dict[str, float]:
        """Every sample by its name with labels."""
        reply = peer.ask(Metrics())
        if not isinstance(reply, MetricsText):
            raise TypeError(reply)
        return {
            line.rpartition(" ")[0]: float(line.rpartition(" ")[2])
            for line in reply.text.splitlines()
            if not line.startswith("#")
        }


def hello(name: str = "engine-0", *, process: subprocess.Popen[bytes] | None = None, **fields: Any) -> OwnerHello:
    """An owner whose process is `process` (default: this one)."""
    me = source(name, 1)
    if process is not None:
        start_time = start_time_s(process.pid) or 0.0
        me = msgspec.structs.replace(me, pid=process.pid, start_time=start_time)
    kinds = (Kind(kind=KIND, description="counts", params_schema={}),)
    given: dict[str, Any] = {"role": "engine", "slots": 2, "resumable": (KIND,), **fields}
    return OwnerHello(source=me, kinds=kinds, location=None, workers=1, **given)


def submit(peer: Peer, operation_id: str, *, principal: Principal = ADMIN, **fields: Any) -> SubmitReply:
    """Submit one operation of `KIND`."""
    submission = SubmitRequest(operation_id=operation_id, kind=KIND, request_key=f"key-{operation_id}", **fields)
    reply = peer.ask_again(DoSubmit(principal=principal, submissions=(submission,)))
    if not isinstance(reply, Submitted):
        raise TypeError(reply)
    return reply.replies[0]


def push(ingest: Socket, handle: int, source_number: int, measure: OperationMeasure | TileMeasure) -> None:
    """One progress message."""
    ingest.send(pack_progress(handle, source_number, measure), zmq.NOBLOCK)
