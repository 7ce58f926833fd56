"""What is loopback: only this machine's own programs reach it. Pure."""

from __future__ import annotations

import ipaddress

__all__ = ["is_loopback", "is_wildcard"]


def is_loopback(host: str) -> bool:
    """127.0.0.0/8, ::1 and `localhost`. Another name may mean anything, and is not."""
    if host == "localhost":
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def is_wildcard(host: str) -> bool:
    """0.0.0.0 and ::, all addresses of this machine."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
