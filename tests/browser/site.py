"""A website and its API on two origins, as small as they can be, and the page in a browser."""

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Annotated, Any

from fastapi import Depends, FastAPI, Request
from fastapi.middleware.cors import CORSMiddleware
from fastapi.responses import FileResponse, HTMLResponse
from playwright.sync_api import BrowserContext, Page

from tallystick import AsyncSessions
from tallystick.integrations.fastapi import (
    Session,
    SessionMiddleware,
    create_new_session,
    get_all_cors_headers,
    verify_session,
)
from tests.browser.serving import address, listen, make_server, running

PAGE = "<!doctype html><meta charset=utf-8><title>A website</title><script src=/sdk.js></script>"
SignedIn = Annotated[Session, Depends(verify_session())]


@dataclass(frozen=True)
class Site:
    """Where the website and its API are, and the database behind them."""

    website: str
    api: str
    database: Path

    def open(self, context: BrowserContext, **settings: Any) -> Page:
        """A tab with the website in it, and the SDK made ready."""
        page = context.new_page()
        page.goto(self.website)
        self.init(page, **settings)
        return page

    def init(self, page: Page, **settings: Any) -> None:
        page.evaluate(
            """settings => {
                window.events = [];
                SuperTokens.init({ ...settings, onHandleEvent: event => events.push(event.action) });
            }""",
            {"apiDomain": self.api, **settings},
        )

    def sign_in(self, page: Page, user: str = "ada") -> None:
        assert call(page, f"{self.api}/sign-in/{user}", "POST")["status"] == 200

    def get(self, page: Page, path: str = "/me") -> dict[str, Any]:
        return call(page, self.api + path)

    def post(self, page: Page, path: str = "/act") -> dict[str, Any]:
        return call(page, self.api + path, "POST")

    def attack(self, page: Page, path: str = "/act", method: str = "POST") -> dict[str, Any]:
        """A request with the cookies, but not by the SDK: what another page of the same site could send."""
        return call(page, self.api + path, method, fetch="__supertokensOriginalFetch")

    def expire(self, page: Page) -> None:
        """Wait until the access token of the page's session has run out, by the page's clock."""
        page.wait_for_function(f"Date.now() > ({FRONT_TOKEN}).ate + 20")

    @contextmanager
    def broken_store(self) -> Iterator[None]:
        """The sessions' table is gone for a while: what the store then says is its own."""
        with self._database() as connection:
            connection.execute("ALTER TABLE tallystick_sessions RENAME TO hidden")
        try:
            yield
        finally:
            with self._database() as connection:
                connection.execute("ALTER TABLE hidden RENAME TO tallystick_sessions")

    @contextmanager
    def _database(self) -> Iterator[sqlite3.Connection]:
        connection = sqlite3.connect(self.database)
        try:
            yield connection
            connection.commit()
        finally:
            connection.close()


FRONT_TOKEN = "JSON.parse(atob(decodeURIComponent(document.cookie.match(/sFrontToken=([^;]*)/)[1])))"


def call(page: Page, url: str, method: str = "GET", *, fetch: str = "fetch") -> dict[str, Any]:
    """What the page's script gets to see of a request: an answer hidden by CORS is an error there."""
    answer: dict[str, Any] = page.evaluate(
        """async ([url, method, fetch]) => {
            const response = await window[fetch](url, { method, credentials: "include" });
            return { status: response.status, body: await response.json() };
        }""",
        [url, method, fetch],
    )
    return answer


def make_api(sessions: AsyncSessions, website: str) -> FastAPI:
    @asynccontextmanager
    async def lifespan(_: FastAPI) -> AsyncIterator[None]:
        async with sessions:
            yield

    app = FastAPI(lifespan=lifespan)

    @app.post("/sign-in/{user}")
    async def sign_in(user: str, request: Request) -> dict[str, str]:
        session = await create_new_session(request, user, {"name": "łukasz 馬"})
        return {"handle": session.get_handle()}

    @app.get("/me")
    async def me(session: SignedIn) -> dict[str, str]:
        return {"user": session.get_user_id(), "handle": session.get_handle()}

    @app.post("/act")
    async def act(session: SignedIn) -> dict[str, str]:
        return {"user": session.get_user_id()}

    app.add_middleware(SessionMiddleware, sessions=sessions)
    app.add_middleware(
        CORSMiddleware,
        allow_origins=[website],
        allow_credentials=True,
        allow_methods=["GET", "POST"],
        allow_headers=["content-type", *get_all_cors_headers()],
    )
    return app


def make_website(sdk: Path) -> FastAPI:
    app = FastAPI()

    @app.get("/")
    async def page() -> HTMLResponse:
        return HTMLResponse(PAGE)

    @app.get("/sdk.js")
    async def script() -> FileResponse:
        return FileResponse(sdk)

    return app


@contextmanager
def run_site(sdk: Path, folder: Path, **settings: Any) -> Iterator[Site]:
    """Both servers, on ports of their own."""
    database = folder / "sessions.db"
    at_website, at_api = listen(), listen()
    website, api = address(at_website), address(at_api)
    settings = {"access_token_validity": timedelta(seconds=2), "api_domain": api, "website_domain": website, **settings}
    sessions = AsyncSessions(f"sqlite:///{database}", secret="x" * 40, **settings)
    with (
        running(make_server(make_website(sdk)), at_website),
        running(make_server(make_api(sessions, website)), at_api),
    ):
        yield Site(website, api, database)
