"""Many watchers in one process, for tests and benchmarks: real clients, each with a connection of its own.

Used in one event loop. What they share with a real crowd is all that a server sees; that they also share one core
makes them slower than a real one, never faster.
"""

from __future__ import annotations

import asyncio
import json
import time
import urllib.request
from collections import deque
from collections.abc import Iterable
from datetime import datetime
from itertools import accumulate
from pathlib import Path
from typing import Any

from msgspec import Struct

from rfm_runtime.client.async_client import AsyncClient
from rfm_runtime.config import Settings
from rfm_runtime.security.tls import client_context

__all__ = ["Comings", "Crowd", "Wave", "comings", "metrics", "percentile", "total"]

AT_ONCE = 100
"""Connections that are opened at the same time at first: a crowd gathers, it does not fall from the sky."""


class Wave(Struct, frozen=True, kw_only=True):
    """How a crowd came back. Times in seconds since each lost its connection, sorted.

    live_s: until it was live again. all_live_s: from the first loss to the last return. tries: of connections, in all.
    """

    live_s: tuple[float, ...]
    all_live_s: float
    tries: int


class Crowd:
    """count: of watchers. All of them see everything that happens, and find the runtime again wherever it starts."""

    def __init__(self, settings: Settings, count: int) -> None:
        self._history: list[list[tuple[float, str]]] = [[] for _ in range(count)]
        self._away: set[int] = set()
        self._all_back = asyncio.Event()
        self.clients = [AsyncClient(settings=settings, on_state=self._note(number)) for number in range(count)]

    def _note(self, number: int) -> Any:
        def note(state: str, _details: dict[str, Any]) -> None:
            history = self._history[number]
            if state == "live" and history:
                self._away.discard(number)
                if not self._away:
                    self._all_back.set()
            history.append((time.monotonic(), state))

        return note

    async def gather(self, timeout_s: float = 60.0) -> None:
        """Connect all. Raises UnavailableError for who does not get in."""
        room = asyncio.Semaphore(AT_ONCE)

        async def enter(client: AsyncClient) -> None:
            async with room:
                await client.connect(timeout_s=timeout_s)

        await asyncio.gather(*(enter(client) for client in self.clients))

    def forget(self) -> None:
        """Look only at what happens from now on."""
        for history in self._history:
            history.clear()
        self._away = set(range(len(self._history)))
        self._all_back.clear()

    async def come_back(self, timeout_s: float) -> Wave:
        """Wait until each has lost its connection since `forget`, and is live again. Raises TimeoutError."""
        async with asyncio.timeout(timeout_s):
            await self._all_back.wait()
        begin_s = min(history[0][0] for history in self._history)
        lived_s = [next(at_s for at_s, state in history if state == "live") for history in self._history]
        waits_s = [at_s - history[0][0] for at_s, history in zip(lived_s, self._history, strict=True)]
        return Wave(
            live_s=tuple(sorted(waits_s)),
            all_live_s=max(lived_s) - begin_s,
            tries=sum(state != "live" for history in self._history for _, state in history),
        )

    async def close(self) -> None:
        """Close all."""
        await asyncio.gather(*(client.close() for client in self.clients))


class Comings(Struct, frozen=True, kw_only=True):
    """What gateways logged of connections. peak_per_s: the most that were let in by one of them within any second.

    sessions_max: the most that there were at one time, in all of them together.
    """

    peak_per_s: int
    sessions_max: int


def comings(logs: Path, since: datetime) -> Comings:
    """Read it from the logs of a runtime. What a killed gateway had before `since` is not in it."""
    peak, steps, alive = 0, [], set()
    for path in sorted(logs.glob("gateway-*.log")):
        entered: deque[float] = deque()
        for line in path.read_text(encoding="utf-8").splitlines():
            entry = json.loads(line)
            at_s = datetime.fromisoformat(entry["timestamp"]).timestamp()
            if at_s < since.timestamp() or entry["event"] not in ("connected", "disconnected"):
                continue
            session = (entry["pid"], entry["session"])
            if entry["event"] == "connected":
                alive.add(session)
                steps.append((at_s, 1))
                entered.append(at_s)
                while entered[0] <= at_s - 1.0:
                    entered.popleft()
                peak = max(peak, len(entered))
            elif session in alive:
                steps.append((at_s, -1))
    return Comings(peak_per_s=peak, sessions_max=max(accumulate(step for _, step in sorted(steps)), default=0))


def metrics(url: str, ca_file: str = "") -> dict[str, float]:
    """What `/metrics` of a runtime says, by name with labels. Raises OSError while nobody answers."""
    context = client_context(ca_file, None) if ca_file else None
    address = "http" + url.removeprefix("ws") + "/metrics"
    with urllib.request.urlopen(address, timeout=10, context=context) as answer:
        lines = answer.read().decode().splitlines()
    return {line.rpartition(" ")[0]: float(line.rpartition(" ")[2]) for line in lines if not line.startswith("#")}


def total(found: dict[str, float], family: str) -> float:
    """The sum of a family over all gateways."""
    return sum(value for name, value in found.items() if name.partition("{")[0] == family)


def percentile(values: Iterable[float], share: float) -> float:
    """The value that `share` (0–1) of them do not exceed."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(share * len(ordered)))]
