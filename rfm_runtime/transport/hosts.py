"""Lets other hosts in: sockets that listen on tcp as well, with CURVE, for the keys of a list that may change.

A host that is not on the list gets the answer for what may pass (RFC 27 of ZeroMQ: 300), so that it tries again and is
in within seconds of being allowed. One that is taken off the list is cut off: the addresses are given up and taken
again, which costs the others what any loss of their connection costs, some milliseconds.

Owned by the loop's thread; one in a context, since ZeroMQ asks whoever is at `ZAP`.
"""

from __future__ import annotations

import asyncio
import struct
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, Protocol

import zmq

from rfm_runtime.core.peers import Doorkeeper
from rfm_runtime.protocol.keys import KEY_BYTES, KeyPair
from rfm_runtime.transport import sockets
from rfm_runtime.transport.drain import Drain

__all__ = ["Allowed", "Entrance", "Hosts"]

ZAP = "inproc://zeromq.zap.01"
VERSION = b"1.0"

LOOK_S = 1.0
"""How often it is looked whether the list is another one."""

AGAIN_S = 0.02
"""An address that was just given up is free once ZeroMQ's own thread has closed it."""

COUNTED = {
    zmq.Event.ACCEPTED: "accepted",
    zmq.Event.HANDSHAKE_SUCCEEDED: "welcomed",
    zmq.Event.HANDSHAKE_FAILED_NO_DETAIL: "failed",
    zmq.Event.HANDSHAKE_FAILED_PROTOCOL: "failed",
    zmq.Event.DISCONNECTED: "ended",
}
"""What becomes of connections. Of garbage ZeroMQ says more or less: it was accepted, is ended, and was never welcomed.
Whom the list does not have is "refused", counted where the list is asked."""

Say = Callable[[str, Mapping[str, Any]], None]


class Allowed(Protocol):
    """The list. problem: why it cannot be read now, as it was before then."""

    allowed: dict[str, str]
    problem: str | None

    def refresh(self) -> bool:
        """Read it again; whether it is another one."""
        ...


class Entrance(NamedTuple):
    """With which keys other hosts are let in: this host's own, and those of the list."""

    own: KeyPair
    allowed: Allowed


class Hosts:
    """on_count: told what became of a connection; on_say: what a log should have."""

    def __init__(
        self,
        loop: asyncio.AbstractEventLoop,
        context: zmq.Context[zmq.Socket[bytes]],
        entrance: Entrance,
        *,
        on_count: Callable[[str], None],
        on_say: Say,
    ) -> None:
        self._loop = loop
        self._own, self._allowed = entrance
        self._on_count = on_count
        self._on_say = on_say
        self._keeper = Doorkeeper(self._own.public, self._allowed.allowed)
        self._problem: str | None = None
        self._open: dict[str, tuple[zmq.Socket[bytes], Callable[[], None]]] = {}
        self._monitors: list[tuple[zmq.Socket[bytes], Drain]] = []
        self._bindings: dict[str, asyncio.TimerHandle] = {}
        zap: zmq.Socket[bytes] = context.socket(zmq.ROUTER)
        zap.setsockopt(zmq.LINGER, 0)
        zap.bind(ZAP)
        self._zap = Drain(loop, zap, self._asked)
        self._look = loop.call_later(LOOK_S, self._looked)

    def open(self, socket: zmq.Socket[bytes], endpoint: str, kick: Callable[[], None]) -> None:
        """Let other hosts in at `endpoint`. kick: makes the socket's drain look again.

        Raises PortTakenError, StartError.
        """
        sockets.guard(socket, self._own)
        sockets.listen(socket, endpoint)
        self._open[endpoint] = socket, kick
        monitor = socket.get_monitor_socket(sum(COUNTED))
        self._monitors.append((socket, Drain(self._loop, monitor, self._happened)))

    def close(self) -> None:
        """Before the sockets are closed. Idempotent."""
        self._look.cancel()
        for again in self._bindings.values():
            again.cancel()
        self._bindings.clear()
        for socket, drain in self._monitors:
            socket.disable_monitor()
            drain.close()
        self._monitors.clear()
        self._open.clear()
        self._zap.close()

    def _asked(self, frames: list[bytes]) -> None:
        """A handshake, by ZeroMQ's own thread: [routing, "", version, request, domain, address, id, mechanism, key]."""
        if len(frames) < 8 or frames[2] != VERSION:
            return
        key = frames[8] if len(frames) == 9 and frames[7] == b"CURVE" and len(frames[8]) == KEY_BYTES else b""
        name = self._keeper.knock(key)
        if name is None:
            self._on_count("refused")
            if self._keeper.worth_saying(key, self._loop.time()):
                address = frames[5].decode("ascii", "replace")
                self._on_say("host_refused", {"address": address, "key": key.hex(), "hint": "rfm-runtime keys allow"})
        code, text = (b"200", b"OK") if name is not None else (b"300", b"this key is not allowed here")
        self._zap.send([*frames[:4], code, text, (name or "").encode(), b""])

    def _happened(self, frames: list[bytes]) -> None:
        event, _ = struct.unpack("=hi", frames[0])
        if what := COUNTED.get(event):
            self._on_count(what)

    def _looked(self) -> None:
        self._look = self._loop.call_later(LOOK_S, self._looked)
        changed = self._allowed.refresh()
        if self._allowed.problem != self._problem:
            self._problem = self._allowed.problem
            if self._problem is not None:
                self._on_say("allow_list_damaged", {"error": self._problem, "kept": "the list before"})
        if not changed:
            return
        gone = self._keeper.relist(self._allowed.allowed)
        self._on_say("allow_list_changed", {"hosts": sorted(self._allowed.allowed), "cut_off": gone})
        if gone:
            for endpoint, (socket, _) in self._open.items():
                if endpoint not in self._bindings:
                    # ZeroMQ cannot end one connection of a socket, but those of an address.
                    socket.unbind(endpoint)
                    self._bind(endpoint)

    def _bind(self, endpoint: str) -> None:
        self._bindings.pop(endpoint, None)
        socket, kick = self._open[endpoint]
        try:
            socket.bind(endpoint)
        except zmq.ZMQError:
            self._bindings[endpoint] = self._loop.call_later(AGAIN_S, self._bind, endpoint)
        kick()
