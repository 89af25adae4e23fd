"""The core service in a process of its own, on a free port of loopback."""

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

START_SECONDS = 30
STOP_SECONDS = 20
LAUNCH = Path(__file__).with_name("launch.py")
SECRET = "tests-only-" * 4


@dataclass
class RunningCore:
    """One service on one database. It keeps its port, so it can be stopped and started again."""

    database: str
    folder: Path
    settings: dict[str, Any]
    port: int = field(default_factory=pick_free_port)
    process: "subprocess.Popen[bytes] | None" = None

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def log(self) -> str:
        return self._log.read_text("utf-8", "replace") if self._log.exists() else ""

    @property
    def _log(self) -> Path:
        return self.folder / f"core-{self.port}.log"

    def start(self) -> None:
        """Return when it answers."""
        command = [sys.executable, LAUNCH, str(self.port), self.database, json.dumps(self.settings)]
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                env={**os.environ, "TALLYSTICK_SECRET": SECRET},
                start_new_session=True,
            )
        self._await_hello(self.process)

    def stop(self) -> None:
        """Stop it as an operator does: requests in hand are answered."""
        if self.process is not None and self.process.poll() is None:
            self.process.terminate()
            try:
                self.process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                self.kill()
                raise AssertionError(f"the service did not stop:\n{self.log[-4000:]}") from None

    def kill(self) -> None:
        """End it and its workers at once."""
        if self.process is not None and self.process.poll() is None:
            os.killpg(self.process.pid, signal.SIGKILL)
            self.process.wait(STOP_SECONDS)

    def _await_hello(self, process: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + START_SECONDS
        while time.monotonic() < deadline and process.poll() is None:
            try:
                if httpx.get(f"{self.url}/hello", timeout=START_SECONDS).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.02)
        self.kill()
        raise RuntimeError(f"the service did not start:\n{self.log[-4000:]}")


@contextmanager
def run_core(folder: Path, database: str | None = None, **settings: Any) -> Iterator[RunningCore]:
    """Start a service with these settings (names of the interface), by default on an SQLite file in ``folder``."""
    core = RunningCore(database or f"sqlite:///{folder}/core.db", folder, settings)
    try:
        core.start()
        yield core
    finally:
        core.stop()
