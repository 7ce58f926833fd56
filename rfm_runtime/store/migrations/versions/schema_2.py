"""Operations can be forgotten: children before parents, so parents are a column."""

from __future__ import annotations

import msgspec
import sqlalchemy as sa
from alembic import op

__all__ = ["down_revision", "revision", "upgrade"]

revision = "2"
down_revision = "1"

AT_ONCE = 1000


def upgrade() -> None:
    """The column, its values from the rows, and an index of those that have one."""
    op.add_column("operations", sa.Column("parent_id", sa.String()))
    connection = op.get_bind()
    # Not as this release's structs: the next one may know others than version 1 did.
    decode = msgspec.msgpack.Decoder().decode
    rows = sa.table("operations", sa.column("operation_id"), sa.column("row"), sa.column("parent_id"))
    last = ""
    while True:
        page = sa.select(rows.c.operation_id, rows.c.row).where(rows.c.operation_id > last)
        found = connection.execute(page.order_by(rows.c.operation_id).limit(AT_ONCE)).all()
        if not found:
            break
        last = found[-1][0]
        parents = [(operation_id, decode(row)["operation"].get("parent_id")) for operation_id, row in found]
        values = [{"of": operation_id, "parent": parent} for operation_id, parent in parents if parent is not None]
        if values:
            update = sa.update(rows).where(rows.c.operation_id == sa.bindparam("of"))
            connection.execute(update.values(parent_id=sa.bindparam("parent")), values)
    op.create_index("operations_parent", "operations", ["parent_id"], sqlite_where=sa.text("parent_id IS NOT NULL"))
