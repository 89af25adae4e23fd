"""Servers that die, connections that drop, disks that are full: what was acknowledged stays, and errors are quick."""

import contextlib
import multiprocessing
import time
from collections import Counter
from collections.abc import Callable
from multiprocessing.connection import Connection
from pathlib import Path

import psycopg
import pytest
from sqlalchemy import event

from tallystick import GeneralError, Sessions
from tallystick.storage.opening import open_store
from tests.faults.load import DEADLINE_SECONDS, SECRET, Load, describe
from tests.mariadb_servers import run_mariadb
from tests.redis_servers import (
    RedisServer,
    cluster_url,
    run_redis,
    run_redis_cluster_nodes,
    run_redis_with_replica,
    run_sentinels,
    wait_until_linked,
)
from tests.servers import run_postgres, run_postgres_replica

DURABLE = ("--appendonly", "yes", "--appendfsync", "always")

Record = Callable[[str, object], None]


Tell = Callable[[str, Load], None]


@pytest.fixture
def tell(record_property: Record) -> Tell:
    """What was done and what was counted go to pytest's summary, and from there to bench/RESULTS.md."""
    return lambda done, load: record_property(done, load.describe())


def notice_soon(nodes: list[RedisServer]) -> None:
    """That one of them is gone: 15 s are the default, and while they find each other they may need them."""
    for node in nodes:
        with node.client() as client:
            client.config_set("cluster-node-timeout", 3000)


def wait_for_masters(nodes: list[RedisServer]) -> None:
    """Until one of these replicas has taken over."""
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not any(node.client().info("replication")["role"] == "master" for node in nodes):
        assert time.monotonic() < deadline, "no replica took over"
        time.sleep(0.1)


def cut_off(master: RedisServer, replica: RedisServer) -> None:
    """As if the network between the two had failed: nothing more of what the master does gets to the replica."""
    replica.pause()
    with master.client() as client:
        client.execute_command("CLIENT", "KILL", "TYPE", "replica")


def test_a_primary_is_killed_and_its_synchronous_replica_promoted(tell: Tell) -> None:
    with (
        run_postgres(is_durable=True, synchronous_standby_names="*") as primary,
        run_postgres_replica(primary) as replica,
    ):
        hosts = ",".join(server.url.rpartition("@")[2].partition("/")[0] for server in (primary, replica))
        login = primary.url.rpartition("@")[0]
        url = f"{login}@{hosts}/postgres?target_session_attrs=read-write"
        with Sessions(url, secret=SECRET, migrate=True) as sessions:
            with Load(sessions) as load:
                load.wait_for("refreshes", 40)
                primary.kill()
                load.wait_for("errors", 4)
                with psycopg.connect(replica.url, autocommit=True) as connection:
                    connection.execute("SELECT pg_promote()")
                load.wait_for("refreshes", 40)
            load.check()
    tell("PostgreSQL's primary is killed, and its synchronous replica promoted", load)
    assert load.seen["lost sessions"] == load.seen["lost revocations"] == 0


def test_a_primary_is_killed_and_starts_again(tell: Tell) -> None:
    with run_postgres(is_durable=True) as server, Sessions(server.url, secret=SECRET, migrate=True) as sessions:
        with Load(sessions) as load:
            load.wait_for("refreshes", 40)
            server.kill()
            load.wait_for("errors", 4)
            server.restart()
            load.wait_for("refreshes", 40)
        load.check()
    tell("PostgreSQL is killed and starts again", load)
    assert load.seen["lost sessions"] == load.seen["lost revocations"] == 0


def test_postgresql_s_connections_drop_in_the_middle(tell: Tell, postgres_database: str) -> None:
    others = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    with Sessions(postgres_database, secret=SECRET, migrate=True, max_sessions_per_user=5) as sessions:
        with Load(sessions) as load, psycopg.connect(postgres_database, autocommit=True) as connection:
            for _ in range(15):
                load.wait_for("refreshes", 4)
                connection.execute(others)
        load.check()
    tell("PostgreSQL's connections are ended, 15 times, in the middle of what they do", load)
    assert load.seen["errors"] > 0
    assert load.seen["lost sessions"] == load.seen["lost revocations"] == 0


def test_mariadb_is_killed_and_starts_again(tell: Tell) -> None:
    with run_mariadb(is_durable=True) as server, Sessions(server.url, secret=SECRET, migrate=True) as sessions:
        with Load(sessions) as load:
            load.wait_for("refreshes", 40)
            server.kill()
            load.wait_for("errors", 4)
            server.restart()
            load.wait_for("refreshes", 40)
        load.check()
    tell("MariaDB is killed and starts again", load)
    assert load.seen["lost sessions"] == load.seen["lost revocations"] == 0


