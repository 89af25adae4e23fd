"""Writes that replicas must confirm (``wait_replicas``), with real replicas that are paused."""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from tallystick import AsyncSessions, GeneralError, Sessions
from tallystick.storage.opening import open_async_store, open_store
from tallystick.storage.redis.client import AT_ONCE, WaitRule, split_wait_rule
from tallystick.testing.contract.rows import CAUSE, LINE, make_session, make_step
from tests.redis_servers import empty_redis, run_redis_with_replica, run_sentinels, wait_until_linked

SECRET = "a-secret-for-tests-that-is-long-enough-0001"
DEADLINE_SECONDS = 60


@pytest.fixture(scope="module")
def pair():
    with run_redis_with_replica() as servers:
        yield servers


@pytest.fixture(scope="module")
def sentinel_url(pair):
    with run_sentinels(pair[0]) as url:
        yield url


@pytest.fixture(params=["one server", "sentinel"])
def url(request, pair):
    base = pair[0].url if request.param == "one server" else request.getfixturevalue("sentinel_url")
    wait_until_linked(pair[1])
    yield f"{base}?wait_replicas=1&wait_timeout=0.6"
    pair[1].resume()


def keys_of(server):
    with server.client() as client:
        return {key for key in client.scan_iter() if not key.startswith((b"tallystick:k:", b"tallystick:w:"))}


def is_refused(error):
    assert type(error.__cause__).__name__ == "TooFewReplicas"
    return (error.reason, error.http_status) == ("store_failed", 503)


# What the URL says


@pytest.mark.parametrize(
    ("query", "rest", "rule"),
    [
        ("", "", None),
        ("?socket_timeout=1", "?socket_timeout=1", None),
        ("?wait_replicas=2", "", WaitRule(2, 1000)),
        ("?wait_replicas=1&socket_timeout=1&wait_timeout=0.25", "?socket_timeout=1", WaitRule(1, 250)),
    ],
)
def test_the_url_says_how_many_replicas_must_confirm(query, rest, rule):
    assert split_wait_rule(f"redis://host/0{query}") == (f"redis://host/0{rest}", rule)


@pytest.mark.parametrize(
    "query",
    [
        "wait_replicas=0",
        "wait_replicas=-1",
        "wait_replicas=101",
        "wait_replicas=",
        "wait_replicas=hush",
        "wait_timeout=1",
        "wait_replicas=1&wait_timeout=0",
        "wait_replicas=1&wait_timeout=5",
        "wait_replicas=1&wait_timeout=nan",
        "wait_replicas=1&wait_timeout=inf",
    ],
)
@pytest.mark.parametrize("scheme", ["redis", "redis+cluster", "redis+sentinel"])
def test_a_rule_that_makes_no_sense_is_refused_at_once(scheme, query):
    for opening in (open_store, open_async_store):
        with pytest.raises(GeneralError, match="wait_replicas") as refused:
            opening(f"{scheme}://:hush@host/service?{query}")
        assert refused.value.reason == "bad_url"
        assert "hush" not in str(refused.value)


# One server, and Sentinel


def test_what_a_replica_has_confirmed_is_on_it(url, pair):
    with Sessions(url, secret=SECRET) as sessions:
        created = sessions.create_new_session("user")
        assert keys_of(pair[1]) == keys_of(pair[0]) != set()
        assert sessions.revoke_session(created.session.handle)
        assert not any(created.session.handle.encode() in key for key in keys_of(pair[1]))


def test_what_no_replica_confirms_is_refused_however_often_it_is_asked(url, pair):
    with Sessions(url, secret=SECRET) as sessions, Sessions(pair[0].url, secret=SECRET) as others:
        child = sessions.refresh_session(sessions.create_new_session("user").refresh_token.token)
        pair[1].pause()
        for call in (
            lambda: sessions.create_new_session("user"),
            lambda: sessions.refresh_session(child.refresh_token.token),
            # The master has moved the session by now, and there is nothing left to write.
            lambda: sessions.refresh_session(child.refresh_token.token),
            lambda: sessions.update_session_data(child.session.handle, {"a": 1}),
        ):
            with pytest.raises(GeneralError) as refused:
                call()
            assert is_refused(refused.value)
        # As after a call that was refused when the master had done it: that it is gone there is no answer yet.
        assert others.revoke_session(child.session.handle)
        for call in (
            lambda: sessions.revoke_session(child.session.handle),
            lambda: sessions.revoke_all_sessions_for_user("user"),
        ):
            with pytest.raises(GeneralError) as refused:
                call()
            assert is_refused(refused.value)
        pair[1].resume()
        assert not sessions.revoke_session(child.session.handle)
        assert not any(child.session.handle.encode() in key for key in keys_of(pair[1]))


