"""Where clients of this machine find a server, and how they know it."""

from __future__ import annotations

import os
import socket
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from rfm_runtime import __version__
from rfm_runtime.client.connection_file import ConnectionInfo
from rfm_runtime.config import Folders, Settings, folders, is_loopback, is_wildcard
from rfm_runtime.observe.alive import start_time_s

if TYPE_CHECKING:
    from rfm_runtime.security.server_tls import ServerTls

__all__ = ["PLAIN_WARNING", "certified", "make_known", "plain_off_loopback", "url_of"]

PLAIN_WARNING = (
    "plain text off loopback (allow_insecure): whoever is on the way can read tokens and everything else, and change it"
)


def plain_off_loopback(settings: Settings) -> bool:
    """Whether others can reach the server, and read what is said there."""
    return not settings.uses_tls and not is_loopback(settings.host)


def certified(settings: Settings) -> ServerTls | None:
    """The TLS of a server with these settings; None: plain text. Raises CertificateError if it cannot be had."""
    if not settings.uses_tls:
        return None
    # Only then: it takes its time to load.
    from rfm_runtime.security.server_tls import ServerTls

    return ServerTls(settings)


def url_of(listener: socket.socket | None, settings: Settings) -> str:
    """The address for clients of this machine; one that listens everywhere is met on loopback. "": nobody listens."""
    if listener is None:
        return ""
    host, port = listener.getsockname()[:2]
    if is_wildcard(host):
        host = "::1" if ":" in host else "127.0.0.1"
    scheme = "wss" if settings.uses_tls else "ws"
    return f"{scheme}://[{host}]:{port}" if ":" in host else f"{scheme}://{host}:{port}"


def make_known(listener: socket.socket | None, settings: Settings, token: str, tls: ServerTls | None) -> None:
    """Write the connection file, and with TLS what its server is known by. Raises OSError."""
    where: Folders = folders(settings)
    url = url_of(listener, settings)
    known: Path | None = None
    if tls is not None:
        known = where.served_certificate
        tls.make_known(known)
    ConnectionInfo(
        url=url,
        token=token,
        pid=os.getpid(),
        start_time=start_time_s(os.getpid()) or 0.0,
        version=__version__,
        state_dir=settings.state_dir,
        ca_file="" if known is None else str(known),
        server_name="" if tls is None else tls.server_name(_host(url)),
    ).write(where.connection)


def _host(url: str) -> str:
    return urlsplit(url).hostname or ""
