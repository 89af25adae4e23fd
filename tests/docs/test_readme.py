"""The app in the README, driven over HTTP."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.testclient import TestClient

from tests.docs.documents import ROOT, blocks_of


@pytest.fixture
def app(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> FastAPI:
    monkeypatch.chdir(tmp_path)  # sessions.db is made here
    monkeypatch.delenv("TALLYSTICK_SECRET", raising=False)
    namespace: dict[str, Any] = {"__name__": "__main__"}
    source = next(block for block in blocks_of(ROOT / "README.md", "python") if "FastAPI()" in block.text)
    exec(source.text, namespace)  # noqa: S102 - the document is ours
    app = namespace["app"]
    assert isinstance(app, FastAPI)
    return app


@pytest.fixture
def client(app: FastAPI) -> Iterator[TestClient]:
    with TestClient(app) as client:  # one event loop for all requests, so that the store can be closed in it
        yield client
        assert client.portal
        client.portal.call(app.user_middleware[0].kwargs["sessions"].close)


def test_the_app_keeps_a_browser_signed_in_with_cookies(client: TestClient):
    client.headers["st-auth-mode"] = "cookie"
    assert client.get("/me").status_code == 401
    assert set(client.post("/login", params={"name": "ada"}).json()) == {"handle"}
    assert client.get("/me").json() == {"user": "ada", "role": "reader"}
    old = dict(client.cookies)
    refreshed = client.post("/auth/session/refresh")
    assert (refreshed.status_code, refreshed.json()) == (200, {})
    assert {name for name, value in client.cookies.items() if value != old[name]} == {"sAccessToken", "sRefreshToken"}
    assert client.get("/me").json() == {"user": "ada", "role": "reader"}
    assert client.post("/auth/signout").json() == {"status": "OK"}
    assert client.get("/me").status_code == 401
    assert not dict(client.cookies)


def test_the_app_keeps_a_client_signed_in_with_headers(client: TestClient):
    signed_in = client.post("/login", params={"name": "ada"})
    access = {"authorization": f"Bearer {signed_in.headers['st-access-token']}"}
    assert client.get("/me", headers=access).json() == {"user": "ada", "role": "reader"}
    refresh = {"authorization": f"Bearer {signed_in.headers['st-refresh-token']}"}
    refreshed = client.post("/auth/session/refresh", headers=refresh)
    access = {"authorization": f"Bearer {refreshed.headers['st-access-token']}"}
    assert client.get("/me", headers=access).json() == {"user": "ada", "role": "reader"}
    assert client.post("/auth/signout", headers=access).json() == {"status": "OK"}
    gone = client.post(
        "/auth/session/refresh", headers={"authorization": f"Bearer {refreshed.headers['st-refresh-token']}"}
    )
    assert (gone.status_code, gone.headers["front-token"]) == (401, "remove")


def test_the_app_publishes_its_keys(client: TestClient):
    assert client.get("/auth/jwt/jwks.json").json()["keys"]
