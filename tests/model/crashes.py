"""Crashes for real: processes that refresh and verify are killed at any moment, and so is the database server.

Honest browsers, each of two tabs with one jar and no lock between them, go on all the while. They refresh when the
access token has run out, as browser SDKs do, and whenever an answer does not come they try again with what the jar
holds. They wait for an answer for a shorter time than an access token lives, which is what the protocol assumes.
Visitors are signed out while their tabs refresh. Signing keys are made all the while. Afterwards nobody may have lost a
session, whoever was signed out must be out, and every row and key must be whole.

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
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import pairwise
from pathlib import Path
from types import MappingProxyType
from typing import Any, Protocol

from sqlalchemy.exc import SQLAlchemyError

from tallystick import Sessions, Unauthorised
from tallystick.protocol.access_token import parse_access_token
from tallystick.protocol.derivation import DerivedKeys, derive_all
from tallystick.protocol.keyring import Schedule, empty_keyring, open_keyring
from tallystick.protocol.refresh_token import open_envelope
from tallystick.storage.opening import open_store
from tallystick.storage.sql.store import SqlStore
from tallystick.types import KeyRow, SessionRow
from tests.model.crash_worker import open_sessions
from tests.servers import run_postgres

WORKERS, BROWSERS, TABS = 2, 24, 2
ANSWER_SECONDS = 1.5
PATIENCE_SECONDS = 120
"""For how much longer than it is told to a storm may rage on a slow machine."""
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
        self.is_signed_out = False
        """That it is was acknowledged."""

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
            also = {"database": "yes"} if dice.random() < 0.2 else {}
            try:
                if not self.call(jar, dice, **also):
                    self._take(jar, self.ask(dice, refresh=jar.refresh), "refreshes")
                    self.call(jar, dice)  # again, as browser SDKs do
            except NoAnswer:
                self.seen["lost answers"] += 1

    def call(self, jar: Jar, dice: random.Random, **also: str) -> bool:
        """False where it takes a refresh first."""
        access = jar.access
        reply = self.ask(dice, verify=access, user=jar.user, **also)
        if reply.get("error") == "TryRefreshToken" and has_expired(access):
            return access != jar.access  # another tab has refreshed meanwhile
        self._take(jar, reply, "verifications")
        return True

    def _take(self, jar: Jar, reply: dict[str, Any], kind: str) -> None:
        if "error" in reply:
            self.wrong.append(f"{jar.user}: {reply['error']} ({reply['reason']})")
            self.is_over.set()
        else:
            jar.keep(reply)
            self.seen[kind] += 1

    def visitor(self, dice: random.Random) -> None:
        """Signs in, and is signed out from elsewhere while two tabs refresh. For that there is an acknowledgement."""
        with ThreadPoolExecutor(TABS) as tabs:
            while not self.is_over.is_set():
                jar = self.sign_in("visitor", dice)
                with contextlib.suppress(NoAnswer):
                    jar.keep(self.ask(dice, refresh=jar.refresh))
                chances = [random.Random(dice.random()) for _ in range(TABS)]  # noqa: S311
                ends = [tabs.submit(self.refresh_until_out, jar, chance) for chance in chances]
                time.sleep(dice.uniform(0, 0.02))
                self.insist(dice, revoke=jar.handle)
                jar.is_signed_out = True
                self.seen["revocations"] += 1
                self.revoked.append(jar)
                for end in ends:
                    end.result()

    def refresh_until_out(self, jar: Jar, dice: random.Random) -> None:
        """Each time with the same token, as all this is over before an access token is."""
        while True:
            was_signed_out = jar.is_signed_out
            reply = self.insist(dice, refresh=jar.refresh)
            if reply.get("reason") == "no_session":
                return
            if was_signed_out or "error" in reply:
                self.wrong.append(f"signed out: {was_signed_out}, and then {reply.get('reason', 'refreshed')}")
                self.is_over.set()
                return
            self.seen["refreshes by visitors"] += 1

    def watch(self, jars: list[Jar]) -> None:
        """Looks at the rows all the while: a line comes whole, with its generation and the line before it."""
        store = open_store(self.url)
        lines: dict[tuple[str, int], bytes] = {}
        while not self.is_over.wait(0.01):
            for jar in jars:
                with contextlib.suppress(SQLAlchemyError):  # the database is away
                    row = store.load_session("public", jar.handle)
                    is_whole = row is not None and (
                        lines.setdefault((jar.handle, row.generation), row.line) == row.line
                        and lines.get((jar.handle, row.generation - 1)) in (None, row.previous)
                    )
                    if not is_whole:
                        self.wrong.append(f"{jar.user}: the row is gone or half written")
                        self.is_over.set()
                    self.seen["rows looked at"] += 1
        store.close()

    def sign_in(self, user: str, dice: random.Random) -> Jar:
        reply = self.insist(dice, create=user)
        return Jar(user, reply["handle"], reply["access"], reply["refresh"])

    def is_enough(self, least: Mapping[str, int]) -> bool:
        return all(self.seen[what] >= count for what, count in least.items())

    def killer(self, until: float, tell: Callable[[str], None], least: Mapping[str, int]) -> None:
        restarts = [0.3, 0.6] if self.server else []
        begun = time.monotonic()
        patience = until + PATIENCE_SECONDS
        while not self.is_over.is_set():
            now = time.monotonic()
            if now > patience or (now > until and not restarts and self.is_enough(least)):
                break
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

    def run(self, seconds: float, tell: Callable[[str], None], least: Mapping[str, int]) -> None:
        jars = [self.sign_in(f"user-{number}", self.dice) for number in range(BROWSERS)]
        lives: list[tuple[Callable[..., None], tuple[Any, ...]]] = [
            (self.tab, (jar, random.Random(self.dice.random())))  # noqa: S311
            for jar in jars
            for _ in range(TABS)
        ]
        lives.append((self.watch, (jars,)))
        lives.append((self.visitor, (random.Random(self.dice.random()),)))  # noqa: S311
        threads = [threading.Thread(target=life, args=args) for life, args in lives]
        for thread in threads:
            thread.start()
        try:
            self.killer(time.monotonic() + seconds, tell, least)
        finally:
            self.is_over.set()
            for thread in threads:
                thread.join()
            for worker in self.workers:
                worker.kill()
        if not self.wrong:
            self.check(jars)

    def check(self, jars: list[Jar]) -> None:
        """What is left: everybody's session, no ended one, and rows and keys that are whole."""
        keys = derive_all(self.secret, "public")
        store = open_store(self.url)
        assert isinstance(store, SqlStore)
        with self.sessions() as sessions:
            for jar in jars:
                row = store.load_session("public", jar.handle)
                if row is None:
                    self.seen["sessions lost"] += 1
                    continue
                check_row(row, jar, open_envelope(jar.refresh, keys).token.generation)
                jar.keep({"refresh": sessions.refresh_session(jar.refresh).refresh_token.token})
            for jar in self.revoked:
                assert store.load_session("public", jar.handle) is None
                with contextlib.suppress(Unauthorised):
                    sessions.refresh_session(jar.refresh)
                    self.wrong.append("a session that was revoked is back")
            self.wrong += [f"theft ({theft.kind}) of {theft.user_id}" for theft in sessions.get_theft_events()]
            schedule = sessions._deployment.schedule
        self.seen["signing keys"] = check_keys(store.load_keys("public"), keys, schedule)
        if store._engine.dialect.name == "sqlite":
            with store._engine.connect() as connection:
                assert connection.exec_driver_sql("PRAGMA integrity_check").scalar_one() == "ok"
        store.close()

    def describe(self) -> str:
        names = ("kills", "server kills", "refreshes", "verifications", "revocations", "refreshes by visitors")
        names += ("signing keys", "rows looked at", "lost answers", "broken store")
        counts = [f"{self.seen[name]} {name}" for name in names if self.seen[name]]
        return ", ".join([*counts, f"sessions lost: {self.seen['sessions lost'] + len(self.wrong)}"])


