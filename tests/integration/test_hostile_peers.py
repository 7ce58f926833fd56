"""What a gateway makes of peers that are no friends: each is told what it did, costs nothing, and harms nobody."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec
import pytest
from websockets.sync.client import connect

from rfm_runtime.protocol.operation import TERMINAL_STATES
from rfm_runtime.testing.crowd import metrics, percentile
from rfm_runtime.testing.runtime import Runtime, eventually, runtime
from tests.hostile import BINARY, CLOSE, CONT, PING, TEXT, Peer, frame, head, upgrade
from tests.programs import Script, environment
from tests.tokens import SECRET, signed
from tests.whole import Recorder

pytestmark = [pytest.mark.integration, pytest.mark.scenario("G7", "J71")]

HELLO_S = 2.0
STALL_S = 2.0
LIMIT_BYTES = 64 * 1024
HELLO = frame(TEXT, b'{"type":"hello","data":{}}')
FRAGMENTS = frame(TEXT, b"x", fin=False) + frame(CONT, b"x", fin=False) * 100_000
DEEP = 30_000


@pytest.fixture(scope="module")
def running(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    folder = tmp_path_factory.mktemp("rt")
    with runtime(folder, workers=1, hello_timeout_s=HELLO_S, write_stall_s=STALL_S, drain_timeout_s=2.0) as started:
        yield started
        assert "Traceback" not in started.logs(), started.logs()


@pytest.fixture(autouse=True)
def no_script_is_left() -> Iterator[None]:
    yield
    Script.kill_all()


def entered(running: Runtime, receive_bytes: int | None = None) -> Peer:
    """A peer with the runtime's token that has said hello."""
    peer = Peer(running.url, receive_bytes=receive_bytes)
    peer.open(token=running.info.token)
    peer.send(HELLO)
    while (found := peer.next()) is not None and b'"welcome"' not in found[1]:
        pass
    assert found is not None
    return peer


# --- frames ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "code"),
    [
        pytest.param(head(TEXT, LIMIT_BYTES + 1), 1009, id="a message that says it is too long"),
        pytest.param(head(BINARY, 2**62), 1009, id="a message of four exabytes"),
        pytest.param(frame(TEXT, b" " * LIMIT_BYTES, fin=False) + frame(CONT, b"x"), 1009, id="too long in parts"),
        pytest.param(FRAGMENTS, 1009, id="a hundred thousand fragments"),
        pytest.param(frame(TEXT, b'{"type":"\xff"}'), 1007, id="invalid UTF-8"),
        pytest.param(frame(TEXT, b"\xed\xa0\x80"), 1007, id="a surrogate"),
        pytest.param(frame(TEXT, b"{}", rsv=4), 1002, id="compressed, which was not agreed on"),
        pytest.param(frame(TEXT, b"{}", masked=False), 1002, id="not masked"),
        pytest.param(frame(3, b"{}"), 1002, id="an opcode that is reserved"),
        pytest.param(frame(PING, b"x" * 126), 1002, id="a long ping"),
        pytest.param(frame(PING, fin=False), 1002, id="a ping in parts"),
        pytest.param(frame(CONT, b"x"), 1002, id="the rest of nothing"),
        pytest.param(frame(TEXT, b"x", fin=False) + frame(TEXT, b"x"), 1002, id="a message within a message"),
        pytest.param(frame(CLOSE, b"\x03\xee"), 1002, id="a close code that is never sent"),
        pytest.param(frame(CLOSE, b"\x03"), 1002, id="half a close code"),
        pytest.param(frame(TEXT, b"[" * DEEP + b"]" * DEEP), 4500, id="nested lists"),
        pytest.param(frame(TEXT, b'{"data":' * 7000 + b"1" + b"}" * 7000), 4500, id="nested objects"),
        pytest.param(frame(BINARY, b"\x91" * LIMIT_BYTES), 4500, id="nested MessagePack"),
        pytest.param(frame(BINARY, b"\xdd\xff\xff\xff\xff"), 4500, id="a list of four billion things"),
        pytest.param(frame(BINARY, b"\xdf\xff\xff\xff\xff"), 4500, id="an object of four billion things"),
        pytest.param(frame(TEXT, b"1" * 60_000), 4500, id="a long number"),
        pytest.param(frame(TEXT, b""), 4500, id="nothing"),
    ],
)
def test_what_is_not_the_protocol_is_closed_with_its_code(running: Runtime, sent: bytes, code: int) -> None:
    with entered(running) as peer:
        peer.send(sent)
        assert peer.close_code() == code


