"""Crashes for real: processes that refresh and verify are killed at any moment, and so is the database server.

Honest browsers, each of two tabs with one jar and no lock between them, go on all the while. They refresh when the
access token has run out, as browser SDKs do, and whenever an answer does not come they try again with what the jar
holds. They wait for an answer for a shorter time than an access token lives, which is what the protocol assumes.
Afterwards nobody may have lost a session, and whoever was signed out must be out.

``python -m tests.model.crashes --store sqlite --seconds 60`` (or ``postgresql``) runs it for longer.
"""

import argparse
import contextlib
import json
import random
import secrets
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Protocol

from tallystick import Sessions, Unauthorised
from tallystick.protocol.derivation import derive_all
from tallystick.protocol.refresh_token import open_envelope
from tallystick.storage.opening import open_store
from tallystick.storage.sql.store import SqlStore
from tests.model.crash_worker import open_sessions
from tests.servers import run_postgres

WORKERS, BROWSERS, TABS = 2, 24, 2
ANSWER_SECONDS = 1.5
BEAT_SECONDS = 0.25
"""All tabs act in step, so that those of one browser act at the same moment."""
ROOT = Path(__file__).parents[2]


class DatabaseServer(Protocol):
    """A database that can be killed and started again."""

    def kill(self) -> None: ...

    def restart(self) -> None: ...


class NoAnswer(Exception):
    """The other side has gone, or cannot be reached."""


class Worker:
    """One serving process, and the one that takes its place when it was killed."""

    def __init__(self, url: str, secret: str) -> None:
        self._command = [sys.executable, "-m", "tests.model.crash_worker", url, secret]
        self.start()

    def start(self) -> None:
        self._process = subprocess.Popen(
            self._command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, text=True
        )
        assert self._process.stdout
        self.port = int(self._process.stdout.readline())

    def kill(self) -> None:
        self._process.send_signal(signal.SIGKILL)
        assert self._process.stdout
        self._process.stdout.close()
        self._process.wait()


class Jar:
    """What the tabs of one browser have in common."""

    def __init__(self, user: str, handle: str, access: str, refresh: str) -> None:
        self.user, self.handle, self.access, self.refresh = user, handle, access, refresh

    def keep(self, reply: dict[str, str]) -> None:
        self.access = reply.get("access", self.access)
        self.refresh = reply.get("refresh", self.refresh)


