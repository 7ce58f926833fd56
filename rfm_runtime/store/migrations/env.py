"""What Alembic runs: our revisions on the connection that `store.migrate` hands over."""

from __future__ import annotations

from alembic import context

# Only Alembic has a configuration: whoever imports it to look at it migrates nothing.
if hasattr(context, "config"):
    context.configure(connection=context.config.attributes["connection"])
    with context.begin_transaction():
        context.run_migrations()
