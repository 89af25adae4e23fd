"""The few statements that sign-ins and refreshes run, put to the driver itself.

SQLAlchemy renders each of them, once for an engine; the connection, its pool and the kind of its errors stay
SQLAlchemy's too. What it does around each connection and each execution takes several times as long as the driver's own
part, and is left out (bench/storing.py). Where somebody listens to an engine's statements, to trace them, they are
executed as all others are.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from types import TracebackType
from typing import Any, Final, Generic, TypeVar, cast
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Dialect, Engine, Insert, PoolProxiedConnection, Select, Update
from sqlalchemy.exc import DBAPIError
from sqlalchemy.util import await_only

T = TypeVar("T")


class Lent:
    """A connection of an engine's pool, good for :class:`Direct` statements alone: a third of what SQLAlchemy's own
    takes to make. Raises what that would."""

    __slots__ = ("connection", "dialect")

    connection: PoolProxiedConnection

    def __init__(self, engine: Engine) -> None:
        self.dialect = engine.dialect
        driver: Any = self.dialect.loaded_dbapi
        try:
            self.connection = engine.pool.connect()
        except driver.Error as error:
            raise _explain(self.dialect, None, error, is_gone=False) from error

    def __enter__(self) -> Lent:
        return self

    def __exit__(
        self, _kind: type[BaseException] | None, _error: BaseException | None, _trace: TracebackType | None
    ) -> None:
        self.connection.close()

    def invalidate(self, error: BaseException) -> None:
        """Do not give it back to the pool."""
        self.connection.invalidate(error)


def lend(engine: Engine) -> Connection | Lent:
    """A connection for statements of which all are :class:`Direct`."""
    # SQLAlchemy's own sees to an engine's options, of which an app's engine has AUTOCOMMIT at least.
    return engine.connect() if engine.get_execution_options() or not _is_usual(engine) else Lent(engine)


@dataclass(frozen=True, slots=True)
class _Rendered:
    text: str
    order: tuple[str, ...] | None
    """Of the parameters; None where the driver takes them by name."""


class Direct:
    """One statement and the names of its parameters, whose values must be such as every driver takes: text, whole
    numbers, bytes and None."""

    def __init__(
        self, statement: Select[Any] | Select[*tuple[Any, ...]] | Insert | Update, names: Iterable[str]
    ) -> None:
        self.statement = statement
        self._names = tuple(names)
        self._rendered = WeakKeyDictionary[Dialect, _Rendered]()

    def fetch(self, connection: Connection | Lent, values: Mapping[str, object]) -> Sequence[Any] | None:
        """The one row that there is, or None."""
        if isinstance(connection, Connection) and not _is_usual(connection.engine):
            return connection.execute(self.statement, values).one_or_none()
        rows = self._run(connection, values, _READING)
        return rows[0] if rows else None

    def fetch_all(self, connection: Connection | Lent, values: Mapping[str, object]) -> Sequence[Sequence[Any]]:
        """All rows."""
        if isinstance(connection, Connection) and not _is_usual(connection.engine):
            return connection.execute(self.statement, values).all()
        return self._run(connection, values, _READING)

    def count(self, connection: Connection | Lent, values: Mapping[str, object]) -> int:
        """Write; how many rows it was."""
        if isinstance(connection, Connection) and not _is_usual(connection.engine):
            return connection.execute(self.statement, values).rowcount
        return self._run(connection, values, _WRITING)

    def _run(self, lent: Connection | Lent, values: Mapping[str, object], way: _Way[T]) -> T:
        dialect = lent.dialect
        rendered = self._rendered.get(dialect) or self._render(dialect)
        parameters = values if rendered.order is None else tuple(values[name] for name in rendered.order)
        ask = way.awaited.get(dialect.driver) if dialect.is_async else None
        try:
            if ask is None:
                return way.ask(lent.connection, rendered.text, parameters)
            return await_only(ask(lent.connection.driver_connection, rendered.text, parameters))
        except Exception as error:
            if not isinstance(error, cast("Any", dialect.loaded_dbapi).Error):
                raise
            is_gone = dialect.is_disconnect(cast("Any", error), lent.connection.dbapi_connection, None)
            if is_gone:
                lent.invalidate(error)
            raise _explain(dialect, rendered.text, error, is_gone=is_gone) from error
        except BaseException as error:
            # Broken off: the answer may yet come, and would be taken for the next statement's. SQLite answers at once,
            # and what it has in memory must not be let go of.
            if dialect.name != "sqlite":
                lent.invalidate(error)
            raise

    def _render(self, dialect: Dialect) -> _Rendered:
        keys = self._names if isinstance(self.statement, Insert) else None
        compiled = self.statement.compile(dialect=dialect, column_keys=keys)
        order = cast("Sequence[str] | None", compiled.positiontup)
        rendered = _Rendered(str(compiled), tuple(order) if order is not None else None)
        self._rendered[dialect] = rendered
        return rendered


@dataclass(frozen=True, slots=True)
class _Way(Generic[T]):
    """How a statement is put to a driver."""

    ask: Callable[[PoolProxiedConnection, str, Any], T]
    awaited: Mapping[str, Callable[[Any, str, Any], Awaitable[T]]]
    """The same by an asynchronous driver's own connection, for those of which we know a shorter way than the cursor
    that SQLAlchemy puts around theirs: that takes as long again as psycopg, and has four turns of aiosqlite's thread
    where one will do."""


def _read(connection: PoolProxiedConnection, text: str, parameters: Any) -> Sequence[Any]:  # noqa: ANN401 - a driver's
    cursor: Any = connection.cursor()
    try:
        cursor.execute(text, parameters)
        return cast("Sequence[Any]", cursor.fetchall())
    finally:
        cursor.close()


def _write(connection: PoolProxiedConnection, text: str, parameters: Any) -> int:  # noqa: ANN401 - as above
    cursor: Any = connection.cursor()
    try:
        cursor.execute(text, parameters)
        return int(cursor.rowcount)
    finally:
        cursor.close()


async def _read_psycopg(connection: Any, text: str, parameters: Any) -> Sequence[Any]:  # noqa: ANN401 - as above
    cursor = await connection.execute(text, parameters)
    return cast("Sequence[Any]", await cursor.fetchall())


async def _read_aiosqlite(connection: Any, text: str, parameters: Any) -> Sequence[Any]:  # noqa: ANN401 - as above
    return cast("Sequence[Any]", await _of_aiosqlite(connection.execute_fetchall(text, parameters)))


# Cursors are not closed: neither driver holds anything for a statement that has no rows.


async def _write_psycopg(connection: Any, text: str, parameters: Any) -> int:  # noqa: ANN401 - as above
    return int((await connection.execute(text, parameters)).rowcount)


async def _write_aiosqlite(connection: Any, text: str, parameters: Any) -> int:  # noqa: ANN401 - as above
    return int((await _of_aiosqlite(connection.execute(text, parameters))).rowcount)


async def _of_aiosqlite(asking: Awaitable[Any]) -> Any:  # noqa: ANN401 - as above
    try:
        return await asking
    except ValueError as error:
        if type(error) is not ValueError:
            raise
        # So it says that a connection has been closed. SQLAlchemy has it thus, too.
        import sqlite3  # noqa: PLC0415 - which who uses another database need not load

        raise sqlite3.OperationalError(str(error)) from error


_READING: Final = _Way(_read, {"psycopg": _read_psycopg, "aiosqlite": _read_aiosqlite})
_WRITING: Final = _Way(_write, {"psycopg": _write_psycopg, "aiosqlite": _write_aiosqlite})


def _is_usual(engine: Engine) -> bool:
    """Whether nobody would miss what is left out."""
    heard = engine.dispatch
    if heard.before_execute or heard.after_execute or heard.engine_connect:
        return False
    if heard.before_cursor_execute or heard.after_cursor_execute:
        return False
    return not engine.dialect.dispatch.handle_error and "schema_translate_map" not in engine.get_execution_options()


def _explain(dialect: Dialect, text: str | None, error: Exception, *, is_gone: bool) -> Exception:
    """The error as SQLAlchemy would raise it."""
    driver: Any = dialect.loaded_dbapi
    explained: Exception = DBAPIError.instance(
        text,
        None,
        error,
        driver.Error,
        hide_parameters=True,
        connection_invalidated=is_gone,
        dialect=dialect,
    )
    return explained
