"""Sign-in links that nobody has used yet. The broker has them, so that each is used once, whichever gateway is asked.

They are in memory alone: a restart makes them void, and none is ever used twice. Pure.
"""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

from msgspec import Struct

from rfm_runtime.core.operations.record import Asked, Command, Now, Send
from rfm_runtime.core.permissions import require_granted
from rfm_runtime.core.sessions.claims import ROLES, USER_HINT, is_user
from rfm_runtime.errors import BadRequestError, ConflictError, QuotaExceededError, TokenExpiredError, UnauthorizedError
from rfm_runtime.protocol.internal import Ack, DoExchange, DoSignInLink, Exchanged, Principal
from rfm_runtime.protocol.revocation import Revocation
from rfm_runtime.protocol.sign_in import SignInLink

if TYPE_CHECKING:
    from rfm_runtime.core.operations.hub import Hub

__all__ = ["LINKS_LIMIT", "SignIns"]

LINKS_LIMIT = 1000
"""That wait to be used."""

DIGEST_DIGITS = 64
HEX_DIGITS = frozenset("0123456789abcdef")


class Waiting(Struct, frozen=True):
    """A link, whose maker showed the token. made_at_ms: wall clock. until_s: it is taken; ends_s: so does his token."""

    link: SignInLink
    until_s: float
    ends_s: float
    made_at_ms: int
    maker: str
    token_id: str
    issued_at_ms: int

    def is_covered(self, by: Revocation) -> bool:
        """Whether it ends with a revocation: of whom it is for, of its maker, or of the token it was made with."""
        if by.token_id:
            return self.token_id == by.token_id
        made_before = self.made_at_ms < by.issued_before_ms
        if self.maker == by.user and (made_before or (self.token_id and self.issued_at_ms < by.issued_before_ms)):
            return True
        return self.link.user == by.user and made_before


class SignIns:
    """By the digest of their codes."""

    def __init__(self) -> None:
        self._waiting: dict[str, Waiting] = {}

    def put(self, asked: DoSignInLink, now: Now) -> None:
        """Have it wait. Raises ConflictError, QuotaExceededError."""
        link = asked.request
        for digest in [digest for digest, waiting in self._waiting.items() if waiting.until_s <= now.mono_s]:
            del self._waiting[digest]
        if link.digest in self._waiting:
            raise ConflictError("this code is in use already", hint="make another: 32 random bytes")
        if len(self._waiting) >= LINKS_LIMIT:
            raise QuotaExceededError(f"{LINKS_LIMIT} sign-in links wait to be used", retry_after_s=1.0)
        ends_s = math.inf
        if asked.expires_at_ms is not None:
            ends_s = now.mono_s + (asked.expires_at_ms - now.wall_ms) / 1000
        self._waiting[link.digest] = Waiting(
            link,
            min(now.mono_s + link.valid_s, ends_s),
            ends_s,
            now.wall_ms,
            asked.principal.user,
            asked.token_id,
            asked.issued_at_ms,
        )

    def take(self, digest: str, now_s: float) -> tuple[SignInLink, float] | None:
        """Whose it is, and for how many seconds, this once: a right does not outlast the one that it comes from."""
        waiting = self._waiting.pop(digest, None)
        if waiting is None or waiting.until_s <= now_s:
            return None
        return waiting.link, min(waiting.link.lifetime_s, waiting.ends_s - now_s)

    def revoke(self, by: Revocation) -> None:
        """Forget those that end with it: a link is a token that nobody has fetched yet."""
        for digest in [digest for digest, waiting in self._waiting.items() if waiting.is_covered(by)]:
            del self._waiting[digest]


def on_sign_in_link(hub: Hub, asked: Asked, message: DoSignInLink, now: Now) -> list[Command]:
    """Take a link in, which somebody will use on any gateway."""
    link = message.request
    require_granted(message.principal, "sign_in_link", link.kinds)
    if len(link.digest) != DIGEST_DIGITS or set(link.digest) - HEX_DIGITS:
        raise BadRequestError("digest is no SHA-256", hint="give 64 hexadecimal digits in small letters")
    if not is_user(link.user):
        raise BadRequestError(f"user is {link.user!r}", hint=USER_HINT)
    if unknown := sorted(set(link.roles) - set(ROLES)):
        raise BadRequestError(f"roles are {', '.join(unknown)}", hint=f"choose some of {', '.join(ROLES)}")
    if hub.revocations.covers(message.principal.user, message.token_id, message.issued_at_ms):
        # Its gateway has not heard of it yet.
        raise UnauthorizedError("the token with which this link is asked for was revoked", hint="use another token")
    if message.expires_at_ms is not None and message.expires_at_ms <= now.wall_ms:
        raise TokenExpiredError("the token with which this link is asked for has expired")
    hub.sign_ins.put(message, now)
    return [Send(asked.routing, asked.request_id, Ack())]


def on_exchange(hub: Hub, asked: Asked, message: DoExchange, now: Now) -> list[Command]:
    """Somebody has said a code at a gateway."""
    taken = hub.sign_ins.take(message.digest, now.mono_s)
    if taken is None:
        raise UnauthorizedError("this sign-in link was used, or is too old", hint="ask for another")
    link, lifetime_s = taken
    kinds = None if link.kinds is None else tuple(sorted(set(link.kinds)))
    principal = Principal(link.user, tuple(role for role in ROLES if role in link.roles), kinds)
    return [Send(asked.routing, asked.request_id, Exchanged(principal, lifetime_s))]


HANDLERS: dict[type[Struct], Any] = {DoSignInLink: on_sign_in_link, DoExchange: on_exchange}
