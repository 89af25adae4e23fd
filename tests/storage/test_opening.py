"""What a URL, an engine or an object makes."""

import builtins
import pickle
from pathlib import Path

import pytest
from sqlalchemy import create_engine
from sqlalchemy.ext.asyncio import create_async_engine

from tallystick import GeneralError
from tallystick.storage.memory import AsyncMemoryStore, MemoryStore
from tallystick.storage.opening import database_file, is_core, is_ephemeral, open_async_store, open_store, parse_url
from tallystick.storage.sql.engine import name_database
from tallystick.storage.sql.store import AsyncSqlStore, SqlStore

OPENERS = pytest.mark.parametrize("opener", [open_store, open_async_store])


@pytest.mark.parametrize(
    "url",
    [
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///some.db",
        "postgresql://user:password@host/db",
        "postgres://user@host/db",
        "postgresql+psycopg://host/db",
        "mysql://user:password@host/db",
        "mariadb://user@host/db",
    ],
)
def test_an_sql_url_makes_an_sql_store_without_connecting(url):
    assert isinstance(open_store(url), SqlStore)
    assert isinstance(open_async_store(url), AsyncSqlStore)


def test_an_explicit_driver_is_respected():
    assert isinstance(open_store("sqlite+pysqlite:///some.db"), SqlStore)
    assert isinstance(open_async_store("sqlite+aiosqlite:///some.db"), AsyncSqlStore)
    assert isinstance(open_async_store("postgresql+psycopg_async://host/db"), AsyncSqlStore)


async def test_each_memory_url_is_a_store_of_its_own():
    stores = [open_store("memory://") for _ in range(2)]
    assert [type(store) for store in stores] == [MemoryStore] * 2
    assert stores[0] is not stores[1]
    assert isinstance(open_async_store("memory://"), AsyncMemoryStore)


def test_a_store_is_taken_as_it_is():
    store, async_store = MemoryStore(), AsyncMemoryStore()
    assert open_store(store) is store
    assert open_async_store(async_store) is async_store


@OPENERS
@pytest.mark.parametrize("url", ["mongodb://host", "mssql://h/db", "oracle://h/db"])
def test_what_is_not_supported_is_refused_with_what_is(opener, url):
    with pytest.raises(GeneralError, match=r"sqlite:///file.db, postgresql://") as refused:
        opener(url)
    assert refused.value.reason == "unsupported_store"


@OPENERS
@pytest.mark.parametrize("url", ["http://core:3567", "https://core", "http://core1:3567,http://core2:3567"])
def test_a_core_is_no_store_and_whose_url_to_give_is_said(opener, url):
    with pytest.raises(GeneralError, match="the store that the core itself uses") as refused:
        opener(url)
    assert refused.value.reason == "unsupported_store"
    assert is_core(url)


@OPENERS
@pytest.mark.parametrize(
    "url",
    [
        "",
        "sessions.db",
        "sqlite:sessions.db",
        "sqlite:/sessions.db",
        "://",
        "postgresql://u:x@h:hush/db",
        "postgresql://u:x@hush@h/db",
        "postgresql://u:x@hush@h:1,i:2/db",
        "postgresql://u:x/y@hush@h/db",
        "mysql://u:x@hush@h/db",
        "SQLITE://",
    ],
)
def test_garbage_is_refused_with_an_example_and_not_quoted(opener, url):
    with pytest.raises(GeneralError, match=r"sqlite:///file.db") as refused:
        opener(url)
    assert refused.value.reason == "bad_url"
    assert "hush" not in str(refused.value)
    assert refused.value.__cause__ is None


@OPENERS
def test_a_path_after_two_slashes_is_refused_with_the_right_form(opener):
    with pytest.raises(GeneralError, match="three slashes"):
        opener("sqlite://sessions.db")


@OPENERS
@pytest.mark.parametrize("target", [None, 3, object(), Path("sessions.db")])
def test_what_is_no_store_is_refused(opener, target):
    with pytest.raises(GeneralError, match="is no store") as refused:
        opener(target)
    assert refused.value.reason == "bad_url"


@OPENERS
@pytest.mark.parametrize("url", ["sqlite+nosuch:///some.db", "postgresql+nosuch://host/db"])
def test_a_driver_that_nobody_knows_is_refused(opener, url):
    with pytest.raises(GeneralError, match="nosuch") as refused:
        opener(url)
    assert refused.value.reason == "bad_url"


