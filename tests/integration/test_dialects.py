"""Clients and gateways of other releases: real processes that say more, less, or something else than this one."""

from __future__ import annotations

import asyncio
import contextlib
import json
import subprocess
import sys
import textwrap
from collections.abc import AsyncIterator, Iterator
from typing import Any

import msgspec
import pytest
from websockets.asyncio.client import connect
from websockets.asyncio.server import ServerConnection, serve
from websockets.exceptions import ConnectionClosed
from websockets.typing import Subprotocol

from rfm_runtime import AsyncClient, Client
from rfm_runtime.errors import RfmError
from rfm_runtime.testing.runtime import Runtime

pytestmark = [pytest.mark.integration, pytest.mark.scenario("D13")]

VIEW = {"re": "-0.5", "im": "0", "width": "3", "width_px": 64, "height_px": 64, "max_iter": 50}

SPEAK = """
import json, sys
from websockets.sync.client import connect
from websockets.exceptions import ConnectionClosed

def main(url, subprotocols, words):
    said = []
    with connect(url, subprotocols=subprotocols or None, compression=None, proxy=None) as connection:
        try:
            for word in words:
                connection.send(json.dumps(word))
                while word.get("id"):
                    got = json.loads(connection.recv(timeout=10))
                    got = got if isinstance(got, list) else [got]
                    said += got
                    if any(one.get("re") == word["id"] or one["type"] in ("welcome", "goodbye") for one in got):
                        break
            while not words:
                said.append(json.loads(connection.recv(timeout=10)))
        except ConnectionClosed as closed:
            said.append({"type": "closed", "code": closed.rcvd.code, "reason": closed.rcvd.reason})
    print(json.dumps(said))

main(**json.load(sys.stdin))
"""


def speak(running: Runtime, *words: dict[str, Any], subprotocols: list[str] | None = None) -> list[dict[str, Any]]:
    """What a client, in a process without this package, hears when it says these words one after the other."""
    done = subprocess.run(
        [sys.executable, "-P", "-c", textwrap.dedent(SPEAK)],
        input=json.dumps({"url": running.url, "subprotocols": subprotocols or [], "words": words}),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)  # type: ignore[no-any-return]


def answer(heard: list[dict[str, Any]], number: int) -> dict[str, Any]:
    (found,) = [one for one in heard if one.get("re") == number]
    return found


def test_a_newer_client_is_understood_as_far_as_it_can_be(running: Runtime) -> None:
    heard = speak(
        running,
        {
            "type": "hello",
            "id": 1,
            "trace": "new envelope field",
            "data": {
                "token": running.info.token,
                "client": {"name": "next", "version": "99", "locale": "de"},
                "caps": ["holograms", "compression/zstd"],
                "versions": ["rfm.v1", "rfm.v2"],
            },
        },
        {"type": "teleport", "id": 2, "data": {"to": "there"}},
        {"type": "list_operations", "id": 3, "data": {"limit": 5, "order": "by mood"}},
        {
            "type": "submit",
            "id": 4,
            "data": {
                "operation_id": "OFANEWERCLIENT",
                "kind": "test.none",
                "params": {},
                "request_key": "newer",
                "deadline": {"soft_ms": 5},
            },
        },
        subprotocols=["rfm.v2.json", "rfm.v1.json"],
    )
    welcome = next(one for one in heard if one["type"] == "welcome")
    assert "holograms" not in welcome["data"].get("caps", [])
    refused = answer(heard, 2)
    assert (refused["type"], refused["data"]["code"]) == ("error", "bad_request")
    assert "teleport" in refused["data"]["message"]
    assert answer(heard, 3)["type"] == "list_reply"
    # Understood, and refused for what it asks alone.
    assert answer(heard, 4)["data"]["code"] in ("unsupported", "bad_request")
    assert "test.none" in answer(heard, 4)["data"]["message"]


def test_an_older_client_says_only_what_has_to_be_said(running: Runtime) -> None:
    heard = speak(
        running,
        {"type": "hello", "id": 1, "data": {"token": running.info.token}},
        {"type": "subscribe", "id": 2},
        {"type": "list_operations", "id": 3},
        {"type": "ping", "id": 4},
    )
    assert [one["type"] for one in heard if one["type"] in ("welcome", "subscribed", "list_reply", "pong")] == [
        "welcome",
        "subscribed",
        "list_reply",
        "pong",
    ]


