"""Run by Alembic; the connection comes from `billow.services.receipt.migrate`."""

from alembic import context
from sqlalchemy import Connection

from billow.services.receipt.tables import Base

connection: Connection | None = context.config.attributes.get("connection")
if connection is None:
    raise RuntimeError("migrations run through billow.services.receipt.migrate, not through the alembic command")
# On SQLite too: its DDL is transactional once the driver is told to leave BEGIN to us.
context.configure(connection=connection, target_metadata=Base.metadata, transactional_ddl=True)
with context.begin_transaction():
    context.run_migrations()
