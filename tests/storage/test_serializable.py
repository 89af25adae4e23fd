"""PostgreSQL where every transaction is serializable, as in CockroachDB, or by a setting of the database."""

import asyncio

import psycopg
import pytest
from sqlalchemy import event

from tallystick.storage.opening import open_async_store, open_store
from tallystick.testing.contract.races import RaceScenarios
from tallystick.testing.contract.rows import CAUSE, NOW, make_session
from tallystick.testing.contract.running import Threaded
from tests.storage.databases import run_sql

SERIALIZATION_FAILURE, DEADLOCK = "40001", "40P01"
OPENINGS = {"sync": open_store, "async": open_async_store}


@pytest.fixture
def serializable_database(postgres_database):
    name = postgres_database.rpartition("/")[2]
    run_sql(postgres_database, f"ALTER DATABASE {name} SET default_transaction_isolation = 'serializable'")
    return postgres_database


class TestRaces(RaceScenarios):
    @pytest.fixture(params=OPENINGS.values(), ids=OPENINGS)
    def make_store(self, request, serializable_database):
        return lambda: request.param(serializable_database, migrate=True)


@pytest.fixture(params=OPENINGS)
async def store(request, serializable_database):
    opened = OPENINGS[request.param](serializable_database, migrate=True)
    opened = Threaded(opened) if request.param == "sync" else opened
    await opened.open()
    yield opened
    await opened.close()


def note_errors(store):
    engine = store._store._engine if isinstance(store, Threaded) else store._engine.sync_engine
    states = []
    event.listen(engine, "handle_error", lambda context: states.append(context.original_exception.sqlstate))
    return states


async def until_it_waits(connection):
    waiting = "SELECT count(*) FROM pg_locks WHERE NOT granted"
    async with asyncio.timeout(20):
        while True:
            if connection.execute(waiting).fetchone() != (0,):
                return
            await asyncio.sleep(0.02)


async def test_whoever_comes_second_begins_again(store, serializable_database):
    await store.insert_session(make_session())
    states = note_errors(store)
    with psycopg.connect(serializable_database) as other:
        other.execute("UPDATE tallystick_sessions SET address = 'x'")
        updating = asyncio.create_task(store.update_session_data("public", "handle", "[]", NOW))
        await until_it_waits(other)
        other.commit()
        assert await updating
    assert states == [SERIALIZATION_FAILURE]
    row = await store.load_session("public", "handle")
    assert (row.session_data, row.address) == ("[]", "x")


async def test_a_step_that_falls_to_a_deadlock_is_done_all_the_same(store, serializable_database):
    for handle in ("h0", "h1"):
        await store.insert_session(make_session(handle=handle))
    states = note_errors(store)
    with psycopg.connect(serializable_database) as other:
        other.execute("SET deadlock_timeout = '1min'")  # the store's connection is the one that looks
        other.execute("SELECT * FROM tallystick_sessions WHERE handle = 'h1' FOR UPDATE")
        deleting = asyncio.create_task(store.delete_sessions("public", ["h0", "h1"], CAUSE))
        await until_it_waits(other)
        await asyncio.to_thread(other.execute, "SELECT * FROM tallystick_sessions WHERE handle = 'h0' FOR UPDATE")
        other.rollback()
        assert sorted(await deleting) == ["h0", "h1"]
    assert DEADLOCK in states
