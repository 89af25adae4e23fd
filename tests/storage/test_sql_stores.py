"""What the SQL stores do beyond the contract: engines, failures, event loops, cancellation, forks."""

import asyncio
import contextlib
import gc
import logging
import signal
import subprocess
import sys
import time

import pytest
from sqlalchemy import create_engine, event, text
from sqlalchemy.exc import OperationalError, SQLAlchemyError
from sqlalchemy.ext.asyncio import create_async_engine

from tallystick import GeneralError, Sessions
from tallystick.service.guard import Guard
from tallystick.storage.opening import open_async_store, open_store
from tallystick.storage.sql.engine import AT_ONCE
from tallystick.testing.contract.rows import CAUSE, LATER, LINE, NOW, make_key, make_session, make_step, make_theft
from tests.storage.databases import DATABASES, run_sql

SYNC_DRIVERS = {"sqlite": "sqlite", "postgresql": "postgresql+psycopg", "mariadb": "mariadb+pymysql"}
ASYNC_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+psycopg", "mariadb": "mariadb+asyncmy"}
MARKED = "a text that nobody should see in an error"


def with_driver(url, drivers):
    scheme, _, rest = url.partition("://")
    return f"{drivers[scheme]}://{rest}"


# What is promised of the statements


def test_each_step_is_one_statement_outside_of_any_transaction(database_url):
    engine = create_engine(with_driver(database_url, SYNC_DRIVERS))
    store = open_store(engine, migrate=True)
    store.open()
    seen = []
    event.listen(engine, "before_cursor_execute", lambda _c, _cursor, statement, *_: seen.append(statement.split()[0]))
    steps = [
        (store.insert_session, make_session()),
        (store.load_session, "public", "handle"),
        (store.mark_used, "public", "handle", LINE, NOW, LATER),
        (store.advance_line, "public", "handle", LINE, make_step()),
        (store.update_jwt_payload, "public", "handle", "{}", NOW),
        (store.update_jwt_payload, "public", "handle", "{}", NOW, "{}"),
        (store.update_session_data, "public", "handle", "{}", NOW),
        (store.list_handles_of_user, "public", "user", None, NOW),
        (store.delete_sessions, "public", [f"h{number}" for number in range(500)], CAUSE),
        (store.delete_sessions_of_user, "public", "user", "t", CAUSE),
        (store.purge_sessions, "public", NOW, 10),
        (store.insert_key, make_key()),
        (store.insert_key, make_key()),
        (store.load_thefts, "public", None, 10),
        (store.load_thefts, "public", "user", 10),
        (store.purge_thefts, "public", NOW),
        (store.load_keys, "public"),
        (store.purge_keys, "public", NOW),
    ]
    for method, *args in steps:
        method(*args)
    engine.dispose()
    # MariaDB looks first and, finding something, deletes it in the same transaction. Here it finds nothing. SQLite has
    # no statement that deletes and inserts: it writes the endings in the same transaction.
    deletes = {"sqlite": ["BEGIN", "WITH"], "postgresql": ["WITH"], "mariadb": ["SELECT"]}[engine.dialect.name] * 2
    deletes += ["SELECT" if engine.dialect.name == "mariadb" else "WITH"]
    assert seen == [
        *("INSERT", "SELECT", "UPDATE", "UPDATE", "UPDATE", "UPDATE", "UPDATE", "SELECT"),
        *(*deletes, "INSERT", "INSERT", "SELECT", "SELECT", "DELETE", "SELECT", "DELETE"),
    ]


def test_an_sqlite_file_is_durable_and_lets_readers_and_writers_be(sqlite_url):
    store = open_store(sqlite_url)
    store.open()
    with store._engine.connect() as connection:
        pragmas = [
            connection.execute(text(f"PRAGMA {name}")).scalar_one()
            for name in ("journal_mode", "synchronous", "busy_timeout")
        ]
    store.close()
    assert pragmas == ["wal", 2, 5000]


