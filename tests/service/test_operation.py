"""The service as an operator knows it: start, stop, logs, metrics, workers. Real processes of `tallystick serve`."""

import contextlib
import json
import os
import signal
import socket
import threading
import time
from pathlib import Path

import httpx
import pytest

from tests.service.operating import SECRET, Service, creation, run_service, wait_until


@pytest.fixture
def database(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/sessions.db"


def test_dev_needs_nothing_and_leaves_nothing(tmp_path: Path):
    home = tmp_path / "temporary"
    home.mkdir()
    with run_service(tmp_path, "--dev", TALLYSTICK_SECRET="", TMPDIR=str(home)) as service:
        assert httpx.get(f"{service.url}/hello").text == "Hello\n"
        assert service.verify(service.create()["accessToken"]["token"])["status"] == "OK"
        assert list(home.glob("tallystick-dev-*"))
        assert service.stop() == 0
    assert list(home.iterdir()) == []


def test_a_database_and_a_secret_outlive_the_service(tmp_path: Path, database: str):
    with run_service(tmp_path, database) as service:
        created = service.create()
        service.stop()
        service.start()
        assert service.verify(created["accessToken"]["token"], check_database=True)["status"] == "OK"
        assert service.refresh(created["refreshToken"]["token"])["status"] == "OK"


def test_settings_come_from_file_environment_and_flags(tmp_path: Path, database: str):
    config = tmp_path / "core.yaml"
    config.write_text(
        "access_token_validity: 111\naccess_token_validity_jitter: 0\nbase_path: /file\nhost: 127.0.0.2\n"
    )
    arguments = "--config", str(config), "--host", "127.0.0.1", database
    service = Service(tmp_path, list(arguments), {"BASE_PATH": '"/sessions/"', "API_KEYS": "k" * 20})
    try:
        service.start(until="/sessions/ready")
        path = f"{service.url}/sessions/public/recipe/session"
        assert httpx.post(path, json=creation("user-1")).text == "Invalid API key\n"
        headers = {"api-key": "k" * 20, "cdi-version": "5.4"}
        token = httpx.post(path, json=creation("user-1"), headers=headers).json()["accessToken"]
        assert token["expiry"] - token["createdTime"] == 111_000
        assert httpx.get(f"{service.url}/sessions/metrics").status_code == 401
    finally:
        service.stop()


@pytest.mark.parametrize("told", [signal.SIGTERM, signal.SIGHUP], ids=["SIGTERM", "SIGHUP"])
def test_a_stop_lets_a_request_in_hand_end_and_takes_no_new_one(tmp_path: Path, database: str, told: signal.Signals):
    with run_service(tmp_path, database) as service, _half_a_request(service, "/public/recipe/session") as half:
        assert service.process
        service.process.send_signal(told)
        wait_until(lambda: _is_refused(service.port))
        half.send_rest()
        answer = half.receive()
        assert answer.startswith(b"HTTP/1.1 200 ")
        assert b'"status":"OK"' in answer
        assert service.process.wait(20) == 0


def test_a_terminal_that_is_closed_tells_all_processes_and_the_request_in_hand_ends_too(tmp_path: Path, database: str):
    several = database, "--workers", "2"
    with run_service(tmp_path, *several) as service, _half_a_request(service, "/public/recipe/session") as half:
        assert service.process
        os.killpg(service.process.pid, signal.SIGHUP)
        half.send_rest()
        assert b'"status":"OK"' in half.receive()
        assert service.process.wait(20) == 0


def test_a_stop_waits_no_longer_than_it_was_told(tmp_path: Path, database: str):
    arguments = database, "--shutdown-timeout", "1"
    with run_service(tmp_path, *arguments) as service, _half_a_request(service, "/public/recipe/session") as half:
        assert service.stop() == 0
        assert half.receive().startswith(b"HTTP/1.1 503 ")


def test_the_log_tells_of_each_request_and_holds_no_token_and_no_user(tmp_path: Path, database: str):
    with run_service(tmp_path, database) as service:
        created = service.create("user-whom-nobody-knows")
        access, refresh = created["accessToken"]["token"], created["refreshToken"]["token"]
        child = service.refresh(refresh)["refreshToken"]["token"]
        service.refresh(child)
        service.verify(access, check_database=True)
        service.verify(access + "x")
        httpx.get(f"{service.url}/recipe/session/user", params={"userId": "user-whom-nobody-knows"})
        httpx.get(f"{service.url}/{access}", headers={"x-request-id": "my-id"})
        thief = service.refresh(created["refreshToken"]["token"])
        assert thief["status"] in ("OK", "TOKEN_THEFT_DETECTED")
        service.stop()
        requests = [line for line in service.lines if line["event"] == "request"]
        assert [line["endpoint"] for line in requests][-3:] == ["/recipe/session/user", None, "/recipe/session/refresh"]
        assert requests[-2]["request"] == "my-id"
        for secret in (SECRET, access, refresh, child, "user-whom-nobody-knows", access.split(".")[2]):
            assert secret not in service.text


def test_metrics_count_what_has_happened_over_all_workers(tmp_path: Path, database: str):
    with run_service(tmp_path, database, "--workers", "2") as service:
        for _ in range(20):  # each on a connection of its own, so that both workers get some
            created = service.create()
        assert service.verify(created["accessToken"]["token"])["status"] == "OK"
        service.refresh(created["refreshToken"]["token"])
        service.ask("/recipe/session/remove", {"sessionHandles": [created["session"]["handle"]]})
        httpx.get(f"{service.url}/.well-known/jwks.json").raise_for_status()  # by now there is a static key too
        metrics = service.metrics()
    assert metrics["tallystick_sessions_created_total"] == 20
    assert metrics["tallystick_sessions_verified_total"] == 1
    assert metrics["tallystick_sessions_refreshed_total"] == 1
    assert metrics["tallystick_sessions_revoked_total"] == 1
    assert metrics['tallystick_requests_total{endpoint="/recipe/session",status="200"}'] == 20
    assert metrics['tallystick_request_seconds_count{endpoint="/recipe/session/refresh"}'] == 1
    assert 0 <= metrics['tallystick_signing_key_age_seconds{app="public"}'] < 1000


def test_one_of_two_workers_is_killed_under_load_and_no_call_fails_after_a_retry(tmp_path: Path, database: str):
    with run_service(tmp_path, database, "--workers", "2") as service:
        wait_until(lambda: len(service.workers()) == 2)
        failures: list[str] = []
        done = [0] * 4
        is_over = threading.Event()

        def work(place: int) -> None:
            """A backend's SDK: it keeps its connection, and on a broken one tries once more."""
            with httpx.Client(base_url=service.url, headers={"cdi-version": "5.4"}, timeout=20) as client:
                while not is_over.is_set():
                    try:
                        try:
                            answer = client.post("/public/recipe/session", json=creation(f"user-{place}"))
                        except httpx.TransportError:
                            answer = client.post("/public/recipe/session", json=creation(f"user-{place}"))
                        if answer.status_code != 200 or answer.json()["status"] != "OK":
                            failures.append(answer.text)
                    except httpx.HTTPError as error:
                        failures.append(repr(error))
                    done[place] += 1

        threads = [threading.Thread(target=work, args=(place,)) for place in range(len(done))]
        for thread in threads:
            thread.start()
        try:
            for _ in range(2):
                wait_until(lambda: min(done) > 5)
                first, second = service.workers()
                _kill(first)
                wait_until(lambda first=first, second=second: _has_replaced(service, first, second))
                done[:] = [0] * len(done)
            wait_until(lambda: min(done) > 5)
        finally:
            is_over.set()
            for thread in threads:
                thread.join(30)
        assert failures == []


def _kill(pid: int) -> None:
    os.kill(pid, signal.SIGKILL)


def _has_replaced(service: Service, dead: int, living: int) -> bool:
    workers = service.workers()
    return len(workers) == 2 and dead not in workers and living in workers


def _is_refused(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


class _half_a_request:  # noqa: N801 - read as the statement that it is used in
    """A request of which the last byte is still to come."""

    def __init__(self, service: Service, path: str):
        body = json.dumps(creation("user-1")).encode()
        head = f"POST {path} HTTP/1.1\r\nhost: x\r\ncdi-version: 5.4\r\ncontent-length: {len(body)}\r\n\r\n"
        self._text = head.encode() + body
        self._port = service.port

    def __enter__(self):
        self._socket = socket.create_connection(("127.0.0.1", self._port), timeout=20)
        self._socket.sendall(self._text[:-1])
        time.sleep(0.2)  # so that it is in hand
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def send_rest(self) -> None:
        self._socket.sendall(self._text[-1:])

    def receive(self) -> bytes:
        answer = b""
        while part := self._socket.recv(65536):
            answer += part
        return answer


def test_expired_sessions_are_purged_by_themselves(tmp_path: Path, database: str):
    with run_service(
        tmp_path,
        *("--dev", "--workers", "2", "--purge-interval", "0.0003"),  # 1.08 s
        *("--access-token-validity", "1", "--refresh-token-validity", "0.02", database),  # 1.2 s
    ) as service:
        created = [service.create() for _ in range(3)]
        wait_until(lambda: service.metrics()["tallystick_sessions_purged_total"] == 3)
        answer = httpx.get(f"{service.url}/recipe/session", params={"sessionHandle": created[0]["session"]["handle"]})
        assert answer.json()["status"] == "UNAUTHORISED"


def test_a_head_that_is_too_large_is_refused(tmp_path: Path, database: str):
    with run_service(tmp_path, database) as service:
        for size, status in ((8_000, b"200"), (20_000, b"400"), (400_000, b"400")):
            with socket.create_connection(("127.0.0.1", service.port), timeout=20) as connection:
                head = f"GET /hello HTTP/1.1\r\nhost: x\r\nconnection: close\r\nx-long: {'x' * size}\r\n\r\n"
                with contextlib.suppress(ConnectionError):  # it does not read to the end
                    connection.sendall(head.encode())
                with contextlib.suppress(ConnectionResetError):
                    assert connection.recv(100).startswith(b"HTTP/1.1 " + status)
        assert httpx.get(f"{service.url}/hello").status_code == 200


def test_a_worker_whose_supervisor_is_killed_stops_too(tmp_path: Path, database: str):
    with run_service(tmp_path, database, "--workers", "2") as service:
        wait_until(lambda: len(service.workers()) == 2)
        workers = service.workers()
        assert service.process
        service.process.kill()
        service.process.wait(20)
        wait_until(lambda: not any(_is_alive(worker) for worker in workers))
        assert _is_refused(service.port)


def _is_alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text("ascii").rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False
