"""From what the app says to a store: one URL decides where sessions live.

SQLAlchemy and the drivers are imported when a URL asks for them, so that ``import tallystick`` loads none.
"""

from __future__ import annotations

import re
from inspect import iscoroutinefunction
from typing import TYPE_CHECKING, Any, Final, TypeAlias, cast

from tallystick.config import Config
from tallystick.errors import GeneralError
from tallystick.storage.memory import AsyncMemoryStore, MemoryStore

if TYPE_CHECKING:
    from pathlib import Path

    import sqlalchemy
    import sqlalchemy.ext.asyncio

    from tallystick.storage.interface import AsyncCore, AsyncSessionStore, Core, SessionStore

Engine: TypeAlias = "sqlalchemy.Engine"
AsyncEngine: TypeAlias = "sqlalchemy.ext.asyncio.AsyncEngine"

_SCHEME: Final = re.compile(r"([a-z][a-z0-9]*)(\+[a-z0-9_]+)?://")
_MEMORY: Final = "memory"
_SQL: Final = {
    "sqlite": "sqlite",
    "postgresql": "postgresql",
    "postgres": "postgresql",
    "mysql": "mysql",
    "mariadb": "mariadb",
}
_REDIS: Final = frozenset({"redis", "rediss", "valkey", "valkeys"})
_CORE: Final = frozenset({"http", "https"})
_SUPPORTED: Final = (
    "sqlite:///file.db, postgresql://user:password@host/database, mysql:// and mariadb:// likewise, redis://host, "
    "memory:// and, for a core that runs elsewhere, http://core:3567"
)


def open_store(target: str | Engine | SessionStore, *, migrate: bool | None = None) -> SessionStore:
    """The store for a URL, for the app's own SQLAlchemy engine, or the very store that was given.

    It connects when it is first used. ``migrate`` says whether to bring an SQL schema up to date; None: on SQLite
    yes, elsewhere no. Raises :class:`GeneralError`: ``bad_url``, ``unsupported_store``, ``missing_driver`` or
    ``wrong_facade``.
    """
    if isinstance(target, str) and _backend(target) == _MEMORY:
        return MemoryStore()
    if isinstance(target, str) and _backend(target) in _REDIS:
        from tallystick.storage.redis.store import RedisStore

        return RedisStore(target)
    if _is_store(target):
        _check_facade(target, is_async=False)
        return cast("SessionStore", target)
    from tallystick.storage.sql.engine import make_engine
    from tallystick.storage.sql.store import SqlStore

    if isinstance(target, str):
        return SqlStore(make_engine(parse_url(target)), owned=True, migrate=migrate)
    engine = cast("Engine", _own_engine(target, is_async=False))
    return SqlStore(engine, owned=False, migrate=migrate)


def open_async_store(
    target: str | AsyncEngine | AsyncSessionStore, *, migrate: bool | None = None, guarded_by: int | None = None
) -> AsyncSessionStore:
    """The same for asynchronous code, see :func:`open_store`. ``guarded_by`` is how many at the most ask at a time a
    store made from a URL, where who asks sees to that, and never breaks off; None: nobody does."""
    if isinstance(target, str) and _backend(target) == _MEMORY:
        return AsyncMemoryStore()
    if isinstance(target, str) and _backend(target) in _REDIS:
        from tallystick.storage.redis.store import AsyncRedisStore

        return AsyncRedisStore(target)
    if _is_store(target):
        _check_facade(target, is_async=True)
        return cast("AsyncSessionStore", target)
    from tallystick.storage.sql.engine import AT_ONCE, make_async_engine
    from tallystick.storage.sql.store import AsyncSqlStore

    if isinstance(target, str):
        at_once = guarded_by or AT_ONCE
        engine = make_async_engine(parse_url(target), at_once)
        is_guarded = guarded_by is not None
        return AsyncSqlStore(engine, owned=True, migrate=migrate, at_once=at_once, is_guarded=is_guarded)
    engine = cast("AsyncEngine", _own_engine(target, is_async=True))
    return AsyncSqlStore(engine, owned=False, migrate=migrate)


def open_core(url: str, config: Config, api_key: str | None) -> Core:
    """The client of a core that runs elsewhere, which connects when it is first used. Raises :class:`GeneralError`:
    ``bad_url``, ``bad_config`` or ``missing_driver``."""
    core: Core = _load_client().HttpCore(url, **_core_options(config, api_key))
    return core


def open_async_core(url: str, config: Config, api_key: str | None) -> AsyncCore:
    """The same for asynchronous code."""
    core: AsyncCore = _load_client().AsyncHttpCore(url, **_core_options(config, api_key))
    return core


def open_core_line(url: str, config: Config, api_key: str | None) -> Any:  # noqa: ANN401 - as below
    """The line for a core's stream of endings, for synchronous code."""
    return _load_streams().HttpLine(url, **_line_options(config, api_key))


def open_async_core_line(url: str, config: Config, api_key: str | None) -> Any:  # noqa: ANN401 - as below
    """The same for asynchronous code."""
    return _load_streams().AsyncHttpLine(url, **_line_options(config, api_key))


def _line_options(config: Config, api_key: str | None) -> dict[str, Any]:
    return {"app_id": config.app_id, "api_key": api_key, "seconds": config.feed_lease.total_seconds()}


def _load_streams() -> Any:  # noqa: ANN401 - as below
    _load_client()
    from tallystick.storage.remote import streams

    return streams


def _core_options(config: Config, api_key: str | None) -> dict[str, Any]:
    return {"app_id": config.app_id, "api_key": api_key, "seconds": config.core_timeout.total_seconds()}


