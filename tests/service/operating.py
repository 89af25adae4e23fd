"""`tallystick serve` in a process of its own, as an operator runs it."""

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import httpx

from tests.servers import pick_free_port
from tests.token_cache.sitecustomize import MODE

PROGRAM = Path(sys.executable).with_name("tallystick")
SECRET = "tests-only-" * 4
INHERITED = {name: os.environ[name] for name in ("PATH", "PYTHONPATH", MODE) if name in os.environ}
"""And nothing else, so that no setting of the one who runs the tests gets in."""
START_SECONDS = 30
STOP_SECONDS = 30


@dataclass
class Service:
    """One instance. It keeps its port, so it can be started again."""

    folder: Path
    arguments: list[str]
    environment: dict[str, str] = field(default_factory=dict)
    program: tuple[str | Path, ...] = (PROGRAM, "serve")
    port: int = field(default_factory=pick_free_port)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def text(self) -> str:
        """All that it has written."""
        return self._log.read_text("utf-8") if self._log.exists() else ""

    @property
    def lines(self) -> list[dict[str, Any]]:
        """Its log."""
        return [json.loads(line) for line in self.text.splitlines()]

    @property
    def _log(self) -> Path:
        return self.folder / f"service-{self.port}.log"

    def start(self, *, until: str = "/ready") -> None:
        """Return when it answers ``until`` with 200, or, with ``until=""``, when it answers at all."""
        self.begin()
        self.await_answer(until)

    def begin(self) -> None:
        self.process = launch([*self.arguments, "--port", str(self.port)], self.environment, self._log, self.program)

    def await_answer(self, until: str = "/ready") -> None:
        assert self.process
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and self.process.poll() is None:
            try:
                if not until:
                    httpx.get(f"{self.url}/ready")
                    return
                if httpx.get(f"{self.url}{until}").status_code == 200:
                    return
            except httpx.TransportError:
                pass
            time.sleep(0.02)
        self.kill()
        raise RuntimeError(f"the service did not start:\n{self.text[-4000:]}")

    def stop(self) -> int:
        """As an operator does; the exit code."""
        assert self.process
        self.process.terminate()
        try:
            return self.process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(f"the service did not stop:\n{self.text[-4000:]}") from None

    def kill(self) -> None:
        """End it and its workers at once."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(STOP_SECONDS)

    def workers(self) -> list[int]:
        """The processes that answer, if there are several: children that are no helpers of Python's."""
        assert self.process
        pid = self.process.pid
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text("ascii").split()
        commands = {int(child): _command_of(child) for child in children}
        return [child for child, command in commands.items() if "spawn_main" in command]

    def create(self, user_id: str = "user-1") -> dict[str, Any]:
        return self.ask("/public/recipe/session", creation(user_id))

    def refresh(self, token: str) -> dict[str, Any]:
        return self.ask("/recipe/session/refresh", refreshing(token))

    def verify(self, token: str, *, check_database: bool = False) -> dict[str, Any]:
        return self.ask("/recipe/session/verify", verifying(token, check_database=check_database))

    def ask(self, path: str, fields: dict[str, Any]) -> dict[str, Any]:
        answer = httpx.post(f"{self.url}{path}", json=fields, headers={"cdi-version": "5.4"}, timeout=20)
        assert answer.status_code == 200, answer.text
        found: dict[str, Any] = answer.json()
        return found

    def metrics(self) -> dict[str, float]:
        text = httpx.get(f"{self.url}/metrics").text
        rows = (line.rpartition(" ") for line in text.splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in rows}


def _command_of(pid: str) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_text("utf-8")
    except OSError:
        return ""


def launch(
    arguments: list[str],
    environment: dict[str, str],
    log: Path,
    program: tuple[str | Path, ...] = (PROGRAM, "serve"),
) -> "subprocess.Popen[bytes]":
    with log.open("ab") as output:
        return subprocess.Popen(
            [*program, *arguments],
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=output,
            env={**INHERITED, "TALLYSTICK_SECRET": SECRET, **environment},
            start_new_session=True,
        )


@contextmanager
def run_service(folder: Path, *arguments: str, **environment: str) -> Iterator[Service]:
    """Start an instance with these arguments of `tallystick serve`, and stop it."""
    with running(Service(folder, list(arguments), environment)) as service:
        yield service


@contextmanager
def running(service: Service) -> Iterator[Service]:
    """Start it, and stop it."""
    try:
        service.start()
        yield service
    finally:
        if service.process is not None and service.process.poll() is None:
            service.stop()


def creation(user_id: str) -> dict[str, Any]:
    return {
        "userId": user_id,
        "userDataInJWT": {},
        "userDataInDatabase": {},
        "useDynamicSigningKey": True,
        "enableAntiCsrf": False,
    }


def refreshing(token: str) -> dict[str, Any]:
    return {"refreshToken": token, "enableAntiCsrf": False, "useDynamicSigningKey": True}


def verifying(token: str, *, check_database: bool) -> dict[str, Any]:
    return {
        "accessToken": token,
        "doAntiCsrfCheck": False,
        "enableAntiCsrf": False,
        "checkDatabase": check_database,
    }


def wait_until(what: Any, seconds: float = 30) -> None:
    deadline = time.monotonic() + seconds
    while not what():
        assert time.monotonic() < deadline, "it did not come to pass"
        time.sleep(0.05)
