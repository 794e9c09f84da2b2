"""Alembic's entry: always handed a connection by `adapters.store.database.migrate`."""

from alembic import context

from adapters.store.schema import metadata

connection = context.config.attributes["connection"]
context.configure(connection=connection, target_metadata=metadata, render_as_batch=True)
context.run_migrations()
