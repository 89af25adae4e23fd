"""Bringing a database to the schema of this version, by Alembic; safe if many processes do it at once."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from io import StringIO
from typing import Final

from alembic import command
from alembic.config import Config
from sqlalchemy import Connection, func, select

from tallystick.storage.sql.mysql import is_mysql, named_lock
from tallystick.storage.sql.revision import load_revision
from tallystick.storage.sql.schema import HEAD

_LOCK: Final = 0x74616C6C79  # "tally": a number of our own among the database's advisory locks

_MIGRATION_SECONDS: Final = 600
"""How long to wait for another process's migration."""


def make_config(output: StringIO | None = None) -> Config:
    """Alembic's settings, without a file."""
    config = Config(output_buffer=output) if output else Config()
    config.set_main_option("script_location", "tallystick.storage.sql:migrations")
    return config


def upgrade(connection: Connection) -> None:
    """Go to the newest schema in one transaction, or not at all; only MySQL and MariaDB can undo no table."""
    config = make_config()
    with _alone(connection):
        if load_revision(connection) != HEAD:  # another process may have been faster
            config.attributes["connection"] = connection
            command.upgrade(config, HEAD)


def render_upgrade(connection: Connection) -> str:
    """The SQL that :func:`upgrade` would run on this database; empty if there is nothing to do."""
    revision = load_revision(connection)
    if revision == HEAD:
        return ""
    output = StringIO()
    config = make_config(output)
    is_mariadb = getattr(connection.dialect, "is_mariadb", False)
    config.attributes["dialect"] = "mariadb" if is_mariadb else connection.dialect.name
    command.upgrade(config, f"{revision or 'base'}:{HEAD}", sql=True)
    return output.getvalue()


@contextmanager
def _alone(connection: Connection) -> Generator[None]:
    """A transaction that no other migration of this database gets into. On MySQL and MariaDB, which end a transaction
    at every table, a lock alone."""
    connection.rollback()  # what was read so far had begun one
    if connection.dialect.name == "sqlite":
        with connection.begin():
            # The engine is in AUTOCOMMIT, so BEGIN is ours to send; it takes the write lock before anything is read.
            connection.exec_driver_sql("BEGIN IMMEDIATE")
            yield
    elif is_mysql(connection):
        with named_lock(connection, "migration", seconds=_MIGRATION_SECONDS):
            yield
    else:
        connection.execution_options(isolation_level="READ COMMITTED")
        with connection.begin():
            connection.execute(select(func.pg_advisory_xact_lock(_LOCK)))
            yield