@pytest.mark.parametrize(
    ("sent", "error"),
    [
        pytest.param({"type": "no_such_thing"}, "bad_request", id="an unknown type"),
        pytest.param([{"type": "ping"}] * 65, "too_large", id="too many at once"),
        pytest.param({"type": "subscribe", "data": {"operations": ["a"] * 1001}}, "bad_request", id="too many ids"),
        pytest.param({"type": "get_operation", "data": {"operation_id": "x" * 129}}, "bad_request", id="a long id"),
        pytest.param({"type": "get_operation", "data": {"operation_id": "../x"}}, "bad_request", id="a path"),
        pytest.param({"type": "hello", "data": {}}, "bad_request", id="hello again"),
    ],
)
def test_a_request_that_is_none_is_answered_and_the_connection_stays(
    running: Runtime, sent: object, error: str
) -> None:
    with entered(running) as peer:
        peer.send(frame(TEXT, json.dumps(sent).encode()))
        answer = json.loads(peer.next()[1])
        assert (answer["type"], answer["data"]["code"]) == ("error", error)
        peer.send(frame(TEXT, b'{"type":"ping","id":7}'))
        assert json.loads(peer.next()[1])["re"] == 7


def test_compression_is_not_agreed_on(running: Runtime) -> None:
    with Peer(running.url) as peer:
        answer = peer.open("Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits")
        assert b" 101 " in answer
        assert b"extensions" not in answer.lower()


# --- requests -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("sent", "status"),
    [
        pytest.param(b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\0" * 50 + b"\r\n", 400, id="TLS"),
        pytest.param(b"\0" * 20_000, 414, id="zeros"),
        pytest.param(b"GET / HTTP/2.0\r\n\r\n", 400, id="another version"),
        pytest.param(b"GET / HTTP/1.1\r\nContent-Length: 1000000\r\nHost: localhost\r\n\r\n", 400, id="a body"),
        pytest.param(b"GET / HTTP/1.1\r\nTransfer-Encoding: chunked\r\nHost: localhost\r\n\r\n", 400, id="chunks"),
        pytest.param(b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % (b"x" * 3000), 414, id="a long path"),
        pytest.param(b"GET /%s HTTP/1.1\r\nHost: localhost\r\n\r\n" % (b"x" * 9000), 414, id="a longer path"),
        pytest.param(b"GET / HTTP/1.1\r\nX: %s\r\n\r\n" % (b"x" * 9000), 431, id="a long header"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 200 + b"\r\n", 431, id="many headers"),
        pytest.param(b"GET / HTTP/1.1\r\n" + b"X: %s\r\n" % (b"x" * 4000) * 6, 431, id="much in headers"),
        pytest.param(b"GET / HTTP/1.1\r\nHost : localhost\r\n\r\n", 400, id="a space in a name"),
        pytest.param(b"GET / HTTP/1.1\r\nHost: localhost\r\n X: folded\r\n\r\n", 400, id="a folded header"),
        pytest.param(b"GET / HTTP/1.1\r\n\r\n", 400, id="no host"),
        pytest.param(b"POST / HTTP/1.1\r\nHost: localhost\r\n\r\n", 405, id="another method"),
        pytest.param(upgrade(path="/elsewhere"), 404, id="a WebSocket elsewhere"),
        pytest.param(
            upgrade("Sec-WebSocket-Version: 8").replace(b"-Version: 13\r\n", b"-Version: 8\r\n", 1), 400, id="8"
        ),
        pytest.param(upgrade("Origin: https://evil.example"), 403, id="a page of another origin"),
        pytest.param(upgrade().replace(b"Host: localhost", b"Host: evil.example"), 403, id="DNS rebinding"),
    ],
)
def test_a_request_that_is_none_gets_its_status_and_the_headers_of_every_answer(
    running: Runtime, sent: bytes, status: int
) -> None:
    with Peer(running.url) as peer:
        peer.send(sent)
        answer = peer.head()
        assert int(answer.split(b" ", 2)[1]) == status
        for header in (
            b"nosniff",
            b"frame-ancestors 'none'",
            b"no-store",
            b"no-referrer",
            b"Resource-Policy: same-origin",
        ):
            assert header in answer, answer
        assert b"Strict-Transport-Security" not in answer, "this is plain text"


# --- time -----------------------------------------------------------------------------------------


def test_who_sends_its_request_byte_by_byte_gets_408(running: Runtime) -> None:
    with Peer(running.url) as peer:
        begin_s = time.monotonic()
        stop = threading.Event()

        def drip() -> None:
            for byte in upgrade():
                if stop.wait(0.1):
                    return
                peer.send(bytes([byte]))

        dripping = threading.Thread(target=drip)
        dripping.start()
        try:
            assert peer.status() == 408
            assert HELLO_S - 0.1 < time.monotonic() - begin_s < HELLO_S + 3.0
        finally:
            stop.set()
            dripping.join()


