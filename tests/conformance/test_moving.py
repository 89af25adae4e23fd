"""On its way from one store to another a session loses nothing: the whole contract, wherever it was before."""

import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from tallystick import AsyncSessions, GeneralError, Sessions, Unauthorised
from tallystick.storage.memory import AsyncMemoryStore, MemoryStore
from tallystick.storage.moving import AsyncMovingStore, MovingStore
from tallystick.storage.opening import open_store
from tallystick.testing import StoreContract
from tallystick.testing.contract.rows import CAUSE, LATER, LINE, NOW, make_key, make_session, make_step, make_theft
from tallystick.types import TenantRow
from tests.conformance.processes import wait_for_the_others
from tests.faults.load import Load
from tests.redis_servers import empty_redis

THREADS, LINES = 8, 20
SECRET = "a secret of tests, and long enough: 32 bytes"


class TestAnEmptyOldStore(StoreContract):
    @pytest.fixture(params=["sync", "async"])
    def make_store(self, request):
        if request.param == "sync":
            return lambda: MovingStore(MemoryStore(), MemoryStore())
        return lambda: AsyncMovingStore(AsyncMemoryStore(), AsyncMemoryStore())


class FromTheOld(MovingStore):
    """Everything begins in the old store."""

    def insert_session(self, row):
        self._old.insert_session(row)

    def insert_key(self, row):
        return self._old.insert_key(row)


class AsyncFromTheOld(AsyncMovingStore):
    async def insert_session(self, row):
        await self._old.insert_session(row)

    async def insert_key(self, row):
        return await self._old.insert_key(row)


class TestEverythingInTheOldStore(StoreContract):
    # A purge may count a session twice that somebody brings over at that moment.
    test_revoking_by_handle_by_user_and_by_purge_at_once_tells_each_handle_once = None

    @pytest.fixture(params=["memory", "memory-async", "redis-to-postgresql"])
    def make_store(self, request):
        match request.param:
            case "memory":
                return lambda: FromTheOld(MemoryStore(), MemoryStore())
            case "memory-async":
                return lambda: AsyncFromTheOld(AsyncMemoryStore(), AsyncMemoryStore())
            case _:
                old, new = request.getfixturevalue("redis_url"), request.getfixturevalue("postgres_tables")
                empty_redis(old)
                new.empty()
                return lambda: FromTheOld(new.open(open_store), old)


@pytest.fixture
def urls(tmp_path, redis_url):
    empty_redis(redis_url)
    new = f"sqlite:///{tmp_path / 'new.db'}"
    open_store(new).load_keys("public")
    return new, redis_url


def count_wins(number, urls, method, arguments_of):
    store = MovingStore(*urls)
    with ThreadPoolExecutor(THREADS) as threads:
        wait_for_the_others()
        racers = [(line, number * THREADS + thread) for line in range(LINES) for thread in range(THREADS)]
        futures = [threads.submit(getattr(store, method), *arguments_of(*racer)) for racer in racers]
        won = [future.result() for future in futures]
    store.close()
    sizes = [len(answer) if isinstance(answer, list) else int(answer) for answer in won]
    return [sum(sizes[line * THREADS : (line + 1) * THREADS]) for line in range(LINES)]


def advance(line, racer):
    return "public", f"h{line}", LINE, make_step(line=bytes([racer]) * 32)


def use(line, racer):
    return "public", f"h{line}", LINE, NOW + racer, LATER


def delete(line, _racer):
    return "public", [f"h{line}"], CAUSE


def steal(line, racer):
    return (make_theft(session_handle=f"h{line}", presented_generation=racer), CAUSE)


@pytest.mark.parametrize(
    ("method", "arguments_of"),
    [("advance_line", advance), ("mark_used", use), ("delete_sessions", delete), ("record_theft", steal)],
    ids=["advance", "use", "delete", "theft"],
)
def test_of_all_threads_of_two_processes_that_bring_a_session_one_wins(two_processes, urls, method, arguments_of):
    old = open_store(urls[1])
    for line in range(LINES):
        old.insert_session(make_session(handle=f"h{line}"))
    wins = two_processes(count_wins, urls, method, arguments_of)
    assert [sum(of_line) for of_line in zip(*wins, strict=True)] == [1] * LINES
    assert old.list_sessions("public", None, 100)[0] == []
    store = MovingStore(*urls)
    is_there = [store.load_session("public", f"h{line}") is not None for line in range(LINES)]
    assert is_there == [method in ("advance_line", "mark_used")] * LINES
    store.close()
    old.close()