class Storm:
    """Everything that goes on, and what was seen of it."""

    def __init__(self, url: str, seed: int, server: DatabaseServer | None) -> None:
        self.url, self.server = url, server
        self.secret = secrets.token_urlsafe(48)
        self.dice = random.Random(seed)  # noqa: S311 - moments, no secrets
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.revoked: list[Jar] = []
        self.is_over = threading.Event()
        with self.sessions() as sessions:  # the tables are made before anybody is killed
            sessions.get_jwks()
        self.workers = [Worker(url, self.secret) for _ in range(WORKERS)]

    def sessions(self) -> Sessions:
        return open_sessions(self.url, self.secret)

    def ask(self, dice: random.Random, **request: str) -> dict[str, Any]:
        """One request to any worker. Raises :class:`NoAnswer`."""
        try:
            with socket.create_connection(("127.0.0.1", dice.choice(self.workers).port), ANSWER_SECONDS) as line:
                line.sendall(json.dumps(request).encode("ascii") + b"\n")
                text = line.makefile("rb").readline()
        except OSError as error:
            raise NoAnswer from error
        if not text.endswith(b"\n"):
            raise NoAnswer
        reply: dict[str, Any] = json.loads(text)
        if reply.get("reason") == "store_failed":
            self.seen["broken store"] += 1
            raise NoAnswer
        return reply

    def insist(self, dice: random.Random, **request: str) -> dict[str, Any]:
        """Until there is an answer, as a person would at a sign-in page."""
        while True:
            try:
                return self.ask(dice, **request)
            except NoAnswer:
                self.seen["lost answers"] += 1
                time.sleep(0.01)

    # Who goes on meanwhile

    def tab(self, jar: Jar, dice: random.Random) -> None:
        while not self.is_over.wait(BEAT_SECONDS - time.monotonic() % BEAT_SECONDS):
            access = jar.access
            also = {"database": "yes"} if dice.random() < 0.2 else {}
            try:
                reply = self.ask(dice, verify=access, user=jar.user, **also)
                if reply.get("error") != "TryRefreshToken":
                    self._take(jar, reply, "verifications")
                elif access == jar.access:  # else another tab has refreshed meanwhile
                    self._take(jar, self.ask(dice, refresh=jar.refresh), "refreshes")
            except NoAnswer:
                self.seen["lost answers"] += 1

    def _take(self, jar: Jar, reply: dict[str, Any], kind: str) -> None:
        if "error" in reply:
            self.wrong.append(f"{jar.user}: {reply['error']} ({reply['reason']})")
            self.is_over.set()
        else:
            jar.keep(reply)
            self.seen[kind] += 1

    def visitor(self, dice: random.Random) -> None:
        """Signs in, refreshes, and is signed out again, for which there is an acknowledgement."""
        while not self.is_over.is_set():
            jar = self.sign_in("visitor", dice)
            jar.keep(self.insist(dice, refresh=jar.refresh))
            self.insist(dice, revoke=jar.handle)
            self.seen["revocations"] += 1
            self.revoked.append(jar)
            time.sleep(0.05)

    def sign_in(self, user: str, dice: random.Random) -> Jar:
        reply = self.insist(dice, create=user)
        return Jar(user, reply["handle"], reply["access"], reply["refresh"])

    def killer(self, until: float, tell: Callable[[str], None]) -> None:
        restarts = [0.3, 0.6] if self.server else []
        begun = time.monotonic()
        while time.monotonic() < until and not self.is_over.is_set():
            time.sleep(self.dice.uniform(0.02, 0.5))
            worker = self.dice.choice(self.workers)
            worker.kill()
            self.seen["kills"] += 1
            if self.server and restarts and time.monotonic() > begun + restarts[0] * (until - begun):
                restarts.pop(0)
                self.server.kill()
                self.seen["server kills"] += 1
                time.sleep(0.2)
                self.server.restart()
            worker.start()
            tell(self.describe())

    # The whole of it

    def run(self, seconds: float, tell: Callable[[str], None]) -> None:
        jars = [self.sign_in(f"user-{number}", self.dice) for number in range(BROWSERS)]
        lives: list[tuple[Callable[..., None], tuple[Any, ...]]] = [
            (self.tab, (jar, random.Random(self.dice.random())))  # noqa: S311
            for jar in jars
            for _ in range(TABS)
        ]
        lives.append((self.visitor, (random.Random(self.dice.random()),)))  # noqa: S311
        threads = [threading.Thread(target=life, args=args) for life, args in lives]
        for thread in threads:
            thread.start()
        try:
            self.killer(time.monotonic() + seconds, tell)
        finally:
            self.is_over.set()
            for thread in threads:
                thread.join()
            for worker in self.workers:
                worker.kill()
        self.check(jars)

    def check(self, jars: list[Jar]) -> None:
        """What is left: everybody's session, no ended one, and rows that are whole."""
        keys = derive_all(self.secret, "public")
        store = open_store(self.url)
        assert isinstance(store, SqlStore)
        with self.sessions() as sessions:
            for jar in jars:
                row = store.load_session("public", jar.handle)
                if row is None:
                    self.seen["sessions lost"] += 1
                    continue
                assert len(row.line) == len(row.previous or bytes(32)) == 32
                assert json.loads(row.jwt_payload) == {"of": jar.user}
                # The jar has a child of the line; or the line, whose child was in an answer that never came.
                generation = open_envelope(jar.refresh, keys).token.generation
                assert row.generation in (generation, generation - 1), (row.generation, generation)
                jar.keep({"refresh": sessions.refresh_session(jar.refresh).refresh_token.token})
            for jar in self.revoked:
                assert store.load_session("public", jar.handle) is None
                with contextlib.suppress(Unauthorised):
                    sessions.refresh_session(jar.refresh)
                    self.wrong.append("a session that was revoked is back")
            assert sessions.get_theft_events() == []
        if store._engine.dialect.name == "sqlite":
            with store._engine.connect() as connection:
                assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
        store.close()

    def describe(self) -> str:
        names = ("kills", "server kills", "refreshes", "verifications", "revocations", "lost answers", "broken store")
        counts = [f"{self.seen[name]} {name}" for name in names if self.seen[name] or name != "server kills"]
        return ", ".join([*counts, f"sessions lost: {self.seen['sessions lost'] + len(self.wrong)}"])


@contextlib.contextmanager
def database(kind: str, folder: Path) -> Iterator[tuple[str, DatabaseServer | None]]:
    """Where to keep the sessions: ``sqlite`` or ``postgresql``, the latter a server that keeps what it acknowledges."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'sessions.db'}", None
    else:
        with run_postgres(is_durable=True) as server:
            yield server.url, server


def run_storm(kind: str, seconds: float, seed: int, folder: Path, tell: Callable[[str], None]) -> Storm:
    """Let it rage for so long, and check what is left."""
    with database(kind, folder) as (url, server):
        storm = Storm(url, seed, server)
        storm.run(seconds, tell)
        return storm


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.model.crashes", description=__doc__.split("\n\n", 1)[0])
    parser.add_argument("--store", choices=["sqlite", "postgresql"], default="sqlite", help="default: sqlite")
    parser.add_argument("--seconds", type=float, default=30, help="for how long (default: 30)")
    parser.add_argument("--seed", type=int, default=1, help="of when is killed whom (default: 1)")
    options = parser.parse_args()

    def tell(text: str) -> None:
        print(f"\r{text}\033[K", end="", flush=True)  # noqa: T201

    with tempfile.TemporaryDirectory() as folder:
        storm = run_storm(options.store, options.seconds, options.seed, Path(folder), tell)
    tell(storm.describe() + "\n")
    sys.exit("\n".join(storm.wrong) if storm.wrong or storm.seen["sessions lost"] else 0)


if __name__ == "__main__":
    main()
