"""Steps of many callers that go to the store as one are still each a step of its own: the contract of these steps."""

import shutil

import pytest

from tallystick.service.batching import batch_calls
from tallystick.service.guard import Guard
from tallystick.storage.opening import open_async_store
from tallystick.storage.redis.store import AsyncRedisStore
from tallystick.storage.sql.store import AsyncSqlStore
from tallystick.testing.contract.races import RaceScenarios
from tallystick.testing.contract.sessions import SessionScenarios
from tests.redis_servers import empty_redis


def take_each_as_one_of_several(kind):
    """A store of this kind whose steps are each one of several, though it is the only one. Where nobody else is at the
    session, what does not go through so does not by itself either."""

    class SeveralOfOne(kind):
        async def load_session(self, app_id, handle):
            found = await self.load_sessions(app_id, [handle])
            return found[0] if found else None

        async def advance_line(self, app_id, handle, expected_line, step):
            done = await self.advance_lines(app_id, [(handle, expected_line, step)])
            assert done <= {handle}
            assert done or not await super().advance_line(app_id, handle, expected_line, step)
            return bool(done)

        async def mark_used(self, app_id, handle, expected_line, used_at, expires_at):
            done = await self.mark_all_used(app_id, [(handle, expected_line, used_at, expires_at)])
            assert done <= {handle}
            assert done or not await super().mark_used(app_id, handle, expected_line, used_at, expires_at)
            return bool(done)

    return SeveralOfOne


class TestSeveralOfOne(SessionScenarios):
    @pytest.fixture(params=["postgresql", "redis"])
    def make_store(self, request):
        if request.param == "redis":
            url = request.getfixturevalue("redis_url")
            empty_redis(url)
            return lambda: take_each_as_one_of_several(AsyncRedisStore)(url)
        tables = request.getfixturevalue("postgres_tables")
        tables.empty()
        return lambda: take_each_as_one_of_several(AsyncSqlStore)(tables.open(open_async_store)._engine, owned=False)


class TestBatched(SessionScenarios, RaceScenarios):
    """With the guard between, as in the service."""

    test_a_second_session_of_one_handle_is_an_error_and_changes_nothing = None  # of an error the guard tells the kind

    @pytest.fixture(params=["postgresql", "redis", "sqlite-file"])
    def make_store(self, request, tmp_path):
        match request.param:
            case "postgresql":
                tables = request.getfixturevalue("postgres_tables")
                tables.empty()
                return lambda: batch_calls(Guard(10, 30).around(tables.open(open_async_store)))
            case "redis":
                url = request.getfixturevalue("redis_url")
                empty_redis(url)
            case _:
                url = f"sqlite:///{shutil.copy(request.getfixturevalue('sqlite_template'), tmp_path)}"
        return lambda: batch_calls(Guard(10, 30).around(open_async_store(url, guarded_by=10)))
