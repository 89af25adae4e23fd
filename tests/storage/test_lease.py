"""A lock of all that share a database: one has it, nobody waits, and it ends with whoever has it."""

import asyncio
from pathlib import Path

import pytest

from tallystick.storage.opening import open_async_store
from tallystick.storage.redis.store import AsyncRedisStore
from tallystick.storage.sql.store import AsyncSqlStore
from tests.redis_servers import empty_redis


def open_leasing(url: str) -> AsyncSqlStore | AsyncRedisStore:
    store = open_async_store(url)
    assert isinstance(store, AsyncSqlStore | AsyncRedisStore)
    return store


@pytest.fixture(params=["sqlite", "postgresql", "mariadb", "redis", "redis-cluster"])
def database(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/sessions.db"
    if request.param.startswith("redis"):
        url: str = request.getfixturevalue(f"{request.param.replace('-', '_')}_url")
        empty_redis(url)
        return url
    return request.getfixturevalue({"postgresql": "postgres_database", "mariadb": "mariadb_database"}[request.param])


async def test_of_two_who_share_a_database_one_has_the_lease_until_it_ends(database: str):
    one, other = open_leasing(database), open_leasing(database)
    try:
        async with one.hold_lease("purge") as is_ours:
            assert is_ours
            async with other.hold_lease("purge") as is_theirs:
                assert not is_theirs
            async with other.hold_lease("another") as is_theirs:
                assert is_theirs
        async with other.hold_lease("purge") as is_theirs:
            assert is_theirs
    finally:
        await one.close()
        await other.close()


async def test_a_lease_ends_with_its_holder_also_when_that_breaks(database: str):
    one, other = open_leasing(database), open_leasing(database)
    try:
        with pytest.raises(RuntimeError):
            async with one.hold_lease("purge"):
                raise RuntimeError
        async with other.hold_lease("purge") as is_theirs:
            assert is_theirs
        held = asyncio.Event()

        async def hold() -> None:
            async with one.hold_lease("purge"):
                held.set()
                await asyncio.Event().wait()

        holder = asyncio.create_task(hold())
        await held.wait()
        holder.cancel()
        await asyncio.wait([holder])
        async with other.hold_lease("purge") as is_theirs:
            assert is_theirs
    finally:
        await one.close()
        await other.close()


async def test_a_database_in_memory_is_shared_by_nobody():
    store = open_leasing("sqlite://")
    async with store.hold_lease("purge") as one, store.hold_lease("purge") as other:
        assert (one, other) == (True, True)
    await store.close()
