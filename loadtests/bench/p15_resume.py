"""P15: a connection that resumes against one that begins, replay, a list of 10,000 operations; event → disk → watcher.

Raw watchers over real sockets, timed from opening the connection to `live`. 10,000 operations of one reporting program
are alive all the while. The way of an event and of progress is taken twice, once as on a laptop and once as it faces a
network: TLS, a token for each watcher, and the limits that there are by default.
"""

from __future__ import annotations

import asyncio
import json
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from websockets.asyncio.client import ClientConnection, connect
from websockets.typing import Subprotocol

from rfm_runtime.client.async_client import AsyncClient
from rfm_runtime.errors import RfmError
from rfm_runtime.protocol.messages import Hello, Live, OperationList, ResumeFrom, Subscribe
from rfm_runtime.protocol.operation import OperationEvent, ProgressUpdate
from rfm_runtime.protocol.wire import Encoding, decode_batch, decode_message, encode
from rfm_runtime.security.tls import client_context
from rfm_runtime.testing.crowd import metrics, percentile
from rfm_runtime.testing.runtime import Runtime, eventually, runtime
from rfm_runtime.testing.secured import secured

OPERATIONS = 10_000
REPORTING = 100
WATCHERS = 100
AT_ONCE = 32
HZ = 10.0

RUNNING = 'rfm_operations{state="running"}'

PROGRAM = """
import sys, threading, time
from rfm_runtime import ProgressReporter
count, moving, hz = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
over = threading.Event()
threading.Thread(target=lambda: (sys.stdin.readline(), over.set()), daemon=True).start()
reporters = [ProgressReporter("bench", f"bench-{number}", bar=False) for number in range(count)]
print("ready", flush=True)
step = 0
while not over.wait(1 / hz):
    step += 1
    for reporter in reporters[:moving]:
        reporter.report_progress(min(99.0, step / 1000))
"""
"""count operations in one program; some of them move."""


def run(quick: bool = False) -> list[dict[str, Any]]:
    operations, rounds, count = (500, 5, 20) if quick else (OPERATIONS, 30, 400)
    with tempfile.TemporaryDirectory(prefix="rfm-") as folder:
        limits = {"connections_per_user": 2 * WATCHERS, "handshakes_per_s": 1e6}
        with runtime(Path(folder) / "plain", workers=1, **limits) as running:
            with program(running, operations, 0):
                rows = asyncio.run(_resume(running, operations, rounds))
            plain = _latencies(running, [running.info.token] * WATCHERS, count)
        with secured(Path(folder) / "secured", workers=1) as (running, authenticator):
            tokens = [authenticator.issue(f"watcher-{number}", ["viewer"]) for number in range(WATCHERS)]
            safe = _latencies(running, tokens, count)
    return rows + _compared(plain, safe)


