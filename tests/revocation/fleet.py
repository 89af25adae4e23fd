"""Several verifying processes, and who revokes: counts what is accepted too late."""

import json
import secrets
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from tallystick import Sessions

ROOT = Path(__file__).parents[2]
START_SECONDS = 60


class Fleet:
    """Verifying processes, on the store or on cores that keep their sessions there. Use it in a ``with``.

    ``reader_url``: what they are given instead of ``url``; several: in turn.
    """

    def __init__(
        self,
        url: str,
        size: int,
        *,
        reader_url: str | Sequence[str] = (),
        secret: str = "",
        skew: int = 0,
        silence="check_store",
    ):
        self.secret = secret or secrets.token_urlsafe(48)
        self.sessions = Sessions(url, secret=self.secret, algorithm="EdDSA", migrate=True)
        self.sessions.open()
        readers = [reader_url] if isinstance(reader_url, str) else list(reader_url) or [url]
        self.returned: dict[str, float] = {}
        """By token: when its revocation returned."""
        self.reports: list[tuple[str, float, float]] = []
        command = [sys.executable, "-m", "tests.revocation.verifier"]
        self.processes = [
            subprocess.Popen(
                [*command, readers[number % len(readers)], self.secret, str(skew if number % 2 else -skew), silence],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(size)
        ]
        self._threads = []

    def __enter__(self) -> "Fleet":
        for process in self.processes:
            assert process.stdout.readline() == "ready\n"
            self._threads.append(threading.Thread(target=self._listen, args=(process,), daemon=True))
            self._threads[-1].start()
        return self

    def __exit__(self, *_: object) -> None:
        for process in self.processes:
            process.send_signal(signal.SIGCONT)
            process.kill()
            process.wait()
        for thread in self._threads:
            thread.join()
        for process in self.processes:
            process.stdin.close()
            process.stdout.close()
        self.sessions.close()

    def sign_in(self, count: int, user: str = "user") -> list[tuple[str, str]]:
        """Sessions that every process verifies from now on: handles and tokens."""
        created = [self.sessions.create_new_session(user) for _ in range(count)]
        pairs = [(one.session.handle, one.access_token.token) for one in created]
        for process in self.processes:
            process.stdin.write("".join(f"{token}\n" for _, token in pairs))
            process.stdin.flush()
        time.sleep(0.2)
        return pairs

    def revoke(self, handle: str, token: str) -> None:
        assert self.sessions.revoke_session(handle)
        self.returned[token[-32:]] = time.monotonic()

    def wait(self, seconds: float) -> None:
        """Until every process has refused what was revoked."""
        deadline = time.monotonic() + seconds
        while len(self.reports) < len(self.returned) * len(self.processes):
            assert time.monotonic() < deadline, f"{len(self.reports)} refusals"
            time.sleep(0.01)

    def delays(self) -> list[float]:
        """By process and token: how long after the revocation had returned the last verification began that accepted
        it. Below 0: none did."""
        return sorted(last - self.returned[tail] for tail, last, _ in self.reports)

    def _listen(self, process) -> None:
        for line in process.stdout:
            self.reports.append(tuple(json.loads(line)))
