"""What counts as one address where limits are by address. Pure.

Whoever has one IPv6 address has its whole /64, and can come from another of 2⁶⁴ each time.
"""

from __future__ import annotations

import ipaddress
from functools import lru_cache

__all__ = ["network_of"]

PREFIX = 64
"""Bits of an IPv6 address that say whose it is: what a provider gives one line at least, and one link has."""


@lru_cache(maxsize=1024)
def network_of(address: str) -> str:
    """An IPv4 address itself, however it is written; of an IPv6 address its /64; what is neither as it is."""
    try:
        found = ipaddress.ip_address(address)
    except ValueError:
        return address
    if isinstance(found, ipaddress.IPv4Address):
        return str(found)
    if found.ipv4_mapped is not None:
        # So a socket for both names who comes by IPv4.
        return str(found.ipv4_mapped)
    return str(ipaddress.IPv6Network((int(found), PREFIX), strict=False))