def test_redis_with_appendfsync_always_is_killed_and_starts_again(tell: Tell) -> None:
    with run_redis(*DURABLE) as server, Sessions(server.url, secret=SECRET) as sessions:
        with Load(sessions) as load:
            load.wait_for("refreshes", 100)
            server.kill()
            load.wait_for("errors", 4)
            server.restart()
            load.wait_for("refreshes", 40)
        load.check()
    tell("Redis with `appendfsync always` is killed and starts again", load)
    assert load.seen["lost sessions"] == load.seen["lost revocations"] == 0


def test_redis_without_an_append_only_file_loses_everything(tell: Tell) -> None:
    """That a load notices what is lost, and that the settings are what keeps it."""
    with run_redis() as server, Sessions(server.url, secret=SECRET) as sessions:
        with Load(sessions) as load:
            load.wait_for("refreshes", 40)
        server.kill()
        server.restart()
        with contextlib.suppress(GeneralError):  # the connection that was cut says so once
            sessions.get_all_session_handles_for_user("user")
        load.check()
    tell("Redis with `appendonly no` is killed and starts again", load)
    assert load.seen["lost sessions"] > 0


def test_a_master_of_a_redis_cluster_is_killed_under_load(tell: Tell) -> None:
    """Its replica takes over. Redis copies to it after it has acknowledged, so what is lost is counted, and not
    promised to be nothing."""
    settings = ("--cluster-node-timeout", "2500", "--appendonly", "yes")
    with run_redis_cluster_nodes(*settings) as nodes, Sessions(cluster_url(nodes), secret=SECRET) as sessions:
        with Load(sessions, may_lose=True) as load:
            load.wait_for("refreshes", 100)
            nodes[1].kill()
            load.wait_for("errors", 4)
            load.wait_for("refreshes", 200)
        load.check()
    tell("A master of a Redis Cluster is killed, and its replica takes over", load)


def test_a_master_of_a_redis_cluster_is_killed_where_a_replica_must_confirm(tell: Tell) -> None:
    """Its replica takes over with all that was acknowledged. Alone it acknowledges nothing, until the other is back."""
    settings = ("--cluster-node-timeout", "2500", "--repl-diskless-sync", "no")
    waiting = "wait_replicas=1&wait_timeout=0.5"
    with (
        run_redis_cluster_nodes(*settings) as nodes,
        Sessions(f"{cluster_url(nodes)}?{waiting}", secret=SECRET) as sessions,
    ):
        with Load(sessions) as load:
            load.wait_for("refreshes", 100)
            nodes[1].kill()
            load.wait_for("errors", 4)
            wait_for_masters(nodes[3:])
            nodes[1].restart()
            wait_until_linked(nodes[1])
            load.wait_for("refreshes", 100)
        load.check()
    tell("The same with `wait_replicas=1`; the master comes back as a replica", load)
    assert load.seen["lost sessions"] == load.seen["lost revocations"] == 0


def test_a_master_of_a_redis_cluster_is_killed_and_comes_back_itself(tell: Tell) -> None:
    """Where no replica may take over, and each write is on the disk first, nothing is lost."""
    settings = ("--cluster-replica-no-failover", "yes", *DURABLE)
    with run_redis_cluster_nodes(*settings) as nodes, Sessions(cluster_url(nodes), secret=SECRET) as sessions:
        notice_soon(nodes)
        with Load(sessions) as load:
            load.wait_for("refreshes", 100)
            nodes[1].kill()
            load.wait_for("errors", 4)
            nodes[1].restart()
            load.wait_for("refreshes", 100)
        load.check()
    tell("The same with `appendfsync always` where no replica may take over; the master comes back", load)
    assert load.seen["lost sessions"] == load.seen["lost revocations"] == 0


def test_a_master_that_sentinels_watch_is_killed_under_load(tell: Tell) -> None:
    """They promote its replica, and the app finds that by itself. What is lost is counted, as in a cluster."""
    with (
        run_redis_with_replica() as (master, _),
        run_sentinels(master, count=3, down_after_ms=1000) as url,
        Sessions(url, secret=SECRET) as sessions,
    ):
        with Load(sessions, may_lose=True) as load:
            load.wait_for("refreshes", 100)
            master.kill()
            load.wait_for("errors", 4)
            load.wait_for("refreshes", 100)
        load.check()
    tell("Redis's master is killed, and three Sentinels promote its replica", load)


