"""`JWTAuthenticator`: JSON Web Tokens (RFC 7519) of a shared secret or of an issuer's public keys, issued and checked.

Signature, times, audience and issuer are PyJWT's to check; what the claims grant is decided in `core.sessions.claims`.
"""

from __future__ import annotations

import time
import uuid
import warnings
from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from msgspec.structs import replace

from rfm_runtime.core.permissions import KINDS_LIMIT
from rfm_runtime.core.sessions.access import GRACE_MS, Grant
from rfm_runtime.core.sessions.claims import (
    REQUIRED,
    ROLES,
    USER_HINT,
    ClaimNames,
    are_kinds,
    granted,
    is_access_token,
    is_user,
)
from rfm_runtime.errors import BadRequestError, MissingExtraError, TokenExpiredError, UnavailableError

if TYPE_CHECKING:
    from rfm_runtime.security.keys import Key, KeySource

__all__ = ["ROLES", "SECRET_BYTES", "JWTAuthenticator"]

SECRET_BYTES = 32
"""RFC 7518, 3.2: a key as long as the hash. A shorter one is found by trying."""

LEEWAY_S = GRACE_MS / 1000.0
"""Clocks of two machines. As long as a session outlasts its token: who is closed since it has expired, and shows it
again, is told so, and is not let in for a moment."""

FETCHING_S = 1.0
"""After which it is worth while to come again."""

TOKEN_LIMIT = 16 * 1024
"""Characters. Before anything is made of it: the header of a longer one would not fit either."""

EXPIRED = "it has expired"
"""Found once the signature is right, as all of the claims are."""

OF_ANOTHER_KEY = "it was signed with another key"


