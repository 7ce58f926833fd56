"""What the claims of a token grant, once its signature, times, audience and issuer were found to be right. Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from msgspec import Struct

from rfm_runtime.core.permissions import KINDS_LIMIT
from rfm_runtime.core.sessions.access import OWN_USER, Grant
from rfm_runtime.protocol.internal import Principal
from rfm_runtime.protocol.limits import NAME_LIMIT

__all__ = ["REQUIRED", "ROLES", "USER_HINT", "ClaimNames", "are_kinds", "granted", "is_access_token", "is_user"]

ROLES = ("viewer", "operator", "admin", "reporter")
REQUIRED = ("exp", "iat", "aud", "iss", "sub", "jti")

USER_LIMIT = 128
"""Characters of a user's name."""

USER_HINT = f"1 to {USER_LIMIT} printable characters without /, and not {OWN_USER}, which the runtime's own user is"

ID_LIMIT = 256
"""Characters of a token's id: it is kept as long as it is revoked."""

YEARS_S = 2**40
"""More than any token lasts, and what every encoding can say in milliseconds."""

TYPES = frozenset({"jwt", "at+jwt", "application/at+jwt"})
"""Of the header (RFC 7519, 5.1; RFC 9068, 2.1). What signs other things with the same key says so here."""

USES = frozenset({"access", "bearer", "at+jwt", "jwt"})
"""What issuers call an access token in one of `USE_CLAIMS`; others are for a refresh, an identity, a password."""

USE_CLAIMS = ("typ", "use", "token_use", "token_type")


class ClaimNames(Struct, frozen=True):
    """Which claims say who it is and what he may do. One within others is written with dots: realm_access.roles."""

    user: str = "sub"
    roles: str = "roles"


def is_access_token(header: Mapping[str, Any], claims: Mapping[str, Any]) -> bool:
    """Whether a token is meant for access, and not to be exchanged for another, or to prove who somebody is."""
    kind = header.get("typ", "JWT")
    if not isinstance(kind, str) or kind.lower() not in TYPES:
        return False
    uses = [claims[name] for name in USE_CLAIMS if name in claims]
    return all(isinstance(use, str) and use.lower() in USES for use in uses)


def granted(claims: Mapping[str, Any], names: ClaimNames) -> Grant | None:
    """What verified claims grant; None for those that name nobody, or are not what they should be."""
    user, roles = _claim(claims, names.user), _claim(claims, names.roles)
    token_id, issued_ms, expires_ms = claims.get("jti"), _ms(claims.get("iat")), _ms(claims.get("exp"))
    if not is_user(user) or issued_ms is None or expires_ms is None:
        return None
    if not isinstance(token_id, str) or not 0 < len(token_id) <= ID_LIMIT:
        return None
    if roles is None:
        roles = []
    if not isinstance(roles, list):
        return None
    kinds = claims.get("kinds", [])
    if not are_kinds(kinds):
        return None
    held = tuple(role for role in ROLES if role in roles)
    narrow = tuple(sorted(set(kinds))) if "kinds" in claims else None
    return Grant(Principal(str(user), held, narrow), expires_ms, token_id, issued_ms)


def _claim(claims: Mapping[str, Any], name: str) -> Any:
    if name in claims:
        # A name with dots may be one claim: issuers use addresses as names.
        return claims[name]
    found: Any = claims
    for part in name.split("."):
        if not isinstance(found, Mapping):
            return None
        found = found.get(part)
    return found


def _ms(value: Any) -> int | None:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1e300:
        return None
    return round(min(value, YEARS_S) * 1000)


def are_kinds(kinds: object) -> bool:
    """Whether that says which kinds of operations are granted; a claim that says something else, null too, is none."""
    return (
        isinstance(kinds, list)
        and len(kinds) <= KINDS_LIMIT
        and all(isinstance(kind, str) and 0 < len(kind) <= NAME_LIMIT for kind in kinds)
    )


def is_user(user: object) -> bool:
    """Whether it can be somebody's name: what comes before the / in the name of a program that reports.

    The runtime's own user is nobody's: whoever was called so would own what it owns, and be it in every log.
    """
    if not isinstance(user, str) or user == OWN_USER:
        return False
    return 0 < len(user) <= USER_LIMIT and user.isprintable() and "/" not in user
