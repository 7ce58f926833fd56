"""The gateway's WebSocket layer answers, byte for byte, as the bare library does: what `make autobahn` asks in full."""

from __future__ import annotations

import asyncio
import importlib.util
from pathlib import Path
from types import ModuleType

import pytest

from tests.hostile import BINARY, CLOSE, CONT, PING, PONG, TEXT, Peer, frame

pytestmark = [pytest.mark.integration, pytest.mark.scenario("G13")]

RUN = Path(__file__).parent.parent.parent / "loadtests" / "autobahn" / "run.py"
END = frame(CLOSE, b"\x03\xe8")

SAID = {
    "text": frame(TEXT, "grüße".encode()) + END,
    "bytes": frame(BINARY, bytes(range(256))) + END,
    "lengths": b"".join(frame(BINARY, b"x" * length) for length in (0, 1, 125, 126, 127, 65535, 65536)) + END,
    "parts": frame(TEXT, b"a", fin=False) + frame(CONT, b"b", fin=False) + frame(CONT, b"c") + END,
    "a ping between parts": frame(TEXT, b"a", fin=False) + frame(PING, b"p") + frame(CONT, b"b") + END,
    "pings": b"".join(frame(PING, bytes([n])) for n in range(50)) + END,
    "a pong that nobody asked for": frame(PONG, b"x") + frame(TEXT, b"y") + END,
    "a long ping": frame(PING, b"x" * 126),
    "a reserved bit": frame(TEXT, b"x", rsv=2),
    "a reserved opcode": frame(5, b"x"),
    "the rest of nothing": frame(CONT, b"x"),
    "two beginnings": frame(TEXT, b"x", fin=False) + frame(TEXT, b"y"),
    "invalid UTF-8": frame(TEXT, b"\xce\xba\xe1\xbd\xb9\xcf\x83\xce\xbc\xce\xb5\xed\xa0\x80"),
    "invalid UTF-8 in parts": frame(TEXT, b"\xf4", fin=False) + frame(CONT, b"\x90\x80\x80"),
    "UTF-8 cut between parts": frame(TEXT, b"\xf0\x9f", fin=False) + frame(CONT, b"\x98\x80") + END,
    "not masked": frame(TEXT, b"x", masked=False),
    "a close without a code": frame(CLOSE),
    "a close with a reason": frame(CLOSE, b"\x03\xe8" + b"fertig"),
    "a close with an invalid reason": frame(CLOSE, b"\x03\xe8\xff"),
    "a close with a code of nobody": frame(CLOSE, b"\x03\xe7"),
    "a close with a code of ours": frame(CLOSE, b"\x0f\xa1"),
    "more after the close": END + frame(TEXT, b"x"),
    "too many parts": frame(TEXT, b"x", fin=False) + frame(CONT, b"x", fin=False) * 5000,
}


@pytest.fixture(scope="module")
def suite() -> ModuleType:
    spec = importlib.util.spec_from_file_location("autobahn_run", RUN)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


ANSWERS = {"text": 1, "bytes": 1, "lengths": 7, "parts": 1, "a ping between parts": 2, "pings": 50}
ANSWERS |= {"a pong that nobody asked for": 1, "UTF-8 cut between parts": 1}
"""Frames that come before the end is said: a close overtakes what a handler has not answered yet."""


def heard(port: int, name: str) -> list[tuple[int, bytes] | None]:
    said, count = SAID[name], ANSWERS.get(name, 0)
    with Peer(f"ws://127.0.0.1:{port}") as peer:
        peer.open()
        if not count:
            peer.send(said)
            return [*peer.frames()]
        peer.send(said.removesuffix(END))
        answers = [peer.next() for _ in range(count)]
        peer.send(END)
        return [*answers, *peer.frames()]


def test_both_answer_the_same(suite: ModuleType) -> None:
    async def differences() -> dict[str, tuple[object, object]]:
        servers = [await suite.bare(), await suite.ours()]
        found = {}
        try:
            for name in SAID:
                ports = [server.sockets[0].getsockname()[1] for server in servers]
                plain, ours = [await asyncio.to_thread(heard, port, name) for port in ports]
                assert plain, name
                assert plain[-1] is not None, name
                assert plain[-1][0] == CLOSE, name
                if plain != ours:
                    found[name] = (plain, ours)
        finally:
            for server in servers:
                server.close()
                await server.wait_closed()
        return found

    assert asyncio.run(differences()) == {}


def test_a_case_that_ours_fails_alone_is_counted(suite: ModuleType) -> None:
    ok = {"behavior": "OK", "behaviorClose": "OK"}
    late = {"behavior": "OK", "behaviorClose": "WRONG CODE"}
    failed = {"behavior": "FAILED", "behaviorClose": "OK"}
    found = {"bare": {"1.1": ok, "1.2": failed, "7.1": ok}, "ours": {"1.1": failed, "1.2": failed, "7.1": late}}
    assert suite.worse(found) == ["1.1: FAILED, the bare library: OK", "7.1: WRONG CODE, the bare library: OK"]
