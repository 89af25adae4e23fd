"""The stores that the contract is held against."""

import asyncio
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import delete

from tallystick.storage.interface import AsyncSessionStore, SessionStore
from tallystick.storage.opening import open_async_store, open_store, parse_url
from tallystick.storage.sql.engine import is_loop_bound, make_async_engine, make_engine
from tallystick.storage.sql.schema import metadata
from tests.conformance.processes import crowd
from tests.conformance.stores import STORES
from tests.mariadb_servers import make_mariadb_database
from tests.redis_servers import empty_redis
from tests.servers import make_database

TABLES = {"postgresql": "postgres_tables", "mariadb": "mariadb_tables"}
"""The fixtures of databases on servers."""


@pytest.fixture(scope="session")
def sqlite_template(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A database with its tables made, to be copied."""
    path = tmp_path_factory.mktemp("template") / "sessions.db"
    _make_tables(f"sqlite:///{path}")
    return path


@pytest.fixture(scope="session")
def postgres_tables(postgres_url: str) -> Iterator["Tables"]:
    """A database with its tables made, to be emptied: making them for each test would take most of the time."""
    with make_database(postgres_url) as url, _tables(url) as tables:
        yield tables


@pytest.fixture(scope="session")
def mariadb_tables(mariadb_url: str) -> Iterator["Tables"]:
    """The same on MariaDB."""
    with make_mariadb_database(mariadb_url) as url, _tables(url) as tables:
        yield tables


class Tables:
    """A database on a server, and engines for it that keep their connections from one test to the next."""

    def __init__(self, url: str) -> None:
        self.url = url
        self._engine = make_engine(parse_url(url))
        self._async_engine = make_async_engine(parse_url(url))

    def open(self, opener: Callable[..., SessionStore | AsyncSessionStore]) -> SessionStore | AsyncSessionStore:
        if opener is open_store:
            return opener(self._engine)
        # Each test has an event loop of its own.
        return opener(self.url if is_loop_bound(self._async_engine) else self._async_engine)

    def empty(self) -> None:
        with self._engine.connect() as connection:
            for table in metadata.tables.values():
                connection.execute(delete(table))

    def close(self) -> None:
        self._engine.dispose()
        asyncio.run(self._async_engine.dispose())


@contextmanager
def _tables(url: str) -> Iterator[Tables]:
    _make_tables(url)
    tables = Tables(url)
    try:
        yield tables
    finally:
        tables.close()


def _make_tables(url: str) -> None:
    store = open_store(url, migrate=True)
    store.open()
    store.close()


@pytest.fixture(params=STORES)
def store_url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """A store that is empty and in use by nobody else."""
    # Asked for here and not by name, so that a server starts only for the tests that need it.
    match request.param:
        case "memory":
            return "memory://"
        case "sqlite-memory":
            return "sqlite://"
        case "sqlite-file":
            return f"sqlite:///{shutil.copy(request.getfixturevalue('sqlite_template'), tmp_path / 'sessions.db')}"
        case "redis" | "redis-cluster":
            url: str = request.getfixturevalue(f"{request.param.replace('-', '_')}_url")
            empty_redis(url)
            return url
        case _:
            tables: Tables = request.getfixturevalue(TABLES[request.param])
            tables.empty()
            return tables.url


@pytest.fixture(params=[open_store, open_async_store], ids=["sync", "async"])
def make_store(request: pytest.FixtureRequest, store_url: str) -> Callable[[], Any]:
    """A store of this kind on it. One on a server takes an engine, as an app may: to connect is what costs most."""
    opener = request.param
    name = TABLES.get(request.node.callspec.params["store_url"])
    if name is None:
        return lambda: opener(store_url, migrate=True)
    tables: Tables = request.getfixturevalue(name)
    return lambda: tables.open(opener)


@pytest.fixture(scope="session")
def two_processes() -> Iterator[Callable[..., list[Any]]]:
    """Does something in two processes at once. They are the same for all tests, as each has much to import."""
    with crowd(2) as run_at_once:
        yield run_at_once


@pytest.fixture(scope="session")
def four_processes() -> Iterator[Callable[..., list[Any]]]:
    with crowd(4) as run_at_once:
        yield run_at_once
