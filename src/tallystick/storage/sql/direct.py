"""The few statements that sign-ins and refreshes run, put to the driver itself.

SQLAlchemy renders each of them, once for an engine; the connection, its pool and the kind of its errors stay
SQLAlchemy's too. What it does around each execution takes several times as long as the driver's own part, and is left
out (bench/storing.py). Where somebody listens to an engine's statements, to trace them, they are executed as all
others are.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final, cast
from weakref import WeakKeyDictionary

from sqlalchemy import Connection, Dialect, Insert, Select, Update
from sqlalchemy.exc import DBAPIError

_LISTENED_TO: Final = ("before_execute", "after_execute", "before_cursor_execute", "after_cursor_execute")


@dataclass(frozen=True, slots=True)
class _Rendered:
    text: str
    order: tuple[str, ...] | None
    """Of the parameters; None where the driver takes them by name."""


class Direct:
    """One statement and the names of its parameters, whose values must be such as every driver takes: text, whole
    numbers, bytes and None."""

    def __init__(self, statement: Select[*tuple[Any, ...]] | Insert | Update, names: Iterable[str]) -> None:
        self.statement = statement
        self._names = tuple(names)
        self._rendered = WeakKeyDictionary[Dialect, _Rendered]()

    def fetch(self, connection: Connection, values: Mapping[str, object]) -> Sequence[Any] | None:
        """The one row that there is, or None."""
        if not _is_usual(connection):
            return connection.execute(self.statement, values).one_or_none()
        return self._run(connection, values, fetches=True)[1]

    def count(self, connection: Connection, values: Mapping[str, object]) -> int:
        """Write; how many rows it was."""
        if not _is_usual(connection):
            return connection.execute(self.statement, values).rowcount
        return self._run(connection, values, fetches=False)[0]

    def _run(
        self, connection: Connection, values: Mapping[str, object], *, fetches: bool
    ) -> tuple[int, Sequence[Any] | None]:
        rendered = self._rendered.get(connection.dialect) or self._render(connection.dialect)
        parameters = values if rendered.order is None else tuple(values[name] for name in rendered.order)
        cursor: Any = connection.connection.cursor()
        try:
            cursor.execute(rendered.text, parameters)
            return cursor.rowcount, cursor.fetchone() if fetches else None
        except connection.dialect.loaded_dbapi.Error as error:
            raise _explain(connection, rendered.text, error) from error
        finally:
            cursor.close()

    def _render(self, dialect: Dialect) -> _Rendered:
        keys = self._names if isinstance(self.statement, Insert) else None
        compiled = self.statement.compile(dialect=dialect, column_keys=keys)
        order = cast("Sequence[str] | None", compiled.positiontup)
        rendered = _Rendered(str(compiled), tuple(order) if order is not None else None)
        self._rendered[dialect] = rendered
        return rendered


def _is_usual(connection: Connection) -> bool:
    """Whether nobody would miss what is left out."""
    if connection.dialect.dispatch.handle_error or any(getattr(connection.dispatch, name) for name in _LISTENED_TO):
        return False
    return "schema_translate_map" not in connection.get_execution_options()


def _explain(connection: Connection, text: str, error: Exception) -> Exception:
    """The error as SQLAlchemy would raise it; a connection that is gone does not go back into the pool."""
    dialect = connection.dialect
    driver: Any = dialect.loaded_dbapi
    is_gone = dialect.is_disconnect(cast("Any", error), connection.connection.dbapi_connection, None)
    if is_gone:
        connection.invalidate(error)
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
