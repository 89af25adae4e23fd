"""WebSockets and event streams over a real server: who may open one, and that it ends when its session does."""

import asyncio
import json
import logging
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import Annotated, Any

import httpx
import pytest
import uvicorn
from fastapi import Depends, FastAPI, Request, WebSocket, WebSocketDisconnect
from starlette.responses import StreamingResponse
from websockets.exceptions import ConnectionClosed, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tallystick import AsyncSessions, GeneralError, PrimitiveClaim
from tallystick.integrations.fastapi import (
    Session,
    SessionMiddleware,
    create_new_session,
    get_session,
    until_session_ends,
    verify_session,
)
from tallystick.integrations.watching import Watches
from tallystick.storage.memory import AsyncMemoryStore, MemoryStore
from tallystick.testing import FakeClock
from tests.browser.serving import listen, running

INTERVAL = timedelta(milliseconds=50)
PATIENCE = 30
PLAN = PrimitiveClaim("plan", lambda _user, _tenant, _payload: "free")
Required = Annotated[Session, Depends(verify_session())]


class BreakableStore(AsyncMemoryStore):
    """A store that can be out of reach for a while."""

    is_broken = False
    looks = 0

    async def load_session(self, app_id: str, handle: str) -> Any:
        self.looks += 1
        if self.is_broken:
            raise OSError("out of reach")
        return await super().load_session(app_id, handle)


def make_app(sessions: AsyncSessions, seen: list[str]) -> FastAPI:
    app = FastAPI()

    @app.post("/login/{user}")
    async def login(user: str, request: Request) -> dict[str, str]:
        return {"handle": (await create_new_session(request, user)).get_handle()}

    @app.post("/revoke/{handle}")
    async def revoke(handle: str) -> bool:
        return await sessions.revoke_session(handle)

    @app.websocket("/echo")
    async def echo(websocket: WebSocket, session: Required) -> None:
        await websocket.accept()
        try:
            async for text in websocket.iter_text():
                await websocket.send_text(f"{session.get_user_id()}: {text}")
        finally:
            seen.append("the route has ended")

    @app.websocket("/ticker")
    async def ticker(websocket: WebSocket, _session: Required) -> None:
        await websocket.accept()
        try:
            while True:
                await websocket.send_text("tick")
                await asyncio.sleep(0.01)
        finally:
            seen.append("the route has ended")

    @app.websocket("/busy")
    async def busy(websocket: WebSocket, _session: Required) -> None:
        await websocket.accept()
        await websocket.send_text("tick")
        with suppress(WebSocketDisconnect):
            while True:  # before anybody else in the event loop hears of the end
                await asyncio.sleep(0)
                await websocket.send_text("tick")
        seen.append("the route has ended")

    @app.websocket("/paid")
    async def paid(websocket: WebSocket) -> None:
        await get_session(websocket, override_global_claim_validators=lambda *_: [PLAN.validators.has_value("pro")])

    @app.get("/events")
    async def events(request: Request, _session: Required) -> StreamingResponse:
        async def ticks() -> AsyncIterator[str]:
            try:
                while True:
                    yield "data: tick\n\n"
                    await asyncio.sleep(0.01)
            finally:
                seen.append("the source was closed")

        return StreamingResponse(until_session_ends(request, ticks()), media_type="text/event-stream")

    @app.get("/three")
    async def three(request: Request, _session: Required) -> StreamingResponse:
        async def numbers() -> AsyncIterator[str]:
            for number in "123":
                yield number

        return StreamingResponse(until_session_ends(request, numbers()))

    @app.get("/unverified")
    async def unverified(request: Request) -> str:
        with pytest.raises(GeneralError) as refused:
            until_session_ends(request, request.stream())
        return refused.value.reason

    return app


