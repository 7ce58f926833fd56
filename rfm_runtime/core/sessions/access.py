"""Who a token or a certificate lets in, and until when."""

from __future__ import annotations

from collections.abc import Callable
from typing import Protocol

from msgspec import Struct

from rfm_runtime.protocol.internal import Principal

__all__ = ["EXPIRING_MS", "GRACE_MS", "OWN_USER", "Authenticate", "FollowedKeys", "Grant", "Keys", "Sign"]

OWN_USER = "local"
"""Whoever has the runtime's own token."""

EXPIRING_MS = 60_000
"""So long before its token expires a session is told, and can show a fresh one."""

GRACE_MS = 25_000
"""So long after it a session is closed."""


class Grant(Struct, frozen=True):
    """principal: whose token it is. expires_at_ms: ms since 1970; None: never.

    token_id, issued_at_ms: which token it is, so that it can be revoked; "" and 0 of one that cannot be.
    by_certificate: a client certificate said so, and no token. key: fingerprint of the key that the token was checked
    with, if that can be taken away while the gateway runs; "": it cannot. is_ahead: its issuer's clock is, and
    issued_at_ms is when it was shown.
    """

    principal: Principal
    expires_at_ms: int | None = None
    token_id: str = ""
    issued_at_ms: int = 0
    by_certificate: bool = False
    key: str = ""
    is_ahead: bool = False


Authenticate = Callable[[str], Grant | None]
"""What a token grants; None: nothing. Raises UnavailableError if it cannot say yet, TokenExpiredError for a token that
was valid once, and nothing else."""


class Keys(Protocol):
    """Keys of tokens that can change while sessions last."""

    def look(self) -> bool:
        """Whether there are others since it was asked last. It is asked every second, and never waits."""
        ...

    def vouched(self, grant: Grant) -> Grant | None:
        """What a token grants by the keys of now: until its key ends at most; None: its key is gone."""
        ...


class FollowedKeys(Keys, Protocol):
    """Those of a real gateway."""

    @property
    def trouble(self) -> str:
        """Why newer ones are not used, for people; "" if all is well."""
        ...


Sign = Callable[[Principal, float], str]
"""A token for somebody, valid for so many seconds."""
