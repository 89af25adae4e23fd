"""Being told by PostgreSQL that there are endings: a connection that LISTENs.

It only saves time. What is read, and when that counts as news, does not depend on it: where a bell is silent, because a
pooler between us keeps no LISTEN or a line was cut without a word, the log is read as often as where there is none.
"""

from __future__ import annotations

import asyncio
import os
import selectors
import time
from typing import TYPE_CHECKING, Any, Final

from tallystick.storage.sql.endings import CHANNEL

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine
    from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine

_RENEWED_SECONDS: Final = 60
"""A bell that nobody rings cannot be told from one that was cut, so it is hung up anew so often."""


class Bell:
    """For synchronous code; used by one thread at a time."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._has_server_told = engine.dialect.name == "postgresql" and engine.driver == "psycopg"
        self._connection: Connection | None = None
        self._hung_at = 0.0
        self._process = 0
        self._inherited: list[object] = []

    def wait(self, seconds: float) -> None:
        """Until it rings, or for so long. It also returns when it was just hung up, as it may have rung before."""
        if not self._has_server_told:
            time.sleep(seconds)
            return
        if self._process != os.getpid():
            # A fork's parent goes on with it: what is closed here would be closed there.
            self._inherited.append(self._connection)
            self._connection = None
        if self._connection is None or time.monotonic() > self._hung_at + _RENEWED_SECONDS:
            self._hang()
            return
        try:
            self._await_ring(_line(self._connection), seconds)
        except BaseException:
            self.close()
            raise

    def close(self) -> None:
        """Take it down."""
        connection, self._connection = self._connection, None
        if connection is not None and self._process == os.getpid():
            connection.invalidate()  # or it would go on listening in the pool
            connection.close()

    def _hang(self) -> None:
        self.close()
        connection = self._engine.connect()
        try:
            connection.execution_options(isolation_level="AUTOCOMMIT")
            connection.exec_driver_sql(f"LISTEN {CHANNEL}")
        except BaseException:
            connection.close()
            raise
        self._connection, self._hung_at, self._process = connection, time.monotonic(), os.getpid()

    @staticmethod
    def _await_ring(line: Any, seconds: float) -> None:  # noqa: ANN401 - libpq's connection
        with selectors.DefaultSelector() as selector:
            selector.register(line.socket, selectors.EVENT_READ)
            if selector.select(seconds):
                _take_rings(line)


class AsyncBell:
    """For asynchronous code; it hangs in the event loop that waits for it."""

    def __init__(self, engine: AsyncEngine) -> None:
        self._engine = engine
        self._has_server_told = engine.dialect.name == "postgresql" and engine.driver == "psycopg"
        self._connection: AsyncConnection | None = None
        self._hung_at = 0.0
        self._loop: asyncio.AbstractEventLoop | None = None

    async def wait(self, seconds: float) -> None:
        """See :meth:`Bell.wait`."""
        if not self._has_server_told:
            await asyncio.sleep(seconds)
            return
        loop = asyncio.get_running_loop()
        if self._connection is None or self._loop is not loop or loop.time() > self._hung_at + _RENEWED_SECONDS:
            await self._hang(loop)
            return
        try:
            await self._await_ring(loop, _line(self._connection.sync_connection), seconds)
        except BaseException:
            await self.close()
            raise

    async def close(self) -> None:
        """Take it down."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.invalidate()
            await connection.close()

    async def _hang(self, loop: asyncio.AbstractEventLoop) -> None:
        await self.close()
        connection = await self._engine.connect()
        try:
            await connection.execution_options(isolation_level="AUTOCOMMIT")
            await connection.exec_driver_sql(f"LISTEN {CHANNEL}")
        except BaseException:
            await connection.close()
            raise
        self._connection, self._loop, self._hung_at = connection, loop, loop.time()

    @staticmethod
    async def _await_ring(loop: asyncio.AbstractEventLoop, line: Any, seconds: float) -> None:  # noqa: ANN401
        rung = asyncio.Event()
        socket: int = line.socket
        loop.add_reader(socket, rung.set)
        try:
            async with asyncio.timeout(seconds):
                await rung.wait()
        except TimeoutError:
            return
        finally:
            loop.remove_reader(socket)
        _take_rings(line)


def _line(connection: Any) -> Any:  # noqa: ANN401 - SQLAlchemy's connection; psycopg's wrapper of libpq's
    own = connection.connection.dbapi_connection
    return getattr(own, "driver_connection", own).pgconn


def _take_rings(line: Any) -> None:  # noqa: ANN401
    """Raises psycopg's OperationalError where the other end has gone."""
    line.consume_input()
    while line.notifies() is not None:
        pass
