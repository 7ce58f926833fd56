"""Numbers of things as text for people. Pure."""

from __future__ import annotations

__all__ = ["counted"]


def counted(number: int, one: str, several: str | None = None) -> str:
    """1 operation, 2 operations, 1,234 operations. several: where it is not `one` with an s."""
    return f"{number:,} {one if number == 1 else several or f'{one}s'}"
