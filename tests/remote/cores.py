"""Cores to ask: real ones, behind a real server on a free port of loopback, but at a clock that stands still."""

import asyncio
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import timedelta
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
        self._numbers = count(1)
        config = uvicorn.Config(self, port=0, log_level="warning", ws="none", lifespan="off")
        self._server = uvicorn.Server(config)
        self._thread = threading.Thread(target=self._server.run, daemon=True)

    async def __call__(self, scope, receive, send) -> None:
        await self._cores[scope["path"].split("/")[1]](scope, receive, send)

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
        deadline = time.monotonic() + WAIT_SECONDS
        while not self._server.started:
            assert self._thread.is_alive(), "the server has ended"
            assert time.monotonic() < deadline, "the server did not start"
            time.sleep(0.01)

    def stop(self) -> None:
        self._server.should_exit = True
        self._thread.join(WAIT_SECONDS)
        assert not self._thread.is_alive()


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

    def make(self, url: str | None = None, *, tenants=(), **settings: Any) -> Any:
        self._seed += 1
        theirs = {}
        for name, (core_name, write) in OF_THE_CORE.items():
            if name in settings:
                theirs[core_name] = write(settings.pop(name))
        if url is None:
            url = self._board.add(self.clock, **theirs)
            for tenant in ():
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
