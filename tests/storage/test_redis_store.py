"""What the Redis store does beyond the contract: URLs, failures, event loops, expiry, and an index that heals."""

import asyncio
import contextlib
import gc
import logging
import subprocess
import sys

import pytest
import redis

from tallystick import AsyncSessions, GeneralError, Sessions
from tallystick.storage.opening import open_async_store, open_store
from tallystick.storage.redis import layout, steps
from tallystick.storage.redis.client import name_server
from tallystick.testing.contract.rows import CAUSE, LATER, LINE, NOW, make_key, make_session, make_step, make_theft
from tests.redis_servers import empty_redis, run_redis

SECRET = "a-secret-for-tests-that-is-long-enough-0001"


@pytest.fixture
def url(redis_url):
    empty_redis(redis_url)
    return redis_url


@pytest.fixture
def store(url):
    opened = open_store(url)
    yield opened
    opened.close()


@pytest.fixture
def server(url):
    with redis.Redis.from_url(url) as client:
        yield client


# URLs


@pytest.mark.parametrize(
    "url",
    [
        "redis+nowhere://host",
        "redis://host:hush",
        "redis://:hush@host/0?socket_timeout=hush",
        "redis+sentinel://:hush@host:26379",
        "redis+sentinel://:hush@host:port/service",
        "redis://:1/hush@host:6379/0",
        "redis+cluster://:1/hush@host:6379",
        "redis+cluster://:1#hush@host:6379",
        "redis+cluster://:1?hush@host:6379",
    ],
)
def test_a_url_that_is_not_good_is_refused_and_not_quoted(url):
    for opening in (open_store, open_async_store):
        with pytest.raises(GeneralError) as refused:
            opening(url)
        assert refused.value.reason in ("bad_url", "unsupported_store")
        assert "hush" not in str(refused.value)
        assert refused.value.__cause__ is None


def test_no_repr_shows_a_password(url):
    for opened in (open_store(url), open_async_store(url), Sessions(url, secret=SECRET)):
        assert url.split("@")[0].rpartition(":")[2] not in repr(opened)
    assert name_server("redis+cluster://user:hush@host:1/0") == "redis+cluster://host:1/0"


def test_a_server_that_is_shared_asks_for_a_secret(url, monkeypatch):
    monkeypatch.delenv("TALLYSTICK_SECRET", raising=False)
    with pytest.raises(GeneralError) as refused:
        Sessions(url)
    assert refused.value.reason == "no_secret"


@pytest.mark.parametrize("scheme", ["redis", "valkey", "redis+sentinel", "redis+cluster"])
def test_nothing_is_connected_to_before_the_first_call(scheme):
    path = "/service" if "sentinel" in scheme else ""
    for opening in (open_store, open_async_store):
        assert "127.0.0.1:1" in repr(opening(f"{scheme}://:hush@127.0.0.1:1{path}"))


def test_without_the_driver_the_extra_to_install_is_named():
    program = """
import sys
sys.modules["redis"] = None
from tallystick.storage.opening import open_store
try:
    open_store("redis://localhost")
except Exception as error:
    print(error.reason, error)
"""
    answer = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True)
    assert answer.stdout.startswith("missing_driver")
    assert 'pip install "tallystick[redis]"' in answer.stdout


# What goes wrong


def test_a_server_that_is_not_there_is_a_broken_store_and_never_a_sign_out():
    sessions = Sessions("redis://127.0.0.1:1", secret=SECRET)
    with pytest.raises(GeneralError) as broken:
        sessions.create_new_session("user")
    assert (broken.value.reason, broken.value.http_status) == ("store_failed", 503)


def test_a_wrong_password_is_a_broken_store_that_quotes_none(url):
    sessions = Sessions(url.replace("redis://:", "redis://:hush"), secret=SECRET)
    with pytest.raises(GeneralError) as broken:
        sessions.create_new_session("user")
    assert broken.value.reason == "store_failed"
    assert "hush" not in f"{broken.value}{broken.value.__cause__}"


def test_scripts_that_a_restarted_server_has_forgotten_are_sent_again(store, server):
    store.insert_session(make_session())
    server.script_flush()
    assert store.mark_used("public", "handle", LINE, NOW, LATER)
    server.script_flush()
    assert store.delete_sessions("public", ["handle"], CAUSE) == ["handle"]


def test_a_server_that_comes_back_is_found_again():
    with run_redis() as first:
        store = open_store(first.url)
        store.insert_session(make_session())
        first.client().execute_command("CLIENT", "KILL", "TYPE", "normal")
        with contextlib.suppress(redis.ConnectionError):  # the connection that was cut says so once
            store.load_session("public", "handle")
        assert store.load_session("public", "handle") == make_session()
        store.close()


# Settings of the server


