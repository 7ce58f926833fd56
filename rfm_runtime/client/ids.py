"""Identifiers that sort by time: ULIDs. Source: https://github.com/ulid/spec."""

from __future__ import annotations

import secrets
import time

__all__ = ["ulid"]

ALPHABET = "0123456789ABCDEFGHJKMNPQRSTVWXYZ"


def ulid() -> str:
    """48 bits of milliseconds and 80 random bits in 26 characters of Crockford's base 32."""
    value = (time.time_ns() // 1_000_000) << 80 | secrets.randbits(80)
    return "".join(ALPHABET[value >> shift & 31] for shift in range(125, -5, -5))
