"""What MySQL and MariaDB need that the other databases do not.

Their servers may break off any statement or transaction to resolve a deadlock, and undo it: it is run again. They have
one DELETE ... RETURNING between them, too few, so a step that deletes what it picks is a transaction.
"""

from __future__ import annotations

import hashlib
import random
import time
from collections.abc import Generator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, func, select
from sqlalchemy.exc import DBAPIError

from tallystick.errors import GeneralError

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.pool import ConnectionPoolEntry

BACKENDS: Final = frozenset({"mysql", "mariadb"})
"""What SQLAlchemy calls them, by the URL: either may stand for either server."""

LOCK_WAIT_SECONDS: Final = 1
"""How long one statement waits for a lock. The server's own 50 s would outlast every client."""

GIVE_UP_SECONDS: Final = 5
"""For how long a step is begun again."""

_LONGEST_PAUSE: Final = 0.05
_LOCK_NAME_LENGTH: Final = 64
_PASSING: Final = frozenset(
    {
        1213,  # ER_LOCK_DEADLOCK
        1205,  # ER_LOCK_WAIT_TIMEOUT
        1020,  # ER_CHECKREAD: MariaDB's innodb_snapshot_isolation, on an engine of the app's own
    }
)
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


class Retries:
    """How often one step was begun again, and for how long."""

    def __init__(self) -> None:
        self._deadline = time.monotonic() + GIVE_UP_SECONDS

    def pause_after(self, error: DBAPIError) -> float:
        """How many seconds to wait before the step is begun again. Raises the error where that is no use."""
        arguments: tuple[object, ...] = getattr(error.orig, "args", ())
        if not arguments or arguments[0] not in _PASSING or time.monotonic() > self._deadline:
            raise error
        # At random, so that those who met do not meet again.
        return random.uniform(0, _LONGEST_PAUSE)  # noqa: S311 - no secret


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
