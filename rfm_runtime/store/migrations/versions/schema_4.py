"""Users have rules of what they want to be told."""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "4"
down_revision = "3"


def upgrade() -> None:
    """The table; nobody had any before."""
    op.create_table(
        "rules",
        sa.Column("user", sa.String(), primary_key=True, nullable=False),
        sa.Column("rules", sa.LargeBinary(), nullable=False),
        sqlite_with_rowid=False,
    )
