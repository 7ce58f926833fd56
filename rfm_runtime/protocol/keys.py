"""Keys of hosts (CURVE, RFC 26 of ZeroMQ) as the runtime's processes hold them, and as a `location` names them."""

from __future__ import annotations

from dataclasses import dataclass, field

from rfm_runtime.errors import BadRequestError

__all__ = ["KEY_BYTES", "KeyPair", "Towards", "key_of", "located", "place"]

KEY_BYTES = 32


@dataclass(frozen=True, slots=True)
class KeyPair:
    """A host's own, 32 bytes each."""

    public: bytes
    secret: bytes = field(repr=False)


@dataclass(frozen=True, slots=True)
class Towards:
    """What a connection to another host takes: who we are, and the public key of whoever has to be there."""

    own: KeyPair
    peer: bytes


def key_of(digits: str) -> bytes:
    """A public key from its 64 hexadecimal digits. Raises BadRequestError."""
    try:
        key = bytes.fromhex(digits)
    except ValueError:
        key = b""
    if len(key) != KEY_BYTES:
        raise BadRequestError("a public key has 64 hexadecimal digits", hint="`rfm-runtime keys show` prints it")
    return key


def located(endpoint: str, public: bytes) -> str:
    """The `location` of an engine that is reached over the network: only the host with this key is the one meant."""
    return f"{endpoint}?key={public.hex()}"


def place(location: str) -> tuple[str, bytes | None]:
    """The endpoint of a `location`, and whose key has to be there; None on this host. Raises BadRequestError."""
    endpoint, found, digits = location.partition("?key=")
    return endpoint, key_of(digits) if found else None
