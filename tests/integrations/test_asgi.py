"""ASGI frameworks that are not built on Starlette: one of them, with nothing of ours that is made for it."""

import asyncio
from collections.abc import Iterator
from typing import Any

import falcon.asgi
import pytest

from tallystick import AsyncSessions, SessionError
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
