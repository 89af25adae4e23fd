"""What is Starlette's alone: how the middleware is put in, and what it leaves untouched."""

import asyncio
import contextlib
from collections.abc import Iterator
from typing import Any

import pytest
from fastapi import FastAPI
from starlette.applications import Starlette
from starlette.middleware.cors import CORSMiddleware
from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import Mount, Route, WebSocketRoute
from starlette.testclient import TestClient
from starlette.websockets import WebSocket

from tallystick import AsyncSessions, GeneralError, Sessions, Unauthorised
from tallystick.integrations import fastapi, starlette
from tallystick.integrations.starlette import (
    SessionMiddleware,
    create_new_session,
    get_cors_expose_headers,
    get_session,
)
from tests.integrations.asgi import AsgiClient
from tests.integrations.plan import SECRET, WEBSITE


async def login(request: Request) -> Response:
    await create_new_session(request, "ada")
    return JSONResponse({})


async def me(request: Request) -> Response:
    return JSONResponse({"user": (await get_session(request)).get_user_id()})


def make_sessions(**settings: Any) -> AsyncSessions:
    return AsyncSessions("memory://", secret=SECRET, algorithm="EdDSA", **settings)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as running:
        yield running


def test_both_integrations_show_the_same_names_and_fastapi_its_dependency():
    assert set(fastapi.__all__) == {*starlette.__all__, "verify_session"}
    for name in starlette.__all__:
        assert getattr(fastapi, name) is getattr(starlette, name)


def test_a_route_without_the_middleware_says_how_to_add_it(runner: asyncio.Runner):
    client = AsgiClient(Starlette(routes=[Route("/me", me)]), runner)
    with pytest.raises(GeneralError, match=r"app\.add_middleware\(SessionMiddleware, sessions=\.\.\.\)") as caught:
        client.send("GET", "/me", [])
    assert caught.value.reason == "no_middleware"


@pytest.mark.parametrize("wrong", [Sessions("memory://", secret=SECRET), "sqlite://", None])
def test_anything_but_async_sessions_is_refused_when_the_app_starts(wrong: Any):
    with pytest.raises(GeneralError, match="needs AsyncSessions") as caught:
        SessionMiddleware(Starlette(), wrong)
    assert caught.value.reason == "bad_config"
    app = FastAPI()
    app.add_middleware(SessionMiddleware, sessions=wrong)
    with pytest.raises(GeneralError), TestClient(app):
        pass


def test_a_websocket_whose_route_looks_at_no_session_and_the_lifespan_pass_untouched():
    events: list[str] = []

    async def echo(socket: WebSocket) -> None:
        await socket.accept()
        await socket.send_text(await socket.receive_text())
        await socket.close()

    async def lifespan(app: Any) -> Any:
        events.append("up")
        yield {"state": "of the app"}
        events.append("down")

    async def state(request: Request) -> Response:
        return JSONResponse(request.state.state)

    app = Starlette(
        routes=[WebSocketRoute("/echo", echo), Route("/state", state)],
        lifespan=contextlib.asynccontextmanager(lifespan),
    )
    app.add_middleware(SessionMiddleware, sessions=make_sessions())
    with TestClient(app) as client:
        with client.websocket_connect("/echo") as socket:
            socket.send_text("hello")
            assert socket.receive_text() == "hello"
        assert client.get("/state").json() == "of the app"
    assert events == ["up", "down"]


def test_a_real_http_client_stays_signed_in_by_its_own_cookie_jar():
    app = Starlette(routes=[Route("/login", login, methods=["POST"]), Route("/me", me)])
    app.add_middleware(SessionMiddleware, sessions=make_sessions())
    with TestClient(app, headers={"st-auth-mode": "cookie", "rid": "anti-csrf"}) as client:
        assert client.post("/login").status_code == 200
        assert client.get("/me").json() == {"user": "ada"}
        assert {(cookie.name, cookie.path) for cookie in client.cookies.jar} == {
            ("sAccessToken", "/"),
            ("sRefreshToken", "/auth/session/refresh"),
        }
        assert client.post("/auth/session/refresh").status_code == 200
        assert client.post("/auth/signout").json() == {"status": "OK"}
        assert not list(client.cookies.jar)
        assert client.get("/me").status_code == 401


def test_an_app_mounted_within_another_has_its_own_routes(runner: asyncio.Runner):
    inner = Starlette(routes=[Route("/login", login, methods=["POST"]), Route("/me", me)])
    inner.add_middleware(SessionMiddleware, sessions=make_sessions(refresh_token_path="/shop/auth/session/refresh"))
    client = AsgiClient(Starlette(routes=[Mount("/shop", inner)]), runner)
    tokens = client.send("POST", "/shop/login", [])
    bearer = [("authorization", f"Bearer {tokens.header('st-access-token')}")]
    assert client.send("GET", "/shop/me", bearer).json == {"user": "ada"}
    refresh = [("authorization", f"Bearer {tokens.header('st-refresh-token')}")]
    assert client.send("POST", "/shop/auth/session/refresh", refresh).status == 200
    assert client.send("POST", "/shop/auth/signout", bearer).status == 200
    assert client.send("POST", "/auth/signout", bearer).status == 404


