"""Sizes in memory and on disk as text for people. Pure."""

from __future__ import annotations

__all__ = ["part", "size"]

_GIB = 1024**3
_MIB = 1024**2


def size(size_bytes: float) -> str:
    """1.8 GiB, or 230 MiB below one."""
    return f"{size_bytes / _GIB:.1f} GiB" if size_bytes >= _GIB else f"{size_bytes / _MIB:.0f} MiB"


def part(some_bytes: float, all_bytes: float) -> str:
    """1.8 of 2.0 GiB: both in the unit of the whole."""
    if all_bytes >= _GIB:
        return f"{some_bytes / _GIB:.1f} of {size(all_bytes)}"
    return f"{some_bytes / _MIB:.0f} of {size(all_bytes)}"
