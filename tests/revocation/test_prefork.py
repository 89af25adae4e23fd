"""Instant revocation in a real gunicorn and a real uWSGI, whose workers are forked from a master that has the app, and
in workers that have loaded it themselves."""

import os
import secrets
import signal
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tallystick import Config, Sessions
from tests.servers import pick_free_port

LEASE = Config().feed_lease.total_seconds()
PATIENCE = 30
ROOT = Path(__file__).parents[2]
WORKERS = 2


APP = "tests.revocation.forked_app:application"


def gunicorn(worker_class: str) -> list[str]:
    command = f"-m gunicorn --no-control-socket --preload --workers {WORKERS} --worker-class {worker_class}"
    return [sys.executable, *command.split(), *f"--bind 127.0.0.1:PORT --graceful-timeout 2 {APP}".split()]


def uwsgi(*options: str) -> list[str]:
    program = Path(sys.executable).with_name("uwsgi")
    command = f"--http-socket 127.0.0.1:PORT --master --processes {WORKERS} --die-on-term --need-app --wsgi {APP}"
    return [str(program), *command.split(), f"--venv={sys.prefix}", f"--pythonpath={ROOT}", *options]


SERVERS = {
    "gunicorn sync": gunicorn("sync"),
    "gunicorn gevent": gunicorn("gevent"),
    "uwsgi": uwsgi(),
    "uwsgi threads": uwsgi("--threads=2"),
    "uwsgi gevent": uwsgi("--gevent=10", "--gevent-monkey-patch"),
    "uwsgi lazy-apps": uwsgi("--lazy-apps"),
}


class Server:
    """Use it in a ``with``."""

    def __init__(self, command: list[str], url: str, secret: str, log) -> None:
        self._port, self._log = pick_free_port(), log
        self._command = [part.replace("PORT", str(self._port)) for part in command]
        self._environment = {**os.environ, "STORE_URL": url, "STORE_SECRET": secret}

    def __enter__(self) -> "Server":
        with self._log.open("wb") as log:
            self._process = subprocess.Popen(self._command, env=self._environment, stdout=log, stderr=log, cwd=ROOT)
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
        """Ask until so many workers have answered so, each with a feed that runs: the workers."""
        workers: set[str] = set()
        deadline = time.monotonic() + PATIENCE
        while len(workers) < WORKERS:
            assert time.monotonic() < deadline, self._log.read_text()
            answer = self.ask("GET", "/me", token)
            if answer is None:
                time.sleep(0.05)
            elif answer.headers["x-worker"] == without or answer.headers["x-feed"] != "fresh":
                time.sleep(0.01)
            elif answer.status_code == status:
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


@pytest.mark.parametrize("server", SERVERS)
def test_a_session_that_is_revoked_anywhere_is_refused_by_all_workers_and_by_one_that_comes_later(
    postgres_database, server, tmp_path
):
    secret = secrets.token_urlsafe(48)
    with (
        Sessions(postgres_database, secret=secret, algorithm="EdDSA", migrate=True) as sessions,
        Server(SERVERS[server], postgres_database, secret, tmp_path / "log") as running,
    ):
        first, second, third = (sessions.create_new_session("ada") for _ in range(3))
        workers = running.ask_all(first.access_token.token, 200)
        running.ask_all(second.access_token.token, 200)

        answer = running.ask("POST", f"/revoke/{first.session.handle}")
        assert answer is not None
        assert answer.json() == {"revoked": True}
        assert running.count_late(first.access_token.token, time.monotonic()) == 0

        assert sessions.revoke_session(second.session.handle)
        assert running.count_late(second.access_token.token, time.monotonic()) == 0

        killed = workers.pop()
        os.kill(int(killed), signal.SIGKILL)
        assert running.ask_all(third.access_token.token, 200, without=killed) > workers
        assert sessions.revoke_session(third.session.handle)
        assert running.count_late(third.access_token.token, time.monotonic()) == 0
        assert running.ask_all(first.access_token.token, 401)