async def test_an_asynchronous_sqlite_file_is_so_too(sqlite_url):
    store = open_async_store(sqlite_url)
    await store.open()
    async with store._engine.connect() as connection:
        names = ("journal_mode", "synchronous", "busy_timeout")
        pragmas = [(await connection.execute(text(f"PRAGMA {name}"))).scalar_one() for name in names]
    await store.close()
    assert pragmas == ["wal", 2, 5000]


# The app's own engine


def test_the_apps_own_engine_is_used_as_it_is_and_never_disposed_of(database_url):
    engine = create_engine(with_driver(database_url, SYNC_DRIVERS))
    store = open_store(engine, migrate=True)
    store.insert_session(make_session())
    pool = engine.pool
    store.close()
    assert engine.pool is pool
    assert pool.checkedin() == 1
    with engine.begin() as connection:
        connection.execute(text("DELETE FROM tallystick_sessions"))
        connection.rollback()  # the app's own transactions still are some
    assert store.load_session("public", "handle") == make_session()
    assert engine.hide_parameters is False
    store.close()
    engine.dispose()


async def test_the_apps_own_asynchronous_engine_too(database_url):
    engine = create_async_engine(with_driver(database_url, ASYNC_DRIVERS))
    store = open_async_store(engine, migrate=True)
    await store.insert_session(make_session())
    pool = engine.pool
    await store.close()
    assert engine.pool is pool
    async with engine.connect() as connection:
        await connection.execute(text("DELETE FROM tallystick_sessions"))
        await connection.rollback()
    assert await store.load_session("public", "handle") == make_session()
    await engine.dispose()


def test_an_engine_of_another_database_is_refused():
    engine = create_engine("sqlite://")
    engine.dialect.name = "mssql"
    with pytest.raises(GeneralError, match="mssql is not supported"):
        open_store(engine)


# What goes wrong


def failing_calls(store):
    row = make_session(handle="new", jwt_payload=MARKED, session_data=MARKED, nonce=MARKED.encode()[:16])
    yield store.insert_session, row
    yield store.load_session, "public", "handle"
    yield store.advance_line, "public", "handle", LINE, make_step()
    yield store.mark_used, "public", "handle", LINE, NOW, LATER
    yield store.update_jwt_payload, "public", "handle", MARKED, NOW
    yield store.update_session_data, "public", "handle", MARKED, NOW
    yield store.delete_sessions, "public", ["handle"], CAUSE
    yield store.delete_sessions_of_user, "public", "user", None, CAUSE
    yield store.list_handles_of_user, "public", "user", None, NOW
    yield store.purge_sessions, "public", NOW, 1
    yield store.record_theft, make_theft(presenter_user_agent=MARKED), CAUSE
    yield store.load_thefts, "public", None, 10
    yield store.purge_thefts, "public", NOW
    yield store.load_keys, "public"
    yield store.insert_key, make_key(sealed=MARKED.encode())
    yield store.purge_keys, "public", NOW


@pytest.mark.parametrize("is_own", [False, True])
def test_a_broken_store_raises_from_every_step_and_names_no_values(database_url, is_own):
    engine = create_engine(with_driver(database_url, SYNC_DRIVERS)) if is_own else None
    store = open_store(engine or database_url, migrate=True)
    store.open()
    run_sql(database_url, "DROP TABLE tallystick_sessions")
    run_sql(database_url, "DROP TABLE tallystick_signing_keys")
    run_sql(database_url, "DROP TABLE tallystick_theft_events")
    for method, *args in failing_calls(store):
        with pytest.raises(SQLAlchemyError) as broken:
            method(*args)
        assert MARKED[:16] not in str(broken.value)
        assert LINE.hex() not in str(broken.value)
    store.close()
    if engine:
        engine.dispose()


def test_a_theft_that_cannot_be_kept_ends_no_session(database_url):
    store = open_store(database_url, migrate=True)
    store.insert_session(make_session())
    run_sql(database_url, "ALTER TABLE tallystick_theft_events RENAME TO elsewhere")
    with pytest.raises(SQLAlchemyError):
        store.record_theft(make_theft(), CAUSE)
    assert store.load_session("public", "handle") == make_session()
    assert store.update_session_data("public", "handle", "[]", NOW), "and the connection is good for the next call"
    run_sql(database_url, "ALTER TABLE elsewhere RENAME TO tallystick_theft_events")
    assert store.record_theft(make_theft(), CAUSE)
    store.close()