def test_who_opens_and_says_no_hello_is_closed_with_4502(running: Runtime) -> None:
    with Peer(running.url) as peer:
        peer.open()
        peer.send(head(TEXT, 100) + b'{"type":')
        assert peer.close_code() == 4502


def test_who_asks_and_never_reads_is_cut_off(running: Runtime) -> None:
    before = metrics(running.url)
    # Each is refused with all the types that there are: 2 KB for 20 bytes.
    said = frame(TEXT, b'[%s{"type":"x"}]' % (b'{"type":"x"},' * 63))
    with entered(running, receive_bytes=4096) as peer, flooding(peer, said):
        eventually(lambda: closed(running, before, "closed_4008"), timeout_s=30, what="it is cut off")


def test_who_pings_and_never_reads_is_cut_off_before_that_fills_the_memory(running: Runtime) -> None:
    before = metrics(running.url)
    gateway = running.processes()["gateway-0"]
    rss = gateway.memory_info().rss
    with Peer(running.url, receive_bytes=4096) as peer:
        peer.open(token=running.info.token)
        peer.send(HELLO)
        with flooding(peer, frame(PING, b"x" * 125)):
            eventually(lambda: closed(running, before, "cut_unread_pongs"), timeout_s=60, what="it is cut off")
    assert gateway.memory_info().rss - rss < 16 * 2**20


@contextmanager
def flooding(peer: Peer, said: bytes) -> Iterator[None]:
    """Say it again and again meanwhile, as fast as the server takes it, and read nothing."""
    stop = threading.Event()
    peer.socket.settimeout(0.5)

    def flood() -> None:
        left = b""
        while not stop.is_set():
            left = left or said * 100
            try:
                left = left[peer.socket.send(left) :]
            except TimeoutError:
                continue
            except OSError:
                return

    thread = threading.Thread(target=flood)
    thread.start()
    try:
        yield
    finally:
        stop.set()
        thread.join()


def closed(running: Runtime, before: dict[str, float], what: str) -> bool:
    name = f'rfm_gateway_decisions_total{{gateway="gateway-0",what="{what}"}}'
    return metrics(running.url).get(name, 0.0) > before.get(name, 0.0)


@pytest.mark.scenario("J70")
def test_connections_that_say_nothing_keep_nobody_out(running: Runtime) -> None:
    with ExitStack() as silent:
        peers = [silent.enter_context(Peer(running.url)) for _ in range(3 * running.settings.connections_per_address)]
        with entered(running):
            pass
        # The first had to go for the last, and is told nothing: it has asked for nothing.
        assert peers[0].status() == 0
        assert peers[-1].status() == 408


@pytest.mark.scenario("G8")
def test_each_address_and_each_user_has_so_many_connections_and_who_is_there_stays(running: Runtime) -> None:
    limit = running.settings.connections_per_user
    with ExitStack() as peers:
        mine = [peers.enter_context(entered(running)) for _ in range(limit)]
        with Peer(running.url) as one_more:
            one_more.open(token=running.info.token)
            assert one_more.close_code() == 4504
        strangers = []
        while len(strangers) <= running.settings.connections_per_address:
            stranger = peers.enter_context(Peer(running.url))
            stranger.open()
            strangers.append(stranger)
        goodbye = json.loads(strangers[-1].next()[1])
        assert (goodbye["type"], goodbye["data"]["code"]) == ("goodbye", 4013)
        assert goodbye["data"]["retry_after_ms"] > 0
        assert strangers[-1].close_code() == 4013
        for peer in mine:
            peer.send(frame(TEXT, b'{"type":"ping","id":7}'))
            assert json.loads(peer.next()[1])["re"] == 7


# --- all at once ----------------------------------------------------------------------------------

LOAD = """
import sys
from rfm_runtime import ProgressReporter
for number in range(100):
    with ProgressReporter("load", f"load-{number}", bar=False) as reporter:
        for step in range(5):
            reporter.report_progress(20 * step)
            select_s(0.02)
print("over", flush=True)
""".replace("select_s(0.02)", "__import__('time').sleep(0.02)")
"""A hundred operations in ten seconds, each of which has to be seen from its beginning to its end."""

ATTACKS: dict[str, Callable[[Runtime], bytes]] = {
    "pings": lambda _: HELLO + frame(PING) * 20_000,
    "fragments": lambda _: HELLO + FRAGMENTS,
    "nested": lambda _: HELLO + frame(TEXT, b"[" * DEEP + b"]" * DEEP),
    "nested MessagePack": lambda _: HELLO + frame(BINARY, b"\x91" * LIMIT_BYTES),
    "long messages": lambda _: HELLO + frame(TEXT, b'{"type":"%s"}' % (b"x" * 60_000)) * 50,
    "batches": lambda _: (
        HELLO + frame(TEXT, msgspec.json.encode([{"type": "history", "data": {"limit": 500}}] * 64)) * 20
    ),
    "too long": lambda _: HELLO + head(TEXT, 2**40) + b"x" * LIMIT_BYTES,
    "unknown types": lambda _: HELLO + frame(TEXT, b'{"type":"no_such_thing"}') * 2000,
    "invalid UTF-8": lambda _: HELLO + frame(TEXT, b"\xff" * 60_000),
}
SECONDS = 10.0


