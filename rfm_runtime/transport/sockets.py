"""The runtime's ZeroMQ sockets. Each option stands beside its reason; nothing is left to defaults.

Made and used in one thread each: in the broker, gateway and engine the loop's, in a worker the main one.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import zmq

from rfm_runtime.config.endpoints import is_loopback
from rfm_runtime.errors import InsecureBindError, PortTakenError, StartError
from rfm_runtime.protocol.keys import KeyPair, Towards
from rfm_runtime.protocol.limits import INTERNAL_LIMIT_BYTES, PROGRESS_LIMIT_BYTES

__all__ = [
    "CONNECT_AGAIN_S",
    "CONTROL_HWM",
    "DATA_HWM",
    "FEED_HWM",
    "INGEST_HWM",
    "command_dealer",
    "command_router",
    "connect_again",
    "control_publisher",
    "control_subscriber",
    "data_dealer",
    "data_router",
    "feed_publisher",
    "feed_subscriber",
    "guard",
    "ingest_pull",
    "ingest_push",
    "listen",
]

Context = zmq.Context[zmq.Socket[bytes]]
Socket = zmq.Socket[bytes]

COMMAND_HWM = 10_000
"""Requests waiting in one direction of one peer: far above what limits let through, and finite."""

CONTROL_HWM = 100
"""The whole set is repeated ten times a second: an old frame is worth nothing."""

FEED_HWM = 2_000
"""100 s of ticks. A gateway that is further behind is better served by a snapshot, and asks for one."""

INGEST_HWM = 2_000
"""Progress is cumulative: what does not fit may be lost."""

DATA_HWM = 64
"""Chunks of 256 KiB: 16 MiB a peer. The credit window of the reader keeps it far below."""

HEARTBEAT_MS = 1_000
"""ZMTP heartbeats on tcp, where a vanished peer would otherwise hold its queue for hours."""

SILENT_MS = 5_000
"""Without a heartbeat a connection is given up: long for a network that stutters, short for a watcher that waits. What
is lost with it is asked for again, and no operation is given up for it (`lease_s` is for that)."""

HANDSHAKE_MS = 3_000
"""Three round trips and some arithmetic, at most a second on any network that can be worked with. Whoever connects and
says nothing has a descriptor no longer; whoever was refused tries again so soon."""

CONNECT_MS = 2_000
"""Of one try. The system's own would be two minutes, its second and third packet later and later: with the network back
nobody would know for as long as it was away."""

AWAY_AGAIN_MS, AWAY_AGAIN_MAX_MS = 50, 1_000
"""Between tries to connect to another host: a second behind its return is soon enough, and costs it nothing."""

CONNECT_AGAIN_S = 15.0
"""Silence after which a connection to another host is made anew, in case ZeroMQ tries no more: it gives up for good on
whatever answers there and is no ZeroMQ, such as another program that had the port for a moment (measured, 4.3.5)."""

ZAP_DOMAIN = b"rfm"


def _make(
    context: Context,
    kind: int,
    *,
    hwm: int,
    linger_ms: int,
    message_limit_bytes: int,
) -> Socket:
    socket: Socket = context.socket(kind)
    socket.setsockopt(zmq.SNDHWM, hwm)
    socket.setsockopt(zmq.RCVHWM, hwm)
    socket.setsockopt(zmq.LINGER, linger_ms)
    socket.setsockopt(zmq.MAXMSGSIZE, message_limit_bytes)
    return socket


def _attach(socket: Socket, attach: Callable[[str], object], endpoint: str, towards: Towards | None = None) -> Socket:
    # A peer that restarts is back within milliseconds; the default of 100 ms would be the slowest
    # part of a broker's recovery.
    socket.setsockopt(zmq.RECONNECT_IVL, 10)
    socket.setsockopt(zmq.RECONNECT_IVL_MAX, 200)
    try:
        if endpoint.startswith("tcp://"):
            if towards is None and not is_loopback(endpoint):
                raise InsecureBindError(
                    f"{endpoint} is on another host, and this host has no key to speak to it with",
                    hint="make one with `rfm-runtime keys init`, and allow it there: `rfm-runtime keys allow`",
                )
            _over_the_network(socket)
            socket.setsockopt(zmq.RECONNECT_IVL, AWAY_AGAIN_MS)
            socket.setsockopt(zmq.RECONNECT_IVL_MAX, AWAY_AGAIN_MAX_MS)
        if towards is not None:
            socket.setsockopt(zmq.CURVE_SECRETKEY, towards.own.secret)
            socket.setsockopt(zmq.CURVE_PUBLICKEY, towards.own.public)
            socket.setsockopt(zmq.CURVE_SERVERKEY, towards.peer)
        attach(endpoint)
    except (zmq.ZMQError, InsecureBindError):
        socket.close(0)
        raise
    return socket


def _over_the_network(socket: Socket) -> None:
    socket.setsockopt(zmq.IPV6, 1)
    socket.setsockopt(zmq.HEARTBEAT_IVL, HEARTBEAT_MS)
    socket.setsockopt(zmq.HEARTBEAT_TIMEOUT, SILENT_MS)
    # Told to the other end, which then gives us up as soon.
    socket.setsockopt(zmq.HEARTBEAT_TTL, SILENT_MS)
    socket.setsockopt(zmq.HANDSHAKE_IVL, HANDSHAKE_MS)
    socket.setsockopt(zmq.CONNECT_TIMEOUT, CONNECT_MS)
    # Behind a firewall that forgets connections on which nothing is said; heartbeats are lost with the process.
    socket.setsockopt(zmq.TCP_KEEPALIVE, 1)


def guard(socket: Socket, own: KeyPair) -> None:
    """Whoever comes to what this socket listens on from now on needs a key that is allowed: see `transport.hosts`.

    What it listens on already is left as it is: ZeroMQ takes the options of that moment.
    """
    _over_the_network(socket)
    socket.setsockopt(zmq.CURVE_SERVER, 1)
    socket.setsockopt(zmq.CURVE_SECRETKEY, own.secret)
    socket.setsockopt(zmq.ZAP_DOMAIN, ZAP_DOMAIN)
    # Without anybody who knows the list nobody is let in; the default would be everybody.
    socket.setsockopt(zmq.ZAP_ENFORCE_DOMAIN, 1)


def listen(socket: Socket, endpoint: str) -> None:
    """Bind a guarded socket to a tcp endpoint as well. Raises PortTakenError, StartError."""
    try:
        socket.bind(endpoint)
    except zmq.ZMQError as error:
        if error.errno == zmq.EADDRINUSE:
            raise PortTakenError(f"{endpoint} is taken", hint="choose another port for it") from None
        raise StartError(
            f"cannot listen on {endpoint}: {error}",
            hint="name an address of this host by its number, as `ip addr` does",
        ) from None


def connect_again(socket: Socket, endpoint: str) -> None:
    """Give up the connection to that endpoint, with all that waits for it, and make it anew."""
    # It may be none any more.
    with contextlib.suppress(zmq.ZMQError):
        socket.disconnect(endpoint)
    socket.connect(endpoint)


def command_router(context: Context, endpoint: str) -> Socket:
    """The broker's side of `command`."""
    # Replies written just before the end (an acknowledged outcome) should still leave: linger 500 ms.
    socket = _make(context, zmq.ROUTER, hwm=COMMAND_HWM, linger_ms=500, message_limit_bytes=INTERNAL_LIMIT_BYTES)
    # A reply to a peer that is gone is an error to count, not a silent drop.
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    return _attach(socket, socket.bind, endpoint)


