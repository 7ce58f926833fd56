"""P6: progress messages/s into the broker (receive, coalesce, decode, merge, publish) against bare `socket.recv`.

Both sides are a process of their own at the end of the same ipc link, fed by the same sender: the real broker
with eight running operations of four sources each, and a loop that does nothing but receive. They are measured in
turn, several times; the ratio is of the medians. What the broker counts is what it took from the socket.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any, NamedTuple

import zmq

from rfm_runtime.config import Endpoints, away
from rfm_runtime.config.endpoints import BROKER_PORTS
from rfm_runtime.protocol.internal import Assign, OperationMeasure, Started, TileMeasure, pack_progress
from rfm_runtime.security import curve_keys
from rfm_runtime.testing.broker import BrokerProcess, Peer, hello, push, submit
from rfm_runtime.testing.hosts import free_ports
from rfm_runtime.testing.runtime import eventually
from rfm_runtime.transport import sockets

OPERATIONS = 8
SOURCES = 4
TARGET = 0.4
COUNTER_AT = 18 + 2
"""Where the counter stands in a packed measure: after the header, the array's length and a small generation."""


def run(quick: bool = False) -> list[dict[str, Any]]:
    rounds, seconds = (2, 0.5) if quick else (5, 2.0)
    ours: list[Rates] = []
    peer: list[Rates] = []
    curve: list[Rates] = []
    with tempfile.TemporaryDirectory(prefix="rfm-") as folder:
        address = f"127.0.0.1:{free_ports(BROKER_PORTS)}"
        broker = BrokerProcess(Path(folder), slots=OPERATIONS, progress_per_s=1e9, broker_address=address)
        far = _another_host(broker, Path(folder) / "other")
        broker.start()
        try:
            gateway, handles = _running(broker)
            for _ in range(rounds):
                peer.append(_bare(Path(folder), handles, seconds))
                ours.append(_broker(broker, gateway, Sender(broker.folders.endpoint("ingest"), handles), seconds))
                curve.append(_broker(broker, gateway, Sender(far.ingest, handles, Path(folder) / "other"), seconds))
            merged = broker.metrics(gateway)['rfm_broker_progress_messages_total{fate="merged"}']
        finally:
            broker.close()
    if merged < rounds * OPERATIONS * SOURCES:
        raise RuntimeError(f"only {merged} messages were merged: this measured something else")
    what = f"progress into the broker, {OPERATIONS * SOURCES} sources, against bare recv"
    return [
        _row(what, [r.per_s for r in ours], [r.per_s for r in peer], "messages/s"),
        _row(
            f"{what}, by CPU of the receiving thread",
            [r.per_cpu_s for r in ours],
            [r.per_cpu_s for r in peer],
            "/CPU-s",
        ),
        _row(
            "the same from another host, tcp with CURVE, against ipc, by CPU of the receiving thread",
            [r.per_cpu_s for r in curve],
            [r.per_cpu_s for r in ours],
            "/CPU-s",
            target=None,
        ),
        _row(
            "the same, messages a second",
            [r.per_s for r in curve],
            [r.per_s for r in ours],
            "messages/s",
            target=None,
        ),
    ]


def _another_host(broker: BrokerProcess, folder: Path) -> Endpoints:
    """Where a host whose key is in `folder`, and which may, connects to the broker."""
    curve_keys.init(broker.folders.keys)
    curve_keys.allow(broker.folders.keys, "other", curve_keys.init(folder).hex())
    (folder / "broker").write_text(curve_keys.own_pair(broker.folders.keys).public.hex(), encoding="ascii")
    found = away(broker.settings)
    if found is None:
        raise RuntimeError("the broker does not listen for other hosts")
    return found


class Rates(NamedTuple):
    """Messages a second, and a second of CPU time of the thread that receives: the sender cannot limit that one."""

    per_s: float
    per_cpu_s: float


def _row(what: str, ours: list[float], peer: list[float], unit: str, target: float | None = TARGET) -> dict[str, Any]:
    ratio = statistics.median(ours) / statistics.median(peer)
    return {
        "id": "P6",
        "what": what,
        "ours": statistics.median(ours),
        "peer": statistics.median(peer),
        "unit": unit,
        "ratio": ratio,
        "target": "–" if target is None else f"≥ {target:g}",
        "met": target is None or ratio >= target,
    }


def _cpu_s(pid: int) -> float:
    """CPU time of a process's main thread (proc(5), schedstat)."""
    return int(Path(f"/proc/{pid}/task/{pid}/schedstat").read_text().split()[0]) / 1e9