async def test_a_broken_asynchronous_store_raises_from_every_step(database_url):
    store = open_async_store(database_url, migrate=True)
    await store.open()
    run_sql(database_url, "DROP TABLE tallystick_sessions")
    run_sql(database_url, "DROP TABLE tallystick_signing_keys")
    run_sql(database_url, "DROP TABLE tallystick_theft_events")
    for method, *args in failing_calls(store):
        with pytest.raises(SQLAlchemyError) as broken:
            await method(*args)
        assert MARKED[:16] not in str(broken.value)
    await store.close()


DEAD_URLS = ("postgresql://user:hush@127.0.0.1:1/db?password=hush", "mysql://user:hush@127.0.0.1:1/db?password=hush")


def everything_said(error):
    said = []
    while error is not None:
        said += [str(error), repr(error), str(vars(error).get("statement"))]
        error = error.__cause__ or error.__context__
    return "\n".join(said)


@pytest.mark.parametrize("url", DEAD_URLS)
def test_a_server_that_is_not_there_is_an_error_without_the_password(caplog, url):
    caplog.set_level(logging.DEBUG)
    store = open_store(url)
    with pytest.raises(SQLAlchemyError) as broken:
        store.load_session("public", "handle")
    assert "hush" not in everything_said(broken.value) + caplog.text + repr(store)


@pytest.mark.parametrize("url", DEAD_URLS)
def test_the_facade_turns_it_into_a_general_error_to_try_again(url):
    sessions = Sessions(url, secret="s" * 48)
    with pytest.raises(GeneralError) as broken:
        sessions.create_new_session("user")
    assert (broken.value.reason, broken.value.http_status) == ("store_failed", 503)
    assert "hush" not in everything_said(broken.value)


def test_a_refusal_of_a_schema_names_the_database_without_the_password(postgres_database):
    url = postgres_database.replace("://", "://postgres:hush@" if "@" not in postgres_database else "://", 1)
    store = open_store(f"{url}?application_name=hush")
    with pytest.raises(GeneralError, match="tallystick migrate") as refused:
        store.open()
    store.close()
    assert "hush" not in everything_said(refused.value)


def test_a_locked_sqlite_file_is_waited_for(sqlite_url):
    store = open_store(sqlite_url)
    store.open()
    other = create_engine(sqlite_url, isolation_level="AUTOCOMMIT", connect_args={"check_same_thread": False})
    with other.connect() as connection:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
        asyncio.run(_insert_while_locked(store, connection))
    assert store.load_session("public", "handle") == make_session()
    store.close()
    other.dispose()


async def _insert_while_locked(store, connection):
    inserting = asyncio.create_task(asyncio.to_thread(store.insert_session, make_session()))
    await asyncio.sleep(0.2)
    assert not inserting.done()
    assert store.load_session("public", "handle") is None  # a reader does not wait
    connection.exec_driver_sql("COMMIT")
    await inserting


def test_a_server_that_was_restarted_is_connected_to_again(server_database):
    store = open_store(server_database, migrate=True)
    store.insert_session(make_session())
    if server_database.startswith("postgresql"):
        run_sql(
            server_database,
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE datname = current_database() AND pid <> pg_backend_pid()",
        )
        others = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        deadline = time.monotonic() + 30
        while run_sql(server_database, others):  # they were only told to go
            assert time.monotonic() < deadline
            time.sleep(0.01)
    else:
        others = "SELECT id FROM information_schema.processlist WHERE db = DATABASE() AND id <> CONNECTION_ID()"
        for (number,) in run_sql(server_database, others):
            run_sql(server_database, f"KILL {number}")
    assert store.load_session("public", "handle") == make_session()
    store.close()


# Event loops and cancellation


@pytest.fixture(params=["sqlite", "sqlite-memory", "postgresql", "mariadb"])
def async_url(request) -> str:
    if request.param == "sqlite-memory":
        return "sqlite://"
    return request.getfixturevalue(DATABASES[request.param])


