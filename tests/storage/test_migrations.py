"""The schema, and how a database gets it."""

import logging
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import asdict, replace

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import MetaData, create_engine, select, text

from tallystick import GeneralError
from tallystick.storage.opening import open_async_store, open_store
from tallystick.storage.sql.engine import make_engine
from tallystick.storage.sql.migrations import make_config
from tallystick.storage.sql.schema import HEAD, REVISIONS, VERSION_TABLE, metadata
from tallystick.testing.contract.rows import CAUSE, LATER, LINE, make_key, make_session, make_step, make_theft
from tests.conformance.processes import run_at_once, wait_for_the_others
from tests.mariadb_servers import make_mariadb_database
from tests.servers import make_database
from tests.storage.databases import parse, run_sql, set_revision

PROCESSES = 8
FILES = 20
DATABASES = 5
DAY = 86_400_000


def test_the_revisions_that_the_code_names_are_those_of_the_scripts():
    scripts = ScriptDirectory.from_config(make_config())
    assert [script.revision for script in scripts.walk_revisions()][::-1] == list(REVISIONS)
    assert scripts.get_current_head() == HEAD


# How a computed column is written differs on each server, and is no difference.
@pytest.mark.filterwarnings("ignore:Computed default:UserWarning")
def test_the_migrated_schema_is_that_of_the_metadata(database_url):
    store = open_store(database_url, migrate=True)
    store.open()
    store.close()
    engine = make_engine(parse(database_url))
    with engine.connect() as connection:
        options = {
            "version_table": VERSION_TABLE,
            "compare_type": True,
            "compare_server_default": True,
        }
        context = MigrationContext.configure(connection, opts=options)
        assert compare_metadata(context, metadata) == []
    engine.dispose()


def test_the_day_on_which_a_session_is_over_is_that_of_the_first_of_its_ends(database_url):
    store = open_store(database_url, migrate=True)
    ends = {"first": (3 * DAY, 9 * DAY), "last": (4 * DAY - 1, 9 * DAY), "absolute": (9 * DAY, 2 * DAY + 5)}
    for handle, (expires_at, absolute_expires_at) in ends.items():
        store.insert_session(
            make_session(handle=handle, expires_at=expires_at, absolute_expires_at=absolute_expires_at)
        )
    found = run_sql(database_url, "SELECT handle, expiry_day FROM tallystick_sessions ORDER BY handle")
    assert found == [("absolute", 2 * DAY), ("first", 3 * DAY), ("last", 3 * DAY)]
    assert store.advance_line("public", "first", LINE, make_step(expires_at=5 * DAY + 1))
    assert run_sql(database_url, "SELECT expiry_day FROM tallystick_sessions WHERE handle = 'first'") == [(5 * DAY,)]
    store.close()


@pytest.mark.parametrize("revision", REVISIONS[:-1])
def test_code_of_an_earlier_version_goes_on_beside_the_schema_of_this_one(database_url, revision):
    """It knows the columns of its time, and no others."""
    old = MetaData()
    before = create_engine("sqlite://")
    with before.connect() as connection:
        config = make_config()
        config.attributes["connection"] = connection
        command.upgrade(config, revision)
        old.reflect(connection)
    before.dispose()
    store = open_store(database_url, migrate=True)
    store.open()
    kept = {"sessions": make_session(), "theft_events": make_theft(), "signing_keys": make_key()}
    engine = make_engine(parse(database_url))
    with engine.connect() as connection:
        for name, row in kept.items():
            table = old.tables[f"tallystick_{name}"]
            columns = [column for column in table.c if column.computed is None]
            connection.execute(table.insert(), {column.name: getattr(row, column.name) for column in columns})
            assert tuple(connection.execute(select(*columns)).one()) == tuple(asdict(row).values())
        sessions = old.tables["tallystick_sessions"]
        step = {"expires_at": LATER + DAY, "generation": 9}
        assert connection.execute(sessions.update().where(sessions.c.line == LINE).values(step)).rowcount == 1
    row = store.load_session("public", "handle")
    assert row == replace(make_session(), **step), "and what it has written is read by this version"
    assert store.purge_sessions("public", LATER + DAY, 10) == 1
    engine.dispose()
    store.close()


def test_names_of_constraints_are_the_same_as_the_metadata_would_give(postgres_database):
    def names(url):
        engine = make_engine(parse(url))
        with engine.connect() as connection:
            found = connection.execute(text("SELECT indexname FROM pg_indexes WHERE schemaname = 'public'"))
            answer = {name for name in found.scalars() if VERSION_TABLE not in name}
        engine.dispose()
        return answer

    store = open_store(postgres_database, migrate=True)
    store.open()
    store.close()
    migrated = names(postgres_database)
    engine = make_engine(parse(postgres_database))
    metadata.drop_all(engine)
    metadata.create_all(engine)
    engine.dispose()
    assert names(postgres_database) == migrated


def test_a_new_sqlite_file_gets_its_schema_by_itself_and_keeps_it(sqlite_url):
    for _ in range(2):
        store = open_store(sqlite_url)
        store.delete_sessions("public", ["handle"], CAUSE)
        store.insert_session(make_session())
        assert store.load_revision() == HEAD
        store.close()


