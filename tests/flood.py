"""Floods from outside, in a process of its own: `python -m tests.flood`; what to do on stdin, figures on stdout.

It says `ready` when the flood begins. Nothing of ours is used: who floods has no client that behaves.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import sys
import time
from collections import Counter
from collections.abc import AsyncIterator
from typing import Any

from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import ConnectionClosed, InvalidStatus, WebSocketException

OPEN_S = 10.0


class Flood:
    """seen: what was answered, by name. retries: whether each refusal said when to come again."""

    def __init__(self, plan: dict[str, Any]) -> None:
        self.plan = plan
        self.url: str = plan["url"]
        self.until_s = 0.0
        self.seen: Counter[str] = Counter()
        self.retries: Counter[str] = Counter()
        self.outcome = ""
        self.ended = asyncio.Event()

    @property
    def goes_on(self) -> bool:
        return time.monotonic() < self.until_s

    def connection(self, token: str | None = None) -> connect:
        headers = {} if token is None else {"Authorization": f"Bearer {token}"}
        local = self.plan.get("address")
        options: dict[str, Any] = {"local_addr": (local, 0)} if local else {}
        return connect(
            self.url,
            additional_headers=headers,
            compression=None,
            proxy=None,
            open_timeout=OPEN_S,
            close_timeout=0.5,
            ping_interval=None,
            **options,
        )

    def take(self, message: str | bytes) -> None:
        got = json.loads(message)
        for one in got if isinstance(got, list) else [got]:
            data = one.get("data", {})
            if one["type"] == "error":
                self.seen[data["code"]] += 1
                if data["code"] == "rate_limited":
                    self.retries["said" if data.get("retry_after_ms", 0) > 0 else "not said"] += 1
            elif one["type"] == "goodbye":
                self.seen[f"closed {data['code']}"] += 1
                if data["code"] == 4013:
                    self.retries["said" if data.get("retry_after_ms", 0) > 0 else "not said"] += 1
            else:
                self.seen[one["type"]] += 1
            if one.get("re") == 999_999:
                self.outcome = one["type"] if one["type"] != "error" else data["code"]
                self.ended.set()

    async def listen(self, socket: ClientConnection) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for message in socket:
                self.take(message)

    @contextlib.asynccontextmanager
    async def entered(self, token: str) -> AsyncIterator[ClientConnection]:
        """A connection; of many that are opened at once some are told at the door to come again."""
        while True:
            try:
                socket = await self.connection(token)
                break
            except InvalidStatus as refused:
                told_s = float(refused.response.headers.get("Retry-After", "0"))
                if refused.response.status_code != 503 or told_s <= 0.0:
                    raise
                await asyncio.sleep(told_s)
        async with socket:
            yield socket

    async def commands(self, token: str) -> None:
        """As many requests as the socket takes."""
        async with self.entered(token) as socket:
            await socket.send(word("hello", 1))
            listening = asyncio.create_task(self.listen(socket))
            with contextlib.suppress(ConnectionClosed):
                number = 1
                while self.goes_on:
                    number += 1
                    await socket.send(word("ping", number))
                    if number % 20 == 0:
                        await asyncio.sleep(0)
            listening.cancel()

    async def progress(self, token: str) -> None:
        """Of one operation, and then how it ended."""
        async with self.entered(token) as socket:
            await socket.send(word("hello", 1))
            listening = asyncio.create_task(self.listen(socket))
            await socket.send(word("operation_started", 2, operation_id=self.plan["operation_id"], kind="external"))
            done = 0
            # What is in its socket is taken in its order, the outcome last: a bounded number of them.
            while self.goes_on and done < self.plan["messages"]:
                done += 1
                await socket.send(word("progress_update", None, operation_id=self.plan["operation_id"], done=done))
                if done % 20 == 0:
                    await asyncio.sleep(0)
            self.seen["sent"] = done
            ended = word("operation_completed", 999_999, operation_id=self.plan["operation_id"], done=done)
            await socket.send(ended)
            async with asyncio.timeout(60):
                await self.ended.wait()
            listening.cancel()

    async def guesses(self, _token: str) -> None:
        """Hellos with tokens that are none."""
        while self.goes_on:
            try:
                async with self.connection() as socket:
                    with contextlib.suppress(ConnectionClosed):
                        await socket.send(word("hello", 1, token="a-guess"))
                    await self.listen(socket)
            except (OSError, WebSocketException, TimeoutError):
                self.seen["no handshake"] += 1

    async def strangers(self, _token: str) -> None:
        """Connections that say nothing, and are held."""
        async with contextlib.AsyncExitStack() as held:
            while self.goes_on:
                try:
                    socket = await held.enter_async_context(self.connection())
                except (OSError, WebSocketException, TimeoutError):
                    self.seen["no handshake"] += 1
                    continue
                self.seen["opened"] += 1
                with contextlib.suppress(TimeoutError, ConnectionClosed):
                    async with asyncio.timeout(0.05):
                        self.take(await socket.recv())

    async def handshakes(self, token: str) -> None:
        """With a token, one after the other."""
        while self.goes_on:
            try:
                async with self.connection(token):
                    self.seen["opened"] += 1
            except InvalidStatus as refused:
                self.seen[f"status {refused.response.status_code}"] += 1
                said = float(refused.response.headers.get("Retry-After", "0")) > 0
                self.retries["said" if said else "not said"] += 1
            except (OSError, WebSocketException, TimeoutError):
                self.seen["no handshake"] += 1

    async def run(self) -> None:
        print("ready", flush=True)
        self.until_s = time.monotonic() + self.plan["seconds"]
        one = getattr(self, self.plan["kind"])
        results = await asyncio.gather(*(one(token) for token in self.plan["tokens"]), return_exceptions=True)
        faults = [repr(result) for result in results if isinstance(result, BaseException)]
        figures = {"seen": self.seen, "retries": self.retries, "outcome": self.outcome, "faults": faults}
        print(json.dumps(figures), flush=True)


def word(type_: str, number: int | None, /, **data: Any) -> str:
    envelope: dict[str, Any] = {"type": type_, "ts": 0, "data": data}
    if number is not None:
        envelope["id"] = number
    return json.dumps(envelope)


if __name__ == "__main__":
    asyncio.run(Flood(json.load(sys.stdin)).run())
