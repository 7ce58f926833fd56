"""Watchers that write down all they are told: some speak the protocol themselves, some through `AsyncClient`.

As a program (`python -m rfm_runtime.testing.chaos.watchers`) one in a process of its own, to be frozen or killed.
"""

from __future__ import annotations

import argparse
import asyncio
import contextlib
import json
import random
import signal
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
from websockets.asyncio.client import ClientConnection, connect
from websockets.exceptions import InvalidHandshake, InvalidMessage, WebSocketException
from websockets.typing import Subprotocol

from rfm_runtime.client.async_client import AsyncClient
from rfm_runtime.client.connection_file import ConnectionInfo
from rfm_runtime.errors import NoRuntimeError, RfmError
from rfm_runtime.observe.process import die_with_parent
from rfm_runtime.protocol.messages import Live, OperationList
from rfm_runtime.protocol.operation import OperationEvent, ProgressUpdate
from rfm_runtime.testing.chaos.record import Record, brief, brief_event, brief_operation

__all__ = ["Character", "Where", "watch_by_client", "watch_raw"]

RETRY_S = 0.25
SILENCE_S = 5.0
"""After so long without a word a watcher takes its connection for dead; the runtime's heartbeat comes sooner."""


@dataclass(frozen=True, slots=True)
class Where:
    """How to reach the runtime. port: of the proxy; without it, wherever its connection file says."""

    connection: Path
    port: int | None = None

    def url(self) -> str:
        """Raises NoRuntimeError."""
        return ConnectionInfo.read(self.connection).url if self.port is None else f"ws://127.0.0.1:{self.port}"

    def token(self) -> str:
        """Of the runtime that runs now; nobody is let in with ""."""
        try:
            return ConnectionInfo.read(self.connection).token
        except NoRuntimeError:
            return ""


@dataclass(frozen=True, slots=True)
class Character:
    """What kind of watcher. drops_s: between how many seconds it hangs up by itself and resumes.

    slow_s: it thinks so long about each message. max_hz: of progress.
    """

    encoding: str = "json"
    max_hz: float = 5.0
    drops_s: tuple[float, float] | None = None
    slow_s: float = 0.0


async def watch_raw(
    where: Where, record: Record, character: Character, seed: int, hurry: asyncio.Event | None = None
) -> None:
    """Watch for ever, over one connection after another, resuming with the last event that was heard.

    hurry: once it is set, a slow one is no longer slow, or its end would be a matter of hours.
    """
    watcher = _Raw(where, record, character, random.Random(seed), hurry or asyncio.Event())
    while True:
        await watcher.converse()
        await asyncio.sleep(RETRY_S)


