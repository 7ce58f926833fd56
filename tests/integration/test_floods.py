"""Floods above each limit at a real gateway: who floods is told when to come again, others notice nothing.

Beside each flood a program reports operations that begin and end, and three watchers of another user follow them: each
event has to reach each of them, once and in order, and the gateway's memory is measured. Latencies are printed (-s).
"""

from __future__ import annotations

import contextlib
import json
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from concurrent.futures import Future, ThreadPoolExecutor, wait
from pathlib import Path
from typing import Any

import pytest

from rfm_runtime import Client, JWTAuthenticator
from rfm_runtime.testing.crowd import metrics, percentile
from rfm_runtime.testing.runtime import Runtime, eventually, runtime
from tests.plain import Plain, get

pytestmark = [pytest.mark.integration, pytest.mark.alone, pytest.mark.scenario("G8", "J52")]

ROOT = Path(__file__).parent.parent.parent
SECRET = "floods-are-kept-out-by-limits-and-this-is-32"
AUTH = JWTAuthenticator(SECRET)
SECONDS = 3.0
MEMORY_LIMIT_BYTES = 48 * 1024 * 1024
STORY = ["operation_accepted", "operation_started", "operation_completed"]


def token(user: str, *roles: str) -> str:
    return AUTH.issue(user, roles or ("operator",))


@pytest.fixture(scope="module")
def flooded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Runtime]:
    folder = tmp_path_factory.mktemp("floods")
    secret = folder / "secret"
    secret.touch(mode=0o600)
    secret.write_text(SECRET, encoding="utf-8")
    # Fewer than by default, so that a test of seconds is above each of them on a slow machine too.
    limits = {"inbound_per_s": 400.0, "handshakes_per_s": 20.0, "refused_sign_ins_per_s": 1.0, "commands_per_s": 20.0}
    with runtime(folder, workers=1, drain_timeout_s=1.0, token_secret_file=str(secret), **limits) as started:
        yield started
        assert "Traceback" not in started.logs(), started.logs()


class Well:
    """A program that reports, three watchers of another user, and one who comes in each time anew."""

    def __init__(self, running: Runtime) -> None:
        self.running = running
        self.sent_s: dict[str, float] = {}
        self.pings_s: list[float] = []
        self.entered_s: list[float] = []
        self.heard: list[list[tuple[str, str, float]]] = [[], [], []]
        self.memory_bytes: list[int] = []
        self.faults: list[str] = []
        self._stop = threading.Event()
        self._closed = threading.Event()
        self._open = contextlib.ExitStack()
        self._reporter = self._open.enter_context(Plain(running.url, token("rita", "reporter"), header=True))
        wes = token("wes", "viewer")
        self._watchers = [self._open.enter_context(Plain(running.url, wes, header=True)) for _ in self.heard]
        for watcher in self._watchers:
            watcher.ask("subscribe", operations="all")
            watcher.until(lambda one: one["type"] == "live")
        self._number = 0
        self._gateway = running.processes()["gateway-0"]
        self._threads = ThreadPoolExecutor(5)
        self._tasks: list[Future[None]] = []

    def _report(self) -> None:
        while not self._stop.is_set():
            self._number += 1
            name = f"well-{time.monotonic_ns()}"
            self._must("operation_started", operation_id=name, kind="external")
            for done in range(3):
                self._must("progress_update", operation_id=name, done=done)
                self._stop.wait(0.05)
            begin_s = time.monotonic()
            self._must("ping")
            self.pings_s.append(time.monotonic() - begin_s)
            self.sent_s[name] = time.monotonic()
            self._must("operation_completed", operation_id=name, done=3)
            self.memory_bytes.append(self._gateway.memory_info().rss)

    def _must(self, request: str, **data: Any) -> None:
        answer = self._reporter.ask(request, **data)
        if answer["type"] in ("error", "closed"):
            self.faults.append(f"{request}: {answer}")

    def _watch(self, number: int) -> None:
        watcher = self._watchers[number]
        while not self._closed.is_set():
            before = len(watcher.heard)
            with contextlib.suppress(TimeoutError):
                if not watcher.hear(0.1):
                    self.faults.append(f"watcher {number} was closed with {watcher.code}")
                    return
            now_s = time.monotonic()
            for one in watcher.heard[before:]:
                name = one.get("data", {}).get("operation_id", "")
                if name.startswith("well-") and one["type"].startswith("operation_"):
                    self.heard[number].append((name, one["type"], now_s))
            if len(watcher.heard) > 5000:
                del watcher.heard[:-1]

    def _enter(self) -> None:
        """Somebody comes with a token, by our client."""
        while not self._stop.wait(0.5):
            begin_s = time.monotonic()
            with Client(url=self.running.url, token=token("newcomer", "viewer"), initial_delay=0.05):
                self.entered_s.append(time.monotonic() - begin_s)

    def __enter__(self) -> Well:
        submit = self._threads.submit
        self._tasks = [submit(self._report), submit(self._enter), *(submit(self._watch, n) for n in range(3))]
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        wait(self._tasks[:2], timeout=60)
        with contextlib.suppress(TimeoutError):
            ended = len(STORY) * len(self.sent_s)
            eventually(lambda: all(len(heard) >= ended for heard in self.heard), timeout_s=30, what="all is heard")
        self._closed.set()
        wait(self._tasks, timeout=40)
        self._open.close()
        self._threads.shutdown()

    def check(self, what: str) -> None:
        """They noticed nothing; what was measured is printed."""
        for task in self._tasks:
            task.result()
        assert not self.faults
        for heard in self.heard:
            for name in self.sent_s:
                assert [type_ for of, type_, _ in heard if of == name] == STORY
        grown = max(self.memory_bytes) - self.memory_bytes[0]
        late_s = [at_s - self.sent_s[of] for heard in self.heard for of, t, at_s in heard if t == STORY[-1]]
        print(
            f"\n{what}: {len(self.sent_s)} operations, {len(late_s)} outcomes; event p50 {_ms(late_s, 50)} "
            f"p99 {_ms(late_s, 99)} ms, ping p99 {_ms(self.pings_s, 99)} ms, "
            f"newcomer p99 {_ms(self.entered_s, 99)} ms, memory +{grown / 2**20:.1f} MiB"
        )
        assert len(self.sent_s) >= 2
        assert self.entered_s
        assert grown < MEMORY_LIMIT_BYTES