class JWTAuthenticator:
    """Tokens of a secret that the issuer and this server share, or signed by whoever has the key to a public one.

    secret_key: at least 32 random bytes; a shorter one warns, and is refused for a server that others can reach.
    previous_secret: is accepted as well until `previous_until_s` (seconds since 1970), for tokens that were issued
    before the secret was changed. public_keys: PEM, or a JSON Web Key Set as text. jwks_url: where an issuer publishes
    such a set; it is fetched in a thread, kept for an hour, and fetched again for a key that is not in it, at most once
    a minute.
    algorithms: those that are allowed, of RS/PS/ES/EdDSA for public keys and HS for secrets; by default HS256 for a
    secret, and for a public key what it can be used for. audience, issuer: what a token must name.
    user_claim, roles_claim: where its user and the list of its roles are, of which viewer, operator, admin and
    reporter mean something here. A token may be narrowed to some `kinds` of operations. Raises BadRequestError for
    keys that are none, MissingExtraError without PyJWT.
    """

    def __init__(
        self,
        secret_key: str | bytes | None = None,
        *,
        previous_secret: str | bytes | None = None,
        previous_until_s: float | None = None,
        public_keys: str | bytes | None = None,
        jwks_url: str | None = None,
        algorithms: Collection[str] | None = None,
        audience: str = "rfm-runtime",
        issuer: str = "rfm-runtime",
        user_claim: str = "sub",
        roles_claim: str = "roles",
    ) -> None:
        keys = _keys_module()
        if algorithms is not None and (unknown := sorted(set(algorithms) - set(keys.ALGORITHMS))):
            raise BadRequestError(
                f"no algorithms here: {', '.join(map(repr, unknown))}", hint=f"choose of {', '.join(keys.ALGORITHMS)}"
            )
        if secret_key is None and public_keys is None and jwks_url is None:
            raise BadRequestError("no key to check tokens with", hint="give secret_key, public_keys or jwks_url")
        if (previous_secret is None) != (previous_until_s is None):
            raise BadRequestError(
                "a previous secret is accepted until a stated time", hint="give both previous_secret, previous_until_s"
            )
        found: list[Key] = []
        if secret_key is not None:
            found.append(keys.secret(_bytes(secret_key), algorithms))
        if previous_secret is not None:
            found.append(keys.secret(_bytes(previous_secret), algorithms, until_s=previous_until_s))
        if public_keys is not None:
            given = keys.public_keys(public_keys, algorithms)
            if not given:
                raise keys.no_key()
            found += given
        sources: list[KeySource] = [keys.FixedKeys(*found)]
        if jwks_url is not None:
            from rfm_runtime.security.jwks import Jwks

            sources.append(Jwks(jwks_url, algorithms))
        self._begin(tuple(sources), audience, issuer, ClaimNames(user_claim, roles_claim))
        if self.is_weak:
            warnings.warn(
                f"the secret has {self._shortest()} bytes: whoever sees a token can find it by trying; "
                f"use {SECRET_BYTES} random ones, e.g. secrets.token_hex(32)",
                stacklevel=2,
            )

    def _begin(self, sources: tuple[KeySource, ...], audience: str, issuer: str, names: ClaimNames) -> None:
        import jwt

        self._jwt = jwt
        self._sources = sources
        self._audience = audience
        self._issuer = issuer
        self._names = names
        self._seen = self._state()

    @classmethod
    def of(cls, *sources: KeySource, audience: str, issuer: str, names: ClaimNames) -> JWTAuthenticator:
        """One whose keys change. Raises MissingExtraError."""
        _keys_module()
        made = cls.__new__(cls)
        made._begin(sources, audience, issuer, names)
        return made

    def __repr__(self) -> str:
        return f"JWTAuthenticator(audience={self._audience!r}, issuer={self._issuer!r})"

    @property
    def is_weak(self) -> bool:
        """Whether a secret is too short to face others."""
        return self._shortest() < SECRET_BYTES

    @property
    def trouble(self) -> str:
        """Why newer keys are not used, for people; "" if all is well."""
        return "; ".join(filter(None, (source.trouble for source in self._sources)))

    def _shortest(self) -> int:
        secrets = [len(key.material) for key in self._known() if isinstance(key.material, bytes)]
        return min(secrets, default=SECRET_BYTES)

    def _known(self) -> list[Key]:
        return [key for source in self._sources for key in source.known()]

    def _look(self, kid: object) -> bool:
        # Each of them, whatever the others say.
        return sum(source.look(kid) for source in self._sources) > 0

    def _state(self) -> list[tuple[str, float | None]]:
        return [(key.fingerprint, key.until_s) for source in self._sources for key in source.held()]

    def look(self) -> bool:
        """Look for other keys, and say whether there are some since it was asked last. Never waits."""
        self._look(None)
        before, self._seen = self._seen, self._state()
        return before != self._seen

    def vouched(self, grant: Grant) -> Grant | None:
        """What was granted, by the keys of now: until the end of its token's key at most; None: that is gone."""
        if not grant.key:
            return grant
        keys = [key for source in self._sources for key in source.held() if key.fingerprint == grant.key]
        if not keys:
            return None
        if any(key.until_s is None for key in keys):
            return grant
        return _until(grant, max(key.until_s for key in keys if key.until_s is not None))

    def prepare(self) -> None:
        """Begin to fetch keys that are elsewhere, before somebody shows a token of one."""
        self._look(None)

    def issue(
        self,
        user: str,
        roles: Collection[str] = ("viewer",),
        *,
        lifetime_s: float = 3600.0,
        kinds: Collection[str] | None = None,
    ) -> str:
        """A token for `user` with some of the roles viewer, operator, admin, reporter. Raises BadRequestError.

        kinds: of operations that it is about, e.g. `render.escape_time`; None: all.
        """
        if isinstance(roles, str) or not set(roles) <= set(ROLES):
            raise BadRequestError(f"roles are {roles!r}", hint=f"choose some of {', '.join(ROLES)}")
        if not is_user(user):
            raise BadRequestError(f"user is {user!r}", hint=USER_HINT)
        if not 0.0 < lifetime_s < 1e9:
            raise BadRequestError(f"lifetime_s is {lifetime_s!r}", hint="give seconds above 0")
        if kinds is not None and (isinstance(kinds, str) or not are_kinds(list(kinds))):
            raise BadRequestError(f"kinds is {kinds!r}", hint=f"give at most {KINDS_LIMIT} names of kinds, or None")
        self._look(None)
        key = next((key for key in self._known() if isinstance(key.material, bytes) and key.until_s is None), None)
        if key is None:
            raise BadRequestError(
                "with public keys tokens are checked, not issued", hint="whoever has the private key issues them"
            )
        now_s = time.time()
        claims: dict[str, Any] = {"sub": user}
        _put(claims, self._names.user, user)
        _put(claims, self._names.roles, sorted(roles))
        # With milliseconds: one made in the second in which others of this user are revoked is none of them.
        claims |= {"iat": round(now_s, 3), "exp": int(now_s + lifetime_s), "jti": uuid.uuid4().hex}
        claims |= {"aud": self._audience, "iss": self._issuer}
        if kinds is not None:
            claims["kinds"] = sorted(kinds)
        with warnings.catch_warnings():
            # Said once, when it was made.
            warnings.simplefilter("ignore")
            return self._jwt.encode(claims, key.material, algorithm=key.algorithms[0])

    def authenticate(self, token: str) -> Grant | None:
        """What a token grants; None for one that is expired, of another key, audience or issuer, or none.

        Raises UnavailableError while keys are fetched, one of which it may be of.
        """
        found = self.examine(token)
        return found if isinstance(found, Grant) else None

    def sign_in(self, token: str) -> Grant | None:
        """As `authenticate`; raises TokenExpiredError where its expiry is what is wrong with a token that was signed
        with one of the keys. Of others nothing is said: whoever tries would learn by it.
        """
        # A program may have put a rule of its own in its place. Others' signatures are looked at once.
        has_own = getattr(self.authenticate, "__func__", None) is not JWTAuthenticator.authenticate
        grant = self.authenticate(token) if has_own else None
        if grant is not None:
            return grant
        found = self.examine(token)
        if found == EXPIRED:
            raise TokenExpiredError("the token has expired")
        return found if isinstance(found, Grant) and not has_own else None

    def examine(self, token: str) -> Grant | str:
        """What a token grants, or why it is none: for whoever has it, never for whoever shows it.

        Raises UnavailableError like `authenticate`.
        """
        if not token.isascii() or len(token) > TOKEN_LIMIT:
            return "it is no JSON Web Token"
        try:
            header = self._jwt.get_unverified_header(token)
        except (self._jwt.InvalidTokenError, ValueError, TypeError, RecursionError):
            return "it is no JSON Web Token"
        if "crit" in header or "b64" in header:
            # What must be understood, and is not (RFC 7515, 4.1.11).
            return "it has extensions that are critical, and not known here"
        kid, now_s = header.get("kid"), time.time()
        under_way = self._look(kid)
        why = ""
        for key, changes in [(key, source.changes) for source in self._sources for key in source.known()]:
            if not key.is_meant(header.get("alg"), kid, now_s):
                continue
            claims = self._decoded(token, key)
            if isinstance(claims, str):
                # Of one key it is: what is wrong with it besides is said, not that it is of no other.
                why = claims if why in ("", OF_ANOTHER_KEY) else why
                continue
            if not is_access_token(header, claims):
                return "it is for another use than access"
            grant = granted(claims, self._names)
            if grant is None:
                return "its claims do not say who it is"
            now_ms = round(now_s * 1000)
            grant = replace(
                grant,
                key=key.fingerprint if changes else "",
                issued_at_ms=min(grant.issued_at_ms, now_ms),
                is_ahead=grant.issued_at_ms > now_ms,
            )
            return _until(grant, key.until_s)
        if not why and under_way:
            raise UnavailableError("the issuer's keys are being fetched", retry_after_s=FETCHING_S)
        return why or "there is no key for its algorithm and key id"

    def _decoded(self, token: str, key: Key) -> dict[str, Any] | str:
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                claims: dict[str, Any] = self._jwt.decode(
                    token,
                    key.material,
                    algorithms=list(key.algorithms),
                    audience=self._audience,
                    issuer=self._issuer,
                    leeway=LEEWAY_S,
                    options={"require": list(REQUIRED)},
                )
        except self._jwt.ExpiredSignatureError:
            return EXPIRED
        except self._jwt.ImmatureSignatureError:
            return "it is not valid yet"
        except self._jwt.InvalidAudienceError:
            return f"it is not for {self._audience} (aud)"
        except self._jwt.InvalidIssuerError:
            return f"it is not from {self._issuer} (iss)"
        except self._jwt.MissingRequiredClaimError as error:
            return f"it lacks the claim {error.claim}"
        except (self._jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
            return OF_ANOTHER_KEY
        return claims


def _keys_module() -> Any:
    try:
        from rfm_runtime.security import keys
    except ImportError:
        raise MissingExtraError("JWTAuthenticator", "server") from None
    return keys


def _until(grant: Grant, until_s: float | None) -> Grant:
    """It ends with its key, whatever it says itself."""
    if until_s is None:
        return grant
    until_ms = round(until_s * 1000)
    return replace(grant, expires_at_ms=min(until_ms, until_ms if grant.expires_at_ms is None else grant.expires_at_ms))


def _bytes(secret: str | bytes) -> bytes:
    return secret.encode() if isinstance(secret, str) else bytes(secret)


def _put(claims: dict[str, Any], name: str, value: Any) -> None:
    """The claim by its name, or by its path. An address is a name."""
    first, *path = [name] if "/" in name else name.split(".")
    *within, last = first, *path
    for part in within:
        claims = claims.setdefault(part, {})
    claims[last] = value