@contextmanager
def program(running: Runtime, count: int, moving: int) -> Iterator[subprocess.Popen[str]]:
    """A program that reports so many operations, all of them announced."""
    env = {"RFM_RUNTIME_DIR": str(running.folders.runtime), "RFM_STATE_DIR": str(running.folders.state)}
    command = [sys.executable, "-P", "-c", PROGRAM, str(count), str(moving), str(HZ)]
    with subprocess.Popen(command, env=env, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as started:
        try:
            if started.stdout is None or started.stdout.readline().strip() != "ready":
                raise RuntimeError("the program did not start")
            url, ca_file = running.url, running.info.ca_file
            eventually(lambda: metrics(url, ca_file)[RUNNING] >= count, timeout_s=60.0, what="all are announced")
            yield started
        finally:
            started.kill()


class Told:
    """What a watcher was told up to `live`, from opening the connection on."""

    def __init__(self) -> None:
        self.elapsed_s = 0.0
        self.size_bytes = 0
        self.operations = 0
        self.events = 0
        self.position = ResumeFrom("", 0)


async def watch(running: Runtime, encoding: Encoding, resume: ResumeFrom | None) -> Told:
    """Open a connection, be told everything until `live`, close it."""
    told, begin_s = Told(), time.perf_counter()
    async with _open(running.url, running.info.token, encoding) as connection:
        await _say(connection, encoding, Hello(token=running.info.token, resume=resume), Subscribe())
        async for message in connection:
            told.size_bytes += len(message)
            for envelope in decode_batch(message, encoding, batch_limit=1_000_000):
                data = decode_message(envelope, encoding)
                told.events += isinstance(data, OperationEvent)
                told.operations += len(data.operations) if isinstance(data, OperationList) else 0
                if isinstance(data, Live):
                    told.elapsed_s = time.perf_counter() - begin_s
                    told.position = ResumeFrom(data.epoch, data.seq)
                    return told
    raise RuntimeError("closed before it was live")


def _open(url: str, token: str, encoding: Encoding, ca_file: str = "") -> connect:
    return connect(
        url,
        ssl=client_context(ca_file, None) if ca_file else None,
        subprotocols=[Subprotocol(f"rfm.v1.{encoding}")],
        additional_headers={"Authorization": f"Bearer {token}"},
        compression=None,
        max_size=None,
        proxy=None,
    )


async def _say(connection: ClientConnection, encoding: Encoding, *messages: Any) -> None:
    for message in messages:
        await connection.send(encode(message, encoding, ts=0), text=encoding == "json")


async def _resume(running: Runtime, operations: int, rounds: int) -> list[dict[str, Any]]:
    rows = []
    for encoding in ("msgpack", "json"):
        lists = [await watch(running, encoding, None) for _ in range(3)]
        best = min(lists, key=lambda told: told.elapsed_s)
        if best.operations < operations:
            raise RuntimeError(f"listed {best.operations} operations of {operations}")
        what = f"a list of {best.operations} operations, {encoding}, {best.size_bytes / 1e6:.1f} MB"
        rows.append(_row(f"{what}: connect → live", best.elapsed_s, None, "s", "≤ 2 s", best.elapsed_s <= 2.0))
    position = best.position
    old = ResumeFrom(position.epoch, max(0, position.seq - running.settings.history_events))
    replay = min([await watch(running, "msgpack", old) for _ in range(3)], key=lambda told: told.elapsed_s)
    if not replay.events or replay.operations:
        raise RuntimeError("nothing was replayed")
    rate = replay.events / replay.elapsed_s
    rows.append(_row(f"{replay.events} events replayed, msgpack", rate, None, "events/s", "–", met=True))
    async with AsyncClient(running.url, running.info.token) as client:
        newest = (await client.operations(limit=1))[0]
        # Something happens between the connections, as it does.
        cold, warm = [], []
        for number in range(rounds):
            await client.set_priority(newest.operation_id, number % 50)
            cold.append((await watch(running, "msgpack", None)).elapsed_s)
            warm.append((await watch(running, "msgpack", position)).elapsed_s)
    for share in (0.5, 0.99):
        ours, peer = 1000 * percentile(warm, share), 1000 * percentile(cold, share)
        what = f"resume → live, against a new connection with {operations} operations, p{100 * share:.0f} of {rounds}"
        rows.append(_row(what, ours, peer, "ms", "≤ 1×", ours <= peer))
    return rows


class Latencies(NamedTuple):
    """From a request to its event at another watcher, and the age of progress when it comes: ms."""

    event_ms: list[float]
    progress_ms: list[float]


def _latencies(running: Runtime, tokens: list[str], count: int) -> Latencies:
    with program(running, REPORTING, REPORTING), sinks(running, tokens):
        return asyncio.run(_latency(running, count))


async def _latency(running: Runtime, count: int) -> Latencies:
    """Beside programs that report at 10 Hz and watchers that only take: how late events and progress come."""
    event_ms: list[float] = []
    progress_ms: list[float] = []
    seen: asyncio.Queue[OperationEvent] = asyncio.Queue()

    async def listen(client: AsyncClient) -> None:
        async for notice in client.watch():
            if isinstance(notice, ProgressUpdate):
                progress_ms.append(1000 * time.time() - notice.measured_at_ms)
            elif isinstance(notice, OperationEvent) and notice.type == "operation_priority":
                seen.put_nowait(notice)

    ca_file = running.info.ca_file or None
    async with (
        AsyncClient(running.url, running.info.token, ca_file=ca_file) as watcher,
        AsyncClient(running.url, running.info.token, ca_file=ca_file) as client,
    ):
        listening = asyncio.create_task(listen(watcher))
        moving = (await client.operations(states=["running"], limit=1))[0]
        for number in range(count):
            begin_s = time.perf_counter()
            asked = asyncio.create_task(client.set_priority(moving.operation_id, number % 50))
            await seen.get()
            event_ms.append(1000 * (time.perf_counter() - begin_s))
            await asked
            await asyncio.sleep(0.025)
        listening.cancel()
    return Latencies(event_ms, progress_ms)


def _compared(plain: Latencies, safe: Latencies) -> list[dict[str, Any]]:
    """Rows of both, those of a runtime that faces a network beside the others."""
    beside = f"{WATCHERS} watchers, {REPORTING} operations at {HZ:g} Hz"
    rows = []
    for name, field, limit_ms in (
        ("request → disk → event at another", "event_ms", 15.0),
        ("progress", "progress_ms", 165.0),
    ):
        for share in (0.5, 0.99):
            plain_ms, safe_ms = (percentile(getattr(one, field), share) for one in (plain, safe))
            what = f"{name}, p{100 * share:.0f} of {len(getattr(plain, field))}, {beside}"
            rows.append(_row(what, plain_ms, None, "ms", f"≤ {limit_ms:g} ms", plain_ms <= limit_ms))
            what = f"{name}, p{100 * share:.0f}, with TLS, tokens and limits, against without"
            rows.append(_row(what, safe_ms, plain_ms, "ms", f"≤ {limit_ms:g} ms", safe_ms <= limit_ms))
    return rows


@contextmanager
def sinks(running: Runtime, tokens: list[str]) -> Iterator[None]:
    """Watchers that take everything and look at nothing, one a token, in a process of their own."""
    command = [sys.executable, "-P", __file__, "--sinks"]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as started:
        try:
            if started.stdin is None or started.stdout is None:
                raise RuntimeError("the watchers have no pipes")
            print(json.dumps([running.url, running.info.ca_file, tokens]), file=started.stdin, flush=True)
            if started.stdout.readline().strip() != "ready":
                raise RuntimeError("the watchers did not start")
            yield
        finally:
            started.kill()


async def _be_sinks(url: str, ca_file: str, tokens: list[str]) -> None:
    # Fewer at once than an address may have before it has shown a token.
    ready, entrance = asyncio.Barrier(len(tokens) + 1), asyncio.Semaphore(AT_ONCE)

    async def sink(token: str) -> None:
        async with AsyncExitStack() as open_ones:
            async with entrance:
                connection = await open_ones.enter_async_context(_open(url, token, "msgpack", ca_file))
                await _say(connection, "msgpack", Hello(token=token), Subscribe())
                await connection.recv()
            await ready.wait()
            async for _ in connection:
                pass

    watching = [asyncio.create_task(sink(token)) for token in tokens]
    await ready.wait()
    print("ready", flush=True)
    await asyncio.gather(*watching)


def _row(what: str, ours: float, peer: float | None, unit: str, target: str, met: bool) -> dict[str, Any]:
    return {
        "id": "P15",
        "what": what,
        "ours": ours,
        "peer": peer,
        "unit": unit,
        "ratio": None if peer is None else ours / peer,
        "target": target,
        "met": met,
    }


if __name__ == "__main__":
    if "--sinks" in sys.argv:
        asyncio.run(_be_sinks(*json.loads(sys.stdin.readline())))
    try:
        for row in run(quick="--quick" in sys.argv):
            print(row)
    except RfmError as error:
        sys.exit(error.message)
