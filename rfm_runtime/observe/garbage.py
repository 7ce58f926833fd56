"""What comes on a socket and is not the protocol: counted each time, logged now and then. In one thread."""

from __future__ import annotations

import time
from collections.abc import Callable

import structlog

from rfm_runtime.errors import RfmError

__all__ = ["Garbage"]

SAY_AGAIN_S = 1.0
"""Whoever sends it sends a lot of it: the log has a line a second of each socket, and how many there were."""


class Garbage:
    """log: where it is said. on_each: told the socket."""

    def __init__(self, log: structlog.stdlib.BoundLogger, on_each: Callable[[str], object]) -> None:
        self._log = log
        self._on_each = on_each
        self._said_s: dict[str, float] = {}
        self._unsaid: dict[str, int] = {}

    def found(self, socket: str, error: RfmError) -> None:
        """One more, and why it is none of ours."""
        self._on_each(socket)
        unsaid = self._unsaid.get(socket, 0) + 1
        now_s = time.monotonic()
        if now_s - self._said_s.get(socket, -SAY_AGAIN_S) < SAY_AGAIN_S:
            self._unsaid[socket] = unsaid
            return
        self._said_s[socket] = now_s
        self._unsaid[socket] = 0
        self._log.warning("garbage", socket=socket, error=error.message, messages=unsaid)
