"""Cores in processes of their own that are stopped, killed and started again."""

import asyncio
import os
from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from tallystick import AsyncSessions, GeneralError, Sessions
from tests.remote.cores import RemoteFacades
from tests.service.operating import Service
from tests.service.serving import write_settings
from tests.unit.facades import KINDS
from tests.unit.test_facades import refresh, refuse, use

API_KEY = "a-key-of-at-least-20-characters"


@pytest.fixture
def cores(tmp_path):
    """Two services on one database, that want a key."""
    arguments = ["--config", str(write_settings(tmp_path, api_keys=API_KEY)), f"sqlite:///{tmp_path}/core.db"]
    pair = [Service(tmp_path, arguments) for _ in range(2)]
    try:
        for core in pair:
            core.start()
        yield pair
    finally:
        for core in pair:
            core.kill()


@pytest.fixture(params=KINDS)
def make(request):
    """Makes facades that wait long enough for a slow machine."""
    with asyncio.Runner() as runner:
        facades = RemoteFacades(request.param, None, runner, None)
        yield lambda *cores, **settings: facades.make(
            ",".join(core.url for core in cores),
            **{"api_key": API_KEY, "core_timeout": timedelta(seconds=20), **settings},
        )
        facades.close()


def test_a_killed_core_is_missed_by_nobody_and_a_dead_one_signs_nobody_out(make, cores):
    one, other = cores
    sessions = make(one, other)
    sessions.open()
    alive = sessions.create_new_session("ada", {"a": 1})
    one.kill()
    for user in ("bob", "bob", "bob"):
        sessions.create_new_session(user)
    assert len(sessions.get_all_session_handles_for_user("bob")) == 3
    refreshed = refresh(sessions, alive)
    found = use(sessions, refreshed)

    other.kill()
    for ask in (lambda: sessions.create_new_session("eve"), lambda: refresh(sessions, refreshed)):
        error = refuse(GeneralError, ask)
        assert (error.reason, error.http_status, error.client_action) == ("store_failed", 503, "retry_later")
        assert f"127.0.0.1:{one.port} cannot be reached" in error.message
        assert f"127.0.0.1:{other.port} cannot be reached" in error.message
        assert API_KEY not in error.message + repr(error) + repr(error.__cause__)
    assert sessions.get_session(found.access_token.token).session == alive.session

    one.start()
    again = refresh(sessions, refreshed)
    assert use(sessions, again, check_database=True).session == alive.session
    assert sessions.get_all_session_handles_for_user("eve") == []


def test_a_core_that_was_restarted_meanwhile_is_used_as_if_it_had_not_been(make, cores):
    core, _ = cores
    sessions = make(core)
    created = sessions.create_new_session("ada")
    for stop in (core.stop, core.kill):
        stop()
        core.start()
        sessions.create_new_session("ada")
        created = refresh(sessions, created)
        use(sessions, created)
    assert len(sessions.get_all_session_handles_for_user("ada")) == 3


@pytest.mark.parametrize("key", [None, "a-key-of-somebody-else-entirely"])
def test_a_wrong_api_key_is_said_at_the_start_and_at_each_call(make, cores, key):
    sessions = make(cores[0], api_key=key)
    for ask in (sessions.open, lambda: sessions.create_new_session("u")):
        error = refuse(GeneralError, ask)
        assert (error.reason, "api_key" in error.message) == ("bad_api_key", True)
        assert str(key) not in error.message


def test_many_threads_at_once_read_the_keys_together_and_lose_nothing(cores):
    with Sessions(cores[0].url, api_key=API_KEY, core_timeout=timedelta(seconds=30)) as first:
        tokens = [first.create_new_session(f"user-{number}").access_token.token for number in range(8)]
    sessions = Sessions(f"{cores[0].url},{cores[1].url}", api_key=API_KEY, core_timeout=timedelta(seconds=30))
    with ThreadPoolExecutor(8) as threads:
        found = list(threads.map(lambda token: sessions.get_session(token, check_database=True), tokens))
    assert [one.session.user_id for one in found] == [f"user-{number}" for number in range(8)]
    sessions.close()


async def test_many_tasks_at_once_and_some_of_them_cancelled(cores):
    settings = {"api_key": API_KEY, "core_timeout": timedelta(seconds=30)}
    async with AsyncSessions(cores[0].url, **settings) as first:
        token = (await first.create_new_session("u")).access_token.token
    async with AsyncSessions(cores[0].url, **settings) as sessions:
        tasks = [asyncio.create_task(sessions.get_session(token, check_database=True)) for _ in range(12)]
        await asyncio.sleep(0)
        for task in tasks[::3]:
            task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        users = [None if isinstance(one, asyncio.CancelledError) else one.session.user_id for one in done]
        assert users == [None, "u", "u"] * 4
        handles = await sessions.get_all_session_handles_for_user("u")
        assert len(handles) == 1


@pytest.mark.filterwarnings(
    "ignore:.*use of fork:DeprecationWarning"
)  # Python 3.12: there are threads, which is the point
def test_a_process_that_forks_does_not_share_its_connections(cores):
    with Sessions(cores[0].url, api_key=API_KEY, core_timeout=timedelta(seconds=30)) as sessions:
        handles = [sessions.create_new_session(user).session.handle for user in ("ada", "bob")]
        reader, writer = os.pipe()
        child = os.fork()
        if child == 0:
            user = "?"
            try:
                user = sessions.get_session_information(handles[1]).user_id
            finally:
                os.write(writer, user.encode())
                os._exit(0)
        assert sessions.get_session_information(handles[0]).user_id == "ada"
        assert os.waitpid(child, 0)[1] == 0
        assert os.read(reader, 10) == b"bob"
        os.close(reader)
        os.close(writer)
