"""People who sign in, refresh and sign out while something breaks, and what must be true of them afterwards."""

import random
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeVar

from tallystick import GeneralError, Sessions, Unauthorised
from tallystick.errors import SessionError
from tallystick.types import CreatedSession

T = TypeVar("T")

CLIENTS = 4
SECRET = "a secret of tests, and long enough: 32 bytes"
DEADLINE_SECONDS = 90
"""After which nothing is waited for any more."""


@dataclass
class Jar:
    """What one browser holds; only what was acknowledged gets into it."""

    user: str
    handle: str
    refresh: str
    is_signed_out: bool = False
    is_lost: bool = False


def describe(seen: Counter[str], longest_error: float) -> str:
    names = ("sign-ins", "refreshes", "revocations", "errors", "lost sessions", "lost revocations")
    return ", ".join(f"{seen[name]} {name}" for name in names) + f"; longest error {longest_error:.1f} s"


class Load:
    """Several clients, each with one operation after another, on one store. Where that ``may_lose`` what it has
    acknowledged, it is counted; else it is wrong. ``pause`` is what each takes between two operations, in seconds."""

    def __init__(self, sessions: Sessions, *, may_lose: bool = False, pause: float = 0) -> None:
        self.sessions = sessions
        self._pause = pause
        self._may_lose = may_lose
        self.seen: Counter[str] = Counter()
        self.wrong: list[str] = []
        self.longest_error = 0.0
        self.last_error = ""
        self._jars: list[list[Jar]] = [[] for _ in range(CLIENTS)]
        self._is_over = threading.Event()
        self._threads = [threading.Thread(target=self._live, args=(number,)) for number in range(CLIENTS)]

    def __enter__(self) -> "Load":
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._is_over.set()
        for thread in self._threads:
            thread.join(DEADLINE_SECONDS)
            assert not thread.is_alive(), "a call has no end"

    def wait_for(self, kind: str, count: int) -> None:
        """Until so many more were seen."""
        wanted, deadline = self.seen[kind] + count, time.monotonic() + DEADLINE_SECONDS
        while self.seen[kind] < wanted and not self.wrong:
            assert time.monotonic() < deadline, f"only {self.describe()}; the last: {self.last_error}"
            time.sleep(0.02)

    def check(self) -> None:
        """Everybody has what was acknowledged to him. Call it when the store is well again."""
        assert self.wrong == []
        for jar in (jar for own in self._jars for jar in own):
            if jar.is_lost:
                self.seen["lost sessions"] += 1
                continue
            handles = self.sessions.get_all_session_handles_for_user(jar.user)
            if jar.is_signed_out:
                is_out = not handles
                try:
                    self.sessions.refresh_session(jar.refresh)
                    is_out = False
                except Unauthorised:
                    pass
                self.seen["lost revocations"] += not is_out
            else:
                try:
                    self.sessions.refresh_session(jar.refresh)
                    self.seen["lost sessions"] += handles != [jar.handle]
                except GeneralError:
                    raise
                except SessionError:
                    self.seen["lost sessions"] += 1

    def describe(self) -> str:
        return describe(self.seen, self.longest_error)

    def _live(self, number: int) -> None:
        dice, jars = random.Random(number), self._jars[number]  # noqa: S311 - no secret
        while not self._is_over.wait(self._pause):
            alive = [jar for jar in jars if not (jar.is_signed_out or jar.is_lost)]
            if len(alive) < 3:
                self._sign_in(f"user-{number}-{len(jars)}-{self.seen['errors']}", jars)
            elif dice.random() < 0.2:
                self._sign_out(dice.choice(alive))
            else:
                self._refresh(dice.choice(alive))

    def _sign_in(self, user: str, jars: list[Jar]) -> None:
        created = self._try("sign-ins", lambda: self.sessions.create_new_session(user))
        if created is not None:
            jars.append(Jar(user, created.session.handle, created.refresh_token.token))

    def _refresh(self, jar: Jar) -> None:
        child = self._try("refreshes", lambda: self._exchange(jar))
        if child is not None:
            jar.refresh = child.refresh_token.token

    def _exchange(self, jar: Jar) -> CreatedSession | None:
        try:
            return self.sessions.refresh_session(jar.refresh)
        except Unauthorised:
            if not self._may_lose:
                raise
            jar.is_lost = True
            return None

    def _sign_out(self, jar: Jar) -> None:
        # Again, where the answer did not come, as a person would.
        while not self._is_over.is_set():
            if self._try("revocations", lambda: [self.sessions.revoke_session(jar.handle)]) is not None:
                jar.is_signed_out = True
                return

    def _try(self, kind: str, call: Callable[[], T | None]) -> T | None:
        began = time.monotonic()
        try:
            answer = call()
        except GeneralError as error:
            if (error.reason, error.http_status) != ("store_failed", 503):
                self.wrong.append(f"{kind}: {error!r}")
            self.seen["errors"] += 1
            self.last_error = repr(error.__cause__)
            self.longest_error = max(self.longest_error, time.monotonic() - began)
            self._is_over.wait(0.02)
            return None
        except Exception as error:
            self.wrong.append(f"{kind}: {error!r}")
            self._is_over.set()
            return None
        self.seen[kind] += answer is not None
        return answer
