"""Changes of the schema, one file a version, carried out by Alembic on a copy: see `store.migrate`."""