def test_sentinels_promote_a_replica_that_was_cut_off(tell: Tell) -> None:
    """That what only the master had is lost, though it was acknowledged."""
    with (
        run_redis_with_replica() as (master, replica),
        run_sentinels(master, count=3, down_after_ms=1000) as url,
        Sessions(url, secret=SECRET) as sessions,
    ):
        with Load(sessions, may_lose=True) as load:
            load.wait_for("refreshes", 40)
            cut_off(master, replica)
            load.wait_for("refreshes", 40)
            master.kill()
            replica.resume()
            load.wait_for("errors", 4)
            load.wait_for("refreshes", 40)
        load.check()
    tell("The same after the replica was cut off from the master for a while", load)
    assert load.seen["lost sessions"] > 0


def test_sentinels_promote_a_replica_that_was_cut_off_and_must_confirm(tell: Tell) -> None:
    """With the same done to it, nothing was acknowledged that the replica has not. The old master comes back as its
    replica; until then the app gets errors."""
    with (
        run_redis_with_replica() as (master, replica),
        run_sentinels(master, count=3, down_after_ms=1000) as url,
        Sessions(f"{url}?wait_replicas=1&wait_timeout=0.3", secret=SECRET) as sessions,
    ):
        with Load(sessions) as load:
            load.wait_for("refreshes", 40)
            cut_off(master, replica)
            load.wait_for("errors", 8)
            master.kill()
            replica.resume()
            wait_for_masters([replica])
            master.restart()
            wait_until_linked(master)
            load.wait_for("refreshes", 40)
        load.check()
    tell("The same, cut off, with `wait_replicas=1`; the old master comes back as a replica", load)
    assert load.seen["lost sessions"] == load.seen["lost revocations"] == 0


def sign_in_for_ever(url: str, acknowledged: Connection) -> None:
    """In a process of its own, until it is killed; it tells of each session what its browser holds."""
    with Sessions(url, secret=SECRET) as sessions:
        while True:
            created = sessions.create_new_session("visitor")
            child = sessions.refresh_session(created.refresh_token.token)
            acknowledged.send((child.session.handle, child.refresh_token.token))


def test_of_two_processes_on_one_sqlite_file_one_is_killed(tell: Tell, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'sessions.db'}"
    context = multiprocessing.get_context("spawn")
    held: list[tuple[str, str]] = []
    with Sessions(url, secret=SECRET) as sessions:
        with Load(sessions, pause=0.01) as load:
            for _ in range(2):
                receiver, sender = context.Pipe(duplex=False)
                other = context.Process(target=sign_in_for_ever, args=(url, sender))
                other.start()
                sender.close()
                held.append(receiver.recv())
                load.wait_for("refreshes", 20)
                other.kill()
                other.join(DEADLINE_SECONDS)
                with contextlib.suppress(EOFError), receiver:
                    while True:
                        held.append(receiver.recv())
                load.wait_for("refreshes", 20)
        load.check()
        assert {handle for handle, _ in held} <= set(sessions.get_all_session_handles_for_user("visitor"))
        for _, token in held:
            sessions.refresh_session(token)
    load.seen["sign-ins"] += len(held)
    load.seen["refreshes"] += len(held)
    tell("Of two processes on one SQLite file one is killed, twice", load)
    assert load.seen["lost sessions"] == load.seen["lost revocations"] == 0


def test_sqlite_s_disk_is_full(record_property: Record, tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'sessions.db'}"
    store = open_store(url)
    store.open()
    full = {"pages": 60}

    @event.listens_for(store._engine, "checkout")
    def limit(connection, *_: object) -> None:
        connection.execute(f"PRAGMA max_page_count = {full['pages']}")

    with Sessions(store, secret=SECRET) as sessions:
        created, errors, longest = [], [], 0.0
        began = time.monotonic()
        while len(errors) < 3:
            asked = time.monotonic()
            assert asked - began < 60
            try:
                created.append(sessions.create_new_session("user", {}, {"text": "x" * 1000}))
            except GeneralError as error:
                errors.append((error.reason, error.http_status))
                longest = max(longest, time.monotonic() - asked)
        assert set(errors) == {("store_failed", 503)}
        assert len(sessions.get_all_session_handles_for_user("user")) == len(created) > 5
        assert sessions.revoke_session(created[0].session.handle), "to sign out takes no room"
        full["pages"] = 10_000
        created.append(sessions.create_new_session("user"))
        tokens = [sessions.refresh_session(one.refresh_token.token) for one in created[1:]]
        assert len(tokens) == len(created) - 1
        with store._engine.connect() as connection:
            assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
    seen = Counter({"sign-ins": len(created), "refreshes": len(tokens), "revocations": 1, "errors": len(errors)})
    record_property("SQLite's disk is full, until there is room again", describe(seen, longest))
