"""Ports of this machine that nobody has."""

from __future__ import annotations

import contextlib
import random
import socket

__all__ = ["free_ports"]

FIRST, LAST = 20_000, 32_000
"""Below those that the system gives to whoever asks for any: nobody is given one of ours meanwhile."""


def free_ports(count: int) -> int:
    """The first of `count` ports in a row on which nobody listens. Raises OSError if there seem to be none."""
    # Another test that looks at the same time looks elsewhere.
    chance = random.SystemRandom()
    for _ in range(100):
        first = chance.randrange(FIRST, LAST - count)
        with contextlib.ExitStack() as held:
            try:
                for port in range(first, first + count):
                    held.enter_context(socket.create_server(("127.0.0.1", port)))
            except OSError:
                continue
        return first
    raise OSError(f"no {count} free ports in a row")
