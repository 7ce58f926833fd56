"""Tokens can be revoked."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "3"
down_revision = "2"


def upgrade() -> None:
    """The table; nothing was revoked before."""
    op.create_table(
        "revocations",
        sa.Column("key", sa.String(), primary_key=True, nullable=False),
        sa.Column("revocation", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )
