"""Names under which a server is reached, as a browser writes them: hosts and origins in one normal form. Pure."""

from __future__ import annotations

import re

__all__ = ["LOCAL_HOSTS", "host_of", "is_address", "is_shared", "origin_of"]

LOCAL_HOSTS = frozenset({"127.0.0.1", "localhost", "::1"})
"""What a server on loopback is called."""

_PORTS = {"http": 80, "https": 443}
_HOST = r"(\[[0-9A-Fa-f:.]{2,45}\]|[0-9A-Za-z._-]{1,253})(?::([0-9]{1,5}))?"
_ORIGIN = re.compile(rf"(https?)://{_HOST}", re.IGNORECASE)
_ADDRESS = re.compile(r"[0-9a-f:.]*:[0-9a-f:.]*|(?:[0-9]{1,3}\.){3}[0-9]{1,3}")
_HOST_ALONE = re.compile(_HOST)


def host_of(text: str) -> tuple[str, int | None] | None:
    """Name and port of a `Host` header, the name in lower case and without brackets; None for anything else."""
    found = _HOST_ALONE.fullmatch(text)
    return None if found is None else _normal(found[1], found[2])


def origin_of(text: str) -> tuple[str, str, int] | None:
    """Scheme, name and port of an origin (RFC 6454), the port also where it is that of the scheme; None: it is none."""
    found = _ORIGIN.fullmatch(text)
    if found is None:
        return None
    host = _normal(found[2], found[3])
    if host is None:
        return None
    scheme = found[1].lower()
    return scheme, host[0], _PORTS[scheme] if host[1] is None else host[1]


def is_address(name: str) -> bool:
    """Whether it is an IP address, which no name server can point elsewhere."""
    return _ADDRESS.fullmatch(name) is not None


def is_shared(text: str | None) -> bool:
    """Whether a `Host` header names this server as others call it too: no address, and no name of one's own machine."""
    found = None if text is None else host_of(text)
    if found is None or is_address(found[0]):
        return False
    labels = found[0].rstrip(".").split(".")
    # What browsers take for loopback (RFC 6761), and what systems call it besides: localhost.localdomain.
    return "localhost" not in (labels[0], labels[-1])


def _normal(name: str, port: str | None) -> tuple[str, int | None] | None:
    number = None if port is None else int(port)
    if number is not None and not 1 <= number <= 65535:
        return None
    return name.strip("[]").lower(), number