def test_settings_that_can_cost_sessions_are_reported_once(caplog):
    with run_redis("--maxmemory-policy", "allkeys-lru") as server, caplog.at_level(logging.WARNING, "tallystick"):
        store = open_store(server.url)
        store.open()
        store.open()
        store.close()
        assert "maxmemory-policy allkeys-lru" in caplog.text
        assert caplog.text.count("appendonly no") == 1
        assert server.password not in caplog.text


def test_a_server_that_loses_nothing_is_not_warned_of(caplog):
    with run_redis("--appendonly", "yes", "--appendfsync", "always") as server:
        store = open_store(server.url)
        store.open()
        store.close()
    assert caplog.text == ""


# Event loops


def test_one_store_serves_event_loops_one_after_another(url):
    store = open_async_store(url)

    async def work(number):
        await store.insert_session(make_session(handle=f"h{number}"))
        rows = await asyncio.gather(*(store.load_session("public", f"h{n % (number + 1)}") for n in range(100)))
        await store.close()
        return rows

    for number in range(3):
        rows = asyncio.run(work(number))
        assert {row.handle for row in rows} == {f"h{n}" for n in range(number + 1)}
    gc.collect()


def test_both_facades_work_on_one_server(url):
    created = Sessions(url, secret=SECRET).create_new_session("user", {"role": "admin"})

    async def verify():
        async with AsyncSessions(url, secret=SECRET) as sessions:
            return await sessions.get_session(created.access_token.token, check_database=True)

    assert asyncio.run(verify()).session == created.session


# Expiry


def test_redis_forgets_a_session_an_hour_after_its_end(store, server):
    key = layout.session_key("public", "handle")
    day = 86_400_000
    store.insert_session(make_session(refreshed_at=NOW, expires_at=NOW + day, absolute_expires_at=NOW + 3 * day))
    hour = layout.SLACK
    assert day + hour - 60_000 < server.pttl(key) <= day + hour
    store.advance_line("public", "handle", LINE, make_step(refreshed_at=NOW, expires_at=NOW + 2 * day))
    assert 2 * day + hour - 60_000 < server.pttl(key) <= 2 * day + hour
    assert 3 * day < server.pttl(layout.user_key("public", "user")) < 4 * day + hour


# An index that heals


def test_a_session_that_redis_has_forgotten_leaves_the_users_list(store, server):
    store.insert_session(make_session())
    store.insert_session(make_session(handle="other"))
    server.delete(layout.session_key("public", "handle"))
    assert store.list_handles_of_user("public", "user", None, NOW) == ["other"]
    assert server.zrange(layout.user_key("public", "user"), 0, -1) == [b"other"]


def test_a_process_that_dies_before_it_has_indexed_a_session_has_acknowledged_none(store, server):
    """What is left is a session whose tokens nobody has; it ends by itself."""
    step = steps.insert_session(make_session())
    store._ask(next(step))
    step.close()
    assert store.list_handles_of_user("public", "user", None, NOW) == []
    assert server.pttl(layout.session_key("public", "handle")) > 0


def test_a_session_that_a_dead_process_has_not_indexed_is_indexed_by_whoever_brings_it_again(store, server):
    store.insert_session(row := make_session())
    server.delete(layout.user_key("public", "user"))
    with pytest.raises(KeyError):
        store.insert_session(row)
    assert store.list_handles_of_user("public", "user", None, NOW) == ["handle"]
    with pytest.raises(KeyError):
        store.insert_session(make_session(user_id="other"))
    assert server.zcard(layout.user_key("public", "other")) == 0


def test_a_theft_that_was_indexed_and_never_recorded_is_passed_over(store, server):
    store.insert_session(make_session())
    server.zadd(layout.thefts_key("public"), {"ghost": NOW + 1})
    store.record_theft(make_theft(), CAUSE)
    assert store.load_thefts("public", None, 10) == [make_theft()]
    assert store.purge_thefts("public", NOW + 2) == 1
    assert server.keys("tallystick:[te]:*") == []


def test_more_thefts_than_one_page_are_listed_and_purged(store):
    for number in range(250):
        store.insert_session(make_session(handle=f"h{number:03}"))
        store.record_theft(
            make_theft(session_handle=f"h{number:03}", detected_at=NOW + number, user_id=f"u{number % 2}"), CAUSE
        )
    assert [event.session_handle for event in store.load_thefts("public", "u0", 1000)] == [
        f"h{number:03}" for number in range(248, -1, -2)
    ]
    assert len(store.load_thefts("public", None, 120)) == 120
    assert store.purge_thefts("public", NOW + 200) == 200


def test_all_that_was_deleted_leaves_no_key_but_the_log(store, server):
    store.insert_session(make_session())
    store.insert_session(make_session(handle="other"))
    store.delete_sessions("public", ["handle"], CAUSE)
    store.delete_sessions_of_user("public", "user", None, CAUSE)
    store.insert_key(make_key())
    assert {key.decode() for key in server.scan_iter()} == {layout.keys_key("public"), layout.endings_key("public")}
