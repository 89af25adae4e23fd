"""ASGI frameworks that are not built on Starlette: one of them, with nothing of ours that is made for it."""

import asyncio
import gc
from collections.abc import Iterator
from typing import Any
from weakref import ref

import falcon.asgi
import pytest

from tallystick import AsyncSessions, SessionError, Unauthorised
from tallystick.integrations import asgi, starlette
from tallystick.integrations.asgi import SessionMiddleware, answer_error, create_new_session, get_session
from tests.integrations.asgi import AsgiClient
from tests.integrations.plan import SECRET


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as running:
        yield running


def test_starlette_s_names_are_those_of_plain_asgi():
    assert {*starlette.__all__, "answer_error"} == set(asgi.__all__)
    for name in starlette.__all__:
        assert getattr(starlette, name) is getattr(asgi, name)


class Me:
    async def on_get(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
        session = await get_session(request)
        assert request.scope["state"]["session"] is session
        response.media = {"user": session.get_user_id()}


async def reraise(request: Any, response: Any, error: Exception, params: object) -> None:
    raise error


async def answer(request: falcon.asgi.Request, response: falcon.asgi.Response, error: Any, params: object) -> None:
    answered = answer_error(request, error)
    response.status, response.data = answered.status, answered.content
    response.set_headers(answered.all_headers)


@pytest.mark.parametrize("handler", [reraise, answer])
def test_falcon_s_asgi_app_needs_no_more_than_the_middleware(runner: asyncio.Runner, handler: Any):
    class Login:
        async def on_post(self, request: falcon.asgi.Request, response: falcon.asgi.Response) -> None:
            response.media = {"handle": (await create_new_session(request, "ada")).get_handle()}

    app = falcon.asgi.App()
    app.add_route("/login", Login())
    app.add_route("/me", Me())
    app.add_error_handler(SessionError, handler)
    sessions = AsyncSessions("memory://", secret=SECRET, algorithm="EdDSA")
    client = AsgiClient(SessionMiddleware(app, sessions), runner)
    assert client.send("GET", "/me", []).json == {"message": "unauthorised"}
    tokens = client.send("POST", "/login", [])
    bearer = [("authorization", f"Bearer {tokens.header('st-access-token')}")]
    assert client.send("GET", "/me", bearer).json == {"user": "ada"}
    refresh = [("authorization", f"Bearer {tokens.header('st-refresh-token')}")]
    assert client.send("POST", "/auth/session/refresh", refresh).status == 200
    assert client.send("POST", "/auth/signout", bearer).status == 200


async def skip(_message: object) -> None:
    pass


def make_scope(*cookies: str) -> dict[str, Any]:
    headers = [(b"cookie", cookie.encode("ascii")) for cookie in cookies]
    return {"type": "http", "method": "GET", "path": "/", "headers": headers}


@pytest.mark.parametrize(
    "cookies",
    [
        ("sAccessToken={}",),
        ("theme=dark; sAccessToken={}; a=b",),
        ("theme=dark", "sAccessToken={}"),
        ('sAccessToken="{}"',),
        ("theme=dark;sAccessToken={}",),
        ("sAccessToken = {} ",),
        ("not_sAccessToken=x; sAccessToken={}",),
        ("sAccessToken=; sAccessToken={}",),
    ],
)
def test_a_cookie_is_read_however_it_is_written(runner: asyncio.Runner, cookies: tuple[str, ...]):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        assert (await get_session(scope)).get_user_id() == "ada"

    async def serve() -> None:
        sessions = AsyncSessions("memory://", secret=SECRET, algorithm="EdDSA")
        token = (await sessions.create_new_session("ada")).access_token.token
        scope = make_scope(*(cookie.format(token) for cookie in cookies))
        await SessionMiddleware(app, sessions)(scope, skip, skip)
        assert scope["state"]["session"].get_access_token() == token

    runner.run(serve())


def test_a_request_leaves_nothing_for_the_garbage_collector(runner: asyncio.Runner):
    async def app(scope: Any, receive: Any, send: Any) -> None:
        await get_session(scope)
        await send({"type": "http.response.start", "status": 200, "headers": []})

    async def serve() -> ref[Any]:
        sessions = AsyncSessions("memory://", secret=SECRET, algorithm="EdDSA")
        scope = make_scope(f"sAccessToken={(await sessions.create_new_session('ada')).access_token.token}")
        await SessionMiddleware(app, sessions)(scope, skip, skip)
        return ref(scope["state"]["session"])

    gc.disable()
    try:
        assert runner.run(serve())() is None
    finally:
        gc.enable()


def test_a_session_is_used_after_its_request(runner: asyncio.Runner):
    """By a task that the app has begun, or by a layer around the middleware."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await create_new_session(scope, "ada")

    async def serve() -> None:
        sessions = AsyncSessions("memory://", secret=SECRET, algorithm="EdDSA")
        scope = make_scope()
        await SessionMiddleware(app, sessions)(scope, skip, skip)
        session = scope["state"]["session"]
        await session.merge_into_access_token_payload({"plan": "team"})
        assert session.get_jwt_payload()["plan"] == "team"
        scope["headers"] = [(b"authorization", f"Bearer {session.get_access_token()}".encode())]
        assert (await get_session(scope)).get_jwt_payload()["plan"] == "team"
        await session.revoke_session()
        with pytest.raises(Unauthorised):
            await session.get_expiry()

    runner.run(serve())
