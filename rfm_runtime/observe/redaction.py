"""Secrets that got into a log line after all, masked: we choose field by field what is logged, but peers choose texts.

A token in a path, in a client's name, or in the message of an error about either is known by its shape, and this
process's own ones by their values.
"""

from __future__ import annotations

import re
from typing import Any

__all__ = ["MASK", "hide", "redacted"]

MASK = "[secret]"

LEAST = 8
"""Characters of a secret that is looked for: masking shorter ones would tell where they are."""

_SHAPES = re.compile(
    # A JSON Web Token, whole or without its signature; a header; a private key. What only begins like a token is found
    # as well, and left alone: passed over at once, since looked for in each of its letters it takes minutes.
    r"(?P<beginning>eyJ[\w-]{6,})(?P<token>\.[\w-]{6,}(?:\.[\w-]*)?)?"
    r"|(?<=bearer )[^\s'\",]{16,}|(?<=authorization: basic )[^\s'\",]+"
    r"|-----BEGIN [A-Z ]{0,20}PRIVATE KEY-----(?:.{0,10000}?-----END [A-Z ]{0,20}PRIVATE KEY-----)?",
    re.IGNORECASE | re.DOTALL,
)
_known: set[str] = set()


def hide(secret: str) -> None:
    """Mask this value from now on, wherever it comes."""
    if len(secret) >= LEAST:
        _known.add(secret)


def _masked(found: re.Match[str]) -> str:
    return found[0] if found["beginning"] and not found["token"] else MASK


def redacted(value: Any) -> Any:
    """The value with all secrets in its texts masked, lists and dictionaries included."""
    match value:
        case str():
            for secret in _known:
                if secret in value:
                    value = value.replace(secret, MASK)
            return _SHAPES.sub(_masked, value)
        case list() | tuple():
            return [redacted(item) for item in value]
        case dict():
            return {key: redacted(item) for key, item in value.items()}
    return value
