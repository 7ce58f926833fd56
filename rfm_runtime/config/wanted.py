"""What a setting takes, in words: those of the library that checks it are of Python's types."""

from __future__ import annotations

from typing import Annotated, Any, get_args, get_origin

from msgspec import Meta

__all__ = ["wanted"]

KINDS: dict[object, str] = {int: "a whole number", float: "a number", bool: "true or false", str: "text"}


def wanted(hint: Any) -> str:
    """Of a type of `Settings`, as the end of a sentence: *a whole number from 0 to 65535*."""
    limits = Meta()
    if get_origin(hint) is Annotated:
        hint, *metas = get_args(hint)
        limits = next((meta for meta in metas if isinstance(meta, Meta)), limits)
    kind = KINDS.get(hint, "a list of texts" if get_origin(hint) is tuple else "another value")
    low, high = limits.ge, limits.le
    if low is not None and high is not None and high < 2**31:
        return f"{kind} from {low} to {high}"
    bounds = [
        f"above {limits.gt}" if limits.gt is not None else "",
        f"of {low} or more" if low is not None else "",
        f"up to {high}" if high is not None and high < 2**31 else "",
    ]
    return " ".join(filter(None, [kind, " and ".join(filter(None, bounds))]))