def _running(broker: BrokerProcess) -> tuple[Peer, list[int]]:
    """A peer, and the handles of operations that run."""
    gateway, engine = broker.peer(), broker.peer()
    engine.ask_again(hello(slots=OPERATIONS))
    ingest = broker.ingest()
    handles = []
    for number in range(OPERATIONS):
        submit(gateway, f"op-{number}")
        assign = engine.pushed(Assign, operation_id=f"op-{number}")
        engine.ask(Started(operation_id=assign.operation_id, generation=assign.generation))
        push(ingest, assign.handle, 99, _first_report(assign))
        handles.append(assign.handle)
    return gateway, handles


def _first_report(assign: Assign) -> OperationMeasure:
    return OperationMeasure(generation=assign.generation, counter=1, measured_at_ms=0, done=0.0, total=1e12)


def _broker(broker: BrokerProcess, gateway: Peer, sender: Sender, seconds: float) -> Rates:
    """What the broker takes while more are sent than it can take."""
    with sender:
        before = _taken(broker, gateway)
        eventually(lambda: _taken(broker, gateway) > before + 10_000, what="messages arrive")
        pid = broker.running.pid
        begin_s, begin, begin_cpu_s = time.perf_counter(), _taken(broker, gateway), _cpu_s(pid)
        time.sleep(seconds)
        taken, elapsed_s = _taken(broker, gateway) - begin, time.perf_counter() - begin_s
        cpu_s = _cpu_s(pid) - begin_cpu_s
    last = -1.0
    while (now := _taken(broker, gateway)) != last:
        last = now
        time.sleep(0.2)
    return Rates(taken / elapsed_s, taken / cpu_s)


def _taken(broker: BrokerProcess, gateway: Peer) -> float:
    return sum(v for k, v in broker.metrics(gateway).items() if k.startswith("rfm_broker_progress_messages_total"))


def _bare(folder: Path, handles: list[int], seconds: float) -> Rates:
    """What a process takes that only receives."""
    endpoint = f"ipc://{folder / 'bare.sock'}"
    command = [sys.executable, __file__, "--receive", endpoint, str(seconds)]
    with subprocess.Popen(command, stdout=subprocess.PIPE) as receiver, Sender(endpoint, handles):
        stdout, _ = receiver.communicate(timeout=60)
    return Rates(*(float(number) for number in stdout.split()))


class Sender:
    """A process that sends until the end of the block. keys: the folder of another host's."""

    def __init__(self, endpoint: str, handles: list[int], keys: Path | None = None) -> None:
        self.command = [sys.executable, __file__, "--send", endpoint, json.dumps(handles), str(keys or "")]

    def __enter__(self) -> None:
        self.process = subprocess.Popen(self.command)

    def __exit__(self, *_: object) -> None:
        self.process.kill()
        self.process.wait()


def _receive(endpoint: str, seconds: float) -> None:
    Path(endpoint.removeprefix("ipc://")).unlink(missing_ok=True)
    receive = sockets.ingest_pull(zmq.Context(), endpoint).recv
    for _ in range(10_000):
        receive()
    begin_s, begin_cpu_s = time.perf_counter(), time.thread_time()
    count = 0
    while time.perf_counter() - begin_s < seconds:
        for _ in range(1000):
            receive()
        count += 1000
    print(count / (time.perf_counter() - begin_s), count / (time.thread_time() - begin_cpu_s))


def _send(endpoint: str, handles: list[int], keys: str) -> None:
    """As fast as it goes, with rising counters, which are written into messages packed before."""
    towards = curve_keys.towards(Path(keys), (Path(keys) / "broker").read_text(encoding="ascii")) if keys else None
    socket = sockets.ingest_push(zmq.Context(), endpoint, towards)
    parts = []
    for handle in handles:
        for source in range(SOURCES):
            message = pack_progress(handle, source, TileMeasure(1, 2**63, source, 0, 100, 10_000, 1_000_000))
            parts.append((message[: COUNTER_AT + 1], message[COUNTER_AT + 9 :]))
    send = socket.send
    counter = time.time_ns()
    while True:
        counter += 1
        middle = counter.to_bytes(8, "big")
        for head, tail in parts:
            send(head + middle + tail)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["--send", endpoint, handles, keys]:
            _send(endpoint, json.loads(handles), keys)
        case ["--receive", endpoint, seconds]:
            _receive(endpoint, float(seconds))
        case arguments:
            for result in run(quick="--quick" in arguments):
                for key, value in result.items():
                    print(f"{key:8} {value}")
