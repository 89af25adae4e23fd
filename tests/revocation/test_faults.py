"""No session is accepted later than the lease after its revocation, whatever becomes of the feed: counted.

A verification counts by when it began, so that a process that is stopped in the middle of one is not held against it.
"""

import os
import signal
import threading
import time
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

LEASE = Config().feed_lease.total_seconds()
PATIENCE = 60
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


def count_late(fleet: Fleet, record_property, what: str) -> None:
    delays = fleet.delays()
    late = sum(delay > LEASE for delay in delays)
    record_property(what, f"{late} late acceptances of {len(delays)} (latest {max(delays) * 1000:.0f} ms)")
    assert late == 0


def test_every_process_refuses_in_time_with_clocks_five_seconds_apart(store_url, record_property):
    with Fleet(store_url, 2, skew=5000) as fleet:
        for pair in fleet.sign_in(10):
            fleet.revoke(*pair)
            time.sleep(0.02)
        fleet.wait(PATIENCE)
        count_late(fleet, record_property, f"clocks apart, {store_url.partition(':')[0]}")


def test_a_process_that_was_stopped_accepts_nothing_that_ended_meanwhile(postgres_database, record_property):
    with Fleet(postgres_database, 2) as fleet:
        pairs = fleet.sign_in(5)
        time.sleep(0.5)
        fleet.processes[0].send_signal(signal.SIGSTOP)
        for pair in pairs:
            fleet.revoke(*pair)
        time.sleep(LEASE + 1)
        fleet.processes[0].send_signal(signal.SIGCONT)
        fleet.wait(PATIENCE)
        count_late(fleet, record_property, "stopped and continued")


def test_a_line_that_is_cut_without_a_word_leaves_nobody_accepting(postgres_database, record_property):
    """The proxy takes what is sent and passes nothing on: no end, no error, no answer."""
    url = make_url(postgres_database)
    with Proxy(url.host, url.port) as proxy:
        through = url.set(port=proxy.port).render_as_string(hide_password=False)
        with Fleet(postgres_database, 2, reader_url=through, silence="refuse") as fleet:
            pairs = fleet.sign_in(5)
            time.sleep(0.5)
            proxy.cut()
            for pair in pairs:
                fleet.revoke(*pair)
            time.sleep(LEASE + 1)
            proxy.mend()
            fleet.wait(PATIENCE)
            count_late(fleet, record_property, "cut without a FIN")


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
        count_late(fleet, record_property, "PostgreSQL killed and restarted")


def test_a_flood_of_a_hundred_thousand_revocations_holds_nobody_up(postgres_database, record_property):
    count = 100_000
    names = ", ".join(column.name for column in sessions_table.c if column.computed is None)
    with Fleet(postgres_database, 1) as fleet:
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
        count_late(fleet, record_property, f"a flood of {count:,}")


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
