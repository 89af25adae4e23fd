"""The stores that the contract is held against."""

from collections.abc import AsyncIterator, Iterator

import pytest

from tallystick.storage.interface import AsyncSessionStore
from tallystick.storage.opening import open_async_store, open_store
from tests.conformance.stores import STORES, Threaded
from tests.redis_servers import empty_redis
from tests.servers import make_database


@pytest.fixture(params=STORES)
def store_url(request, tmp_path) -> Iterator[str]:
    """An empty store of the test's own."""
    if request.param == "postgresql":
        # Asked for here and not by name, so that the server starts only for the tests that need it.
        with make_database(request.getfixturevalue("postgres_url")) as url:
            yield url
    elif request.param == "mariadb":
        yield request.getfixturevalue("mariadb_database")
    elif request.param in ("redis", "redis-cluster"):
        url = request.getfixturevalue(f"{request.param.replace('-', '_')}_url")
        empty_redis(url)
        yield url
    else:
        yield {
            "memory": "memory://",
            "sqlite-file": f"sqlite:///{tmp_path / 'sessions.db'}",
            "sqlite-memory": "sqlite://",
        }[request.param]


@pytest.fixture(params=["sync", "async"])
async def store(request, store_url) -> AsyncIterator[AsyncSessionStore]:
    if request.param == "sync":
        opened = Threaded(open_store(store_url, migrate=True))
    else:
        opened = open_async_store(store_url, migrate=True)
    await opened.open()
    yield opened
    await opened.close()
