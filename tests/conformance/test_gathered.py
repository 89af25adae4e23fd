"""Steps of many callers that go to the store as one are still each a step of its own: the whole contract."""

import shutil

import pytest

from tallystick.service.gathering import gather
from tallystick.service.guard import Guard
from tallystick.storage.opening import open_async_store
from tallystick.storage.sql.store import AsyncSqlStore
from tallystick.testing import StoreContract


class SeveralOfOne(AsyncSqlStore):
    """Each step as one of several, though it is the only one; as the gathering has it, what does not go through so is
    tried by itself."""

    async def load_session(self, app_id, handle):
        found = await self.load_sessions(app_id, [handle])
        return found[0] if found else None

    async def advance_line(self, app_id, handle, expected_line, step):
        done = await self.advance_lines(app_id, [(handle, expected_line, step)])
        assert done <= {handle}
        return bool(done) or await super().advance_line(app_id, handle, expected_line, step)

    async def mark_used(self, app_id, handle, expected_line, used_at, expires_at):
        done = await self.mark_all_used(app_id, [(handle, expected_line, used_at, expires_at)])
        assert done <= {handle}
        return bool(done) or await super().mark_used(app_id, handle, expected_line, used_at, expires_at)


class TestSeveralOfOne(StoreContract):
    @pytest.fixture
    def make_store(self, postgres_tables):
        postgres_tables.empty()
        return lambda: SeveralOfOne(postgres_tables.open(open_async_store)._engine, owned=False)


class TestGathered(StoreContract):
    """With the guard between, as in the service."""

    test_a_second_session_of_one_handle_is_an_error_and_changes_nothing = None  # of an error the guard tells the kind

    @pytest.fixture(params=["postgresql", "sqlite-file"])
    def make_store(self, request, tmp_path):
        if request.param == "postgresql":
            tables = request.getfixturevalue("postgres_tables")
            tables.empty()
            return lambda: gather(Guard(10, 30).around(tables.open(open_async_store)))
        path = shutil.copy(request.getfixturevalue("sqlite_template"), tmp_path)
        return lambda: gather(Guard(10, 30).around(open_async_store(f"sqlite:///{path}", guarded_by=10)))