@pytest.mark.parametrize("migrate", [True, None])
async def test_an_asynchronous_store_brings_the_schema_up_to_date_too(sqlite_url, migrate):
    store = open_async_store(sqlite_url, migrate=migrate)
    await store.insert_session(make_session())
    assert await store.load_session("public", "handle") == make_session()
    await store.close()


def test_a_database_is_migrated_when_that_is_asked_for_and_again_without_harm(database_url):
    for _ in range(2):
        store = open_store(database_url, migrate=True)
        store.open()
        assert store.load_revision() == HEAD
        store.close()


def test_a_new_database_on_a_server_is_refused_with_the_command_to_run(server_database):
    store = open_store(server_database)
    with pytest.raises(GeneralError, match=r"tallystick migrate (postgresql|mariadb)://") as refused:
        store.load_session("public", "handle")
    assert refused.value.reason == "schema_outdated"
    assert store.load_revision() is None
    store.close()


async def test_an_asynchronous_store_refuses_it_too(server_database):
    store = open_async_store(server_database)
    with pytest.raises(GeneralError, match=r"tallystick migrate (postgresql|mariadb)://"):
        await store.open()
    await store.close()


def test_a_store_that_was_refused_works_once_the_database_is_migrated(server_database):
    refused = open_store(server_database)
    with pytest.raises(GeneralError):
        refused.open()
    store = open_store(server_database, migrate=True)
    store.open()
    store.close()
    refused.insert_session(make_session())
    refused.close()


def test_an_sqlite_file_is_left_alone_if_that_is_asked_for(sqlite_url):
    store = open_store(sqlite_url, migrate=False)
    with pytest.raises(GeneralError) as refused:
        store.open()
    assert refused.value.reason == "schema_outdated"
    assert store.load_revision() is None
    store.close()


@pytest.mark.parametrize("migrate", [True, False, None])
def test_a_schema_of_a_later_version_is_refused_and_left_alone(database_url, migrate):
    store = open_store(database_url, migrate=True)
    store.open()
    set_revision(database_url, "9999")
    store.close()
    store = open_store(database_url, migrate=migrate)
    with pytest.raises(GeneralError, match="upgrade tallystick") as refused:
        store.open()
    store.close()
    assert refused.value.reason == "schema_newer"


def open_in_turn(_number, urls):
    revisions = []
    for url in urls:
        store = open_store(url, migrate=True)
        wait_for_the_others()
        store.open()
        revisions.append(store.load_revision())
        store.close()
    return revisions


def test_eight_processes_may_open_one_new_sqlite_file_at_once(tmp_path):
    urls = [f"sqlite:///{tmp_path / f'{number}.db'}" for number in range(FILES)]
    assert run_at_once(PROCESSES, open_in_turn, urls) == [[HEAD] * FILES] * PROCESSES


@pytest.mark.parametrize("server", ["postgresql", "mariadb"])
def test_several_processes_may_migrate_one_database_on_a_server_at_once(request, server):
    url_of, make = {
        "postgresql": ("postgres_url", make_database),
        "mariadb": ("mariadb_url", make_mariadb_database),
    }[server]
    server_url = request.getfixturevalue(url_of)
    with ExitStack() as stack:
        urls = [stack.enter_context(make(server_url)) for _ in range(DATABASES)]
        assert run_at_once(4, open_in_turn, urls) == [[HEAD] * DATABASES] * 4


def test_a_migration_that_fails_leaves_nothing_behind(sqlite_url):
    """A table of that name is there already, so the second table of the migration cannot be made."""
    engine = create_engine(sqlite_url)
    with engine.begin() as connection:
        connection.execute(text("CREATE TABLE tallystick_signing_keys (mine INTEGER)"))
    store = open_store(sqlite_url)
    with pytest.raises(Exception, match="already exists"):
        store.open()
    store.close()
    with engine.connect() as connection:
        tables = list(connection.execute(text("SELECT name FROM sqlite_master WHERE type = 'table'")).scalars())
    engine.dispose()
    assert tables == ["tallystick_signing_keys"]


def test_the_apps_own_alembic_version_is_not_touched(database_url):
    engine = make_engine(parse(database_url))
    with engine.connect() as connection:
        connection.execute(text("CREATE TABLE alembic_version (version_num VARCHAR(32))"))
        connection.execute(text("INSERT INTO alembic_version VALUES ('theirs')"))
    store = open_store(database_url, migrate=True)
    store.open()
    store.close()
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalars().all() == ["theirs"]
    engine.dispose()


def test_a_migration_leaves_logging_as_the_app_has_it(sqlite_url):
    root = logging.getLogger()
    before = (root.level, list(root.handlers), logging.getLogger("sqlalchemy.engine").level)
    store = open_store(sqlite_url)
    store.open()
    store.close()
    assert (root.level, list(root.handlers), logging.getLogger("sqlalchemy.engine").level) == before


def test_a_schema_that_is_up_to_date_is_opened_without_loading_alembic(sqlite_url):
    store = open_store(sqlite_url)
    store.open()
    store.close()
    program = (
        "import sys\n"
        "import tallystick\n"
        "assert 'sqlalchemy' not in sys.modules and 'asyncio' not in sys.modules\n"
        "from tallystick.storage.opening import open_store\n"
        f"store = open_store({sqlite_url!r}); store.load_keys('public'); store.close()\n"
        "assert 'alembic' not in sys.modules\n"
    )
    subprocess.run([sys.executable, "-c", program], check=True, timeout=60)