@dataclass
class Served:
    """The app at its address, and what it says of itself."""

    url: str
    store: BreakableStore
    middleware: SessionMiddleware
    seen: list[str]
    clock: FakeClock

    def sign_in(self, user: str = "ada", mode: str = "cookie") -> tuple[dict[str, str], str]:
        """What the client sends with a handshake, and the session's handle."""
        answer = httpx.post(f"{self.url}/login/{user}", headers={"st-auth-mode": mode})
        if mode == "header":
            headers = {"Authorization": f"Bearer {answer.headers['st-access-token']}"}
        else:
            headers = {"Cookie": "; ".join(f"{name}={value}" for name, value in answer.cookies.items())}
        return headers, answer.json()["handle"]

    def connect(self, headers: dict[str, str], path: str = "/echo", origin: Any = "own") -> ClientConnection:
        return connect(
            self.url.replace("http", "ws", 1) + path,
            additional_headers=headers,
            origin=self.url if origin == "own" else origin,
        )

    def revoke(self, handle: str) -> None:
        assert httpx.post(f"{self.url}/revoke/{handle}").json() is True

    def wait_for_a_look(self) -> None:
        """Until somebody has asked for a session who did not begin to before now."""
        looks = self.store.looks
        wait_until(lambda: self.store.looks >= looks + 2)

    @property
    def watched(self) -> int:
        return len(self.middleware._watches)


Serve = Callable[..., Served]


@pytest.fixture
def serve() -> Iterator[Serve]:
    with ExitStack() as stack:

        def start(**settings: Any) -> Served:
            store, clock = BreakableStore(MemoryStore()), FakeClock.from_now()
            seen: list[str] = []
            settings = {"stream_check_interval": INTERVAL, "algorithm": "EdDSA", **settings}
            sessions = AsyncSessions(store, secret="x" * 40, clock=clock, **settings)
            middleware = SessionMiddleware(make_app(sessions, seen), sessions)
            config = uvicorn.Config(
                middleware, log_level="warning", ws="websockets-sansio", timeout_graceful_shutdown=2
            )
            url = stack.enter_context(running(uvicorn.Server(config), listen()))
            return Served(url, store, middleware, seen, clock)

        yield start


@pytest.fixture
def served(serve: Serve) -> Served:
    return serve()


def closing_of(socket: ClientConnection) -> tuple[int | None, str | None]:
    """How the server closes the connection, whatever it sends before."""
    with suppress(ConnectionClosed):
        while True:
            socket.recv(timeout=PATIENCE)
    return socket.close_code, socket.close_reason


def wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("path", ["/echo", "/ticker", "/busy"])
def test_a_websocket_is_closed_when_its_session_is_revoked_whether_the_route_waits_or_sends(served: Served, path: str):
    headers, handle = served.sign_in()
    with served.connect(headers, path) as socket:
        if path == "/echo":
            socket.send("hello")
            assert socket.recv(timeout=PATIENCE) == "ada: hello"
        else:
            assert socket.recv(timeout=PATIENCE) == "tick"
        assert served.seen == []
        served.revoke(handle)
        assert closing_of(socket) == (4401, "unauthorised")
    wait_until(lambda: served.seen == ["the route has ended"])
    wait_until(lambda: served.watched == 0)


def test_a_websocket_is_closed_when_its_session_is_over(serve: Serve):
    served = serve(access_token_validity=timedelta(hours=1), refresh_token_validity=timedelta(hours=2))
    headers, _ = served.sign_in()
    with served.connect(headers) as socket:
        served.clock.advance(timedelta(hours=1.5))
        served.wait_for_a_look()
        socket.send("hello")
        assert socket.recv(timeout=PATIENCE) == "ada: hello", "the access token's end is not the session's"
        served.clock.advance(timedelta(hours=0.5))
        assert closing_of(socket) == (4401, "unauthorised")


@pytest.mark.parametrize("origin", ["https://evil.example", "null", None])
def test_another_site_s_page_cannot_open_one_with_the_user_s_cookies(served: Served, origin: Any):
    headers, _ = served.sign_in()
    with pytest.raises(InvalidStatus) as refused:
        served.connect(headers, origin=origin)
    assert refused.value.response.status_code == 403
    assert "Set-Cookie" not in refused.value.response.headers


