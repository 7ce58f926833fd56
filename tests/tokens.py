"""Tokens as others make them: of any key, with any header, right but for what a test changes."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import warnings
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa

__all__ = ["SECRET", "claims", "crafted", "jwks", "key_pair", "public_pem", "signed"]

SECRET = "0123456789abcdef0123456789abcdef"


def claims(**changes: Any) -> dict[str, Any]:
    """Of an access token of ann, the operator, for ten minutes. None: without that claim."""
    now_s = int(time.time())
    base = {
        "sub": "ann",
        "roles": ["operator"],
        "iat": now_s,
        "exp": now_s + 600,
        "aud": "rfm-runtime",
        "iss": "rfm-runtime",
        "jti": "1",
    }
    return {key: value for key, value in (base | changes).items() if value is not None}


def signed(key: Any = SECRET, algorithm: str = "HS256", headers: dict[str, Any] | None = None, **changes: Any) -> str:
    """By the library, which does not sign everything."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return jwt.encode(claims(**changes), key, algorithm=algorithm, headers=headers)


def crafted(header: dict[str, Any], secret: bytes = SECRET.encode(), **changes: Any) -> str:
    """Signed by hand as HS256, whatever the header says and whatever the secret is."""
    parts = [_encoded(json.dumps(part).encode()) for part in (header, claims(**changes))]
    signature = hmac.new(secret, ".".join(parts).encode(), hashlib.sha256).digest()
    return ".".join([*parts, _encoded(signature)])


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


def key_pair(kind: str) -> Any:
    """A new private key: rsa, ec or ed25519."""
    if kind == "rsa":
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)
    return ec.generate_private_key(ec.SECP256R1()) if kind == "ec" else ed25519.Ed25519PrivateKey.generate()


def public_pem(private: Any) -> str:
    """Its public key."""
    encoding, kind = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
    return private.public_key().public_bytes(encoding, kind).decode()


def jwks(**keys: Any) -> str:
    """A JSON Web Key Set of private keys' public ones, by key id."""
    found = []
    for kid, private in keys.items():
        public = private.public_key()
        if isinstance(private, rsa.RSAPrivateKey):
            fields = jwt.algorithms.RSAAlgorithm.to_jwk(public, as_dict=True)
        elif isinstance(private, ec.EllipticCurvePrivateKey):
            fields = jwt.algorithms.ECAlgorithm.to_jwk(public, as_dict=True)
        else:
            fields = jwt.algorithms.OKPAlgorithm.to_jwk(public, as_dict=True)
        found.append({**fields, "kid": kid, "use": "sig"})
    return json.dumps({"keys": found})
