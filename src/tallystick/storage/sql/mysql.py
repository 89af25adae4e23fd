"""What MySQL and MariaDB need that the other databases do not.

They have one DELETE ... RETURNING between them, too few, so a step that deletes what it picks is a transaction.
"""

from __future__ import annotations

import hashlib
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, func, select

from tallystick.errors import GeneralError
from tallystick.storage.sql.retries import GIVE_UP_SECONDS

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

BACKENDS: Final = frozenset({"mysql", "mariadb"})
"""What SQLAlchemy calls them, by the URL: either may stand for either server."""

LOCK_WAIT_SECONDS: Final = 1
"""How long one statement waits for a lock. The server's own 50 s would outlast every client."""

_LOCK_NAME_LENGTH: Final = 64
_OLDEST: Final = {False: (8, 0, 17), True: (10, 6)}
"""The first MySQL (False) and MariaDB (True) with SKIP LOCKED and with a collation that is exact."""


def is_mysql(connection: Connection) -> bool:
    """Tell whether this is MySQL or MariaDB."""
    return connection.dialect.name in BACKENDS


def check_server(connection: Connection) -> None:
    """Raise :class:`GeneralError` (``unsupported_store``) for a server that is too old."""
    is_mariadb: bool = getattr(connection.dialect, "is_mariadb", False)
    found = connection.dialect.server_version_info or ()
    if found < _OLDEST[is_mariadb]:
        raise GeneralError(
            f"this server is too old ({'.'.join(map(str, found))}): Tallystick needs MariaDB 10.6 or MySQL 8.0.17",
            reason="unsupported_store",
        )


def set_up(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    """READ COMMITTED, as it locks no gaps between rows. Strict, so that what is too long is an error, and not cut off
    to be someone else's name."""
    cursor = connection.cursor()
    cursor.execute("SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED")
    cursor.execute("SET SESSION sql_mode = CONCAT_WS(',', NULLIF(@@sql_mode, ''), 'STRICT_TRANS_TABLES')")
    cursor.execute(f"SET SESSION innodb_lock_wait_timeout = {LOCK_WAIT_SECONDS}")
    cursor.close()


@contextmanager
def named_lock(connection: Connection, *names: str, seconds: int = GIVE_UP_SECONDS) -> Generator[None]:
    """Be the only one with these names on the server. It belongs to the connection, not to a transaction."""
    place = connection.engine.url.database or ""
    name = hashlib.sha256("\0".join(("tallystick", place, *names)).encode()).hexdigest()[:_LOCK_NAME_LENGTH]
    if connection.execute(select(func.get_lock(name, seconds))).scalar_one() != 1:
        raise TimeoutError(f"another process held a lock for {seconds} s")
    try:
        yield
    finally:
        if not connection.invalidated:  # a lost connection has lost its locks
            connection.execute(select(func.release_lock(name)))
