"""Error codes and WebSocket close codes. The range of a close code says what a client does next."""

from __future__ import annotations

from enum import IntEnum
from typing import Literal

__all__ = ["CLOSE_REASONS", "CloseCode", "ErrorCode", "reconnects"]

ErrorCode = Literal[
    "bad_request",
    "unsupported",
    "unauthorized",
    "forbidden",
    "unknown_operation",
    "conflict",
    "too_large",
    "rate_limited",
    "quota_exceeded",
    "token_expired",
    "draining",
    "unavailable",
    "internal",
]


class CloseCode(IntEnum):
    """4000–4499: reconnect. 4500–4999: stop and tell the user."""

    DRAINING = 4001
    NO_PONG = 4002
    TOKEN_EXPIRED = 4003
    SLOW_CONSUMER = 4008
    RESYNC = 4010
    RATE_LIMITED = 4013
    INTERNAL = 4014
    PROTOCOL = 4500
    INVALID_TOKEN = 4501
    AUTH_TIMEOUT = 4502
    REVOKED = 4503
    CONNECTION_LIMIT = 4504
    VERSION = 4505


CLOSE_REASONS: dict[int, str] = {
    CloseCode.DRAINING: "the server is shutting down",
    CloseCode.NO_PONG: "no answer to a ping",
    CloseCode.TOKEN_EXPIRED: "the token expired; fetch a new one, then reconnect",
    CloseCode.SLOW_CONSUMER: "a write stalled; reconnect and resume",
    CloseCode.RESYNC: "this gateway cannot go on from the position; reconnect",
    CloseCode.RATE_LIMITED: "too many messages",
    CloseCode.INTERNAL: "a fault of the server",
    CloseCode.PROTOCOL: "a message that is not rfm.v1",
    CloseCode.INVALID_TOKEN: "the token is not valid here",
    CloseCode.AUTH_TIMEOUT: "no hello in time",
    CloseCode.REVOKED: "the token or certificate was revoked",
    CloseCode.CONNECTION_LIMIT: "too many connections of this user or address",
    CloseCode.VERSION: "no common protocol version: this server speaks rfm.v1 (rfm.v1.json, rfm.v1.msgpack)",
}


def reconnects(code: int) -> bool:
    """Whether a client that is closed with this code tries again.

    Our own range decides for itself; of the standard codes, those that say *the request was
    wrong* (1002, 1003, 1007, 1008, 1009, 1010) stop, everything else is a broken connection.
    """
    if 4500 <= code <= 4999:
        return False
    return code not in {1002, 1003, 1007, 1008, 1009, 1010}
