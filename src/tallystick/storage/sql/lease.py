"""A lock that one process of all that share a database can have: for work that one at a time should do.

It belongs to a connection, or to an open file, and so ends with the process that has it, however that ends.
"""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Final

from sqlalchemy import Connection, text

from tallystick.storage.sql.engine import sqlite_file
from tallystick.storage.sql.mysql import BACKENDS

if TYPE_CHECKING:
    from sqlalchemy.ext.asyncio import AsyncEngine

_POSTGRESQL: Final = "SELECT pg_try_advisory_lock(:name)", "SELECT pg_advisory_unlock(:name)"
_MYSQL: Final = "SELECT GET_LOCK(:name, 0)", "SELECT RELEASE_LOCK(:name)"


@asynccontextmanager
async def hold_lease(engine: AsyncEngine, name: str) -> AsyncGenerator[bool]:
    """Tell whether the lock ``name`` is ours until the context ends. False: somebody else has it. Nobody waits."""
    file = sqlite_file(engine.url)
    if file is not None:
        with _FileLock(file.with_name(f"{file.name}.{name}-lock")) as is_ours:
            yield is_ours
    elif engine.dialect.name == "sqlite":
        yield True  # in memory: nobody else has this database
    else:
        async with engine.connect() as connection:
            if not await connection.run_sync(_take, name):
                yield False
                return
            try:
                yield True
            finally:
                await connection.run_sync(_give_back, name)


def _take(connection: Connection, name: str) -> bool:
    statement, parameter = _statement(connection, name, 0)
    return bool(connection.execute(text(statement), {"name": parameter}).scalar())


def _give_back(connection: Connection, name: str) -> None:
    statement, parameter = _statement(connection, name, 1)
    connection.execute(text(statement), {"name": parameter})


def _statement(connection: Connection, name: str, which: int) -> tuple[str, str | int]:
    """With the lock's name as the database wants it: MySQL's are the server's and not one database's."""
    if connection.dialect.name in BACKENDS:
        full = f"tallystick.{connection.engine.url.database}.{name}"
        return _MYSQL[which], hashlib.sha256(full.encode()).hexdigest()  # at most 64 characters
    number = int.from_bytes(hashlib.sha256(f"tallystick.{name}".encode()).digest()[:8], signed=True)
    return _POSTGRESQL[which], number


class _FileLock:
    """A lock on a file beside the database's. It stays there, empty: to delete it would race with who opens it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._descriptor = -1

    def __enter__(self) -> bool:
        try:
            import fcntl  # noqa: PLC0415 - on Unix alone; elsewhere there is one worker only
        except ImportError:
            return True
        self._descriptor = os.open(self._path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True

    def __exit__(self, *_: object) -> None:
        if self._descriptor != -1:
            os.close(self._descriptor)