def test_a_session_that_is_revoked_while_a_slow_process_brings_it_stays_revoked():
    new, old = MemoryStore(), MemoryStore()
    old.insert_session(make_session())
    quick = MovingStore(new, old)

    class Slow(MemoryStore):
        """Has read the session, and sleeps through its revocation."""

        def load_session(self, app_id, handle):
            row = old.load_session(app_id, handle)
            if row is not None:
                assert quick.delete_sessions("public", ["handle"], CAUSE) == ["handle"]
            return row

        def delete_sessions(self, app_id, handles, cause):
            return old.delete_sessions(app_id, handles, cause)

    slow = MovingStore(new, Slow())
    assert slow.load_session("public", "handle") is None
    for store in (slow, quick):
        assert store.load_session("public", "handle") is None
        assert store.list_handles_of_user("public", "user", None, NOW) == []
        assert store.delete_sessions("public", ["handle"], CAUSE) == []
        assert not store.record_theft(make_theft(), CAUSE)


def test_a_new_store_that_cannot_keep_a_session_leaves_it_in_the_old_one():
    class Broken(MemoryStore):
        def insert_session(self, row):
            raise OSError("no space left")

    old = MemoryStore()
    old.insert_session(make_session())
    store = MovingStore(Broken(), old)
    with pytest.raises(OSError, match="no space"):
        store.load_session("public", "handle")
    assert old.load_session("public", "handle") == make_session()


def test_a_session_that_is_evicted_while_two_bring_it_is_no_error():
    class Contended(MemoryStore):
        """The other was quicker, and what he has kept was evicted at once."""

        is_first = True

        def insert_session(self, row):
            if self.is_first and row.app_id == "public":
                self.is_first = False
                raise OSError("it is there already")
            super().insert_session(row)

    old = MemoryStore()
    old.insert_session(make_session())
    store = MovingStore(Contended(), old)
    assert store.load_session("public", "handle") == make_session()
    assert old.load_session("public", "handle") is None
    assert store.delete_sessions("public", ["handle"], CAUSE) == ["handle"]


def test_keys_of_two_stores_that_both_were_in_use_are_not_mixed():
    new, old = MemoryStore(), MemoryStore()
    new.insert_key(make_key(kid="its own"))
    old.insert_key(make_key())
    with pytest.raises(GeneralError) as refused:
        MovingStore(new, old).load_keys("public")
    assert refused.value.reason == "bad_target"


def test_one_store_by_two_names_is_told_before_anything_is_moved(tmp_path, redis_url):
    empty_redis(redis_url)
    for url, other in (
        (f"sqlite:///{tmp_path / 'one.db'}", f"sqlite:///{tmp_path / '.' / 'x' / '..' / 'one.db'}"),
        (redis_url, redis_url.replace("127.0.0.1", "localhost")),
    ):
        (tmp_path / "x").mkdir(exist_ok=True)
        store = open_store(url)
        store.insert_session(make_session())
        moving = MovingStore(url, other)
        with pytest.raises(GeneralError, match="the same one"):
            moving.load_session("public", "handle")
        assert store.load_session("public", "handle") == make_session()
        moving.close()
        store.close()


def test_tenants_come_along_and_those_that_are_deleted_do_not_come_back():
    new, old = MemoryStore(), MemoryStore()
    rows = [TenantRow("shop", tenant, NOW, b"sealed") for tenant in ("public", "t1", "t2")]
    for row in rows:
        old.insert_tenant(row)
    assert MovingStore(new, old).list_tenants("shop") == rows
    assert MovingStore(new, old).swap_tenant(TenantRow("shop", "t1", NOW, b"other"), b"sealed")
    assert MovingStore(new, old).delete_tenants("shop", "t2")
    again = MovingStore(new, old)
    assert [row.sealed for row in again.list_tenants(None)] == [b"sealed", b"other"]
    assert again.load_tenant("shop", "t2") is None
    assert old.load_tenant("shop", "t2") is None


