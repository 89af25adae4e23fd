"""No session is accepted later than the lease after its revocation, whatever becomes of the feed: counted.

A verification counts by when it began, so that a process that is stopped in the middle of one is not held against it.
"""

import os
import signal
import threading
import time
from contextlib import ExitStack
from datetime import timedelta

import psycopg
import pymysql
import pytest
from sqlalchemy import make_url

from tallystick import Config, Sessions
from tallystick.storage.sql.schema import sessions as sessions_table
from tests.mariadb_servers import make_mariadb_database
from tests.redis_servers import empty_redis
from tests.revocation.fleet import Fleet
from tests.revocation.proxy import Proxy
from tests.servers import make_database, run_postgres
from tests.service.operating import SECRET, Service

LEASE = Config().feed_lease.total_seconds()
PATIENCE = 60
CONTROL = 'the same, with on_feed_silence="accept"'
STORES = ("sqlite-file", "postgresql", "mariadb", "redis")


@pytest.fixture(params=STORES)
def store_url(request, tmp_path):
    if request.param == "sqlite-file":
        yield f"sqlite:///{tmp_path / 'sessions.db'}"
    elif request.param == "postgresql":
        with make_database(request.getfixturevalue("postgres_url")) as url:
            yield url
    elif request.param == "mariadb":
        with make_mariadb_database(request.getfixturevalue("mariadb_url")) as url:
            yield url
    else:
        empty_redis(request.getfixturevalue("redis_url"))
        yield request.getfixturevalue("redis_url")


@pytest.fixture
def run_core(tmp_path):
    """Starts `tallystick serve` on a database."""
    cores = []

    def run(url):
        cores.append(Service(tmp_path, [url]))
        cores[-1].start()
        return cores[-1]

    yield run
    for core in cores:
        core.kill()


def count_late(fleet: Fleet) -> int:
    return sum(delay > LEASE for delay in fleet.delays())


def record_late(fleet: Fleet, record_property, what: str) -> int:
    """How many acceptances were later than the lease, which is also told at the end of the run."""
    delays, late = fleet.delays(), count_late(fleet)
    latest = max(0, round(delays[-1] * 1000))
    record_property(what, f"{late} late acceptances, {len(delays)} refusals, the last acceptance after {latest} ms")
    return late


def test_every_process_refuses_in_time_with_clocks_five_seconds_apart(store_url, record_property):
    with Fleet(store_url, 2, skew=5000) as fleet:
        for pair in fleet.sign_in(10):
            fleet.revoke(*pair)
            time.sleep(0.02)
        fleet.wait(PATIENCE)
        assert record_late(fleet, record_property, f"clocks 5 s apart, {store_url.partition(':')[0]}") == 0


def test_whatever_stands_still_or_is_gone_for_ten_seconds_nobody_accepts_what_ended_meanwhile(
    postgres_database, run_core, record_property
):
    """Six misfortunes at once, as each takes its time: processes are stopped, of which one follows the store and one a
    core; the lines to PostgreSQL and to a core are cut, by proxies that take what is sent and pass nothing on, with no
    end, no error and no answer; a core is stopped, so that what it says when it goes on is old; and one is killed.
    One more process accepts in silence, to see that it would be seen."""
    url = make_url(postgres_database)
    steady, halted, mortal = (run_core(postgres_database) for _ in range(3))
    with (
        Proxy(url.host, url.port) as to_store,
        Proxy("127.0.0.1", steady.port) as to_core,
        ExitStack() as stack,
    ):
        store_through = url.set(port=to_store.port).render_as_string(hide_password=False)
        core_through = f"http://127.0.0.1:{to_core.port}"
        plans = {
            "processes stopped for 10 s and continued": (
                [postgres_database, steady.url, postgres_database],
                "check_store",
            ),
            "the line to PostgreSQL cut without a FIN for 10 s": ([store_through], "refuse"),
            "the line to a core cut without a FIN for 10 s": ([core_through], "check_store"),
            'the same, with on_feed_silence="refuse"': ([core_through], "refuse"),
            CONTROL: ([core_through], "accept"),
            "a core stopped for 10 s and continued": ([halted.url], "refuse"),
            "a core killed, and started again after 10 s": ([mortal.url], "check_store"),
        }
        fleets = {
            what: Fleet(postgres_database, len(readers), reader_url=readers, secret=SECRET, silence=silence)
            for what, (readers, silence) in plans.items()
        }
        for fleet in fleets.values():
            stack.enter_context(fleet)
        pairs = [(fleet, fleet.sign_in(10)) for fleet in fleets.values()]
        time.sleep(0.5)

        stopped = [*fleets["processes stopped for 10 s and continued"].processes[:2], halted.process]
        for process in stopped:
            process.send_signal(signal.SIGSTOP)
        to_store.cut()
        to_core.cut()
        mortal.kill()
        for fleet, its in pairs:
            for pair in its:
                fleet.revoke(*pair)
        time.sleep(10)
        for process in stopped:
            process.send_signal(signal.SIGCONT)
        to_store.mend()
        to_core.mend()
        mortal.start()

        for fleet in fleets.values():
            fleet.wait(PATIENCE)
        assert count_late(fleets.pop(CONTROL)) == 10, "who accepts in silence does: it would be seen"
        late = sum(record_late(fleet, record_property, what) for what, fleet in fleets.items())
    assert late == 0


