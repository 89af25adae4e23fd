"""Real SDKs, each in a process of its own that is told what to call (sdk/), as an app's code would call it."""

import fcntl
import json
import shutil
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from threading import Lock, Thread
from typing import Any

import pytest

from tests.servers import missing

ROOT = Path(__file__).parents[2]
HOME = Path(__file__).with_name("sdk")
PYTHON = HOME / "python" / ".venv" / "bin" / "python"
ANSWER_SECONDS = 60
STOP_SECONDS = 10


@dataclass(frozen=True)
class Kind:
    """An SDK, and what it can do."""

    name: str
    program: str
    options: tuple[tuple[str, object], ...] = ()
    is_newest: bool = False

    def __str__(self) -> str:
        return self.name


NODE = Kind("supertokens-node", "newest.js", is_newest=True)
PYTHON_SDK = Kind("supertokens-python", "python/newest.py", is_newest=True)
NODE_1 = Kind("supertokens-node-1.0.1", "classic.js", (("version", 1),))
NODE_2 = Kind("supertokens-node-2.5.0", "classic.js", (("version", 2),))
NEWEST = (NODE, PYTHON_SDK)
CLASSIC = (NODE_1, NODE_2)
ALL = (*NEWEST, *CLASSIC)


class Refused(Exception):
    """The SDK refused, as its documentation says it does."""

    def __init__(self, name: str, evidence: dict[str, Any]) -> None:
        super().__init__(name)
        self.name, self.evidence = name, evidence


def refused(name: str):
    """The SDK refuses with exactly this inside."""
    return pytest.raises(Refused, match=f"^{name}$")


class Failed(Exception):
    """The SDK raised something else; its text."""


@dataclass(frozen=True)
class Held:
    """A session as its client holds it."""

    handle: str
    user: str
    payload: dict[str, Any]
    access: str
    refresh: str | None = None
    anti_csrf: str | None = None
    id_refresh: str | None = None
    tenant: str | None = None
    is_new: bool = False
    """Whether the last answer brought a new access token."""
    cookies: dict[str, Any] | None = None

    def after(self, answer: dict[str, Any]) -> "Held":
        """With what an answer brought; what it did not bring stays."""
        return replace(self, **{name: value for name, value in answer.items() if value is not None})

    @property
    def shown(self) -> dict[str, Any]:
        """What a client shows with each request."""
        shown = {"access": self.access, "anti_csrf": self.anti_csrf, "id_refresh": self.id_refresh}
        return {name: value for name, value in shown.items() if value is not None}


class Sdk:
    """A running SDK. Calls may be made from several threads."""

    def __init__(self, kind: Kind, process: "subprocess.Popen[str]") -> None:
        self.kind = kind
        self._process = process
        self._lock = Lock()
        self._waiting: dict[int, Future[Any]] = {}
        self._asked = 0
        Thread(target=self._listen, daemon=True).start()

    def create(
        self,
        user: str = "ada",
        payload: dict[str, Any] | None = None,
        data: dict[str, Any] | None = None,
        tenant: str = "public",
    ) -> Held:
        return Held(**self.call("create", user=user, payload=payload or {}, data=data or {}, tenant=tenant))

    def verify(self, held: Held, **options: Any) -> Held:
        return held.after(self.call("verify", **{**held.shown, **options}))

    def refresh(self, held: Held) -> Held:
        given = {"refresh": held.refresh, "anti_csrf": held.anti_csrf}
        return held.after(self.call("refresh", **{name: value for name, value in given.items() if value is not None}))

    def change(self, call: str, held: Held, **options: Any) -> Held:
        """A call that opens the session and may bring it a new access token."""
        return held.after(self.call(call, **held.shown, **options))

    def call(self, call: str, **given: Any) -> Any:
        """Any other call. Raises :class:`Refused` or :class:`Failed`."""
        answered: Future[Any] = Future()
        with self._lock:
            self._asked += 1
            self._waiting[self._asked] = answered
            assert self._process.stdin is not None
            self._process.stdin.write(json.dumps({"id": self._asked, "call": call, "input": given}) + "\n")
            self._process.stdin.flush()
        answer = answered.result(ANSWER_SECONDS)
        if "refused" in answer:
            name = answer.pop("refused")
            raise Refused(name, answer)
        if "error" in answer:
            raise Failed(answer["error"])
        return answer["result"]

    def _listen(self) -> None:
        assert self._process.stdout is not None
        for line in self._process.stdout:
            answer = json.loads(line)
            self._waiting.pop(answer.pop("id")).set_result(answer)
        for left in list(self._waiting.values()):
            left.set_exception(Failed(f"{self.kind} has ended"))


@contextmanager
def run_sdk(kind: Kind, core: str, **options: Any) -> Iterator[Sdk]:
    """Start an SDK that asks this core; several addresses with ``;`` between."""
    install()
    given = json.dumps({"core": core, **dict(kind.options), **options})
    program = str(PYTHON) if kind.program.endswith(".py") else find_node()
    process = subprocess.Popen(
        [program, HOME / kind.program, given],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        stderr=sys.stderr,
        text=True,
        encoding="utf-8",
    )
    try:
        yield Sdk(kind, process)
    finally:
        process.terminate()
        process.communicate(timeout=STOP_SECONDS)


def find_node() -> str:
    return shutil.which("node") or missing("Node.js")


def install() -> None:
    """Install the SDKs where they are missing or outdated. Of several workers one does it."""
    if shutil.which("npm") is None:
        missing("npm")
    with (ROOT / "Makefile").open() as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        made = subprocess.run(["make", "--silent", "sdks"], cwd=ROOT, capture_output=True, text=True, check=False)
    if made.returncode:
        raise RuntimeError(f"the SDKs could not be installed:\n{made.stdout}{made.stderr}")
