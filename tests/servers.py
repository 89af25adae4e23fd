"""Real servers for the tests: a private PostgreSQL, and where Chromium is.

What is not installed is skipped loudly on a laptop and is an error in CI: see `missing`.
"""

import os
import pwd
import secrets
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn

import psycopg
import pytest

INITDB_SECONDS = 60
START_SECONDS = 30
STOP_SECONDS = 15
START_ATTEMPTS = 3
RESTART_ATTEMPTS = 50


def missing(what: str) -> NoReturn:
    """Skip the test that needs `what`; in CI, where everything has to be there, fail it."""
    reason = f"{what} is not installed here (`make system` says how to get it)"
    if os.environ.get("CI"):
        pytest.fail(reason, pytrace=False)
    pytest.skip(reason)


def find_chromium() -> Path:
    for name in ("chromium", "chromium-browser", "google-chrome"):
        if found := shutil.which(name):
            return Path(found)
    missing("Chromium")


def find_postgres_programs() -> Path:
    """The folder with `initdb` and `postgres`: the one in PATH, else Debian's newest version."""
    if found := shutil.which("postgres"):
        return Path(found).resolve().parent
    versions = Path("/usr/lib/postgresql").glob("*/bin/postgres")
    newest_last = sorted(versions, key=lambda program: float(program.parts[-3]))
    if not newest_last:
        missing("a PostgreSQL server")
    return newest_last[-1].parent


def find_server_account(name: str) -> str | None:
    """A database server refuses to run as root, so root lends it this account; None: run as ourselves."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam(name).pw_name
    except KeyError:
        missing(f"an account named {name}")


def pick_free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class PostgresServer:
    """A server of our own on loopback."""

    def __init__(self, home: Path, account: str | None, settings: dict[str, str]) -> None:
        self.url = ""
        self._programs = find_postgres_programs()
        self._home, self._account, self._settings = home, account, settings
        self._password = secrets.token_hex(16)
        self._server: subprocess.Popen[bytes] | None = None
        self._make_data()

    def _make_data(self) -> None:
        _make_cluster(self._programs, self._home, self._account, self._password)

    def start(self) -> None:
        """Another program may take the free port before the server does: then try another one."""
        for _ in range(START_ATTEMPTS):
            if self._start_at(pick_free_port()):
                return
            self.stop()
        raise RuntimeError(f"PostgreSQL did not start:\n{self._log()}")

    def restart(self) -> None:
        """At the port where it was. What it left behind when it was killed may hold it up for a moment."""
        port = int(self.url.rpartition(":")[2].partition("/")[0])
        for _ in range(RESTART_ATTEMPTS):
            if self._start_at(port):
                return
            self.stop()
            time.sleep(0.2)
        raise RuntimeError(f"PostgreSQL did not start again:\n{self._log()}")

    def kill(self) -> None:
        """As if the power had failed: it can put nothing in order. Its children end when they see that it has."""
        assert self._server
        self._server.kill()
        self._server.wait(STOP_SECONDS)

    def stop(self) -> None:
        assert self._server
        self._server.send_signal(signal.SIGINT)  # PostgreSQL's "fast shutdown": do not wait for clients
        try:
            self._server.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def _start_at(self, port: int) -> bool:
        settings = {"listen_addresses": "127.0.0.1", "port": str(port), "unix_socket_directories": ""} | self._settings
        command: list[str | Path] = [self._programs / "postgres", "-D", self._home / "data"]
        for name, value in settings.items():
            command += ["-c", f"{name}={value}"]
        self._server = spawn(command, self._home, self._account, self._home / "log")
        self.url = f"postgresql://tallystick:{self._password}@127.0.0.1:{port}/postgres"
        return _answers_in_time(self._server, self.url)

    def _log(self) -> str:
        return (self._home / "log").read_text()[-4000:]


class PostgresReplica(PostgresServer):
    """A server that follows another one."""

    def __init__(self, home: Path, account: str | None, settings: dict[str, str], primary: PostgresServer) -> None:
        self._primary = primary
        super().__init__(home, account, settings)

    def _make_data(self) -> None:
        """With all of the primary's accounts, and ``standby.signal``."""
        self._password = self._primary._password
        command = [self._programs / "pg_basebackup", "--dbname", self._primary.url, "--pgdata", self._home / "data"]
        command += ["--write-recovery-conf", "--checkpoint", "fast", "--no-sync"]
        _run_program(command, self._home, self._account)