def test_a_postgresql_that_is_killed_and_started_again_loses_no_ending(record_property):
    with run_postgres(is_durable=True) as server, Fleet(server.url, 2) as fleet:
        pairs = fleet.sign_in(6)
        for pair in pairs[:3]:
            fleet.revoke(*pair)
        server.kill()
        time.sleep(0.5)
        server.restart()
        for pair in pairs[3:]:
            fleet.revoke(*pair)
        fleet.wait(PATIENCE)
        assert record_late(fleet, record_property, "PostgreSQL killed and restarted") == 0


def test_a_flood_of_a_hundred_thousand_revocations_holds_nobody_up(postgres_database, run_core, record_property):
    count = 100_000
    names = ", ".join(column.name for column in sessions_table.c if column.computed is None)
    core = run_core(postgres_database)
    with Fleet(postgres_database, 2, reader_url=[postgres_database, core.url], secret=SECRET) as fleet:
        fleet.sessions.create_new_session("flood")
        many = names.replace("handle", "'flood-' || n")
        with psycopg.connect(postgres_database) as connection:
            connection.execute(
                f"INSERT INTO tallystick_sessions ({names}) SELECT {many} FROM tallystick_sessions,"
                f" generate_series(1, {count}) AS n WHERE user_id = 'flood'"
            )
        pairs = fleet.sign_in(10)
        flood = threading.Thread(target=lambda: fleet.sessions.revoke_all_sessions_for_user("flood"))
        flood.start()
        for pair in pairs:
            fleet.revoke(*pair)
            time.sleep(0.1)
        flood.join()
        last = fleet.sign_in(1)
        fleet.revoke(*last[0])
        fleet.wait(PATIENCE)
        assert record_late(fleet, record_property, f"a flood of {count:,} revocations") == 0


def test_a_transaction_that_is_left_open_holds_up_no_other_ending(postgres_database):
    """And is not skipped when it is committed, though later ones were read before."""
    with (
        Sessions(
            postgres_database, secret="x" * 40, migrate=True, algorithm="EdDSA", instant_revocation=True
        ) as sessions,
        psycopg.connect(postgres_database) as slow,
    ):
        first, second = (sessions.create_new_session("user").session.handle for _ in range(2))
        slow.execute(
            "WITH gone AS (DELETE FROM tallystick_sessions WHERE handle = %s RETURNING *)"
            " INSERT INTO tallystick_endings"
            " (app_id, handle, user_id, tenant_id, kind, happened_at, forget_at, transaction_id)"
            " SELECT app_id, handle, user_id, tenant_id, 'revoked', 0, 0, txid_current() FROM gone",
            (first,),
        )
        sessions.revoke_session(second)
        wait_until(lambda: sessions.feed.has_ended(second))
        time.sleep(1.2)
        assert not sessions.feed.has_ended(first)
        slow.commit()
        wait_until(lambda: sessions.feed.has_ended(first))


def test_on_mariadb_neither(mariadb_database):
    url = make_url(mariadb_database)
    with Sessions(
        mariadb_database, secret="x" * 40, migrate=True, algorithm="EdDSA", instant_revocation=True
    ) as sessions:
        first, second = (sessions.create_new_session("user").session.handle for _ in range(2))
        slow = pymysql.connect(
            host=url.host, port=url.port, user=url.username, password=url.password, database=url.database
        )
        with slow.cursor() as cursor:
            cursor.execute(
                "INSERT INTO tallystick_endings (app_id, handle, user_id, tenant_id, kind, happened_at, forget_at)"
                " VALUES ('public', %s, 'user', 'public', 'revoked', 0, 0)",
                (first,),
            )
            sessions.revoke_session(second)
            wait_until(lambda: sessions.feed.has_ended(second))
            time.sleep(1.2)
            assert not sessions.feed.has_ended(first)
            slow.commit()
        slow.close()
        wait_until(lambda: sessions.feed.has_ended(first))


def wait_until(is_so) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("begins", ["before the fork", "after it"])
def test_after_a_fork_each_process_follows_by_itself(postgres_database, begins):
    settings = {"secret": "x" * 40, "algorithm": "EdDSA", "feed_lease": timedelta(seconds=2)}
    with Sessions(postgres_database, migrate=True, instant_revocation=True, **settings) as sessions:
        created = sessions.create_new_session("user")
        if begins == "before the fork":
            sessions.get_session(created.access_token.token)
        read, write = os.pipe()
        child = os.fork()
        if child == 0:
            try:
                deadline = time.monotonic() + PATIENCE
                while not sessions.feed.has_ended(created.session.handle) and time.monotonic() < deadline:
                    sessions.get_session(created.access_token.token)
                    os.write(write, b".")
                    time.sleep(0.01)
            except Exception as error:  # the child must never return into pytest
                os.write(write, type(error).__name__.encode())
            finally:
                os._exit(0)
        os.read(read, 1)
        time.sleep(LEASE + 0.5)
        sessions.revoke_session(created.session.handle)
        os.waitpid(child, 0)
        told = os.read(read, 1_000_000).decode().strip(".")
        os.close(read)
        os.close(write)
    assert told in ("", "Unauthorised")