def test_the_same_for_asynchronous_code(url, pair):
    async def work():
        async with AsyncSessions(url, secret=SECRET) as sessions:
            created = await sessions.create_new_session("user")
            pair[1].pause()
            answers = await asyncio.gather(
                *(sessions.revoke_session(created.session.handle) for _ in range(5)),
                *(sessions.create_new_session("user") for _ in range(5)),
                return_exceptions=True,
            )
            assert all(is_refused(answer) for answer in answers)
            handles = await sessions.get_all_session_handles_for_user("user")
            assert created.session.handle in handles, "to list needs no replica"
            pair[1].resume()
            assert await sessions.revoke_session(created.session.handle)
            assert not any(created.session.handle.encode() in key for key in keys_of(pair[1]))

    asyncio.run(work())


def test_scripts_that_the_server_has_forgotten_are_sent_again(url, pair):
    store = open_store(url)
    with pair[0].client() as client:
        client.script_flush()
    store.insert_session(make_session())
    assert store.advance_line("public", "handle", LINE, make_step())
    assert store.delete_sessions("public", ["handle"], CAUSE) == ["handle"]
    store.close()


def test_min_replicas_to_write_refuses_once_a_replica_has_been_gone_for_a_while(pair):
    with pair[0].client() as client, Sessions(pair[0].url, secret=SECRET) as sessions:
        client.config_set("min-replicas-max-lag", 1)
        client.config_set("min-replicas-to-write", 1)
        try:
            sessions.create_new_session("user")
            pair[1].pause()
            deadline = time.monotonic() + DEADLINE_SECONDS
            refused = None
            while refused is None and time.monotonic() < deadline:
                try:
                    sessions.create_new_session("user")
                    time.sleep(0.05)
                except GeneralError as error:
                    refused = error
            assert (refused.reason, refused.http_status) == ("store_failed", 503)
        finally:
            pair[1].resume()
            client.config_set("min-replicas-to-write", 0)


# A Cluster


def test_a_step_goes_to_the_node_that_the_cluster_names(redis_cluster_url):
    empty_redis(redis_cluster_url)
    url = f"{redis_cluster_url}?wait_replicas=1"
    handles = [f"h{number}" for number in range(12)]
    store = open_store(url)
    store.open()
    misplace_slots(store._client.nodes_manager)
    for handle in handles[:6]:
        store.insert_session(make_session(handle=handle))
    misplace_slots(store._client.nodes_manager)
    assert store.delete_sessions("public", handles, CAUSE) == handles[:6]
    store.close()

    async def work():
        store = open_async_store(url)
        await store.open()
        manager = next(iter(store._clients.values())).nodes_manager
        misplace_slots(manager)
        for handle in handles[6:]:
            await store.insert_session(make_session(handle=handle))
        misplace_slots(manager)
        assert set(await store.delete_sessions_of_user("public", "user", None, CAUSE)) == set(handles[6:])
        await store.close()

    asyncio.run(work())


def misplace_slots(manager):
    """As if they had all been moved since the client learnt of them."""
    nodes = sorted({nodes[0].name: nodes[0] for nodes in manager.slots_cache.values()}.items())
    following = {name: nodes[(at + 1) % len(nodes)][1] for at, (name, _) in enumerate(nodes)}
    for slot, of_slot in list(manager.slots_cache.items()):
        manager.slots_cache[slot] = [following[of_slot[0].name]]


def test_a_cluster_with_too_few_replicas_refuses(redis_cluster_url):
    sessions = Sessions(f"{redis_cluster_url}?wait_replicas=2&wait_timeout=0.05", secret=SECRET)
    with pytest.raises(GeneralError) as refused:
        sessions.create_new_session("user")
    assert is_refused(refused.value)
    sessions.close()


# However it is reached


@pytest.mark.parametrize("place", ["server", "sentinel_url", "redis_cluster_url"])
def test_more_calls_at_once_than_connections_wait_their_turn(place, pair, request):
    url = pair[0].url if place == "server" else request.getfixturevalue(place)
    many, row = 3 * AT_ONCE, make_session()
    empty_redis(pair[0].url if place == "sentinel_url" else url)

    async def load():
        store = open_async_store(url)
        await store.insert_session(row)
        found = await asyncio.gather(*(store.load_session("public", row.handle) for _ in range(many)))
        await store.close()
        return found

    assert asyncio.run(load()) == [row] * many
    store = open_store(url)
    with ThreadPoolExecutor(many) as threads:
        assert list(threads.map(lambda _: store.load_session("public", row.handle), range(many))) == [row] * many
    store.close()