def test_the_website_and_named_origins_may(serve: Serve):
    served = serve(website_domain="https://site.example", websocket_origins=("https://admin.example",))
    headers, _ = served.sign_in()
    for origin in ("https://site.example", "https://admin.example", "https://SITE.example"):
        with served.connect(headers, origin=origin) as socket:
            socket.send("hello")
            assert socket.recv(timeout=PATIENCE) == "ada: hello"
    with pytest.raises(InvalidStatus):
        served.connect(headers)


def test_a_client_with_a_header_needs_no_origin(served: Served):
    headers, _ = served.sign_in(mode="header")
    with served.connect(headers, origin=None) as socket:
        socket.send("hello")
        assert socket.recv(timeout=PATIENCE) == "ada: hello"


def test_who_has_no_session_is_told_by_the_close_code(served: Served):
    with served.connect({}) as socket:
        assert closing_of(socket) == (4401, "unauthorised")
    assert served.seen == []


def test_who_is_to_refresh_is_told_by_the_reason(serve: Serve):
    served = serve(access_token_validity=timedelta(hours=1))
    headers, _ = served.sign_in()
    served.clock.advance(timedelta(hours=1))
    with served.connect(headers) as socket:
        assert closing_of(socket) == (4401, "try refresh token")


def test_a_token_in_the_url_is_none(served: Served):
    headers, _ = served.sign_in(mode="header")
    token = headers["Authorization"].removeprefix("Bearer ")
    with served.connect({}, f"/echo?token={token}&access_token={token}") as socket:
        assert closing_of(socket) == (4401, "unauthorised")


def test_claims_that_do_not_hold_have_a_code_of_their_own(served: Served):
    headers, _ = served.sign_in()
    with served.connect(headers, "/paid") as socket:
        assert closing_of(socket) == (4403, "invalid claim")


def test_a_refreshed_token_s_replacement_comes_with_the_handshake(served: Served):
    with httpx.Client(base_url=served.url, headers={"st-auth-mode": "cookie", "rid": "x"}) as browser:
        browser.post("/login/ada")
        assert browser.post("/auth/session/refresh").status_code == 200
        cookie = f"sAccessToken={browser.cookies['sAccessToken']}"
    with served.connect({"Cookie": cookie}) as socket:
        response = socket.response
        assert response is not None
        assert response.headers["Set-Cookie"].startswith("sAccessToken=")


def test_all_connections_of_a_session_share_one_watch_and_close_together(served: Served):
    headers, handle = served.sign_in()
    other, _ = served.sign_in("bob")
    with ExitStack() as stack:
        mine = [stack.enter_context(served.connect(headers)) for _ in range(20)]
        theirs = stack.enter_context(served.connect(other))
        wait_until(lambda: served.watched == 2)
        mine.pop().close()
        served.revoke(handle)
        assert {closing_of(socket) for socket in mine} == {(4401, "unauthorised")}
        theirs.send("still here")
        assert theirs.recv(timeout=PATIENCE) == "bob: still here"
        wait_until(lambda: served.watched == 1)
    wait_until(lambda: served.watched == 0)


def test_a_store_out_of_reach_closes_nothing_at_once(served: Served, caplog: pytest.LogCaptureFixture):
    headers, handle = served.sign_in()
    with served.connect(headers) as socket, caplog.at_level(logging.WARNING, "tallystick"):
        served.store.is_broken = True
        wait_until(lambda: "store_failed" in caplog.text)
        socket.send("hello")
        assert socket.recv(timeout=PATIENCE) == "ada: hello"
        assert handle not in caplog.text
        served.store.is_broken = False
        served.revoke(handle)
        assert closing_of(socket) == (4401, "unauthorised")


def test_a_store_out_of_reach_for_longer_than_an_access_token_lives_closes(serve: Serve):
    served = serve(access_token_validity=timedelta(seconds=1))
    headers, _ = served.sign_in()
    with served.connect(headers) as socket:
        served.store.is_broken = True
        began = time.monotonic()
        assert closing_of(socket) == (4401, "unauthorised")
        assert time.monotonic() - began > 0.8


