"""Tokens that are valid no more: what an administrator asks for, and the set that every gateway has.

`Revoke` and its answer are of `rfm.v1`; the set is carried on feed and snapshot, and kept in the journal.
"""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

from rfm_runtime.protocol.operation import Text

__all__ = ["Revocation", "Revocations", "Revoke", "RevokeReply"]

TokenId = Annotated[str, Meta(max_length=256)]
User = Annotated[str, Meta(max_length=128)]
Moment = Annotated[int, Meta(ge=0, le=2**53)]


class Revoke(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One token by its id, or all of a user that were issued before a moment (ms since 1970). → `RevokeReply`

    Exactly one of token_id and user. issued_before: None: now. expires_at: of the token, if it is known: the revocation
    is forgotten with it. Sessions of such tokens are closed with 4503. reason: for whoever looks at the list.
    """

    token_id: TokenId = ""
    user: User = ""
    issued_before: Moment | None = None
    expires_at: Moment | None = None
    reason: Text = ""


class RevokeReply(Struct, frozen=True):
    """It is on disk. version: of the set; every gateway that has it, or a later one, refuses such tokens."""

    version: int


class Revocation(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One entry. version: of the set that it came with. by: who asked for it."""

    version: int
    token_id: str = ""
    user: str = ""
    issued_before_ms: int = 0
    expires_at_ms: int | None = None
    at_ms: int = 0
    by: str = ""
    reason: str = ""

    @property
    def key(self) -> str:
        """Of each there is one."""
        return f"token:{self.token_id}" if self.token_id else f"user:{self.user}"


class Revocations(Struct, frozen=True):
    """The whole set. Of one journal's log the same version is the same set."""

    version: int = 0
    entries: tuple[Revocation, ...] = ()
