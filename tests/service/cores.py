"""A core to ask, without a socket: the application itself, over the memory store, at a clock that stands still."""

import json
from base64 import urlsafe_b64decode
from collections import Counter
from contextlib import asynccontextmanager
from functools import cache
from typing import Any

import httpx

from tallystick.edges import new_private_key
from tallystick.service.app import CoreApp
from tallystick.service.settings import CoreSettings
from tallystick.storage.memory import AsyncMemoryStore
from tallystick.testing import FakeClock, SeededEntropy

SECRET = "a-secret-for-tests-of-the-service-that-is-long"

BEFORE_KIDS = ("2.7", "2.8", "2.9", "2.10", "2.20")
"""Versions at the borders of spec/cdi.md 1.1.5, before 2.21; then those from there to 5.5; then today's."""
WITH_KIDS = ("2.21", "3.0", "3.1", "4.0", "5.0", "5.4", "5.5")
NEWEST = "5.6"
EVERY = (*BEFORE_KIDS, *WITH_KIDS, NEWEST)


@cache
def _private_key(number: int) -> bytes:
    return new_private_key("RS256")


class Core:
    """A core and a client of it that speaks one version of the interface."""

    def __init__(self, *, store=None, clock=None, seed=1, secret=SECRET, **settings: Any) -> None:
        settings.setdefault("access_token_validity_jitter", 0.0)
        self.clock = clock or FakeClock()
        self.store = store or AsyncMemoryStore()
        self.events: Counter[str] = Counter()
        self.made = 0
        self.app = CoreApp(
            self.store,
            CoreSettings(dev=True, **settings),
            secret,
            clock=self.clock,
            entropy=SeededEntropy(seed),
            observe=lambda event, count: self.events.update({event: count}),
            new_private_key=self._new_private_key,
        )
        transport = httpx.ASGITransport(self.app, raise_app_exceptions=False)
        self.http = httpx.AsyncClient(transport=transport, base_url="http://core:3567")

    def _new_private_key(self, algorithm: str) -> bytes:
        self.made += 1
        return _private_key(self.made)

    async def ask(self, method: str, path: str, body: Any = None, *, cdi: str | None = "5.4", **headers: str):
        """The response. A body that is no bytes is sent as JSON."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        if cdi is not None:
            sent["cdi-version"] = cdi
        content = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        return await self.http.request(method, path, content=content, headers=sent)

    async def get(self, path: str, *, cdi: str | None = "5.4", **params: str) -> Any:
        return self._read(await self.http.get(path, params=params, headers={} if cdi is None else {"cdi-version": cdi}))

    async def post(self, path: str, body: Any, *, cdi: str | None = "5.4") -> Any:
        return self._read(await self.ask("POST", path, body, cdi=cdi))

    async def put(self, path: str, body: Any, *, cdi: str | None = "5.4") -> Any:
        return self._read(await self.ask("PUT", path, body, cdi=cdi))

    @staticmethod
    def _read(response: httpx.Response) -> Any:
        assert response.status_code == 200, (response.status_code, response.text)
        assert response.headers["content-type"] == "application/json; charset=UTF-8"
        return response.json()

    async def create(self, cdi: str | None = "5.4", *, prefix: str = "", **changes: Any) -> Any:
        body = {"userId": "u1", "userDataInJWT": {}, "userDataInDatabase": {}, "enableAntiCsrf": False} | changes
        return await self.post(f"{prefix}/recipe/session", body, cdi=cdi)

    async def verify(self, access_token: str, cdi: str | None = "5.4", *, prefix: str = "", **changes: Any) -> Any:
        body = {"accessToken": access_token, "doAntiCsrfCheck": False, "enableAntiCsrf": False, "checkDatabase": False}
        return await self.post(f"{prefix}/recipe/session/verify", body | changes, cdi=cdi)

    async def refresh(self, refresh_token: str, cdi: str | None = "5.4", *, prefix: str = "", **changes: Any) -> Any:
        body = {"refreshToken": refresh_token, "enableAntiCsrf": False, "useDynamicSigningKey": True} | changes
        return await self.post(f"{prefix}/recipe/session/refresh", body, cdi=cdi)

    async def remove(self, *handles: str, cdi: str | None = "5.4") -> Any:
        return await self.post("/recipe/session/remove", {"sessionHandles": handles}, cdi=cdi)


@asynccontextmanager
async def running(**settings: Any):
    core = Core(**settings)
    async with core.http:
        yield core


def decode(part: str) -> Any:
    """A part of a JWT, of whichever base64."""
    text = part.replace("+", "-").replace("/", "_").rstrip("=")
    return json.loads(urlsafe_b64decode(text + "=" * (-len(text) % 4)))


def claims_of(token: str) -> Any:
    return decode(token.split(".")[1])


def header_of(token: str) -> Any:
    return decode(token.split(".", maxsplit=1)[0])
