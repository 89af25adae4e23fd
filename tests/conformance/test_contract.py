"""The published contract: a store that breaks a promise fails it, one that keeps them all passes."""

import pytest

pytest_plugins = ["pytester"]

KEPT = """
import time
from dataclasses import replace
import pytest
from tallystick.storage.memory import AsyncMemoryStore, MemoryStore
from tallystick.testing import StoreContract

class Broken(MemoryStore):
    {promise_broken}

class TestStore(StoreContract):
    @pytest.fixture
    def make_store(self):
        return Broken
"""

BROKEN = {
    "two win a line": """
    def advance_line(self, app_id, handle, expected_line, step):
        row = self._sessions.get((app_id, handle))
        if row is None or row.line != expected_line:
            return False
        time.sleep(0.001)
        changes = {name: getattr(step, name) for name in step.__slots__}
        self._sessions[app_id, handle] = replace(row, **changes)
        return True
    """,
    "a use is marked twice": """
    def mark_used(self, app_id, handle, expected_line, used_at, expires_at):
        row = self._sessions.get((app_id, handle))
        if row is None or row.line != expected_line:
            return False
        self._sessions[app_id, handle] = replace(row, used_at=used_at, expires_at=expires_at)
        return True
    """,
    "the expired are updated": """
    def update_session_data(self, app_id, handle, session_data, now):
        return super().update_session_data(app_id, handle, session_data, 0)
    """,
    "a purge knows no limit": """
    def purge_sessions(self, app_id, now, limit):
        return super().purge_sessions(app_id, now, 10**9)
    """,
    "a purge takes the living": """
    def purge_sessions(self, app_id, now, limit):
        return super().purge_sessions(app_id, now + 1, limit)
    """,
    "apps share users": """
    def list_handles_of_user(self, app_id, user_id, tenant_id, now):
        apps = {app for app, _ in self._sessions}
        found = (super(Broken, self).list_handles_of_user(app, user_id, tenant_id, now) for app in apps)
        return [handle for handles in found for handle in handles]
    """,
    "a theft is told twice": """
    def record_theft(self, event, cause):
        super().record_theft(event, cause)
        return True
    """,
    "the newest key is purged": """
    def purge_keys(self, app_id, created_before):
        old = [key for key, row in self._keys.items() if key[0] == app_id and row.created_at < created_before]
        for key in old:
            del self._keys[key]
        return len(old)
    """,
    "the cap is not a cap": """
    def insert_session_within(self, row, limit, evicts, replaces, cause):
        return super().insert_session_within(row, limit + 1, evicts, replaces, cause)
    """,
    "text is not kept to the letter": """
    def insert_session(self, row):
        super().insert_session(replace(row, jwt_payload=row.jwt_payload.replace(" ", "")))
    """,
    "a second row replaces the first": """
    def _insert(self, row):
        self._sessions[row.app_id, row.handle] = row
    """,
}


def play(pytester, promise_broken):
    pytester.makeini("[pytest]\nasyncio_default_fixture_loop_scope = function")
    pytester.makepyfile(test_store=KEPT.format(promise_broken=promise_broken))
    return pytester.runpytest_inprocess("-q", "-p", "no:cacheprovider", "-p", "no:randomly").parseoutcomes()


def test_a_store_that_keeps_every_promise_passes(pytester):
    outcomes = play(pytester, "pass")
    assert set(outcomes) == {"passed"}
    assert outcomes["passed"] > 100


@pytest.mark.parametrize("promise_broken", BROKEN.values(), ids=BROKEN)
def test_a_store_that_breaks_one_fails(pytester, promise_broken):
    outcomes = play(pytester, promise_broken)
    assert outcomes["failed"] >= 1
    assert outcomes["passed"] > 0, "it is not the store that is broken"
