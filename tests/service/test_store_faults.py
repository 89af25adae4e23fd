"""What callers get when the database is gone, slow, or not there yet; and several instances on one database."""

import secrets
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import psycopg
import pytest

from tests.servers import PostgresServer, run_postgres
from tests.service.operating import Service, creation, refreshing, run_service, verifying, wait_until


@pytest.fixture(scope="module")
def server() -> Iterator[PostgresServer]:
    """A server of this file's own, as it is stopped and started."""
    with run_postgres() as server:
        yield server


@pytest.fixture
def database(server: PostgresServer) -> str:
    """Not dropped, as its server is thrown away: a connection kept open for that would be cut."""
    name = f"test_{secrets.token_hex(8)}"
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
    return server.url.rpartition("/")[0] + f"/{name}"


def post(service: Service, path: str, fields: dict[str, Any]) -> httpx.Response:
    return httpx.post(f"{service.url}{path}", json=fields, headers={"cdi-version": "5.4"}, timeout=20)


def state_of(service: Service) -> str:
    return str(httpx.get(f"{service.url}/ready", timeout=20).json()["status"])


def assert_no_verdict(answers: list[httpx.Response]) -> None:
    for answer in answers:
        assert answer.status_code == 503, answer.text
        assert answer.headers["retry-after"] == "1"
        assert "UNAUTHORISED" not in answer.text


def test_a_database_that_goes_costs_nobody_the_session_and_is_found_again(
    tmp_path: Path, server: PostgresServer, database: str
):
    with run_service(tmp_path, database, "--store-timeout", "1") as service:
        created = service.create()
        access, refresh = created["accessToken"]["token"], created["refreshToken"]["token"]
        server.stop()
        try:
            assert_no_verdict(
                [
                    post(service, "/recipe/session/refresh", refreshing(refresh)),
                    post(service, "/recipe/session/verify", verifying(access, check_database=True)),
                    post(service, "/public/recipe/session", creation("user-1")),
                ]
            )
            wait_until(lambda: state_of(service) == "store_failed")
            assert service.verify(access)["status"] == "OK"  # which needs no database
        finally:
            server.restart()
        wait_until(lambda: state_of(service) == "ready")
        assert service.verify(access, check_database=True)["status"] == "OK"
        assert service.refresh(refresh)["status"] == "OK"
        assert service.metrics()["tallystick_store_errors_total"] >= 3
        messages = [line.get("message") for line in service.lines]
        assert "the store answers again" in messages or "the store is reached: ready" in messages


def test_a_database_that_hangs_is_given_up_and_no_worse_afterwards(
    tmp_path: Path, server: PostgresServer, database: str
):
    with run_service(tmp_path, database, "--store-timeout", "0.5", "--max-server-pool-size", "3") as service:
        created = service.create()
        access, refresh = created["accessToken"]["token"], created["refreshToken"]["token"]
        with psycopg.connect(database) as connection:
            connection.execute("LOCK TABLE tallystick_sessions IN ACCESS EXCLUSIVE MODE")
            locked_at = time.monotonic()
            checked = verifying(access, check_database=True)
            assert_no_verdict([post(service, "/recipe/session/verify", checked) for _ in range(3)])
            begun = time.monotonic()
            assert_no_verdict([post(service, "/recipe/session/verify", checked) for _ in range(20)])
            assert time.monotonic() - begun < 20 * 0.5  # not each of them has waited
            assert service.verify(access)["status"] == "OK"
            told = [line for line in service.lines if "calls refused since the last such line" in str(line)]
            assert 0 < len(told) <= time.monotonic() - locked_at + 1, "the log is not flooded"
            connection.rollback()
        wait_until(lambda: state_of(service) == "ready")
        assert service.refresh(refresh)["status"] == "OK"


def test_the_service_starts_before_its_database(tmp_path: Path, server: PostgresServer, database: str):
    service = Service(tmp_path, [database])
    server.stop()
    try:
        service.start(until="")
        wait_until(lambda: state_of(service) == "store_failed")
        assert_no_verdict([post(service, "/public/recipe/session", creation("user-1"))])
    finally:
        server.restart()
    try:
        wait_until(lambda: state_of(service) == "ready")
        assert service.create()["status"] == "OK"
    finally:
        service.stop()


def test_an_outdated_schema_stops_the_start_where_it_is_not_to_be_migrated(tmp_path: Path, database: str):
    service = Service(tmp_path, ["--migrate", "false", "--workers", "2", database])
    with pytest.raises(RuntimeError, match=r"cannot start: .*tallystick migrate"):
        service.start()
    assert service.process
    assert service.process.wait(20) != 0


def test_a_database_user_who_may_not_make_tables_stops_the_start_and_what_to_do_is_said(
    tmp_path: Path, server: PostgresServer, database: str
):
    with psycopg.connect(server.url, autocommit=True) as connection:
        connection.execute("CREATE ROLE reader LOGIN PASSWORD 'reading'")
    place = database.rpartition("@")[2] if "@" in database else database.rpartition("//")[2]
    service = Service(tmp_path, [f"postgresql://reader:reading@{place}"])
    with pytest.raises(RuntimeError, match=r"cannot start: .*InsufficientPrivilege.*tallystick migrate"):
        service.start()
    assert "reading" not in service.text


def test_what_one_instance_signs_another_accepts_at_once_across_a_rotation_of_keys(tmp_path: Path, database: str):
    arguments = ["--dev", "--access-token-dynamic-signing-key-update-interval", "0.0006", database]  # 2.16 s
    one, other = instances = [Service(tmp_path, arguments) for _ in range(2)]
    try:
        for instance in instances:  # both at once, so that they agree on the schema too
            instance.begin()
        for instance in instances:
            instance.await_answer()
        keys: set[str] = set()
        deadline = time.monotonic() + 60
        while len(keys) < 3:
            assert time.monotonic() < deadline
            for signer, verifier in ((one, other), (other, one)):
                token = signer.create()["accessToken"]["token"]
                keys.add(token.partition(".")[0])
                assert verifier.verify(token)["status"] == "OK"
    finally:
        for instance in instances:
            instance.stop()
