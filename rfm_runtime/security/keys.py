"""Keys that tokens are checked with, each with the algorithms that it may be used for, and with no other.

An algorithm is never the token's choice alone: a public key is no secret of HS256, whatever a token's header says
(RFC 8725, 3.1). Needs PyJWT.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
import secrets
from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

import jwt
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed448, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_public_key
from jwt.exceptions import PyJWTError

from rfm_runtime.errors import BadRequestError

__all__ = [
    "ALGORITHMS",
    "HASH_BYTES",
    "SECRET_ALGORITHMS",
    "FixedKeys",
    "Key",
    "KeySource",
    "no_key",
    "public_keys",
    "secret",
]

HASH_BYTES = {"HS256": 32, "HS384": 48, "HS512": 64}
SECRET_ALGORITHMS = tuple(HASH_BYTES)
RSA_ALGORITHMS = ("RS256", "RS384", "RS512", "PS256", "PS384", "PS512")
CURVE_ALGORITHMS = {"secp256r1": "ES256", "secp384r1": "ES384", "secp521r1": "ES512"}
ALGORITHMS = (*SECRET_ALGORITHMS, *RSA_ALGORITHMS, *CURVE_ALGORITHMS.values(), "EdDSA")

RSA_BITS = 2048
"""NIST SP 800-131A: shorter ones are no longer used."""

KEYS_LIMIT = 64
"""In one set; issuers have two or three."""

KID_LIMIT = 256

_SALT = secrets.token_bytes(32)
"""Fingerprints mean something in this process alone: of a short secret nobody can find it by trying."""

_PEM = re.compile(r"-----BEGIN ([A-Z0-9 ]+)-----.*?-----END \1-----", re.DOTALL)


@dataclass(frozen=True, slots=True)
class Key:
    """algorithms: what it may be used for. kid: its name in a set. until_s: seconds since 1970; None: no end.

    fingerprint: the same for the same key, whenever it was read; in this process.
    """

    material: Any = field(repr=False)
    algorithms: tuple[str, ...]
    kid: str | None = None
    until_s: float | None = None
    fingerprint: str = field(init=False, repr=False)

    def __post_init__(self) -> None:
        material = self.material
        if not isinstance(material, bytes):
            material = material.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
        object.__setattr__(self, "fingerprint", hmac.new(_SALT, material, hashlib.sha256).hexdigest())

    def is_meant(self, algorithm: object, kid: object, now_s: float) -> bool:
        """Whether a token with this header may be of this key: looked up, never loaded, whatever `kid` says."""
        if algorithm not in self.algorithms or (self.until_s is not None and now_s >= self.until_s):
            return False
        return kid is None or self.kid is None or kid == self.kid


class KeySource(Protocol):
    """Where keys come from."""

    @property
    def changes(self) -> bool:
        """Whether keys can go, and with them whoever came in by a token of theirs."""
        ...

    @property
    def trouble(self) -> str:
        """Why newer ones are not used, for people; "" if all is well."""
        ...

    def held(self) -> Sequence[Key]:
        """Those whose sessions stay: those known, and those that are only too old for others to come in."""
        ...

    def known(self) -> Sequence[Key]:
        """Those there are now."""
        ...

    def look(self, kid: object) -> bool:
        """A token is shown that names this key, or none (None): look for news. Whether there may be some soon."""
        ...


class FixedKeys:
    """Keys that never change."""

    changes = False
    trouble = ""

    def __init__(self, *keys: Key) -> None:
        self._keys = keys

    def held(self) -> Sequence[Key]:
        """As `KeySource` says."""
        return self._keys

    def known(self) -> Sequence[Key]:
        """As `KeySource` says."""
        return self._keys

    def look(self, kid: object) -> bool:
        """As `KeySource` says."""
        del kid
        return False


def secret(value: bytes, algorithms: Collection[str] | None, *, until_s: float | None = None) -> Key:
    """The key of a shared secret; by default for HS256. Raises BadRequestError."""
    if not value:
        raise BadRequestError("the secret is empty", hint="make one: rfm-runtime token rotate, or openssl rand -hex 32")
    if value.lstrip().startswith(b"-----BEGIN"):
        raise BadRequestError(
            "the secret is a key in PEM, which others may have",
            hint="give it as public key (token_public_keys), or use random bytes: openssl rand -hex 32",
        )
    return Key(value, _allowed(SECRET_ALGORITHMS, algorithms, "a secret", ("HS256",)), until_s=until_s)


def public_keys(text: str | bytes, algorithms: Collection[str] | None) -> tuple[Key, ...]:
    """Those of a PEM text (one or more), or of a JSON Web Key (Set). Raises BadRequestError.

    None of a set that has none: whoever publishes it has taken all of them back.
    """
    try:
        text = text.decode() if isinstance(text, bytes) else text
    except UnicodeDecodeError:
        raise BadRequestError("public keys are text: PEM, or JSON Web Keys", hint="convert them first") from None
    found = _jwks(text, algorithms) if text.lstrip().startswith("{") else _pem(text, algorithms)
    if len(found) > KEYS_LIMIT:
        raise BadRequestError(f"there are {len(found)} keys in it, {KEYS_LIMIT} are the limit", hint="leave some out")
    return found


def no_key() -> BadRequestError:
    """What is said of keys that are none."""
    return BadRequestError("there is no public key in it that can be used", hint="give PEM, or a JSON Web Key Set")


def _pem(text: str, algorithms: Collection[str] | None) -> tuple[Key, ...]:
    found = []
    for block in _PEM.finditer(text):
        if "PRIVATE" in block.group(1):
            raise BadRequestError(
                "it has a private key, which is nobody's business here",
                hint="give the public one: openssl pkey -in KEY.pem -pubout",
            )
        try:
            material = load_pem_public_key(block.group(0).encode())
        except (ValueError, TypeError, UnsupportedAlgorithm) as error:
            raise BadRequestError(
                f"{block.group(1)} cannot be read as a public key: {error}",
                hint="give the key alone: openssl x509 -in CERTIFICATE.pem -noout -pubkey",
            ) from None
        found.append(_key(material, algorithms))
    if not found:
        raise no_key()
    return tuple(found)


def _jwks(text: str, algorithms: Collection[str] | None) -> tuple[Key, ...]:
    try:
        data = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise BadRequestError(f"this is no JSON Web Key Set: {str(error)[:200]}", hint="check the file") from None
    listed = data.get("keys", [data]) if isinstance(data, dict) else None
    if not isinstance(listed, list) or len(listed) > KEYS_LIMIT:
        raise BadRequestError(
            "this is no JSON Web Key Set", hint=f'it is {{"keys": […]}}, at most {KEYS_LIMIT} of them'
        )
    # What it has for other purposes, or of kinds that come later, is left alone (RFC 7517, 5).
    found = tuple(key for one in listed if (key := _jwk(one, algorithms)) is not None)
    if listed and not found:
        raise no_key()
    return found


def _jwk(data: Any, algorithms: Collection[str] | None) -> Key | None:
    if not isinstance(data, dict) or data.get("kty") not in ("RSA", "EC", "OKP") or "d" in data:
        # A secret in a set that everybody can read is none.
        return None
    uses = data.get("key_ops", ["verify"])
    if data.get("use", "sig") != "sig" or not isinstance(uses, list) or "verify" not in uses:
        return None
    kid, only = data.get("kid"), data.get("alg")
    if only is not None and not isinstance(only, str):
        return None
    if kid is not None and not (isinstance(kid, str) and 0 < len(kid) <= KID_LIMIT):
        return None
    try:
        material = jwt.PyJWK(data, algorithm=only).key
        return _key(material, algorithms, kid=kid, only=only)
    except (PyJWTError, BadRequestError, LookupError, ArithmeticError, AttributeError, ValueError, TypeError):
        # Whatever one of them is made of, the others are used.
        return None
    except UnsupportedAlgorithm:
        return None


def _key(
    material: object, algorithms: Collection[str] | None, *, kid: str | None = None, only: str | None = None
) -> Key:
    able: tuple[str, ...]
    match material:
        case rsa.RSAPublicKey():
            if material.key_size < RSA_BITS:
                raise BadRequestError(
                    f"an RSA key of {material.key_size} bits can be broken", hint=f"use {RSA_BITS} or more, or Ed25519"
                )
            kind, able = "an RSA key", RSA_ALGORITHMS
        case ec.EllipticCurvePublicKey() if material.curve.name in CURVE_ALGORITHMS:
            kind, able = f"a key of {material.curve.name}", (CURVE_ALGORITHMS[material.curve.name],)
        case ed25519.Ed25519PublicKey() | ed448.Ed448PublicKey():
            kind, able = "an Edwards-curve key", ("EdDSA",)
        case _:
            raise BadRequestError(
                "this kind of key signs no tokens here", hint="use RSA, P-256, P-384, P-521 or Ed25519"
            )
    if only is not None:
        able = tuple(one for one in able if one == only)
    return Key(material, _allowed(able, algorithms, kind, able), kid)


def _allowed(
    able: Sequence[str], algorithms: Collection[str] | None, kind: str, default: Sequence[str]
) -> tuple[str, ...]:
    if algorithms is None:
        return tuple(default)
    chosen = tuple(one for one in able if one in algorithms)
    if not chosen:
        raise BadRequestError(
            f"{kind} cannot be used with {', '.join(algorithms)}", hint=f"it can be with {', '.join(able)}"
        )
    return chosen
