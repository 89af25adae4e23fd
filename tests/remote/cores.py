"""Cores to ask: real ones, behind a real server on a free port of loopback, but at a clock that stands still."""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from datetime import timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from itertools import count
from typing import Any

import httpx
import uvicorn

from tallystick import AsyncSessions, Sessions
from tallystick.service.app import CoreApp
from tallystick.service.settings import CoreSettings
from tallystick.storage.memory import AsyncMemoryStore
from tallystick.testing import SeededEntropy
from tests.unit.facades import Awaited
from tests.unit.workshop import SECRET, Keysmith

WAIT_SECONDS = 20

MINUTE = timedelta(minutes=1)
OF_THE_CORE = {
    "access_token_validity": ("access_token_validity", lambda value: value // timedelta(seconds=1)),
    "refresh_token_validity": ("refresh_token_validity", lambda value: value / MINUTE),
    "absolute_lifetime": ("absolute_lifetime", lambda value: value / MINUTE),
    "grace": ("refresh_token_rotation_grace_period", lambda value: value // timedelta(seconds=1)),
}
"""What a facade's settings are called in a core, and how they are written there."""

DEFAULTS = {"access_token_validity_jitter": 0.0, "refresh_token_rotation_grace_period": 10}


class Board:
    """One server for many cores: the first part of the path says which."""

    def __init__(self) -> None:
        self._cores: dict[str, CoreApp] = {}
        self.asked: Counter[str] = Counter()
        """Paths, and how often each was asked for."""
        self.broken: set[str] = set()
        """The URLs of cores that answer with 500."""
        self.without_feed: set[str] = set()
        """The URLs of cores that have no stream of endings, as a SuperTokens core has none."""
        self._numbers = count(1)
        config = uvicorn.Config(self, port=0, log_level="warning", ws="none", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    async def __call__(self, scope, receive, send) -> None:
        self.asked[scope["path"]] += 1
        name = scope["path"].split("/")[1]
        if f"{self.url}/{name}" in self.broken:
            await send({"type": "http.response.start", "status": 500, "headers": []})
            await send({"type": "http.response.body", "body": b"broken"})
        elif f"{self.url}/{name}" in self.without_feed and scope["path"].endswith("/tallystick/endings"):
            await send({"type": "http.response.start", "status": 404, "headers": []})
            await send({"type": "http.response.body", "body": b"Not found"})
        else:
            await self._cores[name](scope, receive, send)

    def count_keys(self, url: str) -> int:
        """How often a core's keys were read."""
        return self.asked[f"{url.removeprefix(self.url)}/.well-known/jwks.json"]

    def add(self, clock, **settings: Any) -> str:
        """One more core; its URL."""
        name = f"core{next(self._numbers)}"
        settings = CoreSettings(dev=True, base_path=f"/{name}", **{**DEFAULTS, **settings})
        entropy, keysmith = SeededEntropy(len(self._cores)), Keysmith()
        self._cores[name] = CoreApp(
            AsyncMemoryStore(), settings, SECRET, clock=clock, entropy=entropy, new_private_key=keysmith
        )
        return f"{self.url}/{name}"

    @property
    def url(self) -> str:
        port = self._server.servers[0].sockets[0].getsockname()[1]
        return f"http://127.0.0.1:{port}"

    def start(self) -> None:
        self._thread.start()
        wait_for(lambda: self._server.started)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(WAIT_SECONDS)
        assert not self._thread.is_alive()


class Scripted:
    """What answers as it is told, whatever it is asked: each answer once, the last one for ever."""

    def __init__(self) -> None:
        self.answers: list[tuple[int, bytes, dict[str, str]]] = []
        self.heard: list[tuple[str, str, dict[str, str], bytes]] = []
        self._server = ThreadingHTTPServer(("127.0.0.1", 0), self._make_handler())
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.01,), daemon=True)
        self.delay = 0.0
        """How long, in s, each answer takes."""

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def answer(self, status: int = 200, body: bytes = b"{}", **headers: str) -> None:
        self.answers.append((status, body, {name.replace("_", "-"): value for name, value in headers.items()}))

    def _make_handler(self) -> type[BaseHTTPRequestHandler]:
        scripted = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                body = self.rfile.read(int(self.headers.get("content-length", 0)))
                scripted.heard.append((self.command, self.path, dict(self.headers), body))
                status, content, headers = scripted.answers[0]
                if len(scripted.answers) > 1:
                    scripted.answers.pop(0)
                time.sleep(scripted.delay)
                with suppress(OSError):  # whoever asked may have given up
                    self.send_response(status)
                    for name, value in {"content-length": str(len(content)), **headers}.items():
                        self.send_header(name, value)
                    self.end_headers()
                    self.wfile.write(content)

            do_POST = do_PUT = do_HEAD = do_GET  # noqa: N815 - the base class's names

            def log_message(self, *_args: object) -> None: ...

        return Handler

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._server.shutdown()
        self._server.server_close()
        self._thread.join(WAIT_SECONDS)


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + WAIT_SECONDS
    while not condition():
        assert time.monotonic() < deadline, "what was waited for did not come"
        time.sleep(0.01)


@contextmanager
def run_board() -> Iterator[Board]:
    board = Board()
    board.start()
    try:
        yield board
    finally:
        board.stop()


def add_tenant(url: str, tenant_id: str, **headers: str) -> None:
    body = {"tenantId": tenant_id}
    response = httpx.put(f"{url}/recipe/multitenancy/tenant/v2", json=body, headers=headers, timeout=WAIT_SECONDS)
    assert response.json()["status"] == "OK", response.text


class RemoteFacades:
    """Makes facades of one kind, each on a core of its own unless it is told which."""

    def __init__(self, kind: str, clock, runner: asyncio.Runner, board: Board) -> None:
        self.kind, self.clock, self.runner, self._board, self._seed = kind, clock, runner, board, 0
        self._made: list[Any] = []
        self.url = ""
        """Of the core that was made last."""

    def make(self, url: str | None = None, *, tenants=(), **settings: Any) -> Any:
        self._seed += 1
        theirs = {}
        for name, (core_name, write) in OF_THE_CORE.items():
            if name in settings:
                theirs[core_name] = write(settings.pop(name))
        if url is None:
            url = self.url = self._board.add(self.clock, **theirs)
            for tenant in tenants:
                add_tenant(url, tenant)
        settings = {"clock": self.clock, "entropy": SeededEntropy(self._seed), **settings}
        if self.kind == "sync":
            sessions = Sessions(url, **settings)
        else:
            sessions = Awaited(AsyncSessions(url, **settings), self.runner)
        self._made.append(sessions)
        return sessions

    def close(self) -> None:
        for sessions in self._made:
            sessions.close()
