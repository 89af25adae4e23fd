"""Instant revocation in a real gunicorn, whose workers are forked from a master that has the app, and a feed."""

import os
import secrets
import signal
import subprocess
import sys
import time

import httpx
import pytest

from tallystick import Config, Sessions
from tests.servers import pick_free_port

LEASE = Config().feed_lease.total_seconds()
PATIENCE = 30
WORKERS = 2


class Gunicorn:
    """Use it in a ``with``."""

    def __init__(self, worker_class: str, url: str, secret: str, log) -> None:
        self._port, self._log = pick_free_port(), log
        self._command = [
            sys.executable,
            "-m",
            "gunicorn",
            "--no-control-socket",
            "--preload",
            "--workers",
            str(WORKERS),
        ]
        self._command += [
            "--worker-class",
            worker_class,
            "--bind",
            f"127.0.0.1:{self._port}",
            "--graceful-timeout",
            "2",
        ]
        self._command.append("tests.revocation.forked_app:application")
        self._environment = {**os.environ, "STORE_URL": url, "STORE_SECRET": secret}

    def __enter__(self) -> "Gunicorn":
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, env=self._environment, stdout=log, stderr=log)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.terminate()
        try:
            self._process.wait(PATIENCE)
        finally:
            self._process.kill()

    def ask(self, method: str, path: str, token: str = "") -> httpx.Response | None:
        """On a connection of its own, so that each worker has its turn. None while none listens, or it died."""
        headers = {"authorization": f"Bearer {token}"} if token else {}
        try:
            return httpx.request(method, f"http://127.0.0.1:{self._port}{path}", headers=headers, timeout=20)
        except (httpx.NetworkError, httpx.RemoteProtocolError):
            return None

    def ask_all(self, token: str, status: int, without: str = "") -> set[str]:
        """Ask until so many workers have answered so: the workers."""
        workers: set[str] = set()
        deadline = time.monotonic() + PATIENCE
        while len(workers) < WORKERS:
            assert time.monotonic() < deadline, self._log.read_text()
            answer = self.ask("GET", "/me", token)
            if answer is None:
                time.sleep(0.05)
            elif answer.status_code == status and answer.headers["x-worker"] != without:
                workers.add(answer.headers["x-worker"])
        return workers

    def count_late(self, token: str, returned: float) -> int:
        """Ask until all workers refuse: how often one accepted that was asked later than the lease."""
        late, refusing = 0, set()
        deadline = time.monotonic() + PATIENCE
        while len(refusing) < WORKERS:
            began = time.monotonic()
            assert began < deadline, self._log.read_text()
            answer = self.ask("GET", "/me", token)
            assert answer is not None
            worker = answer.headers["x-worker"]
            if answer.status_code == 200:
                assert worker not in refusing
                late += began - returned > LEASE
            else:
                assert answer.status_code == 401, answer.text
                refusing.add(worker)
        return late


@pytest.mark.parametrize("worker_class", ["sync", "gevent"])
def test_a_session_that_is_revoked_anywhere_is_refused_by_all_workers_and_by_one_that_comes_later(
    postgres_database, worker_class, tmp_path
):
    secret = secrets.token_urlsafe(48)
    with (
        Sessions(postgres_database, secret=secret, algorithm="EdDSA", migrate=True) as sessions,
        Gunicorn(worker_class, postgres_database, secret, tmp_path / "log") as gunicorn,
    ):
        first, second, third = (sessions.create_new_session("ada") for _ in range(3))
        workers = gunicorn.ask_all(first.access_token.token, 200)
        gunicorn.ask_all(second.access_token.token, 200)

        answer = gunicorn.ask("POST", f"/revoke/{first.session.handle}")
        assert answer is not None
        assert answer.json() == {"revoked": True}
        assert gunicorn.count_late(first.access_token.token, time.monotonic()) == 0

        assert sessions.revoke_session(second.session.handle)
        assert gunicorn.count_late(second.access_token.token, time.monotonic()) == 0

        killed = workers.pop()
        os.kill(int(killed), signal.SIGKILL)
        assert gunicorn.ask_all(third.access_token.token, 200, without=killed) > workers
        assert sessions.revoke_session(third.session.handle)
        assert gunicorn.count_late(third.access_token.token, time.monotonic()) == 0
        assert gunicorn.ask_all(first.access_token.token, 401)
