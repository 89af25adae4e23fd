"""The stores that the contract is held against."""

from collections.abc import Iterator

import pytest

from tests.conformance.stores import STORES
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