class _Raw:
    """The protocol in its own words, with nothing of the client's."""

    def __init__(
        self, where: Where, record: Record, character: Character, rng: random.Random, hurry: asyncio.Event
    ) -> None:
        self._hurry = hurry
        self._where = where
        self._record = record
        self._character = character
        self._rng = rng
        self._resume: dict[str, Any] | None = None

    async def converse(self) -> None:
        """One connection, until it ends."""
        try:
            async with connect(
                self._where.url(),
                subprotocols=[Subprotocol(f"rfm.v1.{self._character.encoding}")],
                additional_headers={"Authorization": f"Bearer {self._where.token()}"},
                max_size=None,
                compression=None,
                open_timeout=5.0,
                close_timeout=0.5,
                ping_interval=None,
                proxy=None,
            ) as connection:
                await self._say(connection, "hello", {"token": self._where.token(), "resume": self._resume})
                self._record.write("open", resume=self._resume)
                await self._listen(connection)
        except (OSError, TimeoutError, WebSocketException, InvalidHandshake, InvalidMessage, RfmError) as error:
            self._record.write("closed", why=f"{type(error).__name__}: {error}"[:200])
        except EOFError:
            self._record.write("closed", why="end of file")

    async def _listen(self, connection: ClientConnection) -> None:
        drops = self._character.drops_s
        async with asyncio.timeout(None if drops is None else self._rng.uniform(*drops)):
            while True:
                async with asyncio.timeout(SILENCE_S):
                    message = await connection.recv()
                decoded = json.loads(message) if isinstance(message, str) else msgspec.msgpack.decode(message)
                for envelope in decoded if isinstance(decoded, list) else [decoded]:
                    await self._heard(connection, envelope["type"], envelope.get("data", {}))
                if self._character.slow_s and not self._hurry.is_set():
                    await asyncio.sleep(self._character.slow_s)

    async def _heard(self, connection: ClientConnection, kind: str, data: dict[str, Any]) -> None:
        match kind:
            case "welcome":
                await self._say(connection, "subscribe", {"operations": "active", "max_hz": self._character.max_hz})
            case "subscribed":
                if not data["recovered"]:
                    # A list that is not complete yet is nothing to resume from.
                    self._resume = None
                self._record.write("subscribed", recovered=data["recovered"])
            case "operation_list":
                operations = [brief_operation(operation) for operation in data["operations"]]
                self._record.write("list", first=data.get("first", False), operations=operations)
            case "live":
                self._resume = {"epoch": data["epoch"], "seq": data["seq"]}
                self._record.write("live", epoch=data["epoch"], seq=data["seq"])
            case "progress_update":
                self._record.write("progress", **(brief(data) or {}))
            case "throttled" | "goodbye" | "error":
                self._record.write(kind, data=data)
            case _ if kind.startswith("operation_"):
                if self._resume is not None:
                    self._resume = {**self._resume, "seq": max(data["seq"], self._resume["seq"])}
                self._record.write("event", **brief_event(data, kind))
            case _:
                self._record.write("other", type=kind)

    async def _say(self, connection: ClientConnection, kind: str, data: dict[str, Any]) -> None:
        said = {"type": kind, "ts": 0, "data": {key: value for key, value in data.items() if value is not None}}
        if self._character.encoding == "json":
            await connection.send(json.dumps(said))
        else:
            await connection.send(msgspec.msgpack.encode(said))


async def watch_by_client(where: Where, record: Record, encoding: str) -> None:
    """What a program sees that uses `AsyncClient`, until it is cancelled."""

    async def fresh() -> str:
        # A runtime that starts has another token; while there is none, asking again costs nothing.
        await asyncio.sleep(RETRY_S)
        return where.token()

    while True:
        try:
            url = where.url()
            async with AsyncClient(
                url, where.token(), get_token=fresh, max_delay=1.0, encoding=encoding, name="chaos"
            ) as client:
                async for notice in client.watch():
                    _write(record, notice)
        except RfmError as error:
            record.write("closed", why=error.message)
        await asyncio.sleep(RETRY_S)
        record.write("fresh")


def _write(record: Record, notice: object) -> None:
    data: Any = msgspec.to_builtins(notice)
    match notice:
        case OperationEvent():
            record.write("event", **brief_event(data))
        case ProgressUpdate():
            record.write("progress", **(brief(data) or {}))
        case OperationList():
            operations = [brief_operation(operation) for operation in data["operations"]]
            record.write("list", first=notice.first, operations=operations)
        case Live():
            record.write("live", epoch=notice.epoch, seq=notice.seq)


async def _until_told(work: Callable[[], Any]) -> None:
    task = asyncio.ensure_future(work())
    asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)
    with contextlib.suppress(asyncio.CancelledError):
        await task


def main() -> None:
    """Watch until SIGTERM."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--connection", type=Path, required=True)
    parser.add_argument("--record", type=Path, required=True)
    parser.add_argument("--parent", type=int, required=True)
    arguments = parser.parse_args()
    die_with_parent(arguments.parent)
    record = Record(arguments.record)
    asyncio.run(_until_told(lambda: watch_raw(Where(arguments.connection), record, Character(), 0)))
    # Whoever reads it knows that it went in order, and that nothing more was to come.
    record.write("end")
    record.close()


if __name__ == "__main__":
    main()
