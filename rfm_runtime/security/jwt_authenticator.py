"""`JWTAuthenticator`: JSON Web Tokens signed with one secret (HS256, RFC 7519), issued and checked."""

from __future__ import annotations

import time
import uuid
import warnings
from collections.abc import Collection
from typing import Any

from rfm_runtime.core.sessions.access import Grant
from rfm_runtime.errors import BadRequestError, MissingExtraError
from rfm_runtime.protocol.internal import Principal

__all__ = ["ROLES", "SECRET_BYTES", "JWTAuthenticator"]

SECRET_BYTES = 32
"""RFC 7518, 3.2: a key as long as the hash. A shorter one is found by trying."""

LEEWAY_S = 30.0
"""Clocks of two machines."""

ROLES = ("viewer", "operator", "admin", "reporter")
REQUIRED = ("exp", "iat", "aud", "iss", "sub", "jti")
ALGORITHM = "HS256"
USER_LIMIT = 128

YEARS_S = 2**40
"""More than any token lasts, and what every encoding can say in milliseconds."""


class JWTAuthenticator:
    """Tokens of a secret that the issuer and this server share.

    secret_key: at least 32 random bytes; a shorter one warns, and is refused for a server that others can reach.
    audience, issuer: what a token must name. A token carries its user (`sub`) and a list of `roles`.
    Raises BadRequestError for an empty secret, MissingExtraError without PyJWT.
    """

    def __init__(self, secret_key: str | bytes, *, audience: str = "rfm-runtime", issuer: str = "rfm-runtime") -> None:
        try:
            import jwt
        except ImportError:
            raise MissingExtraError("JWTAuthenticator", "server") from None
        self._jwt = jwt
        self._key = secret_key.encode() if isinstance(secret_key, str) else bytes(secret_key)
        if not self._key:
            raise BadRequestError("the secret is empty", hint="make one: python -c 'import secrets; ...token_hex(32)'")
        self._audience = audience
        self._issuer = issuer
        if self.is_weak:
            warnings.warn(
                f"the secret has {len(self._key)} bytes: whoever sees a token can find it by trying; "
                f"use {SECRET_BYTES} random ones, e.g. secrets.token_hex(32)",
                stacklevel=2,
            )

    def __repr__(self) -> str:
        return f"JWTAuthenticator(audience={self._audience!r}, issuer={self._issuer!r})"

    @property
    def is_weak(self) -> bool:
        """Whether the secret is too short to face others."""
        return len(self._key) < SECRET_BYTES

    def issue(self, user: str, roles: Collection[str] = ("viewer",), *, lifetime_s: float = 3600.0) -> str:
        """A token for `user` with some of the roles viewer, operator, admin, reporter. Raises BadRequestError."""
        if isinstance(roles, str) or not set(roles) <= set(ROLES):
            raise BadRequestError(f"roles are {roles!r}", hint=f"choose some of {', '.join(ROLES)}")
        if not _is_user(user):
            raise BadRequestError(f"user is {user!r}", hint=f"1 to {USER_LIMIT} printable characters without /")
        if not 0.0 < lifetime_s < 1e9:
            raise BadRequestError(f"lifetime_s is {lifetime_s!r}", hint="give seconds above 0")
        now_s = time.time()
        claims = {
            "sub": user,
            "roles": sorted(roles),
            "iat": int(now_s),
            "exp": int(now_s + lifetime_s),
            "aud": self._audience,
            "iss": self._issuer,
            "jti": uuid.uuid4().hex,
        }
        with warnings.catch_warnings():
            # Said once, when it was made.
            warnings.simplefilter("ignore")
            return self._jwt.encode(claims, self._key, algorithm=ALGORITHM)

    def authenticate(self, token: str) -> Grant | None:
        """What a token grants; None for one that is expired, of another secret, audience or issuer, or none."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                claims: dict[str, Any] = self._jwt.decode(
                    token,
                    self._key,
                    algorithms=[ALGORITHM],
                    audience=self._audience,
                    issuer=self._issuer,
                    leeway=LEEWAY_S,
                    options={"require": list(REQUIRED)},
                )
        except (self._jwt.InvalidTokenError, ValueError, TypeError, UnicodeError):
            return None
        user, roles = claims["sub"], claims.get("roles", [])
        if not _is_user(user) or not isinstance(roles, list):
            return None
        expires_at_ms = min(int(claims["exp"]), YEARS_S) * 1000
        return Grant(Principal(user, tuple(role for role in ROLES if role in roles)), expires_at_ms)


def _is_user(user: object) -> bool:
    # What comes before the / in the name of a program that reports.
    return isinstance(user, str) and 0 < len(user) <= USER_LIMIT and user.isprintable() and "/" not in user