@contextmanager
def run_postgres(*, is_durable: bool = False, **settings: str) -> Iterator[PostgresServer]:
    """Start a PostgreSQL server of our own, with these settings; stop it and leave nothing.

    Where it need not outlive being killed it never waits for the disk.
    """
    careless = {"fsync": "off", "full_page_writes": "off", "synchronous_commit": "off"}
    every = {"max_connections": "200"} | ({} if is_durable else careless) | settings
    with _postgres_home() as (home, account):
        yield from _run(PostgresServer(home, account, every))


@contextmanager
def run_postgres_replica(primary: PostgresServer) -> Iterator[PostgresServer]:
    """Start a server that follows the primary and can take its place; stop it and leave nothing."""
    with _postgres_home() as (home, account):
        yield from _run(PostgresReplica(home, account, {"max_connections": "200"}, primary))


def _run(server: PostgresServer) -> Iterator[PostgresServer]:
    server.start()
    try:
        yield server
    finally:
        server.stop()


@contextmanager
def _postgres_home() -> Iterator[tuple[Path, str | None]]:
    account = find_server_account("postgres")
    find_postgres_programs()
    # Not pytest's tmp_path: its parents are closed to the other account.
    home = Path(tempfile.mkdtemp(prefix="tallystick-postgres-"))
    try:
        if account:
            shutil.chown(home, account)
        yield home, account
    finally:
        shutil.rmtree(home, ignore_errors=True)


def _make_cluster(programs: Path, home: Path, account: str | None, password: str) -> None:
    password_file = home / "password"
    password_file.write_text(password)
    password_file.chmod(0o600)
    if account:
        shutil.chown(password_file, account)
    command = [programs / "initdb", "--pgdata", home / "data", "--username", "tallystick"]
    command += ["--auth", "scram-sha-256", "--pwfile", password_file]
    command += ["--encoding", "UTF8", "--locale", "C", "--no-sync"]
    _run_program(command, home, account)


def _run_program(command: Sequence[str | Path], home: Path, account: str | None) -> None:
    done = subprocess.run(
        command, user=account, cwd=home, capture_output=True, text=True, timeout=INITDB_SECONDS, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{Path(command[0]).name} failed:\n{done.stdout}{done.stderr}")


def spawn(command: Sequence[str | Path], home: Path, account: str | None, log: Path) -> subprocess.Popen[bytes]:
    with log.open("ab") as output:
        return subprocess.Popen(
            command,
            user=account,
            cwd=home,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            # Ctrl-C reaches pytest alone; pytest's teardown then stops the server in order.
            start_new_session=True,
        )


def _answers_in_time(server: subprocess.Popen[bytes], url: str) -> bool:
    deadline = time.monotonic() + START_SECONDS
    while time.monotonic() < deadline and server.poll() is None:
        try:
            psycopg.connect(url, connect_timeout=2).close()
        except psycopg.OperationalError:
            time.sleep(0.05)
        else:
            return True
    return False


@contextmanager
def make_database(server_url: str) -> Iterator[str]:
    """Make an empty database on the server, yield its URL, and drop it with all connections."""
    name = f"test_{secrets.token_hex(8)}"
    with psycopg.connect(server_url, autocommit=True) as connection:
        connection.execute(f"CREATE DATABASE {name}")
        try:
            yield server_url.rpartition("/")[0] + f"/{name}"
        finally:
            connection.execute(f"DROP DATABASE {name} WITH (FORCE)")
