"""The first schema: whatever has it was made by a release that knew no other."""

from __future__ import annotations

__all__ = ["down_revision", "revision", "upgrade"]

revision = "1"
down_revision = None


def upgrade() -> None:
    """Nothing comes before it."""
    raise NotImplementedError("a journal of version 1 is where migrations begin")
