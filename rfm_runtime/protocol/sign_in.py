"""One-time sign-in links: what an administrator asks for. The code itself is in the link's fragment alone."""

from __future__ import annotations

from typing import Annotated

from msgspec import Meta, Struct

__all__ = ["SignInLink"]

Word = Annotated[str, Meta(min_length=1, max_length=256)]


class SignInLink(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Whoever says the code in `hello` is this user. → `ok`

    digest: SHA-256 of the code, in hexadecimal digits: who keeps it cannot use it. valid_s: how long the code is taken,
    once. lifetime_s: of the token that is given for it. kinds: of operations that it is about; None: all.
    """

    digest: Annotated[str, Meta(max_length=64)]
    user: Annotated[str, Meta(min_length=1, max_length=128)]
    roles: Annotated[list[Word], Meta(max_length=16)]
    kinds: Annotated[list[Word], Meta(max_length=64)] | None = None
    valid_s: Annotated[float, Meta(gt=0, le=3600)] = 600.0
    lifetime_s: Annotated[float, Meta(gt=0, le=30 * 86_400)] = 8 * 3600.0
