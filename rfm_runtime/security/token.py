"""The runtime's own token: 256 random bits in a 0600 file, made at start, compared in constant time."""

from __future__ import annotations

import hmac
import os
import secrets
from pathlib import Path

from rfm_runtime.core.sessions.access import OWN_USER, Grant
from rfm_runtime.protocol.internal import Principal

__all__ = ["RuntimeToken", "make_private", "mint", "read", "verify", "write_private"]


def mint() -> str:
    """A new token, URL-safe."""
    return secrets.token_urlsafe(32)


def make_private(folder: Path) -> None:
    """A folder of mode 0700, and those above it that are missing, whatever the umask. Raises OSError."""
    for one in reversed((folder, *folder.parents)):
        if not one.exists():
            one.mkdir(mode=0o700, exist_ok=True)


def write_private(path: Path, text: str) -> None:
    """Replace `path` by a file of mode 0600 in one step: no reader sees half of it."""
    temporary = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)
        file.flush()
        os.fsync(file.fileno())
    temporary.replace(path)


def read(path: Path) -> str:
    """The token in `path`. Raises OSError."""
    return path.read_text(encoding="utf-8").strip()


def verify(offered: str, expected: str) -> bool:
    """Whether the token is the right one, without telling by the time taken how much of it is."""
    # A header with bytes above ASCII arrives with lone surrogates, which plain UTF-8 refuses to encode.
    return hmac.compare_digest(offered.encode("utf-8", "surrogatepass"), expected.encode())


SIGN_INS = b"rfm-runtime: tokens of sign-in links"


class RuntimeToken:
    """Whoever has the runtime's own token is this machine's user, and may do everything."""

    def __init__(self, token: str) -> None:
        self._token = token

    def authenticate(self, offered: str) -> Grant | None:
        """What the token grants; None if it is another."""
        return Grant(Principal(OWN_USER, ("admin",))) if verify(offered, self._token) else None

    def derived(self) -> bytes:
        """A secret that follows from the token, and from which it does not: every gateway of the runtime has it."""
        return hmac.digest(self._token.encode(), SIGN_INS, "sha256")