def has_expired(access: str) -> bool:
    claims = parse_access_token(access)
    assert claims
    return float(claims["exp"]) < time.time()


def check_row(row: SessionRow, jar: Jar, generation: int) -> None:
    """``generation`` is that of the jar's refresh token."""
    assert (row.user_id, json.loads(row.jwt_payload), json.loads(row.session_data)) == (jar.user, {"of": jar.user}, {})
    assert (len(row.line), len(row.nonce)) == (32, 16)
    assert (row.previous is None) == (row.generation == 0)
    assert row.previous is None or len(row.previous) == 32
    assert row.line != row.previous
    # The jar has a child of the line; or the line, whose child was in an answer that never came.
    assert row.generation in (generation, generation - 1), (row.generation, generation)
    assert row.created_at <= (row.refreshed_at or row.created_at) < row.expires_at <= row.absolute_expires_at


def check_keys(rows: list[KeyRow], secrets: tuple[DerivedKeys, ...], schedule: Schedule) -> int:
    """How many there are: one after another, none twice, each one whole."""
    assert [row.sequence for row in rows] == list(range(len(rows), 0, -1))
    for newer, older in pairwise(rows):
        assert newer.created_at - older.created_at >= schedule.interval - schedule.overlap
    for row in rows:
        ring = open_keyring(
            [row], secrets, schedule, row.algorithm, empty_keyring(schedule, row.algorithm), row.created_at
        )
        assert [key.kid for key in ring.keys] == [row.kid]
    return len(rows)


@contextlib.contextmanager
def database(kind: str, folder: Path) -> Iterator[tuple[str, DatabaseServer | None]]:
    """Where to keep the sessions: ``sqlite`` or ``postgresql``, the latter a server that keeps what it acknowledges."""
    if kind == "sqlite":
        yield f"sqlite:///{folder / 'sessions.db'}", None
    else:
        with run_postgres(is_durable=True) as server:
            yield server.url, server


def run_storm(
    kind: str,
    seconds: float,
    seed: int,
    folder: Path,
    tell: Callable[[str], None],
    least: Mapping[str, int] = MappingProxyType({}),
) -> Storm:
    """Let it rage for so long, or on a slow machine until it has seen ``least``, and check what is left."""
    with database(kind, folder) as (url, server):
        storm = Storm(url, seed, server)
        storm.run(seconds, tell, least)
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
