"""What is particular to MySQL and MariaDB: deadlocks, waiting for locks, collations, lost connections."""

import asyncio
import contextlib
import gc
import time

import pytest
from sqlalchemy import event
from sqlalchemy.exc import DBAPIError, SQLAlchemyError

from tallystick import GeneralError, Sessions
from tallystick.storage.opening import open_async_store, open_store
from tallystick.storage.sql.mysql import LOCK_WAIT_SECONDS
from tallystick.storage.sql.retries import GIVE_UP_SECONDS
from tallystick.testing.contract.rows import CAUSE, NOW, make_key, make_session
from tallystick.testing.contract.running import Threaded
from tests.mariadb_servers import connect, run_mariadb
from tests.storage.databases import run_sql

DEADLOCK, LOCK_WAIT = 1213, 1205


@pytest.fixture(params=["sync", "async"])
async def store(request, mariadb_database):
    if request.param == "sync":
        opened = Threaded(open_store(mariadb_database, migrate=True))
    else:
        opened = open_async_store(mariadb_database, migrate=True)
    await opened.open()
    yield opened
    await opened.close()


def note_errors(store) -> list[int]:
    """The server's numbers for the errors that the store meets from now on."""
    engine = store._store._engine if isinstance(store, Threaded) else store._engine.sync_engine
    codes = []
    event.listen(engine, "handle_error", lambda context: codes.append(context.original_exception.args[0]))
    return codes


async def until_it_waits(connection):
    """Until some statement waits for a lock that this connection has."""
    with connection.cursor() as cursor:
        while True:
            cursor.execute("SELECT COUNT(*) FROM information_schema.INNODB_LOCK_WAITS")
            if cursor.fetchone() != (0,):
                return
            await asyncio.sleep(0.15)  # the table is filled anew only when nobody has looked for 0.1 s


async def test_a_step_that_falls_to_a_deadlock_is_done_all_the_same(store, mariadb_database):
    for number in range(100):
        await store.insert_session(make_session(handle=f"h{number:02}"))
    codes = note_errors(store)
    with connect(mariadb_database) as other, other.cursor() as cursor:
        # The heavier of the two survives: this one, with so many changes.
        cursor.execute("UPDATE tallystick_sessions SET session_data = '[]' WHERE app_id = 'public' AND handle > 'h00'")
        deleting = asyncio.create_task(store.delete_sessions("public", ["h00", "h01"], CAUSE))
        async with asyncio.timeout(10):
            await until_it_waits(other)
            await asyncio.to_thread(cursor.execute, "UPDATE tallystick_sessions SET address = 'x'")
        other.rollback()
        assert await deleting == ["h00", "h01"]
    assert DEADLOCK in codes
    assert await store.load_session("public", "h00") is None


async def test_a_row_that_is_locked_for_longer_than_a_statement_waits_is_asked_for_again(store, mariadb_database):
    await store.insert_session(make_session())
    codes = note_errors(store)
    with connect(mariadb_database) as other, other.cursor() as cursor:
        cursor.execute("SELECT * FROM tallystick_sessions FOR UPDATE")
        updating = asyncio.create_task(store.update_session_data("public", "handle", "[]", NOW))
        async with asyncio.timeout(10):
            await until_it_waits(other)
            await asyncio.sleep(LOCK_WAIT_SECONDS + 0.2)
        other.rollback()
        assert await updating
    assert codes == [LOCK_WAIT]
    assert (await store.load_session("public", "handle")).session_data == "[]"


async def test_a_row_that_stays_locked_is_an_error_in_the_end(store, mariadb_database):
    await store.insert_session(make_session())
    with connect(mariadb_database) as other, other.cursor() as cursor:
        cursor.execute("SELECT * FROM tallystick_sessions FOR UPDATE")
        began = time.monotonic()
        with pytest.raises(DBAPIError) as broken:
            await store.update_session_data("public", "handle", "[]", NOW)
        assert broken.value.orig.args[0] == LOCK_WAIT
        assert GIVE_UP_SECONDS <= time.monotonic() - began < GIVE_UP_SECONDS + 4
    assert await store.update_session_data("public", "handle", "[]", NOW), "and it is good for the next call"


@pytest.mark.parametrize("alike", ["Alice", "alice ", "álice", "ALICE", "alice\u200d", "\U0001d4b6lice"])
async def test_names_that_are_alike_are_two(store, alike):
    await store.insert_session(make_session(handle="alice", user_id="alice"))
    await store.insert_session(make_session(handle=alike, user_id=alike, session_data='"1"'))
    assert (await store.load_session("public", alike)).session_data == '"1"'
    assert await store.list_handles_of_user("public", alike, None, NOW) == [alike]
    assert await store.list_handles_of_user(alike, "alice", None, NOW) == []
    assert not await store.update_jwt_payload("public", alike, "{}", NOW, '{"role":"admin"} ')
    assert await store.delete_sessions("public", [alike], CAUSE) == [alike]
    assert (await store.load_session("public", "alice")).user_id == "alice"


async def test_what_is_too_long_is_an_error_also_where_the_server_would_cut_it_off(store):
    with pytest.raises(SQLAlchemyError):
        await store.insert_session(make_session(user_id="u" * 129))
    with pytest.raises(SQLAlchemyError):
        await store.insert_session(make_session(line=bytes(33)))
    assert await store.load_session("public", "handle") is None


