"""Several steps that go to a store as one."""

import asyncio

import pytest
import redis.asyncio
from sqlalchemy.exc import DataError

from tallystick import GeneralError
from tallystick.service.batching import batch_calls
from tallystick.service.guard import Guard
from tallystick.storage.opening import open_async_store
from tallystick.storage.redis.layout import session_key
from tallystick.storage.sql import store as sql_store
from tallystick.storage.sql.engine import make_engine
from tallystick.storage.sql.several import advance_lines
from tallystick.testing.contract.rows import LATER, LINE, NOW, OTHER_LINE, make_session, make_step
from tests.redis_servers import empty_redis
from tests.storage.databases import parse

NUMBER = 100


@pytest.fixture(params=["postgresql", "redis"])
def url(request):
    if request.param == "postgresql":
        return request.getfixturevalue("postgres_database")
    url = request.getfixturevalue("redis_url")
    empty_redis(url)
    return url


only_postgresql = pytest.mark.parametrize("url", ["postgresql"], indirect=True)


@pytest.fixture
async def store(url):
    store = open_async_store(url, migrate=True)
    for number in range(NUMBER):
        await store.insert_session(make_session(handle=f"h{number}"))
    yield store
    await store.close()


async def rows(store) -> dict:
    return {row.handle: row for row in await store.load_sessions("public", [f"h{number}" for number in range(NUMBER)])}


def step_of(number: int):
    """Each field differs from session to session, and what need not be there is not in each."""
    return make_step(
        generation=2**40 + number,
        line=bytes([number]) * 32,
        previous=bytes([255 - number]) * 32,
        used_at=NOW + number if number % 2 else None,
        expires_at=LATER + number,
        refreshed_at=NOW + 2 * number,
        user_agent=f'an "agent", {{of}} \\ ünd NULL {number}' if number % 3 else None,
        address=f"192.0.2.{number}" if number % 5 else None,
    )


async def test_each_session_gets_its_own_step_and_no_other_changes(store):
    before = await rows(store)
    moved = [number for number in range(NUMBER) if number % 7]
    done = await store.advance_lines("public", [(f"h{number}", LINE, step_of(number)) for number in moved])
    assert done == {f"h{number}" for number in moved}
    single = open_async_store("memory://")
    await single.put_sessions(list(before.values()), NOW)
    for number in moved:
        assert await single.advance_line("public", f"h{number}", LINE, step_of(number))
    assert await rows(store) == await rows(single)


async def test_each_first_use_is_marked_with_its_own_times(store):
    before = await rows(store)
    assert await store.mark_used("public", "h1", LINE, NOW, LATER)
    await store.advance_line("public", "h2", LINE, make_step(line=OTHER_LINE, used_at=None))
    marks = [(f"h{number}", LINE, NOW + number, LATER + number) for number in range(5)]
    assert await store.mark_all_used("public", [*marks, ("none", LINE, NOW, LATER)]) == {"h0", "h3", "h4"}
    after = await rows(store)
    assert [(after[f"h{n}"].used_at, after[f"h{n}"].expires_at) for n in (0, 3, 4)] == [
        (NOW + number, LATER + number) for number in (0, 3, 4)
    ]
    assert (after["h1"].used_at, after["h2"].used_at) == (NOW, None)
    assert {handle: row for handle, row in after.items() if handle not in ("h0", "h1", "h2", "h3", "h4")} == {
        handle: row for handle, row in before.items() if handle not in ("h0", "h1", "h2", "h3", "h4")
    }


@only_postgresql
async def test_nobody_waits_for_a_session_that_somebody_else_is_at(store, url):
    """And whose transaction may never end: the others' steps are done."""
    engine = make_engine(parse(url))
    with engine.connect().execution_options(isolation_level="READ COMMITTED") as connection, connection.begin():
        assert advance_lines(connection, "public", [("h1", LINE, make_step())]) == {"h1"}
        async with asyncio.timeout(30):
            steps = [(handle, LINE, make_step()) for handle in ("h0", "h1", "h2")]
            assert await store.advance_lines("public", steps) == {"h0", "h2"}
            assert await store.mark_all_used("public", [("h1", LINE, NOW, LATER), ("h3", LINE, NOW, LATER)]) == {"h3"}
    engine.dispose()
    assert await store.advance_lines("public", [("h1", LINE, make_step())]) == set()


@only_postgresql
async def test_of_statements_over_the_same_sessions_in_other_orders_each_session_is_moved_by_one(store, monkeypatch):
    """Sixteen at once, which would deadlock if they waited for each other: none has to be begun again."""
    monkeypatch.setattr(sql_store, "Retries", lambda: pytest.fail("a deadlock"))
    handles = [f"h{number}" for number in range(NUMBER)]

    async def move(racer: int) -> set[str]:
        order = handles if racer % 2 else handles[::-1]
        return await store.advance_lines(
            "public", [(handle, LINE, make_step(line=bytes([racer]) * 32)) for handle in order]
        )

    won = await asyncio.gather(*(move(racer) for racer in range(16)))
    told = [handle for some in won for handle in some]
    assert len(told) == len(set(told))
    found = await rows(store)
    for racer, some in enumerate(won):
        assert all(found[handle].line == bytes([racer]) * 32 for handle in some)
    assert all(found[handle].line == LINE for handle in set(handles) - set(told))


@only_postgresql
async def test_what_is_longer_than_its_column_is_refused_and_not_cut_off(store):
    with pytest.raises(DataError, match="too long"):
        await store.advance_lines("public", [("h0", LINE, make_step(user_agent="x" * 256)), ("h1", LINE, make_step())])
    assert (await rows(store))["h1"].line == LINE


async def test_sessions_are_loaded_however_many_they_are(store):
    handles = [f"h{number}" for number in range(NUMBER)]
    some = await store.load_sessions("public", [*handles, *(f"none-{number}" for number in range(5000)), "h1"])
    assert sorted(row.handle for row in some) == sorted(handles)
    assert await store.load_sessions("public", []) == []


@pytest.mark.parametrize("url", ["redis"], indirect=True)
async def test_whose_row_is_broken_in_redis_is_the_only_one_to_suffer(store, url):
    """Of scripts that are sent together, one's error undoes no other: who was moved must not be told that he was not,
    and perhaps be taken for a thief."""
    async with redis.asyncio.from_url(url) as client:
        await client.delete(session_key("public", "h1"))
        await client.set(session_key("public", "h1"), "no hash")
    steps = [(f"h{number}", LINE, make_step(line=bytes([number]) * 32)) for number in range(8)]
    assert await store.advance_lines("public", steps) == {f"h{number}" for number in range(8) if number != 1}

    batched = batch_calls(Guard(10, 30).around(store))
    marks = [batched.mark_used("public", f"h{n}", bytes([n]) * 32, NOW, LATER) for n in (0, 2, 3, 1, 4)]
    *before, broken, after = await asyncio.gather(*marks, return_exceptions=True)
    assert [*before, after] == [True, True, True, True]
    assert isinstance(broken, GeneralError)


@pytest.mark.parametrize("of_cluster", ["redis+cluster://localhost", "redis://localhost?wait_replicas=1"])
def test_where_several_would_wait_for_the_slowest_each_goes_alone(of_cluster):
    assert not open_async_store(of_cluster).batches