@pytest.mark.parametrize(
    ("opener", "make", "facade"),
    [
        (open_store, lambda: "sqlite+aiosqlite:///some.db", "tallystick.AsyncSessions"),
        (open_store, lambda: "postgresql+psycopg_async://host/db", "tallystick.AsyncSessions"),
        (open_store, lambda: create_async_engine("sqlite+aiosqlite://"), "tallystick.AsyncSessions"),
        (open_store, lambda: "mysql+asyncmy://host/db", "tallystick.AsyncSessions"),
        (open_async_store, lambda: "mariadb+pymysql://host/db", "tallystick.Sessions"),
        (open_store, AsyncMemoryStore, "tallystick.AsyncSessions"),
        (open_async_store, lambda: "sqlite+pysqlite:///some.db", "tallystick.Sessions"),
        (open_async_store, lambda: create_engine("sqlite://"), "tallystick.Sessions"),
        (open_async_store, MemoryStore, "tallystick.Sessions"),
    ],
)
def test_what_fits_the_other_facade_is_refused_with_that_facade(opener, make, facade):
    with pytest.raises(GeneralError, match=f"for {facade}") as refused:
        opener(make())
    assert refused.value.reason == "wrong_facade"


@pytest.mark.parametrize(
    ("opener", "url", "driver", "package"),
    [
        (open_store, "postgresql://u:hush@host/db", "psycopg", '"tallystick[postgresql]"'),
        (open_async_store, "postgresql://u:hush@host/db", "psycopg", '"tallystick[postgresql]"'),
        (open_store, "mysql://u:hush@host/db", "pymysql", '"tallystick[mysql]"'),
        (open_async_store, "mariadb://u:hush@host/db", "asyncmy", '"tallystick[mysql]"'),
        (open_async_store, "sqlite:///some.db", "aiosqlite", '"tallystick[aiosqlite]"'),
        (open_store, "postgresql+psycopg2://u:hush@host/db", "psycopg2", "psycopg2"),
    ],
)
def test_a_missing_driver_is_named_with_what_to_install(monkeypatch, opener, url, driver, package):
    import_module = builtins.__import__

    def refuse(name, *args, **kwargs):
        if name.partition(".")[0] == driver:
            raise ModuleNotFoundError(f"No module named {driver!r}", name=driver)
        return import_module(name, *args, **kwargs)

    monkeypatch.setattr(builtins, "__import__", refuse)
    with pytest.raises(GeneralError) as refused:
        opener(url)
    assert refused.value.reason == "missing_driver"
    assert f"pip install {package}" in refused.value.message
    assert "hush" not in refused.value.message


def test_a_refusal_survives_pickling():
    with pytest.raises(GeneralError) as refused:
        open_store("mongodb://host")
    assert pickle.loads(pickle.dumps(refused.value)).reason == "unsupported_store"  # noqa: S301 - our own


@pytest.mark.parametrize(
    ("url", "path"),
    [
        ("sqlite:///some.db", Path("some.db")),
        ("sqlite:///data/some.db", Path("data/some.db")),
        ("sqlite:////srv/some.db", Path("/srv/some.db")),
        ("sqlite+aiosqlite:///some.db", Path("some.db")),
        ("sqlite:///some.db?timeout=3", Path("some.db")),
        ("sqlite:///file:some.db?uri=true", Path("some.db")),
        ("sqlite:///file:x?mode=memory&cache=shared&uri=true", None),
        ("sqlite:///file::memory:?cache=shared&uri=true", None),
        ("sqlite://", None),
        ("sqlite:///:memory:", None),
        ("memory://", None),
        ("postgresql://host/db", None),
    ],
)
def test_where_the_file_of_a_url_is(url, path):
    assert database_file(url) == path


def test_where_the_file_of_an_engine_is(tmp_path):
    url = f"sqlite:///{tmp_path / 'some.db'}"
    assert database_file(create_engine(url)) == tmp_path / "some.db"
    assert database_file(create_async_engine(url.replace("sqlite", "sqlite+aiosqlite", 1))) == tmp_path / "some.db"
    assert database_file(create_engine("sqlite://")) is None
    assert database_file(MemoryStore()) is None


@pytest.mark.parametrize(
    ("target", "answer"),
    [
        ("memory://", True),
        ("sqlite://", True),
        ("sqlite:///:memory:", True),
        ("sqlite:///some.db", False),
        ("postgresql://host/db", False),
        (MemoryStore(), True),
        (AsyncMemoryStore(), True),
        (object(), False),
    ],
)
def test_which_sessions_end_with_the_process(target, answer):
    assert is_ephemeral(target) is answer


def test_a_postgresql_url_may_name_several_servers():
    url = parse_url("postgresql://user:hush@one:5432,two/app?target_session_attrs=read-write")
    given = url.get_dialect()().create_connect_args(url)[1]
    assert (given["host"], given["port"], given["dbname"]) == ("one,two", "5432,", "app")
    assert given["target_session_attrs"] == "read-write"
    assert name_database(url) == "postgresql://user:***@one:5432,two/app"
