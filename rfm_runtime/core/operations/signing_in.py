"""Sign-in links that nobody has used yet. The broker has them, so that each is used once, whichever gateway is asked.

They are in memory alone: a restart makes them void, and none is ever used twice. Pure.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from msgspec import Struct

from rfm_runtime.core.operations.record import Asked, Command, Now, Send
from rfm_runtime.core.permissions import require
from rfm_runtime.core.sessions.claims import ROLES, is_user
from rfm_runtime.errors import BadRequestError, ConflictError, QuotaExceededError, UnauthorizedError
from rfm_runtime.protocol.internal import Ack, DoExchange, DoSignInLink, Exchanged, Principal
from rfm_runtime.protocol.sign_in import SignInLink

if TYPE_CHECKING:
    from rfm_runtime.core.operations.hub import Hub

__all__ = ["LINKS_LIMIT", "SignIns"]

LINKS_LIMIT = 1000
"""That wait to be used."""

DIGEST_DIGITS = 64
HEX_DIGITS = frozenset("0123456789abcdef")


class SignIns:
    """By the digest of their codes: until when, and for whom."""

    def __init__(self) -> None:
        self._waiting: dict[str, tuple[float, SignInLink]] = {}

    def put(self, link: SignInLink, now_s: float) -> None:
        """Have it wait. Raises ConflictError, QuotaExceededError."""
        for digest in [digest for digest, (until_s, _) in self._waiting.items() if until_s <= now_s]:
            del self._waiting[digest]
        if link.digest in self._waiting:
            raise ConflictError("this code is in use already", hint="make another: 32 random bytes")
        if len(self._waiting) >= LINKS_LIMIT:
            raise QuotaExceededError(f"{LINKS_LIMIT} sign-in links wait to be used", retry_after_s=1.0)
        self._waiting[link.digest] = (now_s + link.valid_s, link)

    def take(self, digest: str, now_s: float) -> SignInLink | None:
        """Whose it is, this once."""
        until_s, link = self._waiting.pop(digest, (0.0, None))
        return link if until_s > now_s else None


def on_sign_in_link(hub: Hub, asked: Asked, message: DoSignInLink, now: Now) -> list[Command]:
    """Take a link in, which somebody will use on any gateway."""
    require(message.principal, "sign_in_link")
    link = message.request
    if len(link.digest) != DIGEST_DIGITS or set(link.digest) - HEX_DIGITS:
        raise BadRequestError("digest is no SHA-256", hint="give 64 hexadecimal digits in small letters")
    if not is_user(link.user):
        raise BadRequestError(f"user is {link.user!r}", hint="1 to 128 printable characters without /")
    if unknown := sorted(set(link.roles) - set(ROLES)):
        raise BadRequestError(f"roles are {', '.join(unknown)}", hint=f"choose some of {', '.join(ROLES)}")
    hub.sign_ins.put(link, now.mono_s)
    return [Send(asked.routing, asked.request_id, Ack())]


def on_exchange(hub: Hub, asked: Asked, message: DoExchange, now: Now) -> list[Command]:
    """Somebody has said a code at a gateway."""
    link = hub.sign_ins.take(message.digest, now.mono_s)
    if link is None:
        raise UnauthorizedError("this sign-in link was used, or is too old", hint="ask for another")
    kinds = None if link.kinds is None else tuple(sorted(set(link.kinds)))
    principal = Principal(link.user, tuple(role for role in ROLES if role in link.roles), kinds)
    return [Send(asked.routing, asked.request_id, Exchanged(principal, link.lifetime_s))]


HANDLERS: dict[type[Struct], Any] = {DoSignInLink: on_sign_in_link, DoExchange: on_exchange}