def test_an_event_stream_ends_with_its_session(served: Served):
    headers, handle = served.sign_in()
    with httpx.stream("GET", f"{served.url}/events", headers=headers, timeout=PATIENCE) as answer:
        lines = answer.iter_lines()
        assert next(lines) == "data: tick"
        served.revoke(handle)
        assert set(lines) == {"data: tick", ""}
    wait_until(lambda: served.seen == ["the source was closed"] and served.watched == 0)


def test_an_event_stream_whose_client_goes_is_watched_no_longer(served: Served):
    headers, _ = served.sign_in()
    with httpx.stream("GET", f"{served.url}/events", headers=headers, timeout=PATIENCE) as answer:
        lines = answer.iter_lines()  # kept, as the answer is closed with it
        assert next(lines) == "data: tick"
        assert served.watched == 1
    wait_until(lambda: served.seen == ["the source was closed"] and served.watched == 0)


def test_a_stream_that_ends_by_itself_is_whole(served: Served):
    headers, _ = served.sign_in()
    assert httpx.get(f"{served.url}/three", headers=headers).text == "123"
    wait_until(lambda: served.watched == 0)


def test_a_stream_without_a_session_is_refused(served: Served):
    assert json.loads(httpx.get(f"{served.url}/unverified").text) == "not_verified"


@pytest.mark.parametrize(
    "settings",
    [
        {"stream_check_interval": timedelta(0)},
        {"stream_check_interval": 5},
        {"websocket_origins": ["https://a.test"]},
        {"websocket_origins": ("a.test",)},
    ],
)
def test_settings_that_do_not_do_are_refused(settings: dict[str, Any]):
    with pytest.raises(GeneralError, match=next(iter(settings))):
        AsyncSessions("memory://", secret="x" * 40, **settings)


def test_with_the_feed_of_endings_a_websocket_is_closed_at_once_and_the_store_is_not_asked(serve: Serve):
    served = serve(instant_revocation=True, stream_check_interval=timedelta(minutes=30))
    headers, handle = served.sign_in()
    with served.connect(headers) as socket:
        socket.send("hello")
        assert socket.recv(timeout=PATIENCE) == "ada: hello"
        served.revoke(handle)
        assert closing_of(socket) == (4401, "unauthorised")
    wait_until(lambda: served.watched == 0)


async def test_five_thousand_connections_of_a_user_hear_of_the_end_of_their_sessions():
    sessions = AsyncSessions("memory://", secret="x" * 40, algorithm="EdDSA", instant_revocation=True)
    async with sessions:
        watches, loop = Watches(sessions), asyncio.get_running_loop()
        handles = [(await sessions.create_new_session("ada")).session.handle for _ in range(500)]
        other = (await sessions.create_new_session("bob")).session.handle
        futures = [loop.create_future() for _ in range(5000)]
        bystander = loop.create_future()
        with ExitStack() as stack:
            for number, future in enumerate(futures):
                stack.enter_context(watches.watch(handles[number % 500], future))
            stack.enter_context(watches.watch(other, bystander))
            await sessions.revoke_all_sessions_for_user("ada")
            async with asyncio.timeout(PATIENCE):
                await asyncio.gather(*futures)
            assert not bystander.done()
        assert len(watches) == 0


async def test_a_session_that_ended_between_its_verification_and_its_watch_is_over_from_the_start():
    sessions = AsyncSessions("memory://", secret="x" * 40, algorithm="EdDSA", instant_revocation=True)
    async with sessions:
        handle = (await sessions.create_new_session("ada")).session.handle
        feed, heard = sessions.feed, asyncio.Event()
        assert feed is not None
        feed.listen(lambda _ending: heard.set())
        await sessions.revoke_session(handle)
        async with asyncio.timeout(PATIENCE):
            await heard.wait()
        ended = asyncio.get_running_loop().create_future()
        with Watches(sessions).watch(handle, ended):
            assert ended.done()