class Attack(threading.Thread):
    """One kind of it by a user with a token, again and again: connect, say it, see the end."""

    def __init__(self, running: Runtime, said: bytes, stop: threading.Event, token: str) -> None:
        super().__init__()
        self._running, self._said, self._stop_it, self._token = running, said, stop, token
        self.rounds = 0

    def run(self) -> None:
        while not self._stop_it.is_set():
            try:
                with Peer(self._running.url, timeout_s=1.0) as peer:
                    peer.open(token=self._token)
                    peer.send(self._said)
                    peer.close_code()
            except (OSError, IndexError):
                pass
            self.rounds += 1


class Pinger(threading.Thread):
    """An honest client that asks ten times a second and notes how long the answers take."""

    def __init__(self, running: Runtime, stop: threading.Event) -> None:
        super().__init__()
        self._running, self._stop_it = running, stop
        self.took_ms: list[float] = []

    def run(self) -> None:
        with connect(self._running.url, additional_headers=bearer(self._running)) as honest:
            honest.send('{"type":"hello","data":{}}')
            honest.recv()
            while not self._stop_it.wait(0.1):
                begin_s = time.monotonic()
                honest.send('{"type":"ping","id":1}')
                honest.recv()
                self.took_ms.append(1000 * (time.monotonic() - begin_s))


def bearer(running: Runtime) -> dict[str, str]:
    return {"Authorization": f"Bearer {running.info.token}"}


@pytest.mark.timeout(180)
@pytest.mark.alone
def test_beside_all_of_them_watchers_see_everything_and_memory_stays(tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.write_text(SECRET)
    secret.chmod(0o600)
    with runtime(tmp_path, workers=1, token_secret_file=str(secret), drain_timeout_s=2.0) as running:
        mallory = signed(sub="mallory", roles=["admin"])
        gateway = running.processes()["gateway-0"]
        watchers = [Recorder(running) for _ in range(3)]
        # Once, so that what is loaded on first use is there.
        stop = threading.Event()
        calm = Pinger(running, stop)
        calm.start()
        for said in ATTACKS.values():
            with Peer(running.url, timeout_s=1.0) as peer:
                peer.open(token=mallory)
                peer.send(said(running)[:LIMIT_BYTES])
        eventually(lambda: len(calm.took_ms) >= 30, what="some answers")
        stop.set()
        calm.join()
        rss = gateway.memory_info().rss
        stop.clear()
        beside = Pinger(running, stop)
        beside.start()
        attacks = {name: Attack(running, said(running), stop, mallory) for name, said in ATTACKS.items()}
        for attack in attacks.values():
            attack.start()
        peak = rss
        try:
            script = Script(LOAD, environment(running))
            deadline_s = time.monotonic() + SECONDS
            while time.monotonic() < deadline_s or script.process.poll() is None:
                peak = max(peak, gateway.memory_info().rss)
                stop.wait(0.05)
            assert script.line() == "over"
        finally:
            stop.set()
            for thread in (*attacks.values(), beside):
                thread.join()
        for watcher in watchers:
            known = {o.operation_id for o in watcher.client.operations(kinds=["load"], limit=500)}
            assert len(known) == 100
            for operation_id in known:
                watcher.await_end(operation_id)
                watcher.check_story(operation_id)
        for watcher in watchers:
            ends = [n for n in watcher.notices if getattr(n, "state", None) in TERMINAL_STATES]
            assert len(ends) == 100
        Recorder.close_all()
        assert gateway.is_running()
        rounds = {name: attack.rounds for name, attack in attacks.items()}
        print(
            f"\nattacks: {rounds}\ngateway: {rss / 2**20:.1f} MiB before, {peak / 2**20:.1f} at most\n"
            f"ping: p50 {percentile(calm.took_ms, 0.5):.1f} ms, p99 {percentile(calm.took_ms, 0.99):.1f} ms before; "
            f"p50 {percentile(beside.took_ms, 0.5):.1f} ms, p99 {percentile(beside.took_ms, 0.99):.1f} ms beside them"
        )
        assert all(rounds.values()), rounds
        assert peak - rss < 32 * 2**20
        assert percentile(beside.took_ms, 0.99) < 1000.0
        assert "Traceback" not in running.logs(), running.logs()
