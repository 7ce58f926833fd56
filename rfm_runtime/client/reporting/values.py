"""Whatever a program says, as every encoding can carry it. Nothing here raises: reporting never does."""

from __future__ import annotations

import logging
import math
from collections.abc import Mapping
from typing import Any

import msgspec

from rfm_runtime.protocol.causes import CANCELED
from rfm_runtime.protocol.limits import DETAILS_LIMIT_BYTES, LABEL_LIMIT, MESSAGE_LIMIT, NAME_LIMIT
from rfm_runtime.protocol.operation import ErrorInfo

__all__ = ["canceled", "error_of", "number_of", "plain_details", "text_of", "total_of"]

log = logging.getLogger("rfm_runtime")


def text_of(value: Any, limit: int) -> str:
    """Any value as a text that every encoding can carry, never longer than `limit`. Raises nothing."""
    try:
        text = value if isinstance(value, str) else str(value)
    except Exception:
        log.debug("a value that has no text", exc_info=True)
        text = f"<{type(value).__name__}>"
    # A name of a file that is no UTF-8 has surrogates.
    text = text.encode("utf-8", "replace").decode()
    return text if len(text) <= limit else text[: limit - 1] + "…"


def total_of(value: Any) -> float | None:
    """A total that a bar can have; None for one that nobody knows, or that is none."""
    return number_of(value) or None


def number_of(value: Any) -> float:
    """What cannot be a number of units is none: reporting never raises."""
    try:
        number = float(value)
    except Exception:
        log.debug("not a number: %s", type(value).__name__, exc_info=True)
        return 0.0
    return number if math.isfinite(number) and number >= 0.0 else 0.0


def plain_details(details: Any) -> dict[str, Any] | None:
    """Details as every encoding can carry them. Raises nothing."""
    if details is None:
        return None
    try:
        pairs = dict(details).items()
    except Exception:
        log.debug("details that are no mapping", exc_info=True)
        return {"details": text_of(details, MESSAGE_LIMIT)}
    plain = {text_of(key, LABEL_LIMIT): _value_of(value, 6) for key, value in pairs}
    size = len(msgspec.msgpack.encode(plain))
    if size > DETAILS_LIMIT_BYTES:
        return {"details_left_out": f"{size} bytes, {DETAILS_LIMIT_BYTES} are allowed"}
    return plain


def _value_of(value: Any, depth: int) -> Any:
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, int):
        return int(value) if -(2**63) <= value < 2**63 else text_of(value, MESSAGE_LIMIT)
    if isinstance(value, float):
        return float(value) if math.isfinite(value) else str(float(value))
    try:
        if depth and isinstance(value, Mapping):
            return {text_of(key, LABEL_LIMIT): _value_of(inner, depth - 1) for key, inner in value.items()}
        if depth and isinstance(value, list | tuple | set):
            return [_value_of(inner, depth - 1) for inner in value]
        if depth and hasattr(value, "item") and getattr(value, "size", 0) == 1:
            # A number of NumPy or PyTorch.
            return _value_of(value.item(), depth - 1)
    except Exception:
        log.debug("a detail that cannot be looked into", exc_info=True)
    return text_of(value, MESSAGE_LIMIT)


def error_of(error: BaseException) -> ErrorInfo:
    """What an exception says, for programs and for people."""
    name, text = type(error).__name__, text_of(error, MESSAGE_LIMIT)
    return ErrorInfo(code=name[:NAME_LIMIT], message=text_of(f"{name}: {text}" if text else name, MESSAGE_LIMIT))


def canceled(reason: str) -> ErrorInfo:
    """Why it was cancelled."""
    return CANCELED.error(text_of(reason, MESSAGE_LIMIT))