async def test_long_texts_and_bytes_are_kept_whole(store):
    row = make_session(session_data="ä\U0001d4b6\\'\"%s" * 100_000, handle="h" * 255, user_id="\U0001d4b6" * 128)
    await store.insert_session(row)
    assert await store.load_session("public", row.handle) == row
    key = make_key(sealed=bytes(range(256)) * 400)
    assert await store.insert_key(key)
    assert await store.load_keys("public") == [key]


async def test_a_thousand_handles_are_deleted_in_one_step(store):
    handles = [f"h{number:04}" for number in range(1100)]
    for handle in handles:
        await store.insert_session(make_session(handle=handle))
    assert sorted(await store.delete_sessions("public", handles, CAUSE)) == handles


def test_both_names_of_the_scheme_reach_the_server(mariadb_database):
    store = open_store(mariadb_database, migrate=True)
    store.insert_session(make_session())
    store.close()
    other = open_store(mariadb_database.replace("mariadb://", "mysql://"))
    assert other.load_session("public", "handle") == make_session()
    other.close()


@pytest.mark.parametrize("scheme", ["mysql", "mariadb"])
def test_the_tables_are_the_same_by_either_name(mariadb_database, scheme):
    store = open_store(mariadb_database.replace("mariadb", scheme, 1), migrate=True)
    store.open()
    store.close()
    found = run_sql(
        mariadb_database,
        "SELECT DISTINCT collation_name FROM information_schema.columns WHERE table_schema = DATABASE() "
        "AND table_name <> 'tallystick_version' AND collation_name IS NOT NULL",
    )
    assert found == [("utf8mb4_nopad_bin",)]
    engines = run_sql(
        mariadb_database, "SELECT DISTINCT engine FROM information_schema.tables WHERE table_schema = DATABASE()"
    )
    assert engines == [("InnoDB",)]


def test_a_server_that_is_too_old_is_refused(mariadb_database, monkeypatch):
    store = open_store(mariadb_database, migrate=True)
    with store._engine.connect():
        monkeypatch.setattr(store._engine.dialect, "server_version_info", (10, 5, 29))
    with pytest.raises(GeneralError, match=r"10\.5\.29.*needs MariaDB 10\.6 or MySQL 8") as refused:
        store.open()
    assert refused.value.reason == "unsupported_store"
    store.close()


def test_a_server_that_goes_away_is_a_general_error_and_is_found_again_when_it_is_back():
    with run_mariadb(is_durable=True) as server:
        sessions = Sessions(server.url, secret="s" * 48, migrate=True)
        created = sessions.create_new_session("user")
        server.kill()
        with pytest.raises(GeneralError) as broken:
            sessions.create_new_session("user")
        assert (broken.value.reason, broken.value.http_status) == ("store_failed", 503)
        server.restart()
        assert sessions.get_session_information(created.session.handle) is not None
        sessions.close()


async def test_a_connection_that_is_lost_in_the_middle_of_a_step_is_an_error(store, mariadb_database):
    await store.insert_session(make_session())
    with connect(mariadb_database) as other, other.cursor() as cursor:
        cursor.execute("SELECT * FROM tallystick_sessions FOR UPDATE")
        deleting = asyncio.create_task(store.delete_sessions("public", ["handle"], CAUSE))
        async with asyncio.timeout(10):
            await until_it_waits(other)
        cursor.execute(
            "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID() "
            "AND info IS NOT NULL"
        )
        for (number,) in cursor.fetchall():
            with contextlib.suppress(Exception):
                cursor.execute(f"KILL {number}")
        with pytest.raises(SQLAlchemyError):
            await deleting
        other.rollback()
    assert await store.load_session("public", "handle") == make_session()
    assert await store.delete_sessions("public", ["handle"], CAUSE) == ["handle"]


def test_an_event_loop_that_was_cut_off_leaves_no_connection_to_the_next(mariadb_database):
    """As nobody should, but some do: a loop closed without the end that asyncio.run gives it."""
    store = open_async_store(mariadb_database, migrate=True)
    loop = asyncio.new_event_loop()
    loop.run_until_complete(store.insert_session(make_session()))
    loop.close()
    assert asyncio.run(store.load_session("public", "handle")) == make_session()
    del loop
    with pytest.warns(ResourceWarning, match="unclosed"):
        gc.collect()
    asyncio.run(store.close())


@pytest.mark.parametrize("others", [1500, 3])
async def test_an_ending_whose_transaction_was_open_while_many_others_were_committed_is_read(
    store, mariadb_database, others
):
    page = await store.read_endings("public", None, 100)
    await store.put_sessions([make_session(handle=f"h{number}") for number in range(others)], NOW)
    with connect(mariadb_database) as slow, slow.cursor() as cursor:
        cursor.execute(
            "INSERT INTO tallystick_endings (app_id, handle, user_id, tenant_id, kind, happened_at, forget_at)"
            " VALUES ('public', 'slow', 'user', 'public', 'revoked', 0, 0)"
        )
        await store.delete_sessions("public", [f"h{number}" for number in range(others)], CAUSE)
        page = await store.read_endings("public", page.place, 2 * others)
        assert (len(page.endings), page.is_last) == (others, True)
        slow.commit()
    page = await store.read_endings("public", page.place, 100)
    assert [ending.handle for ending in page.endings] == ["slow"]
