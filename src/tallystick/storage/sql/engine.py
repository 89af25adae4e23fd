"""From a URL to an engine. What each database needs to be safe and quick is decided here, and nowhere else."""

from __future__ import annotations

import os
import select
import time
import weakref
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, TypeVar, cast

from sqlalchemy import URL, Dialect, Engine, create_engine, event
from sqlalchemy.exc import ArgumentError, DisconnectionError, InvalidatePoolError, InvalidRequestError
from sqlalchemy.pool import QueuePool, StaticPool

from tallystick.errors import GeneralError
from tallystick.storage.sql import mysql

if TYPE_CHECKING:
    from sqlalchemy.engine.interfaces import DBAPIConnection
    from sqlalchemy.ext.asyncio import AsyncEngine
    from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection

AT_ONCE: Final = 15
"""How many connections an engine has at the most."""

WAIT_SECONDS: Final = 5
"""How long to wait for a connection, for SQLite's one writer, or for a server that does not answer."""

SYNC_DRIVERS: Final = {"sqlite": "pysqlite", "postgresql": "psycopg", "mysql": "pymysql", "mariadb": "pymysql"}
ASYNC_DRIVERS: Final = {"sqlite": "aiosqlite", "postgresql": "psycopg", "mysql": "asyncmy", "mariadb": "asyncmy"}
EXTRAS: Final = {"aiosqlite": "aiosqlite", "psycopg": "postgresql", "pymysql": "mysql", "asyncmy": "mysql"}
"""What to install for a driver: ``tallystick[extra]``."""

IDLE_SECONDS: Final = 10
"""A connection of psycopg's that was idle for longer is tried before it is used, as one is that was cut."""

LOOP_BOUND_DRIVERS: Final = frozenset({"aiomysql", "asyncmy", "asyncpg"})
"""Those whose connections belong to an event loop; psycopg and aiosqlite ask for the running one each time."""

_PEER_IS_GONE: Final = {
    "keepalives_idle": 10,
    "keepalives_interval": 3,
    "keepalives_count": 3,
    "tcp_user_timeout": 15_000,
}
"""libpq's options by which a server that vanished without a word, as with its network, is given up within 20 seconds or
so; by itself the kernel waits for hours, and a place in the pool with it."""

_USED_AT: Final = "tallystick_used_at"
_OWNER: Final = "tallystick_owner"
"""The process that made a connection."""
_SQLITE_BUSY: Final = 5

E = TypeVar("E")


def make_engine(url: URL) -> Engine:
    """An engine for synchronous code. Raises :class:`GeneralError` for a driver that is missing, or asynchronous."""
    url = _with_driver(url, SYNC_DRIVERS)
    if _load_dialect(url).is_async:
        raise _wrong_facade(url, "AsyncSessions")
    engine = _make(create_engine, url, _sync_pool(url))
    _set_up(engine, url)
    return engine


def make_async_engine(url: URL, at_once: int = AT_ONCE) -> AsyncEngine:
    """An engine for asynchronous code, which keeps so many connections. Raises :class:`GeneralError` for a driver that
    is missing, or synchronous."""
    url = _with_driver(url, ASYNC_DRIVERS)
    _load_dialect(url)

    def create(url: URL, **options: object) -> AsyncEngine:
        # Needs greenlet, which is no dependency of synchronous code.
        from sqlalchemy.ext.asyncio import create_async_engine  # noqa: PLC0415

        return create_async_engine(url, **options)

    try:
        engine = _make(create, url, _async_pool(url, at_once))
    except InvalidRequestError as error:
        raise _wrong_facade(url, "Sessions") from error
    _set_up(engine.sync_engine, url)
    return engine


def is_loop_bound(engine: AsyncEngine) -> bool:
    """Tell whether the engine's connections can be used, and closed, in the event loop alone that made them."""
    return engine.driver in LOOP_BOUND_DRIVERS


def is_file(url: URL) -> bool:
    """Tell whether the database is an SQLite file, as against one in memory or on a server."""
    return sqlite_file(url) is not None