def test_a_statement_that_was_broken_off_leaves_its_answer_to_nobody(server_database):
    class BrokenOffError(BaseException):
        """As gevent's Timeout is one."""

    def break_off(*_arguments):
        raise BrokenOffError

    url = with_driver(server_database, SYNC_DRIVERS)
    store = open_store(url, migrate=True)
    store.insert_session(make_session())
    store.insert_session(make_session(handle="other"))
    other = create_engine(url)
    with other.begin() as connection:
        connection.execute(text("UPDATE tallystick_sessions SET generation = 7 WHERE handle = 'handle'"))
        former = signal.signal(signal.SIGALRM, break_off)
        signal.setitimer(signal.ITIMER_REAL, 0.3)
        try:
            with pytest.raises(BrokenOffError):
                store.advance_line("public", "handle", LINE, make_step())
        finally:
            signal.signal(signal.SIGALRM, former)
        assert store.load_session("public", "other") == make_session(handle="other")
        assert store.load_session("public", "nobody") is None
    store.close()
    other.dispose()


def test_one_store_serves_event_loops_one_after_another(async_url):
    """As Starlette's TestClient has it. More racers than connections, so that in each loop some have to wait."""
    store = open_async_store(async_url, migrate=True)

    async def work(number):
        await store.insert_session(make_session(handle=f"h{number}"))
        loads = [store.load_session("public", f"h{racer % (number + 1)}") for racer in range(3 * AT_ONCE)]
        return await asyncio.gather(*loads)

    for number in range(4):
        rows = asyncio.run(work(number))
        assert {row.handle for row in rows} == {f"h{one}" for one in range(number + 1)}
    asyncio.run(store.close())
    gc.collect()  # a connection that was left behind would say so now


def test_no_more_connections_are_made_than_are_allowed(server_database):
    store = open_async_store(server_database, migrate=True)

    async def work():
        await asyncio.gather(*(store.load_session("public", "handle") for _ in range(10 * AT_ONCE)))
        count = store._engine.pool.checkedin()
        await store.close()
        return count

    assert asyncio.run(work()) <= AT_ONCE


async def settle(store):
    await asyncio.wait(set(store._running) | {asyncio.create_task(asyncio.sleep(0))})


async def test_a_call_that_is_cancelled_costs_no_connection_and_no_data(async_url):
    store = open_async_store(async_url, migrate=True)
    await store.insert_session(make_session())
    for number in range(60):
        call = asyncio.create_task(store.update_session_data("public", "handle", str(number), NOW))
        await asyncio.sleep(0.00005 * (number % 20))
        call.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await call
    await settle(store)
    assert await store.update_session_data("public", "handle", "{}", NOW)
    assert await store.load_session("public", "handle") == make_session()
    assert store._engine.pool.status().count("Connections in pool: 0") == 0
    await store.close()


async def test_a_call_that_fails_after_its_caller_has_gone_is_not_reported(async_url, caplog):
    store = open_async_store(async_url, migrate=True)
    await store.insert_session(make_session())
    caplog.clear()  # asyncmy tells what the server remarked on the tables that were made
    call = asyncio.create_task(store.insert_session(make_session()))
    await asyncio.sleep(0)  # until the store has a task for it
    assert store._running
    call.cancel()
    await asyncio.wait([call])
    assert call.cancelled()
    await settle(store)
    del call  # its traceback holds the store's task, which speaks when it goes
    gc.collect()
    await store.close()
    assert caplog.text == ""


async def test_a_guarded_store_answers_many_who_ask_at_once(async_url):
    guard = Guard(4, 30.0)
    store = open_async_store(async_url, migrate=True, guarded_by=4)
    guarded = guard.around(store)
    await asyncio.gather(*(guarded.insert_session(make_session(handle=f"h{number}")) for number in range(20)))
    found = await asyncio.gather(*(guarded.load_session("public", f"h{number}") for number in range(20)))
    assert [row.handle for row in found] == [f"h{number}" for number in range(20)]
    await store.close()