def test_the_middleware_may_stand_around_an_app_with_mounts(runner: asyncio.Runner):
    inner = Starlette(routes=[Route("/login", login, methods=["POST"]), Route("/me", me)])
    outer = Starlette(routes=[Mount("/shop", inner)])
    outer.add_middleware(SessionMiddleware, sessions=make_sessions())
    client = AsgiClient(outer, runner)
    tokens = client.send("POST", "/shop/login", [])
    bearer = [("authorization", f"Bearer {tokens.header('st-access-token')}")]
    assert client.send("GET", "/shop/me", bearer).json == {"user": "ada"}
    assert client.send("POST", "/auth/signout", bearer).status == 200


def test_a_cors_layer_that_is_told_what_to_expose_must_be_told_of_our_headers(runner: asyncio.Runner):
    app = Starlette(routes=[Route("/login", login, methods=["POST"])])
    app.add_middleware(SessionMiddleware, sessions=make_sessions())
    app.add_middleware(
        CORSMiddleware,
        allow_origins=[WEBSITE],
        allow_credentials=True,
        expose_headers=["x-app", *get_cors_expose_headers()],
    )
    reply = AsgiClient(app, runner).send("POST", "/login", [("origin", WEBSITE)])
    assert set(reply.session_headers) < set(reply.exposed)
    assert "x-app" in reply.exposed


def test_a_crash_passes_the_changes_on_where_the_middleware_stands_outside_of_the_whole_app(runner: asyncio.Runner):
    async def crash(request: Request) -> Response:
        await create_new_session(request, "ada")
        raise ZeroDivisionError

    app = SessionMiddleware(Starlette(routes=[Route("/", crash)]), make_sessions())
    replies = []

    async def serve() -> None:
        async def receive() -> Any:
            return {"type": "http.request", "body": b""}

        async def send(message: Any) -> None:
            replies.append(message)

        scope = {"type": "http", "method": "GET", "path": "/", "headers": [], "query_string": b"", "scheme": "http"}
        with pytest.raises(ZeroDivisionError):
            await app(scope, receive, send)

    runner.run(serve())
    assert replies[0]["status"] == 500
    assert b"st-access-token" in dict(replies[0]["headers"])


def test_an_error_after_the_response_has_begun_is_not_answered_twice(runner: asyncio.Runner):
    async def late(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": []})
        raise Unauthorised

    client = AsgiClient(SessionMiddleware(late, make_sessions()), runner)
    with pytest.raises(Unauthorised):
        client.send("GET", "/", [])


def test_an_app_that_sends_no_headers_at_all_gets_the_session_s(runner: asyncio.Runner):
    async def bare(scope: Any, receive: Any, send: Any) -> None:
        await create_new_session(Request(scope), "ada")
        await send({"type": "http.response.start", "status": 204})
        await send({"type": "http.response.body"})

    reply = AsgiClient(SessionMiddleware(bare, make_sessions()), runner).send("GET", "/", [])
    assert reply.header("st-access-token")


def test_what_a_session_knows_it_tells_without_the_store(runner: asyncio.Runner):
    seen: dict[str, Any] = {}

    async def look(request: Request) -> Response:
        created = await create_new_session(request, "ada", {"role": "admin"}, {"cart": 1}, tenant_id="shop")
        seen["session"] = created
        seen["information"] = (await created.get_time_created(), await created.get_expiry())
        return JSONResponse({})

    app = Starlette(routes=[Route("/", look)])
    app.add_middleware(SessionMiddleware, sessions=make_sessions())
    reply = AsgiClient(app, runner).send("GET", "/", [("st-auth-mode", "cookie")])
    session = seen["session"]
    assert (session.get_user_id(), session.get_recipe_user_id(), session.get_tenant_id()) == ("ada", "ada", "shop")
    assert session.get_handle().endswith("_shop")
    assert session.get_jwt_payload() == {"role": "admin"}
    assert session.get_access_token_payload() == reply.front_token["up"]
    assert session.get_all_session_tokens_dangerously() == {
        "accessToken": reply.cookies["sAccessToken"].value,
        "accessAndFrontTokenUpdated": True,
        "refreshToken": reply.cookies["sRefreshToken"].value,
        "frontToken": reply.header("front-token"),
        "antiCsrfToken": None,
    }
    assert repr(session) == f"Session(handle={session.get_handle()!r})"
    created, expiry = seen["information"]
    assert expiry - created == 100 * 86_400_000
