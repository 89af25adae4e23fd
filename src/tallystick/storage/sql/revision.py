"""Which schema a database has, and whether this version can work with it. Alembic is loaded to change it only."""

from __future__ import annotations

from sqlalchemy import Connection, String, column, inspect, select, table

from tallystick.errors import GeneralError
from tallystick.storage.sql.engine import name_database
from tallystick.storage.sql.mysql import check_server, is_mysql
from tallystick.storage.sql.schema import HEAD, REVISIONS, VERSION_TABLE

_version = select(column("version_num", String)).select_from(table(VERSION_TABLE))


def load_revision(connection: Connection) -> str | None:
    """The schema that the database has; None if it has none of ours. Raises :class:`GeneralError` (``schema_newer``)
    for one that this version does not know."""
    if not inspect(connection).has_table(VERSION_TABLE):
        return None
    revision = connection.execute(_version).scalar_one_or_none()
    if revision is not None and revision not in REVISIONS:
        raise GeneralError(
            f"the schema in {name_database(connection.engine.url)} is {revision}, which is newer than "
            f"this version of Tallystick knows ({HEAD}): upgrade tallystick",
            reason="schema_newer",
        )
    return revision


def ensure_schema(connection: Connection, migrate: bool | None) -> None:
    """Make sure that the database has :data:`HEAD`.

    ``migrate`` says whether an older one is brought up to date; None: on SQLite yes, elsewhere no, since on a server
    that is for the operator to time. Raises :class:`GeneralError` (``schema_outdated``, ``schema_newer``).
    """
    _check_abilities(connection)
    revision = load_revision(connection)
    if revision == HEAD:
        return
    if not (connection.dialect.name == "sqlite" if migrate is None else migrate):
        raise _outdated(connection, revision)
    from tallystick.storage.sql.migrations import upgrade  # noqa: PLC0415 - Alembic

    upgrade(connection)


def _check_abilities(connection: Connection) -> None:
    if is_mysql(connection):
        check_server(connection)
    elif not connection.dialect.delete_returning:
        raise GeneralError(
            "this database is too old: Tallystick needs DELETE ... RETURNING (SQLite 3.35 of 2021)",
            reason="unsupported_store",
        )


def _outdated(connection: Connection, revision: str | None) -> GeneralError:
    name = name_database(connection.engine.url)
    found = "has no schema yet" if revision is None else f"has schema {revision}"
    return GeneralError(
        f"{name} {found}, but this version of Tallystick needs {HEAD}. "
        f"Run: tallystick migrate {name} (with the password, as in the app's own URL)",
        reason="schema_outdated",
    )