def _ms(values_s: list[float], percent: float) -> str:
    return f"{1000 * percentile(sorted(values_s), percent / 100):.0f}"


@contextlib.contextmanager
def flood(running: Runtime, kind: str, tokens: list[str], **more: Any) -> Iterator[dict[str, Any]]:
    """Figures of a flood, filled in when it is over, which is waited for at the end."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.flood"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, cwd=ROOT
    )
    figures: dict[str, Any] = {}
    try:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(
            json.dumps({"url": running.url, "kind": kind, "tokens": tokens, "seconds": SECONDS, **more})
        )
        process.stdin.close()
        assert process.stdout.readline() == "ready\n"
        yield figures
        figures.update(json.loads(process.stdout.readline()))
        assert process.wait(timeout=60) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
        if process.stdout is not None:
            process.stdout.close()
    print(f"{kind}: {figures}")


def decisions(running: Runtime, what: str) -> float:
    found = metrics(running.url)
    return sum(value for name, value in found.items() if f'what="{what}"' in name)


FLOODS = [
    pytest.param("commands", ["ann"], {}, "limited_client", id="client"),
    pytest.param("commands", ["ann"] * 12, {}, "limited_user", id="user"),
    pytest.param("commands", [f"user-{n % 6}" for n in range(18)], {}, "slowed_global", id="global"),
    pytest.param("guesses", [""] * 8, {"address": "127.0.0.2"}, "refused_guessing", id="guesses"),
    pytest.param("strangers", [""] * 8, {"address": "127.0.0.3"}, "refused_handshakes", id="address"),
    pytest.param("handshakes", ["ann"] * 8, {}, "refused_handshakes", id="handshakes"),
]


@pytest.mark.parametrize(("kind", "users", "more", "decision"), FLOODS)
def test_who_floods_is_told_when_to_come_again_and_others_notice_nothing(
    flooded: Runtime, request: pytest.FixtureRequest, kind: str, users: list[str], more: dict[str, Any], decision: str
) -> None:
    before = decisions(flooded, decision)
    tokens = [user and token(user) for user in users]
    with Well(flooded) as well, flood(flooded, kind, tokens, **more) as figures:
        pass
    well.check(request.node.callspec.id)
    assert figures["faults"] == []
    assert decisions(flooded, decision) > before
    assert figures["retries"].get("not said", 0) == 0
    if decision != "slowed_global":
        # What is slowed down is not refused: it waits in its own socket.
        assert figures["retries"]["said"] > 0


def test_a_flood_of_one_operations_progress_never_loses_its_outcome(flooded: Runtime) -> None:
    with (
        Well(flooded) as well,
        Plain(flooded.url, token("wes", "viewer"), header=True) as watcher,
        flood(flooded, "progress", [token("rob", "reporter")], operation_id="loud", messages=1200) as figures,
    ):
        watcher.ask("subscribe", operations=["loud"])
        watcher.until(lambda one: one["type"] == "operation_completed", timeout_s=60.0)
    well.check("operation")
    assert figures["outcome"] == "ok"
    (outcome,) = [one for one in watcher.heard if one["type"] == "operation_completed"]
    assert outcome["data"]["final"]["done"] == figures["seen"]["sent"]
    updates = [one["data"]["done"] for one in watcher.heard if one["type"] == "progress_update"]
    assert updates == sorted(updates)
    # Its watcher was sent what a screen shows.
    assert len(updates) < figures["seen"]["sent"]


def test_plain_requests_are_told_too(flooded: Runtime) -> None:
    asked = [get(flooded.url, "/v1/operations", "a-guess") for _ in range(60)]
    limited = [(body, headers) for status, body, headers in asked if status == 429]
    assert {status for status, _, _ in asked} == {401, 429}
    assert limited
    for body, headers in limited:
        assert body["code"] == "rate_limited"
        assert body["retry_after_ms"] > 0
        assert int(headers["Retry-After"]) >= 1
    assert get(flooded.url, "/v1/operations", token("wes", "viewer"))[0] == 200