async def test_a_guarded_call_that_is_cancelled_is_finished_all_the_same(async_url):
    store = open_async_store(async_url, migrate=True, guarded_by=2)
    guard = Guard(2, 30.0)
    guarded = guard.around(store)
    await guarded.load_session("public", "handle")
    call = asyncio.create_task(guarded.insert_session(make_session()))
    await asyncio.sleep(0)  # until the guard has a task for it
    call.cancel()
    with contextlib.suppress(asyncio.CancelledError):
        await call
    await asyncio.wait(guard._running)
    assert await guarded.load_session("public", "handle") == make_session()
    await store.close()


async def test_a_connection_of_aiosqlite_that_was_closed_is_replaced(sqlite_url):
    """It raises a ValueError then, which says nothing to SQLAlchemy's pool."""
    store = open_async_store(sqlite_url)
    await store.insert_session(make_session())
    for method, *args in ((store.load_session, "public", "handle"), (store.insert_session, make_session(handle="h2"))):
        async with store._engine.connect() as connection:
            driver = (await connection.get_raw_connection()).driver_connection
        await driver.close()
        with pytest.raises(OperationalError):
            await method(*args)
        assert await store.load_session("public", "handle") == make_session()
    await store.close()


async def test_many_may_open_an_asynchronous_store_at_once(async_url):
    store = open_async_store(async_url, migrate=True)
    await asyncio.gather(*(store.load_session("public", "handle") for _ in range(16)))
    await store.insert_session(make_session())
    assert await store.load_session("public", "handle") == make_session()
    await store.close()


# Forks

FORKING = """
import ctypes, os, sys
from tallystick.storage.opening import open_store
from tallystick.testing.contract.rows import make_session
store = open_store(sys.argv[1], migrate=True)
for number in range(50):
    store.insert_session(make_session(handle=f"h{number}"))
# uWSGI forks in C, and no hook of Python's runs.
fork = {"os": os.fork, "C": ctypes.PyDLL(None).fork}[sys.argv[2]]
children = []
for _ in range(4):
    child = fork()
    if child == 0:
        right = all(store.load_session("public", f"h{n}").handle == f"h{n}" for _ in range(3) for n in range(50))
        os._exit(0 if right else 3)
    children.append(child)
right = all(store.load_session("public", f"h{n}").handle == f"h{n}" for _ in range(3) for n in range(50))
codes = [os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) for child in children]
assert store.load_session("public", "h1").handle == "h1"
store.close()
sys.exit(0 if right and codes == [0] * 4 else 3)
"""


@pytest.mark.parametrize("fork", ["os", "C"])
@pytest.mark.parametrize("url_of", ["sqlite_url", "postgres_database", "mariadb_database"])
def test_a_server_that_forks_after_loading_the_app_mixes_nothing_up(request, url_of, fork):
    url = request.getfixturevalue(url_of)
    subprocess.run([sys.executable, "-c", FORKING, url, fork], check=True, timeout=60)


# In memory


def test_a_database_in_memory_is_shared_by_all_threads_of_one_store_and_no_other():
    stores = [open_store("sqlite://") for _ in range(2)]
    stores[0].insert_session(make_session())
    asyncio.run(_expect(stores[0], make_session()))
    asyncio.run(_expect(stores[1], None))
    for store in stores:
        store.close()


async def _expect(store, row):
    found = await asyncio.gather(*(asyncio.to_thread(store.load_session, "public", "handle") for _ in range(8)))
    assert found == [row] * 8


def test_a_database_in_memory_may_be_opened_again_after_it_was_closed():
    store = open_store("sqlite://")
    store.insert_session(make_session())
    store.close()
    assert store.load_session("public", "handle") is None
    store.close()


def test_a_pool_that_is_used_up_is_an_error_soon(sqlite_url):
    store = open_store(sqlite_url)
    store.open()
    with contextlib.ExitStack() as stack:
        for _ in range(AT_ONCE):
            stack.enter_context(store._engine.connect())
        with pytest.raises(SQLAlchemyError, match="timeout"):
            store.load_session("public", "handle")
    store.close()
