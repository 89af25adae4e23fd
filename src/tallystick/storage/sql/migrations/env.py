"""What Alembic runs: on the connection that it was given, in that connection's transaction.

It configures no logging: that is the app's.
"""

from __future__ import annotations

from alembic import context

from tallystick.storage.sql.schema import VERSION_TABLE

given = context.config.attributes
if context.is_offline_mode():
    # With the drivers' own style of parameters each % would be printed twice.
    context.configure(dialect_name=given["dialect"], dialect_opts={"paramstyle": "named"}, version_table=VERSION_TABLE)
else:
    context.configure(connection=given["connection"], version_table=VERSION_TABLE)

with context.begin_transaction():
    context.run_migrations()
