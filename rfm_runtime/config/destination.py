"""Which server elsewhere is meant: `RFM_URL` with `RFM_TOKEN_FILE` or `RFM_TOKEN`, and how it is known.

A token is never an argument of a command: others see those.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from rfm_runtime.config.loopback import is_loopback
from rfm_runtime.errors import ConfigError, InsecureUrlError

__all__ = ["Destination", "Trust", "check_no_password", "check_url", "default_port", "destination"]

TOKEN_FILE_HINT = "name a file that has the token, and that this user can read, in RFM_TOKEN_FILE"

PlainPath = str | os.PathLike[str]


@dataclass(frozen=True, slots=True)
class Trust:
    """How a client knows its server, and shows who it is itself. What is None is as the environment says.

    ca_file: PEM with the only authorities that are taken; without one, the system's. client_cert: PEM with certificate
    and key, or (certificate, key). allow_insecure: a token may travel in plain text to other hosts.
    """

    ca_file: PlainPath | None = None
    client_cert: PlainPath | tuple[PlainPath, PlainPath] | None = None
    allow_insecure: bool | None = None

    def resolved(self, environ: Mapping[str, str] | None = None) -> Trust:
        """With what RFM_CA_FILE, RFM_CLIENT_CERT (and RFM_CLIENT_KEY) and RFM_ALLOW_INSECURE say of the rest.

        Raises ConfigError for a key without its certificate.
        """
        environ = os.environ if environ is None else environ
        client_cert, allow = self.client_cert, self.allow_insecure
        if client_cert is None and environ.get("RFM_CLIENT_KEY") and not environ.get("RFM_CLIENT_CERT"):
            raise ConfigError(
                "a client's key is named (--client-key, RFM_CLIENT_KEY), and no certificate that it is of",
                hint="name that with --client-cert or RFM_CLIENT_CERT, or leave the key out",
            )
        if client_cert is None and (certificate := environ.get("RFM_CLIENT_CERT")):
            client_cert = (certificate, environ.get("RFM_CLIENT_KEY") or certificate)
        if allow is None:
            allow = environ.get("RFM_ALLOW_INSECURE", "").lower() in ("1", "true")
        return Trust(self.ca_file or environ.get("RFM_CA_FILE") or None, client_cert, allow)


def check_no_password(url: str) -> None:
    """Raise ConfigError for an address with a user or a password: nobody here takes one, and it would be shown."""
    before_host, at, _ = str(url).partition("://")[2].partition("/")[0].rpartition("@")
    if at:
        what = "a user and a password" if ":" in before_host else "a user"
        raise ConfigError(
            f"the address of the server has {what} in it",
            hint="leave that out, and show a token: RFM_TOKEN_FILE or RFM_TOKEN",
        )


def default_port(url: str) -> int | None:
    """The port that is meant by an address that names none; None: it names one."""
    parts = urlsplit(url)
    return None if parts.port is not None else 443 if parts.scheme == "wss" else 80


def check_url(url: str, token: str, trust: Trust) -> None:
    """Raise InsecureUrlError if others could read a token on its way."""
    parts = urlsplit(url)
    host = parts.hostname or ""
    if token and parts.scheme == "ws" and not is_loopback(host) and not trust.allow_insecure:
        raise InsecureUrlError(
            f"ws://{parts.netloc.rpartition('@')[2]} is plain text: whoever is on the way could read the token",
            hint="use wss://, or a tunnel (ssh -L 8765:127.0.0.1:8765 HOST); or, where nobody can listen in, "
            "allow_insecure=True, RFM_ALLOW_INSECURE=1",
        )


@dataclass(frozen=True, slots=True)
class Destination:
    """A server by its WebSocket address, e.g. ws://127.0.0.1:8765. Raises ConfigError for what is none."""

    url: str
    token: str = field(repr=False)
    trust: Trust = Trust()

    def __post_init__(self) -> None:
        check_no_password(self.url)
        if not _is_address(self.url):
            raise ConfigError(
                f"{self.url!r} is no address of a server", hint="write it as wss://HOST:8765, or ws://127.0.0.1:8765"
            )


def _is_address(url: object) -> bool:
    if not isinstance(url, str):
        return False
    try:
        parts = urlsplit(url)
        # Asked for: a port that is none is found out by asking.
        return parts.scheme in ("ws", "wss") and bool(parts.hostname) and (parts.port is None or parts.port > 0)
    except ValueError:
        return False


def _no_token_for_nobody(environ: Mapping[str, str]) -> None:
    """Whoever names a token means to be its user: the runtime of this machine would take him for its own."""
    for name in ("RFM_TOKEN_FILE", "RFM_TOKEN"):
        if environ.get(name):
            raise ConfigError(
                f"{name} is set, and RFM_URL, which says for which server, is not",
                hint=f"set RFM_URL, e.g. ws://127.0.0.1:8765; or unset {name} to use your own runtime of this machine",
            )


def destination(environ: Mapping[str, str] | None = None) -> Destination | None:
    """The server that the environment names; None: the runtime of this machine. Raises ConfigError."""
    environ = os.environ if environ is None else environ
    url = environ.get("RFM_URL")
    if not url:
        _no_token_for_nobody(environ)
        return None
    token, file = environ.get("RFM_TOKEN"), environ.get("RFM_TOKEN_FILE")
    if token is None and file is not None:
        try:
            token = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise ConfigError(
                f"cannot read the token in {file} (RFM_TOKEN_FILE): {reason}", hint=TOKEN_FILE_HINT
            ) from None
    trust = Trust().resolved(environ)
    if not token and trust.client_cert is None:
        raise ConfigError(
            f"{url} wants a token (RFM_URL)",
            hint="set RFM_TOKEN_FILE to a file that has it, or RFM_CLIENT_CERT to a client certificate",
        )
    return Destination(url, token or "", trust)
