"""Who a client certificate lets in. Pure: what was read from the certificate and from the files goes in.

That an authority of ours has signed it, and that its owner has the key, the shell has checked.
"""

from __future__ import annotations

from collections.abc import Mapping

from msgspec import Struct

from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.protocol.internal import Principal

__all__ = ["Admission", "Peer"]


class Peer(Struct, frozen=True):
    """What a client certificate says. names: alternative names in its order, then the common name.

    authority: fingerprint of the authority that has signed it, "" if that is none of ours (any more).
    """

    names: tuple[str, ...]
    authority: str
    serial: int
    expires_at_ms: int


class Admission(Struct, frozen=True):
    """users: by name in a certificate. revoked: (authority, serial) of certificates that are not taken any more."""

    users: Mapping[str, Principal] = {}
    revoked: frozenset[tuple[str, int]] = frozenset()

    def refusal(self, peer: Peer, now_ms: int) -> str | None:
        """Why a connection with this certificate has to end, whatever token there is; None: it need not."""
        if not peer.authority:
            return "no authority of this server has issued the certificate"
        if (peer.authority, peer.serial) in self.revoked:
            return "the certificate was revoked"
        if now_ms > peer.expires_at_ms:
            return "the certificate has expired"
        return None

    def grant(self, peer: Peer, now_ms: int) -> Grant | None:
        """What the certificate alone grants: its first name that is a user's decides. None: a token is needed."""
        if self.refusal(peer, now_ms) is not None:
            return None
        principal = next((self.users[name] for name in peer.names if name in self.users), None)
        return None if principal is None else Grant(principal, peer.expires_at_ms, by_certificate=True)