def test_a_client_of_another_version_alone_is_told_which_to_speak(running: Runtime) -> None:
    *said, closed = speak(running, subprotocols=["rfm.v2.json", "rfm.v3.msgpack"])
    assert [one["type"] for one in said] == ["goodbye"]
    assert (said[0]["data"]["code"], said[0]["data"].get("reconnect", False)) == (4505, False)
    assert closed["code"] == 4505
    assert "rfm.v1.json" in closed["reason"]


class NewerGateway:
    """Between a client and a real gateway: adds what a newer release might say."""

    def __init__(self, url: str) -> None:
        self._url = url
        self.inserted = 0

    async def relay(self, client: ServerConnection) -> None:
        headers = {"Authorization": (client.request.headers if client.request else {}).get("Authorization", "")}
        async with connect(
            self._url,
            subprotocols=[Subprotocol("rfm.v1.msgpack")],
            additional_headers=headers,
            max_size=None,
            compression=None,
            proxy=None,
        ) as gateway:
            up = asyncio.create_task(self._up(client, gateway))
            try:
                async for message in gateway:
                    await client.send(self._newer(message), text=False)
            except ConnectionClosed:
                return
            finally:
                up.cancel()

    async def _up(self, client: ServerConnection, gateway: Any) -> None:
        with contextlib.suppress(ConnectionClosed):
            async for message in client:
                await gateway.send(message, text=False)

    def _newer(self, message: Any) -> bytes:
        decoded = msgspec.msgpack.decode(message)
        batch = []
        for envelope in decoded if isinstance(decoded, list) else [decoded]:
            data = envelope.get("data", {}) | {"glow": {"colour": "red"}}
            batch.append(envelope | {"trace": "x", "data": data})
            self.inserted += 1
            if envelope["type"] != "welcome":
                batch.append({"type": "hologram", "ts": 1, "data": {"pixels": b"\x00"}})
            if envelope.get("seq"):
                late = {"operation_id": data["operation_id"], "seq": envelope["seq"], "mood": "fine"}
                batch.append({"type": "operation_annotated", "ts": 1, "seq": envelope["seq"], "data": late})
        return msgspec.msgpack.encode(batch)


@contextlib.asynccontextmanager
async def newer(running: Runtime) -> AsyncIterator[tuple[str, NewerGateway]]:
    relay = NewerGateway(running.url)
    async with serve(
        relay.relay, "127.0.0.1", 0, subprotocols=[Subprotocol("rfm.v1.msgpack")], compression=None, max_size=None
    ) as server:
        port = next(iter(server.sockets)).getsockname()[1]
        yield f"ws://127.0.0.1:{port}", relay


def test_a_client_of_this_release_lives_with_a_newer_gateway(running: Runtime) -> None:
    async def scenario() -> None:
        async with newer(running) as (url, relay), AsyncClient(url=url, token=running.info.token) as client:
            render = await client.submit("render.escape_time", VIEW)
            operation = await render.outcome(timeout_s=60)
            assert operation.state == "completed"
            image = await client.fetch_artifact(render.id, "image.png")
            assert image.startswith(b"\x89PNG")
            assert relay.inserted > 5

    asyncio.run(scenario())


@pytest.fixture
def incompatible() -> Iterator[str]:
    """A server of a later version alone: it selects nothing that this release offers, and says so."""
    code = """
    import asyncio
    from websockets.asyncio.server import serve
    async def handle(connection):
        await connection.close(4505, "no common protocol version: this server speaks rfm.v9")
    async def main():
        async with serve(handle, "127.0.0.1", 0, subprotocols=["rfm.v9.json"], select_subprotocol=lambda *_: None) as s:
            print(s.sockets[0].getsockname()[1], flush=True)
            await asyncio.Future()
    asyncio.run(main())
    """
    with subprocess.Popen(
        [sys.executable, "-P", "-c", textwrap.dedent(code)], stdout=subprocess.PIPE, text=True
    ) as server:
        assert server.stdout is not None
        yield f"ws://127.0.0.1:{server.stdout.readline().strip()}"
        server.kill()


def test_a_client_says_which_version_a_server_wants_and_does_not_try_again(incompatible: str) -> None:
    with pytest.raises(RfmError) as refused, Client(url=incompatible, token="x" * 40):
        pass
    assert "rfm.v9" in refused.value.message
    assert refused.value.hint