def sqlite_file(url: URL) -> Path | None:
    """Where an SQLite database is; None if it is in memory, or not SQLite."""
    name = url.database or ""
    if name.startswith("file:") and "uri" in url.query:
        name = name.removeprefix("file:")
    in_memory = name in ("", ":memory:") or url.query.get("mode") == "memory"
    return Path(name) if url.get_backend_name() == "sqlite" and not in_memory else None


def name_database(url: URL) -> str:
    """A URL to show to people: without its password, and without options, among which might be another."""
    plain = url.set(drivername=url.get_backend_name(), query={}).render_as_string(hide_password=True)
    hosts = url.query.get("host", ()) if not url.host else ()
    several = hosts if isinstance(hosts, str) else ",".join(hosts)
    return plain.replace("@/", f"@{several}/", 1) if several else plain


def _with_driver(url: URL, drivers: dict[str, str]) -> URL:
    name = url.get_backend_name()
    return url if "+" in url.drivername else url.set(drivername=f"{name}+{drivers[name]}")


def _load_dialect(url: URL) -> type[Dialect]:
    try:
        return url.get_dialect()
    except ArgumentError as error:
        raise GeneralError(f"there is no driver {url.drivername}", reason="bad_url") from error


def _make(create: Callable[..., E], url: URL, pool: dict[str, object]) -> E:
    try:
        return create(
            url,
            isolation_level="AUTOCOMMIT",
            # A rollback when a connection goes back would do nothing in AUTOCOMMIT, at the price of a turn of
            # aiosqlite's thread: measured, 480 µs a statement with it and 260 without.
            skip_autocommit_rollback=True,
            hide_parameters=True,  # errors go to logs, and parameters are people's data
            connect_args=_connect_args(url),
            **pool,
        )
    except ImportError as error:
        raise _missing_driver(url.get_driver_name(), error) from error


def _missing_driver(driver: str, error: ImportError) -> GeneralError:
    extra = EXTRAS.get(driver)
    package = f'"tallystick[{extra}]"' if extra else driver
    return GeneralError(
        f"the driver {driver} is not installed ({error.name or error}): pip install {package}",
        reason="missing_driver",
    )


def _connect_args(url: URL) -> dict[str, object]:
    if url.get_backend_name() == "sqlite":
        return {"timeout": WAIT_SECONDS, "check_same_thread": False}
    name = "timeout" if url.get_driver_name() == "asyncpg" else "connect_timeout"
    options: dict[str, object] = {name: WAIT_SECONDS}
    if _is_psycopg(url):
        options |= _PEER_IS_GONE
    return {name: value for name, value in options.items() if name not in url.query}


def _sync_pool(url: URL) -> dict[str, object]:
    if url.get_backend_name() == "sqlite" and not is_file(url):
        # The one connection is the database, so it is lent to one thread at a time: sqlite3 asks the connection, not
        # the statement, how many rows were changed, and could answer with another thread's number.
        return _queue(1) | {"poolclass": QueuePool}
    return _queue(AT_ONCE)


def _async_pool(url: URL, at_once: int) -> dict[str, object]:
    if url.get_backend_name() == "sqlite" and not is_file(url):
        return {"poolclass": StaticPool}  # aiosqlite's thread runs one statement after another
    # Without a limit of its own: SQLAlchemy's queue for those who wait belongs for ever to the first event loop in
    # which someone waited. AsyncSqlStore keeps to the limit instead.
    return {"pool_size": at_once, "max_overflow": -1}


def _is_psycopg(url: URL) -> bool:
    return url.get_driver_name().startswith("psycopg") and url.get_driver_name() != "psycopg2"


def _queue(size: int) -> dict[str, object]:
    return {"pool_size": size, "max_overflow": 0, "pool_timeout": WAIT_SECONDS}


def _set_up(engine: Engine, url: URL) -> None:
    if is_file(url):
        event.listen(engine, "connect", _set_up_sqlite)
    if url.get_backend_name() in mysql.BACKENDS:
        event.listen(engine, "connect", mysql.set_up)
    if is_file(url) or url.get_backend_name() != "sqlite":
        _part_at_fork(engine)
    if url.get_backend_name() != "sqlite":
        _try_suspects(engine, is_psycopg=_is_psycopg(url))


