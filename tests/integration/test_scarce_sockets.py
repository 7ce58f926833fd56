"""A gateway without a socket left for another engine says so, and nobody is charged for what it could not ask."""

from __future__ import annotations

import asyncio
import contextlib
import json
import socket
from pathlib import Path
from typing import Any

import msgspec
import pytest
import zmq
from websockets.asyncio.client import connect

from rfm_runtime.config import Endpoints
from rfm_runtime.core.sessions.hub import USER_FETCHES_LIMIT
from rfm_runtime.gateway.gateway import Gateway
from rfm_runtime.gateway.listener import Listener
from rfm_runtime.observe.alive import source
from rfm_runtime.protocol.operation import TileGrid
from rfm_runtime.security.token import RuntimeToken
from rfm_runtime.testing.broker import BrokerProcess, hello, submit
from rfm_runtime.testing.runtime import eventually

pytestmark = [pytest.mark.integration, pytest.mark.scenario("G8", "J39")]

SOCKETS = 64
TRIES = 3 * USER_FETCHES_LIMIT


async def _asked(url: str, tries: int) -> list[dict[str, Any]]:
    """The answers to as many requests for tiles, one after the other."""
    answers: list[dict[str, Any]] = []
    async with connect(url) as connection, asyncio.timeout(20):
        await connection.send(json.dumps({"type": "hello", "data": {"token": "t"}}))
        wanted = {"operation_id": "op-0", "x": 0, "y": 0, "width": 8, "height": 8, "step": 1}
        for number in range(tries):
            await connection.send(json.dumps({"type": "fetch_tiles", "id": number, "data": wanted}))
            while len(answers) == number:
                message = json.loads(await connection.recv())
                envelopes = message if isinstance(message, list) else [message]
                answers += [envelope["data"] for envelope in envelopes if envelope.get("re") == number]
    return answers


def test_what_no_socket_is_left_for_is_answered_and_is_not_under_way(tmp_path: Path) -> None:
    broker = BrokerProcess(tmp_path)
    broker.start()

    async def go() -> None:
        context: zmq.Context[zmq.Socket[bytes]] = zmq.Context()
        context.set(zmq.MAX_SOCKETS, SOCKETS)
        listener = Listener(socket.create_server(("127.0.0.1", 0)))
        url = f"ws://127.0.0.1:{listener.getsockname()[1]}"
        endpoint = broker.folders.endpoint
        gateway = Gateway(
            broker.settings,
            source=source("gateway-0", 1),
            authenticate=RuntimeToken("t").authenticate,
            endpoints=Endpoints(
                command=endpoint("command"),
                control=endpoint("control"),
                feed=endpoint("feed"),
                ingest=endpoint("ingest"),
            ),
            context=context,
        )
        await gateway.start(listener)
        taken: list[zmq.Socket[bytes]] = []
        try:
            await asyncio.wait_for(gateway.ready.wait(), 10)
            known = gateway.core.replica.operations
            await asyncio.to_thread(submit, peer, "op-0")
            await asyncio.to_thread(eventually, lambda: "op-0" in known, what="it knows the operation")
            # As if an engine had it; none is asked.
            location = f"ipc://{tmp_path}/r/no-engine.sock"
            known["op-0"] = msgspec.structs.replace(
                known["op-0"], location=location, grid=TileGrid(width_px=8, height_px=8, tile_px=8, columns=1, rows=1)
            )
            with contextlib.suppress(zmq.ZMQError):
                while True:
                    taken.append(context.socket(zmq.DEALER))
            answers = await _asked(url, TRIES)
            assert {answer["code"] for answer in answers} == {"unavailable"}
            gateway.core.sanity_check()
        finally:
            for one in taken:
                one.close(0)
            await gateway.stop()
            context.term()

    try:
        peer, engine = broker.peer(), broker.peer()
        engine.ask_again(hello(slots=1))
        asyncio.run(go())
    finally:
        broker.close()