def command_dealer(context: Context, endpoint: str, towards: Towards | None = None) -> Socket:
    """A gateway's, engine's or reporter's side of `command`."""
    # Requests that were not answered are repeated by a later incarnation: nothing to linger for.
    socket = _make(context, zmq.DEALER, hwm=COMMAND_HWM, linger_ms=0, message_limit_bytes=INTERNAL_LIMIT_BYTES)
    return _attach(socket, socket.connect, endpoint, towards)


def control_publisher(context: Context, endpoint: str) -> Socket:
    """The broker's side of `control`: XPUB, so that it hears each new subscriber and hands it the set."""
    socket = _make(context, zmq.XPUB, hwm=CONTROL_HWM, linger_ms=0, message_limit_bytes=INTERNAL_LIMIT_BYTES)
    # Without this only the first subscription to a topic is passed on.
    socket.setsockopt(zmq.XPUB_VERBOSE, 1)
    return _attach(socket, socket.bind, endpoint)


def control_subscriber(context: Context, endpoint: str, towards: Towards | None = None) -> Socket:
    """An owner's (and each worker's) side of `control`."""
    socket = _make(context, zmq.SUB, hwm=CONTROL_HWM, linger_ms=0, message_limit_bytes=INTERNAL_LIMIT_BYTES)
    socket.setsockopt(zmq.SUBSCRIBE, b"")
    return _attach(socket, socket.connect, endpoint, towards)


def feed_publisher(context: Context, endpoint: str) -> Socket:
    """The broker's side of `feed`: drops for a slow subscriber, which notices by the numbers."""
    socket = _make(context, zmq.PUB, hwm=FEED_HWM, linger_ms=0, message_limit_bytes=INTERNAL_LIMIT_BYTES)
    return _attach(socket, socket.bind, endpoint)


def feed_subscriber(context: Context, endpoint: str, towards: Towards | None = None) -> Socket:
    """A gateway's side of `feed`."""
    socket = _make(context, zmq.SUB, hwm=FEED_HWM, linger_ms=0, message_limit_bytes=INTERNAL_LIMIT_BYTES)
    socket.setsockopt(zmq.SUBSCRIBE, b"")
    return _attach(socket, socket.connect, endpoint, towards)


def ingest_pull(context: Context, endpoint: str) -> Socket:
    """The broker's side of `ingest`."""
    socket = _make(context, zmq.PULL, hwm=50 * INGEST_HWM, linger_ms=0, message_limit_bytes=PROGRESS_LIMIT_BYTES)
    return _attach(socket, socket.bind, endpoint)


def ingest_push(context: Context, endpoint: str, towards: Towards | None = None) -> Socket:
    """A reporter's side of `ingest`; send with NOBLOCK and drop on EAGAIN."""
    socket = _make(context, zmq.PUSH, hwm=INGEST_HWM, linger_ms=0, message_limit_bytes=PROGRESS_LIMIT_BYTES)
    # Queue only towards a broker that is there: after its restart old progress is worth nothing.
    socket.setsockopt(zmq.IMMEDIATE, 1)
    return _attach(socket, socket.connect, endpoint, towards)


def data_router(context: Context, endpoint: str) -> Socket:
    """An engine's side of `data`."""
    socket = _make(context, zmq.ROUTER, hwm=DATA_HWM, linger_ms=0, message_limit_bytes=INTERNAL_LIMIT_BYTES)
    socket.setsockopt(zmq.ROUTER_MANDATORY, 1)
    return _attach(socket, socket.bind, endpoint)


def data_dealer(context: Context, endpoint: str, towards: Towards | None = None) -> Socket:
    """A gateway's side of `data`."""
    socket = _make(context, zmq.DEALER, hwm=DATA_HWM, linger_ms=0, message_limit_bytes=INTERNAL_LIMIT_BYTES)
    return _attach(socket, socket.connect, endpoint, towards)