def test_to_move_takes_the_secret_that_the_sessions_have_had(tmp_path, monkeypatch):
    monkeypatch.delenv("TALLYSTICK_SECRET", raising=False)
    for facade in (Sessions, AsyncSessions):
        with pytest.raises(GeneralError, match=r"\.secret") as refused:
            facade(f"sqlite:///{tmp_path / 'new.db'}", moving_from=f"sqlite:///{tmp_path / 'old.db'}")
        assert refused.value.reason == "no_secret"
        with pytest.raises(GeneralError, match="no store"):
            facade("http://core:3567", moving_from="memory://", secret=SECRET)


@pytest.mark.parametrize("way", ["PostgreSQL to Redis", "Redis to MariaDB"])
def test_people_stay_signed_in_and_out_through_a_whole_move(way, request):
    """Several threads sign in, refresh and sign out while another process carries the rest over."""
    fixtures = {"PostgreSQL": "postgres_database", "MariaDB": "mariadb_database", "Redis": "redis_url"}
    old, new = (request.getfixturevalue(fixtures[name]) for name in way.split(" to "))
    empty_redis(request.getfixturevalue("redis_url"))
    with Sessions(old, secret=SECRET, migrate=True, algorithm="ES256") as before:
        resting = [before.create_new_session(f"rests-{number}") for number in range(150)]
        leaving = [before.create_new_session(f"leaves-{number % 10}") for number in range(30)]
        left = before.create_new_session("left before")
        assert before.revoke_session(left.session.handle)
    with Sessions(new, moving_from=old, secret=SECRET, migrate=True, algorithm="ES256") as sessions:
        with Load(sessions, pause=0.02) as load, ThreadPoolExecutor(4) as threads:
            command = [Path(sys.executable).with_name("tallystick"), "move", old, new]
            mover = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
            by_user = threads.map(sessions.revoke_all_sessions_for_user, [f"leaves-{number}" for number in range(5)])
            by_handle = threads.map(sessions.revoke_session, [created.session.handle for created in leaving])
            assert sum(map(len, by_user)) + sum(by_handle) == len(leaving)
            load.wait_for("refreshes", 30)
            output = mover.communicate(timeout=60)[0]
        load.check()
    assert "moved, none is left" in output, output
    assert load.seen["errors"] == load.seen["lost sessions"] == load.seen["lost revocations"] == 0
    emptied = open_store(old)
    assert emptied.list_sessions("public", None, 1000)[0] == []
    emptied.close()
    with Sessions(new, secret=SECRET, algorithm="ES256") as after:
        for created in resting:
            assert after.refresh_session(created.refresh_token.token).session.handle == created.session.handle
        for created in [*leaving, left]:
            with pytest.raises(Unauthorised):
                after.refresh_session(created.refresh_token.token)


def test_whoever_signed_in_on_the_old_store_stays_signed_in_and_ends_up_in_the_new_one(urls):
    new, old = urls
    with Sessions(old, secret=SECRET) as before:
        created = [before.create_new_session("user", {"n": number}) for number in range(5)]
    with Sessions(new, moving_from=old, secret=SECRET) as sessions:
        assert sessions.get_session(created[0].access_token.token, check_database=True).session.jwt_payload == {"n": 0}
        child = sessions.refresh_session(created[1].refresh_token.token)
        assert sessions.revoke_session(created[2].session.handle)
        sessions.create_new_session("user")
        assert len(sessions.get_all_session_handles_for_user("user")) == 5
        sessions.purge_expired()
        assert open_store(old).list_sessions("public", None, 100)[0] == []
    with Sessions(new, secret=SECRET) as after:
        assert len(after.get_all_session_handles_for_user("user")) == 5
        assert after.get_session(child.access_token.token).access_token is not None
        assert after.refresh_session(created[3].refresh_token.token)
