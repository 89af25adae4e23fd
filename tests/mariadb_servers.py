"""A real MariaDB server for the tests, on loopback."""

import secrets
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pymysql

from tests.servers import find_server_account, missing, pick_free_port, spawn

INSTALL_SECONDS = 60
START_SECONDS = 30
STOP_SECONDS = 15
START_ATTEMPTS = 3
ACCOUNT = "mysql"
SETTINGS = (
    "--sql-mode=",  # as old servers have it: what is too long is cut off
    "--collation-server=utf8mb4_general_ci",
    "--character-set-server=utf8mb4",
    "--innodb-buffer-pool-size=64M",
    "--max-connections=300",
)
"""Those of a server that nobody has prepared for us."""
CARELESS = "--innodb-flush-log-at-trx-commit=0"


def find_program(name: str) -> str:
    """Debian keeps the server out of an ordinary user's PATH."""
    return shutil.which(name) or shutil.which(name, path="/usr/sbin") or missing("a MariaDB server")


class MariadbServer:
    """A server of our own."""

    def __init__(self, home: Path, account: str | None, settings: tuple[str, ...]) -> None:
        self._home, self._account, self._settings = home, account, settings
        self._password = secrets.token_hex(16)
        self._process: subprocess.Popen[bytes] | None = None
        self.port = 0
        _make_data(home, account, self._password)

    @property
    def url(self) -> str:
        return f"mariadb://tallystick:{self._password}@127.0.0.1:{self.port}/mysql"

    def start(self) -> None:
        """Another program may take the free port before the server does: then try another one."""
        for _ in range(START_ATTEMPTS):
            self.port = pick_free_port()
            if self._start():
                return
            self.stop()
        raise RuntimeError(f"MariaDB did not start:\n{(self._home / 'log').read_text()[-4000:]}")

    def restart(self) -> None:
        """At the port where it was."""
        if not self._start():
            raise RuntimeError(f"MariaDB did not start again:\n{(self._home / 'log').read_text()[-4000:]}")

    def stop(self) -> None:
        assert self._process
        self._process.send_signal(signal.SIGTERM)
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()

    def kill(self) -> None:
        """As if the power had failed."""
        assert self._process
        self._process.kill()
        self._process.wait(STOP_SECONDS)

    def _start(self) -> bool:
        files = [f"--{name}={self._home / name}" for name in ("socket", "pid-file", "init-file")]
        command = [find_program("mariadbd"), "--no-defaults", f"--datadir={self._home / 'data'}", *files]
        command += ["--bind-address=127.0.0.1", f"--port={self.port}", f"--tmpdir={self._home}", *self._settings]
        self._process = spawn(command, self._home, self._account, self._home / "log")
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                connect(self.url).close()
            except pymysql.MySQLError:
                time.sleep(0.05)
            else:
                return True
        return False


def connect(url: str) -> "pymysql.Connection":
    """A connection past the store. Transactions are the test's to begin and end."""
    _, _, rest = url.partition("://")
    login, _, place = rest.rpartition("@")
    user, _, password = login.partition(":")
    address, _, database = place.partition("/")
    host, _, port = address.partition(":")
    return pymysql.connect(
        host=host, port=int(port), user=user, password=password, database=database, connect_timeout=2
    )


@contextmanager
def run_mariadb(*, is_durable: bool = False) -> Iterator[MariadbServer]:
    """Start a MariaDB server of our own, stop it and leave nothing.

    Where it need not outlive being killed it never waits for the disk.
    """
    find_program("mariadbd")
    account = find_server_account(ACCOUNT)
    # Not pytest's tmp_path: its parents are closed to the other account.
    home = Path(tempfile.mkdtemp(prefix="tallystick-mariadb-"))
    try:
        if account:
            shutil.chown(home, account)
        server = MariadbServer(home, account, SETTINGS if is_durable else (*SETTINGS, CARELESS))
        server.start()
        try:
            yield server
        finally:
            server.stop()
    finally:
        shutil.rmtree(home, ignore_errors=True)


@contextmanager
def make_mariadb_database(server_url: str) -> Iterator[str]:
    """Make an empty database on the server, yield its URL, and drop it."""
    name = f"test_{secrets.token_hex(8)}"
    with connect(server_url) as connection:
        connection.cursor().execute(f"CREATE DATABASE {name}")
    try:
        yield server_url.rpartition("/")[0] + f"/{name}"
    finally:
        with connect(server_url) as connection:
            connection.cursor().execute(f"DROP DATABASE {name}")


def _make_data(home: Path, account: str | None, password: str) -> None:
    first = home / "init-file"
    first.write_text(
        "DROP USER IF EXISTS root@localhost;\n"
        f"CREATE USER IF NOT EXISTS tallystick@127.0.0.1 IDENTIFIED BY '{password}';\n"
        "GRANT ALL ON *.* TO tallystick@127.0.0.1;\n"
    )
    first.chmod(0o600)
    if account:
        shutil.chown(first, account)
    command = [find_program("mariadb-install-db"), "--no-defaults", f"--datadir={home / 'data'}"]
    command += ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
    command += [f"--tmpdir={home}"]
    done = subprocess.run(
        command, user=account, cwd=home, capture_output=True, text=True, timeout=INSTALL_SECONDS, check=False
    )
    if done.returncode:
        raise RuntimeError(f"mariadb-install-db failed:\n{done.stdout}{done.stderr}")
