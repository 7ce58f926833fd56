"""What the readers share: a limit of size before anything else, and decoding."""

from __future__ import annotations

from rfm_runtime.errors import BadRequestError

__all__ = ["LIMIT_BYTES", "checked", "decoded"]

LIMIT_BYTES = 1 << 20
"""Of a file of parameters. The deepest published locations have some 100,000 digits a coordinate."""


def decoded(data: bytes | memoryview) -> str:
    """UTF-8, with or without the byte order mark that Windows programs write. Raises BadRequestError."""
    if len(data) > LIMIT_BYTES:
        raise _too_long(len(data))
    try:
        return bytes(data).decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadRequestError(
            "the file is not text in UTF-8", hint="a view is read from a PNG, a TOML or a .kfr file"
        ) from None


def checked(text: str) -> str:
    """The text, if it is short enough to be looked at. Raises BadRequestError."""
    if len(text) > LIMIT_BYTES:
        raise _too_long(len(text))
    return text


def _too_long(size: int) -> BadRequestError:
    return BadRequestError(
        f"the file has {size} bytes, the limit of parameters is {LIMIT_BYTES}",
        hint="is it the right file? Parameters of a render take a few lines",
    )