def _try_suspects(engine: Engine, *, is_psycopg: bool) -> None:
    """A server that was restarted has cut what lies in the pool, and a firewall may have forgotten it: connect anew
    then, instead of failing whoever comes next. To try each connection each time costs a round trip before each
    statement: measured, a sixth of a refresh's processor time. One of psycopg's that was cut has something to read, and
    to see that costs a microsecond; all others are tried. Not by ``pool_pre_ping``, which does not wait until it is
    known whose a connection is."""

    def note(_connection: DBAPIConnection | None, entry: ConnectionPoolEntry) -> None:
        entry.info[_USED_AT] = time.monotonic()

    def check(connection: DBAPIConnection, entry: ConnectionPoolEntry, _proxy: object) -> None:
        used_at = entry.info.get(_USED_AT)
        if used_at is None:
            return
        if is_psycopg and not (time.monotonic() - used_at > IDLE_SECONDS or _has_something_to_read(entry)):
            return
        try:
            engine.dialect.do_ping(connection)
        except engine.dialect.loaded_dbapi.Error as error:
            raise InvalidatePoolError from error

    event.listen(engine, "checkin", note)
    event.listen(engine, "checkout", check)


def _has_something_to_read(entry: ConnectionPoolEntry) -> bool:
    """Tell whether the server has said something unasked: mostly, that it goes."""
    try:
        poll = select.poll()
        poll.register(cast("Any", entry.driver_connection).pgconn.socket, select.POLLIN)
        return bool(poll.poll(0))
    except Exception:
        return True  # closed already, or not to be known here


def _part_at_fork(engine: Engine) -> None:
    """After a fork (a server that loads the app before it forks its workers), parent and child must not speak over one
    socket: each would get answers meant for the other, other people's sessions. The child connects anew, and keeps what
    it inherited untouched: to close an SQLite connection there harms the parent's (sqlite.org/howtocorrupt.html 2.6).

    uWSGI forks in C, and Python does not hear of it: so each connection also knows whose it is.
    """
    reference = weakref.ref(engine)
    inherited: list[object] = []

    def own(_connection: DBAPIConnection, entry: ConnectionPoolEntry) -> None:
        entry.info[_OWNER] = os.getpid()

    def disown(connection: DBAPIConnection, entry: ConnectionPoolEntry, proxy: PoolProxiedConnection) -> None:
        if entry.info[_OWNER] != os.getpid():
            inherited.append(connection)
            # As SQLAlchemy's manual has it ("Using Connection Pools with Multiprocessing"), or it would be closed.
            entry.dbapi_connection = proxy.dbapi_connection = None  # type: ignore[misc]
            raise DisconnectionError("this connection is another process's")

    event.listen(engine, "connect", own)
    event.listen(engine, "checkout", disown, insert=True)

    def part() -> None:
        engine = reference()
        if engine is not None:
            inherited.append(engine.pool)
            engine.dispose(close=False)

    os.register_at_fork(after_in_child=part)


def _set_up_sqlite(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
    """WAL, so that readers never wait. FULL, so that what was acknowledged outlives a power cut: in WAL mode the
    default NORMAL may lose the last commits, and with them a sign-in or a revocation."""
    cursor = connection.cursor()
    _set_wal_mode(cursor.execute)
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _set_wal_mode(execute: Callable[[str], object]) -> None:
    """Ask again while others ask at the same moment: SQLite does not apply its own waiting time to this."""
    deadline = time.monotonic() + WAIT_SECONDS
    while True:
        try:
            execute("PRAGMA journal_mode=WAL")
        except Exception as error:
            if getattr(error, "sqlite_errorcode", 0) & 0xFF != _SQLITE_BUSY:
                raise
            if time.monotonic() > deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _wrong_facade(url: URL, facade: str) -> GeneralError:
    return GeneralError(f"{url.drivername} is for tallystick.{facade}", reason="wrong_facade")