def _load_client() -> Any:  # noqa: ANN401 - the module, loaded with httpx when a URL asks for it
    try:
        from tallystick.storage.remote import client
    except ImportError as error:
        raise GeneralError(
            'the client of a core needs httpx: pip install "tallystick[remote]"', reason="missing_driver"
        ) from error
    return client


def is_core(target: object) -> bool:
    """Tell whether a core that runs elsewhere is meant, and no store."""
    match = _SCHEME.match(target.lstrip()) if isinstance(target, str) else None
    return match is not None and match[1] in _CORE


def database_file(target: object) -> Path | None:
    """Where the SQLite file is that a URL or an engine speaks of; None for any other store."""
    url = _sql_url(target)
    if url is None:
        return None
    from tallystick.storage.sql.engine import sqlite_file

    return sqlite_file(url)


def is_redis(url: str) -> bool:
    """Tell whether a URL asks for Redis."""
    return _backend(url) in _REDIS


def is_ephemeral(target: object) -> bool:
    """Tell whether the sessions end with the process: those in memory."""
    if isinstance(target, MemoryStore | AsyncMemoryStore):
        return True
    if isinstance(target, str) and _backend(target) == _MEMORY:
        return True
    url = _sql_url(target)
    return url is not None and url.get_backend_name() == "sqlite" and database_file(target) is None


def _backend(url: str) -> str:
    """What the URL's scheme asks for. A URL that is not good is not quoted: there may be a password in it."""
    match = _SCHEME.match(url)
    if match is None:
        raise GeneralError(f"not a store's URL; such are {_SUPPORTED}", reason="bad_url")
    name = match[1]
    if name == _MEMORY or name in _REDIS:
        return name
    if name in _CORE:
        raise GeneralError(
            "a core that runs elsewhere is no store: here give the URL of the store that the core itself uses",
            reason="unsupported_store",
        )
    if name not in _SQL:
        raise GeneralError(f"{name}:// is not supported; today are {_SUPPORTED}", reason="unsupported_store")
    return _SQL[name]


def parse_url(url: str) -> sqlalchemy.URL:
    """An SQL database's URL, taken apart. Raises :class:`GeneralError` (``bad_url``)."""
    from sqlalchemy import make_url
    from sqlalchemy.exc import ArgumentError

    backend = _backend(url)
    try:
        parsed = make_url(_spread_hosts(url) if backend == "postgresql" else url)
        if "@" in (parsed.host or ""):
            raise ValueError  # of a password with an @ in it, whose rest the driver would take for a host, and print
    except (ArgumentError, ValueError):
        # Not chained: the cause would quote parts of the URL, a piece of a password with a slash in it among them.
        raise GeneralError(
            f"the {backend} URL is not understood; such are {_SUPPORTED} "
            "(in user and password, write special characters as %XX)",
            reason="bad_url",
        ) from None
    if backend == "sqlite" and parsed.host:
        raise GeneralError("an SQLite URL has three slashes before a path: sqlite:///file.db", reason="bad_url")
    driver = parsed.drivername.partition("+")[1:]
    return parsed.set(drivername=backend + "".join(driver))


def _spread_hosts(url: str) -> str:
    """PostgreSQL's own form for several servers, ``//a:1,b:2/database``, in the one that SQLAlchemy knows."""
    scheme, _, rest = url.partition("://")
    place, _, tail = rest.partition("/")
    login, at, hosts = place.rpartition("@")
    if "," not in hosts:
        return url
    database, _, query = tail.partition("?")
    options = "&".join([*(f"host={host}" for host in hosts.split(",")), *filter(None, [query])])
    return f"{scheme}://{login}{at}/{database}?{options}"


def _sql_url(target: object) -> sqlalchemy.URL | None:
    if isinstance(target, str):
        return parse_url(target) if _backend(target) in _SQL.values() else None
    if _is_store(target):
        return None
    return cast("sqlalchemy.URL | None", getattr(target, "url", None))


def _is_store(target: object) -> bool:
    return hasattr(target, "load_session")


def _check_facade(store: object, *, is_async: bool) -> None:
    if iscoroutinefunction(getattr(store, "load_session", None)) != is_async:
        raise _wrong_facade(type(store).__name__, is_async)


def _own_engine(target: object, *, is_async: bool) -> Engine | AsyncEngine:
    """The app's engine, in AUTOCOMMIT, which each statement of ours relies on, and silent about parameters. Both hold
    for our use of it alone: the app's own is not changed."""
    from sqlalchemy import Engine as SyncEngine

    inner = getattr(target, "sync_engine", target)
    if not isinstance(inner, SyncEngine):
        raise GeneralError(
            f"a {type(target).__name__} is no store; pass a URL ({_SUPPORTED}), an SQLAlchemy engine "
            "or an object with the methods of tallystick.storage.interface",
            reason="bad_url",
        )
    if (inner is not target) != is_async:
        raise _wrong_facade(type(target).__name__, is_async)
    if inner.dialect.name not in _SQL:
        raise GeneralError(
            f"{inner.dialect.name} is not supported; today are {_SUPPORTED}",
            reason="unsupported_store",
        )
    ours = cast("Engine | AsyncEngine", target).execution_options(isolation_level="AUTOCOMMIT")
    cast("Engine", getattr(ours, "sync_engine", ours)).hide_parameters = True
    return ours


def _wrong_facade(name: str, is_async: bool) -> GeneralError:
    facade, other = ("AsyncSessions", "Sessions")[:: 1 if is_async else -1]
    return GeneralError(f"a {name} is for tallystick.{other}, not {facade}", reason="wrong_facade")
