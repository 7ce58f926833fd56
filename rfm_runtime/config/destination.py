"""Which server elsewhere is meant: `RFM_URL` with `RFM_TOKEN_FILE` or `RFM_TOKEN`.

Never an argument of a command: others see those.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

from rfm_runtime.errors import ConfigError

__all__ = ["Destination", "destination"]


@dataclass(frozen=True, slots=True)
class Destination:
    """A server by its WebSocket address, e.g. ws://127.0.0.1:8765. Raises ConfigError for what is none."""

    url: str
    token: str = field(repr=False)

    def __post_init__(self) -> None:
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


def destination(environ: Mapping[str, str] | None = None) -> Destination | None:
    """The server that the environment names; None: the runtime of this machine. Raises ConfigError."""
    environ = os.environ if environ is None else environ
    url = environ.get("RFM_URL")
    if not url:
        return None
    token, file = environ.get("RFM_TOKEN"), environ.get("RFM_TOKEN_FILE")
    if token is None and file is not None:
        try:
            token = Path(file).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is no text"
            raise ConfigError(f"cannot read the token in {file} (RFM_TOKEN_FILE): {reason}", hint="check it") from None
    if not token:
        raise ConfigError(f"{url} wants a token (RFM_URL)", hint="set RFM_TOKEN_FILE to a file that has it")
    return Destination(url, token)
